//! The journal's export format (<https://systemd.io/JOURNAL_EXPORT_FORMATS/>), which journalctl(1) writes in half the
//! time that its JSON takes. Pure: bytes go in, in whatever pieces they come, and entries come out.

use std::mem;

/// A longer value isn't one of the watchdog's; its beginning is kept. In bytes.
const VALUE_MAX: usize = 8 * 1024;

/// A longer line is no field, in bytes: journald takes no name of more than 64.
const LINE_MAX: usize = 64 + 1 + VALUE_MAX;

/// So many fields of an entry are kept: more than are asked for, each once.
const KEPT_MAX: usize = 32;

/// The fields of an entry that are of use, in the order in which they were written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    text: Vec<u8>,
    /// Each by its name, and where in the text its value ends.
    fields: Vec<(&'static str, usize)>,
}

impl Entry {
    /// A field's value. One that is there twice says nothing.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        let mut begin = 0;
        let mut found = None;
        for (field, end) in &self.fields {
            let value = &self.text[mem::replace(&mut begin, *end)..*end];
            if *field == name && found.replace(value).is_some() {
                return None;
            }
        }
        found
    }

    fn put(&mut self, name: &'static str, value: &[u8]) {
        if self.fields.len() < KEPT_MAX {
            self.text
                .extend_from_slice(&value[..value.len().min(VALUE_MAX)]);
            self.fields.push((name, self.text.len()));
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.fields.clear();
    }
}

/// What is awaited next.
#[derive(Debug)]
enum State {
    /// A line: `NAME=VALUE`, or the name alone of a value that has line ends or isn't text. An empty one ends an entry.
    Line,
    /// How long such a value is: as many bytes of the number, the lowest first, have come.
    Length { count: u32, length: u64 },
    /// The value, and the line end after it, of which so much is to come.
    Value { left: u64 },
}

/// Takes the format apart.
#[derive(Debug)]
pub(crate) struct Parser {
    /// The fields that are kept.
    wanted: &'static [&'static str],
    state: State,
    name: Option<&'static str>,
    /// What has come of the line or value.
    part: Vec<u8>,
    entry: Entry,
    is_in_entry: bool,
}

impl Parser {
    /// For entries of which only these fields are kept.
    pub(crate) fn new(wanted: &'static [&'static str]) -> Self {
        Self {
            wanted,
            state: State::Line,
            name: None,
            part: Vec::new(),
            entry: Entry::default(),
            is_in_entry: false,
        }
    }

    /// Takes bytes until an entry ends. Tells how many it has taken, and whether there is one.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.state {
                State::Line => {
                    let end = rest.iter().position(|byte| *byte == b'\n');
                    self.append(&rest[..end.unwrap_or(rest.len())], LINE_MAX);
                    rest = &rest[end.map_or(rest.len(), |end| end + 1)..];
                    if end.is_some() && self.line() {
                        return (bytes.len() - rest.len(), true);
                    }
                }
                State::Length { count, length } => {
                    let length = length | u64::from(rest[0]) << (8 * count);
                    rest = &rest[1..];
                    self.state = match count + 1 {
                        8 => State::Value {
                            left: length.saturating_add(1),
                        },
                        count => State::Length { count, length },
                    };
                }
                State::Value { left } => {
                    let there = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let (value, after) = rest.split_at(there);
                    let left = left - there as u64;
                    let of_value = value.len() - usize::from(left == 0);
                    self.append(&value[..of_value], VALUE_MAX);
                    rest = after;
                    self.state = State::Value { left };
                    if left == 0 {
                        self.value();
                    }
                }
            }
        }
        (bytes.len(), false)
    }

    /// The entry that has ended. It is forgotten when the next one begins.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Whether the bytes ended within an entry.
    pub(crate) fn is_in_entry(&self) -> bool {
        self.is_in_entry || !self.part.is_empty()
    }

    fn append(&mut self, bytes: &[u8], most: usize) {
        let room = most.saturating_sub(self.part.len());
        self.part.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// A line has ended. True if it ended an entry.
    fn line(&mut self) -> bool {
        if self.part.is_empty() {
            return mem::take(&mut self.is_in_entry);
        }
        let sign = self.part.iter().position(|byte| *byte == b'=');
        let name = &self.part[..sign.unwrap_or(self.part.len())];
        // Such as "-- No entries --" isn't of the format.
        if !name.iter().all(|byte| is_of_name(*byte)) {
            self.part.clear();
            return false;
        }
        if !mem::replace(&mut self.is_in_entry, true) {
            self.entry.clear();
        }
        let wanted = self.wanted.iter();
        let known = wanted.copied().find(|wanted| wanted.as_bytes() == name);
        match sign {
            Some(sign) => {
                if let Some(name) = known {
                    self.entry.put(name, &self.part[sign + 1..]);
                }
            }
            None => {
                self.name = known;
                self.state = State::Length {
                    count: 0,
                    length: 0,
                };
            }
        }
        self.part.clear();
        false
    }

    fn value(&mut self) {
        if let Some(name) = self.name.take() {
            self.entry.put(name, &self.part);
        }
        self.part.clear();
        self.state = State::Line;
    }
}

/// Whether a field's name may have it (systemd.journal-fields(7)).
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WANTED: &[&str] = &["A", "B"];

    /// The values of both fields of each entry.
    type Values = Vec<(Option<Vec<u8>>, Option<Vec<u8>>)>;

    /// The entries of what comes in pieces of this size.
    fn entries(bytes: &[u8], piece: usize) -> Values {
        let mut parser = Parser::new(WANTED);
        let mut entries = Vec::new();
        for mut piece in bytes.chunks(piece) {
            loop {
                let (used, is_there) = parser.take(piece);
                piece = &piece[used..];
                if !is_there {
                    break;
                }
                let value = |name| parser.entry().get(name).map(<[u8]>::to_vec);
                entries.push((value("A"), value("B")));
            }
        }
        entries
    }

    fn binary(name: &str, value: &[u8]) -> Vec<u8> {
        let length = (value.len() as u64).to_le_bytes();
        [name.as_bytes(), b"\n", &length, value, b"\n"].concat()
    }

    #[test]
    fn fields_are_lines_or_have_their_length() {
        let text = [
            &b"A=1\nX=2\nB=3=4\n\n\nB=\n"[..],
            &binary("A", b"5\nB=6\n\n"),
            b"\n",
            &binary("X", b"\n\n"),
            b"A=7\n\nA=unfinished\n",
        ]
        .concat();
        let some = |text: &str| Some(text.as_bytes().to_vec());
        let expected = [
            (some("1"), some("3=4")),
            (some("5\nB=6\n\n"), some("")),
            (some("7"), None),
        ];
        for piece in 1..20 {
            assert_eq!(entries(&text, piece), expected, "{piece}");
        }
    }

    #[test]
    fn what_is_not_of_the_format_is_skipped() {
        let text = b"-- No entries --\nA=1\nno name\nB=2\n\n-- Reboot --\n\n";
        let expected = (Some(b"1".to_vec()), Some(b"2".to_vec()));
        assert_eq!(entries(text, 99), [expected]);
    }

    #[test]
    fn what_is_there_twice_says_nothing() {
        assert_eq!(
            entries(b"A=1\nA=1\nB=2\n\n", 99),
            [(None, Some(b"2".to_vec()))]
        );
    }

    #[test]
    fn what_is_endless_is_cut_and_what_follows_is_read() {
        let long = "x".repeat(VALUE_MAX * 3);
        let text = [
            format!("A={long}\n").as_bytes(),
            &binary("B", long.as_bytes()),
            b"\nA=1\n\n",
        ]
        .concat();
        let found = entries(&text, 1000);
        let length = |value: &Option<Vec<u8>>| value.as_ref().map(Vec::len);
        assert_eq!(length(&found[0].0), Some(VALUE_MAX));
        assert_eq!(length(&found[0].1), Some(VALUE_MAX));
        assert_eq!(found[1], (Some(b"1".to_vec()), None));
        let many = "A=1\n".repeat(100_000) + "B=2\n\n";
        assert_eq!(entries(many.as_bytes(), 1000), [(None, None)]);
    }

    proptest! {
        /// Whatever the values are and however they are cut up, they come out as they went in.
        #[test]
        fn all_comes_out_as_it_went_in(
            values in proptest::collection::vec((any::<Vec<u8>>(), any::<Option<String>>()), 1..9),
            piece in 1..99_usize,
        ) {
            let mut text = Vec::new();
            let mut expected = Vec::new();
            for (a, b) in values {
                text.extend(binary("A", &a));
                let b = b.map(|b| b.replace('\n', " ").into_bytes());
                if let Some(b) = &b {
                    text.extend([b"B=", b.as_slice(), b"\n"].concat());
                }
                text.push(b'\n');
                expected.push((Some(a), b));
            }
            prop_assert_eq!(entries(&text, piece), expected);
        }

        #[test]
        fn any_bytes_are_taken_without_a_panic(bytes in any::<Vec<u8>>(), piece in 1..99_usize) {
            entries(&bytes, piece);
        }
    }
}
