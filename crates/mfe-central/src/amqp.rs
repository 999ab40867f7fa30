//! RabbitMQ by AMQP 0.9.1, as one who takes messages. The broker is on the same machine: it is only ever spoken to on
//! loopback, in plain text.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use amqprs::callbacks::{ChannelCallback, ConnectionCallback};
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicQosArguments, BasicRejectArguments, Channel,
    ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::consumer::AsyncConsumer;
use amqprs::error::Error;
use amqprs::{
    Ack, BasicProperties, Cancel, Close, CloseChannel, Deliver, FieldTable, FieldValue, Nack,
    Return,
};
use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::config::Settings;
use crate::message::Delivery;
use crate::route::{News, Opener, Source};

/// How long connecting may take, all in all.
const CONNECT_TIME: Duration = Duration::from_secs(20);

/// How long taking leave may take.
const LEAVE_TIME: Duration = Duration::from_secs(5);

/// Seconds without a word after which both sides take the connection for dead.
const HEARTBEAT: u16 = 30;

/// What an event's message may come to in the broker before it is put aside, and its queue before tills are told to
/// wait, in bytes.
const TRIES: i32 = 20;
const EVENTS_MAX: i64 = 4 << 30;

/// A state that is older than this, in milliseconds, tells nothing; nor does more than one for each of so many tills.
const STATE_AGE: i32 = 180_000;
const STATES_MAX: i32 = 100_000;

/// The queue of events, of which none may be lost.
pub(crate) const EVENTS: &str = "mfe.central";

/// The queue of states, of which only the latest counts.
pub(crate) const STATES: &str = "mfe.now";

/// Where what is refused is put aside.
pub(crate) const DEAD: &str = "mfe.dead";

/// Where the broker is, and who asks.
#[derive(Debug, Clone)]
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    pub(crate) virtual_host: String,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Broker {
    /// The one of the configuration, as central's own user.
    pub(crate) fn of(settings: &Settings, password: String) -> Self {
        Self {
            address: settings.broker,
            virtual_host: settings.virtual_host.clone(),
            user: settings.user.clone(),
            password,
        }
    }

    /// What takes messages of queues, so many of each ahead; it makes what of the broker's it needs.
    pub(crate) fn taking<'a>(&'a self, queues: &'a Queues, prefetch: u16) -> Taking<'a> {
        Taking {
            broker: self,
            queues,
            prefetch,
        }
    }

    /// Logs in, and makes the exchanges and queues that aren't there.
    ///
    /// # Errors
    /// Why that can't be.
    pub(crate) async fn prepare(&self) -> Result<(), String> {
        self.in_time(async {
            let (connection, channel) = self.connect("setup").await?;
            declare(&channel).await?;
            connection.close().await
        })
        .await
    }

    /// Logs in, and changes nothing.
    ///
    /// # Errors
    /// Why that can't be.
    pub(crate) async fn log_in(&self) -> Result<(), String> {
        self.in_time(async { self.connect("doctor").await?.0.close().await })
            .await
    }

    /// What a failure, or no answer in time, is in words.
    async fn in_time<T>(&self, what: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
        let done = timeout(CONNECT_TIME, what).await;
        let done = done.map_err(|_| format!("{}: no answer", self.address))?;
        done.map_err(|error| format!("{}: {error}", self.address))
    }

    async fn connect(&self, what_for: &str) -> Result<(Connection, Channel), Error> {
        let host = match self.address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        let mut arguments =
            OpenConnectionArguments::new(&host, self.address.port(), &self.user, &self.password);
        arguments
            .virtual_host(&self.virtual_host)
            .connection_name(&format!("mfe-central {what_for}"))
            .heartbeat(HEARTBEAT);
        let connection = Connection::open(&arguments).await?;
        let channel = connection.open_channel(None).await?;
        Ok((connection, channel))
    }

    async fn open(&self, queues: &Queues, prefetch: u16) -> Result<Consumer, Error> {
        let (connection, mut channel) = self.connect(&queues.names.join(" ")).await?;
        let (said, news) = mpsc::unbounded_channel();
        let ears = Ears(said);
        connection.register_callback(ears.clone()).await?;
        declare(&channel).await?;
        for queue in queues.names.iter().filter(|queue| !is_ours(queue)) {
            let known = QueueDeclareArguments::new(queue).passive(true).finish();
            if channel.queue_declare(known).await.is_err() {
                // The broker has closed the channel; the next one tells why if this wasn't it.
                channel = connection.open_channel(None).await?;
                declare_queue(&channel, queue, &kept()).await?;
            }
            for key in &queues.bind {
                let binding = QueueBindArguments::new(queue, "mfe.events", key);
                channel.queue_bind(binding).await?;
            }
        }
        channel.register_callback(ears).await?;
        channel
            .basic_qos(BasicQosArguments::new(0, prefetch, false))
            .await?;
        let (taken, messages) = mpsc::unbounded_channel();
        for queue in &queues.names {
            let hand = Taker {
                queue: queue.as_str().into(),
                taken: taken.clone(),
            };
            let arguments = BasicConsumeArguments::new(queue, &format!("mfe-central {queue}"));
            channel.basic_consume(hand, arguments).await?;
        }
        Ok(Consumer {
            connection,
            channel,
            messages,
            news,
        })
    }
}

/// Connects to take messages of queues.
#[derive(Debug)]
pub(crate) struct Taking<'a> {
    broker: &'a Broker,
    queues: &'a Queues,
    prefetch: u16,
}

impl Opener for Taking<'_> {
    type Source = Consumer;

    async fn open(&mut self) -> Result<Consumer, String> {
        let opened = self.broker.open(self.queues, self.prefetch);
        self.broker.in_time(opened).await
    }
}

/// Queues of one route.
#[derive(Debug, Clone)]
pub(crate) struct Queues {
    pub(crate) names: Vec<String>,
    /// The routing keys, as a topic exchange has them, of the tills' events that go to each of them as well.
    pub(crate) bind: Vec<String>,
}

impl Queues {
    /// One of central's own.
    pub(crate) fn own(name: &str) -> Self {
        Self {
            names: vec![name.to_owned()],
            bind: Vec::new(),
        }
    }
}

/// Whether a queue is there by itself.
fn is_ours(queue: &str) -> bool {
    [EVENTS, STATES, DEAD].contains(&queue)
}

/// What makes a queue lose nothing and put aside what is delivered in vain. One that there is already may be otherwise.
fn kept() -> [(&'static str, FieldValue); 4] {
    [
        ("x-queue-type", word("quorum")),
        ("x-delivery-limit", FieldValue::I(TRIES)),
        ("x-dead-letter-exchange", word(DEAD)),
        // What is put aside stays in the queue until it has arrived there, which only such a queue does.
        ("x-dead-letter-strategy", word("at-least-once")),
    ]
}

fn word(text: &str) -> FieldValue {
    FieldValue::S(text.try_into().unwrap_or_default())
}

async fn declare_queue(
    channel: &Channel,
    queue: &str,
    settings: &[(&str, FieldValue)],
) -> Result<(), Error> {
    let mut table = FieldTable::new();
    for (name, value) in settings {
        if let Ok(name) = (*name).try_into() {
            table.insert(name, value.clone());
        }
    }
    let arguments = QueueDeclareArguments::new(queue)
        .durable(true)
        .arguments(table)
        .finish();
    channel.queue_declare(arguments).await.map(drop)
}

/// What tills send to, and where it goes. What is there already has to be the same.
async fn declare(channel: &Channel) -> Result<(), Error> {
    for (name, kind) in [
        ("mfe.events", "topic"),
        ("mfe.state", "topic"),
        (DEAD, "fanout"),
    ] {
        let arguments = ExchangeDeclareArguments::new(name, kind)
            .durable(true)
            .finish();
        channel.exchange_declare(arguments).await?;
    }
    let full = [
        ("x-overflow", word("reject-publish")),
        ("x-max-length-bytes", FieldValue::l(EVENTS_MAX)),
    ];
    let events = [&kept()[..], &full].concat();
    let states = [
        ("x-message-ttl", FieldValue::I(STATE_AGE)),
        ("x-max-length", FieldValue::I(STATES_MAX)),
        ("x-overflow", word("drop-head")),
    ];
    let dead = [("x-queue-type", word("quorum"))];
    for (queue, exchange, settings) in [
        (EVENTS, "mfe.events", &events[..]),
        (STATES, "mfe.state", &states),
        (DEAD, DEAD, &dead),
    ] {
        declare_queue(channel, queue, settings).await?;
        channel
            .queue_bind(QueueBindArguments::new(queue, exchange, "#"))
            .await?;
    }
    Ok(())
}

/// Takes what a queue delivers.
struct Taker {
    queue: Arc<str>,
    taken: mpsc::UnboundedSender<(u64, Delivery)>,
}

#[async_trait]
impl AsyncConsumer for Taker {
    async fn consume(
        &mut self,
        _: &Channel,
        deliver: Deliver,
        properties: BasicProperties,
        content: Vec<u8>,
    ) {
        let delivery = Delivery {
            received: Some(SystemTime::now()),
            queue: Arc::clone(&self.queue),
            routing_key: deliver.routing_key().clone(),
            user_id: properties.user_id().cloned(),
            is_again: deliver.redelivered(),
            body: content,
        };
        // Whoever has gone gets it again.
        let _ = self.taken.send((deliver.delivery_tag(), delivery));
    }
}

/// A connection that takes messages of queues. How many come ahead the broker bounds.
pub(crate) struct Consumer {
    connection: Connection,
    channel: Channel,
    messages: mpsc::UnboundedReceiver<(u64, Delivery)>,
    news: mpsc::UnboundedReceiver<String>,
}

impl Source for Consumer {
    type Item = Delivery;

    async fn next(&mut self) -> News<Delivery> {
        let over = || News::Closed("the connection broke".to_owned());
        // Who asks to be told later isn't told of what was before.
        if !self.connection.is_open() || !self.channel.is_open() {
            return self.news.try_recv().map_or_else(|_| over(), News::Closed);
        }
        tokio::select! {
            biased;
            why = self.news.recv() => why.map_or_else(over, News::Closed),
            message = self.messages.recv() => match message {
                Some((tag, delivery)) => News::Delivered(tag, delivery),
                None => over(),
            },
            _ = self.connection.listen_network_io_failure() => over(),
        }
    }

    async fn ack(&mut self, tag: u64, and_before: bool) -> Result<(), String> {
        let arguments = BasicAckArguments::new(tag, and_before);
        let done = self.channel.basic_ack(arguments).await;
        done.map_err(|error| error.to_string())
    }

    async fn reject(&mut self, tag: u64, again: bool) -> Result<(), String> {
        let arguments = BasicRejectArguments::new(tag, again);
        let done = self.channel.basic_reject(arguments).await;
        done.map_err(|error| error.to_string())
    }

    async fn close(self) {
        // What isn't settled comes again, however it ends.
        let _ = timeout(LEAVE_TIME, self.connection.close()).await;
    }
}

/// Hears why a connection ends.
#[derive(Clone)]
struct Ears(mpsc::UnboundedSender<String>);

impl Ears {
    fn hear(&self, why: &dyn ToString) {
        // Nobody may be listening any more.
        let _ = self.0.send(why.to_string());
    }
}

#[async_trait]
impl ConnectionCallback for Ears {
    async fn close(&mut self, _: &Connection, close: Close) -> Result<(), Error> {
        self.hear(&close);
        Ok(())
    }

    async fn blocked(&mut self, _: &Connection, _: String) {}

    async fn unblocked(&mut self, _: &Connection) {}

    async fn secret_updated(&mut self, _: &Connection) {}
}

#[async_trait]
impl ChannelCallback for Ears {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Error> {
        self.hear(&close);
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, cancel: Cancel) -> Result<(), Error> {
        // Somebody has deleted the queue.
        self.hear(&format!("the queue is gone ({})", cancel.consumer_tag()));
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, _: Ack) {}

    async fn publish_nack(&mut self, _: &Channel, _: Nack) {}

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}
