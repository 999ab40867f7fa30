//! The service: one task for each of its jobs, in one thread. What is in hand when it is told to end is settled by
//! nobody, and so comes again: events are stored once, however often they come.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mfe_common::say::{Level, say};
use rust_i18n::t;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::amqp::{self, Broker, Queues};
use crate::batch::Pace;
use crate::config::Settings;
use crate::hook::Hooks;
use crate::http;
use crate::office::{Events, Office, States};
use crate::route;
use crate::worker;

/// Events are stored in batches: many at once, where many come, and ten times a second at most, where few do. Who
/// follows them is told then.
const OF_EVENTS: Pace = Pace {
    prefetch: 1000,
    bulk_size: 500,
    flush_timeout: Duration::from_millis(100),
};

/// How a till is is shown at once.
const OF_STATES: Pace = Pace {
    flush_timeout: Duration::ZERO,
    ..OF_EVENTS
};

/// Runs until it is told to end.
///
/// # Errors
/// When it can't begin, or one of its tasks has failed.
pub(crate) fn run(settings: &Settings, broker: Broker) -> anyhow::Result<()> {
    event_loop()?.block_on(serve(settings, broker))
}

/// What waits for everything.
///
/// # Errors
/// When the kernel gives none.
pub(crate) fn event_loop() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build()
}

async fn serve(settings: &Settings, broker: Broker) -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(settings.listen).await;
    let listener =
        listener.with_context(|| t!("run.listen", address = settings.listen).into_owned())?;
    let address = listener.local_addr()?;
    let office = Arc::new(Office::new(
        settings.heartbeat,
        &settings.tills,
        &settings.database,
        &settings.routes,
    ));
    let broker = Arc::new(broker);
    let hooks = Arc::new(Hooks::new(&settings.routes));
    let mut tasks = JoinSet::new();
    let (end, stop) = watch::channel(false);
    let mut worker = tokio::spawn({
        let (broker, settings, stop) = (Arc::clone(&broker), settings.clone(), stop.clone());
        let (hooks, health) = (Arc::clone(&hooks), Arc::clone(&office.health));
        async move { worker::run(&settings, &broker, hooks, &health, stop).await }
    });
    tasks.spawn({
        let (broker, office, stop) = (Arc::clone(&broker), Arc::clone(&office), stop.clone());
        let (queues, events) = (Queues::own(amqp::EVENTS), Events(Arc::clone(&office)));
        async move {
            let taking = broker.taking(&queues, OF_EVENTS.prefetch);
            route::run(taking, OF_EVENTS, &events, &*office.health, stop).await;
        }
    });
    tasks.spawn({
        let office = Arc::clone(&office);
        let (queues, states) = (Queues::own(amqp::STATES), States(Arc::clone(&office)));
        async move {
            let taking = broker.taking(&queues, OF_STATES.prefetch);
            route::run(taking, OF_STATES, &states, &*office.health, stop).await;
        }
    });
    tasks.spawn({
        let office = Arc::clone(&office);
        async move { office.beat().await }
    });
    tasks.spawn({
        let office = Arc::clone(&office);
        async move { office.expect_enrolled().await }
    });
    tasks.spawn({
        let (office, retention) = (Arc::clone(&office), settings.retention);
        async move { office.keep_house(retention).await }
    });
    tasks.spawn(http::serve(listener, office, hooks));
    say(Level::Info, &format!("listening on http://{address}/"));
    // Who isn't systemd isn't told.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let ended = tokio::select! {
        _ = terminated.recv() => None,
        _ = interrupted.recv() => None,
        task = tasks.join_next() => Some(format!("{task:?}")),
        ended = &mut worker => Some(format!("{ended:?}")),
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    // Central's own routes end by it as well: what is in hand then is either stored, or comes again.
    end.send_replace(true);
    if ended.is_none() {
        worker.await?;
    }
    anyhow::ensure!(ended.is_none(), "a task has ended: {ended:?}");
    Ok(())
}
