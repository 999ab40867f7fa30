//! `mfe-central setup`: makes of a machine with RabbitMQ and PostgreSQL an office. Whatever is there already stays as it
//! is; each thing that is made is said.

use std::fs;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use rust_i18n::t;

use crate::amqp::Broker;
use crate::certificate;
use crate::config::{self, Settings, host_of};
use crate::ports;
use crate::rabbitmq::{self, Definitions, Permission, User, VirtualHost};
use crate::scrape;
use crate::service::event_loop;
use crate::site;
use crate::system::{self, Account};
use crate::token;

/// Where Debian's RabbitMQ has its configuration.
pub(crate) const RABBITMQ: &str = "/etc/rabbitmq";

/// What is needed besides, and the package that it is in.
const PROGRAMS: [(&str, &str); 3] = [
    ("openssl", "openssl"),
    ("psql", "postgresql"),
    ("rabbitmqctl", "rabbitmq-server"),
];

/// Makes the role and the database that aren't there, and says which.
const DATABASE: &str = r"SELECT 'role ' || :'role' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role');
SELECT format('CREATE ROLE %I LOGIN', :'role')
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
SELECT 'database ' || :'database' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database');
SELECT format('CREATE DATABASE %I OWNER %I ENCODING ''UTF8'' TEMPLATE template0', :'database', :'role')
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
";

/// What the command line says.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The name by which tills reach the office.
    pub(crate) name: Option<String>,
    /// Who the service runs as.
    pub(crate) user: String,
    /// Where the broker's configuration is.
    pub(crate) rabbitmq: PathBuf,
    /// The page's certificate and its key, if they aren't to be of the office's own authority.
    pub(crate) page: Option<(PathBuf, PathBuf)>,
}

impl Options {
    /// Whether all of the system is meant, or a broker that somebody has beside it.
    pub(crate) fn is_the_systems(&self) -> bool {
        self.rabbitmq == Path::new(RABBITMQ) && Path::new("/run/systemd/system").exists()
    }
}

/// The service's unit.
pub(crate) const UNIT: &str = "mfe-central.service";

/// Where things of the broker's are.
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    config: PathBuf,
}

impl Files {
    pub(crate) fn of(folder: &Path) -> Self {
        Self {
            certificate: folder.join("mfe-central.pem"),
            key: folder.join("mfe-central.key"),
            config: folder.join("conf.d/mfe-central.conf"),
        }
    }
}

/// Makes all that isn't there.
///
/// # Errors
/// What is missing, or in the way. What was made before it stays, and the next run goes on from there.
pub(crate) fn setup(
    file: &Path,
    mut settings: Settings,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    system::ensure_root()?;
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !system::is_program(program))
        .map(|(_, package)| *package)
        .collect();
    ensure!(
        missing.is_empty(),
        "{}",
        t!("setup.missing", packages = missing.join(" "))
    );
    let user = &options.user;
    let account =
        system::account(user).with_context(|| t!("setup.no_user", user = user).into_owned())?;
    let server = server(file, &settings, options.name.as_deref())?;
    let name = host_of(&server);
    let broker = system::account("rabbitmq").context("rabbitmq")?;
    ensure_no_listeners(&options.rabbitmq)?;
    // Nothing is begun where the broker or nginx couldn't take its part.
    rabbitmq::export()?;
    let is_the_systems = options.is_the_systems();
    let cluster = if is_the_systems {
        Some(ports::loopback()?)
    } else {
        None
    };
    let has_site_server = is_the_systems && site::is_possible();
    if has_site_server {
        site::try_configuration()?;
    }

    let mut changes = Changes(0);
    if settings.server.is_none() {
        let text = format!("# Where tills reach the broker.\nserver = {server:?}\n");
        system::replace(file, &text, 0o644, None)?;
        changes.file(file);
        settings.server = Some(server);
    }
    let is_new = !settings.password_file.exists();
    let password = password(&settings, account, &mut changes)?;
    certificates(&settings, &name, &options.rabbitmq, broker, &mut changes)?;
    let loopback = cluster.as_ref().and_then(|cluster| cluster.as_ref().ok());
    listeners(&settings, options, loopback.copied(), &mut changes)?;
    prepare(&settings, password, &mut changes)?;
    database(file, &settings, account, &mut changes)?;
    let mut hints: Vec<String> = cluster.and_then(Result::err).into_iter().collect();
    if is_the_systems {
        service(is_new, &mut changes)?;
        match site::anothers(&settings, &name) {
            _ if !has_site_server => hints.push(t!("setup.no_site").into_owned()),
            Some(site) => hints.push(t!("setup.another_site", file = site.display()).into_owned()),
            None => {
                let page = options.page.as_ref();
                site::make(&settings, &name, page, &mut |text| changes.say(text))?;
            }
        }
        if scrape::is_possible() {
            scrape::make(settings.listen, &mut |text| changes.say(text))?;
        }
    }
    for hint in hints {
        tell(&hint);
    }
    if changes.0 == 0 {
        tell(&t!("setup.nothing"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives the broker a new certificate of the authority's, and lets it take it; the authority one of its own, if it is
/// over within two years.
///
/// # Errors
/// When it can't be made, or the broker can't be told.
pub(crate) fn renew(settings: &Settings, rabbitmq: &Path) -> anyhow::Result<ExitCode> {
    system::ensure_root()?;
    let server = settings
        .server
        .as_deref()
        .with_context(|| t!("enroll.no_server"))?;
    let broker = system::account("rabbitmq").context("rabbitmq")?;
    let made = |file: &Path| tell(&t!("setup.file", file = file.display()));
    let ca = &settings.ca;
    let over = (!certificate::is_lasting(ca)).then(|| certificate::end(ca));
    if let Some(end) = over.flatten() {
        certificate::renew_authority(ca, &ca.with_extension("key"))?;
        made(ca);
        tell(&t!("setup.authority", end = end));
    }
    issue(settings, &host_of(server), rabbitmq, broker)?;
    rabbitmq::forget_certificates()?;
    made(&Files::of(rabbitmq).certificate);
    let page = site::Files::of(settings);
    if page.certificate.exists() && page.is_of_site() {
        site::issue(settings, &host_of(server))?;
        site::reload()?;
        made(&page.certificate);
    }
    Ok(ExitCode::SUCCESS)
}

/// What was made.
struct Changes(usize);

impl Changes {
    fn say(&mut self, text: &str) {
        self.0 += 1;
        tell(text);
    }

    fn file(&mut self, file: &Path) {
        self.say(&t!("setup.file", file = file.display()));
    }
}

fn tell(text: &str) {
    // Nobody being there to read it is no error: it is done all the same.
    let _ = writeln!(io::stdout(), "{text}");
}

/// Where tills reach the broker, by the configuration and by the name that was given.
fn server(file: &Path, settings: &Settings, name: Option<&str>) -> anyhow::Result<String> {
    match (&settings.server, name) {
        (Some(server), Some(name)) if host_of(server) != name => {
            bail!(
                "{}",
                t!("setup.another", file = file.display(), server = server)
            )
        }
        (Some(server), _) => Ok(server.clone()),
        (None, None) => bail!("{}", t!("setup.no_name")),
        (None, Some(name)) => {
            let is_ipv6 = name.parse::<std::net::Ipv6Addr>().is_ok();
            let host = if is_ipv6 {
                format!("[{name}]")
            } else {
                name.to_owned()
            };
            let server = format!("amqps://{host}");
            let is_name = config::is_server(&server) && host_of(&server) == name;
            ensure!(is_name, "{}", t!("setup.name", name = format!("{name:?}")));
            // It is the user's file, and where in it a line belongs is not ours to guess.
            let line = format!("server = {server:?}");
            ensure!(
                !file.exists(),
                "{}",
                t!("setup.no_line", file = file.display(), line = line)
            );
            Ok(server)
        }
    }
}

/// The password of central's user at the broker.
fn password(
    settings: &Settings,
    account: Account,
    changes: &mut Changes,
) -> anyhow::Result<String> {
    let file = &settings.password_file;
    match settings.password() {
        Ok(password) => return Ok(password),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| file.display().to_string()),
    }
    let password = token::password()?;
    let owner = Account {
        user: 0,
        group: account.group,
    };
    system::replace(file, &format!("{password}\n"), 0o640, Some(owner))?;
    changes.file(file);
    Ok(password)
}

fn certificates(
    settings: &Settings,
    name: &str,
    rabbitmq: &Path,
    broker: Account,
    changes: &mut Changes,
) -> anyhow::Result<()> {
    let (ca, files) = (&settings.ca, Files::of(rabbitmq));
    if !ca.exists() {
        certificate::make_authority(ca, &ca.with_extension("key"), name)?;
        changes.file(ca);
    }
    if !certificate::is_good(ca, (&files.certificate, &files.key), name) {
        issue(settings, name, rabbitmq, broker)?;
        changes.file(&files.certificate);
    }
    Ok(())
}

fn issue(settings: &Settings, name: &str, rabbitmq: &Path, broker: Account) -> anyhow::Result<()> {
    let (ca, files) = (&settings.ca, Files::of(rabbitmq));
    let key = ca.with_extension("key");
    let of_files = (files.certificate.display(), files.key.display());
    ensure!(
        key.exists(),
        "{}",
        t!(
            "setup.no_key",
            key = key.display(),
            certificate = of_files.0,
            certificate_key = of_files.1
        )
    );
    let owner = Account {
        user: 0,
        group: broker.group,
    };
    certificate::make((ca, &key), (&files.certificate, &files.key), name, owner)
}

/// A port that is listened on twice is a broker that doesn't start.
fn ensure_no_listeners(rabbitmq: &Path) -> anyhow::Result<()> {
    let ours = Files::of(rabbitmq).config;
    let more = fs::read_dir(rabbitmq.join("conf.d"));
    let more = more
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    for file in more
        .chain([rabbitmq.join("rabbitmq.conf")])
        .filter(|file| *file != ours)
    {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let is_setting = |line: &str| {
            let line = line.trim_start();
            let settings = [
                "listeners.",
                "ssl_options.",
                "distribution.listener.interface",
            ];
            settings.iter().any(|setting| line.starts_with(setting))
        };
        ensure!(
            !text.lines().any(is_setting),
            "{}",
            t!(
                "setup.listeners",
                file = file.display(),
                ours = ours.display()
            )
        );
    }
    Ok(())
}

/// Tills come by TLS; without it, and for clusters, the broker is reached on this machine only.
fn listeners(
    settings: &Settings,
    options: &Options,
    loopback: Option<Ipv4Addr>,
    changes: &mut Changes,
) -> anyhow::Result<()> {
    let files = Files::of(&options.rabbitmq);
    let mut text = format!(
        "# Of mfe-central setup.\nlisteners.tcp.central = {}\nlisteners.ssl.tills = 5671\n\
         ssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
         ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n\
         ssl_options.versions.1 = tlsv1.3\nssl_options.versions.2 = tlsv1.2\n",
        settings.broker,
        settings.ca.display(),
        files.certificate.display(),
        files.key.display(),
    );
    let mut epmd = None;
    if let Some(address) = loopback {
        text += &format!("distribution.listener.interface = {address}\n");
        epmd = ports::bind_epmd(address)?;
    }
    let before = fs::read_to_string(&files.config).ok();
    let is_config_new = before.as_ref() != Some(&text);
    if is_config_new {
        system::replace(&files.config, &text, 0o644, None)?;
        changes.file(&files.config);
    }
    if let Some(file) = epmd {
        changes.file(file);
    }
    if !options.is_the_systems() || (epmd.is_none() && !is_config_new) {
        return Ok(());
    }
    if let Err(error) = ports::restart() {
        // A broker that ran goes on as it was.
        match before {
            Some(before) => system::replace(&files.config, &before, 0o644, None)?,
            None => fs::remove_file(&files.config)?,
        }
        if epmd.is_some() {
            ports::unbind_epmd();
        }
        let _ = ports::restart();
        return Err(error);
    }
    changes.say(&t!("setup.restarted"));
    Ok(())
}

/// The service runs, and does so after the next boot. One that runs with a password of before starts again.
fn service(is_new: bool, changes: &mut Changes) -> anyhow::Result<()> {
    let systemctl = |words: &[&str]| system::run(&[&["systemctl"], words].concat(), None, None);
    if systemctl(&["cat", UNIT]).is_err() {
        return Ok(());
    }
    if systemctl(&["is-enabled", UNIT]).is_err() {
        systemctl(&["enable", UNIT])?;
        changes.say(&t!("setup.enabled", unit = UNIT));
    }
    if is_new || systemctl(&["is-active", UNIT]).is_err() {
        systemctl(&["restart", UNIT])?;
        changes.say(&t!("setup.started", unit = UNIT));
    }
    Ok(())
}

/// The virtual host, central's user and its rights, exchanges, queues and bindings.
fn prepare(settings: &Settings, password: String, changes: &mut Changes) -> anyhow::Result<()> {
    let (host, user) = (&settings.virtual_host, &settings.user);
    let before = rabbitmq::export()?;
    let all = || ".*".to_owned();
    let wanted = Definitions {
        vhosts: vec![VirtualHost { name: host.clone() }],
        users: vec![User {
            name: user.clone(),
            password: Some(password.clone()),
            tags: serde_json::Value::String(String::new()),
        }],
        permissions: vec![Permission {
            user: user.clone(),
            vhost: host.clone(),
            configure: all(),
            write: all(),
            read: all(),
        }],
        ..Definitions::default()
    };
    let broker = Broker::of(settings, password);
    let runtime = event_loop()?;
    let try_it = || runtime.block_on(broker.prepare());
    if try_it().is_err() {
        rabbitmq::import(&wanted)?;
        changes.say(&t!("setup.user", user = user, host = host));
        try_it().map_err(anyhow::Error::msg)?;
    }
    if before.is_untouched() {
        rabbitmq::delete_user(rabbitmq::GUEST)?;
        changes.say(&t!("setup.guest", user = rabbitmq::GUEST));
    }
    let after = rabbitmq::export()?;
    for (kind, before, after) in [
        ("exchange", &before.exchanges, &after.exchanges),
        ("queue", &before.queues, &after.queues),
    ] {
        for new in after
            .iter()
            .filter(|one| one.vhost == *host && !before.contains(one))
        {
            changes.say(&t!("setup.made", what = format!("{kind} {}", new.name)));
        }
    }
    Ok(())
}

/// The role, the database and its tables.
fn database(
    file: &Path,
    settings: &Settings,
    account: Account,
    changes: &mut Changes,
) -> anyhow::Result<()> {
    let (Some(role), Some(name)) = (settings.database.get_user(), settings.database.get_dbname())
    else {
        bail!("database: {}", t!("config.database"));
    };
    let (role, name) = (format!("role={role}"), format!("database={name}"));
    let words = [
        "runuser",
        "-u",
        "postgres",
        "--",
        "psql",
        "-X",
        "-q",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-v",
        &role,
        "-v",
        &name,
        "-d",
        "postgres",
    ];
    for what in system::run(&words, Some(DATABASE), None)?.lines() {
        changes.say(&t!("setup.made", what = what));
    }
    let steps = schema_as(file, account, false)?;
    if steps > 0 {
        changes.say(&t!("setup.tables"));
    }
    Ok(())
}

/// Has it known which tills are enrolled, or aren't any more. PostgreSQL knows the service by the user that has the name
/// of its role, if there is one.
///
/// # Errors
/// When the database can't be used.
pub(crate) fn note_tills(
    file: &Path,
    settings: &Settings,
    tills: &[&str],
    is_gone: bool,
) -> anyhow::Result<()> {
    let program = std::env::current_exe()?.display().to_string();
    let file = std::path::absolute(file)?.display().to_string();
    let mut words = vec![&*program, "tills", "--config", &file];
    if is_gone {
        words.push("--gone");
    }
    let account = settings.database.get_user().and_then(system::account);
    system::run(&words, Some(&tills.join("\n")), account).map(drop)
}

/// Brings the tables to their present form, or only connects, as the user of the service: PostgreSQL knows it by who
/// it is.
///
/// # Errors
/// When the database can't be used.
pub(crate) fn schema_as(file: &Path, account: Account, is_dry: bool) -> anyhow::Result<usize> {
    let program = std::env::current_exe()?.display().to_string();
    let file = std::path::absolute(file)?.display().to_string();
    let mut words = vec![&*program, "schema", "--config", &file];
    if is_dry {
        words.push("--dry-run");
    }
    let said = system::run(&words, None, Some(account))?;
    said.trim().parse().context("schema")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_of_somebody_elses_are_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        ensure_no_listeners(folder.path()).unwrap();
        fs::create_dir(folder.path().join("conf.d")).unwrap();
        fs::write(
            Files::of(folder.path()).config,
            "listeners.ssl.tills = 5671\n",
        )
        .unwrap();
        fs::write(
            folder.path().join("rabbitmq.conf"),
            "# listeners.tcp.1 = 1\nheartbeat = 30\n",
        )
        .unwrap();
        ensure_no_listeners(folder.path()).unwrap();
        for name in ["rabbitmq.conf", "conf.d/50-own.conf"] {
            let file = folder.path().join(name);
            fs::write(&file, "listeners.tcp.default = 5672\n").unwrap();
            let error = ensure_no_listeners(folder.path()).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
            fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn the_name_and_the_configuration_have_to_agree() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        let none = config::parse("").unwrap();
        let with = config::parse("server = \"amqps://central.example:443\"").unwrap();
        let server = |settings, name| server(&file, settings, name).ok();
        assert_eq!(
            server(&none, Some("a.example")).as_deref(),
            Some("amqps://a.example")
        );
        assert_eq!(
            server(&none, Some("2001:db8::1")).as_deref(),
            Some("amqps://[2001:db8::1]")
        );
        assert_eq!(
            server(&none, Some("192.0.2.1")).as_deref(),
            Some("amqps://192.0.2.1")
        );
        for name in [
            None,
            Some(""),
            Some("a b"),
            Some("a:443"),
            Some("a/b"),
            Some("-a"),
        ] {
            assert_eq!(server(&none, name), None, "{name:?}");
        }
        let known = "amqps://central.example:443";
        assert_eq!(server(&with, None).as_deref(), Some(known));
        assert_eq!(
            server(&with, Some("central.example")).as_deref(),
            Some(known)
        );
        assert_eq!(server(&with, Some("another.example")), None);
        fs::write(&file, "").unwrap();
        assert_eq!(server(&none, Some("a.example")), None);
    }
}
