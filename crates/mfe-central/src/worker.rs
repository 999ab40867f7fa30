//! The routes of the configuration, from the service's start to its end, and the commands that are run before and
//! after them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mfe_common::say::{Level, say};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::amqp::Broker;
use crate::batch::Pace;
use crate::config::{On, Origin, Route, Settings, When};
use crate::every::Every;
use crate::health::{Counts, Health};
use crate::hook::Hooks;
use crate::program::{self, Program};
use crate::route::{self, Ear, Handler, Source, stopped};
use crate::sse::Follow;

/// How long a command may take, and all of those of the end.
const COMMAND_TIME: Duration = Duration::from_secs(30);

/// Before a command of the start that has failed is run again, at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Runs the routes until it is told to stop, then the commands of the end.
pub(crate) async fn run(
    settings: &Settings,
    broker: &Broker,
    hooks: Arc<Hooks>,
    health: &Health,
    mut stop: watch::Receiver<bool>,
) {
    let is_begun = tokio::select! {
        () = stopped(&mut stop) => false,
        () = begin(&settings.callbacks) => true,
    };
    if is_begun {
        let mut routes = JoinSet::new();
        for (route, counts) in settings.routes.iter().zip(&health.routes) {
            routes.spawn(serve(
                route.clone(),
                Arc::clone(counts),
                broker.clone(),
                Arc::clone(&hooks),
                stop.clone(),
            ));
        }
        routes.join_all().await;
        // Without routes there is nothing to wait for.
        stopped(&mut stop).await;
    }
    let end = async {
        for on in of(&settings.callbacks, When::Shutdown) {
            if let Err(why) = command(&on.command).await {
                say(Level::Warning, &format!("command {}: {why}", on.command[0]));
            }
        }
    };
    if timeout(COMMAND_TIME, end).await.is_err() {
        say(
            Level::Warning,
            "the commands of the end have taken too long",
        );
    }
}

fn of(callbacks: &[On], when: When) -> impl Iterator<Item = &On> {
    callbacks.iter().filter(move |on| on.event == when)
}

/// Runs the commands of the start, one after the other: each until it has succeeded.
async fn begin(callbacks: &[On]) {
    for on in of(callbacks, When::Startup) {
        let mut wait = Duration::from_secs(1);
        while let Err(why) = command(&on.command).await {
            say(
                Level::Warning,
                &format!(
                    "command {}: {why}; no route begins before it has succeeded",
                    on.command[0]
                ),
            );
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

async fn command(words: &[String]) -> Result<(), String> {
    let run = program::run(words);
    let status = timeout(COMMAND_TIME, run).await;
    let status = status.map_err(|_| "it has taken too long".to_owned())?;
    let status = status.map_err(|error| format!("it can't be run: {error}"))?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| status.to_string())
}

async fn serve(
    route: Route,
    counts: Arc<Counts>,
    broker: Broker,
    hooks: Arc<Hooks>,
    stop: watch::Receiver<bool>,
) {
    let verdicts = (route.on_success, route.on_exception);
    let handler = Program::new(route.handler, route.timeout, verdicts, counts);
    match &route.from {
        Origin::RabbitMq(queues) => {
            let told = Told::new(&queues.names.join(", "));
            let taking = broker.taking(queues, route.pace.prefetch);
            route::run(taking, route.pace, &handler, &told, stop).await;
        }
        Origin::Every(interval) => {
            local(Every::new(*interval), route.pace, &handler, stop).await;
        }
        Origin::Sse(url) => {
            // What may be secret in it isn't for the journal.
            let host = url.split('/').nth(2).unwrap_or_default();
            let told = Told::new(host.rsplit('@').next().unwrap_or_default());
            let follow = Follow::new(url, route.pace.prefetch.into());
            route::run(follow, route.pace, &handler, &told, stop).await;
        }
        Origin::Http(at) => {
            if let Some(requests) = hooks.requests(&at.path) {
                local(requests, route.pace, &handler, stop).await;
            }
        }
    }
    handler.end().await;
}

/// Takes messages of a source that is never away.
async fn local<S: Source>(
    source: S,
    pace: Pace,
    handler: &impl Handler<S::Item>,
    mut stop: watch::Receiver<bool>,
) {
    let is_ready = tokio::select! {
        () = stopped(&mut stop) => false,
        () = handler.ready() => true,
    };
    if is_ready {
        route::serve(source, pace, handler, &mut stop).await;
    }
}

/// Says once that a source can't be read, and that it can again.
struct Told {
    source: String,
    is_away: Mutex<bool>,
}

impl Told {
    fn new(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            is_away: Mutex::new(false),
        }
    }

    fn change(&self, is_away: bool) -> bool {
        let mut before = self.is_away.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *before, is_away) != is_away
    }
}

impl Ear for Told {
    fn here(&self) {
        if self.change(false) {
            say(Level::Info, &format!("{} can be read again", self.source));
        }
    }

    fn away(&self, why: &str) {
        if self.change(true) {
            let text = format!("{} can't be read, messages wait there: {why}", self.source);
            say(Level::Warning, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::thread::{self, JoinHandle};

    use mfe_kit::{Need, eventually, needs};
    use serde_json::Value;

    use super::*;
    use crate::config::parse;
    use crate::http;
    use crate::office::Office;
    use crate::service::event_loop;

    /// A folder with a handler in Python, which has its path as an argument.
    struct Place {
        folder: tempfile::TempDir,
    }

    impl Place {
        fn new(handler: &str) -> Self {
            let place = Self {
                folder: tempfile::tempdir().unwrap(),
            };
            let text = format!(
                "#!/usr/bin/env python3\nimport json, os, sys, time\nos.chdir(sys.argv[1])\n{handler}"
            );
            let file = place.path("handler");
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// The messages that the handler has noted.
        fn noted(&self) -> Vec<Value> {
            let text = fs::read_to_string(self.path("log")).unwrap_or_default();
            // The last line may be on its way.
            let lines = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            lines
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        }

        /// Waits until it has noted so many.
        fn eventually(&self, count: usize) -> Vec<Value> {
            eventually(("so many messages", count), || {
                let noted = self.noted();
                (noted.len() >= count).then_some(noted)
            })
        }

        /// Runs a route to this handler, with other tables after it.
        fn run(&self, route: &str, more: &str) -> Worker {
            let folder = self.folder.path();
            Self::run_with(&[&self.path("handler"), folder], route, more)
        }

        /// Runs a route to one of the examples, with a file of these settings.
        fn run_example(&self, name: &str, settings: &Value, route: &str) -> Worker {
            let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/routes");
            let file = self.path("settings");
            fs::write(&file, settings.to_string()).unwrap();
            Self::run_with(&[&example.join(name), &file], route, "")
        }

        fn run_with(handler: &[&Path], route: &str, more: &str) -> Worker {
            let text =
                format!("tills = [\"till-1\"]\n[[route]]\nhandler = {handler:?}\n{route}\n{more}");
            let settings = parse(&text).unwrap();
            let (stop, stopped) = watch::channel(false);
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let serve = async move {
                let broker = Broker::of(&settings, String::new());
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let (tills, routes) = (&settings.tills, &settings.routes);
                let office = Office::new(settings.heartbeat, tills, &settings.database, routes);
                let office = Arc::new(office);
                let hooks = Arc::new(Hooks::new(&settings.routes));
                let http = http::serve(listener, Arc::clone(&office), Arc::clone(&hooks));
                let http = tokio::spawn(http);
                run(&settings, &broker, hooks, &office.health, stopped).await;
                http.abort();
            };
            Worker {
                stop,
                address,
                thread: Some(thread::spawn(|| event_loop().unwrap().block_on(serve))),
            }
        }
    }

    /// The routes, until this is dropped.
    struct Worker {
        stop: watch::Sender<bool>,
        address: SocketAddr,
        thread: Option<JoinHandle<()>>,
    }

    impl Worker {
        /// Sends a request, and gives the answer's status and all of it.
        fn ask(&self, head: &str, body: &[u8]) -> (u16, String) {
            let mut stream = TcpStream::connect(self.address).unwrap();
            stream.set_read_timeout(Some(mfe_kit::DEADLINE)).unwrap();
            let head = format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            // Who refuses a body doesn't read it to its end.
            let _ = stream.write_all(body);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            let answer = String::from_utf8(answer).unwrap();
            let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
            (status, answer)
        }

        /// Posts a body to the route.
        fn post(&self, body: &[u8]) -> (u16, String) {
            let head = format!("POST /hooks/a HTTP/1.1\r\nContent-Length: {}", body.len());
            self.ask(&head, body)
        }
    }

    impl Drop for Worker {
        fn drop(&mut self) {
            self.stop.send_replace(true);
            let ended = self.thread.take().unwrap().join();
            assert!(ended.is_ok() || thread::panicking());
        }
    }

    /// Takes note of each line, and gives what is said then in a loop over them.
    const NOTED: &str =
        "for line in sys.stdin:\n    open('log', 'a').write(line)\n    m = json.loads(line)\n    ";

    fn time(noted: &Value) -> std::time::SystemTime {
        humantime::parse_rfc3339(noted["time"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn one_line_each_interval_and_none_while_the_one_before_is_in_hand() {
        let handler = NOTED.to_owned()
            + "if m['n'] == 1: time.sleep(2.5)\n    print(json.dumps({'n': m['n']}), flush=True)\n";
        let place = Place::new(&handler);
        let worker = place.run("from = \"every\"\ninterval = \"1s\"", "");
        let noted = place.eventually(3);
        drop(worker);
        let wait = |n: usize| time(&noted[n]).duration_since(time(&noted[n - 1])).unwrap();
        // Of those that began meanwhile none has come, neither then nor after it.
        assert!(wait(1) >= Duration::from_millis(2400), "{noted:?}");
        assert!(wait(2) >= Duration::from_millis(900), "{noted:?}");
        assert_eq!(noted[1]["n"], 2, "{noted:?}");
        assert_eq!(noted[1]["again"], false, "{noted:?}");
    }

    #[test]
    fn what_was_in_vain_comes_again_before_the_next_interval() {
        let handler = NOTED.to_owned()
            + "print(json.dumps({'n': m['n'], 'do': 'ack' if m['again'] else 'requeue'}), flush=True)\n";
        let place = Place::new(&handler);
        let _worker = place.run("from = \"every\"\ninterval = \"2s\"", "");
        let noted = place.eventually(3);
        let again: Vec<bool> = noted.iter().map(|one| one["again"] == true).collect();
        assert_eq!(again[..3], [false, true, false], "{noted:?}");
    }

    const HOOK: &str = "from = \"http\"\npath = \"/hooks/a\"\n";

    #[test]
    fn a_request_is_answered_as_the_handler_says() {
        let handler = NOTED.to_owned()
            + "b = m.get('body') or {}\n    print(json.dumps({'n': m['n'], **b}), flush=True)\n";
        let place = Place::new(&handler);
        let worker = place.run(&format!("{HOOK}methods = [\"POST\", \"GET\"]"), "");
        for (said, status, answer) in [
            ("{}", 200, ""),
            (r#"{"do":"ack"}"#, 200, ""),
            (r#"{"do":"reject"}"#, 400, ""),
            (r#"{"do":"requeue"}"#, 503, ""),
            (r#"{"do":"ack","status":201,"body":"made"}"#, 201, "made"),
            (r#"{"do":"reject","body":{"a":[1]}}"#, 400, r#"{"a":[1]}"#),
        ] {
            let (found, text) = worker.post(said.as_bytes());
            assert_eq!(found, status, "{said}: {text}");
            assert_eq!(text.split_once("\r\n\r\n").unwrap().1, answer, "{said}");
        }
        let count = place.noted().len();
        let headers = "X-A: 1\r\nx-a: 2\r\nCookie: c\r\nAuthorization: d";
        let got = worker.ask(&format!("GET /hooks/a?b=%20 HTTP/1.1\r\n{headers}"), b"");
        assert_eq!(got.0, 200, "{}", got.1);
        let noted = &place.noted()[count];
        for (member, expected) in [
            ("method", "GET"),
            ("path", "/hooks/a"),
            ("query", "b=%20"),
            ("text", ""),
        ] {
            assert_eq!(noted[member], expected, "{noted}");
        }
        let expected = serde_json::json!({"host": "x", "connection": "close", "x-a": "1, 2"});
        assert_eq!(noted["headers"], expected);
    }

    #[test]
    fn what_is_no_good_does_not_reach_the_handler() {
        let place = Place::new(&(NOTED.to_owned() + "print(flush=True)\n"));
        let worker = place.run(HOOK, "");
        let (status, text) = worker.ask("GET /hooks/a HTTP/1.1", b"");
        assert_eq!(status, 405);
        assert!(
            text.to_lowercase().contains("\r\nallow: post\r\n"),
            "{text}"
        );
        assert_eq!(worker.ask("GET /hooks/b HTTP/1.1", b"").0, 404);
        let foreign = "POST /hooks/a HTTP/1.1\r\nOrigin: http://y\r\nContent-Length: 0";
        assert_eq!(worker.ask(foreign, b"").0, 403);
        let most = vec![b'a'; 1 << 20];
        let chunked = "POST /hooks/a HTTP/1.1\r\nTransfer-Encoding: chunked";
        let chunks = |body: &[u8]| {
            let begin = format!("{:x}\r\n", body.len()).into_bytes();
            [&begin, body, b"\r\n0\r\n\r\n"].concat()
        };
        let more = [&most[..], b"a"].concat();
        assert_eq!(worker.ask(chunked, &chunks(&more)).0, 413);
        let declared = format!("POST /hooks/a HTTP/1.1\r\nContent-Length: {}", more.len());
        assert_eq!(worker.ask(&declared, b"").0, 413);
        assert!(place.noted().is_empty());
        let metrics = || worker.ask("GET /metrics HTTP/1.1", b"").1;
        let counted = format!(
            "{{route=\"1\",from=\"http\",handler=\"{}\"",
            place.path("handler").display()
        );
        let none = format!("mfe_central_route_messages_total{counted},verdict=\"ack\"}} 0\n");
        assert!(metrics().contains(&none), "{}", metrics());
        // The largest are good.
        assert_eq!(worker.post(&most).0, 200);
        assert_eq!(worker.ask(chunked, &chunks(&most)).0, 200);
        let both = format!("mfe_central_route_messages_total{counted},verdict=\"ack\"}} 2\n");
        let starts = format!("mfe_central_route_handler_starts_total{counted}}} 1\n");
        let text = metrics();
        assert!(text.contains(&both) && text.contains(&starts), "{text}");
    }

    #[test]
    fn no_request_waits_for_ever_nor_do_many() {
        let handler = NOTED.to_owned()
            + "if m['text'] == 'die': os.abort()\n    time.sleep(60 if m['text'] == 'slow' else 0)\n    \
               print(flush=True)\n";
        let place = Place::new(&handler);
        let worker = place.run(&format!("{HOOK}prefetch = 1\ntimeout = \"2s\""), "");
        thread::scope(|scope| {
            let slow = scope.spawn(|| worker.post(b"slow").0);
            place.eventually(1);
            assert_eq!(worker.post(b"one too many").0, 503);
            let slow = slow.join().unwrap();
            assert!([503, 504].contains(&slow), "{slow}");
        });
        // The place is free again when the handler is rid of it.
        eventually("another one", || {
            (worker.post(b"good").0 == 200).then_some(())
        });
        assert_eq!(worker.post(b"die").0, 503);
        eventually("another handler", || {
            (worker.post(b"good").0 == 200).then_some(())
        });
    }

    /// Takes the next request, gives its head, and begins a stream with these events.
    fn stream(server: &TcpListener, ids: &[u64]) -> (String, TcpStream) {
        let (mut stream, _) = eventually("a request", || server.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(mfe_kit::DEADLINE)).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let mut answer =
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n:\n\n"
                .to_owned();
        for id in ids {
            answer += &format!("id: {id}\nevent: a\ndata: {{\"a\":{id}}}\n\n");
        }
        stream.write_all(answer.as_bytes()).unwrap();
        (String::from_utf8(head).unwrap().to_lowercase(), stream)
    }

    #[test]
    fn a_stream_goes_on_after_what_was_acknowledged_without_a_gap() {
        needs!(Need::Package("curl"));
        let handler = "tried = set()\n".to_owned()
            + NOTED
            + "late = m['id'] == '2' and '2' not in tried\n    tried.add(m['id'])\n    \
               print(json.dumps({'n': m['n'], 'do': 'requeue' if late else 'ack'}), flush=True)\n";
        let place = Place::new(&handler);
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let address = server.local_addr().unwrap();
        let route = format!(
            "from = \"sse\"\nurl = \"http://u:p@{address}/a?b=[c]\"\nbulk_size = 3\nflush_timeout = \"500ms\""
        );
        let _worker = place.run(&route, "");
        let (head, _first) = stream(&server, &[1, 2, 3]);
        assert!(head.starts_with("get /a?b=[c] "), "{head}");
        assert!(head.contains("\r\nauthorization: basic "), "{head}");
        assert!(head.contains("\r\naccept: text/event-stream\r\n"), "{head}");
        assert!(!head.contains("last-event-id"), "{head}");
        let (head, second) = stream(&server, &[2, 3]);
        assert!(head.contains("\r\nlast-event-id: 1\r\n"), "{head}");
        let noted = place.eventually(5);
        let ids: Vec<&Value> = noted.iter().map(|one| &one["body"]["a"]).collect();
        assert_eq!(ids, [1, 2, 3, 2, 3], "{noted:?}");
        assert_eq!(
            (&noted[0]["id"], &noted[0]["event"]),
            (&"1".into(), &"a".into())
        );
        drop(second);
        let (head, _third) = stream(&server, &[]);
        assert!(head.contains("\r\nlast-event-id: 3\r\n"), "{head}");
    }

    #[test]
    fn a_handler_that_dies_while_idle_is_there_again_before_the_next_message() {
        let handler = "open('pids', 'a').write(f'{os.getpid()}\\n')\n".to_owned()
            + NOTED
            + "print(flush=True)\n";
        let place = Place::new(&handler);
        let worker = place.run(HOOK, "");
        let pids = |count: usize| {
            eventually(("so many handlers", count), || {
                let text = fs::read_to_string(place.path("pids")).ok()?;
                let pids: Vec<i32> = text.lines().filter_map(|pid| pid.parse().ok()).collect();
                (pids.len() >= count).then_some(pids)
            })
        };
        assert_eq!(worker.post(b"1").0, 200);
        kill(pids(1)[0]);
        let pids = pids(2);
        assert_eq!(worker.post(b"2").0, 200);
        assert_eq!(place.noted().len(), 2);
        // None of those that have ended stays behind.
        let first = format!("/proc/{}", pids[0]);
        eventually("it is reaped", || {
            (!Path::new(&first).exists()).then_some(())
        });
    }

    fn kill(pid: i32) {
        use rustix::process::{Pid, Signal, kill_process};
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    #[test]
    fn a_handler_that_is_killed_in_the_middle_of_a_batch_keeps_what_it_has_said() {
        let handler = NOTED.to_owned()
            + "said = json.dumps({'n': m['n'], 'do': 'reject'})\n    \
               if m['text'] == 'good': print(said, flush=True)\n    if m['last']:\n        \
               open('pid', 'w').write(f'{os.getpid()}\\n')\n        time.sleep(60)\n";
        let place = Place::new(&handler);
        let worker = place.run(&format!("{HOOK}bulk_size = 2"), "");
        let (good, other) = thread::scope(|scope| {
            let good = scope.spawn(|| worker.post(b"good").0);
            let other = scope.spawn(|| worker.post(b"other").0);
            let pid = eventually("its process ID", || {
                let text = fs::read_to_string(place.path("pid")).ok()?;
                text.strip_suffix('\n')?.parse().ok()
            });
            kill(pid);
            (good.join().unwrap(), other.join().unwrap())
        });
        assert_eq!((good, other), (400, 503));
    }

    #[test]
    fn a_handler_that_takes_too_long_is_ended_and_its_message_comes_again() {
        let handler =
            NOTED.to_owned() + "time.sleep(0 if m['again'] else 60)\n    print(flush=True)\n";
        let place = Place::new(&handler);
        let _worker = place.run("from = \"every\"\ninterval = \"3s\"\ntimeout = \"1s\"", "");
        let noted = place.eventually(2);
        assert_eq!(
            (&noted[0]["again"], &noted[1]["again"]),
            (&false.into(), &true.into())
        );
    }

    #[test]
    fn no_route_begins_before_the_command_of_the_start_has_succeeded() {
        let place = Place::new(&(NOTED.to_owned() + "print(flush=True)\n"));
        let (first, began) = (place.path("first"), place.path("began"));
        // It fails the first time, and takes note of each.
        let script = format!(
            "test -e {0} && cp {1} {2}; r=$?; test -e {1} || : >{1}; : >{0}; exit $r",
            first.display(),
            place.path("log").display(),
            began.display()
        );
        let callback =
            format!("[[on]]\nevent = \"startup\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n");
        let _worker = place.run("from = \"every\"\ninterval = \"1s\"", &callback);
        place.eventually(1);
        // Between the two tries nothing was handled.
        assert_eq!(fs::read_to_string(began).unwrap(), "");
    }

    /// Takes the next request, answers it with this status, and gives its body.
    fn answer(server: &TcpListener, status: &str) -> Value {
        let (stream, _) = eventually("a request", || server.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(mfe_kit::DEADLINE)).unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim().to_lowercase();
            if let Some(given) = line.strip_prefix("content-length: ") {
                length = given.parse().unwrap();
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        reader.into_inner().write_all(answer.as_bytes()).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// A stand-in for a server of others.
    fn server() -> (TcpListener, SocketAddr) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let address = server.local_addr().unwrap();
        (server, address)
    }

    #[test]
    fn the_example_tells_a_gateway() {
        let place = Place::new("");
        let (gateway, address) = server();
        let settings = serde_json::json!({"url": format!("http://{address}/bot1:a/sendMessage"), "headers": {},
            "message": {"chat_id": "-1", "text": "{text}", "more": {"body": "<{text}>"}}});
        let worker = place.run_example("tell.py", &settings, HOOK);
        let event = br#"{"source":"till-1","data":{"message":"Monitor is down"}}"#;
        let told = serde_json::json!({"chat_id": "-1", "text": "till-1: Monitor is down",
            "more": {"body": "<till-1: Monitor is down>"}});
        thread::scope(|scope| {
            // What can't be now is tried again, and what never can be isn't.
            for (statuses, expected) in [
                (&["200 OK"][..], 200),
                (&["503 Service Unavailable", "200 OK"], 200),
                (&["403 Forbidden"], 400),
            ] {
                let post = scope.spawn(|| worker.post(event).0);
                for status in statuses {
                    assert_eq!(answer(&gateway, status), told);
                }
                assert_eq!(post.join().unwrap(), expected, "{statuses:?}");
            }
        });
        assert_eq!(worker.post(b"{}").0, 400);
    }

    /// Takes the next mail.
    fn mail(server: &TcpListener) -> String {
        let (stream, _) = eventually("a mail", || server.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(mfe_kit::DEADLINE)).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let say = |text: &str| {
            (&stream)
                .write_all(format!("{text}\r\n").as_bytes())
                .unwrap();
        };
        say("220 x");
        let (mut mail, mut is_mail) = (String::new(), false);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim_end() {
                "." => {
                    is_mail = false;
                    say("250 taken");
                }
                _ if is_mail => mail += &line,
                "data" | "DATA" => {
                    is_mail = true;
                    say("354 go on");
                }
                "quit" | "QUIT" => {
                    say("221 bye");
                    return mail;
                }
                "" => panic!("it has hung up: {mail}"),
                _ => say("250 good"),
            }
        }
    }

    #[test]
    fn the_example_mails_a_report_once_a_day() {
        let place = Place::new("");
        let (server, address) = server();
        let settings = |page: &str| {
            serde_json::json!({"page": page, "server": "127.0.0.1", "port": address.port(), "tls": false,
                "from": "office@example", "to": ["boss@example"], "hour": 0, "state": place.path("state")})
        };
        // The page's address is known when it is there.
        let route = "from = \"every\"\ninterval = \"1s\"";
        let worker = place.run_example("report.py", &settings("http://127.0.0.1:1"), route);
        let page = format!("http://{}", worker.address);
        fs::write(place.path("new"), settings(&page).to_string()).unwrap();
        fs::rename(place.path("new"), place.path("settings")).unwrap();
        let mail = mail(&server);
        assert!(mail.contains("To: boss@example\r\n"), "{mail}");
        assert!(
            mail.contains("Subject: 1 tills, 1 of them not up\r\n"),
            "{mail}"
        );
        assert!(mail.contains("till-1: never_seen\r\n"), "{mail}");
        eventually("it has looked twice", || {
            let text = worker.ask("GET /metrics HTTP/1.1", b"").1;
            let line = text.lines().find(|line| line.contains("verdict=\"ack\""))?;
            let count: u32 = line.rsplit(' ').next()?.parse().ok()?;
            (count >= 2).then_some(())
        });
        assert!(server.accept().is_err(), "a second mail");
    }
}
