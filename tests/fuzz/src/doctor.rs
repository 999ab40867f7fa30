//! Any bytes as one of the files that doctor reads, or as what is in the place of one: the first line of the
//! input names the file, with `link` before it for a link that leads to where the rest says, or `folder`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use mfe_watchdog::doctor::{Machine, Systemd, examine};

/// The files, as paths of the machine, with what is usually in them.
const FILES: [(&str, &str); 16] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\npdv:x:1000:1000:PDV:/home/pdv:/bin/sh\n",
    ),
    ("etc/rc.local", "#!/bin/sh\nexit 0\n"),
    (
        "etc/crontab",
        "PATH=/bin\n1 * * * * root run-parts /etc/cron.hourly\n",
    ),
    (
        "etc/anacrontab",
        "1 5 cron.daily run-parts /etc/cron.daily\n",
    ),
    ("etc/cron.d/mfe", "@reboot root /usr/local/sbin/start.sh\n"),
    ("etc/cron.hourly/mfe", "#!/bin/sh\n"),
    (
        "var/spool/cron/crontabs/pdv",
        "*/5 * * * * /usr/local/sbin/start.sh\n",
    ),
    (
        "etc/xdg/autostart/mfe.desktop",
        "[Desktop Entry]\nExec=/bin/true\n",
    ),
    (
        "home/pdv/.config/autostart/mfe.desktop",
        "[Desktop Entry]\nExec=/bin/true\n",
    ),
    (
        "etc/systemd/system/mfe-start.service",
        "[Service]\nExecStart=/usr/local/sbin/start.sh\n",
    ),
    (
        "etc/systemd/system/mfe-start.service.d/a.conf",
        "[Service]\nRestart=no\n",
    ),
    (
        "home/pdv/.config/systemd/user/mon.service",
        "[Service]\nExecStart=/bin/true\n",
    ),
    ("etc/systemd/journald.conf", "[Journal]\nStorage=auto\n"),
    ("usr/local/sbin/start.sh", "#!/bin/sh\nexit 0\n"),
    (
        "opt/sefaz/cco/bin/runcco-ser.sh",
        "#!/bin/sh\nexec /opt/sefaz/cco/bin/Comunicador\n",
    ),
    ("proc/50/cmdline", "/bin/sh\0/usr/local/sbin/start.sh\0"),
];

/// Links that pull in the units.
const PULLED_IN: [(&str, &str); 2] = [
    (
        "etc/systemd/system/multi-user.target.wants/mfe-start.service",
        "../mfe-start.service",
    ),
    (
        "home/pdv/.config/systemd/user/default.target.wants/mon.service",
        "../mon.service",
    ),
];

/// No machine takes longer, however slow the one is that this runs on.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts the bytes into a made-up machine, and looks it over.
pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (head, content) = match end {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    let (kind, name) = match head.iter().position(|byte| *byte == b' ') {
        Some(space) => (&head[..space], &head[space + 1..]),
        None => (&[][..], head),
    };
    let usual = FILES.iter().find(|(file, _)| file.as_bytes() == name);
    let (file, usual) = *usual.unwrap_or(&FILES[1]);
    thread_local! {
        static ROOT: tempfile::TempDir = tree();
    }
    ROOT.with(|root| {
        let path = root.path().join(file);
        fs::remove_file(&path).expect("the usual file is there");
        match kind {
            // What no link can lead to is no link.
            b"link" => drop(symlink(inside(root.path(), content), &path)),
            b"folder" => fs::create_dir(&path).expect("a folder"),
            _ => fs::write(&path, content).expect("the input is written"),
        }
        look_over(root.path());
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        fs::write(&path, usual).expect("the usual content is written");
    });
}

/// Where a link leads to. The machine is a folder of a real one, whose own files say something else each
/// time, or hold up whoever reads them.
fn inside(root: &Path, target: &[u8]) -> PathBuf {
    let target = Path::new(OsStr::from_bytes(target));
    match target.strip_prefix("/") {
        Ok(below) => root.join(below),
        Err(_) => target.to_owned(),
    }
}

/// A machine on which nothing is wrong but what the service's absence makes so.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    let make = |file: &str, content: &[u8]| {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    };
    for (file, content) in FILES {
        make(file, content.as_bytes());
    }
    for (link, target) in PULLED_IN {
        let path = root.path().join(link);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        symlink(target, path).expect("a link");
    }
    make("bin/sh", b"");
    make("opt/sefaz/cco/bin/Comunicador", b"");
    make("proc/50/comm", b"sh\n");
    make(
        "proc/50/stat",
        b"50 (sh) S 1 50 50 0 -1 4194560 103 0 0 0 1 2 0 0 20 0 1 0 4711 2990080 210 1 1 1 0\n",
    );
    make(
        "proc/50/status",
        b"Name:\tsh\nState:\tS (sleeping)\nUid:\t0\t0\t0\t0\nNSpid:\t50\n",
    );
    root
}

fn look_over(root: &Path) {
    let machine = Machine {
        root: root.to_owned(),
        config: None,
        service_user: 0,
        now: SystemTime::now(),
        systemd: Systemd {
            version: Some(252),
            enabled: Some("enabled".into()),
            active: Some("active".into()),
            settings: None,
            is_clock_synchronized: Some(true),
        },
    };
    let begin = Instant::now();
    let examination = examine(&machine);
    assert!(begin.elapsed() < PATIENCE, "it took {:?}", begin.elapsed());
    for finding in &examination.findings {
        let command = finding.command.iter();
        for text in command.chain([&finding.text]) {
            let is_plain = !text.chars().any(char::is_control);
            assert!(is_plain, "not fit for a terminal: {text:?}");
        }
    }
    let shown = examination.to_string();
    let is_plain = !shown.chars().any(|c| c.is_control() && c != '\n');
    assert!(is_plain, "not fit for a terminal: {shown:?}");
}
