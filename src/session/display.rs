//! The displays that run, and whose they are where logind doesn't say: `startx` from an old init, or a
//! machine without libpam-systemd. Which of logind's sessions counts is chosen in [`super::choice`].
//!
//! The service may not read what other users' processes were given (proc(5), /proc/PID/environ), so it goes
//! by who there is. Whether the display really is that user's is seen before anything is started, by
//! [`super::environment`].

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Found;
use super::choice::Chosen;
use super::logind::Session;

/// Where X servers listen; a `@` before it is an abstract socket (unix(7)).
pub(super) const X_SOCKETS: &str = "/tmp/.X11-unix/X";

/// Where users' own sockets are (pam_systemd(8), `$XDG_RUNTIME_DIR`).
pub(super) const RUNTIME_DIRS: &str = "/run/user/";

/// More of the list of sockets isn't read, in bytes.
const SOCKETS_MAX: u64 = 8 << 20;

/// The flag of a socket that listens in /proc/net/unix (`__SO_ACCEPTCON`).
const LISTENS: u32 = 1 << 16;

/// The numbers of people's accounts (Debian policy, 9.2.2).
const PEOPLE: std::ops::RangeInclusive<u32> = 1000..=59_999;

/// The displays that answer, as of one look.
#[derive(Debug)]
pub(super) struct Displays {
    root: PathBuf,
    /// Read once it is asked for.
    listening: Option<Listening>,
}

/// Where displays listen.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Listening {
    /// The numbers of X displays.
    x11: BTreeSet<u32>,
    /// The users with a socket of Wayland's.
    wayland: BTreeSet<u32>,
}

impl Listening {
    /// Takes /proc/PID/net/unix apart.
    fn parse(text: &str) -> Self {
        let mut listening = Self::default();
        for line in text.lines().skip(1) {
            // Num RefCount Protocol Flags Type St Inode Path
            let mut fields = line.split_ascii_whitespace();
            let flags = fields
                .nth(3)
                .and_then(|flags| u32::from_str_radix(flags, 16).ok());
            let Some(path) = fields.nth(3).filter(|_| flags.unwrap_or(0) & LISTENS != 0) else {
                continue;
            };
            let path = path.strip_prefix('@').unwrap_or(path);
            if let Some(number) = path.strip_prefix(X_SOCKETS) {
                listening.x11.extend(number.parse::<u32>().ok());
            } else if let Some((uid, name)) = path
                .strip_prefix(RUNTIME_DIRS)
                .and_then(|rest| rest.split_once('/'))
            {
                let uid = uid.parse::<u32>().ok();
                listening
                    .wayland
                    .extend(uid.filter(|_| name.starts_with("wayland-")));
            }
        }
        listening
    }
}

impl Displays {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            listening: None,
        }
    }

    /// What PID 1 sees: the service has no network of its own machine's, and so no list of its sockets.
    fn listening(&mut self) -> &Listening {
        self.listening.get_or_insert_with(|| {
            let mut text = Vec::new();
            let read = File::open(self.root.join("proc/1/net/unix"))
                .and_then(|file| file.take(SOCKETS_MAX).read_to_end(&mut text));
            match read {
                Ok(_) => Listening::parse(&String::from_utf8_lossy(&text)),
                Err(_) => Listening::default(),
            }
        })
    }

    /// Whether there is a display that may have been started from this terminal: one that no session of
    /// logind's has.
    pub(super) fn may_be_of(&mut self, terminal: &Session, sessions: &[Session]) -> bool {
        let has_unnamed = sessions.iter().any(|session| {
            session.class == super::logind::Class::Greeter && session.display.is_none()
        });
        let named: BTreeSet<u32> = sessions
            .iter()
            .filter_map(|session| number(session.display.as_deref()?))
            .collect();
        let listening = self.listening();
        let has_x11 = listening.x11.iter().any(|display| !named.contains(display));
        has_x11 && !has_unnamed || listening.wayland.contains(&terminal.uid)
    }

    /// The only user to whom a display can belong that logind doesn't know: it may be `wanted`'s only.
    pub(super) fn only_user(&mut self, wanted: Option<u32>) -> Found {
        if *self.listening() == Listening::default() {
            return Found::Nobody;
        }
        let people = self.people();
        only_of(self.listening(), &people, wanted)
    }

    /// The people who have a process.
    fn people(&self) -> BTreeSet<u32> {
        let entries = fs::read_dir(self.root.join("proc"))
            .into_iter()
            .flatten()
            .flatten();
        let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        let uids = entries.filter_map(|entry| {
            is_process(entry.file_name().to_str()?).then_some(())?;
            Some(entry.metadata().ok()?.uid())
        });
        uids.filter(|uid| PEOPLE.contains(uid)).collect()
    }
}

/// To whom of `people`, who have processes, displays can belong.
fn only_of(listening: &Listening, people: &BTreeSet<u32>, wanted: Option<u32>) -> Found {
    let mut uids = people.iter();
    let (Some(&uid), None) = (uids.next(), uids.next()) else {
        return Found::Unclear;
    };
    if wanted.is_some_and(|wanted| wanted != uid) {
        return Found::Unclear;
    }
    Found::Session(Chosen {
        id: format!("user {uid}"),
        uid,
        display: None,
        is_wayland: listening.wayland.contains(&uid),
        is_known: false,
        leader: None,
        began: None,
    })
}

/// The number of an X display on this machine, such as `:0` or `:0.0` (X(7)); `None` for another's.
pub(super) fn number(display: &str) -> Option<u32> {
    let (host, rest) = display.rsplit_once(':')?;
    let number = rest.split('.').next()?;
    (host.is_empty() || host == "unix").then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n";

    #[test]
    fn displays_that_listen_are_found() {
        let text = format!(
            "{HEAD}0000000000000000: 00000002 00000000 00010000 0001 01 20001 /tmp/.X11-unix/X7\n\
             0000000000000000: 00000002 00000000 00010000 0001 01 20002 @/tmp/.X11-unix/X7\n\
             0000000000000000: 00000003 00000000 00000000 0001 03 20003 /tmp/.X11-unix/X8\n\
             0000000000000000: 00000003 00000000 00000000 0001 03 20004\n\
             0000000000000000: 00000002 00000000 00010000 0001 01 20005 /run/user/1000/wayland-1\n\
             0000000000000000: 00000002 00000000 00010000 0001 01 20006 /run/user/1001/bus\n\
             0000000000000000: 00000002 00000000 00010000 0001 01 20007 /tmp/.X11-unix/Xx\n"
        );
        let listening = Listening::parse(&text);
        assert_eq!(listening.x11, BTreeSet::from([7]));
        assert_eq!(listening.wayland, BTreeSet::from([1000]));
        assert_eq!(Listening::parse(""), Listening::default());
        assert_eq!(
            Listening::parse("a\nb c\nd e f g h i j k"),
            Listening::default()
        );
    }

    #[test]
    fn displays_are_numbered() {
        for (display, expected) in [
            (":0", Some(0)),
            (":0.0", Some(0)),
            ("unix:10.1", Some(10)),
            ("localhost:10.0", None),
            ("till:0", None),
            ("", None),
            (":", None),
            (":x", None),
        ] {
            assert_eq!(number(display), expected, "{display}");
        }
    }

    /// A machine with such displays, and no people.
    fn machine(sockets: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/1/net")).unwrap();
        fs::write(
            root.path().join("proc/1/net/unix"),
            format!("{HEAD}{sockets}"),
        )
        .unwrap();
        root
    }

    const X7: &str = "0: 00000002 00000000 00010000 0001 01 20001 /tmp/.X11-unix/X7\n";

    #[test]
    fn without_a_display_nobody_is_there() {
        let root = machine("");
        assert_eq!(Displays::new(root.path()).only_user(None), Found::Nobody);
        assert_eq!(
            Displays::new(Path::new("/nonexistent")).only_user(None),
            Found::Nobody
        );
    }

    #[test]
    fn a_display_that_is_nobodys_is_unclear() {
        let root = machine(X7);
        assert_eq!(Displays::new(root.path()).only_user(None), Found::Unclear);
    }

    #[test]
    fn a_display_is_the_only_users_who_is_there() {
        let listening = Listening {
            x11: BTreeSet::from([7]),
            wayland: BTreeSet::new(),
        };
        let only =
            |uids: &[u32], wanted| only_of(&listening, &uids.iter().copied().collect(), wanted);
        let Found::Session(chosen) = only(&[1000], None) else {
            panic!("it is pdv's");
        };
        assert_eq!((chosen.uid, chosen.is_known), (1000, false));
        assert_eq!(only(&[1000], Some(1001)), Found::Unclear);
        assert_eq!(only(&[1000, 1001], None), Found::Unclear);
    }

    #[test]
    fn people_are_no_services() {
        for (uid, is_one) in [(0, false), (110, false), (1000, true), (65_534, false)] {
            assert_eq!(PEOPLE.contains(&uid), is_one, "{uid}");
        }
    }

    #[test]
    fn a_terminal_has_a_display_that_no_other_session_has() {
        let root = machine(X7);
        let text = super::super::logind::tests::OF_LIGHTDM;
        let session = |id: &str, text: &str| Session::parse(id, text).unwrap();
        let terminal = session(
            "4",
            &text.replace("DISPLAY=:0\n", "").replace("=x11", "=tty"),
        );
        let with = |other: &str| {
            let sessions = [terminal.clone(), session("2", other)];
            Displays::new(root.path()).may_be_of(&terminal, &sessions)
        };
        assert!(with(text));
        assert!(!with(&text.replace(":0", ":7.0")));
        let greeter = text
            .replace("CLASS=user", "CLASS=greeter")
            .replace("DISPLAY=:0\n", "");
        assert!(!with(&greeter), "it may be the greeter's");
    }
}
