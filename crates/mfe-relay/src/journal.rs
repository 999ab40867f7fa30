//! Reads the journal by short runs of journalctl(1): no cursor, which loses what comes after a power cut with the
//! clock set back, and no `--follow`, which shows no earlier boot from systemd 250 on. Each boot is read by
//! itself, by its id, and within a boot the monotonic time says what is new; no clock that anybody sets
//! decides anything.
//!
//! A look begins with what is newest and ends where all is known, so that on a till with months of events
//! it costs as little as on a new one. If more is new than is to be held in memory, the boot is read from its
//! beginning, as fast as the broker takes it, and what is known is skipped.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::event::{Boot, Event, FIELDS, FIELDS_OF_COUNT, UNIT, Understood, understand};
use crate::export::{Entry, Parser};
use crate::window::Marks;

/// So many new events are held in memory at most.
const HELD_MAX: usize = 256;

/// A longer list of boots isn't read, in bytes.
const LIST_MAX: u64 = 512 * 1024;

/// How long journalctl has for an entry: on an old disk the first one of many files takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where journald keeps its files (systemd-journald.service(8)).
const FOLDERS: [&str; 2] = ["var/log/journal", "run/log/journal"];

/// The journal, and how it is asked.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    /// For tests: another one than the system's.
    folder: Option<PathBuf>,
    /// systemd's version, as journalctl tells it.
    pub(crate) version: Option<u32>,
}

impl Journal {
    /// The system's; that of a folder, if one is given.
    pub(crate) async fn open(folder: Option<PathBuf>) -> Self {
        let asked = Command::new("journalctl").arg("--version").output();
        let version = match timeout(PATIENCE, asked).await {
            Ok(Ok(output)) => version(&String::from_utf8_lossy(&output.stdout)),
            _ => None,
        };
        Self { folder, version }
    }

    /// Whether it may be read: journalctl itself shows others nothing and says nothing of it.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn readable(&self) -> io::Result<()> {
        if self.folder.is_some() {
            return Ok(());
        }
        readable_in(Path::new("/"))
    }

    /// The boots that it has something of, in no order.
    pub(crate) async fn boots(&self) -> anyhow::Result<BTreeSet<Boot>> {
        let mut child = self.run(&["--field=_BOOT_ID"])?;
        let output = child.stdout.take().context("journalctl says nothing")?;
        let mut output = output.take(LIST_MAX);
        let mut text = String::new();
        let read = timeout(PATIENCE, output.read_to_string(&mut text));
        let length = read.await.context("journalctl takes too long")??;
        if length as u64 == LIST_MAX {
            child.kill().await?;
        } else {
            end(&mut child).await?;
        }
        Ok(text.lines().filter_map(Boot::new).collect())
    }

    /// The latest entry of the watchdog's in a boot: its monotonic time, and the till's clock then.
    async fn newest(&self, boot: &Boot) -> anyhow::Result<Option<(u64, u64)>> {
        let mut entries = self.entries(boot, FIELDS_OF_COUNT, &["--reverse", "--lines=1"])?;
        let newest = match entries.next().await?.map(understand) {
            Some(Understood::Event(event)) => Some((event.id.mono, event.wall)),
            Some(Understood::Other { mono }) => Some((mono, 0)),
            Some(Understood::Unreadable) => Some((u64::MAX, 0)),
            None => None,
        };
        Ok(newest)
    }

    /// What is new in a boot after a moment of its own.
    pub(crate) async fn look(&self, boot: &Boot, after: u64) -> anyhow::Result<Look> {
        let mut look = Look::after(after);
        let mut entries = self.entries(boot, FIELDS, &["--reverse"])?;
        while let Some(event) = entries.next_newer(after).await? {
            if look.count == HELD_MAX {
                return self.count(boot, after).await;
            }
            look.count(&event);
            look.events.push(*event);
        }
        Ok(look)
    }

    /// How much is new in a boot after a moment of its own, without what it is: that takes half the time.
    pub(crate) async fn count(&self, boot: &Boot, after: u64) -> anyhow::Result<Look> {
        let mut look = Look::after(after);
        let mut entries = self.entries(boot, FIELDS_OF_COUNT, &["--reverse"])?;
        while let Some(event) = entries.next_newer(after).await? {
            look.count(&event);
        }
        Ok(look)
    }

    /// The first event of a boot by the till's clock since a moment (seconds since 1970).
    pub(crate) async fn first_since(&self, boot: &Boot, since: u64) -> anyhow::Result<Option<u64>> {
        let since = format!("--since=@{since}");
        let mut entries = self.entries(boot, FIELDS_OF_COUNT, &[&since])?;
        while let Some(entry) = entries.next().await? {
            if let Understood::Event(event) = understand(entry) {
                return Ok(Some(event.id.mono));
            }
        }
        Ok(None)
    }

    /// All entries of the watchdog's of a boot, with these fields, oldest first unless it is asked for otherwise.
    fn entries(
        &self,
        boot: &Boot,
        fields: &'static [&'static str],
        options: &[&str],
    ) -> anyhow::Result<Entries> {
        let boot = format!("_BOOT_ID={boot}");
        let unit = format!("_SYSTEMD_UNIT={UNIT}");
        let fields_only = format!("--output-fields={}", fields.join(","));
        let mut words = vec!["--output=export"];
        if self.version.is_some_and(|version| version >= 236) {
            words.push(&fields_only);
        }
        words.extend(options);
        words.extend([boot.as_str(), &unit, "_UID=0"]);
        let mut child = self.run(&words)?;
        let output = child.stdout.take().context("journalctl says nothing")?;
        Ok(Entries {
            child,
            output: BufReader::new(output),
            parser: Parser::new(fields),
        })
    }

    fn run(&self, words: &[&str]) -> anyhow::Result<Child> {
        let mut command = Command::new("journalctl");
        command.args(["--no-pager", "--quiet"]).args(words);
        match &self.folder {
            Some(folder) => command.arg("--directory").arg(folder),
            None => command.arg("--system"),
        };
        command
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("journalctl can't be run")
    }
}

/// What is new.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// The events, newest first, unless they are too many to be held.
    pub(crate) events: Vec<Event>,
    pub(crate) count: usize,
    /// The monotonic time of the newest.
    pub(crate) latest: u64,
}

impl Look {
    fn after(after: u64) -> Self {
        Self {
            latest: after,
            ..Self::default()
        }
    }

    fn count(&mut self, event: &Event) {
        self.latest = self.latest.max(event.id.mono);
        self.count += 1;
    }
}

/// journalctl's entries. Dropping it kills journalctl.
struct Entries {
    child: Child,
    output: BufReader<ChildStdout>,
    parser: Parser,
}

impl Entries {
    /// The next one; `None` after the last, when journalctl has ended.
    async fn next(&mut self) -> anyhow::Result<Option<&Entry>> {
        let read = timeout(PATIENCE, Self::read(&mut self.output, &mut self.parser)).await;
        if read.context("journalctl takes too long")?? {
            return Ok(Some(self.parser.entry()));
        }
        end(&mut self.child).await?;
        Ok(None)
    }

    /// The next event that is newer, where they come newest first; `None` when all that follow are known.
    async fn next_newer(&mut self, after: u64) -> anyhow::Result<Option<Box<Event>>> {
        while let Some(entry) = self.next().await? {
            match understand(entry) {
                Understood::Event(event) if event.id.mono > after => return Ok(Some(event)),
                Understood::Event(_) => break,
                Understood::Other { mono } if mono <= after => break,
                Understood::Other { .. } | Understood::Unreadable => {}
            }
        }
        Ok(None)
    }

    async fn read(output: &mut BufReader<ChildStdout>, parser: &mut Parser) -> io::Result<bool> {
        loop {
            let there = output.fill_buf().await?;
            if there.is_empty() {
                if parser.is_in_entry() {
                    return Err(io::Error::other("journalctl broke off"));
                }
                return Ok(false);
            }
            let (used, is_entry) = parser.take(there);
            output.consume(used);
            if is_entry {
                return Ok(true);
            }
        }
    }
}

/// Waits for journalctl's end.
async fn end(journalctl: &mut Child) -> anyhow::Result<()> {
    let status = timeout(PATIENCE, journalctl.wait()).await;
    let status = status.context("journalctl doesn't end")??;
    // An empty journal is a failure to some versions.
    ensure!(
        status.code().is_some_and(|code| code <= 1),
        "journalctl: {status}"
    );
    Ok(())
}

/// What the reader has found.
#[derive(Debug)]
pub(crate) enum Found {
    /// What the journal has something of.
    Boots(BTreeSet<Boot>),
    /// So many events of a boot follow, the latest of them of this moment.
    New(Boot, u64, u64),
    Event(Box<Event>),
    /// Entries that can't be understood.
    Unreadable(u64),
    /// All that there was of a boot has been handed over.
    Drained(Boot),
    /// All that there was has been handed over.
    Idle,
    /// The journal can't be read. It is tried again with the next look.
    Failed(String),
}

/// Reads all that is new since the marks, oldest boot first, and then with each word from `looks` what has come
/// since. Earlier boots that are complete aren't looked at. Ends when nobody listens any more.
pub(crate) async fn read(
    journal: Journal,
    marks: Marks,
    complete: BTreeSet<Boot>,
    mut looks: mpsc::Receiver<()>,
    out: mpsc::Sender<Found>,
) {
    let mut reader = Reader {
        journal,
        position: marks,
        complete,
        has_all_earlier: false,
        out,
    };
    loop {
        let said = match reader.look().await {
            Ok(()) => Found::Idle,
            Err(error) => Found::Failed(format!("{error:#}")),
        };
        if reader.out.send(said).await.is_err() || looks.recv().await.is_none() {
            return;
        }
    }
}

struct Reader {
    journal: Journal,
    /// How far each boot has been handed over.
    position: Marks,
    /// Boots of which nothing is left to be handed over, unless they are the present one.
    complete: BTreeSet<Boot>,
    /// Whether of all boots but this one everything has been.
    has_all_earlier: bool,
    out: mpsc::Sender<Found>,
}

impl Reader {
    async fn look(&mut self) -> anyhow::Result<()> {
        self.journal.readable()?;
        let present = current_boot();
        if let (true, Some(present)) = (self.has_all_earlier, &present) {
            return self.read_boot(present).await;
        }
        let boots = self.journal.boots().await?;
        // In some containers the id isn't that of the journal: there all boots are looked at each time.
        let is_known = present.as_ref().is_some_and(|boot| boots.contains(boot));
        self.tell(Found::Boots(boots.clone())).await?;
        let mut new = BTreeSet::new();
        for boot in boots {
            let is_present = Some(&boot) == present.as_ref();
            if is_known && !is_present && self.complete.contains(&boot) {
                continue;
            }
            let known = self.position.get(&boot);
            let newest = self.journal.newest(&boot).await?;
            let is_new = |mono: u64| known.is_none_or(|known| mono > *known);
            match newest.filter(|(mono, _)| is_new(*mono)) {
                Some((_, wall)) => {
                    new.insert((is_present, wall, boot));
                }
                None => self.tell(Found::Drained(boot)).await?,
            }
        }
        for (_, _, boot) in new {
            self.read_boot(&boot).await?;
            // Its newest entry may be no event.
            self.tell(Found::Drained(boot)).await?;
        }
        self.has_all_earlier = is_known;
        Ok(())
    }

    async fn read_boot(&mut self, boot: &Boot) -> anyhow::Result<()> {
        loop {
            let position = self.position.get(boot).copied();
            let look = self
                .journal
                .look(boot, position.unwrap_or_default())
                .await?;
            if look.count == 0 {
                return Ok(());
            }
            let count = u64::try_from(look.count).unwrap_or(u64::MAX);
            self.tell(Found::New(*boot, count, look.latest)).await?;
            if look.events.is_empty() {
                self.stream(boot, position.unwrap_or_default()).await?;
                // More may have come meanwhile.
                continue;
            }
            let mut events = look.events;
            events.reverse();
            // A twin of the same microsecond stays behind its elder.
            events.sort_by_key(|event| event.id.mono);
            for event in events {
                self.tell(Found::Event(Box::new(event))).await?;
            }
            self.position.insert(*boot, look.latest);
            return self.tell(Found::Drained(*boot)).await;
        }
    }

    /// Hands over a boot from its beginning, but for what is known.
    async fn stream(&mut self, boot: &Boot, after: u64) -> anyhow::Result<()> {
        let mut entries = self.journal.entries(boot, FIELDS, &[])?;
        let mut latest = after;
        let mut unreadable = 0;
        while let Some(entry) = entries.next().await? {
            match understand(entry) {
                Understood::Event(event) if event.id.mono > after => {
                    latest = latest.max(event.id.mono);
                    self.tell(Found::Event(event)).await?;
                }
                Understood::Unreadable => unreadable += 1,
                Understood::Event(_) | Understood::Other { .. } => {}
            }
        }
        if latest == after {
            bail!("the journal has changed while it was read");
        }
        self.position.insert(*boot, latest);
        if unreadable > 0 {
            self.tell(Found::Unreadable(unreadable)).await?;
        }
        self.tell(Found::Drained(*boot)).await
    }

    async fn tell(&self, found: Found) -> anyhow::Result<()> {
        self.out.send(found).await.context("nobody listens")
    }
}

/// This boot, as the kernel names it.
pub(crate) fn current_boot() -> Option<Boot> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Boot::new(&text)
}

/// This machine (machine-id(5)).
pub(crate) fn machine_id() -> Option<String> {
    let text = std::fs::read_to_string("/etc/machine-id").ok()?;
    Boot::new(&text).map(|id| id.to_string())
}

/// systemd's version, in `journalctl --version`: such as `systemd 252 (252.39-1~deb12u2)`.
fn version(text: &str) -> Option<u32> {
    let word = text.split_whitespace().nth(1)?;
    let end = word
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(word.len());
    word[..end].parse().ok()
}

fn readable_in(root: &Path) -> io::Result<()> {
    let mut refused = None;
    for folder in FOLDERS {
        let entries = match std::fs::read_dir(root.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                refused = Some(error);
                continue;
            }
            entries => entries.into_iter().flatten().flatten().take(64),
        };
        for entry in entries {
            match File::open(entry.path().join("system.journal")) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    refused = Some(error);
                }
                Err(_) => {}
            }
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no journal is kept")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_version_is_known() {
        assert_eq!(version("systemd 252 (252.39-1~deb12u2)\n+PAM"), Some(252));
        assert_eq!(version("systemd 229\n"), Some(229));
        assert_eq!(version("systemd 258~rc1\n"), Some(258));
        assert_eq!(version(""), None);
    }

    #[test]
    fn a_journal_that_nobody_keeps_is_told() {
        let root = tempfile::tempdir().unwrap();
        let error = readable_in(root.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let folder = root.path().join("run/log/journal/0123");
        fs::create_dir_all(&folder).unwrap();
        assert!(readable_in(root.path()).is_err());
        fs::write(folder.join("system.journal"), "").unwrap();
        readable_in(root.path()).unwrap();
    }
}
