//! Notices at once that a session has come, gone or changed (inotify(7)); what there is now is read by
//! [`super::Screen`].

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

use super::logind::SESSIONS;
use crate::sys::timer::readable;

/// Watches logind's sessions while nothing happens at no cost. Where that can't be had, whoever asks looks
/// in each cycle all the same.
#[derive(Debug)]
pub struct Watch {
    folder: PathBuf,
    events: Option<AsyncFd<OwnedFd>>,
}

impl Watch {
    /// Watches those below `root`. Must be called in the runtime.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        let mut watch = Self {
            folder: root.join(SESSIONS.trim_start_matches('/')),
            events: None,
        };
        watch.renew();
        watch
    }

    /// Watches the folder, if it isn't watched: logind may not have made it before.
    pub fn renew(&mut self) {
        if self.events.is_none() {
            self.events = watched(&self.folder);
        }
    }

    /// Waits until something has changed. May be dropped and called again.
    pub async fn changed(&mut self) {
        let Some(events) = &self.events else {
            return std::future::pending().await;
        };
        let is_watched = match events.readable().await {
            Ok(mut ready) => {
                let is_watched = drain(ready.get_inner());
                ready.clear_ready();
                is_watched
            }
            Err(_) => false,
        };
        if !is_watched {
            self.events = None;
        }
    }
}

fn watched(folder: &Path) -> Option<AsyncFd<OwnedFd>> {
    let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
    // Each is put in place of the one before by rename.
    let what =
        WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    inotify::add_watch(&events, folder, what | WatchFlags::ONLYDIR).ok()?;
    readable(events)
}

/// Takes all events there are, and tells whether the folder still is what is watched.
fn drain(events: &OwnedFd) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(events, &mut buffer);
    let mut is_watched = true;
    while let Ok(event) = reader.next() {
        let is_gone = inotify::ReadFlags::IGNORED | inotify::ReadFlags::MOVE_SELF;
        is_watched &= !event.events().intersects(is_gone);
    }
    is_watched
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn whatever_becomes_of_a_session_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(root.path());
        let quiet = tokio::time::timeout(Duration::from_millis(50), watch.changed()).await;
        assert!(quiet.is_err(), "there is no folder yet");
        let folder = root.path().join("run/systemd/sessions");
        fs::create_dir_all(&folder).unwrap();
        watch.renew();
        fs::write(folder.join(".#2"), "UID=1000").unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(50), watch.changed()).await;
        assert!(quiet.is_err(), "it is only being written");
        fs::rename(folder.join(".#2"), folder.join("2")).unwrap();
        watch.changed().await;
        fs::remove_file(folder.join("2")).unwrap();
        watch.changed().await;
        fs::remove_dir(&folder).unwrap();
        watch.changed().await;
        assert!(watch.events.is_none(), "there is nothing to watch");
    }
}
