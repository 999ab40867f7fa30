//! An office to look at: the real engines in folders of their own, the program, and 50 simulated tills whose programs
//! end, are paused and come back. All of it is gone when this ends.
//!
//! ```text
//! cargo run -p mfe-central --example office
//! ```

#![allow(clippy::unwrap_used, reason = "a demonstration that can't go on ends")]

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime};

use amqprs::BasicProperties;
use amqprs::channel::{BasicPublishArguments, Channel};
use amqprs::connection::{Connection, OpenConnectionArguments};
use mfe_kit::engines::{self, Postgres, RabbitMq, definitions};
use mfe_kit::{Guard, random::Random};
use serde_json::{Value, json};

const TILLS: usize = 50;
const HOST: &str = "mfe";
const PASSWORD: &str = "of the demonstration";
/// For how long the tills have been on when this begins.
const UPTIME: Duration = Duration::from_secs(3600);
const HEARTBEAT: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    // It is the program too, so that nothing else has to be built.
    if std::env::args_os().len() > 1 {
        return mfe_central::cli::main();
    }
    let missing = engines::missing();
    if !missing.is_empty() {
        eprintln!(
            "The engines are missing. Run: sudo apt install {}",
            missing.join(" ")
        );
        return ExitCode::FAILURE;
    }
    eprintln!("Starting RabbitMQ and PostgreSQL …");
    let names: Vec<String> = (0..TILLS)
        .map(|n| format!("loja{:04}-caixa{:02}", n / 5 + 1, n % 5 + 1))
        .collect();
    let host = [HOST.to_owned()];
    let rabbitmq = RabbitMq::start(&definitions(
        &host,
        ("mfe-central", PASSWORD),
        &names,
        PASSWORD,
    ));
    let postgres = Postgres::start();
    postgres.sql("postgres", "CREATE DATABASE central");

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("password"), PASSWORD).unwrap();
    let config = format!(
        "broker = \"127.0.0.1:{}\"\npassword_file = \"{}\"\ndatabase = \"{}\"\nheartbeat = \"{}s\"\n\
         tills = {:?}\n",
        rabbitmq.port,
        path("password").display(),
        postgres.connection("central"),
        HEARTBEAT.as_secs(),
        [names.as_slice(), &["loja0011-caixa01".to_owned()]].concat(),
    );
    fs::write(path("config.toml"), config).unwrap();
    let mut central = Command::new(std::env::current_exe().unwrap());
    central
        .args(["run", "--config"])
        .arg(path("config.toml"))
        .stdin(Stdio::null());
    let central = Guard(central.spawn().unwrap());

    eprintln!("{TILLS} tills: http://127.0.0.1:9017/   (Ctrl-C ends all of it)");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let done = runtime.block_on(async {
        tokio::select! {
            ended = simulate(&rabbitmq, &names) => ended.err(),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    drop((central, runtime));
    drop((postgres, rabbitmq));
    match done {
        Some(error) => {
            eprintln!("The simulation has ended: {error}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

/// A simulated till.
struct Till {
    name: String,
    store: String,
    boot: String,
    /// Each program's state and since when.
    programs: BTreeMap<&'static str, (&'static str, SystemTime)>,
    restarts: u64,
    /// How many events it has told.
    seq: u64,
    channel: Channel,
    /// Otherwise nothing of it would be open any more.
    _connection: Connection,
    /// Whether it has stopped speaking.
    is_silent: bool,
    clock_ahead: Duration,
}

type Error = Box<dyn std::error::Error>;

/// Goes on for ever.
async fn simulate(rabbitmq: &RabbitMq, names: &[String]) -> Result<(), Error> {
    let mut tills = Vec::new();
    for (n, name) in names.iter().enumerate() {
        tills.push(Till::connect(rabbitmq, n, name).await?);
    }
    // States that are sent before somebody takes them come again; events begin later.
    let mut random = Random::new(7);
    let began = SystemTime::now();
    let mut seconds: u64 = 0;
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    loop {
        beat.tick().await;
        let now = SystemTime::now();
        for (n, till) in tills.iter_mut().enumerate() {
            let is_due = (seconds + n as u64) % HEARTBEAT.as_secs() == 0 || seconds < 5;
            if is_due && !till.is_silent {
                till.tell(began, now).await?;
            }
        }
        if seconds == 5 {
            for till in &mut tills {
                till.begin(began).await?;
            }
        }
        // Every second something happens to some till.
        let n = random.below(TILLS);
        let till = &mut tills[n];
        if seconds > 5 && !till.is_silent {
            till.live(random.below(12), began, now).await?;
        }
        seconds += 1;
    }
}

impl Till {
    async fn connect(rabbitmq: &RabbitMq, n: usize, name: &str) -> Result<Self, Error> {
        let arguments = OpenConnectionArguments::new("127.0.0.1", rabbitmq.port, name, PASSWORD)
            .virtual_host(HOST)
            .finish();
        let connection = Connection::open(&arguments).await?;
        let channel = connection.open_channel(None).await?;
        let up = ("up", SystemTime::now());
        Ok(Self {
            name: name.to_owned(),
            store: format!("{}", n / 5 + 1),
            boot: format!("{:032x}", n + 1),
            programs: [("Comunicador", up), ("Monitor", up)].into(),
            restarts: 0,
            seq: 0,
            channel,
            _connection: connection,
            is_silent: false,
            clock_ahead: Duration::from_secs(if n == 17 { 3 * 3600 } else { 0 }),
        })
    }

    /// Something happens, by the dice.
    async fn live(&mut self, dice: usize, began: SystemTime, now: SystemTime) -> Result<(), Error> {
        let program = if dice % 2 == 0 {
            "Comunicador"
        } else {
            "Monitor"
        };
        let (state, event) = match (self.programs[program].0, dice) {
            ("up", 0..=3) => ("down", "down"),
            ("up", 4) => ("paused", "paused"),
            ("up", 5) => ("waiting", "waiting"),
            ("up", 6) if self.name.ends_with('4') => {
                self.is_silent = true;
                return Ok(());
            }
            ("up", _) => return Ok(()),
            ("paused", _) => ("up", "resumed"),
            ("waiting", _) => ("up", "up"),
            _ => ("up", "restarted"),
        };
        self.restarts += u64::from(state == "up");
        let before = self.programs.insert(program, (state, now));
        let mut data = json!({"process": program.to_lowercase(), "pid": 7,
            "message": format!("{program} is {state}")});
        let since = before.map_or(now, |(_, since)| since);
        match event {
            "down" => data["cause"] = json!("killed"),
            "waiting" => data["cause"] = json!("login"),
            "restarted" => {
                data["cause"] = json!("killed");
                data["outage_ms"] = json!(u64::try_from(now.duration_since(since)?.as_millis())?);
            }
            _ => {}
        }
        self.happened(event, data, began, now).await?;
        self.tell(began, now).await
    }

    /// The till was switched on, and its programs run.
    async fn begin(&mut self, began: SystemTime) -> Result<(), Error> {
        let data = json!({"message": "mfe-watchdog has started"});
        self.happened("startup", data, began, began).await?;
        for program in ["comunicador", "monitor"] {
            let data = json!({"process": program, "pid": 7, "message": format!("{program} is up")});
            self.happened("up", data, began, began).await?;
        }
        self.tell(began, began).await
    }

    /// Tells an event.
    async fn happened(
        &mut self,
        event: &str,
        mut data: Value,
        began: SystemTime,
        now: SystemTime,
    ) -> Result<(), Error> {
        self.seq += 1;
        // It was switched on an hour before.
        let mono = u64::try_from((now.duration_since(began)? + UPTIME).as_micros())?;
        for (name, value) in [
            ("run", json!(self.boot)),
            ("seq", json!(self.seq)),
            ("at_us", json!(mono)),
            ("boot", json!(self.boot)),
            ("mono_us", json!(mono)),
            ("sent", json!({"mono_us": mono, "time": self.clock(now)})),
            ("relay", json!("0.1.0")),
            ("labels", json!({"store": self.store})),
        ] {
            data[name] = value;
        }
        let body = json!({
            "specversion": "1.0", "id": format!("{}/{mono}/{:x}", self.boot, self.seq), "source": self.name,
            "type": format!("br.mfe-watchdog.{event}.v1"), "time": self.clock(now), "data": data,
        });
        self.send("mfe.events", event, &body).await
    }

    /// Tells how it is.
    async fn tell(&self, began: SystemTime, now: SystemTime) -> Result<(), Error> {
        let programs = self.programs.iter().map(|(name, (state, since))| {
            let mut program = json!({"key": name.to_lowercase(), "name": name, "state": state,
                "pids": if *state == "up" { vec![7] } else { vec![] }, "since": self.clock(*since),
                "restarts": self.restarts, "last_restart": null, "detail": null});
            if *state == "paused" {
                program["paused_until"] = json!(self.clock(*since + Duration::from_secs(900)));
            }
            program
        });
        let mono = u64::try_from((now.duration_since(began)? + UPTIME).as_micros())?;
        let body = json!({"source": self.name, "boot": self.boot, "mono": mono, "time": self.clock(now),
            "backlog": 0, "machine_id": self.boot, "versions": {"relay": "0.1.0"},
            "labels": {"store": self.store}, "processes": programs.collect::<Vec<Value>>()});
        self.send("mfe.state", "state", &body).await
    }

    async fn send(&self, exchange: &str, word: &str, body: &Value) -> Result<(), Error> {
        let mut properties = BasicProperties::default();
        properties
            .with_user_id(&self.name)
            .with_persistence(exchange == "mfe.events");
        let arguments = BasicPublishArguments::new(exchange, &format!("{}.{word}", self.name));
        self.channel
            .basic_publish(properties, body.to_string().into_bytes(), arguments)
            .await?;
        Ok(())
    }

    /// A time as its own clock has it.
    fn clock(&self, time: SystemTime) -> String {
        humantime::format_rfc3339_millis(time + self.clock_ahead).to_string()
    }
}
