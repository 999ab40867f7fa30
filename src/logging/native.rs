//! The way to systemd's journal, through tracing-journald, which sends on a blocking socket that it
//! keeps to itself. A journal that is stopped with a full queue would block the service for ever;
//! hence that socket is made non-blocking here, and asked before each message whether there is room.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, OnceLock};

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use rustix::io::ioctl_fionbio;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, connect, recvmsg,
};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::gate::{Gate, Outlet};
use super::has_room;

/// Where the journal listens, as tracing-journald has it too.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Every descriptor of this process, as a symbolic link that names what it is (proc(5)).
const DESCRIPTORS: &str = "/proc/self/fd";

/// systemd's journal.
#[derive(Default)]
pub(super) struct Native {
    /// Open from the first moment on at which the journal had room.
    open: OnceLock<Open>,
}

struct Open {
    layer: tracing_journald::Layer,
    /// A second descriptor of the layer's own socket.
    socket: OwnedFd,
}

impl Native {
    /// The journal, if there is one: it may be full.
    ///
    /// # Errors
    /// When there seems to be one, but it can't be written to.
    pub(super) fn open() -> io::Result<Option<Self>> {
        let native = Self::default();
        match native.try_open() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if is_nobody(&error) => return Ok(None),
            opened => opened?,
        }
        Ok(Some(native))
    }

    fn try_open(&self) -> io::Result<()> {
        // The layer's first act is to send something. Should the last room in the queue go to
        // somebody else in just this moment, that waits for the journal.
        let asking = UnixDatagram::unbound()?;
        asking.connect(SOCKET)?;
        if !has_room(&asking) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let before = sockets()?;
        let layer = tracing_journald::layer()?
            .with_field_prefix(None)
            .with_syslog_identifier("mfe-watchdog".into());
        // Only this thread opens sockets: what has appeared meanwhile is the layer's.
        let opened = sockets()?
            .into_iter()
            .find(|descriptor| !before.contains(descriptor));
        let (raw, _) = opened.ok_or_else(|| {
            io::Error::new(ErrorKind::NotFound, "its socket isn't in /proc/self/fd")
        })?;
        let socket = second_descriptor(raw)?;
        ioctl_fionbio(&socket, true)?;
        // Whoever was first is as good.
        let _ = self.open.set(Open { layer, socket });
        Ok(())
    }
}

impl Outlet for Native {
    const NAME: &str = "the journal";

    fn has_room(&self) -> bool {
        if self.open.get().is_none() && self.try_open().is_err() {
            return false;
        }
        // Only a connected socket's poll looks at the queue of the other side too
        // (unix_dgram_poll() in the kernel); messages still go to the path, wherever this one is
        // connected to. Anew each time, for the journal's socket may have been replaced.
        self.open.get().is_some_and(|open| {
            SocketAddrUnix::new(SOCKET).is_ok_and(|journal| connect(&open.socket, &journal).is_ok())
                && has_room(&open.socket)
        })
    }
}

/// Writes to the journal that a gate leads to.
pub(super) struct NativeLayer(pub(super) Arc<Gate<Native>>);

impl<S> Layer<S> for NativeLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if let Some(open) = self.0.outlet().open.get() {
            open.layer.on_event(event, context);
        }
    }
}

/// Whether an attempt to connect says that nobody is there.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused
    )
}

/// The sockets that are open: descriptor and name, for a number by itself is used again.
fn sockets() -> io::Result<HashSet<(RawFd, String)>> {
    let mut sockets = HashSet::new();
    for entry in fs::read_dir(DESCRIPTORS)? {
        let entry = entry?;
        // The one that the directory is read through is no socket.
        let Ok(target) = fs::read_link(entry.path()) else {
            continue;
        };
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let name = target.to_str().filter(|name| name.starts_with("socket:"));
        if let (Some(number), Some(name)) = (number, name) {
            sockets.insert((number, name.to_owned()));
        }
    }
    Ok(sockets)
}

/// Another descriptor of an open file of this process, known by its number only: sent to ourselves,
/// as unix(7) has it under SCM_RIGHTS.
fn second_descriptor(raw: RawFd) -> io::Result<OwnedFd> {
    let (from, to) = UnixDatagram::pair()?;
    let descriptors = [raw];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let byte = [IoSlice::new(b"\0")];
    sendmsg::<UnixAddr>(from.as_raw_fd(), &byte, &rights, MsgFlags::empty(), None)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut received = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        &to,
        &mut [IoSliceMut::new(&mut byte)],
        &mut received,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    )?;
    let mut descriptors = received.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptors
        .next()
        .ok_or_else(|| io::Error::other("no descriptor of its socket came back"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_descriptor_is_of_the_same_open_file() {
        let (one, other) = UnixDatagram::pair().unwrap();
        let second = second_descriptor(one.as_raw_fd()).unwrap();
        ioctl_fionbio(&second, true).unwrap();
        let read = one.recv(&mut [0]).map_err(|error| error.kind());
        assert_eq!(read, Err(ErrorKind::WouldBlock), "through the first one");
        drop(one);
        other.send(b"still open").unwrap();
    }

    #[test]
    fn the_sockets_are_those_that_are_open() {
        let (one, _other) = UnixDatagram::pair().unwrap();
        let has = |number| {
            sockets()
                .unwrap()
                .iter()
                .any(|(socket, _)| *socket == number)
        };
        let number = one.as_raw_fd();
        assert!(has(number));
        assert!(!has(-1));
    }
}
