//! A server on a socket of the test's own plays systemd.

use std::process::Command;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::*;
use crate::systemd::dbus::Answer;

const UNIT: &str = "mfe@monitor.service";

struct Systemd {
    directory: TempDir,
    listener: UnixListener,
}

impl Systemd {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("private")).unwrap();
        Self {
            directory,
            listener,
        }
    }

    fn begin(&self) -> Job {
        begin(&self.directory.path().join("private"), UNIT).unwrap()
    }

    /// The next connection, which asks to be let in.
    async fn accept(&self) -> Client {
        let mut client = Client(self.listener.accept().await.unwrap().0);
        let uid = rustix::process::geteuid().as_raw().to_string();
        let uid: String = uid.chars().flat_map(|digit| ['3', digit]).collect();
        let request = format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n");
        client.hears(&request).await;
        client
    }

    /// The same, and it is let in.
    async fn let_in(&self) -> Client {
        let mut client = self.accept().await;
        client.says("OK 0123456789abcdef0123456789abcdef\r\n").await;
        client
    }

    /// The same, and it asks for the restart.
    async fn restarts(&self) -> Client {
        let mut client = self.let_in().await;
        let call = client.hears_call().await;
        for word in ["RestartUnit", UNIT, "replace"] {
            assert!(call.contains(word), "{call}");
        }
        client
    }

    /// Tells of the main process: its pid, the pid that it had, how it ended, and the tasks.
    async fn tells(&self, pid: u32, last: u32, code: i32, status: i32, tasks: u64) {
        let mut client = self.let_in().await;
        for name in ["MainPID", "ExecMainPID", "Code", "Status", "Tasks"] {
            let call = client.hears_call().await;
            assert!(call.contains("/unit/mfe_40monitor_2eservice\0"), "{call}");
            assert!(call.contains(name), "{call}");
        }
        client.sends(Answer::signal("UnitNew")).await;
        for (serial, of_type, value) in [
            (1, "u", &pid.to_le_bytes()[..]),
            (2, "u", &last.to_le_bytes()),
            (3, "i", &code.to_le_bytes()),
            (4, "i", &status.to_le_bytes()),
            (5, "t", &tasks.to_le_bytes()),
        ] {
            client.sends(Answer::property(serial, of_type, value)).await;
        }
    }
}

struct Client(UnixStream);

impl Client {
    async fn hears(&mut self, expected: &str) {
        let mut heard = vec![0; expected.len()];
        self.0.read_exact(&mut heard).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), expected);
    }

    /// The text of a whole call.
    async fn hears_call(&mut self) -> String {
        let mut call = vec![0; 16];
        self.0.read_exact(&mut call).await.unwrap();
        let number = |at: usize| u32::from_le_bytes(call[at..at + 4].try_into().unwrap());
        let rest = number(12).next_multiple_of(8) + number(4);
        call.resize(16 + rest as usize, 0);
        self.0.read_exact(&mut call[16..]).await.unwrap();
        String::from_utf8_lossy(&call).into_owned()
    }

    async fn says(&mut self, words: &str) {
        self.0.write_all(words.as_bytes()).await.unwrap();
    }

    async fn sends(&mut self, answer: Answer) {
        self.0.write_all(&answer.into_bytes()).await.unwrap();
    }
}

/// What is told of a restart that has failed.
async fn failure_of(mut job: Job) -> String {
    match job.ended().await {
        StartOutcome::NotRun(StartFailure::Unit(why)) => why.to_string(),
        outcome => panic!("{outcome:?}"),
    }
}

#[tokio::test]
async fn it_is_restarted_and_followed_to_its_end() {
    let systemd = Systemd::new();
    let mut job = systemd.begin();
    let mut client = systemd.restarts().await;
    client.sends(Answer::signal("UnitNew")).await;
    client.sends(Answer::object(1, "/job/77")).await;
    client.sends(Answer::job_removed("/job/7", "failed")).await;
    client.sends(Answer::job_removed("/job/77", "done")).await;
    let mut script = Command::new("true").spawn().unwrap();
    systemd.tells(script.id(), script.id(), 0, 0, 1).await;
    systemd.tells(0, 42, 1, 7, u64::MAX).await;
    let expected = exited(Some(42), ExitStatus::Code(7), false);
    assert_eq!(job.ended().await, expected);
    script.wait().unwrap();
}

#[tokio::test]
async fn what_comes_in_pieces_is_understood() {
    let systemd = Systemd::new();
    let mut job = systemd.begin();
    let mut client = systemd.restarts().await;
    let answers = [
        Answer::object(1, "/job/77"),
        Answer::job_removed("/job/77", "done"),
    ];
    for byte in answers.map(Answer::into_bytes).concat() {
        client.0.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    systemd.tells(0, 42, 2, 9, 2).await;
    let expected = exited(Some(42), ExitStatus::Signal(9), true);
    assert_eq!(job.ended().await, expected);
}

#[tokio::test]
async fn an_error_is_told_in_systemds_words() {
    let systemd = Systemd::new();
    let job = systemd.begin();
    let mut client = systemd.restarts().await;
    let words = "Unit mfe@monitor.service is masked.\n";
    client.sends(Answer::error(1, "x.UnitMasked", words)).await;
    let expected = "systemd was to restart mfe@monitor.service: \
                    Unit mfe@monitor.service is masked.\\n";
    assert_eq!(failure_of(job).await, expected);

    let job = systemd.begin();
    let mut client = systemd.restarts().await;
    client.sends(Answer::error(1, "x.UnitMasked", "")).await;
    let expected = "systemd was to restart mfe@monitor.service: x.UnitMasked";
    assert_eq!(failure_of(job).await, expected);
}

#[tokio::test]
async fn a_job_that_is_not_done_is_told() {
    let systemd = Systemd::new();
    let job = systemd.begin();
    let mut client = systemd.restarts().await;
    client.sends(Answer::object(1, "/job/77")).await;
    client
        .sends(Answer::job_removed("/job/77", "timeout"))
        .await;
    let expected = "systemd was to restart mfe@monitor.service: the result of its job is timeout";
    assert_eq!(failure_of(job).await, expected);
}

/// A systemd that stands still finds nothing that it could do when it goes on.
#[tokio::test]
async fn nothing_is_asked_of_who_does_not_answer() {
    let systemd = Systemd::new();
    let job = systemd.begin();
    let mut client = systemd.accept().await;
    let said = failure_of(job).await;
    assert!(
        said.contains("mfe@monitor.service: systemd doesn't answer on /"),
        "{said}"
    );
    let mut rest = Vec::new();
    client.0.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn who_lets_in_and_then_says_nothing_is_not_waited_for() {
    let systemd = Systemd::new();
    let job = systemd.begin();
    let _client = systemd.restarts().await;
    let said = failure_of(job).await;
    assert!(said.contains("systemd doesn't answer on /"), "{said}");
}

#[tokio::test]
async fn a_job_that_takes_its_time_is_waited_for() {
    let systemd = Systemd::new();
    let mut job = systemd.begin();
    let mut client = systemd.restarts().await;
    client.sends(Answer::object(1, "/job/77")).await;
    assert!(timeout(Duration::from_secs(6), job.ended()).await.is_err());
    job.let_go();
    let expected = exited(None, ExitStatus::Code(0), true);
    assert_eq!(job.ended().await, expected);
    let mut rest = Vec::new();
    client.0.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn who_hangs_up_is_told() {
    let systemd = Systemd::new();
    for lets_in in [false, true] {
        let job = systemd.begin();
        drop(if lets_in {
            systemd.restarts().await
        } else {
            systemd.accept().await
        });
        let said = failure_of(job).await;
        assert!(
            said.contains(": systemd has closed the connection on /"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn who_does_not_let_us_in_is_told() {
    let systemd = Systemd::new();
    let job = systemd.begin();
    systemd.accept().await.says("REJECTED EXTERNAL\r\n").await;
    let said = failure_of(job).await;
    assert!(said.contains("systemd doesn't let us in on /"), "{said}");
    assert!(said.ends_with(": REJECTED EXTERNAL"), "{said}");
}

#[tokio::test]
async fn nonsense_is_told() {
    let systemd = Systemd::new();
    for before in [true, false] {
        let job = systemd.begin();
        let mut client = if before {
            systemd.accept().await
        } else {
            systemd.restarts().await
        };
        client.says(&"nonsense".repeat(200)).await;
        let said = failure_of(job).await;
        assert!(said.ends_with(" makes no sense"), "{said}");
    }
}

#[tokio::test]
async fn who_is_not_there_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let failure = begin(&directory.path().join("private"), UNIT).unwrap_err();
    let said = failure.to_string();
    assert!(
        said.starts_with("systemd was to restart mfe@monitor.service: systemd can't be asked on /"),
        "{said}"
    );
    assert!(
        said.ends_with("No such file or directory (os error 2)"),
        "{said}"
    );
}

/// Nor does anything wait for somebody who doesn't even take connections.
#[tokio::test]
async fn a_queue_that_is_full_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("private");
    let server = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&server, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&server, 0).unwrap();
    let _waits = begin(&path, UNIT).unwrap();
    let said = begin(&path, UNIT).unwrap_err().to_string();
    assert!(said.contains("systemd doesn't answer on /"), "{said}");
}

#[test]
fn a_unit_is_an_object() {
    let unit = "/org/freedesktop/systemd1/unit/";
    for (name, expected) in [
        ("mfe@comunicador.service", "mfe_40comunicador_2eservice"),
        ("7-é_", "_37_2d_c3_a9_5f"),
    ] {
        assert_eq!(path_of(name), format!("{unit}{expected}"));
    }
}
