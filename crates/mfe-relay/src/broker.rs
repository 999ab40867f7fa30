//! What the relay asks of a broker: to connect, to publish, and what it has to say. [`crate::amqp`] is the one for
//! RabbitMQ.

use crate::trouble::Trouble;

/// Something to publish.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) exchange: &'static str,
    pub(crate) routing_key: String,
    pub(crate) content_type: &'static str,
    pub(crate) message_id: Option<String>,
    /// Whether it has to survive the broker's restart, and to be refused if no queue wants it.
    pub(crate) is_event: bool,
    pub(crate) body: Vec<u8>,
}

/// What the broker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// It has taken this, or all up to this.
    Confirmed { tag: u64, multiple: bool },
    /// It hasn't.
    Refused { tag: u64, multiple: bool },
    /// It has no queue for the message of this id. A confirmation follows.
    Returned { message_id: String, why: String },
    /// It takes nothing for now, or does so again. RabbitMQ says it only to who announces `connection.blocked`, which
    /// amqprs 2.1 doesn't and lets nobody do; without it, that no answer comes tells it.
    Blocked(Option<String>),
    /// The connection is over.
    Closed(Trouble),
}

/// A way to a broker.
pub(crate) trait Broker {
    /// A connection of its kind.
    type Link: Link;

    /// Connects, within a bounded time. What it leaves behind ends with the runtime.
    fn connect(&self) -> impl Future<Output = Result<Self::Link, Trouble>>;
}

/// A connection to a broker.
pub(crate) trait Link {
    /// Hands something over and tells the tag under which its answer will come.
    fn publish(&mut self, what: Publication) -> impl Future<Output = Result<u64, Trouble>>;

    /// What the broker says next. May be dropped while waiting, without missing anything.
    fn next(&mut self) -> impl Future<Output = News>;

    /// Takes leave, within a bounded time.
    fn close(self) -> impl Future<Output = ()>;
}
