//! The routes of the configuration, from the service's start to its end, and the commands that are run before and
//! after them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::amqp::Broker;
use crate::config::{On, Route, Settings, When};
use crate::program::{self, Program};
use crate::route::{self, Ear, stopped};
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
    let told = Told {
        queues: route.queues.names.join(", "),
        is_away: Mutex::new(false),
    };
    route::run(&broker, &route.queues, route.pace, &handler, &told, stop).await;
    handler.end().await;
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
