//! A route: messages of a queue go to a handler in batches, and are settled by its verdict on each. It connects again
//! for as long as it takes; what wasn't settled then comes again.

use std::future::{Future, pending};
use std::time::{Duration, Instant};

use tokio::time::{sleep, sleep_until};

use crate::amqp::{Broker, Consumer, News};
use crate::batch::{Action, Batcher, Input, Pace, Verdict};
use crate::health::{Engine, Health};
use crate::message::Delivery;

/// The first wait before connecting again, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What does something with messages.
pub(crate) trait Handler: Sync {
    /// Waits until it can handle something. Nothing is taken before, for the broker puts a message aside that it has
    /// delivered in vain too often.
    fn ready(&self) -> impl Future<Output = ()> + Send;

    /// The verdict on each message of a batch, in its order. It may take as long as it needs: if the connection is lost
    /// meanwhile, it is dropped, and the messages come again.
    fn handle(&self, batch: Vec<Delivery>) -> impl Future<Output = Vec<Verdict>> + Send;
}

/// Where messages come from, and how they are gathered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) queue: &'static str,
    pub(crate) pace: Pace,
}

impl Route {
    /// Goes on for ever.
    pub(crate) async fn run(self, broker: &Broker, handler: &impl Handler, health: &Health) {
        let mut wait = FIRST_WAIT;
        loop {
            handler.ready().await;
            let why = match broker.consume(self.queue, self.pace.prefetch).await {
                Ok(consumer) => {
                    health.here(Engine::Broker);
                    wait = FIRST_WAIT;
                    self.serve(consumer, handler).await
                }
                Err(why) => why,
            };
            health.away(Engine::Broker, &why);
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Until the connection is over; tells why it is.
    async fn serve(self, mut consumer: Consumer, handler: &impl Handler) -> String {
        let mut batcher = Batcher::new(self.pace);
        let mut work = None;
        loop {
            let flush = batcher.next_flush();
            let input = tokio::select! {
                verdicts = work_of(&mut work) => {
                    work = None;
                    Input::Judged(verdicts)
                }
                news = consumer.next() => match news {
                    News::Delivery(tag, delivery) => Input::Delivered(tag, delivery),
                    News::Closed(why) => return why,
                },
                () = until(flush) => Input::Tick,
            };
            for action in batcher.handle(Instant::now(), input) {
                let settled = match action {
                    Action::Hand(batch) => {
                        work = Some(Box::pin(handler.handle(batch)));
                        Ok(())
                    }
                    Action::AckUpTo(tag) => consumer.ack_up_to(tag).await,
                    Action::Reject(tag) => consumer.reject(tag, false).await,
                    Action::Requeue(tag) => consumer.reject(tag, true).await,
                };
                if let Err(why) = settled {
                    return why;
                }
            }
        }
    }
}

async fn work_of<F: Future + Unpin>(work: &mut Option<F>) -> F::Output {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => pending().await,
    }
}
