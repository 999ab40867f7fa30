//! What the tests share: a till with stand-ins, the service under test, and waiting with a
//! deadline.

mod command;
mod debian;
pub mod schema;
mod service;
mod systemd;
mod till;

use std::fmt::Debug;
use std::time::{Duration, Instant};

pub use command::{
    BINARY, Guard, Output, binary_for_everybody, in_mount_namespace, is_root, output, pipe,
};
pub use debian::install;
pub use service::{Service, clean, mfe_watchdog};
pub use systemd::Systemd;
pub use till::{Program, Till, install_program, section};

/// Long enough for a machine under load; no test that passes ever waits this long.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `attempt` gives a result.
pub fn eventually<T>(what: impl Debug, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
