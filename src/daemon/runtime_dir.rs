//! The runtime directory, which one service has for itself: its lock, the socket where people ask, and
//! whether both are still there. What is published there is decided in [`super`].

use std::ffi::CStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::geteuid;
use tokio::io::unix::AsyncFd;

use super::control::Listener;
use crate::status::control::SOCKET_NAME;
use crate::status::directories::Directories;
use crate::sys::lock::{Lock, NotLocked};
use crate::sys::timer::readable;

/// Whoever removes the directory is given this long to finish before it is looked at.
const SETTLE: Duration = Duration::from_millis(200);

/// Who may change the directory but its owner (inode(7)).
const OTHERS: u32 = 0o022;

/// The directory, held for as long as this lives.
#[derive(Debug)]
pub(super) struct RuntimeDir {
    path: PathBuf,
    lock: Lock,
    watch: Watch,
}

impl RuntimeDir {
    /// Takes the runtime directory for this service alone; it is made if it isn't there. Must be called
    /// in the runtime.
    ///
    /// # Errors
    /// When another service has it, or it can't be had.
    pub(super) fn claim(directories: &Directories) -> Result<Self, NotLocked> {
        let path = directories.runtime.clone();
        prepare(directories).map_err(NotLocked::Failed)?;
        let lock = Lock::take(&path)?;
        let watch = Watch::new(&path);
        Ok(Self { path, lock, watch })
    }

    /// Has people ask here.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub(super) fn listen(&self) -> io::Result<Listener> {
        Listener::bind(&self.path)
    }

    /// Whether others find the lock that this service holds. If not, another one could take it.
    pub(super) fn is_ours(&self) -> bool {
        self.lock.is_in_place()
    }

    /// Says there that the service has looked.
    pub(super) fn has_looked(&self) {
        self.lock.has_looked();
    }

    /// Whether it is noticed at once if somebody removes something.
    pub(super) fn is_watched(&self) -> bool {
        self.watch.events.is_some()
    }

    /// Whether people find where to ask.
    pub(super) fn has_socket(&self) -> bool {
        fs::symlink_metadata(self.path.join(SOCKET_NAME)).is_ok()
    }

    /// Waits until something was removed from the directory, or the directory itself. May be dropped and
    /// called again.
    pub(super) async fn disturbed(&mut self) {
        self.watch.disturbed().await;
    }
}

/// Makes the directory, for everybody to read. The usual one is root's: whoever could change it could
/// put a lock or a status of his own there.
fn prepare(directories: &Directories) -> io::Result<()> {
    let path = &directories.runtime;
    DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    let metadata = fs::symlink_metadata(path)?;
    if !directories.are_usual() || metadata.mode() & OTHERS == 0 && metadata.uid() == 0 {
        return Ok(());
    }
    if !metadata.is_dir() || metadata.uid() != geteuid().as_raw() {
        let why = "it belongs to somebody else; remove it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Notices removals at once and without looking (inotify(7)). Where the kernel has no more to give, they
/// are noticed when something is published.
#[derive(Debug)]
struct Watch {
    events: Option<AsyncFd<OwnedFd>>,
    /// When to tell of what has come.
    due: Option<Instant>,
}

impl Watch {
    fn new(path: &Path) -> Self {
        let watch = || {
            let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
            let what = WatchFlags::DELETE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
            inotify::add_watch(&events, path, what | WatchFlags::ONLYDIR).ok()?;
            readable(events)
        };
        Self {
            events: watch(),
            due: None,
        }
    }

    async fn disturbed(&mut self) {
        let due = match self.due {
            Some(due) => due,
            None => {
                self.removal().await;
                *self.due.insert(Instant::now() + SETTLE)
            }
        };
        tokio::time::sleep_until(due.into()).await;
        self.due = None;
    }

    async fn removal(&mut self) {
        let Some(events) = &self.events else {
            return std::future::pending().await;
        };
        loop {
            let Ok(mut ready) = events.readable().await else {
                break;
            };
            let is_news = drain(ready.get_inner());
            ready.clear_ready();
            if is_news {
                return;
            }
        }
        self.events = None;
        std::future::pending::<()>().await;
    }
}

/// Takes all events there are, and tells whether one of them is news. That of a file which is being
/// written isn't: small files are begun under a name with a dot.
fn drain(events: &OwnedFd) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(events, &mut buffer);
    let mut is_news = false;
    while let Ok(event) = reader.next() {
        let name = event.file_name().map(CStr::to_bytes);
        is_news |= !name.is_some_and(|name| name.starts_with(b"."));
    }
    is_news
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn directories(path: &Path) -> Directories {
        Directories::new(Some(path.to_owned()), None)
    }

    #[tokio::test]
    async fn what_is_removed_is_noticed_and_what_is_replaced_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run");
        let mut claimed = RuntimeDir::claim(&directories(&path)).unwrap();
        assert!(claimed.is_ours() && !claimed.has_socket());
        let listener = claimed.listen().unwrap();
        assert!(claimed.has_socket());
        for _ in 0..3 {
            crate::sys::small_file::replace(&path, "status.json", b"{}").unwrap();
        }
        File::create(path.join(".half.new")).unwrap();
        fs::remove_file(path.join(".half.new")).unwrap();
        let nothing = tokio::time::timeout(2 * SETTLE, claimed.disturbed()).await;
        assert!(nothing.is_err(), "nothing was removed");

        fs::remove_file(path.join(SOCKET_NAME)).unwrap();
        claimed.disturbed().await;
        assert!(claimed.is_ours() && !claimed.has_socket());
        fs::remove_dir_all(&path).unwrap();
        claimed.disturbed().await;
        assert!(!claimed.is_ours());
        drop(listener);
        let again = RuntimeDir::claim(&directories(&path)).unwrap();
        assert!(again.is_ours());
    }

    #[tokio::test]
    async fn a_directory_that_is_moved_away_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run");
        let mut claimed = RuntimeDir::claim(&directories(&path)).unwrap();
        fs::rename(&path, directory.path().join("away")).unwrap();
        claimed.disturbed().await;
        assert!(!claimed.is_ours());
    }
}
