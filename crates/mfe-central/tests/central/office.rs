//! An office of a case's own: a virtual host and a database of the shared engines, and the program.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{
    BasicAckArguments, BasicGetArguments, BasicPublishArguments, Channel, ConfirmSelectArguments,
    QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::error::Error;
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use async_trait::async_trait;
use mfe_kit::engines::{Postgres, RabbitMq, definitions};
use mfe_kit::{Guard, Output, eventually, output};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

/// As many cases can be had of one broker.
const HOSTS: usize = 32;

pub const ADMIN: &str = "mfe-central";
pub const PASSWORD: &str = "a secret of the test's";

pub const BOOT: &str = "0123456789abcdef0123456789abcdef";

/// Whether there can be one here.
#[macro_export]
macro_rules! needs_engines {
    () => {
        mfe_kit::needs!(
            mfe_kit::Need::Root("the engines run in a PID namespace of their own"),
            mfe_kit::Need::Package("rabbitmq-server"),
            mfe_kit::Need::Package("postgresql")
        )
    };
}

/// Engines for so many offices.
pub struct Engines {
    pub postgres: Postgres,
    pub rabbitmq: RabbitMq,
    next: AtomicUsize,
    hosts: usize,
}

/// The ones that cases share that leave them as they are.
fn shared() -> Arc<Engines> {
    static SHARED: OnceLock<Arc<Engines>> = OnceLock::new();
    Arc::clone(SHARED.get_or_init(|| Arc::new(Engines::start(HOSTS))))
}

impl Engines {
    /// Starts some for so many offices, of two tills each.
    pub fn start(hosts: usize) -> Self {
        let names: Vec<String> = (0..hosts).map(host).collect();
        let tills: Vec<String> = ["till-1", "till-2"].map(str::to_owned).into();
        let definitions = definitions(&names, (ADMIN, PASSWORD), &tills, PASSWORD);
        let postgres = thread::spawn(Postgres::start);
        let rabbitmq = RabbitMq::start(&definitions);
        Self::of(postgres.join().unwrap(), rabbitmq, hosts)
    }

    /// Those that somebody has started, with so many virtual hosts.
    pub fn of(postgres: Postgres, rabbitmq: RabbitMq, hosts: usize) -> Self {
        Self {
            postgres,
            rabbitmq,
            next: AtomicUsize::new(0),
            hosts,
        }
    }
}

/// The name of an office's virtual host.
pub fn host(n: usize) -> String {
    format!("case-{n}")
}

/// An office.
pub struct Office {
    pub engines: Arc<Engines>,
    folder: tempfile::TempDir,
    host: String,
    database: String,
    runtime: tokio::runtime::Runtime,
}

impl Office {
    pub fn new() -> Self {
        Self::of(shared())
    }

    /// One of these engines.
    pub fn of(engines: Arc<Engines>) -> Self {
        let n = engines.next.fetch_add(1, Ordering::Relaxed);
        assert!(n < engines.hosts, "no virtual host is left");
        let database = format!("case_{n}");
        engines
            .postgres
            .sql("postgres", &format!("CREATE DATABASE {database}"));
        let office = Self {
            engines,
            folder: tempfile::tempdir().unwrap(),
            host: host(n),
            database,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        };
        office.configure("");
        office
    }

    /// Writes its configuration, with more at the end.
    pub fn configure(&self, more: &str) {
        let folder = self.folder.path();
        fs::write(folder.join("password"), format!("{PASSWORD}\n")).unwrap();
        let config = format!(
            "broker = \"127.0.0.1:{}\"\nvirtual_host = \"{}\"\npassword_file = \"{}\"\ndatabase = \"{}\"\n\
             listen = \"127.0.0.1:0\"\n{more}",
            self.engines.rabbitmq.port,
            self.host,
            folder.join("password").display(),
            self.engines.postgres.connection(&self.database),
        );
        fs::write(folder.join("config.toml"), config).unwrap();
    }

    /// Writes the configuration of an office for which nothing is made yet, as anybody may read it.
    pub fn configure_new(&self, name: &str, more: &str) {
        let folder = self.folder.path();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = format!(
            "broker = \"127.0.0.1:{0}\"\nvirtual_host = \"{name}\"\nuser = \"{name}\"\n\
             password_file = \"{1}/secret\"\nca = \"{1}/ca.pem\"\nlisten = \"{2}\"\n\
             database = \"host={3} user={name} dbname={name}\"\n{more}",
            self.engines.rabbitmq.port,
            folder.display(),
            free.local_addr().unwrap(),
            self.engines.postgres.socket().display(),
        );
        fs::write(folder.join("config.toml"), config).unwrap();
    }

    /// Runs a command of the program, with the broker's own rabbitmqctl.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap();
        let programs = self.engines.rabbitmq.programs();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mfe-central"));
        command
            .arg("--config")
            .arg(self.path("config.toml"))
            .args(arguments)
            // How PostgreSQL's own programs find it.
            .env("PGHOST", self.engines.postgres.socket())
            .env("PGUSER", "office")
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("LC_ALL", "C.UTF-8");
        output(&mut command)
    }

    /// The path of a file of its own.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Logs in at the broker, and stays there.
    pub fn log_in(&self, user: &str, password: &str) -> Option<Login<'_>> {
        let arguments =
            OpenConnectionArguments::new("127.0.0.1", self.engines.rabbitmq.port, user, password)
                .virtual_host(&self.host)
                .finish();
        let connection = self.runtime.block_on(Connection::open(&arguments));
        Some(Login {
            runtime: &self.runtime,
            connection: Some(connection.ok()?),
        })
    }

    pub fn way(&self) -> Way {
        Way {
            port: self.engines.rabbitmq.port,
            host: self.host.clone(),
        }
    }

    pub fn sql(&self, sql: &str) -> String {
        self.engines.postgres.sql(&self.database, sql)
    }

    /// Takes the database away: nobody is connected, and nobody can be.
    pub fn without_database(&self) {
        let sql = format!(
            "ALTER DATABASE {0} ALLOW_CONNECTIONS false; \
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{0}'",
            self.database
        );
        self.engines.postgres.sql("postgres", &sql);
    }

    pub fn with_database(&self) {
        self.engines.postgres.sql(
            "postgres",
            &format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.database),
        );
    }

    /// Starts the program, and waits until it takes messages.
    pub fn central(&self) -> Central {
        let central = self.begin();
        eventually(("it is ready", central.said()), || {
            (central.get("/healthz").status == 200).then_some(())
        });
        central
    }

    /// Starts the program.
    pub fn begin(&self) -> Central {
        Central::start(&self.folder.path().join("config.toml"))
    }

    fn channel(&self, user: &str) -> (Connection, Channel) {
        let arguments =
            OpenConnectionArguments::new("127.0.0.1", self.engines.rabbitmq.port, user, PASSWORD)
                .virtual_host(&self.host)
                .finish();
        self.runtime.block_on(async {
            let connection = Connection::open(&arguments).await.unwrap();
            let channel = connection.open_channel(None).await.unwrap();
            (connection, channel)
        })
    }

    /// Sends messages as a user, and waits until the broker has confirmed them.
    pub fn send(&self, user: &str, messages: &[Message]) {
        let _inside = self.runtime.enter();
        let (connection, channel) = self.channel(user);
        self.runtime.block_on(async {
            let mut confirmed = confirmed(&channel).await.unwrap();
            for message in messages {
                publish(&channel, message).await.unwrap();
            }
            let mut open: BTreeSet<u64> = (1..=messages.len() as u64).collect();
            while !open.is_empty() {
                let ack = tokio::time::timeout(mfe_kit::DEADLINE, confirmed.recv())
                    .await
                    .unwrap()
                    .unwrap();
                let tag = ack.delivery_tag();
                open.retain(|one| {
                    if ack.mutiple() {
                        *one > tag
                    } else {
                        *one != tag
                    }
                });
            }
            channel.close().await.unwrap();
            connection.close().await.unwrap();
        });
    }

    /// Waits until somebody takes the messages of a queue.
    pub fn eventually_taken(&self, queue: &str) {
        let _inside = self.runtime.enter();
        eventually(("it is taken from", queue), || {
            let (connection, channel) = self.channel(ADMIN);
            self.runtime.block_on(async {
                let asked = QueueDeclareArguments::new(queue).passive(true).finish();
                let declared = channel.queue_declare(asked).await.ok().flatten();
                connection.close().await.unwrap();
                declared.filter(|(_, _, takers)| *takers > 0).map(drop)
            })
        });
    }

    /// How many messages a queue has that nobody has taken.
    pub fn waiting(&self, queue: &str) -> u32 {
        // The library takes leave by a task of its own, for which it needs the runtime.
        let _inside = self.runtime.enter();
        let (connection, channel) = self.channel(ADMIN);
        self.runtime.block_on(async {
            let asked = QueueDeclareArguments::new(queue).passive(true).finish();
            let (_, count, _) = channel.queue_declare(asked).await.unwrap().unwrap();
            connection.close().await.unwrap();
            count
        })
    }

    /// Takes what was put aside, until there is so much of it.
    pub fn dead(&self, count: usize) -> Vec<Vec<u8>> {
        // The library takes leave by a task of its own, for which it needs the runtime.
        let _inside = self.runtime.enter();
        let (connection, channel) = self.channel(ADMIN);
        let mut bodies = Vec::new();
        eventually("so many are put aside", || {
            self.runtime.block_on(async {
                while let Some((got, _, body)) = channel
                    .basic_get(BasicGetArguments::new("mfe.dead"))
                    .await
                    .unwrap()
                {
                    channel
                        .basic_ack(BasicAckArguments::new(got.delivery_tag(), false))
                        .await
                        .unwrap();
                    bodies.push(body);
                }
            });
            (bodies.len() >= count).then_some(())
        });
        self.runtime.block_on(connection.close()).unwrap();
        bodies
    }
}

/// Somebody who is logged in, until this is dropped.
pub struct Login<'a> {
    runtime: &'a tokio::runtime::Runtime,
    connection: Option<Connection>,
}

impl Login<'_> {
    /// Sends a message, and tells whether the broker has taken it.
    pub fn sends(&self, message: &Message) -> bool {
        let connection = self.connection.as_ref().unwrap();
        self.runtime.block_on(async {
            let channel = connection.open_channel(None).await.unwrap();
            let mut confirmed = confirmed(&channel).await.unwrap();
            publish(&channel, message).await.unwrap();
            let deadline = Instant::now() + mfe_kit::DEADLINE;
            // A channel on which something was refused is closed.
            while channel.is_open() && Instant::now() < deadline {
                let pause = tokio::time::sleep(Duration::from_millis(20));
                tokio::select! {
                    biased;
                    ack = confirmed.recv() => return ack.is_some(),
                    () = pause => {}
                }
            }
            assert!(!channel.is_open(), "the broker says nothing");
            false
        })
    }

    /// Waits until the broker has closed the connection.
    pub fn is_closed(&self) {
        let connection = self.connection.as_ref().unwrap();
        eventually("the broker closes the connection", || {
            self.runtime
                .block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
            (!connection.is_open()).then_some(())
        });
    }
}

impl Drop for Login<'_> {
    fn drop(&mut self) {
        // The library takes leave by a task of its own, for which it needs the runtime.
        let _inside = self.runtime.enter();
        if let Some(connection) = self.connection.take() {
            let _ = self.runtime.block_on(connection.close());
        }
    }
}

/// Runs rabbitmqctl.
pub fn rabbitmqctl(arguments: &[&str]) {
    let program = shared().rabbitmq.programs().join("rabbitmqctl");
    let done = output(Command::new(program).args(arguments));
    assert_eq!(done.code(), 0, "{}{}", done.stdout, done.stderr);
}

/// What the broker confirms of a channel from now on.
async fn confirmed(channel: &Channel) -> Result<UnboundedReceiver<Ack>, Error> {
    let (said, confirmed) = tokio::sync::mpsc::unbounded_channel();
    channel.register_callback(Ears(said)).await?;
    let select = ConfirmSelectArguments::default();
    channel.confirm_select(select).await?;
    Ok(confirmed)
}

async fn publish(channel: &Channel, message: &Message) -> Result<(), Error> {
    let mut properties = BasicProperties::default();
    properties.with_persistence(true);
    if let Some(user_id) = &message.user_id {
        properties.with_user_id(user_id);
    }
    let arguments = BasicPublishArguments::new(message.exchange, &message.key);
    let published = channel.basic_publish(properties, message.body.clone(), arguments);
    published.await
}

/// How an office's broker is reached.
pub struct Way {
    port: u16,
    host: String,
}

impl Way {
    /// Connects as a user, with what the broker confirms of it. The broker may be away.
    pub async fn connect(&self, user: &str) -> Result<(Link, UnboundedReceiver<Ack>), Error> {
        let arguments = OpenConnectionArguments::new("127.0.0.1", self.port, user, PASSWORD)
            .virtual_host(&self.host)
            .finish();
        let connecting = async {
            let connection = Connection::open(&arguments).await?;
            let channel = connection.open_channel(None).await?;
            let confirmed = confirmed(&channel).await?;
            let link = Link {
                connection,
                channel,
            };
            Ok((link, confirmed))
        };
        // One that is just being killed may take the connection, and say nothing.
        let connected = tokio::time::timeout(Duration::from_secs(5), connecting).await;
        connected.unwrap_or_else(|_| Err(Error::InternalChannelError("no answer".to_owned())))
    }
}

/// A connection that may be lost.
pub struct Link {
    connection: Connection,
    channel: Channel,
}

impl Link {
    pub fn is_open(&self) -> bool {
        self.connection.is_open() && self.channel.is_open()
    }

    pub async fn publish(&self, message: &Message) -> Result<(), Error> {
        publish(&self.channel, message).await
    }
}

/// Hears what the broker has confirmed.
struct Ears(tokio::sync::mpsc::UnboundedSender<Ack>);

#[async_trait]
impl ChannelCallback for Ears {
    async fn close(&mut self, _: &Channel, _: CloseChannel) -> Result<(), Error> {
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        let _ = self.0.send(ack);
    }

    async fn publish_nack(&mut self, _: &Channel, _: Nack) {}

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}

/// Something to send.
#[derive(Debug, Clone)]
pub struct Message {
    pub exchange: &'static str,
    pub key: String,
    pub user_id: Option<String>,
    pub body: Vec<u8>,
}

fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// An event of a till, by its number.
pub fn event(till: &str, n: u64) -> Message {
    let data = json!({"process": "monitor", "message": format!("Monitor is down {n}")});
    event_of(till, n, "down", data)
}

/// An event of this kind, so many milliseconds after the boot.
pub fn event_of(till: &str, n: u64, kind: &str, mut data: Value) -> Message {
    let now = timestamp(SystemTime::now());
    // Its time is the same however often it is sent.
    let time = timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + n));
    let of_all = json!({"boot": BOOT, "mono_us": n * 1000, "relay": "0.1.0",
        "sent": {"mono_us": 1_000_000_000, "time": now}});
    let of_all = of_all.as_object().unwrap().clone();
    data.as_object_mut().unwrap().extend(of_all);
    let body = json!({
        "specversion": "1.0", "id": format!("{BOOT}/{}/f00d", n * 1000), "source": till,
        "type": format!("br.mfe-watchdog.{kind}.v1"), "time": time, "data": data,
    });
    Message {
        exchange: "mfe.events",
        key: format!("{till}.{kind}"),
        user_id: Some(till.to_owned()),
        body: body.to_string().into_bytes(),
    }
}

/// A state of a till, sent at so many milliseconds of its boot.
pub fn state(till: &str, mono_ms: u64, program: &str) -> Message {
    let now = timestamp(SystemTime::now());
    let body = json!({
        "source": till, "boot": BOOT, "mono": mono_ms * 1000, "time": now, "backlog": 0, "machine_id": BOOT,
        "versions": {"relay": "0.1.0"}, "labels": {"store": "12"},
        "processes": [{"key": "monitor", "name": "Monitor", "state": program,
            "pids": if program == "up" { vec![7] } else { vec![] }, "since": now, "restarts": 0,
            "last_restart": null, "detail": null}],
    });
    Message {
        exchange: "mfe.state",
        key: format!("{till}.state"),
        user_id: Some(till.to_owned()),
        body: body.to_string().into_bytes(),
    }
}

/// The program.
pub struct Central {
    pub child: Guard,
    address: String,
    said: Arc<Mutex<String>>,
}

/// An answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Central {
    fn start(config: &std::path::Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mfe-central"));
        command
            .arg("run")
            .arg("--config")
            .arg(config)
            .env_remove("NOTIFY_SOCKET");
        let mut child = Guard(
            command
                .stdin(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let said = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
        let into = Arc::clone(&said);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *into.lock().unwrap() += &format!("{line}\n");
            }
        });
        let address = eventually("an address", || {
            let said = said.lock().unwrap();
            let rest = said.split_once("http://")?.1;
            Some(rest.split_once('/')?.0.to_owned())
        });
        Self {
            child,
            address,
            said,
        }
    }

    /// Where it is reached, as `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub fn kill(mut self) {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap();
    }

    /// Tells it to end, and waits until it has.
    pub fn end(mut self) {
        let pid = self.child.0.id().to_string();
        let done = output(Command::new("kill").args(["-TERM", &pid]));
        assert_eq!(done.code(), 0, "{}", done.stderr);
        assert!(self.child.0.wait().unwrap().success());
    }

    fn connect(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(mfe_kit::DEADLINE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    pub fn request(&self, request: &str) -> Answer {
        let mut text = String::new();
        self.connect(request).read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request(&format!("GET {path} HTTP/1.0\r\n\r\n"))
    }

    /// Follows what happens, after this row if one is named.
    pub fn follow(&self, path: &str, last: Option<u64>) -> Follower {
        let last = last
            .map(|last| format!("Last-Event-ID: {last}\r\n"))
            .unwrap_or_default();
        let stream = self.connect(&format!("GET {path} HTTP/1.0\r\n{last}\r\n"));
        let mut follower = Follower(BufReader::new(stream));
        assert!(follower.line().contains("200"));
        // It follows from its first word on.
        while !follower.line().starts_with("retry:") {}
        follower
    }

    /// The value of a metric.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").body;
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))?;
        line.split(' ').nth(1)?.parse().ok()
    }
}

/// Who follows.
pub struct Follower(BufReader<TcpStream>);

impl Follower {
    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).unwrap();
        assert!(read > 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    /// The next message of a kind: its id, if it has one, and what it says.
    pub fn next(&mut self, kind: &str) -> (Option<u64>, Value) {
        loop {
            if self.line() != format!("event: {kind}") {
                continue;
            }
            let mut line = self.line();
            let id = line.strip_prefix("id: ").map(|id| id.parse().unwrap());
            if id.is_some() {
                line = self.line();
            }
            return (
                id,
                serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap(),
            );
        }
    }
}
