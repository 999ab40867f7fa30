//! `mfe-central doctor`: what is wrong with the office, and what to do. What was found is judged without any I/O.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rust_i18n::t;

use crate::amqp::{Broker, DEAD, EVENTS};
use crate::certificate;
use crate::config::{Route, Settings, host_of};
use crate::ports;
use crate::rabbitmq::{self, Definitions, Queue};
use crate::scrape::{self, Scrape};
use crate::service::event_loop;
use crate::setup::{Files, Options, UNIT, schema_as};
use crate::site::{self, Site};
use crate::system;

/// How long the page may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What there is, as far as it could be seen; an error is in the words of who has it.
#[derive(Debug)]
struct Facts {
    has_server: bool,
    certificates: Certificates,
    broker: Result<Definitions, String>,
    login: Result<(), String>,
    queues: Vec<Queue>,
    tls: Result<(), String>,
    database: Result<(), String>,
    page: Result<(), String>,
    /// The routes need it that follow streams.
    has_curl: bool,
    machine: Option<Machine>,
}

/// Which certificate has to be another soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Certificates {
    Good,
    Brokers,
    Authoritys,
}

/// What is of the system, where all of it is meant.
#[derive(Debug)]
struct Machine {
    is_enabled: bool,
    is_active: bool,
    /// The broker's ports for clusters that others reach.
    open: Vec<u16>,
    site: Site,
    scrape: Scrape,
}

/// Something that is wrong, and what to do, fit for a person.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    what: String,
    remedy: String,
}

/// Says what is wrong; exits 1 if anything is.
///
/// # Errors
/// When it can't be looked at.
pub(crate) fn doctor(
    file: &Path,
    settings: &Settings,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    system::ensure_root()?;
    let problems = judge(settings, &look(file, settings, options));
    let mut text = String::new();
    for problem in &problems {
        text += &format!("{}\n    {}\n", problem.what, problem.remedy);
    }
    if problems.is_empty() {
        text += &format!("{}\n", t!("doctor.clean"));
    } else {
        text += &format!("{}\n", t!("doctor.count", count = problems.len()));
    }
    // Nobody being there to read it is no error.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn look(file: &Path, settings: &Settings, options: &Options) -> Facts {
    let broker = rabbitmq::export().map_err(|error| format!("{error:#}"));
    let queues = broker
        .as_ref()
        .ok()
        .and_then(|_| rabbitmq::queues(&settings.virtual_host).ok());
    let name = settings.server.as_deref().map(host_of);
    let files = Files::of(&options.rabbitmq);
    let is_good =
        |name: &str| certificate::is_good(&settings.ca, (&files.certificate, &files.key), name);
    let database = system::account(&options.user)
        .ok_or_else(|| t!("setup.no_user", user = options.user).into_owned())
        .and_then(|account| schema_as(file, account, true).map_err(|error| format!("{error:#}")));
    Facts {
        has_server: name.is_some(),
        certificates: if !name.as_deref().is_some_and(is_good) {
            Certificates::Brokers
        } else if certificate::is_lasting(&settings.ca) {
            Certificates::Good
        } else {
            Certificates::Authoritys
        },
        broker,
        login: login(settings),
        queues: queues.unwrap_or_default(),
        tls: name.as_deref().map_or(Ok(()), |name| {
            certificate::handshake(&settings.ca, "127.0.0.1:5671", name)
        }),
        database: database.map(drop),
        page: page(settings.listen),
        has_curl: system::is_program("curl"),
        machine: options
            .is_the_systems()
            .then(|| machine(settings, name.as_deref())),
    }
}

fn machine(settings: &Settings, name: Option<&str>) -> Machine {
    let systemctl = |verb: &str| system::run(&["systemctl", verb, UNIT], None, None).is_ok();
    Machine {
        is_enabled: systemctl("is-enabled"),
        is_active: systemctl("is-active"),
        open: ports::open(),
        site: name.map_or(Site::NoServer, |name| site::look(settings, name)),
        scrape: scrape::look(),
    }
}

/// Whether central's user is let in.
fn login(settings: &Settings) -> Result<(), String> {
    let password = settings.password();
    let password =
        password.map_err(|error| format!("{}: {error}", settings.password_file.display()))?;
    let runtime = event_loop().map_err(|error| error.to_string())?;
    runtime.block_on(Broker::of(settings, password).log_in())
}

/// Whether the service answers, and has all that it needs.
fn page(address: SocketAddr) -> Result<(), String> {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error: std::io::Error| format!("{address}: {error}"))?;
    match answer.lines().next() {
        Some(line) if line.contains(" 200 ") => Ok(()),
        line => Err(format!("{address}: {}", line.unwrap_or_default())),
    }
}

/// What is wrong with what was found: first that of which the rest comes.
fn judge(settings: &Settings, facts: &Facts) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut problem = |what: String, remedy: &str| {
        let remedy = remedy.to_owned();
        problems.push(Problem { what, remedy });
    };
    let setup = t!("doctor.run_setup");
    match &facts.broker {
        Err(error) => problem(
            t!("doctor.broker", error = error).into_owned(),
            &t!("doctor.start_broker"),
        ),
        Ok(definitions) => {
            if let Err(error) = &facts.login {
                problem(t!("doctor.login", error = error).into_owned(), &setup);
            }
            if definitions
                .users
                .iter()
                .any(|user| user.name == rabbitmq::GUEST)
            {
                problem(
                    t!("doctor.guest").into_owned(),
                    "sudo rabbitmqctl delete_user guest",
                );
            }
        }
    }
    if !facts.has_server {
        problem(
            t!("enroll.no_server").into_owned(),
            &t!("doctor.run_setup_name"),
        );
    } else if facts.certificates == Certificates::Brokers {
        problem(t!("doctor.certificate").into_owned(), &setup);
    } else if facts.certificates == Certificates::Authoritys {
        let remedy = "sudo mfe-central renew";
        problem(t!("doctor.authority").into_owned(), remedy);
    } else if let (Ok(_), Err(error)) = (&facts.broker, &facts.tls) {
        problem(
            t!("doctor.tls", error = error).into_owned(),
            &t!("doctor.restart_broker"),
        );
    }
    if let Err(error) = &facts.database {
        problem(t!("doctor.database", error = error).into_owned(), &setup);
    }
    let is_inactive = facts.machine.as_ref().is_some_and(|one| !one.is_active);
    if is_inactive {
        problem(t!("doctor.inactive", unit = UNIT).into_owned(), &setup);
    } else if let Err(error) = &facts.page {
        problem(
            t!("doctor.page", error = error).into_owned(),
            &t!("doctor.start"),
        );
    }
    if let Some(machine) = &facts.machine {
        judge_machine(machine, facts.page.is_ok(), &mut problem);
    }
    let host = &settings.virtual_host;
    let of_routes = settings.routes.iter().filter_map(Route::queues);
    let of_routes = of_routes.flat_map(|queues| &queues.names);
    for name in of_routes.filter(|_| facts.broker.is_ok() && facts.page.is_ok()) {
        if !facts.queues.iter().any(|queue| queue.name == *name) {
            let what = t!("doctor.no_queue", queue = name);
            problem(what.into_owned(), &t!("doctor.restart"));
        }
    }
    if !facts.has_curl && settings.routes.iter().any(Route::is_stream) {
        problem(t!("doctor.no_curl").into_owned(), "sudo apt install curl");
    }
    for queue in &facts.queues {
        if queue.name == EVENTS && queue.consumers == 0 && facts.page.is_ok() {
            let what = t!(
                "doctor.not_read",
                queue = queue.name,
                count = queue.messages
            );
            problem(what.into_owned(), &t!("doctor.restart"));
        }
        if queue.name == DEAD && queue.messages > 0 {
            let what = t!("doctor.dead", queue = queue.name, count = queue.messages);
            problem(
                what.into_owned(),
                &t!("doctor.look", queue = queue.name, host = host),
            );
        }
    }
    problems
}

/// The same of the system; what comes of a service that doesn't serve isn't told once more.
fn judge_machine(machine: &Machine, is_served: bool, problem: &mut dyn FnMut(String, &str)) {
    let setup = t!("doctor.run_setup");
    if !machine.is_enabled {
        let remedy = format!("sudo systemctl enable {UNIT}");
        problem(t!("doctor.not_enabled", unit = UNIT).into_owned(), &remedy);
    }
    if !machine.open.is_empty() {
        let ports: Vec<String> = machine.open.iter().map(u16::to_string).collect();
        problem(
            t!("doctor.open", ports = ports.join(", ")).into_owned(),
            &t!("doctor.close"),
        );
    }
    match &machine.site {
        Site::NoServer | Site::Good => {}
        Site::Missing => problem(t!("doctor.no_site").into_owned(), &setup),
        Site::NotEnabled => problem(t!("doctor.site_off").into_owned(), &setup),
        Site::Certificate => problem(t!("doctor.site_certificate").into_owned(), &setup),
        Site::Unreachable(error) => problem(
            t!("doctor.site", error = error).into_owned(),
            &t!("doctor.look_at_nginx"),
        ),
    }
    match machine.scrape {
        Scrape::Unknown | Scrape::Good => {}
        Scrape::NoJob => problem(t!("doctor.no_job").into_owned(), &setup),
        Scrape::Fails if !is_served => {}
        Scrape::Fails => problem(
            t!("doctor.scrape").into_owned(),
            &t!("doctor.look_at_targets"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    type Change = fn(&mut Facts);

    fn good() -> Facts {
        let queue = |name: &str, messages, consumers| Queue {
            name: name.into(),
            messages,
            consumers,
        };
        Facts {
            has_server: true,
            certificates: Certificates::Good,
            broker: Ok(Definitions::default()),
            login: Ok(()),
            queues: vec![queue(EVENTS, 7, 1), queue(DEAD, 0, 0)],
            tls: Ok(()),
            database: Ok(()),
            page: Ok(()),
            has_curl: true,
            machine: Some(Machine {
                is_enabled: true,
                is_active: true,
                open: Vec::new(),
                site: Site::Good,
                scrape: Scrape::Good,
            }),
        }
    }

    fn of_machine(facts: &mut Facts, change: impl FnOnce(&mut Machine)) {
        facts.machine.as_mut().map(change).unwrap();
    }

    #[test]
    fn a_queue_of_a_route_has_to_be_there() {
        let text = "[[route]]\nfrom = \"rabbitmq\"\nqueues = [\"site.a\"]\nhandler = [\"/x\"]\n";
        let settings = config::parse(text).unwrap();
        let mut facts = good();
        let problems = judge(&settings, &facts);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].what.contains("site.a"), "{problems:?}");
        facts.queues[0].name = "site.a".into();
        assert_eq!(judge(&settings, &facts), []);
    }

    #[test]
    fn who_follows_a_stream_needs_curl() {
        let text =
            "[[route]]\nfrom = \"sse\"\nurl = \"https://a.example/events\"\nhandler = [\"/x\"]\n";
        let settings = config::parse(text).unwrap();
        let mut facts = good();
        assert_eq!(judge(&settings, &facts), []);
        facts.has_curl = false;
        let problems = judge(&settings, &facts);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].remedy, "sudo apt install curl");
        assert_eq!(judge(&config::parse("").unwrap(), &facts), []);
    }

    #[test]
    fn each_fault_is_told_once_with_its_remedy() {
        let settings = config::parse("").unwrap();
        assert_eq!(judge(&settings, &good()), []);
        let changes: [(Change, &str); 21] = [
            (
                |facts| of_machine(facts, |one| one.is_enabled = false),
                "systemctl enable",
            ),
            (
                |facts| of_machine(facts, |one| one.is_active = false),
                "setup",
            ),
            (
                |facts| {
                    of_machine(facts, |one| one.is_active = false);
                    facts.page = Err("x".into());
                },
                "setup",
            ),
            (
                |facts| of_machine(facts, |one| one.open = vec![4369, 25672]),
                "setup",
            ),
            (
                |facts| of_machine(facts, |one| one.site = Site::Missing),
                "setup",
            ),
            (
                |facts| of_machine(facts, |one| one.site = Site::NotEnabled),
                "setup",
            ),
            (
                |facts| of_machine(facts, |one| one.site = Site::Certificate),
                "setup",
            ),
            (
                |facts| of_machine(facts, |one| one.site = Site::Unreachable("x".into())),
                "nginx",
            ),
            (
                |facts| of_machine(facts, |one| one.scrape = Scrape::NoJob),
                "setup",
            ),
            (
                |facts| of_machine(facts, |one| one.scrape = Scrape::Fails),
                "9090",
            ),
            (|facts| facts.broker = Err("x".into()), "rabbitmq"),
            (|facts| facts.login = Err("x".into()), "setup"),
            (|facts| facts.has_server = false, "--name"),
            (|facts| facts.certificates = Certificates::Brokers, "setup"),
            (
                |facts| facts.certificates = Certificates::Authoritys,
                "renew",
            ),
            (|facts| facts.tls = Err("x".into()), "rabbitmq"),
            (|facts| facts.database = Err("x".into()), "setup"),
            (|facts| facts.page = Err("x".into()), "journalctl"),
            (|facts| facts.queues[0].consumers = 0, "mfe-central"),
            (|facts| facts.queues[1].messages = 1, "mfe.dead"),
            (
                |facts| {
                    let json = r#"{"users":[{"name":"guest","tags":["administrator"]}]}"#;
                    facts.broker = Ok(serde_json::from_str(json).unwrap());
                },
                "delete_user guest",
            ),
        ];
        for (n, (change, remedy)) in changes.into_iter().enumerate() {
            let mut facts = good();
            change(&mut facts);
            let problems = judge(&settings, &facts);
            assert_eq!(problems.len(), 1, "{n}: {problems:?}");
            assert!(problems[0].remedy.contains(remedy), "{n}: {problems:?}");
        }
    }
}
