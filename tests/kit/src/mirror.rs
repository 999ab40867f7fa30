//! The Debian mirror that the machine's own apt uses, read from its sources in both formats; it
//! knows no mirror of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The mirror for Debian's own suites.
pub fn of_this_machine() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let Some(codename) = codename(&release) else {
        bail!("/etc/os-release names no VERSION_CODENAME: this is no Debian release");
    };
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(folder) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut parts: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
        parts.sort();
        files.extend(parts);
    }
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let found = match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => in_lines(&text, codename),
            Some("sources") => in_paragraphs(&text, codename),
            _ => None,
        };
        if let Some(mirror) = found {
            return Ok(mirror);
        }
    }
    bail!(
        "no entry for {codename} in {}",
        Path::new("/etc/apt").display()
    )
}

fn codename(os_release: &str) -> Option<&str> {
    let value = os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"'))
}

/// `deb [options] URI SUITE COMPONENT...`
fn in_lines(text: &str, suite: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let line = line
            .trim()
            .strip_prefix("deb")?
            .strip_prefix(char::is_whitespace)?
            .trim();
        let line = match line.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => line,
        };
        let mut words = line.split_whitespace();
        let uri = words.next()?;
        (words.next()? == suite && words.any(|word| word == "main")).then(|| uri.to_owned())
    })
}

/// Paragraphs of `Types:`, `URIs:`, `Suites:` and `Components:` (deb822).
fn in_paragraphs(text: &str, suite: &str) -> Option<String> {
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines
        .split(|line| line.trim().is_empty())
        .find_map(|paragraph| {
            let has = |name, word| field(paragraph, name).contains(&word);
            let enabled = !has("Enabled", "no");
            (enabled && has("Types", "deb") && has("Suites", suite) && has("Components", "main"))
                .then(|| {
                    field(paragraph, "URIs")
                        .first()
                        .map(|uri| (*uri).to_owned())
                })?
        })
}

/// The words of a field, continuation lines included.
fn field<'a>(paragraph: &[&'a str], name: &str) -> Vec<&'a str> {
    let start = paragraph.iter().position(|line| {
        line.split_once(':')
            .is_some_and(|(field, _)| field.eq_ignore_ascii_case(name))
    });
    let Some((first, rest)) = start.and_then(|start| paragraph[start..].split_first()) else {
        return Vec::new();
    };
    let first = first.split_once(':').map_or("", |(_, value)| value);
    let rest = rest
        .iter()
        .take_while(|line| line.starts_with([' ', '\t']))
        .copied();
    std::iter::once(first)
        .chain(rest)
        .flat_map(str::split_whitespace)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{in_lines, in_paragraphs};

    /// As they are found on machines.
    #[test]
    fn both_formats_are_read() {
        let lines = "# deb http://old/debian bookworm main\n\
            deb http://other/security bookworm-security main\n\
            deb-src http://source/debian bookworm main\n\
            deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] http://mirror/debian bookworm main contrib\n";
        let paragraphs = "Types: deb\nURIs: http://other/security\nSuites: bookworm-security\nComponents: main\n\n\
            Enabled: no\nTypes: deb\nURIs: http://off/debian\nSuites: bookworm\nComponents: main\n\n\
            # a comment\nTypes: deb deb-src\nURIs: http://mirror/debian\nSuites: bookworm-updates\n bookworm\n\
            Components: main contrib\nSigned-By: /usr/share/keyrings/a.gpg\n";
        for found in [
            in_lines(lines, "bookworm"),
            in_paragraphs(paragraphs, "bookworm"),
        ] {
            assert_eq!(found.as_deref(), Some("http://mirror/debian"));
        }
        assert_eq!(in_lines(lines, "trixie"), None);
        assert_eq!(in_paragraphs(paragraphs, "trixie"), None);
    }
}
