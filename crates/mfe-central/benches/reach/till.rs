//! Simulated tills: each has a connection and a user of its own, and waits for the broker's word like a relay.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{BasicPublishArguments, Channel, ConfirmSelectArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::error::Error;
use amqprs::tls::TlsAdaptor;
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use async_trait::async_trait;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::office::{Message, PASSWORD, host};

/// So many messages are on their way, as with a relay.
const WINDOW: usize = 256;

/// How long the broker may take for a word.
const PATIENCE: Duration = Duration::from_secs(60);

/// The name of a till, by its number from 0.
pub(crate) fn name(n: usize) -> String {
    format!("loja{:04}-caixa{:02}", n / 5 + 1, n % 5 + 1)
}

/// The state of a till, at so many milliseconds of its boot. As long as its programs are the same, it says the same.
pub(crate) fn state(n: usize, mono_ms: u64, is_up: bool) -> Message {
    let till = name(n);
    let boot = format!("{n:032x}");
    let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let since = "2026-11-01T08:00:00.000Z";
    let programs = ["Comunicador", "Monitor"].map(|name| {
        let is_it = is_up || name == "Monitor";
        json!({"key": name.to_lowercase(), "name": name, "state": if is_it { "up" } else { "down" },
            "pids": if is_it { vec![7] } else { vec![] }, "since": since, "restarts": 3, "last_restart": null,
            "detail": null})
    });
    let body = json!({"source": till, "boot": boot, "mono": mono_ms * 1000, "time": time, "backlog": 0,
        "machine_id": boot, "versions": {"relay": "0.1.0", "watchdog": "0.1.0"},
        "labels": {"store": (n / 5 + 1).to_string()}, "processes": programs});
    Message {
        exchange: "mfe.state",
        key: format!("{till}.state"),
        user_id: Some(till),
        body: body.to_string().into_bytes(),
    }
}

/// A connection that sends.
pub(crate) struct Sender {
    channel: Channel,
    window: Arc<Semaphore>,
    /// Otherwise nothing of it would be open any more.
    _connection: Connection,
}

impl Sender {
    /// Connects as a user to the first of the offices; by TLS, if there is a way.
    pub(crate) async fn connect(port: u16, user: &str, tls: Option<TlsAdaptor>) -> Self {
        let mut arguments = OpenConnectionArguments::new("127.0.0.1", port, user, PASSWORD);
        arguments.virtual_host(&host(0)).heartbeat(30);
        if let Some(tls) = tls {
            arguments.scheme("amqps").tls_adaptor(tls);
        }
        let connection = Connection::open(&arguments).await.unwrap();
        let channel = connection.open_channel(None).await.unwrap();
        let window = Arc::new(Semaphore::new(WINDOW));
        let ears = Ears {
            window: Arc::clone(&window),
            open: Mutex::default(),
            last: 0,
        };
        channel.register_callback(ears).await.unwrap();
        let select = ConfirmSelectArguments::default();
        channel.confirm_select(select).await.unwrap();
        Self {
            channel,
            window,
            _connection: connection,
        }
    }

    /// Sends a message, once the window has a place for it.
    pub(crate) async fn send(&self, message: Message) {
        let place = timeout(PATIENCE, self.window.acquire()).await;
        place.expect("no word of the broker").unwrap().forget();
        let mut properties = BasicProperties::default();
        properties.with_persistence(message.exchange == "mfe.events");
        if let Some(user) = &message.user_id {
            properties.with_user_id(user);
        }
        let arguments = BasicPublishArguments::new(message.exchange, &message.key);
        let sent = self
            .channel
            .basic_publish(properties, message.body, arguments);
        sent.await.unwrap();
    }

    /// Waits until the broker has taken all.
    pub(crate) async fn settled(&self) {
        let all = u32::try_from(WINDOW).unwrap();
        let places = timeout(PATIENCE, self.window.acquire_many(all)).await;
        drop(places.expect("no word of the broker").unwrap());
    }
}

/// Makes room in the window by each confirmation.
struct Ears {
    window: Arc<Semaphore>,
    /// Confirmed, and not all before it are.
    open: Mutex<BTreeSet<u64>>,
    /// All up to this one are confirmed.
    last: u64,
}

#[async_trait]
impl ChannelCallback for Ears {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Error> {
        panic!("the broker doesn't take it: {close}");
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        let tag = ack.delivery_tag();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.last + open.len() as u64;
        if ack.mutiple() {
            self.last = self.last.max(tag);
            open.retain(|one| *one > tag);
        } else {
            open.insert(tag);
        }
        while open.remove(&(self.last + 1)) {
            self.last += 1;
        }
        let new = self.last + open.len() as u64 - before;
        self.window.add_permits(usize::try_from(new).unwrap());
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        panic!("the broker refuses {}", nack.delivery_tag());
    }

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}
