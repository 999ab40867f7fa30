//! The environment of a session: that of the process which knows most of it and shares it with most
//! others. It is read by the session's own user, never by root, who would follow what somebody else wrote.
//! Which session it is was chosen in [`super`].

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::choice::Chosen;
use super::display::{RUNTIME_DIRS, X_SOCKETS, number};
use crate::proc::{Stat, Status};
use crate::sys::child_env::is_ours_alone;
use crate::sys::user::Account;

/// No more of the user's processes are looked at.
const DONORS_MAX: usize = 256;

/// One with a larger environment isn't taken, in bytes.
const ENVIRONMENT_MAX: u64 = 128 * 1024;

/// More of another file of a process isn't read, in bytes.
const FILE_MAX: u64 = 4096;

/// What a program in a session has to know; whoever knows most of it is asked.
const WANTED: [&str; 10] = [
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
    "XDG_CURRENT_DESKTOP",
    "SESSION_MANAGER",
    "LANG",
    "XDG_SESSION_TYPE",
    "XDG_SESSION_ID",
];

/// What belongs to one process: another one that had it would take its window's place, answer a start that
/// wasn't its own, or speak over its connection.
const OF_ONE_PROCESS: [&str; 13] = [
    "_",
    "COLORTERM",
    "DESKTOP_AUTOSTART_ID",
    "DESKTOP_STARTUP_ID",
    "OLDPWD",
    "PWD",
    "SHLVL",
    "TERM",
    "VTE_VERSION",
    "WAYLAND_SOCKET",
    "WINDOWID",
    "WINDOWPATH",
    "XDG_ACTIVATION_TOKEN",
];

/// The same for a whole family of variables.
const OF_ONE_PROCESS_PREFIX: &str = "GIO_LAUNCHED_";

/// How long a display may take to be gone once its first client is.
const GOES_WITHIN: Duration = Duration::from_secs(1);

/// The pause between two questions whether it answers.
const PAUSE: Duration = Duration::from_millis(20);

/// The PATH of a user who has none (login.defs(5), `ENV_PATH`).
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Variables, as execve(2) takes them.
pub type Variables = BTreeMap<Vec<u8>, Vec<u8>>;

/// A process of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Donor {
    /// Its pid.
    pub pid: u32,
    /// When it began, in clock ticks since the boot.
    pub started: u64,
    /// Its control groups, as /proc/PID/cgroup has them.
    pub groups: String,
    /// What it was given.
    pub variables: Variables,
}

/// What a program in a session is given.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) variables: Variables,
    /// As the session's others have it, where the kernel tells.
    pub(crate) umask: Option<u32>,
}

/// Why a program can't be started in a session yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotYet {
    /// None of the user's processes is of this session and has a display.
    NoDonor,
    /// The display doesn't answer.
    NoAnswer,
}

/// What a program is to be given that is started in the session `chosen` of `account`.
///
/// # Errors
/// Why it is to be tried again later.
pub(crate) fn of_session(chosen: &Chosen, account: &Account) -> Result<Given, NotYet> {
    let proc = Path::new("/proc");
    let donors = donors(proc, account.uid);
    let (donor, variables) = pick(&donors, chosen).ok_or(NotYet::NoDonor)?;
    let variables = complete(variables, chosen, account, &wayland_sockets(account.uid));
    if answers(&variables) {
        let status = proc.join(format!("{}/status", donor.pid));
        let status = read(&status, FILE_MAX).unwrap_or_default();
        Ok(Given {
            variables,
            umask: Status::parse(&status).umask,
        })
    } else {
        Err(NotYet::NoAnswer)
    }
}

/// Takes /proc/PID/environ apart. Of a name that is there twice the first counts, as for getenv(3).
#[must_use]
pub fn parse(environ: &[u8]) -> Variables {
    let mut variables = Variables::new();
    for pair in environ.split(|byte| *byte == 0) {
        let at = pair
            .iter()
            .position(|byte| *byte == b'=')
            .filter(|at| *at > 0);
        if let Some(at) = at {
            let (name, value) = (pair[..at].to_vec(), pair[at + 1..].to_vec());
            variables.entry(name).or_insert(value);
        }
    }
    variables
}

/// The variables that most of the session's processes share, of those processes that know most, and one of
/// these; `None` if none of them has a display.
#[must_use]
pub fn pick<'a>(donors: &'a [Donor], chosen: &Chosen) -> Option<(&'a Donor, Variables)> {
    let of_session = donors.iter().filter(|donor| is_of(donor, chosen));
    let candidates: Vec<(&Donor, Variables)> = of_session
        .filter(|donor| {
            knows(&donor.variables, "DISPLAY") || knows(&donor.variables, "WAYLAND_DISPLAY")
            // A compositor's own children may have its socket alone, which completes them.
            || chosen.is_wayland && knows(&donor.variables, "WAYLAND_SOCKET")
        })
        .map(|donor| (donor, shared(&donor.variables)))
        .collect();
    let mut votes: BTreeMap<&Variables, usize> = BTreeMap::new();
    for (_, variables) in &candidates {
        *votes.entry(variables).or_default() += 1;
    }
    let best = candidates.iter().max_by_key(|(donor, variables)| {
        let known = WANTED.iter().filter(|name| knows(variables, name)).count();
        let has_terminal = donor.variables.contains_key(b"TERM".as_slice());
        (
            known,
            !has_terminal,
            votes[variables],
            Reverse(donor.started),
        )
    });
    best.cloned()
}

fn knows(variables: &Variables, name: &str) -> bool {
    variables
        .get(name.as_bytes())
        .is_some_and(|value| !value.is_empty())
}

fn text<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
    let value = variables
        .get(name.as_bytes())
        .filter(|value| !value.is_empty())?;
    std::str::from_utf8(value).ok()
}

/// Whether a process belongs to the session. Desktops that systemd runs for a user name no session.
fn is_of(donor: &Donor, chosen: &Chosen) -> bool {
    let display = |name| text(&donor.variables, name);
    let has_display =
        |known: &str| display("DISPLAY").is_none_or(|own| number(own) == number(known));
    if !chosen.display.as_deref().is_none_or(has_display) {
        return false;
    }
    if !chosen.is_known {
        return true;
    }
    match text(&donor.variables, "XDG_SESSION_ID") {
        Some(id) => id == chosen.id,
        None => {
            let units = [
                format!("session-{}.scope", chosen.id),
                format!("user@{}.service", chosen.uid),
            ];
            let mut parts = donor.groups.split(['/', '\n']);
            parts.any(|part| units.iter().any(|unit| unit == part))
        }
    }
}

/// What of its variables a process has in common with others of its session.
fn shared(variables: &Variables) -> Variables {
    let is_shared = |name: &[u8]| {
        let name = String::from_utf8_lossy(name);
        !OF_ONE_PROCESS.contains(&name.as_ref())
            && !name.starts_with(OF_ONE_PROCESS_PREFIX)
            && !is_ours_alone(&name)
    };
    let shared = variables.iter().filter(|(name, _)| is_shared(name));
    shared
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Adds what logind, the account and the user's sockets tell and the session's process didn't know.
#[must_use]
pub(crate) fn complete(
    mut variables: Variables,
    chosen: &Chosen,
    account: &Account,
    wayland_sockets: &[String],
) -> Variables {
    use std::os::unix::ffi::OsStrExt;
    let mut add = |name: &str, value: &[u8]| {
        if !value.is_empty() && !knows(&variables, name) {
            variables.insert(name.into(), value.into());
        }
    };
    add(
        "DISPLAY",
        chosen.display.as_deref().unwrap_or_default().as_bytes(),
    );
    if let Some(socket) = wayland_sockets.first() {
        add(
            "XDG_RUNTIME_DIR",
            runtime_dir(account.uid).as_os_str().as_bytes(),
        );
        if chosen.is_wayland {
            add("WAYLAND_DISPLAY", socket.as_bytes());
        }
    }
    let shell = account.shell.as_os_str().as_bytes();
    add("HOME", account.home.as_os_str().as_bytes());
    add("USER", account.name.as_bytes());
    add("LOGNAME", account.name.as_bytes());
    add("SHELL", if shell.is_empty() { b"/bin/sh" } else { shell });
    add("PATH", USUAL_PATH.as_bytes());
    variables
}

fn runtime_dir(uid: u32) -> PathBuf {
    PathBuf::from(format!("{RUNTIME_DIRS}{uid}"))
}

/// The names of Wayland's sockets that a user has, the first one first.
fn wayland_sockets(uid: u32) -> Vec<String> {
    let entries = fs::read_dir(runtime_dir(uid))
        .into_iter()
        .flatten()
        .flatten();
    let sockets = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
    let names = sockets.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("wayland-")).collect();
    names.sort_unstable();
    names
}

/// Whether one of the displays of these variables answers. One on another machine is taken at its word.
#[must_use]
pub fn answers(variables: &Variables) -> bool {
    let display = text(variables, "DISPLAY");
    let is_elsewhere = display.is_some_and(|display| number(display).is_none());
    let x11 = display
        .and_then(number)
        .map(|number| format!("{X_SOCKETS}{number}"));
    let x11 = x11.is_some_and(|path| {
        let abstracted = SocketAddrUnix::new_abstract_name(path.as_bytes());
        accepts(SocketAddrUnix::new(path.as_str())) || accepts(abstracted)
    });
    let wayland = text(variables, "WAYLAND_DISPLAY").is_some_and(|name| {
        let folder = text(variables, "XDG_RUNTIME_DIR").unwrap_or_default();
        accepts(SocketAddrUnix::new(Path::new(folder).join(name)))
    });
    is_elsewhere || x11 || wayland
}

/// Whether the display of these variables stops answering within a second, as it does while a session ends:
/// a program with a window may notice that before the server's socket is gone.
pub(crate) fn goes_away(variables: &Variables) -> bool {
    let end = Instant::now() + GOES_WITHIN;
    while answers(variables) {
        if Instant::now() >= end {
            return false;
        }
        sleep(PAUSE);
    }
    true
}

/// Whether somebody listens there, without waiting for him.
fn accepts(address: Result<SocketAddrUnix, Errno>) -> bool {
    let connected = address.and_then(|address| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &address)
    });
    // A full queue is somebody's who is busy.
    matches!(connected, Ok(()) | Err(Errno::AGAIN))
}

/// The user's processes, by pid, as far as they can be read.
fn donors(proc: &Path, uid: u32) -> Vec<Donor> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let mut own: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let is_own = entry.metadata().ok()?.uid() == uid;
            (is_own && pid != std::process::id()).then(|| (pid, entry.path()))
        })
        .collect();
    own.sort_unstable();
    let donors = own.into_iter().take(DONORS_MAX).filter_map(|(pid, path)| {
        let stat = read(&path.join("stat"), FILE_MAX).ok()?;
        let groups = read(&path.join("cgroup"), FILE_MAX).unwrap_or_default();
        let environ = read(&path.join("environ"), ENVIRONMENT_MAX + 1).ok()?;
        (environ.len() as u64 <= ENVIRONMENT_MAX).then_some(())?;
        Some(Donor {
            pid,
            started: Stat::parse(&stat)?.start_time,
            groups: String::from_utf8_lossy(&groups).into_owned(),
            variables: parse(&environ),
        })
    });
    donors.collect()
}

fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use proptest::prelude::*;

    use super::*;

    fn chosen() -> Chosen {
        Chosen {
            id: "2".into(),
            uid: 1000,
            display: Some(":0".into()),
            is_wayland: false,
            is_known: true,
            leader: None,
            began: None,
        }
    }

    fn variables(pairs: &[&str]) -> Variables {
        parse(pairs.join("\0").as_bytes())
    }

    fn donor(started: u64, pairs: &[&str]) -> Donor {
        Donor {
            pid: 42,
            started,
            groups: "0::/user.slice/user-1000.slice/session-2.scope\n".into(),
            variables: variables(pairs),
        }
    }

    fn picked(donors: &[Donor], chosen: &Chosen) -> Option<Variables> {
        pick(donors, chosen).map(|(_, variables)| variables)
    }

    fn account() -> Account {
        Account {
            name: "pdv".into(),
            uid: 1000,
            gid: 1000,
            home: "/home/pdv".into(),
            shell: PathBuf::new(),
        }
    }

    #[test]
    fn an_environment_is_read_as_the_kernel_shows_it() {
        let read = parse(b"A=1\0B=x=y\0A=2\0=z\0nothing\0C=\0");
        let expected = [("A", "1"), ("B", "x=y"), ("C", "")];
        let expected = expected.map(|(name, value)| (name.into(), value.into()));
        assert_eq!(read, Variables::from(expected));
    }

    #[test]
    fn who_knows_most_is_asked_then_whom_most_others_are_like() {
        let bare = donor(1, &["DISPLAY=:0", "XDG_SESSION_ID=2", "POISON=1"]);
        let first = donor(
            2,
            &["DISPLAY=:0", "XAUTHORITY=/x", "XDG_SESSION_ID=2", "SCALE=1"],
        );
        let two = [
            "DISPLAY=:0.0",
            "XAUTHORITY=/x",
            "XDG_SESSION_ID=2",
            "SCALE=2",
        ];
        let donors = [bare.clone(), first.clone(), donor(3, &two), donor(4, &two)];
        assert_eq!(picked(&donors, &chosen()), Some(variables(&two)));
        let terminal = [&two[..], &["TERM=xterm", "SHLVL=1", "PS1=$"]].concat();
        let donors = [first.clone(), donor(5, &terminal), donor(6, &terminal)];
        assert_eq!(picked(&donors, &chosen()), Some(first.variables));
        assert_eq!(picked(&[bare], &chosen()).unwrap().len(), 3);
        assert_eq!(picked(&[], &chosen()), None);
    }

    #[test]
    fn only_the_sessions_own_processes_are_asked() {
        let display = "DISPLAY=:0";
        assert_eq!(
            picked(&[donor(1, &["LANG=C"])], &chosen()),
            None,
            "no display"
        );
        assert_eq!(
            picked(&[donor(1, &[display, "XDG_SESSION_ID=3"])], &chosen()),
            None
        );
        assert_eq!(picked(&[donor(1, &["DISPLAY=:1"])], &chosen()), None);
        assert!(picked(&[donor(1, &["DISPLAY=:0.0"])], &chosen()).is_some());
        let in_group = |groups: &str| {
            let donor = Donor {
                groups: groups.into(),
                ..donor(1, &[display])
            };
            picked(&[donor], &chosen()).is_some()
        };
        assert!(in_group(
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope\n"
        ));
        assert!(in_group(
            "1:name=systemd:/user.slice/user-1000.slice/session-2.scope\n"
        ));
        assert!(!in_group(
            "0::/user.slice/user-1000.slice/session-22.scope\n"
        ));
        assert!(!in_group("0::/system.slice/ssh.service\n"));
        assert!(!in_group(""));
        let unknown = Chosen {
            is_known: false,
            display: None,
            ..chosen()
        };
        let elsewhere = Donor {
            groups: String::new(),
            ..donor(1, &["DISPLAY=:5", "XDG_SESSION_ID=9"])
        };
        assert!(
            picked(&[elsewhere], &unknown).is_some(),
            "logind knows no session"
        );
    }

    #[test]
    fn what_belongs_to_one_process_is_left_out() {
        let own = [
            "DISPLAY=:0",
            "WINDOWID=5",
            "SHLVL=1",
            "WAYLAND_SOCKET=7",
            "GIO_LAUNCHED_DESKTOP_FILE=/x",
            "INVOCATION_ID=a",
            "NOTIFY_SOCKET=/x",
            "_=/bin/x",
        ];
        assert_eq!(
            picked(&[donor(1, &own)], &chosen()),
            Some(variables(&["DISPLAY=:0"]))
        );
    }

    #[test]
    fn what_is_missing_is_completed() {
        let all = |variables: Variables, chosen: &Chosen| {
            complete(variables, chosen, &account(), &["wayland-0".into()])
        };
        let from_tty = all(variables(&["PATH=/x", "HOME="]), &chosen());
        let expected = [
            "DISPLAY=:0",
            "HOME=/home/pdv",
            "LOGNAME=pdv",
            "PATH=/x",
            "SHELL=/bin/sh",
            "USER=pdv",
            "XDG_RUNTIME_DIR=/run/user/1000",
        ];
        assert_eq!(from_tty, variables(&expected));
        let weston = Chosen {
            is_wayland: true,
            display: None,
            ..chosen()
        };
        let child = donor(1, &["WAYLAND_SOCKET=7", "XDG_SESSION_ID=2"]);
        let child = all(picked(&[child], &weston).unwrap(), &weston);
        assert_eq!(text(&child, "WAYLAND_DISPLAY"), Some("wayland-0"));
        assert!(!child.contains_key(b"WAYLAND_SOCKET".as_slice()));
    }

    #[test]
    fn a_display_answers_if_somebody_listens() {
        let directory = tempfile::tempdir().unwrap();
        let folder = format!("XDG_RUNTIME_DIR={}", directory.path().display());
        let wayland = variables(&[&folder, "WAYLAND_DISPLAY=wayland-7"]);
        assert!(!answers(&wayland));
        let listener = UnixListener::bind(directory.path().join("wayland-7")).unwrap();
        assert!(answers(&wayland) && !goes_away(&wayland));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sleep(10 * PAUSE);
                drop(listener);
            });
            assert!(goes_away(&wayland), "while it is looked");
        });
        assert!(!answers(&wayland), "the socket is left over");
        assert!(!answers(&variables(&["DISPLAY=:4294967295"])));
        assert!(
            answers(&variables(&["DISPLAY=localhost:10.0"])),
            "it can't be asked"
        );
        assert!(!answers(&Variables::new()));
    }

    #[test]
    fn ones_own_processes_can_be_read() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .env("MFE_DONOR", "1")
            .spawn()
            .unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let is_child = |donor: &Donor| donor.variables.contains_key(b"MFE_DONOR".as_slice());
        // Between fork and exec it has the environment of the test.
        let begin = std::time::Instant::now();
        let mut found = false;
        while !found && begin.elapsed().as_secs() < 30 {
            let path = format!("/proc/{}/environ", child.id());
            found = is_child(&Donor {
                pid: child.id(),
                started: 0,
                groups: String::new(),
                variables: parse(&fs::read(path).unwrap()),
            });
        }
        let donors = donors(Path::new("/proc"), uid);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found && donors.len() <= DONORS_MAX);
        assert!(donors.len() == DONORS_MAX || donors.iter().any(is_child));
    }

    proptest! {
        #[test]
        fn what_is_picked_is_one_process_own_without_what_is_only_its(
            donors in proptest::collection::vec(
                (0..4_u64, proptest::collection::vec(
                    "(DISPLAY|WAYLAND_DISPLAY|LANG|TERM|WINDOWID|GIO_LAUNCHED_X|XDG_SESSION_ID)=(:0|:1|2|3|)",
                    0..5,
                )),
                0..6,
            )
        ) {
            let donors: Vec<Donor> = donors
                .into_iter()
                .map(|(started, pairs)| Donor {
                    variables: parse(pairs.join("\0").as_bytes()),
                    ..donor(started, &[])
                })
                .collect();
            let Some(first) = picked(&donors, &chosen()) else {
                let mut usable = donors.iter().filter(|donor| is_of(donor, &chosen()));
                let has = |donor: &Donor| {
                    knows(&donor.variables, "DISPLAY") || knows(&donor.variables, "WAYLAND_DISPLAY")
                };
                prop_assert!(!usable.any(has));
                return Ok(());
            };
            prop_assert!(knows(&first, "DISPLAY") || knows(&first, "WAYLAND_DISPLAY"));
            for name in ["TERM", "WINDOWID", "GIO_LAUNCHED_X"] {
                prop_assert!(!first.contains_key(name.as_bytes()));
            }
            let mut owners = donors.iter().filter(|donor| is_of(donor, &chosen()));
            prop_assert!(owners.any(|donor| shared(&donor.variables) == first));
            // The order in which processes are met is of no account.
            let mut reversed = donors.clone();
            reversed.reverse();
            let again = picked(&reversed, &chosen()).unwrap();
            let known = |variables: &Variables| {
                WANTED.iter().filter(|name| knows(variables, name)).count()
            };
            prop_assert_eq!(known(&again), known(&first));
        }
    }
}
