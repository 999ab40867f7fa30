//! Notices that the watchdog has published something: a rename in its runtime directory (inotify(7)).

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A folder that is watched, as far as it is there.
pub(crate) struct Wake {
    folder: PathBuf,
    watch: Option<AsyncFd<OwnedFd>>,
}

impl Wake {
    /// Watches a folder. Must be made in the runtime.
    pub(crate) fn new(folder: &Path) -> Self {
        let mut wake = Self {
            folder: folder.to_owned(),
            watch: None,
        };
        wake.renew();
        wake
    }

    /// Begins again if the folder wasn't there, or has gone.
    pub(crate) fn renew(&mut self) {
        if self.watch.is_none() {
            self.watch = watch(&self.folder).ok();
        }
    }

    /// Whether changes are noticed.
    pub(crate) fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// Waits for a change. Where there is nothing to watch, that is never.
    pub(crate) async fn changed(&mut self) {
        let Some(watch) = &self.watch else {
            return std::future::pending().await;
        };
        let read = watch.async_io(Interest::READABLE, |fd| {
            Ok(rustix::io::read(fd, &mut [0; 4096])?)
        });
        // With the folder its watch is gone, and the next look will tell; it may be made again.
        if read.await.is_err() || !self.folder.exists() {
            self.watch = None;
        }
    }
}

fn watch(folder: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let changes = WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::DELETE_SELF;
    inotify::add_watch(&fd, folder, changes | WatchFlags::ONLYDIR)?;
    #[allow(
        deprecated,
        reason = "its successor is unsafe; an OwnedFd is the promise it asks for"
    )]
    AsyncFd::with_interest(fd, Interest::READABLE)
}
