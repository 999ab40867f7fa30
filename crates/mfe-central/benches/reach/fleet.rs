//! An office with 1,000 tills that are connected by TLS, each with its own user: what that takes of the broker, how long
//! it is from a till to the page, and what 500 browsers take of mfe-central.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amqprs::tls::TlsAdaptor;
use mfe_kit::engines::{Postgres, RabbitMq, definitions};
use mfe_kit::output;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::figures::{Samples, Use, goal, megabytes, ms, rate};
use crate::office::{ADMIN, Central, Engines, Office, PASSWORD, event, host};
use crate::till::{Sender, name, state};

const TILLS: usize = 1000;
const BROWSERS: usize = 500;

/// So many connect at the same time.
const AT_ONCE: usize = 20;

/// As often something changes.
const PACE: Duration = Duration::from_millis(100);

/// The pause of the page's script between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// What anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Goals, in MB and by the clock.
const BROKER_GOAL: f64 = 400.0;
const CENTRAL_GOAL: f64 = 20.0;
const PAGE_GOAL: Duration = Duration::from_secs(1);

/// The office and its tills.
pub(crate) struct Stage {
    office: Office,
    central: Central,
    tills: Vec<Sender>,
    /// What the broker took before they came, and how long they took to connect.
    before: u64,
    connected_in: Duration,
    runtime: tokio::runtime::Runtime,
    _certificate: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificate(folder.path());
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let place = folder.path().display();
        // As `mfe-central setup` has it.
        let more = format!(
            "listeners.ssl.tills = 127.0.0.1:{port}\nssl_options.cacertfile = {place}/tls.pem\n\
             ssl_options.certfile = {place}/tls.pem\nssl_options.keyfile = {place}/tls.key\n\
             ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n\
             ssl_options.versions.1 = tlsv1.3\nssl_options.versions.2 = tlsv1.2\n"
        );
        let names: Vec<String> = (0..TILLS).map(name).collect();
        let definitions = definitions(&[host(0)], (ADMIN, PASSWORD), &names, PASSWORD);
        let rabbitmq = RabbitMq::start_with(&definitions, &more);
        let office = Office::of(Arc::new(Engines::of(Postgres::start(), rabbitmq, 1)));
        let central = office.central();
        let before = office.engines.rabbitmq.memory();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let tls = tls(folder.path());
        let begin = Instant::now();
        let tills = runtime.block_on(async {
            let mut tills = Vec::new();
            for some in names.chunks(AT_ONCE) {
                let some: Vec<_> = some
                    .iter()
                    .map(|till| {
                        let (till, tls) = (till.clone(), tls.clone());
                        tokio::spawn(async move { Sender::connect(port, &till, Some(tls)).await })
                    })
                    .collect();
                for one in some {
                    tills.push(one.await.unwrap());
                }
            }
            for (n, till) in tills.iter().enumerate() {
                till.send(state(n, 1, true)).await;
            }
            for till in &tills {
                till.settled().await;
            }
            tills
        });
        Self {
            office,
            central,
            tills,
            before,
            connected_in: begin.elapsed(),
            runtime,
            _certificate: folder,
        }
    }

    /// What the tills take of the broker while each tells how it is once in 30 seconds.
    pub(crate) fn broker(&self) {
        let mut most = 0;
        self.runtime.block_on(async {
            let mut beat = interval(Duration::from_millis(30));
            for n in 0..TILLS {
                beat.tick().await;
                self.tills[n].send(state(n, now_ms(), true)).await;
                if n % 50 == 0 {
                    most = most.max(self.office.engines.rabbitmq.memory());
                }
            }
        });
        goal(
            &format!(
                "RabbitMQ with {TILLS} tills by TLS: {:.0} MB ({:.0} MB before they came); they connected in {:.1} s",
                megabytes(most),
                megabytes(self.before),
                self.connected_in.as_secs_f64()
            ),
            "400 MB",
            megabytes(most) <= BROKER_GOAL,
        );
    }

    /// How long changes take to the page, and events to who follows; and what a change of all tills at once takes.
    pub(crate) fn page(&self, changes: usize) {
        self.local(async {
            let watched = Watched::follow(self.central.address()).await;
            let (told, shown) = self.change(&watched, changes).await;
            seen("a till's change to the stream", &told);
            seen("and to the rows of the page", &shown);
            let events = self.events(&watched, changes / 4).await;
            seen("an event to the stream, once it is stored", &events);
            let all = self.all_at_once(&watched).await;
            println!(
                "  a change of {TILLS} tills at once, until the last is told: {}",
                ms(all)
            );
        });
    }

    /// What browsers take that only follow, and that do what the page's script does.
    pub(crate) fn browsers(&self, changes: usize) {
        self.local(async {
            let alone = megabytes(Use::of(&self.central).memory);
            println!("  mfe-central alone: {alone:.1} MB");
            for looks in [false, true] {
                self.followed(changes, looks).await;
            }
        });
    }

    async fn followed(&self, changes: usize, is_looking: bool) {
        let looks = Rc::new(RefCell::new(Samples::default()));
        let mut browsers = tokio::task::JoinSet::new();
        for _ in 0..BROWSERS {
            let lines = stream(self.central.address(), "/events?only=tills").await;
            let address = is_looking.then(|| self.central.address().to_owned());
            browsers.spawn_local(browse(lines, address, Rc::clone(&looks)));
        }
        let watched = Watched::follow(self.central.address()).await;
        let (begin, before) = (Instant::now(), Use::of(&self.central));
        let mut most = 0;
        let watch = async {
            loop {
                most = Use::of(&self.central).memory.max(most);
                sleep(Duration::from_millis(250)).await;
            }
        };
        let (told, _) = tokio::select! {
            done = self.change(&watched, changes) => done,
            () = watch => unreachable!(),
        };
        let time = begin.elapsed();
        let used = Use::of(&self.central).since(before);
        let looks = looks.borrow();
        let most = megabytes(most);
        let what = if is_looking {
            "that look at the rows"
        } else {
            "that follow"
        };
        goal(
            &format!("with {BROWSERS} browsers {what}: {most:.1} MB"),
            "20 MB",
            most <= CENTRAL_GOAL,
        );
        println!(
            "  {:.0} looks each second, {} median; {:.0} % of a core",
            rate(looks.count() as u64, time),
            ms(looks.quantile(50)),
            100.0 * used.as_secs_f64() / time.as_secs_f64()
        );
        seen("meanwhile a till's change to the stream", &told);
    }

    fn local(&self, what: impl Future<Output = ()>) {
        self.runtime
            .block_on(tokio::task::LocalSet::new().run_until(what));
    }

    /// One till after another goes down and comes back, the next one when the change is seen: how long until it was
    /// told, and until the rows have one that is down.
    async fn change(&self, watched: &Watched, changes: usize) -> (Samples, Samples) {
        let (mut told, mut shown) = (Samples::default(), Samples::default());
        let mut beat = interval(PACE);
        for change in 0..changes {
            beat.tick().await;
            let (n, is_up) = (change / 2 % TILLS, change % 2 == 1);
            let begin = Instant::now();
            self.tills[n].send(state(n, now_ms(), is_up)).await;
            told.push(watched.wait(&name(n)).await - begin);
            if !is_up {
                let rows = look(self.central.address()).await;
                assert!(rows.contains(&format!("<b>{}</b>", name(n))), "{rows}");
                shown.push(begin.elapsed());
            }
        }
        (told, shown)
    }

    async fn events(&self, watched: &Watched, count: usize) -> Samples {
        let mut times = Samples::default();
        let mut beat = interval(PACE);
        for n in 0..count {
            beat.tick().await;
            let begin = Instant::now();
            self.tills[n].send(event(&name(n), 1)).await;
            times.push(watched.wait(&format!("event {}", name(n))).await - begin);
        }
        times
    }

    async fn all_at_once(&self, watched: &Watched) -> Duration {
        let begin = Instant::now();
        for is_up in [false, true] {
            for (n, till) in self.tills.iter().enumerate() {
                till.send(state(n, now_ms(), is_up)).await;
            }
            for n in 0..TILLS {
                watched.wait(&name(n)).await;
            }
        }
        begin.elapsed() / 2
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The library takes leave by a task of its own, for which it needs the runtime.
        let _inside = self.runtime.enter();
        self.tills.clear();
    }
}

fn seen(what: &str, times: &Samples) {
    let (median, p99) = (times.quantile(50), times.quantile(99));
    goal(
        &format!(
            "{what}, {} times: {} median, {} p99",
            times.count(),
            ms(median),
            ms(p99)
        ),
        "1 s",
        p99 <= PAGE_GOAL,
    );
}

/// Milliseconds since 1970: what is sent later has more of them.
fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.unwrap().as_millis()).unwrap()
}

/// What was told to somebody who follows: by till, when it was last.
struct Watched {
    seen: Rc<RefCell<HashMap<String, Instant>>>,
    news: Rc<Notify>,
}

impl Watched {
    async fn follow(address: &str) -> Self {
        let mut lines = stream(address, "/events").await;
        let watched = Self {
            seen: Rc::default(),
            news: Rc::default(),
        };
        let (seen, news) = (Rc::clone(&watched.seen), Rc::clone(&watched.news));
        tokio::task::spawn_local(async move {
            let mut kind = String::new();
            while let Some(line) = line(&mut lines).await {
                let now = Instant::now();
                if let Some(word) = line.strip_prefix("event: ") {
                    word.clone_into(&mut kind);
                }
                let Some(data) = line.strip_prefix("data: ") else {
                    continue;
                };
                let data: serde_json::Value = serde_json::from_str(data).unwrap();
                let till = data["till"].as_str().unwrap_or_default();
                let what = if kind == "event" {
                    format!("event {till}")
                } else {
                    till.to_owned()
                };
                seen.borrow_mut().insert(what, now);
                news.notify_one();
            }
        });
        watched
    }

    /// Waits until something is told, and tells when it was. It is told once.
    async fn wait(&self, what: &str) -> Instant {
        let told = async {
            loop {
                if let Some(when) = self.seen.borrow_mut().remove(what) {
                    return when;
                }
                self.news.notified().await;
            }
        };
        timeout(PATIENCE, told).await.expect(what)
    }
}

type Lines = BufReader<TcpStream>;

async fn line(lines: &mut Lines) -> Option<String> {
    let mut line = String::new();
    let read = lines.read_line(&mut line).await.unwrap_or_default();
    (read > 0).then(|| line.trim_end().to_owned())
}

/// Follows from the first word on.
async fn stream(address: &str, path: &str) -> Lines {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream);
    while !line(&mut lines)
        .await
        .expect("a stream")
        .starts_with("retry:")
    {}
    lines
}

/// Asks for the rows, as nginx does: with a connection for each.
async fn look(address: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /?part=rows HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut rows = String::new();
    stream.read_to_string(&mut rows).await.unwrap();
    rows
}

/// What the page's script does: looks again when a till has changed, and then not for a moment. Without an address it
/// only follows.
async fn browse(mut lines: Lines, address: Option<String>, looks: Rc<RefCell<Samples>>) {
    let changed = Notify::new();
    let follow = async {
        while let Some(line) = line(&mut lines).await {
            if line == "event: till" {
                changed.notify_one();
            }
        }
    };
    let watch = async {
        while let Some(address) = &address {
            changed.notified().await;
            let begin = Instant::now();
            look(address).await;
            looks.borrow_mut().push(begin.elapsed());
            sleep(PAUSE).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = follow => panic!("a browser's stream has ended"),
        () = watch => {}
    }
}

/// A certificate for TLS, which is its own authority.
fn certificate(folder: &std::path::Path) {
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout tls.key -out tls.pem \
        -subj /CN=localhost -addext basicConstraints=critical,CA:false -addext subjectAltName=DNS:localhost";
    let mut openssl = Command::new("openssl");
    let done = output(openssl.args(words.split_whitespace()).current_dir(folder));
    assert!(done.status.success(), "{}", done.stderr);
}

fn tls(folder: &std::path::Path) -> TlsAdaptor {
    let text = fs::read(folder.join("tls.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&text).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsAdaptor::new(TlsConnector::from(Arc::new(config)), "localhost".to_owned())
}
