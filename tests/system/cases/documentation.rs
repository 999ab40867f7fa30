//! What there is to be read on a till, in English and Portuguese: the journal's explanations, the
//! manual pages, what the shells complete. Until the package is removed.

use anyhow::{Context, Result, ensure};

use crate::till::{SERVICE, Till};

/// Of the kind of event that there is one of at each start.
const STARTUP: &str = "614247e714bd4494ac390b56b48b16b6";

/// The system's own pages are compressed.
const PAGES: [(&str, &str); 4] = [
    ("man8/mfe-watchdog.8.gz", ".SH EXIT STATUS"),
    ("man5/mfe-watchdog.toml.5.gz", ".SH RULES"),
    ("pt_BR/man8/mfe-watchdog.8.gz", ".SH \"CÓDIGO DE SAÍDA\""),
    ("pt_BR/man5/mfe-watchdog.toml.5.gz", ".SH REGRAS"),
];

/// `journalctl -x` explains what has happened in the user's language.
pub(super) fn journal_explains(till: &Till) -> Result<()> {
    // The tree has no locale of Brazil; with this one programs take themselves to be there.
    till.sh("cd /usr/lib/locale && [ -d pt_BR.utf8 ] || \
         cp -a \"$(ls -d C.utf8 C.UTF-8 2>/dev/null | head -n 1)\" pt_BR.utf8")?;
    till.start()?;
    till.sh("journalctl --sync")?;
    let explained = |language: &str| {
        till.sh(&format!(
            "LANG={language} journalctl -q --no-pager -x -u {SERVICE} MESSAGE_ID={STARTUP}"
        ))
    };
    let english = explained("C.UTF-8")?;
    for wanted in [
        "The watchdog has started",
        "man:mfe-watchdog(8)",
        "How things stand: mfe-watchdog status",
    ] {
        ensure!(english.contains(wanted), "{wanted} is missing:\n{english}");
    }
    let portuguese = explained("pt_BR.UTF-8")?;
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

/// The pages are where man looks for them, and name what the program has.
pub(super) fn manual_pages(till: &Till) -> Result<()> {
    for (page, section) in PAGES {
        let text = till.sh(&format!("zcat /usr/share/man/{page}"))?;
        ensure!(text.contains(section), "{page} has no {section}");
    }
    for readme in ["README.md", "README.pt-BR.md"] {
        let path = format!("/usr/share/doc/mfe-watchdog/{readme}");
        let text = till.read(&path).with_context(|| path.clone())?;
        ensure!(text.starts_with("# mfe-watchdog"), "{path}: {text}");
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
    let registered = till.ok(&[
        "bash",
        "--norc",
        "-c",
        "source /usr/share/bash-completion/completions/mfe-watchdog && complete -p mfe-watchdog",
    ])?;
    ensure!(registered.contains("-F _mfe"), "{registered}");
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
