//! Any bytes as one of the files that /proc has, or as where a process's link to its program leads. The first
//! line of the input names the file.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use mfe_watchdog::proc::{
    CmdlinePattern, Comm, ExePattern, ProcessId, ProcessName, ProcessTable, Target, listening,
    running,
};
use mfe_watchdog::sys::user::User;

/// The process whose files are as they should be, but for the one that the input replaces.
const PID: i32 = 50;

const STAT: &str = "50 (Comunicador) S 1 50 50 0 -1 4194560 103 0 0 0 1 2 0 0 20 0 1 0 4711 \
                    2990080 210 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 \
                    0 0 0 0 0 0\n";

/// The files of a process that are read, and what is in them.
const FILES: [(&str, &str); 5] = [
    ("comm", "Comunicador\n"),
    ("stat", STAT),
    (
        "status",
        "Name:\tComunicador\nState:\tS (sleeping)\nUid:\t0\t0\t0\t0\nNSpid:\t50\n",
    ),
    ("cmdline", "/opt/sefaz/cco/bin/Comunicador\0-v\0"),
    ("cgroup", "0::/system.slice/cco-ser.service\n"),
];

/// Puts the bytes into a made-up /proc and looks.
pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (file, content) = match end {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    if file == b"net/tcp" {
        let _ = listening(&String::from_utf8_lossy(content));
        return;
    }
    thread_local! {
        static ROOT: tempfile::TempDir = tree();
    }
    ROOT.with(|root| {
        if file == b"exe" {
            leads_to(root.path(), content);
        } else {
            look(root.path(), file, content);
        }
    });
}

/// Looks for a program by its path, while the process's link leads there. The tree has no such link else,
/// as a thread of the kernel's hasn't.
fn leads_to(root: &Path, target: &[u8]) {
    let link = root.join(PID.to_string()).join("exe");
    // What no link can lead to is no link.
    let _ = symlink(OsStr::from_bytes(target), &link);
    let wanted = Target {
        exe: Some(ExePattern::new("/opt/sefaz/cco/bin/*").expect("a pattern")),
        ..self::target()
    };
    if let Ok(sighting) = ProcessTable::new(root).look(&wanted) {
        let is_wanted = target.starts_with(b"/opt/sefaz/cco/bin/");
        assert!(is_wanted || sighting.alive.is_empty(), "{sighting:?}");
    }
    let listed = running(root).expect("the table is there");
    assert!(listed.len() <= 2, "{listed:?}");
    let _ = fs::remove_file(link);
}

fn target() -> Target {
    Target::named(ProcessName::new("Comunicador"))
}

/// A /proc with pid 1 and one more.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    let write = |file: &str, content: &str| {
        let path = root.path().join(file);
        let parent = path.parent().expect("a directory");
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, content))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    };
    write("loadavg", "0.00 0.00 0.00 1/1 50\n");
    write("1/comm", "init\n");
    for (file, content) in FILES {
        write(&format!("{PID}/{file}"), content);
    }
    let found = ProcessTable::new(root.path()).look(&target());
    let found = found.expect("a whole table").alive;
    assert_eq!(found.len(), 1, "without any change it is found");
    root
}

fn look(root: &Path, file: &[u8], content: &[u8]) {
    let usual = FILES
        .iter()
        .find(|(name, _)| name.as_bytes() == file)
        .map(|(name, usual)| (root.join(PID.to_string()).join(name), *usual));
    let (path, usual) = usual.unwrap_or_else(|| (root.join("loadavg"), "0.00 0.00 0.00 1/1 50\n"));
    fs::write(&path, content).expect("the input is written");

    let target = target();
    let mut table = ProcessTable::new(root);
    // Any answer will do, but for one about a process that isn't there.
    if let Ok(sighting) = table.look(&target) {
        let only = sighting.alive.iter().all(|found| found.id.pid == PID);
        assert!(only, "{sighting:?}");
        let known: Vec<ProcessId> = sighting.alive.iter().map(|found| found.id).collect();
        let again = table
            .read_names(&[Comm::of(target.name.comm())])
            .and_then(|reading| table.look_for(&target, &known, &reading));
        let confirmed = table.confirm(&target, &known);
        for again in [again.ok(), confirmed.ok().flatten()].into_iter().flatten() {
            assert_eq!(again.alive, sighting.alive, "nothing has changed");
        }
    }
    // The same of a process that has to have certain arguments, too, and a certain user.
    let narrow = Target {
        cmdline: Some(CmdlinePattern::new("cco.jar|-v").expect("a pattern")),
        user: Some(User {
            name: "root".into(),
            uid: 0,
        }),
        ..target
    };
    if let Ok(sighting) = table.look(&narrow) {
        let only = sighting.alive.iter().all(|found| found.id.pid == PID);
        assert!(only, "{sighting:?}");
    }
    let listed = running(root).expect("the table is there");
    let only = listed.iter().all(|process| process.id.pid == PID);
    assert!(only, "{listed:?}");
    fs::write(&path, usual).expect("the usual content is written");
}
