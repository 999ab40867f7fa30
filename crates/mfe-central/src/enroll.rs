//! `mfe-central enroll`, `renew` and `revoke`: tills come to the office, get another token, and go. All that is done is
//! said on standard error; standard output has the tokens alone, so that they can be piped to where they belong.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use mfe_common::office::is_till;
use rust_i18n::t;

use crate::config::Settings;
use crate::rabbitmq::{self, Definitions};
use crate::setup;
use crate::system;
use crate::tills::{Owner, enrolled, is_whole, owner};
use crate::token::{Token, password};

/// A larger file isn't a list of tills, in bytes.
const LIST_MAX: u64 = 8 << 20;

/// A till's name that can't be one: as a usage error.
const EXIT_USAGE: u8 = 2;

/// Makes a till, and prints its token. One that is there gets a new token if it isn't connected.
///
/// # Errors
/// When nothing has changed, or the broker hasn't taken all of it.
pub(crate) fn enroll(file: &Path, settings: &Settings, till: &str) -> anyhow::Result<ExitCode> {
    if !is_till(till) {
        return Ok(refuse_name(till));
    }
    let office = Office::open(settings)?;
    let before = office.before()?;
    let owner = owner_of(settings, &before, till);
    ensure!(
        owner != Owner::Another,
        "{}",
        t!("enroll.another", till = till)
    );
    let is_known = owner == Owner::Till;
    if is_known {
        let is_connected = rabbitmq::connected()?.iter().any(|user| user == till);
        ensure!(!is_connected, "{}", t!("enroll.connected", till = till));
    }
    let tokens = office.enroll(&[till])?;
    print(&tokens.concat())?;
    note(file, settings, &[till], false);
    if is_known {
        say(&t!("enroll.again", till = till));
    } else {
        say(&t!("enroll.done", till = till));
    }
    say(&t!("enroll.next"));
    Ok(ExitCode::SUCCESS)
}

/// Makes the tills of a file that aren't there yet, and prints a line for each: its name, a comma, its token.
///
/// # Errors
/// As of [`enroll`].
pub(crate) fn enroll_all(
    config: &Path,
    settings: &Settings,
    file: &Path,
) -> anyhow::Result<ExitCode> {
    let text = fs::File::open(file).and_then(|file| {
        let mut text = String::new();
        let read = io::Read::read_to_string(&mut io::Read::take(file, LIST_MAX + 1), &mut text)?;
        if read as u64 > LIST_MAX {
            return Err(io::Error::other("too large"));
        }
        Ok(text)
    });
    let text = text.with_context(|| file.display().to_string())?;
    let tills = match listed(&text) {
        Ok(tills) => tills,
        Err(lines) => {
            for (line, name) in lines {
                let text = t!("enroll.name", name = format!("{name:?}"));
                eprintln!("{}:{line}: {text}", file.display());
            }
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    ensure!(
        !tills.is_empty(),
        "{}",
        t!("enroll.empty", file = file.display())
    );
    let office = Office::open(settings)?;
    let before = office.before()?;
    let mut new = Vec::new();
    for till in &tills {
        match owner_of(settings, &before, till) {
            Owner::Nobody => new.push(*till),
            Owner::Till => say(&t!("enroll.known", till = till)),
            Owner::Another => bail!("{}", t!("enroll.another", till = till)),
        }
    }
    if !new.is_empty() {
        let tokens = office.enroll(&new)?;
        let lines = new.iter().zip(tokens);
        let lines = lines.map(|(till, token)| format!("{till},{token}"));
        print(&lines.collect::<String>())?;
    }
    note(config, settings, &tills, false);
    say(&t!("enroll.all", count = new.len()));
    Ok(ExitCode::SUCCESS)
}

/// Gives a till another token, and closes it to the one that it had.
///
/// # Errors
/// As of [`enroll`].
pub(crate) fn renew(settings: &Settings, till: &str) -> anyhow::Result<ExitCode> {
    let office = Office::open(settings)?;
    ensure_is_till(settings, till)?;
    let tokens = office.enroll(&[till])?;
    print(&tokens.concat())?;
    // Who is connected stays so, whatever becomes of the password.
    rabbitmq::close_connections(till)?;
    say(&t!("enroll.again", till = till));
    say(&t!("enroll.next"));
    Ok(ExitCode::SUCCESS)
}

/// Closes the broker to a till, at once. What it has sent stays.
///
/// # Errors
/// When there is no such till, or the broker can't be asked.
pub(crate) fn revoke(file: &Path, settings: &Settings, till: &str) -> anyhow::Result<ExitCode> {
    system::ensure_root()?;
    ensure_is_till(settings, till)?;
    rabbitmq::delete_user(till)?;
    note(file, settings, &[till], true);
    say(&t!("revoke.done", till = till));
    Ok(ExitCode::SUCCESS)
}

/// A till that was enrolled is shown before it is heard. The token is given all the same where that can't be had.
fn note(file: &Path, settings: &Settings, tills: &[&str], is_gone: bool) {
    if let Err(error) = setup::note_tills(file, settings, tills, is_gone) {
        let error = format!("{error:#}");
        if is_gone {
            say(&t!("revoke.not_noted", error = error));
        } else {
            say(&t!("enroll.not_noted", error = error));
        }
    }
}

/// Whose a name is; central's own is never a till's, even before it has its user.
fn owner_of(settings: &Settings, definitions: &Definitions, till: &str) -> Owner {
    if till == settings.user {
        return Owner::Another;
    }
    owner(definitions, &settings.virtual_host, till)
}

/// Somebody else's user is never changed.
fn ensure_is_till(settings: &Settings, till: &str) -> anyhow::Result<()> {
    match owner_of(settings, &rabbitmq::export()?, till) {
        Owner::Till => Ok(()),
        Owner::Nobody => bail!("{}", t!("enroll.unknown", till = till)),
        Owner::Another => bail!("{}", t!("enroll.another", till = till)),
    }
}

fn refuse_name(name: &str) -> ExitCode {
    say(&t!("enroll.name", name = format!("{name:?}")));
    ExitCode::from(EXIT_USAGE)
}

/// What each token needs of the office.
struct Office<'a> {
    settings: &'a Settings,
    server: String,
    ca: String,
}

impl<'a> Office<'a> {
    fn open(settings: &'a Settings) -> anyhow::Result<Self> {
        system::ensure_root()?;
        let server = settings
            .server
            .clone()
            .with_context(|| t!("enroll.no_server"))?;
        let file = &settings.ca;
        let ca = fs::read_to_string(file);
        let ca = ca.with_context(|| t!("enroll.no_ca", file = file.display()).into_owned())?;
        let is_pem = ca.contains("-----BEGIN CERTIFICATE-----") && !ca.contains("PRIVATE KEY");
        ensure!(is_pem, "{}", t!("enroll.no_pem", file = file.display()));
        Ok(Self {
            settings,
            server: format!("{server}/{}", settings.virtual_host),
            ca,
        })
    }

    /// What the broker has, with the virtual host that tills speak to.
    fn before(&self) -> anyhow::Result<Definitions> {
        let definitions = rabbitmq::export()?;
        let host = &self.settings.virtual_host;
        let is_there = definitions.vhosts.iter().any(|one| one.name == *host);
        ensure!(is_there, "{}", t!("enroll.no_host", host = host));
        Ok(definitions)
    }

    /// Makes tills, or makes them anew, and gives the token of each, a line each.
    fn enroll(&self, tills: &[&str]) -> anyhow::Result<Vec<String>> {
        let host = &self.settings.virtual_host;
        let passwords = tills
            .iter()
            .map(|_| password())
            .collect::<io::Result<Vec<_>>>()?;
        let pairs = || {
            tills
                .iter()
                .copied()
                .zip(passwords.iter().map(String::as_str))
        };
        let tokens = pairs().map(|(till, password)| {
            let token = Token {
                server: &self.server,
                till,
                password,
                ca: &self.ca,
            };
            Ok(token.written()? + "\n")
        });
        let tokens = tokens.collect::<serde_json::Result<Vec<_>>>()?;
        rabbitmq::import(&enrolled(host, pairs()))?;
        // What is printed is true: all of it is there.
        let after = rabbitmq::export()?;
        let missing = tills.iter().find(|till| !is_whole(&after, host, till));
        match missing {
            Some(till) => bail!("{}", t!("enroll.not_whole", till = till)),
            None => Ok(tokens),
        }
    }
}

/// The tills of a list: what stands before the first comma of each line, but for a heading and empty lines.
///
/// # Errors
/// The lines that name none, from 1, with what they name.
fn listed(text: &str) -> Result<Vec<&str>, Vec<(usize, &str)>> {
    let mut tills = Vec::new();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    // Spreadsheets begin a file with a mark of its encoding.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (n, line) in text.lines().enumerate() {
        let name = line.split([',', ';']).next().unwrap_or_default();
        let name = name.trim().trim_matches('"');
        if line.trim().is_empty() || (n == 0 && name == "till") {
            continue;
        }
        if !is_till(name) {
            wrong.push((n + 1, name));
        } else if seen.insert(name) {
            tills.push(name);
        }
    }
    if wrong.is_empty() {
        Ok(tills)
    } else {
        Err(wrong)
    }
}

fn say(text: &str) {
    // Nobody being there to hear it is no error.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whoever reads it being gone is an error here: the token is shown once.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_however_it_was_made() {
        let text = "\u{feff}till,store\r\nloja-1,12\r\n\r\n\"loja-2\";x\nloja-1\n loja-3 \n";
        assert_eq!(listed(text).unwrap(), ["loja-1", "loja-2", "loja-3"]);
        assert!(listed("").unwrap().is_empty());
        let wrong = listed("loja-1\nLoja 2\n,x\ntill.3\n").unwrap_err();
        assert_eq!(wrong, [(2, "Loja 2"), (3, ""), (4, "till.3")]);
    }
}
