//! RabbitMQ, by AMQP 0.9.1 over TLS 1.3 with publisher confirms. There is no way to connect without TLS here: the
//! library's own default is plain text, and it is never used.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amqprs::callbacks::{ChannelCallback, ConnectionCallback};
use amqprs::channel::{BasicPublishArguments, Channel, ConfirmSelectArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::error::Error;
use amqprs::tls::TlsAdaptor;
use amqprs::{Ack, BasicProperties, Cancel, Close, CloseChannel, Nack, Return};
use async_trait::async_trait;
use mfe_common::files;
use mfe_common::office::Server;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::broker::{Broker, Link, News, Publication};
use crate::trouble::{Kind, Trouble};

/// How long connecting to one address may take, all in all; and naming the addresses; and taking leave.
const CONNECT_TIME: Duration = Duration::from_secs(20);
const LOOKUP_TIME: Duration = Duration::from_secs(10);
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// How long handing something over may take: the library queues thousands.
const PUBLISH_TIME: Duration = Duration::from_secs(10);

/// More addresses of one name aren't tried.
const ADDRESSES_MAX: usize = 4;

/// Seconds without a word after which both sides take the connection for dead; routers forget silent ones after
/// minutes.
const HEARTBEAT: u16 = 30;

/// Where the broker is, and who asks.
#[derive(Debug, Clone)]
pub(crate) struct RabbitMq {
    pub(crate) server: Server,
    pub(crate) ca: PathBuf,
    pub(crate) till: String,
    pub(crate) password: String,
}

impl Broker for RabbitMq {
    type Link = Connected;

    async fn connect(&self) -> Result<Connected, Trouble> {
        let tls = self.tls()?;
        let mut last = Trouble::new(Kind::NoAddress, &self.server.host);
        for address in addresses(&self.server.host).await? {
            let opened = timeout(CONNECT_TIME, self.open(address, tls.clone())).await;
            last = match opened {
                Ok(Ok(link)) => return Ok(link),
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::new(Kind::Unreachable, format!("{address}: no answer")),
            };
        }
        Err(last)
    }
}

impl RabbitMq {
    /// TLS with nobody's word but the office's own.
    fn tls(&self) -> Result<TlsAdaptor, Trouble> {
        let of_file = |why: &dyn ToString| {
            let why = format!("{}: {}", self.ca.display(), why.to_string());
            Trouble::new(Kind::Certificate, why)
        };
        let text = files::read(&self.ca).map_err(|error| of_file(&error))?;
        let text = text.ok_or_else(|| of_file(&"no such file"))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| of_file(&error))?;
            roots.add(certificate).map_err(|error| of_file(&error))?;
        }
        if roots.is_empty() {
            return Err(of_file(&"no certificate in it"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| of_file(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        Ok(TlsAdaptor::new(connector, self.server.host.clone()))
    }

    async fn open(&self, address: IpAddr, tls: TlsAdaptor) -> Result<Connected, Trouble> {
        let host = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let mut arguments =
            OpenConnectionArguments::new(&host, self.server.port, &self.till, &self.password);
        arguments
            .virtual_host(&self.server.virtual_host)
            .connection_name(&format!("mfe-relay {}", self.till))
            .heartbeat(HEARTBEAT)
            .scheme("amqps")
            .tls_adaptor(tls);
        let connection = Connection::open(&arguments).await;
        let connection = connection.map_err(|error| of_opening(&error.to_string()))?;
        let (said, news) = mpsc::unbounded_channel();
        let broken = |error: Error| Trouble::new(Kind::Closed, error);
        let ears = Ears(said);
        connection
            .register_callback(ears.clone())
            .await
            .map_err(broken)?;
        let channel = connection.open_channel(None).await.map_err(broken)?;
        channel.register_callback(ears).await.map_err(broken)?;
        let confirm = ConfirmSelectArguments::default();
        channel.confirm_select(confirm).await.map_err(broken)?;
        Ok(Connected {
            connection,
            channel,
            till: self.till.clone(),
            tag: 0,
            news,
        })
    }
}

/// What an error of opening means; the library has no more than its words.
fn of_opening(error: &str) -> Trouble {
    let lower = error.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let kind = if has(&["certificate", "unknownissuer", "tls", "handshake"]) {
        Kind::Certificate
    } else if has(&[
        "peer shutdown",
        "interrupted",
        "access_refused",
        "not_allowed",
        "connection open",
    ]) {
        // A broker that refuses a password hangs up.
        Kind::Login
    } else {
        Kind::Unreachable
    };
    Trouble::new(kind, error)
}

/// The addresses of a name. A program that is linked statically can't ask the C library, which would load others
/// at run time; getent(1) is on every system, and goes by nsswitch.conf(5) too.
async fn addresses(host: &str) -> Result<Vec<IpAddr>, Trouble> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let none = |why: String| Trouble::new(Kind::NoAddress, format!("{host}: {why}"));
    let mut getent = Command::new("getent");
    getent.args(["ahosts", host]).kill_on_drop(true);
    let output = timeout(LOOKUP_TIME, getent.output()).await;
    let output = output
        .map_err(|_| none("no answer".into()))?
        .map_err(|error| none(format!("getent: {error}")))?;
    let addresses = parse(&String::from_utf8_lossy(&output.stdout));
    if addresses.is_empty() {
        return Err(none("unknown".into()));
    }
    Ok(addresses)
}

/// What getent says: an address, a kind of socket and perhaps a name in each line.
fn parse(text: &str) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for line in text.lines() {
        let address = line
            .split_whitespace()
            .next()
            .and_then(|word| word.parse().ok());
        let is_new = |address: &_| !addresses.contains(address);
        if let Some(address) = address
            .filter(is_new)
            .filter(|_| addresses.len() < ADDRESSES_MAX)
        {
            addresses.push(address);
        }
    }
    addresses
}

/// A connection with a channel.
pub(crate) struct Connected {
    connection: Connection,
    channel: Channel,
    till: String,
    /// The latest delivery tag: the broker counts what is published on a channel, from 1.
    tag: u64,
    news: mpsc::UnboundedReceiver<News>,
}

impl Link for Connected {
    async fn publish(&mut self, what: Publication) -> Result<u64, Trouble> {
        let mut properties = BasicProperties::default();
        properties
            .with_content_type(what.content_type)
            .with_user_id(&self.till)
            .with_persistence(what.is_event);
        if let Some(id) = &what.message_id {
            properties.with_message_id(id);
        }
        let mut arguments = BasicPublishArguments::new(what.exchange, &what.routing_key);
        arguments.mandatory(what.is_event);
        let handed_over = self.channel.basic_publish(properties, what.body, arguments);
        match timeout(PUBLISH_TIME, handed_over).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Trouble::new(Kind::Closed, error)),
            Err(_) => return Err(Trouble::new(Kind::Unconfirmed, "the connection is stuck")),
        }
        self.tag += 1;
        Ok(self.tag)
    }

    async fn next(&mut self) -> News {
        let over = || News::Closed(Trouble::new(Kind::Closed, "the connection broke"));
        // Who asks to be told later isn't told of what was before.
        if !self.connection.is_open() {
            return self.news.try_recv().unwrap_or_else(|_| over());
        }
        tokio::select! {
            biased;
            news = self.news.recv() => news.unwrap_or_else(over),
            _ = self.connection.listen_network_io_failure() => over(),
        }
    }

    async fn close(self) {
        // Whatever comes of it, the connection ends with the runtime.
        let _ = timeout(CLOSE_TIME, self.connection.close()).await;
    }
}

/// Hears what the broker says. How much that is the window bounds.
#[derive(Clone)]
struct Ears(mpsc::UnboundedSender<News>);

impl Ears {
    fn hear(&self, news: News) {
        // Nobody may be listening any more.
        let _ = self.0.send(news);
    }
}

#[async_trait]
impl ConnectionCallback for Ears {
    async fn close(&mut self, _: &Connection, close: Close) -> Result<(), Error> {
        self.hear(News::Closed(Trouble::new(Kind::Closed, close)));
        Ok(())
    }

    async fn blocked(&mut self, _: &Connection, why: String) {
        self.hear(News::Blocked(Some(why)));
    }

    async fn unblocked(&mut self, _: &Connection) {
        self.hear(News::Blocked(None));
    }

    async fn secret_updated(&mut self, _: &Connection) {}
}

#[async_trait]
impl ChannelCallback for Ears {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Error> {
        self.hear(News::Closed(Trouble::new(Kind::Closed, close)));
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        let (tag, multiple) = (ack.delivery_tag(), ack.mutiple());
        self.hear(News::Confirmed { tag, multiple });
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        let (tag, multiple) = (nack.delivery_tag(), nack.multiple());
        self.hear(News::Refused { tag, multiple });
    }

    async fn publish_return(
        &mut self,
        _: &Channel,
        returned: Return,
        properties: BasicProperties,
        _: Vec<u8>,
    ) {
        let message_id = properties.message_id().cloned().unwrap_or_default();
        let why = returned.to_string();
        self.hear(News::Returned { message_id, why });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_each_once() {
        let text =
            "2001:db8::1     STREAM central\n2001:db8::1     DGRAM\n192.0.2.1       STREAM\nx\n\n";
        let expected: [IpAddr; 2] = ["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        assert_eq!(parse(text), expected);
        let many: Vec<String> = (0..20).map(|n| format!("192.0.2.{n} STREAM")).collect();
        let many = many.join("\n");
        assert_eq!(parse(&many).len(), ADDRESSES_MAX);
    }

    #[test]
    fn an_error_is_told_for_what_it_is() {
        for (error, kind) in [
            (
                "AMQP network error: invalid peer certificate: UnknownIssuer",
                Kind::Certificate,
            ),
            (
                "AMQP network error: invalid peer certificate: Expired",
                Kind::Certificate,
            ),
            ("AMQP network error: peer shutdown", Kind::Login),
            (
                "AMQP network error: Connection refused (os error 111)",
                Kind::Unreachable,
            ),
        ] {
            assert_eq!(of_opening(error).kind, kind, "{error}");
        }
    }
}
