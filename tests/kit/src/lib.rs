//! What tests, benches and the demo share: a till in a folder with its stand-ins, a handle on the
//! service, the fakes of systemd and of its journal, containers with the package, engines of an office, and waiting with a
//! deadline.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]
#![allow(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    reason = "whatever fails here fails the test, with a message that says what it was"
)]
#![allow(
    clippy::must_use_candidate,
    reason = "a test that asks without need does no harm"
)]

pub mod catalogue;
pub mod chaos;
mod command;
pub mod completions;
pub mod container;
pub mod debian;
pub mod engines;
pub mod host;
pub mod janitor;
pub mod journal;
pub mod mirror;
mod need;
pub mod package;
pub mod random;
pub mod schema;
mod service;
mod standin;
mod systemd;
mod till;
pub mod trees;
mod wait;

pub use command::{Guard, Output, in_mount_namespace, is_root, output, pipe};
pub use journal::Journal;
pub use need::{Need, all_must_run, not_run};
pub use service::{Service, clean};
pub use standin::{STANDIN, Start, starts, starts_file};
pub use systemd::{Message, Systemd};
pub use till::{Program, Till, install_program, section};
pub use wait::{DEADLINE, eventually, wait_for};
