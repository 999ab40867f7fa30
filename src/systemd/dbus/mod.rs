//! Speaks to systemd itself, on the private socket on which systemctl speaks to it for root, or on the
//! system bus where that one is away; what is asked of it is in `manager`, beside this.
//!
//! The client is our own: a D-Bus library weighs more than all of this package may, and not every one
//! speaks on the private socket, which needs no other service.

mod message;

use std::io;
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

/// What is kept of an error's message, in characters.
const WORDS_MAX: usize = 2048;

/// A connection for what is to be done about one unit. It isn't kept any longer: systemd sends all its
/// signals to whoever is connected on its private socket, asked or not.
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
                stream,
                socket: socket.clone(),
                is_bus,
                is_in: false,
                deadline: Instant::now() + PATIENCE,
                calls: 0,
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
        let mut bytes = Vec::new();
        for call in calls {
            self.calls += 1;
            bytes.extend(call.to_bytes(self.calls));
        }
        let sent = self.stream.write_all(&bytes).await;
        sent.map_err(|error| Trouble::Lost(failed(&self.socket, &error)))?;
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
        let end = loop {
            let end = self.received.windows(2).position(|end| end == b"\r\n");
            match end {
                Some(end) => break end,
                None if self.received.len() > LINE_MAX => {
                    return Err(Trouble::Lost(nonsense(&self.socket)));
                }
                None => self.receive().await?,
            }
        };
        let line = &self.received[..end];
        if !line.starts_with(b"OK ") {
            let line = String::from_utf8_lossy(line);
            return Err(Trouble::Lost(phrase!(
                "systemd refuses the connection on %{socket}: %{words}",
                socket = self.socket.display().to_string(),
                words = line.as_ref()
            )));
        }
        self.taken = end + 2;
        Ok(())
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

/// Not by std or tokio: the one waits where too many wait already, the other tells its caller only
/// after a turn of the runtime that it is connected, which a Unix socket is at once (unix(7)).
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let descriptor = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::connect(&descriptor, &SocketAddrUnix::new(socket)?)?;
    // An empty socket takes so little whole.
    let request = request(geteuid().as_raw());
    let sent = rustix::net::send(&descriptor, request.as_bytes(), SendFlags::NOSIGNAL)?;
    if sent < request.len() {
        return Err(Errno::AGAIN.into());
    }
    UnixStream::from_std(StdStream::from(descriptor))
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
