//! `mfe-relay join` and `leave`: a till comes to an office, and goes. All that is done is said.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Read, stdin};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use mfe_common::files;
use mfe_common::office::server;
use rust_i18n::t;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::cli::{Folders, journal_folder, print};
use crate::clock;
use crate::config;
use crate::journal::{Journal, current_boot};
use crate::relay::event_loop;
use crate::saved::{self, ALL, Saved};
use crate::token::{self, Token, understand};
use crate::window::Marks;

/// The user that the service runs as, and its group.
const USER: &str = "mfe-relay";

const UNIT: &str = "mfe-relay.service";

/// Where a journal that outlives a boot is kept, and what limits it if nobody has set a limit.
const JOURNAL: &str = "/var/log/journal";
const LIMIT: (&str, &str) = (
    "/etc/systemd/journald.conf.d/mfe-relay.conf",
    "# For weeks without a connection (mfe-relay). Remove this file for systemd's own limit.\n\
     [Journal]\nSystemMaxUse=200M\n",
);

/// What may set that limit already (journald.conf(5)).
const JOURNALD: [&str; 4] = [
    "/etc/systemd",
    "/run/systemd",
    "/usr/lib/systemd",
    "/lib/systemd",
];

/// Connects the till to the office of a token.
pub(crate) fn join(folders: &Folders, history: Option<Duration>) -> anyhow::Result<ExitCode> {
    ensure!(may_change(folders), "{}", t!("join.needs_root"));
    let token = read_token().map_err(anyhow::Error::msg)?;
    let settings = folders.settings();
    let kept = keeps(&settings, &token)?;
    let group = id_of("/etc/group", USER);
    ensure!(
        group.is_some() || !folders.are_the_systems(),
        "{}",
        t!("join.no_user", user = USER)
    );

    make_folder(&folders.config, None)?;
    if kept {
        tell(&t!("join.kept", file = settings.display()))?;
    } else {
        write(
            &settings,
            &config::written(&token.server, &token.till),
            0o644,
        )?;
    }
    write(&folders.ca(), &token.ca, 0o644)?;
    if folders.are_the_systems() {
        keep_journal()?;
    }
    begin(folders, history)?;
    // The last one, for the service doesn't start without it.
    let credential = folders.credential();
    write(&credential, &format!("{}\n", token.password), 0o640)?;
    if let Some(group) = group {
        let owned = chown(&credential, None, Some(group));
        owned.with_context(|| credential.display().to_string())?;
    }
    let (till, place) = (&token.till, &token.server);
    tell(&t!("join.joined", till = till, server = place))?;
    if folders.are_the_systems() {
        start()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Stops the service, and forgets who the till is.
pub(crate) fn leave(folders: &Folders) -> anyhow::Result<ExitCode> {
    ensure!(may_change(folders), "{}", t!("join.needs_root"));
    if folders.are_the_systems() && is_systemd() {
        systemctl(&["disable", "--now", UNIT])?;
    }
    for file in [folders.credential(), saved::path(&folders.state)] {
        match fs::remove_file(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.with_context(|| file.display().to_string())?,
        }
    }
    tell(&t!("join.left"))?;
    Ok(ExitCode::SUCCESS)
}

fn may_change(folders: &Folders) -> bool {
    rustix::process::geteuid().is_root() || !folders.are_the_systems()
}

fn tell(text: &str) -> anyhow::Result<()> {
    print(&format!("{text}\n")).map(|_| ())
}

/// The token, from whoever sits there or from a pipe.
fn read_token() -> Result<Token, String> {
    let input = stdin();
    if !input.is_terminal() {
        let mut text = String::new();
        let read = input.take(token::MAX as u64).read_to_string(&mut text);
        read.map_err(|error| error.to_string())?;
        return understand(&text);
    }
    // Not shown: there is a password in it, and others may be looking.
    let shown = tcgetattr(&input).map_err(|error| error.to_string())?;
    let mut hidden = shown.clone();
    hidden.local_modes -= LocalModes::ECHO;
    eprint!("{} ", t!("join.prompt"));
    let token = tcsetattr(&input, OptionalActions::Flush, &hidden)
        .map_err(|error| error.to_string())
        .and_then(|()| read_lines());
    let _ = tcsetattr(&input, OptionalActions::Now, &shown);
    eprintln!();
    token
}

/// Reads until there is a token, which may have been wrapped, or an empty line.
fn read_lines() -> Result<Token, String> {
    let mut text = String::new();
    for line in stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        text += &line;
        let token = understand(&text);
        if token.is_ok() || line.trim().is_empty() || text.len() > token::MAX {
            return token;
        }
    }
    understand(&text)
}

/// Whether there is a configuration already, which then has to be of the same till.
fn keeps(settings: &Path, token: &Token) -> anyhow::Result<bool> {
    if !settings.exists() {
        return Ok(false);
    }
    match config::load(settings) {
        Ok(known)
            if known.till == token.till
                && Some(&known.server) == server(&token.server).as_ref() =>
        {
            Ok(true)
        }
        Ok(_) => bail!("{}", t!("join.another", file = settings.display())),
        Err(problems) => {
            let first = problems.first().map(|problem| problem.shown(settings));
            bail!("{}", first.unwrap_or_default())
        }
    }
}

fn make_folder(folder: &Path, owner: Option<(u32, u32)>) -> anyhow::Result<()> {
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o755).create(folder);
    made.with_context(|| folder.display().to_string())?;
    if let Some((user, group)) = owner {
        chown(folder, Some(user), Some(group)).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}

fn write(file: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let written = files::replace(file, text.as_bytes(), mode);
    written.with_context(|| file.display().to_string())
}

/// The id of a name in passwd(5) or group(5). A program that is linked statically can't ask the C library.
fn id_of(file: &str, name: &str) -> Option<u32> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines();
    let line = lines.find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// Sees to a journal that outlives a boot: without one, what happens offline is gone with the next.
fn keep_journal() -> anyhow::Result<()> {
    if Path::new(JOURNAL).exists() {
        return Ok(());
    }
    if !has_limit(Path::new("/")) {
        let (file, text) = LIMIT;
        make_folder(Path::new(file).parent().unwrap_or(Path::new("/")), None)?;
        write(Path::new(file), text, 0o644)?;
        tell(&t!("join.limited", file = file))?;
    }
    make_folder(Path::new(JOURNAL), None)?;
    if is_systemd() {
        // Whose it is and who may read it; then journald moves there.
        let _ = run("systemd-tmpfiles", &["--create", "--prefix", JOURNAL]);
        let _ = run("journalctl", &["--flush"]);
    }
    tell(&t!("join.journal", folder = JOURNAL))
}

/// Whether somebody has set how big the journal may get.
fn has_limit(root: &Path) -> bool {
    let folders = JOURNALD.map(|folder| root.join(folder.trim_start_matches('/')));
    let files = folders.iter().flat_map(|folder| {
        let extra = fs::read_dir(folder.join("journald.conf.d"));
        let extra = extra
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        extra
            .chain([folder.join("journald.conf")])
            .collect::<Vec<PathBuf>>()
    });
    let mut texts = files.filter_map(|file| files::read_text(&file).ok().flatten());
    texts.any(|text| {
        let mut lines = text.lines();
        lines.any(|line| line.trim_start().starts_with("SystemMaxUse="))
    })
}

/// From when on events are sent: from now, or from as long ago as is asked for; from where it was if this till was
/// here before.
fn begin(folders: &Folders, history: Option<Duration>) -> anyhow::Result<()> {
    let state = &folders.state;
    if saved::path(state).exists() {
        return tell(&t!("join.goes_on"));
    }
    let marks = event_loop()?
        .block_on(marks(history))
        .with_context(|| t!("join.no_journal"))?;
    let user = folders
        .are_the_systems()
        .then(|| id_of("/etc/passwd", USER));
    let owner = user.flatten().zip(id_of("/etc/group", USER));
    make_folder(state, owner)?;
    let saved = Saved::new(marks, 0);
    saved
        .write(state)
        .with_context(|| state.display().to_string())?;
    if let Some((user, group)) = owner {
        chown(saved::path(state), Some(user), Some(group))?;
    }
    match history {
        Some(time) => tell(&t!("join.history", time = humantime::format_duration(time))),
        None => tell(&t!("join.now")),
    }
}

/// What counts as delivered at the beginning.
async fn marks(history: Option<Duration>) -> anyhow::Result<Marks> {
    let journal = Journal::open(journal_folder()).await;
    let since = history.map(|time| {
        let since = SystemTime::now()
            .checked_sub(time)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let since = since.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    });
    let mut marks = Marks::new();
    let present = current_boot();
    let now = clock::now().mono;
    for boot in journal.boots().await? {
        let first = match since {
            Some(since) => journal.first_since(&boot, since).await?,
            None => None,
        };
        let of_present = if Some(&boot) == present.as_ref() {
            now
        } else {
            ALL
        };
        let mark = first.map_or(of_present, |first| first.saturating_sub(1));
        marks.insert(boot, mark);
    }
    if let (Some(present), None) = (present, since) {
        marks.entry(present).or_insert(now);
    }
    Ok(marks)
}

fn start() -> anyhow::Result<()> {
    if !is_systemd() {
        return tell(&t!("join.no_systemd"));
    }
    systemctl(&["enable", "--quiet", UNIT])?;
    systemctl(&["restart", UNIT])?;
    tell(&t!("join.started"))
}

fn is_systemd() -> bool {
    Path::new("/run/systemd/system").exists()
}

fn systemctl(arguments: &[&str]) -> anyhow::Result<()> {
    run("systemctl", arguments)
}

/// Runs one of systemd's commands, which end by themselves.
fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    let command = command.args(arguments).stdin(Stdio::null());
    let status = command.status().with_context(|| program.to_owned())?;
    ensure!(
        status.success(),
        "{program} {}: {status}",
        arguments.join(" ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_the_journal_is_found_wherever_it_is_set() {
        for file in [
            "etc/systemd/journald.conf",
            "etc/systemd/journald.conf.d/a.conf",
            "usr/lib/systemd/journald.conf.d/b.conf",
        ] {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "[Journal]\n#SystemMaxUse=\n").unwrap();
            assert!(!has_limit(root.path()), "{file}");
            fs::write(&path, "[Journal]\nSystemMaxUse=1G\n").unwrap();
            assert!(has_limit(root.path()), "{file}");
        }
    }

    #[test]
    fn ids_are_read_by_name() {
        assert_eq!(id_of("/etc/passwd", "root"), Some(0));
        assert_eq!(id_of("/etc/group", "no-such-group"), None);
    }
}
