//! Understands the text of /proc/PID/stat and /proc/PID/status (proc(5)), without allocating; it
//! reads no files.

use std::str::FromStr;

/// `PF_EXITING`, `PF_DUMPCORE` and `PF_SIGNALED` (linux/sched.h).
const ENDING: u64 = 0x4 | 0x200 | 0x400;

/// What is needed of /proc/PID/stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat<'a> {
    /// The kernel's name of the process, which may hold anything.
    pub comm: &'a [u8],
    /// One letter.
    pub state: u8,
    /// The pid of its parent.
    pub parent: i32,
    /// The pid of the one that began its session.
    pub session: i32,
    /// Whether its main thread is on its way out.
    pub is_ending: bool,
    /// In user and kernel mode, in clock ticks.
    pub cpu_time: u64,
    /// How many threads it has.
    pub threads: i64,
    /// In clock ticks since boot.
    pub start_time: u64,
    /// What it keeps in memory.
    pub resident_pages: u64,
    /// Where its arguments begin, since Linux 3.5; 0 for whoever may not trace it. Each new program that a
    /// process becomes has another one, as a rule.
    pub arg_start: u64,
    /// As wait(2) has it; since Linux 3.5.
    pub exit_code: Option<i32>,
}

impl<'a> Stat<'a> {
    /// Takes the text apart, or says `None` if it isn't in the form of proc(5).
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        // The name is between the first parenthesis and the last, whatever it holds: nothing but
        // numbers and a letter comes before and after it.
        let begin = text.iter().position(|byte| *byte == b'(')? + 1;
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let comm = text.get(begin..end)?;
        let rest = std::str::from_utf8(&text[end + 1..]).ok()?;
        // The fields are counted from 1, and the name is the second.
        let mut fields = rest.split_ascii_whitespace();
        let mut last = 2;
        let mut field = |number: usize| {
            let skipped = number - last - 1;
            last = number;
            fields.nth(skipped)
        };
        let &[state] = field(3)?.as_bytes() else {
            return None;
        };
        Some(Self {
            comm,
            state,
            parent: field(4)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
            is_ending: field(9)?.parse::<u64>().ok()? & ENDING != 0,
            cpu_time: {
                let user: u64 = field(14)?.parse().ok()?;
                user.checked_add(field(15)?.parse().ok()?)?
            },
            threads: field(20)?.parse().ok()?,
            start_time: field(22)?.parse().ok()?,
            resident_pages: field(24)?.parse().ok()?,
            arg_start: match field(48) {
                Some(address) => address.parse().ok()?,
                None => 0,
            },
            exit_code: match field(52) {
                Some(code) => Some(code.parse().ok()?),
                None => None,
            },
        })
    }

    /// Whether nothing of it lives: the main thread of a process may end before the others.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.main_thread_is_dead() && self.threads <= 1
    }

    /// Whether its main thread has ended.
    #[must_use]
    pub fn main_thread_is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// What is needed of /proc/PID/status; a line that a kernel doesn't have is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// The pid of the process; another one than that of a thread (`Tgid`).
    pub(super) process: Option<i32>,
    /// The pid of the debugger, 0 for none (`TracerPid`).
    pub(super) tracer: Option<i32>,
    /// The effective user (`Uid`, the second number).
    pub(super) uid: Option<u32>,
    /// The user who has started it (`Uid`, the first number).
    pub(super) real_uid: Option<u32>,
    /// In how many PID namespaces it has a pid, from the reader's inwards (`NSpid`; Linux 4.1,
    /// where there are PID namespaces).
    pub(super) namespaces: Option<usize>,
    /// Whether the kernel is writing a core dump of it (`CoreDumping`, Linux 4.15).
    pub(super) is_dumping: bool,
    /// Which rights its new files don't get (`Umask`, umask(2); Linux 4.7).
    pub(crate) umask: Option<u32>,
}

impl Status {
    /// Takes the text apart. What isn't a number is as good as absent.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut status = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            let mut words = line
                .split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty());
            match words.next() {
                Some(b"Tgid:") => status.process = number(words.next()),
                Some(b"TracerPid:") => status.tracer = number(words.next()),
                Some(b"Uid:") => {
                    status.real_uid = number(words.next());
                    status.uid = number(words.next());
                }
                Some(b"NSpid:") => status.namespaces = Some(words.count()),
                Some(b"CoreDumping:") => status.is_dumping = words.next() == Some(b"1"),
                Some(b"Umask:") => status.umask = octal(words.next()),
                _ => {}
            }
        }
        status
    }
}

fn octal(word: Option<&[u8]>) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(word?).ok()?, 8).ok()
}

fn number<T: FromStr>(word: Option<&[u8]>) -> Option<T> {
    std::str::from_utf8(word?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Stat, Status};

    const REST: &str = "1 20 20 0 -1 4194560 103 0 0 0 1 2 0 0 20 0 3 0 4711 2990080 210";

    #[test]
    fn the_name_may_hold_anything() {
        for comm in [
            &b"a"[..],
            b"",
            b"a) S 1 (b",
            b"((",
            b"))",
            b"\n ",
            b"\xff\xc3",
        ] {
            let text = [b"20 (", comm, b") Z ", REST.as_bytes(), b"\n"].concat();
            let expected = Stat {
                comm,
                state: b'Z',
                parent: 1,
                session: 20,
                is_ending: false,
                cpu_time: 3,
                threads: 3,
                start_time: 4711,
                resident_pages: 210,
                arg_start: 0,
                exit_code: None,
            };
            assert_eq!(Stat::parse(&text), Some(expected));
        }
    }

    #[test]
    fn the_last_field_is_how_it_ended() {
        let middle = " 0".repeat(26);
        let text = format!("20 (a) Z {REST}{middle} 137\n");
        assert_eq!(
            Stat::parse(text.as_bytes()).unwrap().exit_code,
            None,
            "field 51"
        );
        let text = format!("20 (a) Z {REST}{middle} 0 137\n");
        assert_eq!(Stat::parse(text.as_bytes()).unwrap().exit_code, Some(137));
    }

    #[test]
    fn a_main_thread_that_ended_is_not_the_end_of_the_others() {
        for (state, threads, main, all) in [
            ('S', 1, false, false),
            ('t', 1, false, false),
            ('Z', 2, true, false),
            ('Z', 1, true, true),
            ('X', 0, true, true),
            ('x', 1, true, true),
        ] {
            let rest = REST.replacen(" 3 0 4711", &format!(" {threads} 0 4711"), 1);
            let text = format!("20 (a) {state} {rest}");
            let stat = Stat::parse(text.as_bytes()).unwrap();
            assert_eq!(
                (stat.main_thread_is_dead(), stat.is_dead()),
                (main, all),
                "{text}"
            );
        }
    }

    #[test]
    fn a_status_has_what_the_kernel_tells() {
        let text = b"Name:\tUid:\t7\\n\nUmask:\t0022\nState:\tT (stopped)\nTgid:\t20\nPid:\t20\n\
            TracerPid:\t0\nUid:\t1000\t1001\t1002\t1003\nNSpid:\t20\t1\n";
        let expected = Status {
            process: Some(20),
            tracer: Some(0),
            uid: Some(1001),
            real_uid: Some(1000),
            is_dumping: false,
            namespaces: Some(2),
            umask: Some(0o022),
        };
        assert_eq!(Status::parse(text), expected);
        assert_eq!(Status::parse(b""), Status::default());
        let half = Status {
            real_uid: Some(1),
            ..Status::default()
        };
        assert_eq!(Status::parse(b"Tgid:\nUid:\t1\nTracerPid:\tx"), half);
    }

    #[test]
    fn a_umask_is_read_as_the_kernel_shows_it() {
        let umask = |status: &[u8]| Status::parse(status).umask;
        let status = b"Name:\tUmask:\nUmask:\t0002\nState:\tS (sleeping)\n";
        assert_eq!(umask(status), Some(0o002));
        assert_eq!(umask(b"Name:\tsh\nState:\tS (sleeping)\n"), None);
        assert_eq!(umask(b"Umask:\tnone\n"), None);
    }

    proptest! {
        #[test]
        fn no_status_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let lines = [&b"\nUid:"[..], b"\nTgid:", &text].concat();
            prop_assert_eq!(Status::parse(&lines).process, None);
        }

        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(stat) = Stat::parse(&text) {
                prop_assert!(text.len() > stat.comm.len() + REST.len() / 2);
            }
        }

        #[test]
        fn nor_does_a_text_cut_anywhere(cut in 0..70_usize) {
            let text = format!("20 (a) b) S {REST}");
            if let Some(stat) = Stat::parse(&text.as_bytes()[..cut.min(text.len())]) {
                prop_assert_eq!((stat.comm, stat.threads), (&b"a) b"[..], 3));
            }
        }
    }
}
