//! What there is to be read on a till, in English and Portuguese: the journal's explanations, the
//! manual pages, what the shells complete. Until the package is removed.

use anyhow::{Context, Result, ensure};

use crate::till::{SERVICE, Till};

/// Of the kind of event that there is one of at each start.
const STARTUP: &str = "614247e714bd4494ac390b56b48b16b6";

/// The locales that the texts are read in.
const ENGLISH: &str = "C.UTF-8";
const PORTUGUESE: &str = "pt_BR.UTF-8";

/// Each manual page in each language: its file, and a heading of its last part. The system's own pages
/// are compressed.
const PAGES: [(&str, &str, &str, &str); 4] = [
    (
        ENGLISH,
        "mfe-watchdog",
        "man8/mfe-watchdog.8.gz",
        "SEE ALSO",
    ),
    (
        ENGLISH,
        "mfe-watchdog.toml",
        "man5/mfe-watchdog.toml.5.gz",
        "SEE ALSO",
    ),
    (
        PORTUGUESE,
        "mfe-watchdog",
        "pt_BR/man8/mfe-watchdog.8.gz",
        "VEJA TAMBÉM",
    ),
    (
        PORTUGUESE,
        "mfe-watchdog.toml",
        "pt_BR/man5/mfe-watchdog.toml.5.gz",
        "VEJA TAMBÉM",
    ),
];

/// The width of a technician's terminal, in columns.
const WIDTH: usize = 80;

/// Has programs take themselves to be in Brazil, of which the tree has no locale.
fn make_portuguese(till: &Till) -> Result<()> {
    till.sh("cd /usr/lib/locale && [ -d pt_BR.utf8 ] || \
         cp -a \"$(ls -d C.utf8 C.UTF-8 2>/dev/null | head -n 1)\" pt_BR.utf8")?;
    Ok(())
}

/// `journalctl -x` explains what has happened in the user's language.
pub(super) fn journal_explains(till: &Till) -> Result<()> {
    make_portuguese(till)?;
    till.start()?;
    till.sh("journalctl --sync")?;
    let explained = |language: &str| {
        till.sh(&format!(
            "LANG={language} journalctl -q --no-pager -x -u {SERVICE} MESSAGE_ID={STARTUP}"
        ))
    };
    let english = explained(ENGLISH)?;
    for wanted in [
        "The watchdog has started",
        "man:mfe-watchdog(8)",
        "Current state: mfe-watchdog status",
    ] {
        ensure!(english.contains(wanted), "{wanted} is missing:\n{english}");
    }
    let portuguese = explained(PORTUGUESE)?;
    for wanted in ["O watchdog foi iniciado", "Não há nada a fazer."] {
        ensure!(
            portuguese.contains(wanted),
            "{wanted} is missing:\n{portuguese}"
        );
    }
    // Every line of both catalogs was understood, each text in its place.
    let ids = till.sh("grep -c '^-- ' /usr/lib/systemd/catalog/mfe-watchdog.catalog")?;
    let listed = till.sh("journalctl --no-pager --list-catalog | grep -c ' mfe-watchdog: '")?;
    ensure!(
        ids == listed,
        "{ids} entries, {listed} known to the journal"
    );
    Ok(())
}

/// man shows the package's pages in the user's language, whole, and has nothing to complain of.
pub(super) fn manual_pages(till: &Till) -> Result<()> {
    make_portuguese(till)?;
    for (language, page, file, last) in PAGES {
        let path = format!("/usr/share/man/{file}");
        let found = till.sh(&format!("LANG={language} man -w {page}"))?;
        ensure!(found.trim() == path, "{page} is {found}");
        let owner = till.ok(&["dpkg", "-S", &path])?;
        ensure!(owner.starts_with("mfe-watchdog: "), "{path}: {owner}");
        let man = format!("LANG={language} MANWIDTH={WIDTH} man --warnings -P cat {page}");
        let complaints = till.sh(&format!("{man} 2>&1 >/dev/null"))?;
        ensure!(complaints.trim().is_empty(), "{path}: {complaints}");
        let text = till.sh(&man)?;
        for wanted in [format!("{page} - "), format!("\n{last}\n")] {
            let is_there = text.replace('\u{2010}', "-").contains(&wanted);
            ensure!(is_there, "{path} has no {wanted:?}:\n{text}");
        }
        let long = text.lines().find(|line| line.chars().count() > WIDTH);
        ensure!(long.is_none(), "{path}: {long:?}");
    }
    // As it is: what links to it isn't to lead to a compressed one.
    for document in ["README", "docs/operation", "docs/configuration"] {
        for language in ["", ".pt-BR"] {
            let path = format!("/usr/share/doc/mfe-watchdog/{document}{language}.md");
            let text = till.read(&path).with_context(|| path.clone())?;
            ensure!(text.starts_with("# "), "{path}: {text}");
        }
    }
    Ok(())
}

/// A shell finds the completions where it looks for them.
pub(super) fn completions(till: &Till) -> Result<()> {
    for file in [
        "zsh/vendor-completions/_mfe-watchdog",
        "fish/vendor_completions.d/mfe-watchdog.fish",
    ] {
        let path = format!("/usr/share/{file}");
        ensure!(till.exists(&path), "{path} is missing");
    }
    // What a login shell does on the first Tab: bash-completion finds the file by the command's name.
    let script = "source /usr/share/bash-completion/bash_completion
        [[ $(complete -p -D) =~ -F\\ ([^ ]+) ]]
        ${BASH_REMATCH[1]} mfe-watchdog
        [[ $(complete -p mfe-watchdog) =~ -F\\ ([^ ]+) ]]
        COMP_WORDS=(mfe-watchdog stat) COMP_CWORD=1
        ${BASH_REMATCH[1]} mfe-watchdog stat mfe-watchdog
        echo \"${COMPREPLY[*]}\"";
    let offered = till.ok(&["bash", "--norc", "-c", script])?;
    ensure!(offered.trim() == "status", "{offered}");
    Ok(())
}

/// The journal forgets the explanations of a package that is gone.
pub(super) fn removed(till: &Till) -> Result<()> {
    let known = || till.sh("journalctl --no-pager --list-catalog | grep -c mfe-watchdog || true");
    ensure!(known()?.trim() != "0", "the journal knows no explanations");
    till.ok(&["apt-get", "-q", "-y", "remove", "mfe-watchdog"])?;
    ensure!(
        known()?.trim() == "0",
        "the journal knows explanations still"
    );
    till.apt_install("current", &[])?;
    ensure!(known()?.trim() != "0", "they aren't back");
    Ok(())
}
