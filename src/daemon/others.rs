//! Has the first starts wait, not the looks, while others are starting the programs at boot; who they
//! are is found out by [`crate::start::starters`], and what comes of it is decided in
//! [`crate::machine`]. Once they are done, the service is to end before them.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use tracing::debug;

use crate::config::Settings;
use crate::machine::Event;
use crate::start::shutdown;
use crate::start::starters::Starters;
use crate::systemd::names::is_service;

/// The way to each process's task, and how long its first start may wait: its `start_timeout`.
pub(super) type Tasks = Vec<(Sender<Event>, Duration)>;

/// Tells the tasks of what `settings` name that others may be starting it, before they have looked for
/// the first time; and from then on, in the background, who is, until nobody is any more. Only a
/// service of systemd's begins beside others, at boot.
pub(super) fn go_first(settings: &Settings, tasks: Tasks) {
    if !is_service() {
        return;
    }
    let starters = Starters::new(settings);
    let begin = Instant::now();
    starting(&[], &tasks, begin);
    tokio::spawn(async move {
        let longest = tasks.iter().map(|(_, start_timeout)| *start_timeout).max();
        starters
            .wait(longest.unwrap_or_default(), |by| {
                starting(by, &tasks, begin);
            })
            .await;
        for (events, _) in &tasks {
            // One that has ended meanwhile waits for nothing.
            let _ = events.send(Event::OthersDone).await;
        }
        if let Err(trouble) = shutdown::end_before_others().await {
            let why = trouble.phrase();
            debug!("the end of a program at power-off may be told as an outage: {why}");
        }
    });
}

/// Tells the tasks who is on the way; nobody if that is still being asked.
fn starting(by: &[String], tasks: &Tasks, begin: Instant) {
    for (events, start_timeout) in tasks {
        // Nobody has filled the queue so early, and if somebody had, the wait would still end in time.
        let _ = events.try_send(Event::OthersStarting {
            by: by.to_vec(),
            until: begin + *start_timeout,
        });
    }
}
