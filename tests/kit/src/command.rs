//! Runs a command to its end, within the deadline, and in a mount namespace where a test needs
//! system directories of its own.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use crate::service::clean;
use crate::wait::eventually;

/// What a command has said and how it has ended.
#[derive(Debug)]
pub struct Output {
    /// How it has ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Output {
    /// The exit code; a command that was killed has none, which no test expects.
    pub fn code(&self) -> i32 {
        self.status.code().expect("an exit code")
    }
}

/// A pipe that no child inherits, its reader first. (std's own is younger than the oldest toolchain.)
pub fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap()
}

/// A child that is killed when dropped.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command that is expected to end by itself.
pub fn output(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Guard(child.spawn().unwrap());
    let stdout = collect(child.0.stdout.take().unwrap());
    let stderr = collect(child.0.stderr.take().unwrap());
    let status = eventually(("the end of", &command), || child.0.try_wait().unwrap());
    Output {
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}

/// A command that runs `program` in a mount namespace of its own, after the shell has run `setup`
/// there; both may use what is set in the command's environment. `program` keeps the pid of the
/// command, and its arguments are those that are appended.
pub fn in_mount_namespace(setup: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--mount", "sh", "-e", "-c"])
        .arg(format!("{setup}\nexec \"$@\""))
        .arg("sh")
        .arg(program);
    clean(command)
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
