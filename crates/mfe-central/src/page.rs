//! The page: every till, the worst first, with a search, and as many rows as a screen shows. It is made here, in whole
//! or just its rows; the script of the page only asks for the rows again when something has changed. Every text is
//! escaped.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use mfe_history::{Frame, Report};
use rust_i18n::t;

use crate::clock::timestamp;
use crate::fleet::{Row, Standing};
use crate::health::{Engine, Health};

/// So many tills are on a page.
const ROWS: usize = 50;

/// More stores aren't offered to choose from; they can be searched for.
const STORES_MAX: usize = 2000;

/// The times for which a till's report is offered.
const PERIODS: [&str; 5] = ["1d", "7d", "30d", "90d", "365d"];

/// What is asked for is no longer.
const TEXT_MAX: usize = 200;

/// Which tills are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) text: String,
    pub(crate) store: String,
    pub(crate) state: Option<Standing>,
    /// From 0.
    pub(crate) page: usize,
    /// Whether only the rows are.
    pub(crate) is_part: bool,
}

impl Query {
    /// Reads what comes after the question mark; what isn't understood isn't asked for.
    pub(crate) fn read(query: &str) -> Self {
        let mut read = Self::default();
        for pair in query.split('&').take(16) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value);
            match name {
                "q" => read.text = value,
                "store" => read.store = value,
                "state" => {
                    let mut states = Standing::ALL.into_iter();
                    read.state = states.find(|state| state.to_string() == value);
                }
                "page" => read.page = value.parse::<usize>().unwrap_or(1).saturating_sub(1),
                "part" => read.is_part = true,
                _ => {}
            }
        }
        read
    }

    /// Whether a till is one of those, whatever its state is.
    fn fits_but_state(&self, row: &Row) -> bool {
        let text = self.text.trim().to_lowercase();
        let has = |what: &str| what.to_lowercase().contains(&text);
        let store = row.store.as_deref().unwrap_or_default();
        let names = || row.programs.iter().any(|program| has(&program.name));
        (self.store.is_empty() || self.store == store)
            && (text.is_empty() || has(&row.till) || has(store) || names())
    }

    /// Whether a till is one of those.
    pub(crate) fn fits(&self, row: &Row) -> bool {
        self.state.is_none_or(|state| state == row.state) && self.fits_but_state(row)
    }

    /// The same for another state or page.
    fn with(&self, state: Option<Standing>, page: usize) -> String {
        let mut pairs = Vec::new();
        let mut put = |name: &str, value: &str| {
            if !value.is_empty() {
                pairs.push(format!("{name}={}", encoded(value)));
            }
        };
        put("q", &self.text);
        put("store", &self.store);
        put(
            "state",
            &state.map(|state| state.to_string()).unwrap_or_default(),
        );
        if page > 0 {
            put("page", &(page + 1).to_string());
        }
        format!("?{}", pairs.join("&"))
    }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// What is asked for by this name, if it is.
pub(crate) fn asked(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').take(16);
    let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(decoded(value))
}

fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    let text = percent_encoding::percent_decode_str(&text).decode_utf8_lossy();
    text.chars().take(TEXT_MAX).collect()
}

/// The language of a page, by what its reader's browser prefers (RFC 9110, 12.5.4).
pub(crate) fn language(accepted: &str) -> &'static str {
    let mut best = ("en", 0.0_f32);
    for one in accepted.split(',').take(32) {
        let (name, rest) = one.split_once(';').unwrap_or((one, ""));
        let weight = rest.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse);
        let language = match name
            .trim()
            .split('-')
            .next()
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            Some("pt") => "pt-BR",
            Some("en") => "en",
            _ => continue,
        };
        if weight.as_ref().is_ok_and(|weight| *weight > best.1) {
            best = (language, weight.unwrap_or_default());
        }
    }
    best.0
}

#[derive(Template)]
#[template(path = "page.html", config = "page/askama.toml")]
struct Page<'a> {
    language: &'static str,
    query: &'a Query,
    stores: BTreeSet<&'a str>,
    rows: Rows<'a>,
}

#[derive(Template)]
#[template(path = "rows.html", config = "page/askama.toml")]
struct Rows<'a> {
    language: &'static str,
    troubles: Vec<(String, String)>,
    counts: Vec<Count>,
    tills: Vec<Shown<'a>>,
    range: String,
    previous: Option<String>,
    next: Option<String>,
}

/// How many tills are in a state, and the way to them.
struct Count {
    state: String,
    name: String,
    tills: usize,
    link: String,
    is_chosen: bool,
}

/// A row with its words.
struct Shown<'a> {
    row: &'a Row,
    state: String,
    name: String,
    since: String,
    until: Option<&'a str>,
    programs: Vec<(&'a str, String)>,
    notes: Vec<String>,
}

/// What stands above a till's report.
#[derive(Template)]
#[template(path = "till.html", config = "page/askama.toml")]
struct AboveReport<'a> {
    language: &'static str,
    shown: Shown<'a>,
    periods: Vec<(&'static str, bool)>,
    chosen: &'a str,
}

impl AboveReport<'_> {
    fn word(&self, key: &str) -> String {
        word(key, self.language)
    }
}

/// A till's page: how it is, and how its programs were in the time that was asked for, as `7d`.
pub(crate) fn of_report(row: &Row, report: &Report, since: &str) -> String {
    let language = report.reader.language;
    let above = AboveReport {
        language,
        shown: of_till(row, language),
        periods: PERIODS.map(|period| (period, period == since)).into(),
        chosen: since,
    };
    // A template fails only when what it writes to does, and a text doesn't.
    let above = above.render().unwrap_or_default();
    let frame = Frame {
        style: Some("../report.css"),
        above: &above,
        version: env!("CARGO_PKG_VERSION"),
    };
    mfe_history::html(report, &frame).unwrap_or_default()
}

fn word(key: &str, language: &str) -> String {
    t!(key, locale = language).into_owned()
}

impl Page<'_> {
    fn word(&self, key: &str) -> String {
        word(key, self.language)
    }
}

impl Rows<'_> {
    fn word(&self, key: &str) -> String {
        word(key, self.language)
    }
}

/// The page that is asked for, or its rows.
pub(crate) fn page(
    all: &[Arc<Row>],
    query: &Query,
    language: &'static str,
    health: &Health,
) -> String {
    let found: Vec<&Row> = all
        .iter()
        .map(|row| &**row)
        .filter(|row| query.fits_but_state(row))
        .collect();
    let chosen: Vec<&Row> = found
        .iter()
        .copied()
        .filter(|row| query.fits(row))
        .collect();
    let last = chosen.len().saturating_sub(1) / ROWS;
    let page = query.page.min(last);
    let shown: Vec<&Row> = chosen
        .iter()
        .copied()
        .skip(page * ROWS)
        .take(ROWS)
        .collect();
    let first = page * ROWS + usize::from(!shown.is_empty());
    let range = t!(
        "page.range",
        locale = language,
        from = first,
        to = page * ROWS + shown.len(),
        of = chosen.len()
    );
    let rows = Rows {
        language,
        troubles: troubles(health, language),
        counts: counts(&found, query, language),
        tills: shown
            .into_iter()
            .map(|row| of_till(row, language))
            .collect(),
        range: range.into_owned(),
        previous: (page > 0).then(|| query.with(query.state, page - 1)),
        next: (page < last).then(|| query.with(query.state, page + 1)),
    };
    // A template fails only when what it writes to does, and a text doesn't.
    if query.is_part {
        return rows.render().unwrap_or_default();
    }
    let stores = all.iter().filter_map(|row| row.store.as_deref());
    let stores: BTreeSet<&str> = stores.take(100 * STORES_MAX).collect();
    let page = Page {
        language,
        query,
        stores: stores.into_iter().take(STORES_MAX).collect(),
        rows,
    };
    page.render().unwrap_or_default()
}

/// What is wrong with central itself, and since when.
fn troubles(health: &Health, language: &str) -> Vec<(String, String)> {
    let engines = [
        (Engine::Broker, "page.no_broker"),
        (Engine::Database, "page.no_database"),
    ];
    let away = engines.into_iter().filter_map(|(engine, key)| {
        let since = health.away_since(engine)?;
        Some((word(key, language), timestamp(since)))
    });
    away.collect()
}

fn counts(found: &[&Row], query: &Query, language: &str) -> Vec<Count> {
    let count = |state: Option<Standing>| {
        let fitting = found
            .iter()
            .filter(|row| state.is_none_or(|state| row.state == state))
            .count();
        Count {
            state: state.map_or_else(|| "all".into(), |state| state.to_string()),
            name: state.map_or_else(|| word("page.all", language), |state| name(state, language)),
            tills: fitting,
            link: query.with(state, 0),
            is_chosen: query.state == state,
        }
    };
    let each = Standing::ALL.into_iter().map(|state| count(Some(state)));
    let each = each.filter(|one| {
        one.tills > 0 || one.is_chosen || matches!(one.state.as_str(), "down" | "silent")
    });
    each.chain([count(None)]).collect()
}

fn name(state: Standing, language: &str) -> String {
    let key = match state {
        Standing::Down => "state.down",
        Standing::Silent => "state.silent",
        Standing::NeverSeen => "state.never_seen",
        Standing::Unknown => "state.unknown",
        Standing::Paused => "state.paused",
        Standing::Waiting => "state.waiting",
        Standing::Up => "state.up",
    };
    word(key, language)
}

fn of_till<'a>(row: &'a Row, language: &str) -> Shown<'a> {
    let since = match row.state {
        Standing::Silent => "page.heard",
        _ => "page.since",
    };
    let mut notes = Vec::new();
    if row.same_identity {
        notes.push(word("page.twice", language));
    }
    if row.is_clock_wrong() {
        // To the minute: the rest is the time that messages take.
        let minutes = (row.clock_offset_ms.unsigned_abs() + 30_000) / 60_000;
        let seconds = std::time::Duration::from_secs(minutes * 60);
        let time = humantime::format_duration(seconds).to_string();
        let key = if row.clock_offset_ms > 0 {
            "page.ahead"
        } else {
            "page.behind"
        };
        notes.push(t!(key, locale = language, time = time).into_owned());
    }
    if row.backlog > 0 {
        notes.push(t!("page.backlog", locale = language, count = row.backlog).into_owned());
    }
    let programs = row.programs.iter().map(|program| {
        // How a silent till's programs are nobody knows.
        let state = if row.state == Standing::Silent {
            name(Standing::Silent, language)
        } else {
            of_program(&program.state, language)
        };
        (program.name.as_str(), state)
    });
    Shown {
        row,
        state: row.state.to_string(),
        name: name(row.state, language),
        since: word(since, language),
        until: row
            .paused_until
            .as_deref()
            .filter(|_| row.state != Standing::Silent),
        programs: programs.collect(),
        notes,
    }
}

/// The state of a program in words; a word of a newer watchdog as it is.
fn of_program(state: &str, language: &str) -> String {
    let key = match state {
        "up" => "state.up",
        "starting" => "state.starting",
        "down" => "state.down",
        "waiting" => "state.waiting",
        "backoff" => "state.backoff",
        "unhealthy" => "state.unhealthy",
        "stuck" => "state.stuck",
        "misfit" => "state.misfit",
        "paused" => "state.paused",
        "unknown" => "state.unknown",
        _ => return state.to_owned(),
    };
    word(key, language)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::clock;
    use crate::fleet::Fleet;
    use crate::fleet::tests::state;

    fn rows(count: usize) -> Vec<Arc<Row>> {
        let mut fleet = Fleet::new(Duration::from_secs(60));
        for n in 0..count {
            let programs = if n % 10 == 3 { ["down"] } else { ["up"] };
            let mut state = state(
                &format!("loja{:04}-caixa{:02}", n / 10, n % 10),
                1,
                &programs,
            );
            state.time = SystemTime::now();
            state.labels.insert("store".into(), format!("{}", n / 10));
            fleet.apply(state, clock::now());
        }
        fleet.rows()
    }

    fn shown(rows: &[Arc<Row>], query: &str, language: &'static str) -> String {
        page(
            rows,
            &Query::read(query),
            language,
            &Health::new(SystemTime::UNIX_EPOCH),
        )
    }

    fn tills(page: &str) -> usize {
        page.matches("<li class=\"till").count()
    }

    #[test]
    fn the_worst_are_first_and_all_can_be_reached() {
        let rows = rows(10_000);
        let first = shown(&rows, "", "en");
        assert_eq!(tills(&first), ROWS);
        assert!(first.contains("loja0000-caixa03") && !first.contains("loja0000-caixa00"));
        assert!(first.contains("1–50 of 10000"), "{first}");
        assert!(first.contains("href=\"?page=2\""));
        let last = shown(&rows, "page=200", "pt-BR");
        assert!(last.contains("9951–10000 de 10000"));
        assert!(!last.contains("page=201"));
        assert!(shown(&rows, "page=99999", "pt-BR") == last);
    }

    #[test]
    fn tills_are_found_by_text_store_and_state() {
        let rows = rows(200);
        for (query, count) in [
            ("q=loja0007", 10),
            ("q=LOJA0007-caixa03", 1),
            ("q=+loja0007++", 10),
            ("store=7", 10),
            ("store=7&state=down", 1),
            ("state=down", 20),
            ("state=silent", 0),
            ("state=nonsense&store=7", 10),
            ("q=no%20such", 0),
        ] {
            assert_eq!(tills(&shown(&rows, query, "en")), count, "{query}");
        }
        assert!(shown(&rows, "state=silent", "en").contains("0–0 of 0"));
    }

    #[test]
    fn no_text_becomes_markup() {
        let mut fleet = Fleet::new(Duration::from_secs(60));
        let mut odd = state("t", 1, &["<b>x</b>"]);
        let evil = "<script>alert(1)</script>\"'&";
        odd.labels.insert("store".into(), evil.into());
        let processes = odd.processes.as_mut().unwrap();
        processes[0].name = evil.into();
        fleet.apply(odd, clock::now());
        let page = shown(
            &fleet.rows(),
            "q=%3Cscript%3E%22&store=%22%3E%3Cscript%3E&state=unknown",
            "en",
        );
        assert!(
            !page.contains("<script>") && !page.contains("\"><script"),
            "{page}"
        );
        let page = shown(&fleet.rows(), "", "en");
        assert_eq!(tills(&page), 1);
        assert!(
            !page.contains("<script>") && !page.contains("<b>x"),
            "{page}"
        );
    }

    #[test]
    fn what_is_wrong_is_told_in_words() {
        let mut fleet = Fleet::new(Duration::from_secs(60));
        let mut odd = state("t", 1, &["paused"]);
        odd.time = SystemTime::now() + Duration::from_secs(86_400);
        odd.backlog = 12;
        odd.processes.as_mut().unwrap()[0].paused_until = Some(odd.time);
        fleet.apply(odd, clock::now());
        let page = shown(&fleet.rows(), "", "pt-BR");
        for words in [
            "lang=\"pt-BR\"",
            "em pausa",
            "adiantado",
            "12 eventos",
            "banco de dados",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
    }

    #[test]
    fn a_part_is_the_rows_alone() {
        let part = shown(&rows(3), "part=rows", "en");
        assert_eq!(tills(&part), 3);
        assert!(!part.contains("<html"));
        assert!(shown(&rows(3), "", "en").contains(part.trim()));
    }

    #[test]
    fn the_reader_chooses_the_language() {
        for (accepted, expected) in [
            ("", "en"),
            ("pt-BR,pt;q=0.9,en;q=0.8", "pt-BR"),
            ("en;q=0.5, PT;q=0.6", "pt-BR"),
            ("de, en;q=0.1", "en"),
            ("pt;q=x", "en"),
            ("de", "en"),
        ] {
            assert_eq!(language(accepted), expected, "{accepted}");
        }
    }
}
