//! Reads logind's sessions: the files in /run/systemd/sessions, which are all that sd-login(3) reads, too.
//! Which of them counts is chosen in [`super::choice`].

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::sys::small_file;

/// Where logind keeps them: world-readable, each replaced by rename when it changes.
pub(super) const SESSIONS: &str = "/run/systemd/sessions";

/// More sessions than these aren't looked at.
const SESSIONS_MAX: usize = 1000;

/// A session as logind has it (sd_session_get_class(3) and its kin).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name, such as `2` or `c2`.
    pub id: String,
    /// Its user.
    pub uid: u32,
    /// Whether it is in front at its seat.
    pub is_active: bool,
    /// Whether its user has logged out, though something of it may still live.
    pub is_closing: bool,
    /// Whether its user sits at another machine.
    pub is_remote: bool,
    /// What it shows.
    pub kind: Kind,
    /// What it is for.
    pub class: Class,
    /// The seat that it is at.
    pub seat: Option<String>,
    /// Its X display, where the display manager has told it.
    pub display: Option<String>,
    /// The pid of the process for which it was begun.
    pub leader: Option<i32>,
    /// When it began, by the monotonic clock.
    pub began: Duration,
}

/// What a session shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Windows of the X Window System.
    X11,
    /// Windows of Wayland, or of Mir.
    Wayland,
    /// A terminal, from which a display may have been started.
    Tty,
    /// Nothing.
    Other,
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A user's work.
    User,
    /// Asking who is there, at a login or a lock.
    Greeter,
    /// Something in the background, such as a user's own systemd.
    Other,
}

impl Session {
    /// Whether somebody works in it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.class == Class::User && !self.is_closing
    }

    /// Takes a file apart; `None` if it isn't a session's. Unknown lines are those of later versions.
    pub(super) fn parse(id: &str, text: &str) -> Option<Self> {
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            let (_, value) = lines.find(|(name, _)| *name == key)?;
            let value = value.trim();
            let value = value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'))
                .unwrap_or(value);
            (!value.is_empty()).then(|| value.to_owned())
        };
        let is = |key: &str, wanted: &str| value(key).is_some_and(|value| value == wanted);
        Some(Self {
            id: id.to_owned(),
            uid: value("UID")?.parse().ok()?,
            is_active: is("ACTIVE", "1"),
            is_closing: is("STATE", "closing"),
            is_remote: is("REMOTE", "1"),
            kind: match value("TYPE").as_deref() {
                Some("x11") => Kind::X11,
                Some("wayland" | "mir") => Kind::Wayland,
                Some("tty") => Kind::Tty,
                _ => Kind::Other,
            },
            class: match value("CLASS").as_deref() {
                // Root's at a terminal is user-early from systemd 256 on (pam_systemd(8)).
                Some("user" | "user-early" | "user-light" | "user-early-light") => Class::User,
                Some("greeter" | "lock-screen") => Class::Greeter,
                _ => Class::Other,
            },
            seat: value("SEAT"),
            display: value("DISPLAY"),
            leader: value("LEADER").and_then(|pid| pid.parse().ok()),
            began: Duration::from_micros(value("MONOTONIC").and_then(|at| at.parse().ok())?),
        })
    }
}

/// The sessions of the machine whose files are below `root`; none where logind has never run. A file that
/// goes meanwhile is no session.
///
/// `N.ref` beside a session's file is a FIFO whose other end the session holds: to open it would be to
/// wait for ever.
pub(super) fn sessions(root: &Path) -> Vec<Session> {
    let folder = root.join(SESSIONS.trim_start_matches('/'));
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut sessions: Vec<Session> = entries
        .filter_map(|entry| {
            let id = entry.file_name().into_string().ok()?;
            let is_id = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let text = is_id.then(|| small_file::read(&folder, &id).ok().flatten())??;
            Session::parse(&id, std::str::from_utf8(&text).ok()?)
        })
        .take(SESSIONS_MAX)
        .collect();
    sessions.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    sessions
}

#[cfg(test)]
pub(super) mod tests {
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use proptest::prelude::*;

    use super::*;

    /// As systemd 252 writes it for a session of lightdm's.
    pub(in crate::session) const OF_LIGHTDM: &str = "# This is private data. Do not parse.\nUID=1000\nUSER=pdv\n\
        ACTIVE=1\nIS_DISPLAY=1\nSTATE=active\nREMOTE=0\nTYPE=x11\nCLASS=user\nSCOPE=session-2.scope\n\
        FIFO=/run/systemd/sessions/2.ref\nSEAT=seat0\nTTY=tty7\nDISPLAY=:0\nSERVICE=lightdm-autologin\n\
        DESKTOP=openbox\nPOSITION=1\nVTNR=7\nLEADER=345\nAUDIT=0\nREALTIME=1764180000000000\n\
        MONOTONIC=61000000\n";

    #[test]
    fn a_session_is_read_as_logind_writes_it() {
        let session = Session::parse("2", OF_LIGHTDM).unwrap();
        assert_eq!(
            session,
            Session {
                id: "2".into(),
                uid: 1000,
                is_active: true,
                is_closing: false,
                is_remote: false,
                kind: Kind::X11,
                class: Class::User,
                seat: Some("seat0".into()),
                display: Some(":0".into()),
                leader: Some(345),
                began: Duration::from_secs(61),
            }
        );
        let over = OF_LIGHTDM.replace("STATE=active", "STATE=closing");
        assert!(!Session::parse("2", &over).unwrap().is_open());
        let ssh = "UID=0\nACTIVE=1\nSTATE=active\nREMOTE=1\nTYPE=tty\nCLASS=user\nMONOTONIC=5\n";
        let ssh = Session::parse("9", ssh).unwrap();
        assert!(ssh.is_remote && ssh.kind == Kind::Tty && ssh.seat.is_none());
        let manager = OF_LIGHTDM.replace("CLASS=user", "CLASS=manager");
        assert_eq!(Session::parse("3", &manager).unwrap().class, Class::Other);
        let kiosk = OF_LIGHTDM.replace("CLASS=user", "CLASS=user-early");
        assert!(Session::parse("3", &kiosk).unwrap().is_open());
        for text in ["", "UID=x\nMONOTONIC=1", "UID=1000", "MONOTONIC=1"] {
            assert_eq!(Session::parse("2", text), None, "{text}");
        }
    }

    #[test]
    fn only_regular_files_are_read() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(sessions(root.path()), []);
        let folder = root.path().join("run/systemd/sessions");
        fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name);
        fs::write(path("2"), OF_LIGHTDM).unwrap();
        fs::write(path("c3"), OF_LIGHTDM).unwrap();
        fs::write(path(".#2abc"), OF_LIGHTDM).unwrap();
        mkfifo(&path("2.ref"), Mode::S_IRWXU).unwrap();
        mkfifo(&path("4"), Mode::S_IRWXU).unwrap();
        fs::create_dir(path("5")).unwrap();
        std::os::unix::fs::symlink(path("2"), path("6")).unwrap();
        fs::write(path("7"), b"\xff\nUID=5\nMONOTONIC=1").unwrap();
        let found = sessions(root.path());
        let ids: Vec<&str> = found.iter().map(|session| session.id.as_str()).collect();
        assert_eq!(ids, ["2", "c3"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([A-Z]{0,6}=?[\"a-z0-9:]{0,6}\n){0,12}") {
            let _ = Session::parse("1", &text);
        }
    }
}
