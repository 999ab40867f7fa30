//! Any bytes as what somebody asks of the service, or as what it answers.

use std::fmt::Debug;

use mfe_watchdog::status::control::{Answer, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads the bytes as either.
pub fn run(data: &[u8]) {
    let _ = understood::<Request>(data);
    if let Some(Answer::CannotStart { why, .. }) = understood::<Answer>(data) {
        let _ = why.translated();
    }
}

/// What was understood is understood again once it was sent.
fn understood<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) -> Option<T> {
    let understood: T = serde_json::from_slice(data).ok()?;
    let sent = serde_json::to_vec(&understood).expect("it can be sent");
    let again: T = serde_json::from_slice(&sent).expect("it is understood");
    assert_eq!(again, understood);
    Some(understood)
}
