//! Answers browsers and other systems, by HTTP/1.1 on loopback. TLS and who may look is the business of the proxy in
//! front of it. Nothing of the tills can be changed by it: it only reads, and hands requests to the user's routes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::body::{Frame, Incoming};
use hyper::header::{
    ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use mfe_history::local_time::local_zone;
use mfe_history::{LONGEST, Reader, USUAL};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::time::{sleep, timeout};

use crate::feed::{self, Message};
use crate::fleet::Row;
use crate::health::Engine;
use crate::hook::{Answer, Hooks};
use crate::metrics::metrics;
use crate::office::Office;
use crate::page::{Query, asked, language, of_report, page};
use crate::past;
use crate::store::Failure;

/// More connections aren't taken: a wall of screens has fewer.
const CONNECTIONS_MAX: usize = 2000;

/// How long a request's head may take.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// A proxy gives up a stream that says nothing for a minute (nginx, `proxy_read_timeout`).
const QUIET: Duration = Duration::from_secs(15);

/// A follower that takes nothing for so long is dropped.
const FOLLOWER_TIME: Duration = Duration::from_secs(10);

/// So many messages are on the way to one follower.
const FOLLOWER_BUFFER: usize = 16;

/// So many events are read at once for who comes again.
const CATCH_UP: i64 = 500;

/// So many events of a till are told with it.
const LATEST: i64 = 100;

/// A report is made of so many events at most, the latest.
const EVENTS: i64 = 20_000;

/// The shortest time that a report can be asked for about.
const SHORTEST: Duration = Duration::from_secs(60);

const STYLE: &str = include_str!("../page/page.css");
const TILL_STYLE: &str = include_str!("../page/till.css");
const SCRIPT: &str = include_str!("../page/page.js");

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Whatever got onto the page, it could load and run nothing, and send nothing anywhere else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'self'";

/// The body of an answer.
#[derive(Debug)]
enum Body {
    Whole(Option<Bytes>),
    Stream(mpsc::Receiver<Bytes>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Stream(receiver) => receiver.poll_recv(context),
        };
        bytes.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(bytes) => hyper::body::SizeHint::with_exact(
                bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            ),
            Self::Stream(_) => hyper::body::SizeHint::default(),
        }
    }
}

/// Takes connections, for ever.
pub(crate) async fn serve(listener: TcpListener, office: Arc<Office>, hooks: Arc<Hooks>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, for example: others may give some back.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let (office, hooks) = (Arc::clone(&office), Arc::clone(&hooks));
        tokio::spawn(async move {
            converse(stream, office, hooks).await;
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, office: Arc<Office>, hooks: Arc<Hooks>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let (office, hooks) = (Arc::clone(&office), Arc::clone(&hooks));
        async move {
            // Its connection keeps the place of an answer that was given, for as long as a stream goes on: hence a box.
            Ok::<_, Infallible>(match hooks.get(request.uri().path()) {
                Some(hook) => handled(Box::pin(hook.ask(request)).await),
                None => Box::pin(answer(&request, &office)).await,
            })
        }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME);
    // Whoever hangs up in the middle does no harm.
    let _ = server.serve_connection(TokioIo::new(stream), answer).await;
}

async fn answer(request: &Request<Incoming>, office: &Arc<Office>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = whole(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".into());
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let query = request.uri().query().unwrap_or_default();
    let ok = |kind, text| whole(StatusCode::OK, kind, text);
    match request.uri().path() {
        "/" => {
            let (rows, language) = (office.rows(), spoken(request));
            let page = office
                .pages
                .get(&rows, &office.health, (query, language), || {
                    page(&rows, &Query::read(query), language, &office.health)
                });
            in_language(Body::Whole(Some(page)))
        }
        "/page.css" => ok("text/css; charset=utf-8", STYLE.into()),
        "/report.css" => ok(
            "text/css; charset=utf-8",
            [mfe_history::STYLE, TILL_STYLE].concat(),
        ),
        "/page.js" => ok("text/javascript; charset=utf-8", SCRIPT.into()),
        "/events" => follow(request, query, office).await,
        "/metrics" => ok(
            "text/plain; version=0.0.4; charset=utf-8",
            metrics(&office.present_rows(), &office.health),
        ),
        "/healthz" => health(office),
        "/api/v1/tills" => {
            let query = Query::read(query);
            let rows = office.present_rows();
            let found = Found {
                tills: rows
                    .iter()
                    .map(|row| &**row)
                    .filter(|row| query.fits(row))
                    .collect(),
            };
            ok(JSON, serde_json::to_string(&found).unwrap_or_default())
        }
        path => match of_till(path, office) {
            Some((row, Asked::Latest)) => till(&row, office).await,
            Some((row, form)) => reported(row, form, request, office).await,
            None => whole(
                StatusCode::NOT_FOUND,
                TEXT,
                "no such page, or no such till\n".into(),
            ),
        },
    }
}

/// What is asked for of a till.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Its latest events.
    Latest,
    /// How it was over some time, as JSON.
    Json,
    /// The same as a page.
    Page,
}

fn of_till(path: &str, office: &Office) -> Option<(Arc<Row>, Asked)> {
    let (name, asked) = match path.strip_prefix("/tills/") {
        Some(name) => (name, Asked::Page),
        None => {
            let name = path.strip_prefix("/api/v1/tills/")?;
            match name.strip_suffix("/report") {
                Some(name) => (name, Asked::Json),
                None => (name, Asked::Latest),
            }
        }
    };
    Some((office.row(name)?, asked))
}

/// In which language a page is asked for.
fn spoken(request: &Request<Incoming>) -> &'static str {
    let accepted = request.headers().get(ACCEPT_LANGUAGE);
    let accepted = accepted.and_then(|value| value.to_str().ok());
    language(accepted.unwrap_or_default())
}

fn in_language(body: Body) -> Response<Body> {
    let mut answer = respond(StatusCode::OK, HTML, body);
    answer
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept-Language"));
    answer
}

/// Tills that were asked for.
#[derive(Serialize)]
struct Found<'a> {
    tills: Vec<&'a Row>,
}

/// Whether a path is the page's, or of a program that looks at central.
pub(crate) fn is_own(path: &str) -> bool {
    let names = [
        "",
        "page.css",
        "page.js",
        "report.css",
        "tills",
        "events",
        "metrics",
        "healthz",
        "api",
    ];
    let name = path.trim_start_matches('/').split('/').next();
    name.is_some_and(|name| names.contains(&name))
}

/// What a request to a route is answered.
fn handled(answer: Answer) -> Response<Body> {
    let mut response = match answer.body {
        None => whole(answer.status, TEXT, String::new()),
        Some(Value::String(text)) => whole(answer.status, TEXT, text),
        Some(json) => whole(answer.status, JSON, json.to_string()),
    };
    let allow = answer.allow.and_then(|allow| allow.parse().ok());
    if let Some(allow) = allow {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

fn whole(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    respond(status, kind, Body::Whole(Some(text.into())))
}

fn respond(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether central can do its work; 503 if not.
fn health(office: &Office) -> Response<Body> {
    let is_here = |engine| office.health.away_since(engine).is_none();
    let (broker, database) = (is_here(Engine::Broker), is_here(Engine::Database));
    let status = if broker && database {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    whole(
        status,
        JSON,
        json!({"broker": broker, "database": database}).to_string(),
    )
}

/// A till with its latest events.
async fn till(row: &Row, office: &Office) -> Response<Body> {
    match office
        .read
        .once(async |store| store.of_till(&row.till, LATEST).await)
        .await
    {
        Ok(events) => {
            let events: Vec<serde_json::Value> = events.iter().map(feed::json_of).collect();
            whole(
                StatusCode::OK,
                JSON,
                json!({"till": row, "events": events}).to_string(),
            )
        }
        Err(_) => no_database(),
    }
}

/// How a till's programs were over some time.
async fn reported(
    row: Arc<Row>,
    form: Asked,
    request: &Request<Incoming>,
    office: &Office,
) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let since = asked(query, "since").unwrap_or_else(|| USUAL.into());
    let length = humantime::parse_duration(&since).ok();
    let Some(length) = length.filter(|length| (SHORTEST..=LONGEST).contains(length)) else {
        return whole(
            StatusCode::BAD_REQUEST,
            TEXT,
            "since is a time from 1m to 366d, for example 7d\n".into(),
        );
    };
    let read = office
        .read
        .once(async |store| store.past(&row.till, EVENTS).await);
    let Ok((told, marks)) = read.await else {
        return no_database();
    };
    let heard = office.heard(&row.till);
    let reader = Reader {
        language: spoken(request),
        zone: local_zone(),
    };
    // Of many events it takes a moment, in which others aren't to wait.
    let made = tokio::task::spawn_blocking(move || {
        let period = (SystemTime::now(), length);
        let report = past::report(&row.till, told, marks, heard.as_ref(), period, reader);
        match form {
            Asked::Page => {
                let text = of_report(&row, &report, &since);
                in_language(Body::Whole(Some(text.into())))
            }
            _ => whole(
                StatusCode::OK,
                JSON,
                mfe_history::json(&report).unwrap_or_default(),
            ),
        }
    });
    made.await.unwrap_or_else(|_| {
        whole(
            StatusCode::INTERNAL_SERVER_ERROR,
            TEXT,
            "the report can't be made\n".into(),
        )
    })
}

fn no_database() -> Response<Body> {
    whole(
        StatusCode::SERVICE_UNAVAILABLE,
        TEXT,
        "the database can't be used\n".into(),
    )
}

/// A stream of what happens (HTML standard, "Server-sent events"). It goes on after the event that the header
/// Last-Event-ID names, or `after=` in the query, if there is either.
async fn follow(request: &Request<Incoming>, query: &str, office: &Arc<Office>) -> Response<Body> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let named = pairs
        .clone()
        .find(|(name, _)| *name == "after")
        .map(|(_, value)| value);
    let last = request
        .headers()
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        .or(named);
    let only_tills = pairs.any(|pair| pair == ("only", "tills"));
    let last = match last.map(|last| last.trim().parse::<i64>()) {
        Some(Err(_)) => {
            return whole(
                StatusCode::BAD_REQUEST,
                TEXT,
                "the last event's id is a number\n".into(),
            );
        }
        Some(Ok(last)) if !only_tills => {
            // One of another database would be waited for in vain.
            let newest = office.read.once(async |store| store.last_row().await).await;
            match newest {
                Ok(newest) => Some(last.min(newest)),
                Err(_) => return no_database(),
            }
        }
        _ => None,
    };
    let (sender, receiver) = mpsc::channel(FOLLOWER_BUFFER);
    let office = Arc::clone(office);
    tokio::spawn(async move {
        let _counted = Counted::new(&office.health.followers);
        let follower = Follower {
            sender,
            office: &office,
        };
        if follower.follow(last, only_tills).await == Gone::TooSlow {
            office.health.dropped.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut response = respond(StatusCode::OK, "text/event-stream", Body::Stream(receiver));
    // nginx would gather what has to go out at once.
    response
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Counts as long as it lives.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why somebody doesn't follow any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    HungUp,
    TooSlow,
    NoDatabase,
}

struct Follower<'a> {
    sender: mpsc::Sender<Bytes>,
    office: &'a Office,
}

impl Follower<'_> {
    async fn follow(&self, last: Option<i64>, only_tills: bool) -> Gone {
        let followed = self.serve(last, only_tills).await;
        followed.err().unwrap_or(Gone::HungUp)
    }

    async fn serve(&self, last: Option<i64>, only_tills: bool) -> Result<(), Gone> {
        self.send("retry: 1000\n\n".into()).await?;
        let (mut news, last) = match last {
            Some(last) => Box::pin(self.catch_up(last)).await?,
            None => (self.office.feed.follow(), i64::MIN),
        };
        loop {
            let text = match timeout(QUIET, news.recv()).await {
                Err(_) => ":\n\n".into(),
                Ok(Ok(Message::Event(row, _))) if only_tills || row <= last => continue,
                Ok(Ok(message)) => message.text(),
                Ok(Err(broadcast::error::RecvError::Lagged(_))) => return Err(Gone::TooSlow),
                Ok(Err(broadcast::error::RecvError::Closed)) => return Ok(()),
            };
            self.send(text).await?;
        }
    }

    /// Tells what was stored after `last`. What is told from then on is listened for before the last look, so that
    /// nothing falls in between.
    async fn catch_up(&self, mut last: i64) -> Result<(broadcast::Receiver<Message>, i64), Gone> {
        loop {
            let news = self.office.feed.follow();
            let read = self
                .office
                .read
                .once(async |store| store.after(last, CATCH_UP).await)
                .await;
            let events = read.map_err(|_: Failure| Gone::NoDatabase)?;
            let is_last = events.len() < usize::try_from(CATCH_UP).unwrap_or(usize::MAX);
            for event in &events {
                self.send(feed::event(event).text()).await?;
                last = event.row;
            }
            if is_last {
                return Ok((news, last));
            }
        }
    }

    async fn send(&self, text: Bytes) -> Result<(), Gone> {
        match timeout(FOLLOWER_TIME, self.sender.send(text)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone::HungUp),
            Err(_) => Err(Gone::TooSlow),
        }
    }
}
