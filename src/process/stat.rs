//! Understands the text of /proc/PID/stat (proc(5)); it reads no files.

/// What is needed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    /// The kernel's name of the process, which may hold anything.
    pub(super) comm: Vec<u8>,
    /// One letter.
    pub(super) state: u8,
    /// The pid of its parent.
    pub(super) parent: i32,
    /// In user and kernel mode, in clock ticks.
    pub(super) cpu_time: u64,
    pub(super) threads: i64,
    /// In clock ticks since boot.
    pub(super) start_time: u64,
    pub(super) resident_pages: u64,
    /// As wait(2) has it; since Linux 3.5.
    pub(super) exit_code: Option<i32>,
}

impl Stat {
    /// Takes the text apart, or says `None` if it isn't in the form of proc(5).
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        // The name is between the first parenthesis and the last, whatever it holds: nothing but
        // numbers and a letter comes before and after it.
        let begin = text.iter().position(|byte| *byte == b'(')? + 1;
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let comm = text.get(begin..end)?.to_vec();
        let rest = std::str::from_utf8(&text[end + 1..]).ok()?;
        // The fields are counted from 1, and the name is the second.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let number = |number: usize| field(number)?.parse::<u64>().ok();
        let &[state] = field(3)?.as_bytes() else {
            return None;
        };
        let exit_code = match field(52) {
            Some(code) => Some(code.parse().ok()?),
            None => None,
        };
        Some(Self {
            comm,
            state,
            parent: field(4)?.parse().ok()?,
            cpu_time: number(14)?.checked_add(number(15)?)?,
            threads: field(20)?.parse().ok()?,
            start_time: number(22)?,
            resident_pages: number(24)?,
            exit_code,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Stat;

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
                comm: comm.to_vec(),
                state: b'Z',
                parent: 1,
                cpu_time: 3,
                threads: 3,
                start_time: 4711,
                resident_pages: 210,
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

    proptest! {
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
                prop_assert_eq!((stat.comm.as_slice(), stat.threads), (&b"a) b"[..], 3));
            }
        }
    }
}
