//! Tells systemd how the service is (sd_notify(3)), without ever waiting for it; what is told is
//! decided in [`super`].
//!
//! What systemd acts on (that the service is ready, alive, ending) goes before the words for people, in a
//! message of its own: systemd throws a message away as a whole.
//!
//! sd-notify puts the words; its own sending waits for a systemd that doesn't read, and knows no
//! abstract socket.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

use mfe_common::escape::cut_bytes;
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketAddrUnix};
use sd_notify::NotifyState;

/// The name of the words for people.
const STATUS: &str = "STATUS";

/// No value is longer, in bytes, so that no message reaches the 4 KiB that systemd takes.
const VALUE_MAX: usize = 4000;

/// The way to systemd.
#[derive(Debug)]
pub(super) struct Notifier {
    /// `None` if nobody wants to be told.
    address: Option<io::Result<SocketAddrUnix>>,
    /// Connected to nobody: systemd may be re-executed, and its socket with it.
    socket: Option<UnixDatagram>,
    unsent: Unsent,
}

impl Notifier {
    /// As `$NOTIFY_SOCKET` says.
    #[must_use]
    pub(super) fn from_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty());
        Self {
            address: socket.map(|socket| address(socket.as_bytes())),
            socket: None,
            unsent: Unsent::default(),
        }
    }

    /// Tells systemd `news`, and with them what it couldn't be told before.
    ///
    /// # Errors
    /// When systemd doesn't take it at once. Everything but the ping is told by the next call then.
    pub(super) fn send(&mut self, news: &[NotifyState<'_>]) -> io::Result<()> {
        let Some(address) = &self.address else {
            return Ok(());
        };
        self.unsent.add(news);
        let address = match address {
            Ok(address) => address,
            Err(error) => return Err(io::Error::new(error.kind(), error.to_string())),
        };
        for is_status in [false, true] {
            let text = self.unsent.text(is_status);
            if text.is_empty() {
                continue;
            }
            if let Err(error) = send(&mut self.socket, address, &text) {
                self.unsent.forget_the_ping();
                return Err(error);
            }
            self.unsent.was_sent(is_status);
        }
        Ok(())
    }
}

fn send(socket: &mut Option<UnixDatagram>, address: &SocketAddrUnix, text: &str) -> io::Result<()> {
    let socket = match socket {
        Some(socket) => socket,
        None => socket.insert(UnixDatagram::unbound()?),
    };
    match rustix::net::sendto(socket, text.as_bytes(), SendFlags::DONTWAIT, address) {
        Err(Errno::AGAIN) => Err(io::Error::new(
            ErrorKind::WouldBlock,
            "it doesn't read what it is sent",
        )),
        sent => Ok(sent.map(drop)?),
    }
}

/// A path, or after `@` a name in the abstract namespace (unix(7)), as sd_notify(3) has it.
fn address(socket: &[u8]) -> io::Result<SocketAddrUnix> {
    match socket {
        [b'@', name @ ..] => Ok(SocketAddrUnix::new_abstract_name(name)?),
        [b'/', ..] => Ok(SocketAddrUnix::new(socket)?),
        _ => Err(io::Error::new(
            ErrorKind::Unsupported,
            "NOTIFY_SOCKET is neither an absolute path nor an abstract name",
        )),
    }
}

/// What systemd has yet to be told: the last value of each variable.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unsent(BTreeMap<String, String>);

impl Unsent {
    fn add(&mut self, news: &[NotifyState<'_>]) {
        for state in news {
            // The end of a reload, or of the start, that systemd hasn't heard of.
            match state {
                NotifyState::Ready => {
                    self.0.remove("RELOADING");
                    self.0.remove("MONOTONIC_USEC");
                }
                NotifyState::Reloading => {
                    self.0.remove("READY");
                }
                _ => {}
            }
            let assignment = state.to_string();
            if let Some((name, value)) = assignment.split_once('=') {
                let value = cut_bytes(value.to_owned(), VALUE_MAX);
                self.0.insert(name.to_owned(), value);
            }
        }
    }

    fn forget_the_ping(&mut self) {
        // It says that the service is alive now.
        self.0.remove("WATCHDOG");
    }

    /// The words for people, or all else.
    fn text(&self, is_status: bool) -> String {
        let assignments = self.0.iter();
        let wanted = assignments.filter(|(name, _)| (*name == STATUS) == is_status);
        wanted.fold(String::new(), |text, (name, value)| {
            text + &format!("{name}={value}\n")
        })
    }

    fn was_sent(&mut self, is_status: bool) {
        self.0.retain(|name, _| (name == STATUS) != is_status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsent(news: &[&[NotifyState<'_>]]) -> String {
        let mut unsent = Unsent::default();
        for news in news {
            unsent.add(news);
        }
        unsent.text(false) + &unsent.text(true)
    }

    #[test]
    fn words_never_keep_systemd_from_what_it_acts_on() {
        let mut unsent = Unsent::default();
        let words = "ção".repeat(5000);
        let status = NotifyState::Status(&words);
        unsent.add(&[NotifyState::Ready, status, NotifyState::Watchdog]);
        assert_eq!(unsent.text(false), "READY=1\nWATCHDOG=1\n");
        let text = unsent.text(true);
        assert!(text.starts_with("STATUS=ção") && text.len() < 4096);
        unsent.was_sent(false);
        assert_eq!(unsent.text(false), "");
        assert_eq!(unsent.text(true), text);
    }

    #[test]
    fn of_what_is_unsent_the_last_word_counts() {
        use NotifyState::{Ready, Reloading, Status};
        assert_eq!(unsent(&[&[Status("a")], &[Status("b")]]), "STATUS=b\n");
        assert_eq!(
            unsent(&[&[Reloading, NotifyState::MonotonicUsec(1)], &[Ready]]),
            "READY=1\n"
        );
        assert_eq!(unsent(&[&[Ready], &[Reloading]]), "RELOADING=1\n");
    }

    #[test]
    fn a_ping_is_never_told_late() {
        let mut unsent = Unsent::default();
        unsent.add(&[NotifyState::Watchdog, NotifyState::Ready]);
        unsent.forget_the_ping();
        assert_eq!(unsent.text(false), "READY=1\n");
    }

    #[test]
    fn a_name_after_an_at_sign_is_abstract() {
        let address = address(b"@name").unwrap();
        assert_eq!(address.abstract_name(), Some(&b"name"[..]));
        assert!(super::address(b"vsock:2:1").is_err());
        assert!(super::address(b"run/notify").is_err());
    }
}
