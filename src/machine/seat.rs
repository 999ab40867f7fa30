//! Who is at the screen, as the machine is told, and what a program that belongs there waits for; the rules
//! are in [`super::screen`].

use std::time::Instant;

/// Who is at the screen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Seat {
    /// The program needs nobody there.
    #[default]
    NotNeeded,
    /// Nobody is logged in.
    Nobody,
    /// A display runs, and it is unknown whose it is.
    Unclear,
    /// Somebody.
    Taken(Sitting),
}

/// Somebody at the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sitting {
    /// The session.
    pub id: String,
    /// Its user.
    pub uid: u32,
    /// The user's name, printable.
    pub user: String,
    /// When it began; `None` where nobody tells.
    pub began: Option<Instant>,
    /// Whether it starts the program itself when it begins.
    pub is_autostarted: bool,
}

impl Seat {
    /// Whose program it is to be; `None` while it is nobody's.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        match self {
            Self::Taken(sitting) => Some(sitting.uid),
            _ => None,
        }
    }

    /// Whether it is the same session, or as empty as before.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Taken(one), Self::Taken(other)) => (&one.id, one.uid) == (&other.id, other.uid),
            _ => self == other,
        }
    }

    /// Whether it is nobody's.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Nobody | Self::Unclear)
    }
}

/// What a program that belongs on the screen waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// That somebody logs in.
    Login,
    /// That it can be told who uses the display.
    Display,
    /// That the session starts it.
    Autostart,
    /// That the session has begun.
    Beginning,
    /// Whether the session goes on, now that the program has ended.
    Settling,
    /// That the session has a display which answers.
    Session,
    /// That the one which runs as root has ended.
    Outside,
}

impl Wait {
    /// Its stable name, as the cause of the event and in the status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Display => "display",
            Self::Autostart | Self::Beginning => "autostart",
            Self::Settling | Self::Session => "session",
            Self::Outside => "outside",
        }
    }

    /// Whether it is worth a message: the others are over in a moment.
    pub(super) fn is_told(self) -> bool {
        matches!(
            self,
            Self::Login | Self::Display | Self::Autostart | Self::Session
        )
    }
}
