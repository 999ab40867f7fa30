//! A RabbitMQ of the tests' own: in a folder, on loopback, with TLS, gone with the tests however they end.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use amqprs::channel::{
    BasicAckArguments, BasicGetArguments, Channel, QueueBindArguments, QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::error::Error;
use amqprs::{BasicProperties, FieldTable};
use mfe_kit::{Need, output};
use serde_json::{Value, json};

use crate::certificates;

/// What a till may do there, and how it is called.
pub const TILL: &str = "till-1";
pub const PASSWORD: &str = "a secret of the test's";

/// The administrator, who is let in on loopback without TLS.
const ADMIN: &str = "office";

/// As many cases can be had of one broker: each has a virtual host of its own.
const HOSTS: usize = 40;

/// How long a broker may take to begin: a loaded machine starts Erlang slowly.
const PATIENCE: Duration = Duration::from_secs(60);

const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// Ends a test that needs a broker, where there can't be one.
#[macro_export]
macro_rules! needs_broker {
    () => {
        if !$crate::broker::can_be_had() {
            return;
        }
    };
}

/// Whether there can be one here.
pub fn can_be_had() -> bool {
    are_met(&[
        Need::Root("the broker runs in a PID namespace of its own"),
        Need::Package("rabbitmq-server"),
        Need::Package("openssl"),
        Need::Package("systemd-journal-remote"),
    ])
}

/// Whether a test can go on. One asks after the other, for a package that another one is just installing looks as
/// if it were there.
pub fn are_met(needs: &[Need]) -> bool {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    needs.iter().all(|need| need.is_met())
}

/// A broker.
pub struct Broker {
    folder: PathBuf,
    /// Where tills connect, with TLS.
    pub port: u16,
    admin_port: u16,
    epmd_port: u16,
    distribution_port: u16,
    process: Mutex<Option<Child>>,
    next_host: AtomicUsize,
    /// Removes the folder when the tests have ended.
    _janitor: Child,
}

/// The one that tests share that leave it as it is.
pub fn shared() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    SHARED.get_or_init(|| Broker::start("good"))
}

/// The one that is stopped and killed, by one test at a time.
pub fn fragile() -> MutexGuard<'static, Broker> {
    static FRAGILE: OnceLock<Mutex<Broker>> = OnceLock::new();
    let broker = FRAGILE.get_or_init(|| Mutex::new(Broker::start("good")));
    let broker = broker.lock().unwrap_or_else(PoisonError::into_inner);
    broker.begin();
    broker
}

/// A message as a queue has it.
#[derive(Debug, Clone)]
pub struct Message {
    pub key: String,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

impl Message {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn id(&self) -> String {
        self.properties.message_id().cloned().unwrap_or_default()
    }
}

impl Broker {
    /// Starts one with the certificate of this name.
    pub fn start(certificate: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("mfe-relay-")
            .tempdir()
            .unwrap()
            .keep();
        // Its standard input ends with the tests.
        let janitor = Command::new("sh")
            .args(["-c", "cat; sleep 1; rm -rf \"$0\""])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        certificates::make(&folder);
        let listeners: Vec<TcpListener> = (0..4)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports: Vec<u16> = listeners
            .iter()
            .map(|one| one.local_addr().unwrap().port())
            .collect();
        let broker = Self {
            port: ports[0],
            admin_port: ports[1],
            epmd_port: ports[2],
            distribution_port: ports[3],
            folder,
            process: Mutex::new(None),
            next_host: AtomicUsize::new(0),
            _janitor: janitor,
        };
        drop(listeners);
        broker.configure(certificate);
        broker.begin();
        broker
    }

    fn configure(&self, certificate: &str) {
        let folder = self.folder.display();
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nlisteners.ssl.1 = 127.0.0.1:{}\n\
             ssl_options.cacertfile = {folder}/ca.pem\nssl_options.certfile = {folder}/{certificate}.pem\n\
             ssl_options.keyfile = {folder}/{certificate}.key\nssl_options.verify = verify_none\n\
             load_definitions = {folder}/definitions.json\nloopback_users.1 = {ADMIN}\n\
             log.file.level = warning\nvm_memory_high_watermark.relative = 0.6\ndisk_free_limit.absolute = 10MB\n",
            self.admin_port, self.port
        );
        fs::write(self.folder.join("rabbitmq.conf"), config).unwrap();
        fs::write(self.folder.join("enabled_plugins"), "[].\n").unwrap();
        let cookie = self.folder.join(".erlang.cookie");
        fs::write(&cookie, "COOKIEOFTHETESTS").unwrap();
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400)).unwrap();
        let hosts: Vec<String> = (0..HOSTS).map(|n| format!("case-{n}")).collect();
        let each = |make: &dyn Fn(&str) -> Vec<Value>| -> Vec<Value> {
            hosts.iter().flat_map(|host| make(host)).collect()
        };
        let exchange = |host: &str, name: &str| {
            json!({"name": name, "vhost": host, "type": "topic", "durable": true, "auto_delete": false,
                "internal": false, "arguments": {}})
        };
        let definitions = json!({
            "vhosts": each(&|host| vec![json!({"name": host})]),
            "users": [
                {"name": TILL, "password": PASSWORD, "tags": ""},
                {"name": "till-2", "password": PASSWORD, "tags": ""},
                {"name": ADMIN, "password": ADMIN, "tags": "administrator"},
            ],
            "permissions": each(&|host| {
                let till = |name: &str| json!({"user": name, "vhost": host, "configure": "^$",
                    "write": "^mfe\\.(events|state)$", "read": "^$"});
                vec![till(TILL), till("till-2"),
                    json!({"user": ADMIN, "vhost": host, "configure": ".*", "write": ".*", "read": ".*"})]
            }),
            "topic_permissions": each(&|host| {
                let till = |name: &str, exchange: &str| json!({"user": name, "vhost": host, "exchange": exchange,
                    "write": "^{username}\\.[a-z_]+$", "read": "^$"});
                vec![till(TILL, "mfe.events"), till(TILL, "mfe.state"), till("till-2", "mfe.events"),
                    till("till-2", "mfe.state")]
            }),
            "exchanges": each(&|host| vec![exchange(host, "mfe.events"), exchange(host, "mfe.state")]),
        });
        fs::write(
            self.folder.join("definitions.json"),
            definitions.to_string(),
        )
        .unwrap();
    }

    /// Starts it if it doesn't run, and waits until it takes connections.
    pub fn begin(&self) {
        let mut process = self.process.lock().unwrap();
        let is_running = process
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_none());
        if !is_running {
            *process = Some(self.spawn());
        }
        drop(process);
        let deadline = Instant::now() + PATIENCE;
        let open = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
        while !(open(self.admin_port) && open(self.port)) {
            assert!(Instant::now() < deadline, "no broker: {}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn spawn(&self) -> Child {
        let (sender, receiver) = mpsc::channel();
        // All of it is in a PID namespace whose first process is killed with us. That follows the thread which
        // has spawned it: one that lives as long as the tests.
        let mut command = Command::new("setpriv");
        command
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--mount",
                "--pid",
                "--fork",
            ])
            .args([
                "--kill-child=KILL",
                "--mount-proc",
                "--propagation",
                "private",
                "--",
            ])
            .args(["sh", "-c", r#""$@"; exit $?"#, "sh", PROGRAM]);
        self.environment(&mut command);
        let log = fs::File::options()
            .append(true)
            .create(true)
            .open(self.folder.join("output"))
            .unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0);
        thread::spawn(move || {
            sender.send(command.spawn()).unwrap();
            loop {
                thread::park();
            }
        });
        receiver.recv().unwrap().unwrap()
    }

    fn environment(&self, command: &mut Command) {
        let path = |name: &str| self.folder.join(name);
        command
            .env("HOME", &self.folder)
            .env("RABBITMQ_NODENAME", "tests@localhost")
            .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", path("none"))
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            )
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NOTIFY_SOCKET");
    }

    fn log(&self) -> String {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let logs = fs::read_dir(self.folder.join("log"))
            .into_iter()
            .flatten()
            .flatten();
        let logs: Vec<String> = logs.map(|entry| read(&entry.path())).collect();
        format!("{}\n{}", read(&self.folder.join("output")), logs.join("\n"))
    }

    /// As a power cut ends it.
    pub fn kill(&self) {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // The rest of the namespace follows.
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// `rabbitmqctl` with these words.
    pub fn control(&self, words: &[&str]) {
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl");
        self.environment(&mut command);
        let said = output(command.args(words));
        assert!(
            said.status.success(),
            "{words:?}: {} {}",
            said.stdout,
            said.stderr
        );
    }

    /// The authority that has signed its certificate.
    pub fn ca(&self) -> String {
        fs::read_to_string(self.folder.join("ca.pem")).unwrap()
    }

    /// A virtual host of the case's own, with the exchanges.
    pub fn office(&self) -> Office {
        let n = self.next_host.fetch_add(1, Ordering::Relaxed);
        assert!(n < HOSTS, "no virtual host is left");
        Office::connect(self.admin_port, format!("case-{n}"))
    }

    /// Waits until an office's queue outlives a power cut: where it is, is on the disk half a second after it was
    /// made (Ra's names.dets), whatever was answered before.
    pub fn keep(&self, office: &Office) {
        let name = format!("{}_mfe.central", office.host);
        mfe_kit::eventually(&name, || {
            let mut find = Command::new("find");
            find.arg(self.folder.join("mnesia"))
                .args(["-name", "names.dets"]);
            let found = output(find.args(["-exec", "grep", "-l", &name, "{}", ";"]));
            (!found.stdout.is_empty()).then_some(())
        });
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The office's side of a virtual host.
pub struct Office {
    pub host: String,
    port: u16,
    runtime: tokio::runtime::Runtime,
    link: Option<(Connection, Channel)>,
}

impl Office {
    fn connect(port: u16, host: String) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut office = Self {
            host,
            port,
            runtime,
            link: None,
        };
        office.reconnect();
        office
    }

    /// Connects again, after the broker was away.
    pub fn reconnect(&mut self) {
        let arguments = OpenConnectionArguments::new("127.0.0.1", self.port, ADMIN, ADMIN)
            .virtual_host(&self.host)
            .heartbeat(600)
            .finish();
        let deadline = Instant::now() + PATIENCE;
        self.forget();
        self.link = Some(self.runtime.block_on(async {
            loop {
                if let Ok(connection) = Connection::open(&arguments).await {
                    if let Ok(channel) = connection.open_channel(None).await {
                        return (connection, channel);
                    }
                }
                assert!(Instant::now() < deadline, "the office can't connect");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }));
    }

    /// The library takes leave by a task of its own, for which it needs the runtime.
    fn forget(&mut self) {
        let _inside = self.runtime.enter();
        drop(self.link.take());
    }

    fn channel(&self) -> &Channel {
        &self.link.as_ref().unwrap().1
    }

    /// A quorum queue for events, as an office has it.
    pub fn queue(&self) {
        self.queue_with(&[]);
    }

    /// The same, with more arguments.
    pub fn queue_with(&self, more: &[(&str, amqprs::FieldValue)]) {
        let mut arguments = FieldTable::new();
        let mut put = |name: &str, value| arguments.insert(name.try_into().unwrap(), value);
        put(
            "x-queue-type",
            amqprs::FieldValue::S("quorum".try_into().unwrap()),
        );
        for (name, value) in more {
            put(name, value.clone());
        }
        let declare = QueueDeclareArguments::new("mfe.central")
            .durable(true)
            .arguments(arguments)
            .finish();
        self.runtime.block_on(async {
            self.channel().queue_declare(declare).await.unwrap();
        });
        self.bind("mfe.central", "mfe.events");
    }

    pub fn bind(&self, queue: &str, exchange: &str) {
        let bind = QueueBindArguments::new(queue, exchange, "#");
        self.runtime
            .block_on(async { self.channel().queue_bind(bind).await.unwrap() });
    }

    /// A queue for states.
    pub fn state_queue(&self) {
        let declare = QueueDeclareArguments::new("mfe.now").finish();
        self.runtime.block_on(async {
            self.channel().queue_declare(declare).await.unwrap();
        });
        self.bind("mfe.now", "mfe.state");
    }

    /// Takes what a queue has.
    pub fn take(&self, queue: &str) -> Vec<Message> {
        self.try_to_take(queue).unwrap()
    }

    fn try_to_take(&self, queue: &str) -> Result<Vec<Message>, Error> {
        self.runtime.block_on(async {
            let mut messages = Vec::new();
            let arguments = BasicGetArguments::new(queue);
            let channel = self.channel();
            while let Some((got, properties, body)) = channel.basic_get(arguments.clone()).await? {
                let ack = BasicAckArguments::new(got.delivery_tag(), false);
                channel.basic_ack(ack).await?;
                let key = got.routing_key().to_owned();
                messages.push(Message {
                    key,
                    properties,
                    body,
                });
            }
            Ok(messages)
        })
    }

    /// Takes events until there are so many different ones, within the deadline.
    pub fn wait_for(&mut self, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut last = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_to_take("mfe.central") {
                Ok(taken) => messages.extend(taken),
                // A queue without a leader yet, after the broker's start.
                Err(error) => {
                    last = Some(error);
                    self.reconnect();
                }
            }
            let ids: BTreeSet<String> = messages.iter().map(Message::id).collect();
            if ids.len() >= count {
                return messages;
            }
            let there = ids.len();
            assert!(
                Instant::now() < deadline,
                "{there} of {count} have come: {last:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.forget();
    }
}
