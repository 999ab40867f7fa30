//! A source of server-sent events: follows a stream, and goes on where it was when the connection is lost. The stream
//! comes by curl, which has TLS and the proxies of the environment.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mfe_common::say::{Level, say};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout, timeout_at};

use crate::route::{News, Opener, Source};
use crate::verdict::{MESSAGE_MAX, Message};

/// Before connecting again, at first and at most.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A stream is lost that says nothing for so long: it should say something each 15 s (HTML standard, "Authoring notes").
const QUIET: Duration = Duration::from_secs(300);

/// What curl says last may take so long.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// No longer id fits into a header everywhere, in bytes.
const ID_MAX: usize = 1 << 10;

/// An event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    kind: String,
    id: String,
    /// None if there is nothing to be handed over.
    data: Option<String>,
    is_too_big: bool,
}

impl Message for Event {
    fn about(&self) -> Map<String, Value> {
        Map::from_iter([
            ("again".to_owned(), json!(false)),
            ("event".to_owned(), json!(self.kind)),
            ("id".to_owned(), json!(self.id)),
        ])
    }

    fn body(&self) -> Option<&[u8]> {
        self.data.as_deref().map(str::as_bytes)
    }
}

/// Understands a stream (HTML standard, "Interpreting an event stream"). Pure.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    /// A line feed belongs to the line end before it.
    after_return: bool,
    is_begun: bool,
    kind: String,
    id: String,
    data: Option<String>,
    is_too_big: bool,
}

impl Parser {
    /// The one of a stream that goes on after an event.
    fn new(id: String) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for byte in bytes {
            let is_end = match byte {
                b'\n' if self.after_return => false,
                b'\n' | b'\r' => true,
                _ if self.line.len() > MESSAGE_MAX => {
                    self.is_too_big = true;
                    false
                }
                byte => {
                    self.line.push(*byte);
                    false
                }
            };
            self.after_return = *byte == b'\r';
            if is_end {
                let line = std::mem::take(&mut self.line);
                events.extend(self.take(&line));
            }
        }
        events
    }

    fn take(&mut self, line: &[u8]) -> Option<Event> {
        let line = String::from_utf8_lossy(line);
        let mut line = &*line;
        if !std::mem::replace(&mut self.is_begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            let data = self.data.take();
            let is_too_big = std::mem::take(&mut self.is_too_big);
            let mut kind = std::mem::take(&mut self.kind);
            if kind.is_empty() {
                "message".clone_into(&mut kind);
            }
            return Some(Event {
                kind,
                id: self.id.clone(),
                data: data.filter(|_| !is_too_big),
                is_too_big,
            });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            // It has to fit into a header.
            "id" if value.len() <= ID_MAX && !value.contains(char::is_control) => {
                value.clone_into(&mut self.id);
            }
            "data" => {
                let size = self.data.as_ref().map_or(0, String::len);
                if size + value.len() > MESSAGE_MAX {
                    self.is_too_big = true;
                } else {
                    match &mut self.data {
                        Some(data) => {
                            data.push('\n');
                            data.push_str(value);
                        }
                        None => self.data = Some(value.to_owned()),
                    }
                }
            }
            _ => {}
        }
        None
    }
}

/// How far one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Done,
    /// It is to come again: nothing after it counts, until it has.
    InVain,
}

/// What of a stream is done with. Pure.
#[derive(Debug, Default)]
struct Seen {
    /// The id of the last one up to which all are.
    last: String,
    /// Those that have come after it, by their tags if they have any.
    open: VecDeque<(u64, String, State)>,
}

impl Seen {
    /// One has come that is to be done with.
    fn come(&mut self, tag: u64, id: String) {
        self.open.push_back((tag, id, State::Open));
    }

    /// One has come with which there is nothing to be done.
    fn pass(&mut self, id: String) {
        let before = self.open.back().map_or(&self.last, |(_, id, _)| id);
        if *before != id {
            self.open.push_back((0, id, State::Done));
            self.advance();
        }
    }

    fn settle(&mut self, tag: u64, and_before: bool) {
        for (one, _, state) in &mut self.open {
            let is_meant = *one == tag || (and_before && *one < tag);
            if is_meant && *state == State::Open {
                *state = State::Done;
            }
        }
        self.advance();
    }

    fn fail(&mut self, tag: u64) {
        for (_, _, state) in self.open.iter_mut().filter(|(one, ..)| *one == tag) {
            *state = State::InVain;
        }
    }

    /// Whether one is to come again.
    fn has_failed(&self) -> bool {
        self.open
            .iter()
            .any(|(_, _, state)| *state == State::InVain)
    }

    fn advance(&mut self) {
        while self
            .open
            .front()
            .is_some_and(|(_, _, state)| *state == State::Done)
        {
            if let Some((_, id, _)) = self.open.pop_front() {
                self.last = id;
            }
        }
    }
}

/// How far it has come, from one connection to the next.
#[derive(Debug)]
struct Progress {
    last: String,
    wait: Duration,
}

/// Follows a stream.
#[derive(Debug)]
pub(crate) struct Follow {
    url: String,
    prefetch: usize,
    progress: Arc<Mutex<Progress>>,
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Follow {
    /// With so many events ahead, at most. It begins with what comes then.
    pub(crate) fn new(url: &str, prefetch: usize) -> Self {
        let progress = Progress {
            last: String::new(),
            wait: Duration::ZERO,
        };
        Self {
            url: url.to_owned(),
            prefetch,
            progress: Arc::new(Mutex::new(progress)),
        }
    }
}

impl Opener for Follow {
    type Source = Stream;

    async fn open(&mut self) -> Result<Stream, String> {
        let (wait, last) = {
            let mut progress = lock(&self.progress);
            let wait = progress.wait;
            progress.wait = (wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
            (wait, progress.last.clone())
        };
        sleep(wait).await;
        let failed = |error: std::io::Error| format!("curl can't be run: {error}");
        // What is in the URL may be secret, and what is on a command line anybody can read.
        let mut curl = Command::new("curl")
            .args(["--disable", "--config", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (Some(mut input), Some(output)) = (curl.stdin.take(), curl.stdout.take()) else {
            return Err("curl has no pipes".to_owned());
        };
        let options = options(&self.url, &last);
        // Of one that has ended its last words tell why.
        let _ = input.write_all(options.as_bytes()).await;
        drop(input);
        let mut stream = Stream {
            curl,
            output,
            parser: Parser::new(last.clone()),
            ready: VecDeque::new(),
            seen: Seen {
                last,
                open: VecDeque::new(),
            },
            prefetch: self.prefetch,
            tag: 0,
            begun: Instant::now(),
            heard: Instant::now(),
            progress: Arc::clone(&self.progress),
        };
        // It is there as soon as it says anything.
        match stream.hear().await {
            Some(why) => Err(why),
            None => Ok(stream),
        }
    }
}

/// What curl is told, by standard input.
fn options(url: &str, last: &str) -> String {
    let mut headers = vec!["Accept: text/event-stream".to_owned()];
    if !last.is_empty() {
        headers.push(format!("Last-Event-ID: {last}"));
    }
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut options = "silent\nshow-error\nfail\nno-buffer\ngloboff\nlocation\nmax-redirs = 5\n\
        proto = \"=http,https\"\nconnect-timeout = 30\n"
        .to_owned();
    options += &format!("url = \"{}\"\n", quoted(url));
    for header in headers {
        options += &format!("header = \"{}\"\n", quoted(&header));
    }
    options
}

/// A connection that follows a stream.
#[derive(Debug)]
pub(crate) struct Stream {
    curl: Child,
    output: ChildStdout,
    parser: Parser,
    ready: VecDeque<Event>,
    seen: Seen,
    prefetch: usize,
    tag: u64,
    begun: Instant,
    heard: Instant,
    progress: Arc<Mutex<Progress>>,
}

impl Stream {
    /// Waits for more of it; why it is over, if it is. May be dropped while waiting, without missing anything.
    async fn hear(&mut self) -> Option<String> {
        let mut bytes = [0; 8 << 10];
        let until = self.heard + QUIET;
        match timeout_at(until.into(), self.output.read(&mut bytes)).await {
            Ok(Ok(count @ 1..)) => {
                self.heard = Instant::now();
                self.ready.extend(self.parser.read(&bytes[..count]));
                None
            }
            Ok(_) => Some(self.last_words().await),
            Err(_) => Some("nothing has come for 5 minutes".to_owned()),
        }
    }

    /// Why curl has ended.
    async fn last_words(&mut self) -> String {
        let mut text = [0; 500];
        let count = match &mut self.curl.stderr {
            Some(errors) => timeout(LAST_WORDS, errors.read(&mut text)).await,
            None => Ok(Ok(0)),
        };
        match count {
            Ok(Ok(count @ 1..)) => String::from_utf8_lossy(&text[..count]).trim().to_owned(),
            _ => "the stream has ended".to_owned(),
        }
    }

    fn settle(&mut self, tag: u64, and_before: bool) {
        self.seen.settle(tag, and_before);
        let mut progress = lock(&self.progress);
        progress.last.clone_from(&self.seen.last);
        progress.wait = FIRST_WAIT;
    }
}

impl Source for Stream {
    type Item = Event;

    async fn next(&mut self) -> News<Event> {
        loop {
            if self.seen.has_failed() {
                // For it the stream has to be asked once more.
                return News::Closed("an event is to come again".to_owned());
            }
            if self.seen.open.len() >= self.prefetch {
                std::future::pending::<()>().await;
            }
            while let Some(event) = self.ready.pop_front() {
                if event.data.is_some() {
                    self.tag += 1;
                    self.seen.come(self.tag, event.id.clone());
                    return News::Delivered(self.tag, event);
                }
                if event.is_too_big {
                    say(Level::Warning, "an event of more than 1 MiB is passed over");
                }
                self.seen.pass(event.id);
                lock(&self.progress).last.clone_from(&self.seen.last);
            }
            if let Some(why) = self.hear().await {
                if self.begun.elapsed() > LONGEST_WAIT {
                    lock(&self.progress).wait = FIRST_WAIT;
                }
                return News::Closed(why);
            }
        }
    }

    async fn ack(&mut self, tag: u64, and_before: bool) -> Result<(), String> {
        self.settle(tag, and_before);
        Ok(())
    }

    async fn reject(&mut self, tag: u64, again: bool) -> Result<(), String> {
        if again {
            self.seen.fail(tag);
        } else {
            self.settle(tag, false);
        }
        Ok(())
    }

    async fn close(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What there is of a text that comes in pieces of this size.
    fn read(text: &str, size: usize) -> Vec<(String, String, Option<String>)> {
        let mut parser = Parser::new("before".to_owned());
        let pieces = text.as_bytes().chunks(size);
        let events = pieces.flat_map(|piece| parser.read(piece));
        events
            .map(|event| (event.kind, event.id, event.data))
            .collect()
    }

    #[test]
    fn a_stream_is_understood_however_it_is_cut() {
        let event = |kind: &str, id: &str, data: Option<&str>| {
            (kind.to_owned(), id.to_owned(), data.map(str::to_owned))
        };
        let text = "\u{feff}data: a\n\n: a comment\r\nid: 1\r\nevent: till\r\ndata:b\r\ndata\r\ndata:  c\r\n\r\n\
            id: 2\r\rid: \u{1}\ndata: é\nretry: 5\nother: x\n\nid\ndata: d\n\ndata: not ended";
        let expected = [
            event("message", "before", Some("a")),
            event("till", "1", Some("b\n\n c")),
            event("message", "2", None),
            event("message", "2", Some("é")),
            event("message", "", Some("d")),
        ];
        for size in [1, 2, 3, 1000] {
            assert_eq!(read(text, size), expected, "{size}");
        }
    }

    #[test]
    fn what_is_too_big_is_passed_over() {
        let most = "a".repeat(MESSAGE_MAX);
        let line = format!("data: {most}\n");
        let half = format!("data: {}\n", "a".repeat(MESSAGE_MAX / 2 + 1));
        let id = |text: &str| {
            let events = read(&format!("id: 1\n{text}\nid: 2\ndata: b\n\n"), 8 << 10);
            assert_eq!(events[1], ("message".into(), "2".into(), Some("b".into())));
            events[0].2.as_ref().map(String::len)
        };
        assert_eq!(id(&half), Some(MESSAGE_MAX / 2 + 1));
        assert_eq!(id(&half.repeat(2)), None);
        assert_eq!(id(&line.repeat(9)), None);
    }

    #[test]
    fn the_last_one_is_that_before_the_first_that_is_open() {
        let mut seen = Seen::default();
        for tag in 1..=5 {
            seen.come(tag, format!("e{tag}"));
        }
        let mut last = |tag, and_before| {
            seen.settle(tag, and_before);
            seen.last.clone()
        };
        assert_eq!(last(2, false), "");
        assert_eq!(last(1, false), "e2");
        assert_eq!(last(4, true), "e4");
        seen.pass("e6".to_owned());
        assert_eq!((&*seen.last, seen.open.len()), ("e4", 2));
        seen.settle(5, false);
        assert_eq!((&*seen.last, seen.open.len()), ("e6", 0));
        // One acknowledgement is for all that are open, but not for what is to come again.
        seen.come(6, "e7".to_owned());
        seen.come(7, "e8".to_owned());
        seen.fail(6);
        seen.settle(7, true);
        assert!(seen.has_failed() && seen.last == "e6");
        seen.open.clear();
        // What says nothing new isn't kept.
        seen.pass("e6".to_owned());
        assert!(seen.open.is_empty());
    }

    #[test]
    fn nothing_in_a_url_or_an_id_is_an_option_of_curls() {
        let options = options("http://a/\"b\\", "1\"");
        assert!(
            options.contains("url = \"http://a/\\\"b\\\\\"\n"),
            "{options}"
        );
        assert!(
            options.contains("header = \"Last-Event-ID: 1\\\"\"\n"),
            "{options}"
        );
    }
}
