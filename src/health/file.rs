//! Looks whether a file still changes.
//!
//! The looking is done by a thread: a file system, of a dead network share above all, may keep it
//! waiting for ever. There is never a second one beside it for the same path.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use glob::{MatchOptions, Pattern};
use mfe_common::escape::printable;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::verdict::Finding;
use super::{in_words, no_answer};
use crate::text::phrase::phrase;

/// When the newest of the files changed, if there is one.
type Newest = io::Result<Option<SystemTime>>;

/// A look under way, or none.
type Look = Arc<Mutex<Option<JoinHandle<Newest>>>>;

/// The looks of one process's checks, which may hang for longer than the checks exist.
#[derive(Debug, Default)]
pub(super) struct Looks(Vec<(String, Look)>);

impl Looks {
    /// The look at `path`.
    pub(super) fn at(&mut self, path: &str) -> Look {
        if let Some((_, look)) = self.0.iter().find(|(known, _)| known == path) {
            return look.clone();
        }
        let look = Look::default();
        self.0.push((path.to_owned(), look.clone()));
        look
    }

    /// Forgets the looks that nobody uses any more, except those that still hang.
    pub(super) fn forget_unused(&mut self) {
        self.0.retain(|(_, look)| {
            let hangs = look.try_lock().map_or(true, |look| {
                look.as_ref().is_some_and(|look| !look.is_finished())
            });
            hangs || Arc::strong_count(look) > 1
        });
    }
}

/// One check of a file.
#[derive(Debug)]
pub(super) struct Probe {
    path: String,
    look: Look,
    freshness: Freshness,
}

impl Probe {
    pub(super) fn new(path: &str, max_age: Duration, begin: Instant, look: Look) -> Self {
        Self {
            path: path.to_owned(),
            look,
            freshness: Freshness::new(max_age, begin),
        }
    }

    /// Whether the file has changed lately.
    pub(super) async fn probe(&mut self, limit: Duration) -> Finding {
        let shown = printable(&self.path);
        let Ok(newest) = timeout(limit, newest(&self.look, &self.path)).await else {
            return Finding::Unwell(no_answer(&shown, limit));
        };
        match newest {
            Ok(newest) => self.freshness.judge(Instant::now(), newest, &shown),
            Err(error) => Finding::Unknown(format!("{shown} can't be checked: {error}")),
        }
    }
}

/// Waits for the look under way, or for a new one.
async fn newest(look: &Look, path: &str) -> Newest {
    let mut look = look.lock().await;
    let handle = look.get_or_insert_with(|| {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || look_at(&path))
    });
    let newest = handle.await;
    *look = None;
    newest.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// The blocking part.
fn look_at(path: &str) -> Newest {
    let components: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    newest_below(PathBuf::from("/"), &components)
}

/// The newest of the files below `path` that match. (The walk that comes with the patterns takes a
/// folder that it may not enter for an empty one.)
fn newest_below(mut path: PathBuf, components: &[&str]) -> Newest {
    let is_pattern = |component: &&str| component.contains(['*', '?', '[']);
    let plain = components.iter().position(is_pattern);
    let (plain, rest) = components.split_at(plain.unwrap_or(components.len()));
    path.extend(plain);
    let Some((pattern, rest)) = rest.split_first() else {
        return absent(fs::metadata(&path).and_then(|metadata| metadata.modified()));
    };
    let pattern = Pattern::new(pattern).map_err(io::Error::other)?;
    let options = MatchOptions {
        require_literal_leading_dot: true,
        ..MatchOptions::new()
    };
    let (mut newest, mut failed) = (None, None);
    for entry in absent(fs::read_dir(&path))?.into_iter().flatten() {
        let entry = entry?;
        if pattern.matches_with(&entry.file_name().to_string_lossy(), options) {
            match newest_below(entry.path(), rest) {
                Ok(time) => newest = newest.max(time),
                Err(error) => failed = Some(error),
            }
        }
    }
    match (newest, failed) {
        (None, Some(error)) => Err(error),
        (newest, _) => Ok(newest),
    }
}

/// That there is nothing is an answer.
fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(None),
            _ => Err(error),
        },
    }
}

/// Decides from looks at a file whether it still changes.
///
/// The wall clock has no say in it, for it may be set at any time: what counts is for how long the
/// file's time of change was seen to be the same. A file that is old when the checking begins, such
/// as one that was written before a restart, so has its `max_age` from then on.
#[derive(Debug)]
struct Freshness {
    max_age: Duration,
    newest: Option<SystemTime>,
    changed: Instant,
}

impl Freshness {
    fn new(max_age: Duration, begin: Instant) -> Self {
        Self {
            max_age,
            newest: None,
            changed: begin,
        }
    }

    /// Takes what a look at `now` has found.
    fn judge(&mut self, now: Instant, newest: Option<SystemTime>, path: &str) -> Finding {
        if newest.is_some() && newest != self.newest {
            self.newest = newest;
            self.changed = now;
        }
        let age = now.saturating_duration_since(self.changed);
        if age <= self.max_age {
            return Finding::Well;
        }
        let time = in_words(age);
        Finding::Unwell(match newest {
            Some(_) => phrase!(
                "%{path} hasn't changed for %{time}",
                path = path,
                time = time
            ),
            None => phrase!(
                "%{path} hasn't been there for %{time}",
                path = path,
                time = time
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    const MAX_AGE: Duration = Duration::from_secs(600);
    const SECOND: Duration = Duration::from_secs(1);

    /// What a look finds below a new folder that `setup` has filled: at which second, if at all.
    fn found(pattern: &str, setup: impl FnOnce(&Path)) -> Result<Option<u64>, io::Error> {
        let directory = tempfile::tempdir().unwrap();
        setup(directory.path());
        let time = look_at(&format!("{}{pattern}", directory.path().display()))?;
        Ok(time.map(|time| {
            time.duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_secs()
        }))
    }

    fn write(path: PathBuf, second: u64) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(path).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        file.set_modified(time).unwrap();
    }

    #[test]
    fn the_newest_match_counts() {
        let files = |directory: &Path| {
            write(directory.join("a/x.log"), 1);
            write(directory.join("b/x.log"), 3);
            write(directory.join("b/y.log"), 2);
            write(directory.join("b/.z.log"), 4);
            write(directory.join("c"), 5);
        };
        for (pattern, expected) in [
            ("/*/x.log", Some(3)),
            ("/[ab]/y.*", Some(2)),
            ("/a//?.log", Some(1)),
            ("/b/.z.log", Some(4)),
            ("/c", Some(5)),
            ("/c/x", None),
            ("/c/*", None),
            ("/d/*.log", None),
            ("/*/z.log", None),
        ] {
            assert_eq!(found(pattern, files).unwrap(), expected, "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_looked_into_is_not_empty() {
        // It leads to itself, which not even root can follow.
        let link = |directory: &Path| symlink("closed", directory.join("closed")).unwrap();
        for pattern in ["/closed", "/closed/a.log", "/closed/*.log", "/*/a.log"] {
            let error = found(pattern, link).unwrap_err();
            assert!(error.to_string().contains("symbolic links"), "{error}");
        }
        let both = |directory: &Path| {
            link(directory);
            write(directory.join("open/a.log"), 1);
        };
        assert_eq!(found("/*/a.log", both).unwrap(), Some(1), "one is enough");
    }

    #[test]
    fn an_old_file_has_its_time_from_the_beginning() {
        let begin = Instant::now();
        let mut file = Freshness::new(MAX_AGE, begin);
        let old = Some(SystemTime::UNIX_EPOCH);
        assert_eq!(file.judge(begin, old, "/f"), Finding::Well);
        assert_eq!(file.judge(begin + MAX_AGE, old, "/f"), Finding::Well);
        let finding = file.judge(begin + MAX_AGE + SECOND, old, "/f");
        assert_eq!(finding.words(), "/f hasn't changed for 10min 1s");
        let written = Some(SystemTime::UNIX_EPOCH + SECOND);
        let later = begin + MAX_AGE * 2;
        assert_eq!(file.judge(later, written, "/f"), Finding::Well);
    }

    #[test]
    fn a_clock_that_is_set_makes_no_file_old() {
        let begin = Instant::now();
        let mut file = Freshness::new(MAX_AGE, begin);
        let year = Duration::from_secs(366 * 86400);
        let mut time = SystemTime::now();
        let mut now = begin;
        for set in [1, 0, 2, 1] {
            now += MAX_AGE;
            time += SECOND;
            let written = time - year + set * year;
            assert_eq!(file.judge(now, Some(written), "/f"), Finding::Well);
        }
    }

    #[test]
    fn a_file_that_is_not_there_has_the_same_time() {
        let begin = Instant::now();
        let mut file = Freshness::new(MAX_AGE, begin);
        assert_eq!(file.judge(begin + MAX_AGE, None, "/f"), Finding::Well);
        let finding = file.judge(begin + MAX_AGE + SECOND, None, "/f");
        assert_eq!(finding.words(), "/f hasn't been there for 10min 1s");
    }

    proptest! {
        #[test]
        fn it_is_unwell_exactly_when_nothing_changed_for_too_long(
            looks in proptest::collection::vec((0..700_u64, any::<bool>()), 1..50)
        ) {
            let begin = Instant::now();
            let mut file = Freshness::new(MAX_AGE, begin);
            let (mut now, mut written, mut quiet) = (begin, SystemTime::UNIX_EPOCH, Duration::ZERO);
            for (index, (passed, is_written)) in looks.into_iter().enumerate() {
                let passed = Duration::from_secs(passed);
                now += passed;
                quiet += passed;
                if is_written || index == 0 {
                    written += SECOND;
                    quiet = Duration::ZERO;
                }
                let finding = file.judge(now, Some(written), "/f");
                prop_assert_eq!(finding == Finding::Well, quiet <= MAX_AGE);
            }
        }
    }
}
