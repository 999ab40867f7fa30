//! Why events don't arrive, or something else is wrong, in a form that `status` can say in its reader's language.

use std::fmt::Display;

use rust_i18n::t;
use serde::{Deserialize, Serialize};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The broker's name has no address.
    NoAddress,
    /// The broker can't be reached.
    Unreachable,
    /// The broker isn't who it says, or has an expired certificate.
    Certificate,
    /// The broker doesn't let the till in.
    Login,
    /// The broker has ended the connection.
    Closed,
    /// The broker doesn't confirm what it is sent.
    Unconfirmed,
    /// The broker doesn't take an event: its queue is full.
    Refused,
    /// The broker has no queue for an event.
    Unroutable,
    /// What is confirmed can't be saved.
    Unsaved,
    /// The journal can't be read.
    Journal,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    pub(crate) kind: Kind,
    /// The error as it was told, in English.
    pub(crate) detail: String,
}

impl Trouble {
    /// Something that is wrong, with the error as it was told.
    pub(crate) fn new(kind: Kind, detail: impl Display) -> Self {
        /// More of an error isn't told, in characters.
        const MOST: usize = 300;
        let detail = detail.to_string();
        let detail = detail.chars().take(MOST).flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        });
        Self {
            kind,
            detail: detail.collect(),
        }
    }

    /// What it means, for a person.
    pub(crate) fn in_words(&self) -> String {
        let detail = &self.detail;
        match self.kind {
            Kind::NoAddress => t!("trouble.no_address", detail = detail),
            Kind::Unreachable => t!("trouble.unreachable", detail = detail),
            Kind::Certificate => t!("trouble.certificate", detail = detail),
            Kind::Login => t!("trouble.login", detail = detail),
            Kind::Closed => t!("trouble.closed", detail = detail),
            Kind::Unconfirmed => t!("trouble.unconfirmed", detail = detail),
            Kind::Refused => t!("trouble.refused", detail = detail),
            Kind::Unroutable => t!("trouble.unroutable", detail = detail),
            Kind::Unsaved => t!("trouble.unsaved", detail = detail),
            Kind::Journal => t!("trouble.journal", detail = detail),
        }
        .into_owned()
    }
}
