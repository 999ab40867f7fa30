//! How a route and its handler speak, pure: a line of JSON for each message, and a line for each verdict on one.

use std::collections::BTreeMap;
use std::io::Write;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::batch::Verdict;
use crate::message::Delivery;

/// No larger message is handed over, in bytes.
pub(crate) const MESSAGE_MAX: usize = 1 << 20;

/// What a handler is given.
pub(crate) trait Message: Send {
    /// What is told of it beside its number and its body.
    fn about(&self) -> Map<String, Value>;

    /// What it says, if such messages say anything.
    fn body(&self) -> Option<&[u8]>;

    /// Hears the verdict on it, and what the handler has said besides.
    fn settled(self, _: Verdict, _: Option<Reply>)
    where
        Self: Sized,
    {
    }
}

/// What whoever waits for it is answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: Option<StatusCode>,
    pub(crate) body: Option<Value>,
}

impl Message for Delivery {
    fn about(&self) -> Map<String, Value> {
        Map::from_iter([
            ("queue".to_owned(), Value::from(&*self.queue)),
            ("key".to_owned(), Value::from(&*self.routing_key)),
            ("user".to_owned(), Value::from(self.user_id.as_deref())),
            ("again".to_owned(), Value::from(self.is_again)),
        ])
    }

    fn body(&self) -> Option<&[u8]> {
        Some(&self.body)
    }
}

/// The line of a message; `n` is told of no other one. A body that is JSON stays as it is, for a number in it may have
/// more digits than any of ours.
pub(crate) fn line(n: u64, message: &impl Message, is_last: bool) -> Vec<u8> {
    let mut line = message.about();
    line.insert("n".to_owned(), Value::from(n));
    line.insert("last".to_owned(), Value::from(is_last));
    let body = message.body();
    let text = body.and_then(|body| std::str::from_utf8(body).ok());
    let raw = text.filter(|text| serde_json::from_str::<&RawValue>(text).is_ok());
    match (body, text) {
        (Some(_), Some(text)) if raw.is_none() => {
            line.insert("text".to_owned(), Value::from(text));
        }
        (Some(body), None) => {
            let body = data_encoding::BASE64.encode(body);
            line.insert("base64".to_owned(), Value::from(body));
        }
        _ => {}
    }
    let mut line = Value::from(line).to_string().into_bytes();
    if let Some(raw) = raw {
        line.pop();
        // In JSON a line end stands between words only.
        let raw = raw.replace(['\n', '\r'], " ");
        // Writing to memory can't fail.
        let _ = write!(line, ",\"body\":{raw}}}");
    }
    line.push(b'\n');
    line
}

/// What a message got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    None,
    /// It has gone well.
    Done,
    Given(Verdict),
    /// One after the other.
    Two,
}

#[derive(Deserialize)]
struct Said {
    n: u64,
    r#do: Option<Verdict>,
    status: Option<u16>,
    body: Option<Value>,
}

/// What the messages of a batch got so far.
#[derive(Debug)]
pub(crate) struct Ledger {
    first: u64,
    answers: Vec<Answer>,
    /// What was said besides, by the message's place in the batch.
    replies: BTreeMap<usize, Reply>,
    has_failed: bool,
    is_over: bool,
}

impl Ledger {
    /// Of so many messages, the first of which has this number.
    pub(crate) fn new(first: u64, count: usize) -> Self {
        Self {
            first,
            answers: vec![Answer::None; count],
            replies: BTreeMap::new(),
            has_failed: false,
            is_over: false,
        }
    }

    /// Takes a line. An empty one says that all went well of which nothing was said.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn hear(&mut self, line: &[u8]) -> Result<(), String> {
        if line.trim_ascii().is_empty() {
            self.is_over = true;
            return Ok(());
        }
        let heard = self.take(line);
        if heard.is_err() {
            self.has_failed = true;
        }
        heard
    }

    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let said: Said = serde_json::from_slice(line).map_err(|error| {
            let line: String = String::from_utf8_lossy(line).chars().take(100).collect();
            format!("{line:?} is no verdict: {error}")
        })?;
        let index = said.n.checked_sub(self.first);
        let index = index.and_then(|index| usize::try_from(index).ok());
        let (index, answer) = index
            .and_then(|index| Some((index, self.answers.get_mut(index)?)))
            .ok_or_else(|| format!("no message {} is in this batch", said.n))?;
        if *answer != Answer::None {
            *answer = Answer::Two;
            self.replies.remove(&index);
            return Err(format!("message {} has two verdicts", said.n));
        }
        let status = said.status.map(|status| {
            // Others are no answers, but words before one.
            let known = StatusCode::from_u16(status).ok();
            let known = known.filter(|_| (200..=599).contains(&status));
            known.ok_or_else(|| format!("message {} has status {status}, which isn't one", said.n))
        });
        let status = status.transpose()?;
        if status.is_some() || said.body.is_some() {
            let body = said.body;
            self.replies.insert(index, Reply { status, body });
        }
        *answer = said.r#do.map_or(Answer::Done, Answer::Given);
        Ok(())
    }

    /// Whether nothing more is to be said.
    pub(crate) fn is_done(&self) -> bool {
        self.is_over || !self.answers.contains(&Answer::None)
    }

    /// What was said of each besides its verdict, by its place in the batch.
    pub(crate) fn replies(&mut self) -> BTreeMap<usize, Reply> {
        std::mem::take(&mut self.replies)
    }

    /// The verdict on each; the batch has failed if it wasn't done.
    pub(crate) fn verdicts(&self, on_success: Verdict, on_exception: Verdict) -> Vec<Verdict> {
        let has_failed = self.has_failed || !self.is_done();
        let verdicts = self.answers.iter().map(|answer| match answer {
            Answer::Given(verdict) => *verdict,
            Answer::Done => on_success,
            Answer::None if !has_failed => on_success,
            Answer::None | Answer::Two => on_exception,
        });
        verdicts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Ack, Reject, Requeue};

    #[test]
    fn a_body_stays_as_it_is() {
        let with = |body: &[u8]| {
            let body = body.to_vec();
            let delivery = Delivery {
                body,
                ..Delivery::default()
            };
            let line = String::from_utf8(line(17, &delivery, true)).unwrap();
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            line
        };
        let json = with(b"{\"a\":\n 12345678901234567890123}");
        assert!(json.contains("\"body\":{\"a\":  12345678901234567890123}"));
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["n"], &json["last"]), (&17.into(), &true.into()));
        let text: Value = serde_json::from_str(&with(b"a\nb")).unwrap();
        assert_eq!(text["text"], "a\nb");
        let bytes: Value = serde_json::from_str(&with(&[255])).unwrap();
        assert_eq!(bytes["base64"], "/w==");
    }

    /// What three messages, 7 to 9, get of some lines; and how many lines were wrong.
    fn judged(lines: &[&str]) -> (bool, usize, Vec<Verdict>) {
        let mut ledger = Ledger::new(7, 3);
        let heard = lines.iter().map(|line| ledger.hear(line.as_bytes()));
        let wrong = heard.filter(Result::is_err).count();
        (ledger.is_done(), wrong, ledger.verdicts(Ack, Requeue))
    }

    #[test]
    fn each_message_gets_what_was_said_of_it() {
        let named = [
            r#"{"n":9,"do":"reject"}"#,
            r#"{"n":7}"#,
            r#"{"n":8,"do":"requeue"}"#,
        ];
        assert_eq!(judged(&named), (true, 0, vec![Ack, Requeue, Reject]));
        // An empty line is the end of a batch that went well.
        assert_eq!(judged(&[named[0], ""]), (true, 0, vec![Ack, Ack, Reject]));
        // It ended before.
        let cut = judged(&[r#"{"n":7,"do":"ack"}"#]);
        assert_eq!(cut, (false, 0, vec![Ack, Requeue, Requeue]));
    }

    #[test]
    fn wrong_lines_are_told_and_nothing_is_acknowledged_by_them() {
        for wrong in [
            "hello",
            r#"{"n":6,"do":"ack"}"#,
            r#"{"n":10,"do":"ack"}"#,
            r#"{"n":-1,"do":"ack"}"#,
            r#"{"n":8,"do":"maybe"}"#,
            r#"{"n":8,"do":"ack","status":99}"#,
            r#"{"n":8,"do":"ack","status":101}"#,
            r#"{"n":8,"do":"ack","status":"x"}"#,
            r#"{"do":"ack"}"#,
        ] {
            let told = judged(&[r#"{"n":7,"do":"reject"}"#, wrong, ""]);
            assert_eq!(told, (true, 1, vec![Reject, Requeue, Requeue]), "{wrong}");
        }
        let twice = judged(&[r#"{"n":7,"do":"ack"}"#, r#"{"n":7,"do":"ack"}"#, ""]);
        assert_eq!(twice, (true, 1, vec![Requeue; 3]));
    }
}
