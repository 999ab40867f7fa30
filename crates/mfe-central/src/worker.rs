//! The routes of the configuration, from the service's start to its end, and the commands that are run before and
//! after them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::amqp::Broker;
use crate::batch::Pace;
use crate::config::{On, Origin, Route, Settings, When};
use crate::every::Every;
use crate::program::{self, Program};
use crate::route::{self, Ear, Handler, Source, stopped};
use mfe_common::say::{Level, say};

/// How long a command may take, and all of those of the end.
const COMMAND_TIME: Duration = Duration::from_secs(30);

/// Before a command of the start that has failed is run again, at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Runs the routes until it is told to stop, then the commands of the end.
pub(crate) async fn run(settings: &Settings, broker: &Broker, mut stop: watch::Receiver<bool>) {
    let is_begun = tokio::select! {
        () = stopped(&mut stop) => false,
        () = begin(&settings.callbacks) => true,
    };
    if is_begun {
        let mut routes = JoinSet::new();
        for route in settings.routes.clone() {
            routes.spawn(serve(route, broker.clone(), stop.clone()));
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

async fn serve(route: Route, broker: Broker, stop: watch::Receiver<bool>) {
    let verdicts = (route.on_success, route.on_exception);
    let handler = Program::new(route.handler, route.timeout, verdicts);
    match &route.from {
        Origin::RabbitMq(queues) => {
            let told = Told {
                queues: queues.names.join(", "),
                is_away: Mutex::new(false),
            };
            route::run(&broker, queues, route.pace, &handler, &told, stop).await;
        }
        Origin::Every(interval) => {
            local(Every::new(*interval), route.pace, &handler, stop).await;
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

/// Says once that queues can't be read, and that they can again.
struct Told {
    queues: String,
    is_away: Mutex<bool>,
}

impl Told {
    fn change(&self, is_away: bool) -> bool {
        let mut before = self.is_away.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *before, is_away) != is_away
    }
}

impl Ear for Told {
    fn here(&self) {
        if self.change(false) {
            say(Level::Info, &format!("{} can be read again", self.queues));
        }
    }

    fn away(&self, why: &str) {
        if self.change(true) {
            let text = format!("{} can't be read, messages wait there: {why}", self.queues);
            say(Level::Warning, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::thread::{self, JoinHandle};

    use mfe_kit::eventually;
    use serde_json::Value;

    use super::*;
    use crate::config::parse;
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
            let folder = self.folder.path().display();
            let text = format!(
                "[[route]]\nhandler = [\"{folder}/handler\", \"{folder}\"]\n{route}\n{more}"
            );
            let settings = parse(&text).unwrap();
            let (stop, stopped) = watch::channel(false);
            let thread = thread::spawn(move || {
                let broker = Broker::of(&settings, String::new());
                event_loop()
                    .unwrap()
                    .block_on(run(&settings, &broker, stopped));
            });
            Worker {
                stop,
                thread: Some(thread),
            }
        }
    }

    /// The routes, until this is dropped.
    struct Worker {
        stop: watch::Sender<bool>,
        thread: Option<JoinHandle<()>>,
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
        let _worker = place.run("from = \"every\"\ninterval = \"4s\"", "");
        let noted = place.eventually(3);
        let again: Vec<bool> = noted.iter().map(|one| one["again"] == true).collect();
        assert_eq!(again[..3], [false, true, false], "{noted:?}");
    }
}
