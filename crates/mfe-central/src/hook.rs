//! A source of HTTP requests to a path of the listener: each waits for the verdict of the route's handler, which may say
//! what it is answered.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap, ORIGIN, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::batch::Verdict;
use crate::config::{Origin, Route};
use crate::route::{News, Source};
use crate::verdict::{MESSAGE_MAX, Message, Reply};

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(30);

/// What a request is answered.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Option<Value>,
    /// The methods that there are, if that is what is wrong with it.
    pub(crate) allow: Option<String>,
}

impl From<StatusCode> for Answer {
    fn from(status: StatusCode) -> Self {
        Self {
            status,
            body: None,
            allow: None,
        }
    }
}

impl Answer {
    /// That of a verdict, but for what the handler has said.
    fn of(verdict: Verdict, reply: Option<Reply>) -> Self {
        let status = match verdict {
            Verdict::Ack => StatusCode::OK,
            Verdict::Reject => StatusCode::BAD_REQUEST,
            Verdict::Requeue => StatusCode::SERVICE_UNAVAILABLE,
        };
        let reply = reply.unwrap_or_default();
        Self {
            status: reply.status.unwrap_or(status),
            body: reply.body,
            allow: None,
        }
    }
}

/// The paths of all routes.
#[derive(Debug, Default)]
pub(crate) struct Hooks(BTreeMap<String, Hook>);

impl Hooks {
    pub(crate) fn new(routes: &[Route]) -> Self {
        let hooks = routes.iter().filter_map(|route| match &route.from {
            Origin::Http(at) => Some((at.path.clone(), Hook::new(&at.methods, route))),
            _ => None,
        });
        Self(hooks.collect())
    }

    /// The one at a path.
    pub(crate) fn get(&self, path: &str) -> Option<&Hook> {
        self.0.get(path)
    }

    /// What comes to a path, once.
    pub(crate) fn requests(&self, path: &str) -> Option<Requests> {
        let taken = &self.get(path)?.taken;
        taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A path.
#[derive(Debug)]
pub(crate) struct Hook {
    methods: Vec<Method>,
    /// One for each request that isn't answered.
    places: Arc<Semaphore>,
    patience: Duration,
    requests: mpsc::UnboundedSender<Asked>,
    taken: Mutex<Option<Requests>>,
}

impl Hook {
    fn new(methods: &[Method], route: &Route) -> Self {
        // The places bound it.
        let (requests, receiver) = mpsc::unbounded_channel();
        Self {
            methods: methods.to_vec(),
            places: Arc::new(Semaphore::new(route.pace.prefetch.into())),
            patience: route.timeout,
            requests,
            taken: Mutex::new(Some(Requests { receiver, tag: 0 })),
        }
    }

    /// Has a request handled.
    pub(crate) async fn ask(&self, request: Request<Incoming>) -> Answer {
        if !self.methods.contains(request.method()) {
            let methods: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
            return Answer {
                allow: Some(methods.join(", ")),
                ..StatusCode::METHOD_NOT_ALLOWED.into()
            };
        }
        if is_foreign(request.headers()) {
            return StatusCode::FORBIDDEN.into();
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return StatusCode::SERVICE_UNAVAILABLE.into();
        };
        let answered = timeout(self.patience, self.handled(request, place)).await;
        answered.unwrap_or_else(|_| StatusCode::GATEWAY_TIMEOUT.into())
    }

    async fn handled(&self, request: Request<Incoming>, place: OwnedSemaphorePermit) -> Answer {
        let (head, body) = request.into_parts();
        let body = match timeout(BODY_TIME, read(body)).await {
            Ok(Ok(body)) => body,
            Ok(Err(status)) => return status.into(),
            Err(_) => return StatusCode::REQUEST_TIMEOUT.into(),
        };
        let (reply, answer) = oneshot::channel();
        let asked = Asked {
            head,
            body,
            reply,
            _place: place,
        };
        // While the service ends, nobody takes it; and a handler that is ended in the middle says nothing to it.
        let _ = self.requests.send(asked);
        let answer = answer.await;
        answer.unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into())
    }
}

/// Whether a page of another site has a browser send it (Fetch standard, "Sec-Fetch-Site" and "Origin"): the browser
/// of somebody who is logged in would be let in.
fn is_foreign(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => !["same-origin", "none"]
            .map(Some)
            .contains(&site.to_str().ok()),
        None => headers.contains_key(ORIGIN),
    }
}

/// The whole of a body, or what is wrong with it. A proxy in front has the same limit (nginx, `client_max_body_size`).
async fn read(mut body: Incoming) -> Result<Vec<u8>, StatusCode> {
    let mut bytes = Vec::new();
    let is_too_big = |size: usize| size > MESSAGE_MAX;
    if usize::try_from(body.size_hint().lower()).map_or(true, is_too_big) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if is_too_big(bytes.len() + data.len()) {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// A request that waits for its answer. Dropped, it is answered that it can't be handled now.
#[derive(Debug)]
pub(crate) struct Asked {
    head: hyper::http::request::Parts,
    body: Vec<u8>,
    reply: oneshot::Sender<Answer>,
    _place: OwnedSemaphorePermit,
}

impl Message for Asked {
    fn about(&self) -> Map<String, Value> {
        let mut headers = BTreeMap::new();
        for (name, value) in &self.head.headers {
            // Who is logged in is nobody's business.
            if ![AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name) {
                let value = String::from_utf8_lossy(value.as_bytes());
                let values: &mut String = headers.entry(name.as_str()).or_default();
                if !values.is_empty() {
                    values.push_str(", ");
                }
                values.push_str(&value);
            }
        }
        Map::from_iter([
            ("again".to_owned(), json!(false)),
            ("method".to_owned(), json!(self.head.method.as_str())),
            ("path".to_owned(), json!(self.head.uri.path())),
            ("query".to_owned(), json!(self.head.uri.query())),
            ("headers".to_owned(), json!(headers)),
        ])
    }

    fn body(&self) -> Option<&[u8]> {
        Some(&self.body)
    }

    fn settled(self, verdict: Verdict, reply: Option<Reply>) {
        // It may have hung up.
        let _ = self.reply.send(Answer::of(verdict, reply));
    }
}

/// The requests to one path. They don't come again: who sends them does so if it wants to.
#[derive(Debug)]
pub(crate) struct Requests {
    receiver: mpsc::UnboundedReceiver<Asked>,
    tag: u64,
}

impl Source for Requests {
    type Item = Asked;

    async fn next(&mut self) -> News<Asked> {
        while let Some(asked) = self.receiver.recv().await {
            // Who has hung up would only send it once more.
            if !asked.reply.is_closed() {
                self.tag += 1;
                return News::Delivered(self.tag, asked);
            }
        }
        News::Closed("nobody listens".to_owned())
    }

    async fn ack(&mut self, _: u64, _: bool) -> Result<(), String> {
        Ok(())
    }

    async fn reject(&mut self, _: u64, _: bool) -> Result<(), String> {
        Ok(())
    }

    async fn close(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_site_has_a_browser_send_is_foreign() {
        for (headers, expected) in [
            (&[][..], false),
            (
                &[("sec-fetch-site", "same-origin"), ("origin", "http://a")],
                false,
            ),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("origin", "null")], true),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            assert_eq!(is_foreign(&map), expected, "{headers:?}");
        }
    }

    #[test]
    fn what_the_handler_says_counts_more_than_its_verdict() {
        let status = |verdict, reply| Answer::of(verdict, reply).status.as_u16();
        assert_eq!(status(Verdict::Ack, None), 200);
        assert_eq!(status(Verdict::Reject, None), 400);
        assert_eq!(status(Verdict::Requeue, None), 503);
        let reply = Reply {
            status: Some(StatusCode::ACCEPTED),
            body: None,
        };
        assert_eq!(status(Verdict::Ack, Some(reply)), 202);
    }
}
