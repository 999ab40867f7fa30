//! Has the runtime wait for a descriptor of the kernel's, such as a pidfd or a timer, to become
//! readable; what that means is known elsewhere.

use rustix::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Prepares to wait for a descriptor; `None` if the runtime can't. Must be called in it.
pub(crate) fn readable(descriptor: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    #[allow(
        deprecated,
        reason = "its successor is unsafe; an OwnedFd is the promise it asks for"
    )]
    let watched = AsyncFd::with_interest(descriptor, Interest::READABLE);
    watched.ok()
}
