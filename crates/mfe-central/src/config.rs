//! The configuration, /etc/mfe-central/config.toml: read in one go with all that is wrong in it, each with its line.
//! Every setting has a default, so that there needn't be a file.

mod route;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mfe_common::office::{self, is_till};
use mfe_common::settings::{self, Problem, Problems};
use rust_i18n::t;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use route::time;
pub(crate) use route::{On, Origin, Route, When};

/// What tills' heartbeats may be, as mfe-relay has it.
const HEARTBEATS: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(3600);

/// A day at least; ten years at most.
const RETENTIONS: RangeInclusive<Duration> =
    Duration::from_secs(86_400)..=Duration::from_secs(3660 * 86_400);

/// The settings, in the order in which they are shown.
const KEYS: [&str; 13] = [
    "broker",
    "virtual_host",
    "user",
    "password_file",
    "database",
    "listen",
    "heartbeat",
    "retention",
    "tills",
    "server",
    "ca",
    "route",
    "on",
];

/// The settings, all of them good.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where the broker is, on loopback.
    pub(crate) broker: SocketAddr,
    pub(crate) virtual_host: String,
    pub(crate) user: String,
    pub(crate) password_file: PathBuf,
    pub(crate) database: tokio_postgres::Config,
    /// Where the page is, on loopback.
    pub(crate) listen: SocketAddr,
    /// The longest heartbeat of any till.
    pub(crate) heartbeat: Duration,
    /// How long events are kept.
    pub(crate) retention: Duration,
    /// Those that should be there, whether they were ever heard or not.
    pub(crate) tills: Vec<String>,
    /// Where tills reach the broker, `amqps://HOST[:PORT]`.
    pub(crate) server: Option<String>,
    /// The certificates that the broker's is signed by, in PEM.
    pub(crate) ca: PathBuf,
    /// What programs of the user's do with messages.
    pub(crate) routes: Vec<Route>,
    /// What is run at the start and the end.
    pub(crate) callbacks: Vec<On>,
}

impl Settings {
    /// The password of central's user at the broker.
    ///
    /// # Errors
    /// When its file can't be read.
    pub(crate) fn password(&self) -> io::Result<String> {
        let text = std::fs::read_to_string(&self.password_file)?;
        Ok(text.trim_end_matches('\n').to_owned())
    }
}

/// Reads the file; without one, all is as by default.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn load(path: &Path) -> Result<Settings, Vec<Problem>> {
    match settings::read(path) {
        Ok(text) => parse(&text.unwrap_or_default()),
        Err(error) => Err(vec![Problem::of_file(t!(
            "config.unreadable",
            error = error
        ))]),
    }
}

/// What a file says, or all that is wrong with it.
///
/// # Errors
/// See above.
pub(crate) fn parse(text: &str) -> Result<Settings, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems = Problems::new(text, &errors);
    let settings = Reader {
        table: table.get_ref(),
        problems: &mut problems,
        place: 0..0,
    }
    .settings();
    problems.end(settings)
}

/// Whether a text is where tills reach a broker; its virtual host is told by another setting.
pub(crate) fn is_server(text: &str) -> bool {
    let place = text.strip_prefix("amqps://").unwrap_or_default();
    !place.contains('/') && office::server(text).is_some()
}

/// The host of such an address.
pub(crate) fn host_of(server: &str) -> String {
    office::server(server).map_or_else(String::new, |server| server.host)
}

/// Reads a table.
struct Reader<'t, 'p> {
    table: &'t DeTable<'t>,
    problems: &'p mut Problems<'t>,
    /// Where what is missing is told.
    place: Range<usize>,
}

impl Reader<'_, '_> {
    fn settings(&mut self) -> Option<Settings> {
        self.unknown(&KEYS);
        // Another machine would be spoken to in plain text, and everybody would reach the page.
        let loopback = |text: &str| {
            let address: SocketAddr = text.parse().ok()?;
            address.ip().is_loopback().then_some(address)
        };
        let is_word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let word = |text: &str| {
            let fits = (1..=127).contains(&text.len()) && text.chars().all(is_word);
            fits.then(|| text.to_owned())
        };
        let path = |text: &str| text.starts_with('/').then(|| PathBuf::from(text));
        let broker = self.text("broker", "127.0.0.1:5672", loopback, "config.loopback");
        let virtual_host = self.text("virtual_host", "mfe", word, "config.word");
        let user = self.text("user", "mfe-central", word, "config.word");
        let password_file = self.text(
            "password_file",
            "/etc/mfe-central/password",
            path,
            "config.path",
        );
        let database = self.text(
            "database",
            "host=/run/postgresql dbname=mfe-central user=mfe-central",
            |text| text.parse().ok(),
            "config.database",
        );
        let listen = self.text("listen", "127.0.0.1:9017", loopback, "config.loopback");
        let heartbeat = self.text("heartbeat", "60s", time(HEARTBEATS), "config.heartbeat");
        let retention = self.text("retention", "400d", time(RETENTIONS), "config.retention");
        let tills = self.tills();
        let is_given = self.table.contains_key("server");
        let server = self.text(
            "server",
            "",
            |text| match text {
                "" if !is_given => Some(None),
                _ => is_server(text).then(|| Some(text.to_owned())),
            },
            "config.server",
        );
        let ca = self.text("ca", "/etc/mfe-central/ca.pem", path, "config.path");
        let (routes, callbacks) = (self.routes(), self.callbacks());
        Some(Settings {
            broker: broker?,
            virtual_host: virtual_host?,
            user: user?,
            password_file: password_file?,
            database: database?,
            listen: listen?,
            heartbeat: heartbeat?,
            retention: retention?,
            tills,
            server: server?,
            ca: ca?,
            routes,
            callbacks,
        })
    }

    /// A text of one kind; `hint` is the key of what it should be.
    fn text<T>(
        &mut self,
        key: &str,
        default: &str,
        understand: impl Fn(&str) -> Option<T>,
        hint: &str,
    ) -> Option<T> {
        let value = self.table.get(key);
        let understood = match value {
            Some(value) => value.get_ref().as_str().and_then(&understand),
            None => understand(default),
        };
        if understood.is_none() {
            self.problem(value, key, hint);
        }
        understood
    }

    fn problem(&mut self, value: Option<&Spanned<DeValue<'_>>>, key: &str, hint: &str) {
        let span = value.map_or(self.place.clone(), Spanned::span);
        self.problems.at(span, format!("{key}: {}", t!(hint)));
    }

    fn tills(&mut self) -> Vec<String> {
        let Some(value) = self.table.get("tills") else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            self.problems
                .at(value.span(), format!("tills: {}", t!("config.tills")));
            return Vec::new();
        };
        let mut tills = BTreeSet::new();
        for item in items {
            let name = |item: &Spanned<DeValue<'_>>| {
                let name = item.get_ref().as_str()?;
                is_till(name).then(|| name.to_owned())
            };
            match name(item) {
                Some(name) => {
                    tills.insert(name);
                }
                None => self
                    .problems
                    .at(item.span(), format!("tills: {}", t!("config.tills"))),
            }
        }
        tills.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<(Option<usize>, String)> {
        let problems = parse(text).unwrap_err().into_iter();
        problems
            .map(|problem| (problem.line, problem.text))
            .collect()
    }

    #[test]
    fn nothing_has_to_be_said() {
        let settings = parse("").unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:9017");
        assert_eq!(settings.broker.to_string(), "127.0.0.1:5672");
        assert_eq!(settings.retention, Duration::from_secs(400 * 86_400));
        assert_eq!(settings.heartbeat, Duration::from_secs(60));
        assert_eq!(settings.database.get_dbname(), Some("mfe-central"));
        assert!(load(Path::new("/nonexistent/config.toml")).is_ok());
    }

    #[test]
    fn all_can_be_said() {
        let text = "broker = \"[::1]:5673\"\nvirtual_host = \"x\"\nuser = \"u\"\npassword_file = \"/p\"\n\
            database = \"host=/run/x user=u\"\nlisten = \"127.0.0.1:0\"\nheartbeat = \"5s\"\nretention = \"30d\"\n\
            tills = [\"b\", \"a\", \"a\"]\nserver = \"amqps://central.example:443\"\nca = \"/ca\"\n";
        let settings = parse(text).unwrap();
        assert_eq!(settings.tills, ["a", "b"]);
        // But for the tables.
        assert_eq!(text.lines().count(), KEYS.len() - 2);
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_line() {
        let text = "broker = \"192.0.2.1:5672\"\nlisten = \"0.0.0.0:9017\"\n\nheartbeat = \"1s\"\nretention = 5\n\
            tills = [\"a.b\",\n \"A\"]\ncolour = \"red\"\npassword_file = \"x\"\n";
        let found = problems(text);
        let lines: Vec<usize> = found.iter().filter_map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 2, 4, 5, 6, 7, 8, 9]);
        assert!(found[6].1.contains("\"colour\""), "{found:?}");
        for text in [
            "=",
            "listen = ",
            "[a]\n",
            "tills = \"a\"",
            "database = \"x=y\"",
            "virtual_host = \"\"",
            "server = \"\"",
            "server = \"central.example\"",
            "server = \"amqp://central.example\"",
            "server = \"amqps://\"",
            "server = \"amqps://:443\"",
            "server = \"amqps://central.example:\"",
            "server = \"amqps://central.example:0\"",
            "server = \"amqps://central.example:65536\"",
            "server = \"amqps://central.example/mfe\"",
            "server = \"amqps://u:p@central.example\"",
            "server = \"amqps://central example\"",
        ] {
            assert!(!problems(text).is_empty(), "{text}");
        }
    }
}
