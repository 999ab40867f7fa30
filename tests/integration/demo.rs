//! The demo that the README promises: the whole of it, interrupted, and refused. Each runs in a PID
//! namespace of its own, for it uses the vendor's own names; what the service does is tested
//! elsewhere.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use mfe_kit::{DEADLINE, Need, STANDIN, clean, eventually, is_root, needs, pipe};

/// Longer than any line of the demo, in bytes.
const LINE_MAX: usize = 200;

/// One run of the demo. Dropping it ends everything in its namespace.
struct Show {
    directory: TempDir,
    unshare: Child,
    reader: Option<OwnedFd>,
}

/// What a run of the demo has come to.
struct Ended {
    exit_code: i32,
    text: String,
    /// The names of the processes that are still there, zombies included.
    left: Vec<String>,
    /// What is still in the directory for temporary files.
    files: Vec<PathBuf>,
}

/// The demo, as `cargo test` has built it.
fn demo() -> PathBuf {
    let this_test = std::env::current_exe().unwrap();
    let profile = this_test.parent().and_then(|deps| deps.parent()).unwrap();
    let demo = profile.join("examples/demo");
    assert!(
        demo.exists(),
        "{} is missing: run `cargo test` whole, which builds the examples too",
        demo.display()
    );
    demo
}

impl Show {
    /// Runs the demo after a shell command that finds the demo in $0 and the directory in $1. The
    /// demo is held up once it has said `room` bytes, until somebody reads them.
    fn start(before: &str, room: usize) -> Self {
        let directory = tempfile::Builder::new().prefix("mfe-").tempdir().unwrap();
        let (reader, writer) = pipe();
        let size = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        let mut writer = fs::File::from(writer);
        let filler = usize::try_from(size).unwrap() - room;
        writer.write_all("\n".repeat(filler).as_bytes()).unwrap();

        let mut unshare = clean(Command::new("unshare"));
        if !is_root() {
            unshare.arg("--map-root-user");
        }
        let script = format!("{before} \"$0\" 2>&1; echo \"exit code $?\"; read -r end");
        let unshare = unshare
            .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
            .args(["sh", "-c", &script])
            .arg(demo())
            .arg(directory.path())
            .env("TMPDIR", directory.path())
            .stdin(Stdio::piped())
            .stdout(writer)
            .spawn()
            .unwrap();
        Self {
            directory,
            unshare,
            reader: Some(reader),
        }
    }

    /// The namespace's pid 1, which gets every orphan in it.
    fn shell(&self) -> i32 {
        let unshare = i32::try_from(self.unshare.id()).unwrap();
        eventually("the shell", || Some(children(unshare).first()?.0))
    }

    /// Waits until the demo has said so many bytes and signals it then.
    fn interrupt(&self, after: usize, room: usize, signal: Signal) {
        let reader = self.reader.as_ref().unwrap();
        let size = fcntl(reader, FcntlArg::F_GETPIPE_SZ).unwrap();
        let awaited = size - i32::try_from(room - after).unwrap();
        eventually(("bytes said", after), || {
            let said = rustix::io::ioctl_fionread(reader).unwrap();
            (said >= awaited.try_into().unwrap()).then_some(())
        });
        let demo = children(self.shell());
        let (pid, _) = demo.iter().find(|(_, name)| name == "demo").unwrap();
        kill(Pid::from_raw(*pid), signal).unwrap();
    }

    /// Reads what the demo says, to its end.
    fn end(mut self) -> Ended {
        let lines = read_lines(self.reader.take().unwrap());
        let mut text = String::new();
        let exit_code = loop {
            let line = lines.recv_timeout(DEADLINE).expect(&text);
            if let Some(code) = line.strip_prefix("exit code ") {
                break code.parse().unwrap();
            }
            text += &line;
            text.push('\n');
        };
        print!("{}", text.trim_start());
        let entries = fs::read_dir(self.directory.path()).unwrap();
        Ended {
            exit_code,
            text,
            left: children(self.shell())
                .into_iter()
                .map(|(_, name)| name)
                .collect(),
            files: entries.map(|entry| entry.unwrap().path()).collect(),
        }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

fn read_lines(reader: impl Into<fs::File>) -> Receiver<String> {
    let (sender, receiver) = channel();
    let reader: Box<dyn Read + Send> = Box::new(reader.into());
    std::thread::spawn(move || {
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The children of a process, zombies included: pid and name.
fn children(parent: i32) -> Vec<(i32, String)> {
    let processes = procfs::process::all_processes().unwrap();
    let stats = processes.filter_map(|process| process.ok()?.stat().ok());
    stats
        .filter(|stat| stat.ppid == parent)
        .map(|stat| (stat.pid, stat.comm))
        .collect()
}

#[test]
fn it_shows_what_the_readme_promises() {
    needs!(Need::Namespaces);
    let ended = Show::start("", 4096).end();
    let text = &ended.text;
    assert_eq!(ended.exit_code, 0);
    for (times, promised) in [
        (1, "was already running"),
        (1, "Comunicador was adopted and not started twice"),
        (1, "was killed by SIGKILL; no sale is possible"),
        (2, " is back (pid "),
        (2, " ms as the demo measured it"),
        (1, "\"Comunicador <defunct>\""),
        (2, " 1 today "),
        (2, "ms, killed"),
        (2, " still runs."),
        (1, "Nothing is left behind."),
    ] {
        let said = text.matches(promised).count();
        assert!(said >= times, "{promised:?}: {said} times\n{text}");
    }
    assert!(!text.contains("MFE_"), "that is for machines: {text}");
    for name in ["Comunicador", "Monitor"] {
        let back = text.lines().filter(|line| line.contains(" is back (pid "));
        assert_eq!(back.filter(|line| line.contains(name)).count(), 1, "{name}");
    }
    assert!(ended.left.is_empty(), "left running: {:?}", ended.left);
    assert!(ended.files.is_empty(), "left behind: {:?}", ended.files);
}

#[test]
fn interrupted_anywhere_it_leaves_nothing_behind() {
    needs!(Need::Namespaces);
    for (said, signal) in [
        (1, Signal::SIGINT),
        (500, Signal::SIGTERM),
        (1000, Signal::SIGINT),
        (1500, Signal::SIGTERM),
        (2000, Signal::SIGINT),
        (2300, Signal::SIGHUP),
    ] {
        let room = said + LINE_MAX;
        let show = Show::start("", room);
        show.interrupt(said, room, signal);
        let ended = show.end();
        assert_eq!(ended.exit_code, 128 + signal as i32, "{}", ended.text);
        let interrupted = format!("Interrupted by {signal}.");
        assert!(ended.text.contains(&interrupted), "{}", ended.text);
        assert!(ended.left.is_empty(), "left running: {:?}", ended.left);
        assert!(ended.files.is_empty(), "left behind: {:?}", ended.files);
    }
}

#[test]
fn it_leaves_a_real_program_alone() {
    needs!(Need::Namespaces);
    let real = format!(
        "ln -s '{STANDIN}' \"$1/Monitor\"; \"$1/Monitor\" \"$1\" & \
         until [ -s \"$1/Monitor.starts\" ]; do sleep 0.01; done;"
    );
    let ended = Show::start(&real, 4096).end();
    assert_eq!(ended.exit_code, 1);
    let refused = "Monitor already runs on this machine";
    assert!(ended.text.contains(refused), "{}", ended.text);
    assert_eq!(ended.left, ["Monitor"]);
    assert_eq!(
        ended.files.len(),
        2,
        "nothing but the real one's: {:?}",
        ended.files
    );
}
