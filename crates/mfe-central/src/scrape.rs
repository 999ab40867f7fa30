//! Prometheus on the office's machine: that it scrapes the service, and has the alerts. Its configuration is the user's:
//! a few lines are added, and only if promtool finds the whole good.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rust_i18n::t;

use crate::system;

/// What Debian's Prometheus reads.
const FILE: &str = "/etc/prometheus/prometheus.yml";

/// The alerts, as the package has them.
const RULES: &str = "/usr/share/mfe-central/mfe.rules.yml";

/// Where Prometheus answers, if it wasn't told otherwise.
const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 9090);

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Before and after each of our parts; what removes the package looks for them.
const BEGIN: &str = "# mfe-central setup: begin";
const END: &str = "# mfe-central setup: end";

/// How Prometheus has the office.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scrape {
    /// There is no Prometheus, or it has yet to look.
    Unknown,
    NoJob,
    Fails,
    Good,
}

/// Whether there is a Prometheus here.
pub(crate) fn is_possible() -> bool {
    system::is_program("promtool") && Path::new(FILE).exists()
}

/// Adds what isn't there. `say` is told what was changed.
///
/// # Errors
/// When it can't, with what would have to be added; all is as it was then.
pub(crate) fn make(listen: SocketAddr, say: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    let before = fs::read_to_string(FILE).context(FILE)?;
    let rules = Path::new(RULES).exists().then_some(RULES);
    let Some(after) = added(&before, listen, rules) else {
        return Ok(());
    };
    let by_hand = || t!("setup.by_hand", file = FILE, listen = listen, rules = RULES).into_owned();
    // Paths in it are meant from where it is.
    let trial = format!("{FILE}.mfe-central");
    system::replace(Path::new(&trial), &after, 0o600, None)?;
    let tried = system::run(&["promtool", "check", "config", &trial], None, None);
    fs::remove_file(&trial).context(trial)?;
    tried.with_context(by_hand)?;
    system::replace(Path::new(FILE), &after, 0o644, None)?;
    let reload = ["systemctl", "try-reload-or-restart", "prometheus.service"];
    system::run(&reload, None, None)?;
    say(&t!("setup.scraped", file = FILE));
    Ok(())
}

/// The configuration with what it lacks, unless it has it all.
fn added(text: &str, listen: SocketAddr, rules: Option<&str>) -> Option<String> {
    let mut after = text.to_owned();
    if !has_job(text) {
        let job =
            format!("- job_name: mfe-central\n  static_configs:\n    - targets: [\"{listen}\"]\n");
        after = with_item(&after, "scrape_configs", &job);
    }
    if let Some(rules) = rules.filter(|rules| !text.contains(rules)) {
        after = with_item(&after, "rule_files", &format!("- {rules}\n"));
    }
    (after != text).then_some(after)
}

fn has_job(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start().trim_start_matches("- ").trim_start();
        let name = line.strip_prefix("job_name:").map(str::trim);
        name.is_some_and(|name| name.trim_matches(['"', '\'']) == "mfe-central")
    })
}

/// Puts an item first in a list, indented as the list's others are; a list that isn't there comes at the end. Where it
/// is written in another form the result is no YAML, and promtool says so.
fn with_item(text: &str, list: &str, item: &str) -> String {
    let head = format!("{list}:");
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| line.starts_with(&head));
    let after = at.map_or(&[][..], |at| &lines[at + 1..]);
    let is_of_list = |line: &&&str| {
        let is_said = !line.trim_start().starts_with('#') && !line.trim().is_empty();
        is_said && (line.starts_with(' ') || line.starts_with('-'))
    };
    let indent = after
        .iter()
        .take_while(|line| line.trim().is_empty() || line.starts_with([' ', '-', '#']))
        .find(is_of_list)
        .map_or(2, |line| line.len() - line.trim_start().len());
    let block = format!("{BEGIN}\n{item}{END}");
    let block: Vec<String> = block
        .lines()
        .map(|line| format!("{:indent$}{line}\n", ""))
        .collect();
    let block = block.concat();
    let mut out = String::new();
    for (n, line) in lines.iter().enumerate() {
        out += line;
        out.push('\n');
        if Some(n) == at {
            out += &block;
        }
    }
    if at.is_none() {
        out += &format!("{head}\n{block}");
    }
    out
}

/// How it is.
pub(crate) fn look() -> Scrape {
    if !is_possible() {
        return Scrape::Unknown;
    }
    if !fs::read_to_string(FILE).is_ok_and(|text| has_job(&text)) {
        return Scrape::NoJob;
    }
    ask().map_or(Scrape::Unknown, |answer| told(&answer))
}

/// Whether the service was there when Prometheus looked last.
fn ask() -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&ADDRESS.into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream
        .write_all(b"GET /api/v1/query?query=up%7Bjob%3D%22mfe-central%22%7D HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(65536).read_to_string(&mut answer)?;
    Ok(answer)
}

fn told(answer: &str) -> Scrape {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    match json["data"]["result"][0]["value"][1].as_str() {
        Some("1") => Scrape::Good,
        Some(_) => Scrape::Fails,
        None => Scrape::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIANS: &str = "global:\n  scrape_interval: 15s\n\nrule_files:\n  # - \"first_rules.yml\"\n\n\
        scrape_configs:\n  # One.\n  - job_name: 'prometheus'\n\n    static_configs:\n      - targets: ['localhost:9090']\n";

    fn add(text: &str) -> Option<String> {
        added(text, "127.0.0.1:9017".parse().unwrap(), Some(RULES))
    }

    #[test]
    fn what_is_missing_is_added_once() {
        let text = add(DEBIANS).unwrap();
        assert!(text.contains(
            "scrape_configs:\n  # mfe-central setup: begin\n  - job_name: mfe-central\n    static_configs:\n"
        ));
        assert!(
            text.contains("rule_files:\n  # mfe-central setup: begin\n  - /usr/share/mfe-central/")
        );
        assert_eq!(add(&text), None);
        // As the package's removal does it.
        let mut is_ours = false;
        let others = text.lines().filter(|line| {
            is_ours |= line.ends_with(BEGIN);
            let is_others = !is_ours;
            is_ours &= !line.ends_with(END);
            is_others
        });
        assert_eq!(others.collect::<Vec<_>>().join("\n") + "\n", DEBIANS);
    }

    #[test]
    fn lists_are_continued_as_they_are() {
        let text = add("scrape_configs:\n- job_name: a\n").unwrap();
        assert!(
            text.contains("\n- job_name: mfe-central\n  static_configs:\n"),
            "{text}"
        );
        assert!(
            text.ends_with(&format!("rule_files:\n  {BEGIN}\n  - {RULES}\n  {END}\n")),
            "{text}"
        );
        let own = format!("- job_name: \"mfe-central\"\nrule_files: [{RULES}]\n");
        assert_eq!(add(&own), None);
    }

    #[test]
    fn prometheus_is_understood() {
        let answer = |value: &str| {
            let json = r#"{"status":"success","data":{"resultType":"vector","result":[RESULT]}}"#;
            told(&format!(
                "HTTP/1.0 200 OK\r\n\r\n{}",
                json.replace("RESULT", value)
            ))
        };
        assert_eq!(answer(r#"{"metric":{},"value":[1.5,"1"]}"#), Scrape::Good);
        assert_eq!(answer(r#"{"metric":{},"value":[1.5,"0"]}"#), Scrape::Fails);
        assert_eq!(answer(""), Scrape::Unknown);
        assert_eq!(told("HTTP/1.0 500\r\n\r\nno"), Scrape::Unknown);
    }
}
