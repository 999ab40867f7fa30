//! The engines of an office, RabbitMQ and PostgreSQL, as Debian has them: started in a folder of their own, reached on
//! this machine only, and gone with whoever has started them, however that ends.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use procfs::process::{Process, SmapsRollup, all_processes};
use serde_json::{Value, json};

use crate::command::{is_root, output};

/// How long an engine may take to begin: a loaded machine starts Erlang slowly.
const PATIENCE: Duration = Duration::from_secs(120);

const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const RABBITMQCTL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";

/// Where Debian has PostgreSQL's programs, by its version.
const POSTGRESQL: &str = "/usr/lib/postgresql";

/// Who runs PostgreSQL where root has started it, which it refuses to serve.
const POSTGRES: &str = "postgres";

/// The packages that they come in.
pub const PACKAGES: [&str; 2] = ["rabbitmq-server", "postgresql"];

/// The packages that are needed and aren't there.
pub fn missing() -> Vec<&'static str> {
    let mut missing = Vec::new();
    if !Path::new(RABBITMQ).exists() {
        missing.push(PACKAGES[0]);
    }
    if postgresql().is_none() {
        missing.push(PACKAGES[1]);
    }
    missing
}

/// The folder of the newest PostgreSQL's programs.
fn postgresql() -> Option<PathBuf> {
    let versions = fs::read_dir(POSTGRESQL).ok()?.flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    folders
        .filter(|folder| folder.join("initdb").exists())
        .max()
}

/// The time that a process has had of the CPU; none if it is gone.
pub fn cpu(pid: i32) -> Duration {
    let stat = Process::new(pid).and_then(|process| process.stat());
    let ticks = stat.map_or(0, |stat| stat.utime + stat.stime);
    Duration::from_millis(ticks * 1000 / procfs::ticks_per_second())
}

/// What a process has of the machine's memory: its own, and its share of what several have (proc(5), `Pss`), in bytes.
/// 0 if it is gone.
pub fn memory(pid: i32) -> u64 {
    let maps = Process::new(pid).and_then(|process| process.smaps_rollup());
    let size = |maps: SmapsRollup| {
        let sizes = maps.memory_map_rollup.into_iter();
        sizes
            .filter_map(|map| map.extension.map.get("Pss").copied())
            .sum()
    };
    maps.map_or(0, size)
}

/// A folder that is removed when this program has ended, and what runs in it.
struct Place {
    folder: PathBuf,
    process: Mutex<Option<Child>>,
    _janitor: Child,
}

impl Place {
    fn new(prefix: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(prefix)
            .tempdir()
            .unwrap()
            .keep();
        // Its standard input ends with us. What runs there has a moment to be gone.
        let janitor = Command::new("sh")
            .args(["-c", "cat; sleep 1; rm -rf \"$0\""])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Self {
            folder,
            process: Mutex::new(None),
            _janitor: janitor,
        }
    }

    fn is_running(&self) -> bool {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Starts a command in a PID namespace whose first process is killed with us.
    fn run(&self, arguments: &[&str], environment: impl Fn(&mut Command)) {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare"]);
        if !is_root() {
            command.args(["--user", "--map-current-user"]);
        }
        command
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child=KILL",
                "--mount-proc",
            ])
            .args([
                "--propagation",
                "private",
                "--",
                "sh",
                "-c",
                r#""$@"; exit $?"#,
                "sh",
            ])
            .args(arguments);
        environment(&mut command);
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
        // The kernel looks to the thread that has spawned it: one that lives as long as we do.
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            sender.send(command.spawn()).unwrap();
            loop {
                thread::park();
            }
        });
        let child = receiver.recv().unwrap().unwrap();
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
    }

    fn kill(&self) {
        let child = self
            .process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut child) = child {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// What all that runs there has of the machine's memory, in bytes.
    fn memory(&self) -> u64 {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let mut family: BTreeSet<i32> = process
            .iter()
            .map(|child| i32::try_from(child.id()).unwrap())
            .collect();
        let parents: Vec<(i32, i32)> = all_processes()
            .unwrap()
            .filter_map(|process| process.ok()?.stat().ok())
            .map(|stat| (stat.pid, stat.ppid))
            .collect();
        loop {
            let known = family.len();
            let children = parents.iter().filter(|(_, parent)| family.contains(parent));
            let children: Vec<i32> = children.map(|(pid, _)| *pid).collect();
            family.extend(children);
            if family.len() == known {
                break;
            }
        }
        family.into_iter().map(memory).sum()
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.join("output")).unwrap_or_default()
    }

    fn wait(&self, what: &str, is_there: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_there() {
            assert!(
                self.is_running() && Instant::now() < deadline,
                "no {what}: {}",
                self.said()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A PostgreSQL that is reached by a socket in its folder.
pub struct Postgres {
    place: Place,
    programs: PathBuf,
    /// Whether what is committed is on the disk, as an office has it.
    is_durable: bool,
}

impl Postgres {
    /// Makes a cluster and serves it. Nothing of it outlives us, so that nothing waits for the disk.
    pub fn start() -> Self {
        Self::start_with(false)
    }

    /// The same, with each commit on the disk.
    pub fn start_durable() -> Self {
        Self::start_with(true)
    }

    fn start_with(is_durable: bool) -> Self {
        let place = Place::new("mfe-postgres-");
        let programs = postgresql().expect("PostgreSQL");
        if is_root() {
            let owner = format!("{POSTGRES}:");
            let done = output(Command::new("chown").arg(owner).arg(&place.folder));
            assert!(done.status.success(), "{}", done.stderr);
        }
        let postgres = Self {
            place,
            programs,
            is_durable,
        };
        let mut initdb = Command::new("setpriv");
        initdb
            .args(postgres.as_its_user("initdb"))
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=office",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ])
            .arg("--pgdata")
            .arg(postgres.data());
        let done = output(initdb.current_dir(&postgres.place.folder));
        assert!(done.status.success(), "{}{}", done.stdout, done.stderr);
        postgres.begin();
        postgres
    }

    fn data(&self) -> PathBuf {
        self.place.folder.join("data")
    }

    fn as_its_user(&self, program: &str) -> Vec<String> {
        let mut words = Vec::new();
        if is_root() {
            words = vec![
                format!("--reuid={POSTGRES}"),
                format!("--regid={POSTGRES}"),
                "--init-groups".to_owned(),
            ];
        }
        words.push(self.programs.join(program).display().to_string());
        words
    }

    /// Serves it, if it isn't served.
    pub fn begin(&self) {
        if self.place.is_running() {
            return;
        }
        // A server that was killed leaves it, and the pid in it may be of this namespace's.
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
        let folder = self.place.folder.display().to_string();
        let data = self.data().display().to_string();
        let mut words = vec!["setpriv".to_owned()];
        words.extend(self.as_its_user("postgres"));
        words.extend(["-D".to_owned(), data, "-k".to_owned(), folder]);
        let fsync = if self.is_durable { "on" } else { "off" };
        let fsync = format!("fsync={fsync}");
        for setting in ["listen_addresses=", &fsync, "max_connections=200"] {
            words.extend(["-c".to_owned(), setting.to_owned()]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.place.run(&words, |command| {
            command.env("LC_ALL", "C.UTF-8").env_remove("NOTIFY_SOCKET");
        });
        self.place.wait("PostgreSQL", || {
            let asked = Command::new(self.programs.join("pg_isready"))
                .args(["-q", "-h"])
                .arg(&self.place.folder)
                .status();
            asked.is_ok_and(|status| status.success())
        });
    }

    /// As a power cut ends it.
    pub fn kill(&self) {
        self.place.kill();
    }

    /// The folder of its socket.
    pub fn socket(&self) -> &Path {
        &self.place.folder
    }

    /// How a database of it is reached (libpq).
    pub fn connection(&self, database: &str) -> String {
        format!(
            "host={} user=office dbname={database}",
            self.place.folder.display()
        )
    }

    /// The folder of its programs.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// Runs SQL, and gives what it says, a line a row.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .arg(self.connection(database));
        let done = output(&mut psql);
        assert!(done.status.success(), "{sql}: {}", done.stderr);
        done.stdout.trim_end().to_owned()
    }
}

/// A RabbitMQ on loopback, without TLS.
pub struct RabbitMq {
    place: Place,
    /// Where it is reached.
    pub port: u16,
    epmd_port: u16,
    distribution_port: u16,
}

impl RabbitMq {
    /// Starts one with these definitions, as `rabbitmqctl export_definitions` writes them.
    pub fn start(definitions: &Value) -> Self {
        Self::start_with(definitions, "")
    }

    /// The same, with more at the end of its configuration.
    pub fn start_with(definitions: &Value, more: &str) -> Self {
        let place = Place::new("mfe-rabbitmq-");
        let listeners: Vec<TcpListener> = (0..3)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports: Vec<u16> = listeners
            .iter()
            .map(|one| one.local_addr().unwrap().port())
            .collect();
        let rabbitmq = Self {
            place,
            port: ports[0],
            epmd_port: ports[1],
            distribution_port: ports[2],
        };
        drop(listeners);
        let path = |name: &str| rabbitmq.place.folder.join(name);
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nload_definitions = {}\nlog.file.level = warning\n\
             vm_memory_high_watermark.relative = 0.6\ndisk_free_limit.absolute = 10MB\n{more}",
            rabbitmq.port,
            path("definitions.json").display()
        );
        fs::write(path("rabbitmq.conf"), config).unwrap();
        fs::write(path("definitions.json"), definitions.to_string()).unwrap();
        fs::write(path("enabled_plugins"), "[].\n").unwrap();
        fs::write(path(".erlang.cookie"), "COOKIEOFTHEOFFICE").unwrap();
        fs::set_permissions(path(".erlang.cookie"), fs::Permissions::from_mode(0o400)).unwrap();
        rabbitmq.begin();
        rabbitmq
    }

    /// Starts it, if it doesn't run.
    pub fn begin(&self) {
        if self.place.is_running() {
            return;
        }
        self.place
            .run(&[RABBITMQ], |command| self.environment(command));
        self.place.wait("RabbitMQ", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    fn environment(&self, command: &mut Command) {
        let path = |name: &str| self.place.folder.join(name);
        command
            .env("HOME", &self.place.folder)
            .env("RABBITMQ_NODENAME", "office@localhost")
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

    /// A folder with its own rabbitmqctl, for a search path to begin with.
    pub fn programs(&self) -> PathBuf {
        let folder = self.place.folder.join("bin");
        if folder.exists() {
            return folder;
        }
        let mut command = Command::new("env");
        self.environment(&mut command);
        let mut script = "#!/bin/sh\n".to_owned();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                let (name, value) = (name.to_str().unwrap(), value.to_str().unwrap());
                script += &format!("export {name}='{value}'\n");
            }
        }
        script += &format!("exec {RABBITMQCTL} \"$@\"\n");
        // It is there at once, whoever asks at the same time.
        let new = tempfile::tempdir_in(&self.place.folder).unwrap().keep();
        fs::write(new.join("rabbitmqctl"), script).unwrap();
        for path in [&new, &new.join("rabbitmqctl")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // Another may have been first, with the same.
        let _ = fs::rename(&new, &folder);
        folder
    }

    /// What it has of the machine's memory, in bytes.
    pub fn memory(&self) -> u64 {
        self.place.memory()
    }

    /// As a power cut ends it.
    pub fn kill(&self) {
        self.place.kill();
    }
}

/// The definitions of an office's broker: virtual hosts, an administrator of all of them with its password, and tills
/// with one password, which may do what tills may.
pub fn definitions(
    hosts: &[String],
    administrator: (&str, &str),
    tills: &[String],
    password: &str,
) -> Value {
    let (name, secret) = administrator;
    let mut users = vec![json!({"name": name, "password": secret, "tags": "administrator"})];
    users.extend(
        tills
            .iter()
            .map(|till| json!({"name": till, "password": password, "tags": ""})),
    );
    let mut permissions = Vec::new();
    let mut topics = Vec::new();
    let mut exchanges = Vec::new();
    for host in hosts {
        permissions.push(
            json!({"user": name, "vhost": host, "configure": ".*", "write": ".*", "read": ".*"}),
        );
        for till in tills {
            permissions.push(json!({"user": till, "vhost": host, "configure": "^$",
                "write": "^mfe\\.(events|state)$", "read": "^$"}));
            topics.extend(["mfe.events", "mfe.state"].map(|exchange| {
                json!({"user": till, "vhost": host, "exchange": exchange,
                    "write": "^{username}\\.[a-z_]+$", "read": "^$"})
            }));
        }
        exchanges.extend(["mfe.events", "mfe.state"].map(|exchange| {
            json!({"name": exchange, "vhost": host, "type": "topic", "durable": true, "auto_delete": false,
                "internal": false, "arguments": {}})
        }));
    }
    let vhosts: Vec<Value> = hosts.iter().map(|host| json!({"name": host})).collect();
    json!({"vhosts": vhosts, "users": users, "permissions": permissions, "topic_permissions": topics,
        "exchanges": exchanges})
}
