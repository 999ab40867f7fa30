//! The tables `[[route]]` and `[[on]]`: what programs of the user's do with messages, and at the start and the end.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::Method;
use rust_i18n::t;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::amqp::{EVENTS, Queues, STATES};
use crate::batch::{Pace, Verdict};
use crate::http::is_own;

use super::Reader;

/// More of them are a mistake.
const TABLES_MAX: usize = 32;

/// What comes more seldom is a calendar's business: the service runs no longer than that without a pause.
const LONGEST_INTERVAL: Duration = Duration::from_secs(30 * 86_400);

/// What each route has.
const ROUTE_KEYS: [&str; 5] = ["from", "handler", "timeout", "on_success", "on_exception"];

/// What those have whose messages are gathered.
const PACE_KEYS: [&str; 3] = ["prefetch", "bulk_size", "flush_timeout"];

const ON_KEYS: [&str; 2] = ["event", "command"];

/// Messages that go to a program.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) from: Origin,
    pub(crate) handler: Vec<String>,
    pub(crate) pace: Pace,
    /// How long a batch may take.
    pub(crate) timeout: Duration,
    pub(crate) on_success: Verdict,
    pub(crate) on_exception: Verdict,
}

impl Route {
    /// The broker's queues, if its messages come from there.
    pub(crate) fn queues(&self) -> Option<&Queues> {
        match &self.from {
            Origin::RabbitMq(queues) => Some(queues),
            Origin::Every(_) | Origin::Http(_) | Origin::Sse(_) => None,
        }
    }

    /// Whether it follows a stream.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.from, Origin::Sse(_))
    }
}

/// Where messages come from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    RabbitMq(Queues),
    /// One each interval.
    Every(Duration),
    Http(At),
    /// The URL of a stream.
    Sse(String),
}

/// Where requests come to.
#[derive(Debug, Clone)]
pub(crate) struct At {
    pub(crate) path: String,
    pub(crate) methods: Vec<Method>,
}

/// The kinds of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    RabbitMq,
    Every,
    Http,
    Sse,
}

impl Origin {
    /// As people write it.
    pub(crate) fn name(&self) -> &'static str {
        let kind = match self {
            Self::RabbitMq(_) => Kind::RabbitMq,
            Self::Every(_) => Kind::Every,
            Self::Http(_) => Kind::Http,
            Self::Sse(_) => Kind::Sse,
        };
        let mut all = Kind::ALL.iter();
        all.find(|(_, one)| *one == kind)
            .map_or("", |(name, _)| name)
    }
}

impl Kind {
    const ALL: [(&str, Self); 4] = [
        ("rabbitmq", Self::RabbitMq),
        ("every", Self::Every),
        ("http", Self::Http),
        ("sse", Self::Sse),
    ];

    /// The settings of its own.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::RabbitMq => &["queues", "bind"],
            Self::Every => &["interval"],
            Self::Http => &["path", "methods"],
            Self::Sse => &["url"],
        }
    }
}

/// When a command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Before the routes take anything.
    Startup,
    /// When they have ended.
    Shutdown,
}

/// A command that is run at the start or the end.
#[derive(Debug, Clone)]
pub(crate) struct On {
    pub(crate) event: When,
    pub(crate) command: Vec<String>,
}

/// Where a stream is.
fn url(text: &str) -> Option<String> {
    let schemes = ["http://", "https://"];
    let rest = schemes
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))?;
    let is_plain = rest.chars().all(|c| c.is_ascii_graphic());
    let has_host = rest.starts_with(|c: char| !"/?#".contains(c));
    (is_plain && has_host && text.len() <= 2000).then(|| text.to_owned())
}

/// A time in words, within a range.
pub(super) fn time(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Option<Duration> {
    move |text| {
        let time = humantime::parse_duration(text).ok()?;
        range.contains(&time).then_some(time)
    }
}

impl<'t> Reader<'t, '_> {
    /// The tables of a name, each understood by itself.
    pub(super) fn tables<T>(
        &mut self,
        name: &str,
        mut understand: impl FnMut(&mut Reader<'t, '_>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.table.get(name) else {
            return Vec::new();
        };
        let tables = match value.get_ref() {
            DeValue::Array(tables) if tables.len() <= TABLES_MAX => tables,
            _ => {
                self.problem(Some(value), name, "config.tables");
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for table in tables {
            let DeValue::Table(inside) = table.get_ref() else {
                self.problem(Some(table), name, "config.tables");
                continue;
            };
            let mut reader = Reader {
                table: inside,
                problems: &mut *self.problems,
                place: table.span(),
            };
            found.extend(understand(&mut reader));
        }
        found
    }

    pub(super) fn routes(&mut self) -> Vec<Route> {
        let mut paths = BTreeSet::new();
        self.tables("route", |reader| reader.route(&mut paths))
    }

    pub(super) fn callbacks(&mut self) -> Vec<On> {
        self.tables("on", |reader| {
            reader.unknown(&ON_KEYS);
            let events = [("startup", When::Startup), ("shutdown", When::Shutdown)];
            let event = reader.word_of("event", None, &events, "config.event");
            let command = reader.command("command");
            Some(On {
                event: event?,
                command: command?,
            })
        })
    }

    /// One whose path, if it has one, is none of those of the routes before it.
    fn route(&mut self, paths: &mut BTreeSet<String>) -> Option<Route> {
        // Without it, it isn't known which settings there are.
        let kind = self.word_of("from", None, &Kind::ALL, "config.from")?;
        let of_pace = match kind {
            Kind::RabbitMq | Kind::Http | Kind::Sse => &PACE_KEYS[..],
            Kind::Every => &[],
        };
        self.unknown(&[&ROUTE_KEYS, kind.keys(), of_pace].concat());
        let from = match kind {
            Kind::RabbitMq => self.queues().map(Origin::RabbitMq),
            Kind::Every => {
                let range = Duration::from_secs(1)..=LONGEST_INTERVAL;
                let interval = self.text("interval", "", time(range), "config.interval");
                interval.map(Origin::Every)
            }
            Kind::Http => self.at(paths).map(Origin::Http),
            Kind::Sse => self.text("url", "", url, "config.url").map(Origin::Sse),
        };
        let handler = self.command("handler");
        let pace = match kind {
            Kind::RabbitMq | Kind::Http | Kind::Sse => self.pace(),
            Kind::Every => Some(Pace {
                prefetch: 1,
                bulk_size: 1,
                flush_timeout: Duration::ZERO,
            }),
        };
        let range = Duration::from_secs(1)..=Duration::from_secs(900);
        let timeout = self.text("timeout", "5min", time(range), "config.timeout");
        let verdicts = Verdict::ALL.map(|verdict| (verdict.name(), verdict));
        let on_success = self.word_of("on_success", Some("ack"), &verdicts, "config.verdict");
        let on_exception =
            self.word_of("on_exception", Some("requeue"), &verdicts, "config.verdict");
        Some(Route {
            from: from?,
            handler: handler?,
            pace: pace?,
            timeout: timeout?,
            on_success: on_success?,
            on_exception: on_exception?,
        })
    }

    fn queues(&mut self) -> Option<Queues> {
        let names = self.texts("queues", "config.queues", |name| {
            // What one takes the other doesn't get.
            let is_read_here = [EVENTS, STATES].contains(&name);
            let fits = (1..=255).contains(&name.len()) && !name.contains(char::is_control);
            fits && !is_read_here && !name.starts_with("amq.")
        });
        let bind = match self.table.get("bind") {
            Some(_) => self.texts("bind", "config.bind", |key| {
                (1..=255).contains(&key.len()) && !key.contains(char::is_control)
            }),
            None => Some(Vec::new()),
        };
        Some(Queues {
            names: names?,
            bind: bind?,
        })
    }

    fn at(&mut self, paths: &mut BTreeSet<String>) -> Option<At> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        let path = self.text(
            "path",
            "",
            |path| {
                let fits = path.starts_with('/') && path.len() <= 200 && path.chars().all(is_plain);
                let is_free = !is_own(path) && !paths.contains(path);
                (fits && is_free).then(|| path.to_owned())
            },
            "config.hook",
        );
        paths.extend(path.clone());
        let known = [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ];
        let methods = match self.table.get("methods") {
            Some(_) => self.texts("methods", "config.methods", |name| {
                known.iter().any(|method| method.as_str() == name)
            }),
            None => Some(vec!["POST".to_owned()]),
        };
        let methods = methods?;
        let methods = known
            .into_iter()
            .filter(|method| methods.iter().any(|name| name == method.as_str()));
        Some(At {
            path: path?,
            methods: methods.collect(),
        })
    }

    fn pace(&mut self) -> Option<Pace> {
        let prefetch = self.number("prefetch", 128, 1..=10_000, "config.count");
        let bulk_size = self.number("bulk_size", 1, 1..=10_000, "config.count");
        // The broker takes a message back that isn't settled within 30 minutes (rabbitmq.com, "consumer_timeout").
        let range = Duration::ZERO..=Duration::from_secs(600);
        let flush_timeout = self.text("flush_timeout", "60s", time(range), "config.flush_timeout");
        Some(Pace {
            prefetch: prefetch?,
            bulk_size: bulk_size?.into(),
            flush_timeout: flush_timeout?,
        })
    }

    /// One of some words.
    fn word_of<T: Copy>(
        &mut self,
        key: &str,
        default: Option<&str>,
        words: &[(&str, T)],
        hint: &str,
    ) -> Option<T> {
        let understand = |text: &str| {
            let mut words = words.iter();
            words.find(|(word, _)| *word == text).map(|(_, what)| *what)
        };
        self.text(key, default.unwrap_or_default(), understand, hint)
    }

    fn number(
        &mut self,
        key: &str,
        default: u16,
        range: RangeInclusive<u16>,
        hint: &str,
    ) -> Option<u16> {
        let Some(value) = self.table.get(key) else {
            return Some(default);
        };
        let number = value.get_ref().as_integer();
        let number =
            number.and_then(|number| u16::from_str_radix(number.as_str(), number.radix()).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.problem(Some(value), key, hint);
        }
        number
    }

    /// A list of texts, at least one.
    fn texts(&mut self, key: &str, hint: &str, fits: impl Fn(&str) -> bool) -> Option<Vec<String>> {
        let value = self.table.get(key);
        let items = match value.map(Spanned::get_ref) {
            Some(DeValue::Array(items)) if !items.is_empty() => items,
            _ => {
                self.problem(value, key, hint);
                return None;
            }
        };
        let mut texts = Vec::new();
        for item in items {
            match item.get_ref().as_str().filter(|text| fits(text)) {
                Some(text) => texts.push(text.to_owned()),
                None => self.problem(Some(item), key, hint),
            }
        }
        (texts.len() == items.len()).then_some(texts)
    }

    /// A program by its absolute path, with its arguments.
    fn command(&mut self, key: &str) -> Option<Vec<String>> {
        let words = self.texts(key, "config.command", |text| !text.contains('\0'))?;
        if !words[0].starts_with('/') {
            let value: Option<&Spanned<DeValue<'_>>> = self.table.get(key);
            self.problem(value, key, "config.command");
            return None;
        }
        Some(words)
    }

    /// Adds one for each key that isn't among those that are known, with the one that may have been meant.
    pub(super) fn unknown(&mut self, known: &[&str]) {
        let table: &DeTable<'_> = self.table;
        self.problems.unknown(table, known, |name| {
            let near = known
                .iter()
                .filter(|known| strsim::osa_distance(&name.to_lowercase(), known) <= 2)
                .min_by_key(|known| strsim::osa_distance(name, known));
            let key = format!("{name:?}");
            match near {
                Some(near) => t!("config.near", key = key, near = near).into_owned(),
                None => t!("config.unknown", key = key, known = known.join(", ")).into_owned(),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_route_has_the_defaults_of_asyncworker() {
        let text = "[[route]]\nfrom = \"rabbitmq\"\nqueues = [\"site.a\", \"site.b\"]\nhandler = [\"/bin/cat\", \"-\"]\n\
            [[on]]\nevent = \"shutdown\"\ncommand = [\"/bin/true\"]\n";
        let settings = parse(text).unwrap();
        let route = &settings.routes[0];
        assert_eq!(route.queues().unwrap().names, ["site.a", "site.b"]);
        assert_eq!(route.handler, ["/bin/cat", "-"]);
        assert_eq!((route.pace.prefetch, route.pace.bulk_size), (128, 1));
        assert_eq!(route.pace.flush_timeout, Duration::from_secs(60));
        assert_eq!(route.timeout, Duration::from_secs(300));
        let verdicts = (route.on_success, route.on_exception);
        assert_eq!(verdicts, (Verdict::Ack, Verdict::Requeue));
        assert_eq!(settings.callbacks[0].event, When::Shutdown);
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_line_and_key() {
        let of_queues = "[[route]]\nfrom = \"rabbitmq\"\nqueues = [\"a\"]\nhandler = [\"/x\"]\n";
        let of_time = "[[route]]\nfrom = \"every\"\ninterval = \"1day\"\nhandler = [\"/x\"]\n";
        let of_queues_bad = [
            ("from = \"kafka\"", "from:"),
            ("queues = []", "queues:"),
            ("queues = \"a\"", "queues:"),
            ("queues = [\"mfe.central\"]", "queues:"),
            ("handler = [\"x\"]", "handler:"),
            ("handler = []", "handler:"),
            ("prefetch = 0", "prefetch:"),
            ("bulk_size = \"1\"", "bulk_size:"),
            ("bulk_size = -1", "bulk_size:"),
            ("flush_timeout = \"1h\"", "flush_timeout:"),
            ("timeout = \"0s\"", "timeout:"),
            ("on_success = \"nack\"", "on_success:"),
            ("on_exception = 1", "on_exception:"),
            ("bind = [1]", "bind:"),
            ("bulksize = 1", "did you mean bulk_size?"),
            ("interval = \"1s\"", "known are: from,"),
        ];
        let of_time_bad = [
            ("interval = \"0s\"", "interval:"),
            ("interval = \"31days\"", "interval:"),
            ("interval = 5", "interval:"),
            ("queues = [\"a\"]", "known are: from,"),
            ("bulk_size = 5", "known are: from,"),
        ];
        let of_path = "[[route]]\nfrom = \"http\"\npath = \"/hooks/a\"\nhandler = [\"/x\"]\n";
        let of_path_bad = [
            ("path = \"hooks\"", "path:"),
            ("path = \"/\"", "path:"),
            ("path = \"//\"", "path:"),
            ("path = \"/metrics\"", "path:"),
            ("path = \"/api/v1/tills/a\"", "path:"),
            ("path = \"/a?b\"", "path:"),
            ("methods = [\"get\"]", "methods:"),
            ("methods = \"GET\"", "methods:"),
            ("interval = \"1s\"", "known are: from,"),
        ];
        let of_stream =
            "[[route]]\nfrom = \"sse\"\nurl = \"https://u:p@a/b?c\"\nhandler = [\"/x\"]\n";
        let of_stream_bad = [
            ("url = \"ftp://a\"", "url:"),
            ("url = \"http://\"", "url:"),
            ("url = \"https:///b\"", "url:"),
            ("url = \"https://a b\"", "url:"),
            ("url = \"https://a\\nb\"", "url:"),
            ("path = \"/a\"", "known are: from,"),
        ];
        let all = of_queues_bad.map(|case| (of_queues, case)).into_iter();
        let all = all.chain(of_time_bad.map(|case| (of_time, case)));
        let all = all.chain(of_path_bad.map(|case| (of_path, case)));
        let all = all.chain(of_stream_bad.map(|case| (of_stream, case)));
        for (good, (line, key)) in all {
            assert!(parse(good).is_ok(), "{good}");
            let key_of = |line: &str| line.split(' ').next().unwrap().to_owned();
            let others = good.lines().filter(|other| key_of(other) != key_of(line));
            let text: Vec<&str> = others.chain([line]).collect();
            let problems = parse(&text.join("\n")).unwrap_err();
            assert_eq!(problems.len(), 1, "{line}: {problems:?}");
            assert_eq!(problems[0].line, Some(text.len()), "{line}");
            assert!(problems[0].text.contains(key), "{problems:?}");
        }
        // Two can't have the same one.
        let problems = parse(&of_path.repeat(2)).unwrap_err();
        let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(7)]);
        // What is missing is told where the table begins.
        let problems = parse("\n[[route]]\n[[on]]\nevent = \"end\"\n").unwrap_err();
        let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(2), Some(3), Some(4)]);
        assert!(parse("route = 1").is_err() && parse("on = [1]").is_err());
    }
}
