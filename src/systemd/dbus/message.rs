//! The wire format of D-Bus, as far as systemd is spoken to here: makes the bytes of method calls and
//! takes messages apart. It sends and reads nothing itself.
//!
//! By the D-Bus Specification, "Type System" and "Message Protocol". Both sides write in the byte
//! order of their machine, which here is little-endian wherever there are tills; the other one is an
//! error.

/// The longest header and the longest body that are read; what systemd says takes some KiB at most.
const LENGTH_MAX: usize = 1 << 20;

/// How many bytes of a message tell its length.
const FIXED: usize = 16;

const LITTLE_ENDIAN: u8 = b'l';
const VERSION: u8 = 1;

/// The bus isn't to start whoever is called: systemd is there or it isn't.
const NO_AUTO_START: u8 = 2;

/// Numbers of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// What can't be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A call of a method, all of which here take nothing but strings.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) method: &'a str,
    pub(crate) arguments: &'a [&'a str],
}

impl Call<'_> {
    /// The message. `serial`, not 0, is what the reply refers to.
    pub(crate) fn to_bytes(&self, serial: u32) -> Vec<u8> {
        let mut body = Writer::default();
        for argument in self.arguments {
            body.string(argument);
        }
        let mut message = Writer(Vec::with_capacity(512));
        message
            .0
            .extend([LITTLE_ENDIAN, Kind::METHOD_CALL, NO_AUTO_START, VERSION]);
        message.u32(length_of(&body.0));
        message.u32(serial);
        // The length of the fields, once that is known.
        message.u32(0);
        message.field(PATH, "o", self.path);
        message.field(DESTINATION, "s", self.destination);
        message.field(INTERFACE, "s", self.interface);
        message.field(MEMBER, "s", self.method);
        if !self.arguments.is_empty() {
            message.field(SIGNATURE, "g", &"s".repeat(self.arguments.len()));
        }
        let fields = length_of(&message.0[FIXED..]);
        message.0[FIXED - 4..FIXED].copy_from_slice(&fields.to_le_bytes());
        message.align(8);
        message.0.extend(body.0);
        message.0
    }
}

/// Nothing that is written here comes near what doesn't fit.
fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Puts values one after another, each where its type wants it.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.u32(length_of(text.as_bytes()));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, types: &str) {
        self.0.push(u8::try_from(types.len()).unwrap_or(u8::MAX));
        self.0.extend(types.as_bytes());
        self.0.push(0);
    }

    fn field(&mut self, number: u8, of_type: &str, value: &str) {
        self.align(8);
        self.0.push(number);
        self.signature(of_type);
        if of_type == "g" {
            self.signature(value);
        } else {
            self.string(value);
        }
    }
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Return,
    Error,
    Signal,
    /// A call of a method, or what a later version of D-Bus may have.
    Other,
}

impl Kind {
    const METHOD_CALL: u8 = 1;

    fn of(number: u8) -> Self {
        match number {
            2 => Self::Return,
            3 => Self::Error,
            4 => Self::Signal,
            _ => Self::Other,
        }
    }
}

/// A message that has come. Nothing of it is copied: nearly all are signals that nobody wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: Kind,
    /// The serial of the call that it answers; 0 if it answers none.
    pub(crate) reply_to: u32,
    /// The name of a signal.
    pub(crate) member: &'a str,
    /// The name of an error.
    pub(crate) error: &'a str,
    types: &'a str,
    body: &'a [u8],
}

/// A value in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// `i64::MAX` stands for larger ones, too.
    Number(i64),
    Text(&'a str),
}

impl<'a> Value<'a> {
    pub(crate) fn number(self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Text(_) => None,
        }
    }

    pub(crate) fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) => None,
        }
    }
}

/// How long the message is that begins with `bytes`; `None` if it takes more of them to tell.
pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(fixed) = bytes.get(..FIXED) else {
        return Ok(None);
    };
    if (fixed[0], fixed[3]) != (LITTLE_ENDIAN, VERSION) {
        return Err(Malformed);
    }
    let (body, header) = lengths(fixed)?;
    Ok(Some(header.next_multiple_of(8) + body))
}

/// The lengths of body and header; what pads the header to a multiple of 8 isn't counted.
fn lengths(fixed: &[u8]) -> Result<(usize, usize), Malformed> {
    let bounded = |at| {
        let number = Reader { bytes: fixed, at }.u32()?;
        let length = usize::try_from(number).ok();
        length
            .filter(|length| *length <= LENGTH_MAX)
            .ok_or(Malformed)
    };
    Ok((bounded(4)?, FIXED + bounded(12)?))
}

impl<'a> Message<'a> {
    /// Takes a whole message apart, whose length [`length`] has told.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (_, header) = lengths(bytes)?;
        let mut message = Self {
            kind: Kind::of(*bytes.get(1).ok_or(Malformed)?),
            reply_to: 0,
            member: "",
            error: "",
            types: "",
            body: bytes.get(header.next_multiple_of(8)..).ok_or(Malformed)?,
        };
        let mut fields = Reader {
            bytes: bytes.get(..header).ok_or(Malformed)?,
            at: FIXED,
        };
        while fields.at < header {
            fields.align(8);
            let number = fields.u8()?;
            match (number, fields.variant()?) {
                (MEMBER, Value::Text(name)) => message.member = name,
                (ERROR_NAME, Value::Text(name)) => message.error = name,
                (SIGNATURE, Value::Text(types)) => message.types = types,
                (REPLY_SERIAL, Value::Number(serial)) => {
                    message.reply_to = u32::try_from(serial).map_err(|_| Malformed)?;
                }
                (MEMBER | ERROR_NAME | SIGNATURE | REPLY_SERIAL, _) => return Err(Malformed),
                _ => {}
            }
        }
        Ok(message)
    }

    /// Its values, from the first on; none follows one that can't be understood.
    pub(crate) fn values(&self) -> impl Iterator<Item = Value<'a>> {
        let mut reader = Reader {
            bytes: self.body,
            at: 0,
        };
        let types = self.types.bytes();
        types.map_while(move |of_type| reader.value(of_type).ok())
    }
}

/// Takes values one after another, each from where its type wants it.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Malformed> {
        self.align(LENGTH);
        self.take(LENGTH)?.try_into().map_err(|_| Malformed)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    /// So many bytes and the 0 after them.
    fn text(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let text = self.take(length)?;
        match self.u8()? {
            0 => std::str::from_utf8(text).map_err(|_| Malformed),
            _ => Err(Malformed),
        }
    }

    fn signature(&mut self) -> Result<&'a str, Malformed> {
        let length = self.u8()?;
        self.text(length.into())
    }

    /// Only the types are known that systemd's answers here have.
    fn value(&mut self, of_type: u8) -> Result<Value<'a>, Malformed> {
        Ok(match of_type {
            b'u' => Value::Number(self.u32()?.into()),
            b'i' => Value::Number(self.array().map(i32::from_le_bytes)?.into()),
            b't' => {
                let number = self.array().map(u64::from_le_bytes)?;
                Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
            }
            b's' | b'o' => {
                let length = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
                Value::Text(self.text(length)?)
            }
            b'g' => Value::Text(self.signature()?),
            b'v' => self.variant()?,
            _ => return Err(Malformed),
        })
    }

    fn variant(&mut self) -> Result<Value<'a>, Malformed> {
        match self.signature()?.as_bytes() {
            // One in another would be legal, and could go on like that for a thousand levels.
            [of_type] if *of_type != b'v' => self.value(*of_type),
            // A unit's job: its number, 0 for none, and its object.
            b"(uo)" => {
                self.align(8);
                self.value(b'u')
            }
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
