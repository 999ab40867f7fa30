//! Speaks to systemd itself, on the private socket on which systemctl speaks to it for root; what is
//! asked is decided in [`crate::start`].
//!
//! The client is our own: a D-Bus library weighs more than all of this package may.

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

/// Where systemd listens (since 229 at least, and until 262), besides the bus, for root alone.
pub(crate) const SOCKET: &str = "/run/systemd/private";

/// How long systemd may take to let us in and to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest line before the first message: `OK` and 32 digits, or why not.
const LINE_MAX: usize = 1024;

/// What is kept of an error's message, in characters.
const WORDS_MAX: usize = 2048;

/// A connection for one batch of calls. It isn't kept for another: systemd sends all its signals to
/// whoever is connected there, asked or not.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    socket: PathBuf,
    /// Until when the calls must be answered.
    deadline: Instant,
    received: Vec<u8>,
    /// How much of that is the last message, which is done with.
    taken: usize,
}

impl Connection {
    /// Connects, and asks to be let in. This is done at once and waits for nothing, so that systemd is
    /// at it while the caller has other things to do. Must be called in the runtime.
    pub(crate) fn open(socket: &Path) -> Result<Self, Phrase> {
        let deadline = Instant::now() + PATIENCE;
        match connect(socket) {
            Ok(stream) => Ok(Self {
                stream,
                socket: socket.to_owned(),
                deadline,
                received: Vec::with_capacity(4096),
                taken: 0,
            }),
            // Nobody takes the connections, of which a few hundred wait (unix(7)).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(no_answer(socket)),
            Err(error) => Err(failed(socket, &error)),
        }
    }

    /// Makes all `calls`, which have the serials from 1 on, and passes every reply to `reply`.
    /// An error in reply to one is an error here, in systemd's own words.
    pub(crate) async fn call(
        &mut self,
        calls: &[Call<'_>],
        reply: &mut (dyn FnMut(u32, &Message<'_>) + Send),
    ) -> Result<(), Phrase> {
        let answered = timeout_at(self.deadline, self.converse(calls, reply)).await;
        answered.unwrap_or_else(|_| Err(no_answer(&self.socket)))
    }

    async fn converse(
        &mut self,
        calls: &[Call<'_>],
        reply: &mut (dyn FnMut(u32, &Message<'_>) + Send),
    ) -> Result<(), Phrase> {
        // The calls could go out together with the request to be let in. But a systemd that stands
        // still would find them when it goes on, however long we have given up by then, and restart a
        // program that is long up again. So only one that has just answered is asked for anything.
        self.let_in().await?;
        let mut bytes = Vec::new();
        for (call, serial) in calls.iter().zip(1..) {
            bytes.extend(call.to_bytes(serial));
        }
        let sent = self.stream.write_all(&bytes).await;
        sent.map_err(|error| failed(&self.socket, &error))?;
        let mut left = calls.len();
        while left > 0 {
            let message = self.message().await?;
            match message.kind {
                Kind::Return if message.reply_to != 0 => reply(message.reply_to, &message),
                Kind::Error if message.reply_to != 0 => return Err(words(&message)),
                _ => continue,
            }
            left -= 1;
        }
        Ok(())
    }

    /// Waits for the answer to our request.
    async fn let_in(&mut self) -> Result<(), Phrase> {
        let end = loop {
            let end = self.received.windows(2).position(|end| end == b"\r\n");
            match end {
                Some(end) => break end,
                None if self.received.len() > LINE_MAX => return Err(nonsense(&self.socket)),
                None => self.receive().await?,
            }
        };
        let line = &self.received[..end];
        if !line.starts_with(b"OK ") {
            let line = String::from_utf8_lossy(line);
            return Err(phrase!(
                "systemd doesn't let us in on %{socket}: %{words}",
                socket = self.socket.display().to_string(),
                words = line.as_ref()
            ));
        }
        self.taken = end + 2;
        Ok(())
    }

    /// Waits for the next message, for as long as it takes.
    pub(crate) async fn message(&mut self) -> Result<Message<'_>, Phrase> {
        self.received.drain(..self.taken);
        self.taken = 0;
        loop {
            match length(&self.received).map_err(|Malformed| nonsense(&self.socket))? {
                Some(length) if length <= self.received.len() => {
                    self.taken = length;
                    return Message::parse(&self.received[..length])
                        .map_err(|Malformed| nonsense(&self.socket));
                }
                _ => self.receive().await?,
            }
        }
    }

    async fn receive(&mut self) -> Result<(), Phrase> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) => Err(phrase!(
                "systemd has closed the connection on %{socket}",
                socket = self.socket.display().to_string()
            )),
            Ok(_) => Ok(()),
            Err(error) => Err(failed(&self.socket, &error)),
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
fn words(message: &Message<'_>) -> Phrase {
    let words = message.values().next().and_then(Value::text);
    let words = words.filter(|words| !words.is_empty());
    let words = words.unwrap_or(message.error).chars().take(WORDS_MAX);
    Phrase::of_words(words.collect::<String>())
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
        "what systemd says on %{socket} makes no sense",
        socket = socket.display().to_string()
    )
}
