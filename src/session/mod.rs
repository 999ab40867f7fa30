//! Who sits at the screen, and what it takes to start a program there as if the session had: logind's
//! sessions, the displays of sessions that logind doesn't know, a session's environment, and the step from
//! root to its user. What that means for a program is decided in [`crate::machine`].
//!
//! Root reads only what root or the kernel has written: logind's files, /etc, which processes there are.
//! What the user's own processes were given is read by [`environment`], as that user and for good.

pub mod autostart;
mod choice;
mod company;
mod display;
pub mod environment;
pub mod identity;
mod logind;
mod watch;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

pub use choice::{Chosen, Preference};
pub use company::company;
pub use logind::Session;
pub use watch::Watch;

use crate::config::ProcessSettings;
use crate::machine::{Seat, Sitting};
use crate::sys::host::Moment;
use crate::sys::user::name_of;

/// What is found at the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nobody is logged in.
    Nobody,
    /// A display runs, and it is unknown whose it is.
    Unclear,
    /// This session.
    Session(Chosen),
}

/// Who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    /// Who sits at the screen.
    pub found: Found,
    /// The users who have a session, at the screen or behind it.
    pub users: BTreeSet<u32>,
}

impl Screen {
    /// Looks at the machine whose files are below `root`, for a program of `process` that was last started
    /// in the session `last`.
    #[must_use]
    pub fn look(root: &Path, process: &ProcessSettings, last: Option<&str>) -> Self {
        let sessions = logind::sessions(root);
        let preference = Preference {
            user: process.target.user.as_ref().map(|user| user.uid),
            last,
        };
        let mut displays = display::Displays::new(root);
        let chosen = choice::choose(&sessions, preference, &mut |session| {
            displays.may_be_of(session, &sessions)
        });
        let found = match chosen {
            Some(chosen) => Found::Session(chosen),
            None if choice::is_greeted(&sessions) => Found::Nobody,
            None => displays.only_user(preference.user),
        };
        let mut users: BTreeSet<u32> = sessions
            .iter()
            .filter(|session| session.is_open())
            .map(|session| session.uid)
            .collect();
        if let Found::Session(chosen) = &found {
            users.insert(chosen.uid);
        }
        Self { found, users }
    }

    /// The same, as the machine is told of it. `is_autostarted` says whether the session itself starts the
    /// program.
    #[must_use]
    pub fn seat(&self, is_autostarted: bool) -> Seat {
        match &self.found {
            Found::Nobody => Seat::Nobody,
            Found::Unclear => Seat::Unclear,
            Found::Session(chosen) => Seat::Taken(Sitting {
                id: chosen.id.clone(),
                uid: chosen.uid,
                user: name_of(chosen.uid).unwrap_or_else(|| chosen.uid.to_string()),
                began: chosen.began.map(instant),
                is_autostarted,
            }),
        }
    }
}

/// A time of the monotonic clock as this process knows it.
fn instant(monotonic: Duration) -> Instant {
    let now = Instant::now();
    let age = Moment::now().monotonic.saturating_sub(monotonic);
    now.checked_sub(age).unwrap_or(now)
}
