//! A server on a socket of the test's own plays systemd.

use std::process::Command;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::*;
use crate::machine::StartFailure;
use crate::sys::host::Moment;
use crate::systemd::dbus::Answer;

const UNIT: &str = "mfe@monitor.service";

/// When the process was found gone, in seconds since the boot.
const LOOKED: u64 = 100;

/// When it was last found alive.
const ALIVE: u64 = LOOKED - 10;

/// Longer than what is waited for should take, on a machine that is busy.
const LONG: Duration = Duration::from_secs(60);

struct Systemd {
    directory: TempDir,
    private: UnixListener,
}

/// How the unit fares.
#[derive(Clone, Copy)]
struct Fares {
    job: u32,
    active: &'static str,
    sub: &'static str,
    /// In seconds since the boot.
    started: u64,
    main_started: u64,
    main: u32,
    last: u32,
    code: i32,
    status: i32,
    result: &'static str,
}

/// As the last start has left it, long before.
const BEFORE: Fares = Fares {
    job: 0,
    active: "active",
    sub: "exited",
    started: LOOKED - 50,
    main_started: LOOKED - 50,
    main: 0,
    last: 41,
    code: 1,
    status: 0,
    result: "success",
};

/// A start that is younger than the look, whose main process has failed.
const AFTER: Fares = Fares {
    started: LOOKED + 1,
    main_started: LOOKED + 1,
    last: 42,
    status: 7,
    ..BEFORE
};

impl Systemd {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let private = UnixListener::bind(path.join("private")).unwrap();
        // A machine on which nobody is left of anything.
        std::fs::create_dir_all(path.join("sys/fs/cgroup")).unwrap();
        std::fs::write(path.join("sys/fs/cgroup/cgroup.controllers"), "").unwrap();
        std::fs::create_dir_all(path.join("proc/1")).unwrap();
        std::fs::write(path.join("proc/1/cgroup"), "0::/init.scope\n").unwrap();
        Self { directory, private }
    }

    fn sockets(&self) -> Sockets {
        Sockets {
            private: self.directory.path().join("private"),
            bus: self.directory.path().join("bus"),
        }
    }

    /// No connection, as yet.
    fn closed(&self) -> Standby {
        Standby::on(self.sockets())
    }

    /// A connection that is open already, and on which systemd has said this.
    async fn open(&self, said: &[u8]) -> (Standby, Client) {
        let standby = self.closed();
        standby.keep();
        let mut client = self.accept().await;
        client.stream.write_all(said).await.unwrap();
        (standby, client)
    }

    fn restart(&self, is_ours: bool) -> Job {
        self.restart_with(is_ours, PATIENCE)
    }

    fn restart_with(&self, is_ours: bool, patience: Patience) -> Job {
        let request = request(is_ours);
        begin_restart(request, &self.closed(), patience)
    }

    /// The next connection, which is let in.
    async fn accept(&self) -> Client {
        Client::let_in(&self.private).await
    }
}

fn request(is_ours: bool) -> Request {
    Request {
        unit: UNIT.to_owned(),
        is_ours,
        looks: Looks {
            gone: at(LOOKED),
            alive: Some(at(ALIVE)),
        },
    }
}

fn at(seconds: u64) -> Moment {
    Moment {
        monotonic: Duration::from_secs(seconds),
        ticks: 0,
    }
}

struct Client {
    stream: UnixStream,
    /// The serial of the last call.
    serial: u32,
}

impl Client {
    /// The next one, which asks to be let in.
    async fn accept(listener: &UnixListener) -> Self {
        let accepted = timeout(LONG, listener.accept()).await.unwrap().unwrap();
        let mut client = Self {
            stream: accepted.0,
            serial: 0,
        };
        let uid = rustix::process::geteuid().as_raw().to_string();
        let uid: String = uid.chars().flat_map(|digit| ['3', digit]).collect();
        client
            .hears(&format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n"))
            .await;
        client
    }

    async fn let_in(listener: &UnixListener) -> Self {
        let mut client = Self::accept(listener).await;
        client.says("OK 0123456789abcdef0123456789abcdef\r\n").await;
        client
    }

    async fn hears(&mut self, expected: &str) {
        let mut heard = vec![0; expected.len()];
        self.stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), expected);
    }

    /// The text of a whole call, which is to have these words.
    async fn hears_call(&mut self, words: &[&str]) {
        let mut call = vec![0; 16];
        let read = timeout(LONG, self.stream.read_exact(&mut call)).await;
        read.unwrap().unwrap();
        let number = |at: usize| u32::from_le_bytes(call[at..at + 4].try_into().unwrap());
        self.serial = number(8);
        let rest = number(12).next_multiple_of(8) + number(4);
        call.resize(16 + rest as usize, 0);
        self.stream.read_exact(&mut call[16..]).await.unwrap();
        let call = String::from_utf8_lossy(&call);
        for word in words {
            assert!(call.contains(word), "{word} isn't in {call}");
        }
    }

    async fn says(&mut self, words: &str) {
        self.stream.write_all(words.as_bytes()).await.unwrap();
    }

    async fn sends(&mut self, answer: Answer) {
        self.stream.write_all(&answer.into_bytes()).await.unwrap();
    }

    /// Is asked how the unit fares, and tells it.
    async fn tells(&mut self, fares: Fares) {
        let object = "/unit/mfe_40monitor_2eservice\0";
        let (started, main_started) = (fares.started * 1_000_000, fares.main_started * 1_000_000);
        self.sends(Answer::signal("UnitNew")).await;
        self.hears_call(&[object, "Job"]).await;
        self.sends(Answer::job(self.serial, fares.job)).await;
        self.hears_call(&[object, "ActiveState"]).await;
        self.sends(Answer::text(self.serial, fares.active)).await;
        self.hears_call(&[object, "SubState"]).await;
        self.sends(Answer::text(self.serial, fares.sub)).await;
        self.tells_number("InactiveExit", "t", &started.to_le_bytes())
            .await;
        self.hears_call(&[object, "Result"]).await;
        self.sends(Answer::text(self.serial, fares.result)).await;
        self.tells_number("ExecMainStart", "t", &main_started.to_le_bytes())
            .await;
        self.tells_number("MainPID", "u", &fares.main.to_le_bytes())
            .await;
        self.tells_number("ExecMainPID", "u", &fares.last.to_le_bytes())
            .await;
        self.tells_number("ExecMainCode", "i", &fares.code.to_le_bytes())
            .await;
        self.tells_number("ExecMainStatus", "i", &fares.status.to_le_bytes())
            .await;
    }

    async fn tells_number(&mut self, name: &str, of_type: &'static str, value: &[u8]) {
        self.hears_call(&[name]).await;
        self.sends(Answer::property(self.serial, of_type, value))
            .await;
    }

    /// Is asked for the restart.
    async fn hears_restart(&mut self) {
        self.hears_call(&["RestartUnit", UNIT, "fail"]).await;
    }

    /// Is asked for it, and accepts it.
    async fn accepts(&mut self) {
        self.hears_restart().await;
        self.sends(Answer::object(self.serial, "/job/77")).await;
    }

    /// Refuses what it was asked for.
    async fn refuses(&mut self, name: &str, words: &str) {
        self.sends(Answer::error(self.serial, name, words)).await;
    }

    async fn is_done(&mut self, result: &str) {
        self.sends(Answer::job_removed("/job/7", "failed")).await;
        self.sends(Answer::job_removed("/job/77", result)).await;
    }

    /// Hears nothing more but the end.
    async fn ends(mut self) {
        let mut rest = Vec::new();
        let read = timeout(LONG, self.stream.read_to_end(&mut rest)).await;
        read.unwrap().unwrap();
        assert!(rest.is_empty(), "{rest:?}");
    }

    /// Hears the end, whatever comes before.
    async fn ends_sometime(mut self) {
        let mut rest = Vec::new();
        let read = timeout(LONG, self.stream.read_to_end(&mut rest)).await;
        read.unwrap().unwrap();
    }
}

async fn outcome_of(mut job: Job) -> StartOutcome {
    timeout(LONG, job.ended()).await.unwrap()
}

/// What is told of a restart that has failed.
async fn failure_of(job: Job) -> String {
    match outcome_of(job).await {
        StartOutcome::NotRun(StartFailure::Unit(why)) => why.to_string(),
        outcome => panic!("{outcome:?}"),
    }
}

/// What came of the start in [`AFTER`].
fn has_failed() -> StartOutcome {
    exited(Some(42), ExitStatus::Code(7))
}

#[tokio::test]
async fn it_is_restarted_and_followed_to_its_end() {
    let systemd = Systemd::new();
    let job = systemd.restart(true);
    let mut client = systemd.accept().await;
    client.tells(BEFORE).await;
    client.accepts().await;
    client.is_done("done").await;
    let mut script = Command::new("true").spawn().unwrap();
    let main = script.id();
    client.tells(Fares { main, ..AFTER }).await;
    client.tells(AFTER).await;
    assert_eq!(outcome_of(job).await, has_failed());
    client.ends().await;
    script.wait().unwrap();
}

#[tokio::test]
async fn a_connection_that_is_open_already_is_used_once() {
    let systemd = Systemd::new();
    let signal = Answer::signal("UnitNew").into_bytes();
    let (half, rest) = signal.split_at(20);
    let (standby, mut client) = systemd.open(&[&signal, half].concat()).await;
    standby.keep();
    client.stream.write_all(rest).await.unwrap();
    let job = begin_restart(request(true), &standby, PATIENCE);
    let second = begin_restart(request(true), &standby, PATIENCE);
    client.tells(BEFORE).await;
    client.accepts().await;
    // Whoever else needs one meanwhile has it opened.
    let mut other = systemd.accept().await;
    other.tells(Fares { job: 7, ..BEFORE }).await;
    standby.keep();
    client.is_done("done").await;
    client.tells(AFTER).await;
    assert_eq!(outcome_of(job).await, has_failed());
    client.ends().await;
    let mut next = systemd.accept().await;
    other.tells(AFTER).await;
    assert_eq!(outcome_of(second).await, has_failed());
    let job = begin_restart(request(true), &standby, PATIENCE);
    next.tells(AFTER).await;
    assert_eq!(outcome_of(job).await, has_failed());
}

/// So is one that systemd hasn't let in yet; but nothing is called there before.
#[tokio::test]
async fn a_connection_that_is_not_let_in_yet_is_used() {
    let systemd = Systemd::new();
    let standby = systemd.closed();
    standby.keep();
    let mut client = Client::accept(&systemd.private).await;
    let job = begin_restart(request(true), &standby, PATIENCE);
    tokio::task::yield_now().await;
    let mut byte = [0];
    assert!(client.stream.try_read(&mut byte).is_err());
    client.says("OK 0123456789abcdef0123456789abcdef\r\n").await;
    client.tells(AFTER).await;
    assert_eq!(outcome_of(job).await, has_failed());
}

/// systemd closes all of them when it executes itself again.
#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_no_time() {
    let systemd = Systemd::new();
    for is_closed_before in [false, true] {
        let mut fastest = LONG;
        for _ in 0..10 {
            let (standby, client) = systemd.open(b"").await;
            let mut client = Some(client).filter(|_| !is_closed_before);
            let begin = Instant::now();
            let job = begin_restart(request(true), &standby, PATIENCE);
            client.take();
            systemd.accept().await.tells(AFTER).await;
            assert_eq!(outcome_of(job).await, has_failed());
            fastest = fastest.min(begin.elapsed());
            if !is_closed_before {
                // For the start after it.
                systemd.accept().await;
            }
        }
        assert!(fastest < PAUSE, "{fastest:?}");
    }
}

#[tokio::test]
async fn a_connection_on_which_nonsense_came_is_not_used() {
    let systemd = Systemd::new();
    let (standby, client) = systemd.open(b"nonsense of some length").await;
    let job = begin_restart(request(true), &standby, PATIENCE);
    client.ends().await;
    systemd.accept().await.tells(AFTER).await;
    assert_eq!(outcome_of(job).await, has_failed());
}

#[tokio::test]
async fn of_other_peoples_units_the_job_is_followed() {
    let systemd = Systemd::new();
    for main in [0, 4_000_000] {
        let job = systemd.restart(false);
        let mut client = systemd.accept().await;
        client.tells(BEFORE).await;
        client.accepts().await;
        client.is_done("done").await;
        let main_started = 0;
        client
            .tells(Fares {
                main_started,
                main,
                ..AFTER
            })
            .await;
        let expected = exited(None, ExitStatus::Code(0));
        assert_eq!(outcome_of(job).await, expected);
    }
}

#[tokio::test]
async fn what_comes_in_pieces_is_understood() {
    let systemd = Systemd::new();
    let job = systemd.restart(true);
    let mut client = systemd.accept().await;
    client.tells(BEFORE).await;
    client.hears_restart().await;
    let answers = [
        Answer::object(client.serial, "/job/77"),
        Answer::job_removed("/job/77", "done"),
    ];
    for byte in answers.map(Answer::into_bytes).concat() {
        client.stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    client
        .tells(Fares {
            code: 2,
            status: 9,
            ..AFTER
        })
        .await;
    let expected = exited(Some(42), ExitStatus::Signal(9));
    assert_eq!(outcome_of(job).await, expected);
}

/// Nothing is asked for where somebody else has just been at it: its start is the one in flight.
#[tokio::test]
async fn somebody_elses_start_is_followed() {
    let systemd = Systemd::new();
    let job = systemd.restart(true);
    let mut client = systemd.accept().await;
    client.tells(Fares { job: 7, ..BEFORE }).await;
    client.tells(Fares { job: 7, ..AFTER }).await;
    client.tells(AFTER).await;
    assert_eq!(outcome_of(job).await, has_failed());
    client.ends().await;
}

/// Nor where that was before the look, which was late: the script is let do its work.
#[tokio::test]
async fn somebody_elses_start_before_the_look_is_followed() {
    let systemd = Systemd::new();
    let started = ALIVE + 1;
    for is_ours in [true, false] {
        let job = systemd.restart(is_ours);
        let mut client = systemd.accept().await;
        let mut script = Command::new("true").spawn().unwrap();
        let main = script.id();
        let its = Fares {
            started,
            main_started: started,
            ..AFTER
        };
        client.tells(Fares { main, ..its }).await;
        if is_ours {
            client.tells(its).await;
            assert_eq!(outcome_of(job).await, has_failed());
        } else {
            let expected = exited(None, ExitStatus::Code(0));
            assert_eq!(outcome_of(job).await, expected);
        }
        client.ends().await;
        script.wait().unwrap();
    }

    // Of a start whose main process has ended by then nothing is in flight.
    let job = systemd.restart(true);
    let mut client = systemd.accept().await;
    client
        .tells(Fares {
            started,
            main_started: started,
            ..AFTER
        })
        .await;
    client.hears_restart().await;
    job.let_go();
    client.ends_sometime().await;
}

#[tokio::test]
async fn a_stop_of_somebody_elses_is_let_finish_first() {
    let systemd = Systemd::new();
    let job = systemd.restart(true);
    let mut client = systemd.accept().await;
    client.tells(Fares { job: 7, ..BEFORE }).await;
    client.tells(BEFORE).await;
    client.hears_restart().await;
    let name = "org.freedesktop.systemd1.TransactionIsDestructive";
    client.refuses(name, "Transaction is destructive.").await;
    client.tells(Fares { job: 8, ..BEFORE }).await;
    client.tells(BEFORE).await;
    client.accepts().await;
    client.is_done("done").await;
    client.tells(AFTER).await;
    assert_eq!(outcome_of(job).await, has_failed());
}

/// One that systemd itself would start again, after a pause of the unit's own.
#[tokio::test]
async fn a_unit_that_awaits_its_restart_is_not_waited_for() {
    let systemd = Systemd::new();
    let job = systemd.restart(false);
    let mut client = systemd.accept().await;
    let sub = "auto-restart";
    client.tells(Fares { sub, ..AFTER }).await;
    client.accepts().await;
    client.is_done("done").await;
    client.tells(AFTER).await;
    let expected = exited(None, ExitStatus::Code(0));
    assert_eq!(outcome_of(job).await, expected);
}

#[tokio::test]
async fn what_has_failed_too_often_is_reset() {
    let systemd = Systemd::new();
    let job = systemd.restart(false);
    let mut client = systemd.accept().await;
    client.tells(BEFORE).await;
    client.accepts().await;
    client.is_done("failed").await;
    let failed = Fares {
        active: "failed",
        result: "start-limit-hit",
        ..BEFORE
    };
    client.tells(failed).await;
    client.tells(failed).await;
    client.hears_call(&["ResetFailedUnit", UNIT]).await;
    client.sends(Answer::reply(client.serial)).await;
    client.accepts().await;
    client.is_done("failed").await;
    let expected = "systemd couldn't restart mfe@monitor.service: the result of its job is failed";
    assert_eq!(failure_of(job).await, expected);

    // Ours have no such limit.
    let job = systemd.restart(true);
    let mut client = systemd.accept().await;
    client.tells(failed).await;
    client.accepts().await;
    client.is_done("done").await;
    client.tells(AFTER).await;
    assert_eq!(outcome_of(job).await, has_failed());
}

/// As when systemd executes itself again.
#[tokio::test]
async fn what_was_accepted_is_followed_on_another_connection() {
    let systemd = Systemd::new();
    let job = systemd.restart(true);
    let mut client = systemd.accept().await;
    client.tells(BEFORE).await;
    client.accepts().await;
    drop(client);
    let mut client = systemd.accept().await;
    client.tells(Fares { job: 77, ..BEFORE }).await;
    client.tells(AFTER).await;
    assert_eq!(outcome_of(job).await, has_failed());
}

#[tokio::test]
async fn what_has_come_of_it_meanwhile_is_seen() {
    let systemd = Systemd::new();
    for (fares, expected) in [
        (AFTER, "exit status 7"),
        // What comes before the main process has failed.
        (
            Fares {
                active: "failed",
                started: LOOKED + 1,
                ..BEFORE
            },
            "the result of its job is failed",
        ),
        (BEFORE, "the result of its job is failed"),
    ] {
        let job = systemd.restart(true);
        let mut client = systemd.accept().await;
        client.tells(BEFORE).await;
        client.accepts().await;
        drop(client);
        systemd.accept().await.tells(fares).await;
        let said = match outcome_of(job).await {
            StartOutcome::Exited { status, .. } => status.to_string(),
            StartOutcome::NotRun(StartFailure::Unit(why)) => why.to_string(),
            StartOutcome::NotRun(failure) => panic!("{failure:?}"),
            StartOutcome::LostSight => "lost".to_owned(),
        };
        assert!(said.ends_with(expected), "{said}");
    }
}

/// Whether it was accepted is seen; if it wasn't, it is asked for again.
#[tokio::test]
async fn what_was_perhaps_accepted_is_not_asked_for_twice() {
    let systemd = Systemd::new();
    let job = systemd.restart(true);
    let mut client = systemd.accept().await;
    client.tells(BEFORE).await;
    client.hears_restart().await;
    drop(client);
    let mut client = systemd.accept().await;
    client.tells(BEFORE).await;
    client.hears_restart().await;
    drop(client);
    let mut client = systemd.accept().await;
    client.tells(AFTER).await;
    assert_eq!(outcome_of(job).await, has_failed());
    client.ends().await;
}

#[tokio::test]
async fn what_was_accepted_is_lost_sight_of_in_the_end() {
    let systemd = Systemd::new();
    let job = systemd.restart_with(
        true,
        Patience {
            accepted: Duration::from_millis(500),
            ..PATIENCE
        },
    );
    let mut client = systemd.accept().await;
    client.tells(BEFORE).await;
    client.accepts().await;
    drop(client);
    let Systemd {
        directory: _kept,
        private,
    } = systemd;
    drop(private);
    assert_eq!(outcome_of(job).await, StartOutcome::LostSight);
}

#[tokio::test]
async fn where_the_private_socket_is_away_the_bus_is_used() {
    let systemd = Systemd::new();
    let bus = UnixListener::bind(systemd.sockets().bus).unwrap();
    std::fs::remove_file(systemd.sockets().private).unwrap();
    let job = systemd.restart(true);
    let mut client = Client::let_in(&bus).await;
    client
        .hears_call(&["org.freedesktop.DBus\0", "Hello"])
        .await;
    client.sends(Answer::reply(client.serial)).await;
    client.sends(Answer::signal("NameAcquired")).await;
    client.tells(BEFORE).await;
    client.accepts().await;
    client.tells(Fares { job: 77, ..BEFORE }).await;
    client.tells(AFTER).await;
    client.tells(AFTER).await;
    assert_eq!(outcome_of(job).await, has_failed());

    let job = systemd.restart(true);
    let mut client = Client::let_in(&bus).await;
    client.hears_call(&["Hello"]).await;
    client.sends(Answer::reply(client.serial)).await;
    client.hears_call(&["Job"]).await;
    let nobody = "org.freedesktop.DBus.Error.NameHasNoOwner";
    client.refuses(nobody, "no owner").await;
    client.ends_sometime().await;
    let mut client = Client::let_in(&bus).await;
    client.hears_call(&["Hello"]).await;
    client.sends(Answer::reply(client.serial)).await;
    client.tells(AFTER).await;
    assert_eq!(outcome_of(job).await, has_failed(), "asked again");
}

#[tokio::test]
async fn an_error_is_told_in_systemds_words() {
    let systemd = Systemd::new();
    for (words, expected) in [
        (
            "Unit mfe@monitor.service is masked.\n",
            "Unit mfe@monitor.service is masked.\\n",
        ),
        ("", "x.UnitMasked"),
    ] {
        let job = systemd.restart(true);
        let mut client = systemd.accept().await;
        client.tells(BEFORE).await;
        client.hears_restart().await;
        client.refuses("x.UnitMasked", words).await;
        let expected = format!("systemd couldn't restart mfe@monitor.service: {expected}");
        assert_eq!(failure_of(job).await, expected);
    }
}

#[tokio::test]
async fn a_job_that_is_not_done_is_told() {
    let systemd = Systemd::new();
    let job = systemd.restart(true);
    let mut client = systemd.accept().await;
    client.tells(BEFORE).await;
    client.accepts().await;
    client.is_done("timeout").await;
    let expected = "systemd couldn't restart mfe@monitor.service: the result of its job is timeout";
    assert_eq!(failure_of(job).await, expected);
}

/// A systemd that stands still finds nothing that it could do when it goes on.
#[tokio::test]
async fn nothing_is_asked_of_who_does_not_answer() {
    let systemd = Systemd::new();
    let job = systemd.restart(true);
    let client = Client::accept(&systemd.private).await;
    let said = failure_of(job).await;
    assert!(
        said.contains("mfe@monitor.service: systemd doesn't answer on /"),
        "{said}"
    );
    client.ends().await;
}

#[tokio::test]
async fn who_lets_in_and_then_says_nothing_is_not_waited_for() {
    let systemd = Systemd::new();
    let job = systemd.restart(true);
    let _client = systemd.accept().await;
    let said = failure_of(job).await;
    assert!(said.contains("systemd doesn't answer on /"), "{said}");
}

#[tokio::test]
async fn a_job_that_takes_its_time_is_waited_for() {
    let systemd = Systemd::new();
    let mut job = systemd.restart(true);
    let mut client = systemd.accept().await;
    client.tells(BEFORE).await;
    client.accepts().await;
    assert!(timeout(Duration::from_secs(6), job.ended()).await.is_err());
    job.let_go();
    let expected = exited(None, ExitStatus::Code(0));
    assert_eq!(outcome_of(job).await, expected);
    client.ends().await;
}

/// What isn't accepted is asked for again for a while.
#[tokio::test]
async fn who_hangs_up_is_told_in_the_end() {
    let systemd = Systemd::new();
    let job = systemd.restart(true);
    let began = Instant::now();
    let hang_up = async {
        loop {
            drop(Client::accept(&systemd.private).await);
        }
    };
    let said = tokio::select! {
        said = failure_of(job) => said,
        () = hang_up => unreachable!(),
    };
    assert!(
        said.contains(": systemd has closed the connection on /"),
        "{said}"
    );
    assert!(began.elapsed() >= PATIENCE.not_accepted);
}

#[tokio::test]
async fn who_does_not_let_us_in_is_told() {
    let systemd = Systemd::new();
    let job = systemd.restart(true);
    let refuse = async {
        loop {
            let mut client = Client::accept(&systemd.private).await;
            client.says("REJECTED EXTERNAL\r\n").await;
        }
    };
    let said = tokio::select! {
        said = failure_of(job) => said,
        () = refuse => unreachable!(),
    };
    assert!(
        said.contains("systemd refuses the connection on /"),
        "{said}"
    );
    assert!(said.ends_with(": REJECTED EXTERNAL"), "{said}");
}

#[tokio::test]
async fn nonsense_is_told() {
    let systemd = Systemd::new();
    for lets_in in [true, false] {
        let job = systemd.restart(true);
        let talk = async {
            let mut kept = Vec::new();
            loop {
                let mut client = if lets_in {
                    systemd.accept().await
                } else {
                    Client::accept(&systemd.private).await
                };
                client.says(&"nonsense".repeat(200)).await;
                kept.push(client);
            }
        };
        let said = tokio::select! {
            said = failure_of(job) => said,
            () = talk => unreachable!(),
        };
        assert!(said.ends_with(" makes no sense"), "{said}");
    }
}

#[tokio::test]
async fn who_is_not_there_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let sockets = Sockets {
        private: directory.path().join("private"),
        bus: directory.path().join("bus"),
    };
    let standby = Standby::on(sockets);
    standby.keep();
    let job = begin_restart(request(true), &standby, PATIENCE);
    let said = failure_of(job).await;
    assert!(
        said.starts_with(
            "systemd couldn't restart mfe@monitor.service: systemd can't be asked on /"
        ),
        "{said}"
    );
    assert!(
        said.ends_with("private: No such file or directory (os error 2)"),
        "{said}"
    );
}

/// Nor does anything wait for somebody who doesn't even take connections.
#[tokio::test]
async fn a_queue_that_is_full_is_told() {
    let systemd = Systemd::new();
    let path = systemd.directory.path().join("full");
    let server = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&server, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&server, 0).unwrap();
    let sockets = Sockets {
        private: path,
        ..systemd.sockets()
    };
    let _waits = Manager::connect(&sockets).unwrap();
    let said = Manager::connect(&sockets).unwrap_err().phrase().to_string();
    assert!(said.contains("systemd doesn't answer on /"), "{said}");
}
