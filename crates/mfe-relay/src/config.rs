//! The configuration, /etc/mfe-relay/config.toml: read in one go with all that is wrong in it, each with its line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mfe_common::office::{Server, is_till, server};
use mfe_common::settings::{self, Problem, Problems};
use rust_i18n::t;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a broker's heartbeat and the office's patience (three of them) allow.
const HEARTBEATS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(5)..=Duration::from_secs(3600);

/// More labels, or longer ones, don't belong into each message.
const LABELS_MAX: usize = 16;
const LABEL_MAX: usize = 64;

/// The settings, in the order in which they are shown.
const KEYS: [&str; 7] = [
    "server",
    "till",
    "ca",
    "heartbeat",
    "labels",
    "max_rate",
    "include",
];

/// What may leave the till beyond what always does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Include {
    pub(crate) users: bool,
    pub(crate) paths: bool,
}

/// The settings, all of them good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) server: Server,
    pub(crate) till: String,
    /// The certificates that the broker's is signed by; `None` for those beside the configuration.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) heartbeat: Duration,
    pub(crate) labels: BTreeMap<String, String>,
    /// Events a second at most.
    pub(crate) max_rate: Option<u32>,
    pub(crate) include: Include,
}

/// Reads the file.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn load(path: &Path) -> Result<Settings, Vec<Problem>> {
    let why = match settings::read(path) {
        Ok(Some(text)) => return parse(&text),
        Ok(None) => t!("config.missing"),
        Err(error) => t!("config.unreadable", error = error),
    };
    Err(vec![Problem::of_file(why)])
}

/// What a file says, or all that is wrong with it.
///
/// # Errors
/// See above.
pub(crate) fn parse(text: &str) -> Result<Settings, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader(Problems::new(text, &errors));
    let settings = reader.settings(table.get_ref(), errors.is_empty());
    reader.0.end(settings)
}

struct Reader<'a>(Problems<'a>);

type Value<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    fn settings(&mut self, table: &DeTable<'_>, is_whole: bool) -> Option<Settings> {
        self.0.unknown(table, &KEYS, |name| {
            let (key, known) = (format!("{name:?}"), KEYS.join(", "));
            t!("config.unknown", key = key, known = known).into_owned()
        });
        let server = self.required(table, "server", is_whole, server, "config.server");
        let till = |text: &str| is_till(text).then(|| text.to_owned());
        let till = self.required(table, "till", is_whole, till, "config.till");
        let path = |text: &str| text.starts_with('/').then(|| PathBuf::from(text));
        let ca = self.optional(table, "ca", path, "config.ca");
        let time = |text: &str| {
            let time = humantime::parse_duration(text).ok()?;
            HEARTBEATS.contains(&time).then_some(time)
        };
        let heartbeat = self.optional(table, "heartbeat", time, "config.heartbeat");
        let labels = self.labels(table.get("labels"));
        let max_rate = self.max_rate(table.get("max_rate"));
        let include = self.include(table.get("include"));
        Some(Settings {
            server: server?,
            till: till?,
            ca,
            heartbeat: heartbeat.unwrap_or(Duration::from_secs(60)),
            labels,
            max_rate,
            include,
        })
    }

    /// A text of one kind; `hint` is the key of what it should be.
    fn optional<T>(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        understand: impl Fn(&str) -> Option<T>,
        hint: &str,
    ) -> Option<T> {
        let value = table.get(key)?;
        let understood = value.get_ref().as_str().and_then(understand);
        if understood.is_none() {
            self.0.at(value.span(), format!("{key}: {}", t!(hint)));
        }
        understood
    }

    fn required<T>(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        is_whole: bool,
        understand: impl Fn(&str) -> Option<T>,
        hint: &str,
    ) -> Option<T> {
        // In a text that can't be parsed it may be where the parser has lost its way.
        if !table.contains_key(key) && is_whole {
            self.0.of_file(format!("{key}: {}", t!("config.required")));
        }
        self.optional(table, key, understand, hint)
    }

    fn labels(&mut self, value: Option<&Value<'_>>) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        let Some(value) = value else {
            return labels;
        };
        let DeValue::Table(table) = value.get_ref() else {
            self.0
                .at(value.span(), format!("labels: {}", t!("config.labels")));
            return labels;
        };
        for (name, value) in table {
            let text = value.get_ref().as_str();
            let is_name = is_label(name.get_ref());
            match text.filter(|text| is_name && text.len() <= LABEL_MAX) {
                Some(text) => {
                    labels.insert(name.get_ref().to_string(), text.to_owned());
                }
                None => self
                    .0
                    .at(name.span(), format!("labels: {}", t!("config.labels"))),
            }
        }
        if labels.len() > LABELS_MAX {
            self.0
                .at(value.span(), format!("labels: {}", t!("config.labels")));
        }
        labels
    }

    fn max_rate(&mut self, value: Option<&Value<'_>>) -> Option<u32> {
        let value = value?;
        let rate = match value.get_ref() {
            DeValue::Integer(number) => number.as_str().parse().ok().filter(|rate| *rate > 0),
            _ => None,
        };
        if rate.is_none() {
            self.0
                .at(value.span(), format!("max_rate: {}", t!("config.max_rate")));
        }
        rate
    }

    fn include(&mut self, value: Option<&Value<'_>>) -> Include {
        let mut include = Include::default();
        let Some(value) = value else {
            return include;
        };
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        for item in items {
            let word = item.get_ref().as_str().unwrap_or_default();
            match word {
                "users" => include.users = true,
                "paths" => include.paths = true,
                "*" => (include.users, include.paths) = (true, true),
                _ => self
                    .0
                    .at(item.span(), format!("include: {}", t!("config.include"))),
            }
        }
        include
    }
}

fn is_label(name: &str) -> bool {
    let is_valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=LABEL_MAX).contains(&name.len()) && name.bytes().all(is_valid)
}

/// A file that says this.
pub(crate) fn written(server: &str, till: &str) -> String {
    format!(
        "# See mfe-relay(8). After a change: mfe-relay check && sudo systemctl restart mfe-relay\n\
         server = {server:?}\ntill = {till:?}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "server = \"amqps://central.example:443\"\ntill = \"loja0012-caixa03\"\n";

    fn problems(text: &str) -> Vec<(Option<usize>, String)> {
        let problems = parse(text).unwrap_err();
        problems
            .into_iter()
            .map(|problem| (problem.line, problem.text))
            .collect()
    }

    #[test]
    fn the_least_is_enough() {
        let settings = parse(GOOD).unwrap();
        assert_eq!(settings.server.host, "central.example");
        assert_eq!(settings.server.port, 443);
        assert_eq!(settings.server.virtual_host, "mfe");
        assert_eq!(settings.till, "loja0012-caixa03");
        assert_eq!(settings.ca, None);
        assert_eq!(settings.heartbeat, Duration::from_secs(60));
        assert_eq!(
            (settings.max_rate, settings.include),
            (None, Include::default())
        );
        assert_eq!(
            parse(&written("amqps://central.example:443", "loja0012-caixa03")).unwrap(),
            settings
        );
    }

    #[test]
    fn all_settings_are_read() {
        let text = format!(
            "{GOOD}ca = \"/a/b.pem\"\nheartbeat = \"30s\"\nlabels = {{ store = \"12\" }}\nmax_rate = 200\n\
             include = [\"users\", \"paths\"]\n"
        );
        let settings = parse(&text).unwrap();
        assert_eq!(settings.ca.as_deref(), Some(Path::new("/a/b.pem")));
        assert_eq!(settings.heartbeat, Duration::from_secs(30));
        assert_eq!(settings.labels["store"], "12");
        assert_eq!(settings.max_rate, Some(200));
        let all = Include {
            users: true,
            paths: true,
        };
        assert_eq!(settings.include, all);
        assert_eq!(
            parse(&format!("{GOOD}include = [\"*\"]")).unwrap().include,
            all
        );
    }

    #[test]
    fn all_problems_are_told_at_once_each_with_its_line() {
        let text = "server = \"amqp://a\"\ntill = \"Loja 12\"\nserveur = 1\nca = 3\nheartbeat = \"1s\"\n\
                    labels = { \"A\" = \"b\" }\nmax_rate = 0\ninclude = [\"all\"]\n";
        let lines: Vec<_> = problems(text).into_iter().map(|(line, _)| line).collect();
        let expected: Vec<_> = (1..=8).map(Some).collect();
        assert_eq!(lines, expected);
        assert!(problems(text)[2].1.contains("\"serveur\""));
    }

    #[test]
    fn what_must_be_there_is_asked_for() {
        assert_eq!(problems("").len(), 2);
        let broken = problems("server = \"amqps://a\ntill = \"b\"\n");
        assert!(broken.iter().all(|(line, _)| line.is_some()), "{broken:?}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "([a-z=\"\\[\\]{}#\n .:/]|server|till|é){0,80}") {
            if let Err(problems) = parse(&text) {
                proptest::prop_assert!(!problems.is_empty());
            }
        }
    }
}
