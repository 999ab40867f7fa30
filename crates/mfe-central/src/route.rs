//! A route: messages of a source go to a handler in batches, and are settled by its verdict on each. To one that can be
//! away it connects again for as long as it takes; what wasn't settled then comes again.

use std::future::{Future, pending};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use crate::batch::{Action, Batcher, Input, Pace, Verdict};

/// The first wait before connecting again, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How long the batch that is out may take when the service ends: systemd kills what takes longer than 90 s
/// (systemd-system.conf(5), `DefaultTimeoutStopSec`), and handlers and callbacks come after it.
const LAST_BATCH: Duration = Duration::from_secs(30);

/// What comes from a source.
#[derive(Debug)]
pub(crate) enum News<T> {
    /// A message with its tag: they are 1, 2, 3 …
    Delivered(u64, T),
    /// The source has ended, and why.
    Closed(String),
}

/// Where messages come from. What isn't settled comes again.
pub(crate) trait Source: Send {
    type Item: Send;

    /// What comes next. May be dropped while waiting, without missing anything.
    fn next(&mut self) -> impl Future<Output = News<Self::Item>> + Send;

    /// Acknowledges a message, and with it all before it that aren't settled if so asked.
    ///
    /// # Errors
    /// When the connection is over: then they come again.
    fn ack(
        &mut self,
        tag: u64,
        and_before: bool,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Refuses a message, which then comes again, or is put aside.
    ///
    /// # Errors
    /// As of [`Source::ack`].
    fn reject(&mut self, tag: u64, again: bool) -> impl Future<Output = Result<(), String>> + Send;

    /// Takes leave, when all that was to be settled is.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// What leads to a source.
pub(crate) trait Opener: Send {
    type Source: Source;

    /// Connects to it.
    ///
    /// # Errors
    /// Why that can't be.
    fn open(&mut self) -> impl Future<Output = Result<Self::Source, String>> + Send;
}

/// What does something with messages.
pub(crate) trait Handler<T>: Sync {
    /// Waits until it can handle something. Nothing is taken before, for the broker puts a message aside that it has
    /// delivered in vain too often.
    fn ready(&self) -> impl Future<Output = ()> + Send;

    /// Keeps it able to, while there is nothing to be handled. May be dropped while waiting.
    fn keep(&self) -> impl Future<Output = ()> + Send {
        pending()
    }

    /// The verdict on each message of a batch, in its order. It may take as long as it needs: if the connection is lost
    /// meanwhile, it is dropped, and the messages come again.
    fn handle(&self, batch: Vec<T>) -> impl Future<Output = Vec<Verdict>> + Send;
}

/// Who is told whether a source can be used.
pub(crate) trait Ear: Sync {
    fn here(&self);
    fn away(&self, why: &str);
}

/// Takes messages of a source until it is told to stop: until the value is true, or nobody is left to change it.
pub(crate) async fn run<O: Opener>(
    mut opener: O,
    pace: Pace,
    handler: &impl Handler<<O::Source as Source>::Item>,
    ear: &impl Ear,
    mut stop: watch::Receiver<bool>,
) {
    let mut wait = FIRST_WAIT;
    loop {
        let found = tokio::select! {
            () = stopped(&mut stop) => return,
            found = async {
                handler.ready().await;
                opener.open().await
            } => found,
        };
        let why = match found {
            Ok(source) => {
                ear.here();
                wait = FIRST_WAIT;
                match serve(source, pace, handler, &mut stop).await {
                    Some(why) => why,
                    None => return,
                }
            }
            Err(why) => why,
        };
        ear.away(&why);
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = sleep(wait) => {}
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Waits until it is told to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error: nobody is left who could say so.
    let _ = stop.wait_for(|is_over| *is_over).await;
}

/// Until the source is over, and then tells why it is; or until it is told to stop: then the batch that is out is
/// settled, if it doesn't take too long.
pub(crate) async fn serve<S: Source>(
    mut source: S,
    pace: Pace,
    handler: &impl Handler<S::Item>,
    stop: &mut watch::Receiver<bool>,
) -> Option<String> {
    let mut batcher = Batcher::new(pace);
    let mut work = None;
    let mut stop = Some(stop);
    let mut last = None;
    loop {
        let flush = batcher.next_flush();
        let input = tokio::select! {
            verdicts = work_of(&mut work) => {
                work = None;
                Input::Judged(verdicts)
            }
            () = stop_of(&mut stop) => {
                stop = None;
                last = Some(Instant::now() + LAST_BATCH);
                Input::Stop
            }
            news = source.next(), if stop.is_some() => match news {
                News::Delivered(tag, item) => Input::Delivered(tag, item),
                News::Closed(why) => return Some(why),
            },
            () = until(flush) => Input::Tick,
            () = handler.keep(), if !batcher.is_busy() && stop.is_some() => Input::Tick,
            () = until(last) => {
                source.close().await;
                return None;
            }
        };
        for action in batcher.handle(Instant::now(), input) {
            let settled = match action {
                Action::Hand(batch) => {
                    work = Some(Box::pin(handler.handle(batch)));
                    Ok(())
                }
                Action::AckUpTo(tag) => source.ack(tag, true).await,
                Action::Ack(tag) => source.ack(tag, false).await,
                Action::Reject(tag) => source.reject(tag, false).await,
                Action::Requeue(tag) => source.reject(tag, true).await,
            };
            if let Err(why) = settled {
                return Some(why);
            }
        }
        if stop.is_none() && !batcher.is_busy() {
            source.close().await;
            return None;
        }
    }
}

async fn work_of<F: Future + Unpin>(work: &mut Option<F>) -> F::Output {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}

async fn stop_of(stop: &mut Option<&mut watch::Receiver<bool>>) {
    match stop {
        Some(stop) => stopped(stop).await,
        None => pending().await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => pending().await,
    }
}
