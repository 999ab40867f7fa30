//! The one stand-in for the vendor's closed programs: it notes that it was started and stays, and
//! does nothing else unless it is asked to. It has the name of the file it is started as.
//!
//! `NAME [DIRECTORY [MODE [COUNT [LENGTH]]]]` appends the line `PID NANOSECONDS`, when it began since 1970, to
//! `DIRECTORY/NAME.starts` (which may be a FIFO) as its first act, and ends by itself once that file
//! is gone, so that no failed test leaves it behind. Without a directory, or with `-`, it notes nothing.
//!
//! | mode | what it does besides |
//! |---|---|
//! | `prefork` | begins with a child like itself |
//! | `daemon` | forks twice, into a session of its own, and ends after 4 s; what it leaves is as `rename` |
//! | `busy` | uses all the CPU it gets |
//! | `large` | holds 4 MiB of memory |
//! | `talk` | says something ten times a second, whoever listens |
//! | `desk NUMBER [SECONDS COMMAND ...]` | answers as X display NUMBER, and starts COMMAND after SECONDS |
//! | `window` | ends when the display named by `$DISPLAY` doesn't answer, or no longer does |
//! | `rename` | takes the name that is in `DIRECTORY/PID.name`, once there is such a file |
//! | `many` | begins with COUNT children like itself, each with an argument of LENGTH bytes |
//! | `churn` | the same, and puts another one in the place of each of them, twenty a second |
//! | `deep` | becomes a program of its name whose path is too long to be told |

mod window;

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// It never outlives its test by more than this.
const LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);

fn main() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_nanos();
    let mut arguments = std::env::args_os();
    let program = arguments.next().expect("a name");
    let directory = arguments.next().filter(|directory| directory != "-");
    let mode = arguments.next().unwrap_or_default();
    match mode.to_str() {
        Some("desk") => {
            let words = arguments.map(|word| word.into_string().expect("UTF-8"));
            return window::desk(words);
        }
        Some("window") => return window::window(),
        _ => {}
    }
    let mut number = || arguments.next()?.to_str()?.parse().ok();
    let (count, length) = (number().unwrap_or(1), number().unwrap_or(0));
    let directory = directory.as_deref().map(Path::new);
    let starts = directory.map(|directory| {
        let mut name = Path::new(&program).file_name().expect("a name").to_owned();
        name.push(".starts");
        directory.join(name)
    });
    if let Some(starts) = &starts {
        note(starts, now).expect("the start can't be noted");
    }
    if mode == "prefork" {
        let mut child = Command::new(&program)
            .args(directory)
            .spawn()
            .expect("the child can't be started");
        thread::spawn(move || child.wait());
    }
    match mode.to_str() {
        Some("daemon") => return become_parent(&program, directory),
        Some("between") => return leave_daemon(&program, directory),
        _ => {}
    }
    if mode == "deep" {
        become_deep(&program, directory.expect("usage: NAME DIRECTORY deep"));
    }
    let like_itself = || {
        let mut command = Command::new(&program);
        command.args(directory).arg("idle").arg("x".repeat(length));
        command.spawn().expect("a child can't be started")
    };
    let is_many = mode == "many" || mode == "churn";
    let mut children: VecDeque<Child> = (0..if is_many { count } else { 0 })
        .map(|_| like_itself())
        .collect();
    let held = vec![1_u8; if mode == "large" { 4 << 20 } else { 0 }];
    std::hint::black_box(&held);
    let begin = Instant::now();
    while begin.elapsed() < LIFETIME && starts.as_deref().is_none_or(Path::exists) {
        let second = Instant::now() + Duration::from_secs(1);
        match mode.to_str() {
            Some("busy") => while Instant::now() < second {},
            Some("churn") => repeat(second, Duration::from_millis(50), || {
                if let Some(mut oldest) = children.pop_front() {
                    oldest.kill().expect("a child can be killed");
                    oldest.wait().expect("a child can be reaped");
                }
                children.push_back(like_itself());
            }),
            Some("talk") => repeat(second, Duration::from_millis(100), say),
            Some("rename") => {
                let directory = directory.expect("usage: NAME DIRECTORY rename");
                let order = directory.join(format!("{}.name", std::process::id()));
                repeat(second, Duration::from_millis(20), || take_name(&order));
            }
            _ => thread::sleep(second - Instant::now()),
        }
    }
}

/// Starts the process between a daemon and its parent, and ends when that would hear that all is well.
fn become_parent(program: &OsStr, directory: Option<&Path>) {
    let mut between = Command::new("setsid");
    between.arg(program).args(directory).arg("between");
    between.status().expect("setsid can't be run");
    thread::sleep(Duration::from_secs(4));
}

/// Leaves the daemon behind.
#[expect(
    clippy::zombie_processes,
    reason = "this process ends at once: its child is to be an orphan"
)]
fn leave_daemon(program: &OsStr, directory: Option<&Path>) {
    let mut daemon = Command::new(program);
    daemon.args(directory).arg("rename");
    daemon.spawn().expect("the daemon can't be started");
}

fn note(starts: &Path, now: u128) -> std::io::Result<()> {
    // A FIFO that is opened in both directions and has no reader blocks nobody.
    let mut options = OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).open(starts)?;
    file.write_all(format!("{} {now}\n", std::process::id()).as_bytes())
}

/// Becomes a copy of itself at a path that is longer than any can be told (`path_resolution(7)`, `PATH_MAX`).
fn become_deep(program: &OsStr, directory: &Path) {
    let folder = "d".repeat(200);
    let name = Path::new(program).file_name().expect("a name");
    std::env::set_current_dir(directory).expect("the directory is there");
    for _ in 0..25 {
        // It may be there from an earlier run.
        let _ = fs::create_dir(&folder);
        std::env::set_current_dir(&folder).expect("a folder is made");
    }
    fs::copy("/proc/self/exe", name).expect("the program is copied");
    let error = Command::new(Path::new(".").join(name)).exec();
    panic!("the copy can't be run: {error}");
}

fn repeat(end: Instant, pause: Duration, mut act: impl FnMut()) {
    while Instant::now() < end {
        act();
        thread::sleep(pause);
    }
}

fn say() {
    // Like most programs it doesn't look whether that worked.
    let _ = writeln!(std::io::stdout(), "working");
}

/// The name is in the file as a whole: whoever gives the order renames it into place.
fn take_name(order: &Path) {
    if let Ok(name) = fs::read(order) {
        fs::write("/proc/self/comm", name).expect("a process may name itself");
        fs::remove_file(order).expect("the order is done");
    }
}
