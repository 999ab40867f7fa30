use proptest::prelude::*;

use super::*;

const RESTART: Call<'_> = Call {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    method: "RestartUnit",
    arguments: &["mfe@monitor.service", "replace"],
};

/// What stands in a message of the other side's, field by field.
pub(crate) struct Answer {
    kind: u8,
    fields: Writer,
    types: &'static str,
    body: Writer,
}

impl Answer {
    pub(crate) fn reply(to: u32) -> Self {
        let mut answer = Self::new(2);
        answer.refer(to);
        answer
    }

    pub(crate) fn error(to: u32, name: &str, words: &str) -> Self {
        let mut answer = Self::new(3);
        answer.refer(to);
        answer.fields.field(ERROR_NAME, "s", name);
        answer.types = "s";
        answer.body.string(words);
        answer
    }

    pub(crate) fn object(to: u32, path: &str) -> Self {
        let mut answer = Self::reply(to);
        answer.types = "o";
        answer.body.string(path);
        answer
    }

    pub(crate) fn signal(member: &str) -> Self {
        let mut answer = Self::new(4);
        answer.fields.field(PATH, "o", "/org/freedesktop/systemd1");
        answer.fields.field(MEMBER, "s", member);
        answer
    }

    pub(crate) fn job_removed(job: &str, result: &str) -> Self {
        let mut answer = Self::signal("JobRemoved");
        answer.types = "uoss";
        answer.body.u32(7);
        for text in [job, "mfe@monitor.service", result] {
            answer.body.string(text);
        }
        answer
    }

    /// A variant: a unit's job by its number, 0 for none.
    pub(crate) fn job(to: u32, number: u32) -> Self {
        let mut answer = Self::reply(to);
        answer.types = "v";
        answer.body.signature("(uo)");
        answer.body.align(8);
        answer.body.u32(number);
        answer.body.string("/job/1");
        answer
    }

    /// A variant: a text.
    pub(crate) fn text(to: u32, text: &str) -> Self {
        let mut answer = Self::reply(to);
        answer.types = "v";
        answer.body.signature("s");
        answer.body.string(text);
        answer
    }

    /// A variant: a type of `u`, `i` or `t` and the bytes of its value.
    pub(crate) fn property(to: u32, of_type: &str, value: &[u8]) -> Self {
        let mut answer = Self::reply(to);
        answer.types = "v";
        answer.body.signature(of_type);
        answer.body.align(value.len());
        answer.body.0.extend(value);
        answer
    }

    fn new(kind: u8) -> Self {
        Self {
            kind,
            fields: Writer::default(),
            types: "",
            body: Writer::default(),
        }
    }

    fn refer(&mut self, to: u32) {
        self.fields.align(8);
        self.fields.0.push(REPLY_SERIAL);
        self.fields.signature("u");
        self.fields.u32(to);
    }

    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.fields.field(SIGNATURE, "g", self.types);
        let mut message = Writer(vec![LITTLE_ENDIAN, self.kind, 0, VERSION]);
        message.u32(length_of(&self.body.0));
        message.u32(1);
        message.u32(length_of(&self.fields.0));
        message.0.extend(self.fields.0);
        message.align(8);
        message.0.extend(self.body.0);
        message.0
    }
}

fn parsed(bytes: &[u8]) -> Message<'_> {
    assert_eq!(length(bytes), Ok(Some(bytes.len())));
    Message::parse(bytes).unwrap()
}

fn values(bytes: &[u8]) -> Vec<Value<'_>> {
    parsed(bytes).values().collect()
}

/// Put down by hand, by the specification.
#[test]
fn a_call_is_these_bytes() {
    let expected = b"l\x01\x02\x01\x24\0\0\0\x05\0\0\0\xa0\0\0\0\
        \x01\x01o\0\x19\0\0\0/org/freedesktop/systemd1\0\0\0\0\0\0\0\
        \x06\x01s\0\x18\0\0\0org.freedesktop.systemd1\0\0\0\0\0\0\0\0\
        \x02\x01s\0\x20\0\0\0org.freedesktop.systemd1.Manager\0\0\0\0\0\0\0\0\
        \x03\x01s\0\x0b\0\0\0RestartUnit\0\0\0\0\0\
        \x08\x01g\0\x02ss\0\
        \x13\0\0\0mfe@monitor.service\0\
        \x07\0\0\0replace\0";
    let bytes = RESTART.to_bytes(5);
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        String::from_utf8_lossy(expected)
    );
    assert_eq!(bytes, expected);
}

#[test]
fn what_is_written_is_read_again() {
    let bytes = RESTART.to_bytes(5);
    let call = parsed(&bytes);
    assert_eq!((call.kind, call.member), (Kind::Other, "RestartUnit"));
    let arguments: Vec<_> = call.values().filter_map(Value::text).collect();
    assert_eq!(arguments, RESTART.arguments);
}

#[test]
fn answers_are_understood() {
    let bytes = Answer::object(3, "/org/freedesktop/systemd1/job/77").into_bytes();
    let message = parsed(&bytes);
    assert_eq!((message.kind, message.reply_to), (Kind::Return, 3));
    let job = Value::Text("/org/freedesktop/systemd1/job/77");
    assert_eq!(values(&bytes), [job]);

    let bytes = Answer::error(4, "org.freedesktop.systemd1.NoSuchUnit", "not found").into_bytes();
    let message = parsed(&bytes);
    assert_eq!((message.kind, message.reply_to), (Kind::Error, 4));
    assert_eq!(message.error, "org.freedesktop.systemd1.NoSuchUnit");
    assert_eq!(values(&bytes), [Value::Text("not found")]);

    let bytes = Answer::job_removed("/job/77", "done").into_bytes();
    let message = parsed(&bytes);
    assert_eq!((message.kind, message.member), (Kind::Signal, "JobRemoved"));
    let expected = [
        Value::Number(7),
        Value::Text("/job/77"),
        Value::Text("mfe@monitor.service"),
        Value::Text("done"),
    ];
    assert_eq!(values(&bytes), expected);
}

#[test]
fn numbers_stand_where_their_types_want_them() {
    for (of_type, value, expected) in [
        ("u", &u32::MAX.to_le_bytes()[..], u32::MAX.into()),
        ("i", &(-1i32).to_le_bytes()[..], -1),
        ("t", &42u64.to_le_bytes()[..], 42),
        ("t", &u64::MAX.to_le_bytes()[..], i64::MAX),
    ] {
        let bytes = Answer::property(1, of_type, value).into_bytes();
        assert_eq!(values(&bytes), [Value::Number(expected)], "{of_type}");
    }
}

#[test]
fn a_job_is_its_number() {
    for number in [0, 77] {
        let bytes = Answer::job(1, number).into_bytes();
        assert_eq!(values(&bytes), [Value::Number(number.into())]);
    }
}

#[test]
fn a_call_without_arguments_says_so() {
    let hello = Call {
        arguments: &[],
        ..RESTART
    };
    assert_eq!(values(&hello.to_bytes(1)), []);
}

#[test]
fn a_part_of_a_message_tells_its_length_or_nothing() {
    let bytes = RESTART.to_bytes(1);
    for end in 0..bytes.len() {
        let expected = (end >= FIXED).then_some(bytes.len());
        assert_eq!(length(&bytes[..end]), Ok(expected), "{end}");
        // Where the body begins, a value that isn't there yet is missed only when it is read.
        if end < bytes.len() - 36 {
            assert_eq!(Message::parse(&bytes[..end]), Err(Malformed), "{end}");
        }
    }
}

#[test]
fn what_is_no_such_message_is_refused() {
    let spoilt = |at: usize, value: u8| {
        let mut bytes = RESTART.to_bytes(1);
        bytes[at] = value;
        bytes
    };
    // Of the other byte order; of another version; a body and a header of more than 16 MiB.
    for (at, value) in [(0, b'B'), (3, 2), (7, 1), (15, 1)] {
        assert_eq!(length(&spoilt(at, value)), Err(Malformed), "{at}");
    }
    // A field of an unknown type; one that is longer than the message; a text without its end.
    for (at, value) in [(18, b'a'), (21, 9), (49, b'!')] {
        assert_eq!(Message::parse(&spoilt(at, value)), Err(Malformed), "{at}");
    }
    // A reply to text, a variant in a variant, and a variant of two values.
    let mut answer = Answer::new(2);
    answer.fields.field(REPLY_SERIAL, "s", "1");
    assert_eq!(Message::parse(&answer.into_bytes()), Err(Malformed));
    assert_eq!(
        values(&Answer::property(1, "v", &[1, b'y', 0]).into_bytes()),
        []
    );
    assert_eq!(values(&Answer::property(1, "uu", &[0; 8]).into_bytes()), []);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = length(&bytes);
        if let Ok(message) = Message::parse(&bytes) {
            message.values().for_each(drop);
        }
    }

    /// The same for what is nearly right.
    #[test]
    fn no_spoilt_message_makes_it_panic(
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Answer::job_removed("/job/77", "done").into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = value;
        bytes.truncate(end.index(bytes.len()) + 1);
        let _ = length(&bytes);
        if let Ok(message) = Message::parse(&bytes) {
            message.values().for_each(drop);
        }
    }
}
