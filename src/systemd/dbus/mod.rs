//! Speaks to systemd itself, on the private socket on which systemctl speaks to it for root, or on the
//! system bus where that one is away; what is asked of it is in `manager`, beside this.
//!
//! The client is our own: a D-Bus library weighs more than all of this package may, and not every one
//! speaks on the private socket, which needs no other service.

mod message;

use std::io::{self, Read};
use std::mem;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::geteuid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

#[cfg(test)]
pub(crate) use message::tests::Answer;
pub(crate) use message::{Call, Kind, Message, Value};
use message::{Malformed, length};

use crate::text::phrase::{Phrase, phrase};

/// Takes the message apart that begins with these bytes, as one that has come: says how long it is, and how
/// many values it has. `None` if it isn't whole, or can't be understood.
#[must_use]
pub fn take_apart(bytes: &[u8]) -> Option<(usize, usize)> {
    let length = length(bytes).ok().flatten()?;
    let message = Message::parse(bytes.get(..length)?).ok()?;
    Some((length, message.values().count()))
}

/// Where systemd can be spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Sockets {
    /// systemd's own (since 229 at least, and until 262), for root alone.
    pub(crate) private: PathBuf,
    /// That of the system bus.
    pub(crate) bus: PathBuf,
}

impl Default for Sockets {
    /// Those of this machine.
    fn default() -> Self {
        Self {
            private: "/run/systemd/private".into(),
            bus: "/run/dbus/system_bus_socket".into(),
        }
    }
}

/// Who answers on either.
pub(crate) const SYSTEMD: &str = "org.freedesktop.systemd1";

/// Why a call has come to nothing.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// systemd has said no.
    Refused {
        /// The error's name.
        name: String,
        /// systemd's own words.
        words: Phrase,
    },
    /// systemd couldn't be asked, or its answer hasn't come: it may have done what it was asked for.
    Lost(Phrase),
}

impl Trouble {
    pub(crate) fn phrase(self) -> Phrase {
        match self {
            Self::Refused { words, .. } | Self::Lost(words) => words,
        }
    }
}

/// Errors by which the bus says that nobody answers to a name, not what somebody has answered
/// (D-Bus Specification, "Message Bus Messages").
const NOBODY: [&str; 5] = [
    "org.freedesktop.DBus.Error.Disconnected",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.TimedOut",
];

/// The bus itself.
const BUS: &str = "org.freedesktop.DBus";

/// How long systemd may take to let us in and to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest line before the first message: `OK` and 32 digits, or why not.
const LINE_MAX: usize = 1024;

/// So many pieces of 4 KiB are thrown away at once: systemd hasn't that much to say in a cycle.
const SKIMMED_MAX: usize = 256;

/// What is kept of an error's message, in characters.
const WORDS_MAX: usize = 2048;

/// A connection for what is to be done about one unit. It isn't used any longer, for systemd sends all its
/// signals to whoever is connected on its private socket, asked or not: who waits for an answer has to take in
/// all of them.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    socket: PathBuf,
    is_bus: bool,
    /// Whether we have been let in.
    is_in: bool,
    /// Until when the calls must be answered.
    deadline: Instant,
    /// How many calls were made.
    calls: u32,
    /// Whether those that are to be made next were made already.
    has_begun: bool,
    received: Vec<u8>,
    /// How much of that is the last message, which is done with.
    taken: usize,
}

impl Connection {
    /// Connects, and asks to be let in. This is done at once and waits for nothing, so that systemd is
    /// at it while the caller has other things to do. Must be called in the runtime.
    pub(crate) fn open(sockets: &Sockets) -> Result<Self, Trouble> {
        let away = |error: &io::Error| {
            let kinds = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
            kinds.contains(&error.kind())
        };
        let (connected, is_bus) = match connect(&sockets.private) {
            Err(error) if away(&error) => match connect(&sockets.bus) {
                // What is told is what is the matter with systemd's own.
                Err(_) => (Err(error), false),
                stream => (stream, true),
            },
            connected => (connected, false),
        };
        let socket = if is_bus {
            &sockets.bus
        } else {
            &sockets.private
        };
        match connected {
            Ok(stream) => Ok(Self {
                stream: UnixStream::from_std(stream)
                    .map_err(|error| Trouble::Lost(failed(socket, &error)))?,
                socket: socket.clone(),
                is_bus,
                is_in: false,
                deadline: Instant::now() + PATIENCE,
                calls: 0,
                has_begun: false,
                received: Vec::with_capacity(4096),
                taken: 0,
            }),
            // Nobody takes the connections, of which a few hundred wait (unix(7)).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(Trouble::Lost(no_answer(socket)))
            }
            Err(error) => Err(Trouble::Lost(failed(socket, &error))),
        }
    }

    /// Whether systemd's signals come here without being asked for.
    pub(crate) fn hears_signals(&self) -> bool {
        !self.is_bus
    }

    /// Makes all `calls`, and passes every reply to `reply`, with the number of the call that it answers,
    /// from 0 on. An error in reply to one is an error here.
    ///
    /// What changes anything may only be asked for right after systemd has answered something.
    pub(crate) async fn call(
        &mut self,
        calls: &[Call<'_>],
        reply: &mut (dyn FnMut(usize, &Message<'_>) + Send),
    ) -> Result<(), Trouble> {
        if self.is_in {
            self.deadline = Instant::now() + PATIENCE;
        }
        let answered = timeout_at(self.deadline, self.converse(calls, reply)).await;
        answered.unwrap_or_else(|_| Err(Trouble::Lost(no_answer(&self.socket))))
    }

    async fn converse(
        &mut self,
        calls: &[Call<'_>],
        reply: &mut (dyn FnMut(usize, &Message<'_>) + Send),
    ) -> Result<(), Trouble> {
        // The calls could go out together with the request to be let in. But a systemd that stands
        // still would find them when it goes on, however long we have given up by then, and restart a
        // program that is long up again. So only one that has just answered is asked for anything.
        if !self.is_in {
            self.let_in().await?;
            self.is_in = true;
            if self.is_bus {
                let hello = Call {
                    destination: BUS,
                    path: "/org/freedesktop/DBus",
                    interface: BUS,
                    method: "Hello",
                    arguments: &[],
                };
                self.exchange(&[hello], &mut |_, _| {}).await?;
            }
        }
        self.exchange(calls, reply).await
    }

    async fn exchange(
        &mut self,
        calls: &[Call<'_>],
        reply: &mut (dyn FnMut(usize, &Message<'_>) + Send),
    ) -> Result<(), Trouble> {
        let before = self.calls;
        if !mem::take(&mut self.has_begun) {
            let bytes = to_bytes(calls, before);
            let sent = self.stream.write_all(&bytes).await;
            sent.map_err(|error| Trouble::Lost(failed(&self.socket, &error)))?;
        }
        self.calls += u32::try_from(calls.len()).unwrap_or(u32::MAX);
        let mut left = calls.len();
        while left > 0 {
            let message = self.message().await?;
            let number = message.reply_to.checked_sub(before + 1);
            let number = number.and_then(|number| usize::try_from(number).ok());
            match (message.kind, number.filter(|number| *number < calls.len())) {
                (Kind::Return, Some(number)) => reply(number, &message),
                (Kind::Error, Some(_)) => return Err(trouble(&message)),
                _ => continue,
            }
            left -= 1;
        }
        Ok(())
    }

    /// Waits for the answer to our request.
    async fn let_in(&mut self) -> Result<(), Trouble> {
        loop {
            match after_let_in(&self.received, &self.socket)? {
                Some(taken) => {
                    self.taken = taken;
                    return Ok(());
                }
                None => self.receive().await?,
            }
        }
    }

    /// Waits for the next message, for as long as it takes. May be dropped and called again.
    pub(crate) async fn message(&mut self) -> Result<Message<'_>, Trouble> {
        self.received.drain(..self.taken);
        self.taken = 0;
        loop {
            let nonsense = |Malformed| Trouble::Lost(nonsense(&self.socket));
            match length(&self.received).map_err(nonsense)? {
                Some(length) if length <= self.received.len() => {
                    self.taken = length;
                    return Message::parse(&self.received[..length]).map_err(nonsense);
                }
                _ => self.receive().await?,
            }
        }
    }

    async fn receive(&mut self) -> Result<(), Trouble> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) => Err(Trouble::Lost(phrase!(
                "systemd has closed the connection on %{socket}",
                socket = self.socket.display().to_string()
            ))),
            Ok(_) => Ok(()),
            Err(error) => Err(Trouble::Lost(failed(&self.socket, &error))),
        }
    }
}

/// A connection on systemd's own socket on which nothing is asked yet, and for which nobody is woken.
#[derive(Debug)]
pub(crate) struct Idle {
    stream: StdStream,
    socket: PathBuf,
    is_in: bool,
    /// The begin of a message, or of the answer to our request.
    received: Vec<u8>,
}

impl Idle {
    /// Connects, and asks to be let in, as [`Connection::open`] does.
    pub(crate) fn open(sockets: &Sockets) -> io::Result<Self> {
        Ok(Self {
            stream: connect(&sockets.private)?,
            socket: sockets.private.clone(),
            is_in: false,
            received: Vec::new(),
        })
    }

    /// Throws away what systemd has said meanwhile, without waiting. Says whether the connection is still
    /// good for anything.
    pub(crate) fn skim(&mut self) -> bool {
        let mut bytes = [0; 4096];
        for _ in 0..SKIMMED_MAX {
            match (&self.stream).read(&mut bytes) {
                Ok(0) => return false,
                Ok(length) => self.received.extend(&bytes[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
            if self.forget().is_err() {
                return false;
            }
        }
        false
    }

    /// Forgets what has come whole.
    fn forget(&mut self) -> Result<(), Trouble> {
        let mut taken = 0;
        if !self.is_in {
            let Some(after) = after_let_in(&self.received, &self.socket)? else {
                return Ok(());
            };
            self.is_in = true;
            taken = after;
        }
        loop {
            let left = &self.received[taken..];
            match length(left).map_err(|Malformed| Trouble::Lost(nonsense(&self.socket)))? {
                Some(length) if length <= left.len() => taken += length,
                _ => break,
            }
        }
        self.received.drain(..taken);
        Ok(())
    }

    /// Makes a connection of it on which these calls, which are to be the first there, are made already; or
    /// will be, if systemd hasn't let us in yet. `None` if it is good for nothing any more. Must be called in
    /// the runtime.
    pub(crate) fn begin(mut self, calls: &[Call<'_>]) -> Option<Connection> {
        if !self.skim() {
            return None;
        }
        if self.is_in {
            send(&self.stream, &to_bytes(calls, 0)).ok()?;
        }
        Some(Connection {
            stream: UnixStream::from_std(self.stream).ok()?,
            socket: self.socket,
            is_bus: false,
            is_in: self.is_in,
            deadline: Instant::now() + PATIENCE,
            calls: 0,
            has_begun: self.is_in,
            received: self.received,
            taken: 0,
        })
    }
}

/// The messages of calls, the numbers of which follow `before`.
fn to_bytes(calls: &[Call<'_>], before: u32) -> Vec<u8> {
    let numbered = (before + 1..).zip(calls);
    numbered
        .flat_map(|(number, call)| call.to_bytes(number))
        .collect()
}

/// Where the messages begin, once systemd has let us in.
fn after_let_in(received: &[u8], socket: &Path) -> Result<Option<usize>, Trouble> {
    let Some(end) = received.windows(2).position(|end| end == b"\r\n") else {
        return if received.len() > LINE_MAX {
            Err(Trouble::Lost(nonsense(socket)))
        } else {
            Ok(None)
        };
    };
    let line = &received[..end];
    if !line.starts_with(b"OK ") {
        let line = String::from_utf8_lossy(line);
        return Err(Trouble::Lost(phrase!(
            "systemd refuses the connection on %{socket}: %{words}",
            socket = socket.display().to_string(),
            words = line.as_ref()
        )));
    }
    Ok(Some(end + 2))
}

/// Not by std or tokio: the one waits where too many wait already, the other tells its caller only
/// after a turn of the runtime that it is connected, which a Unix socket is at once (unix(7)).
fn connect(socket: &Path) -> io::Result<StdStream> {
    let descriptor = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::connect(&descriptor, &SocketAddrUnix::new(socket)?)?;
    let stream = StdStream::from(descriptor);
    send(&stream, request(geteuid().as_raw()).as_bytes())?;
    Ok(stream)
}

/// Sends all of it at once: an empty socket takes a few KiB whole.
fn send(stream: &StdStream, bytes: &[u8]) -> io::Result<()> {
    let sent = rustix::net::send(stream, bytes, SendFlags::NOSIGNAL)?;
    if sent < bytes.len() {
        return Err(Errno::AGAIN.into());
    }
    Ok(())
}

/// What lets us in: who we are, which systemd checks, as our user's number in decimal, and that in
/// hexadecimal, in which the digit 7 is 37 ("Authentication Protocol" of the D-Bus Specification).
///
/// BEGIN comes with it, as systemctl has it, and not with the calls: systemd would take those in
/// together with it and leave them lying until more comes.
fn request(uid: u32) -> String {
    let digits = uid.to_string();
    let digits: String = digits.chars().flat_map(|digit| ['3', digit]).collect();
    format!("\0AUTH EXTERNAL {digits}\r\nBEGIN\r\n")
}

/// What an error is about, in its sender's words.
fn trouble(message: &Message<'_>) -> Trouble {
    let words = message.values().next().and_then(Value::text);
    let words = words.filter(|words| !words.is_empty());
    let words = words.unwrap_or(message.error).chars().take(WORDS_MAX);
    let words = Phrase::of_words(words.collect::<String>());
    if NOBODY.contains(&message.error) {
        return Trouble::Lost(words);
    }
    Trouble::Refused {
        name: message.error.to_owned(),
        words,
    }
}

fn no_answer(socket: &Path) -> Phrase {
    phrase!(
        "systemd doesn't answer on %{socket}",
        socket = socket.display().to_string()
    )
}

fn failed(socket: &Path, error: &io::Error) -> Phrase {
    phrase!(
        "systemd can't be asked on %{socket}: %{error}",
        socket = socket.display().to_string(),
        error = error.to_string()
    )
}

fn nonsense(socket: &Path) -> Phrase {
    phrase!(
        "the answer of systemd on %{socket} makes no sense",
        socket = socket.display().to_string()
    )
}
