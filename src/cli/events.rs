//! `mfe-watchdog events`: what has happened, in the user's language, a line each; the entries come from
//! [`crate::report::events`].

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::SystemTime;

use mfe_history::local_time::local_zone;
use rust_i18n::t;

use super::logs::{meant, processes};
use super::output::{Reader, complain, show};
use crate::config::ProcessSettings;
use crate::report::events::{self, Wanted};
use crate::status::directories::Directories;

/// Shows the last `lines` events, of one program or of all and of the service, and with `follow` those to
/// come.
pub(super) fn events(
    key: Option<&str>,
    lines: u32,
    follow: bool,
    directories: &Directories,
) -> anyhow::Result<ExitCode> {
    let processes = processes(directories)?;
    let key = key.map(|key| meant(key, &processes)).transpose()?;
    let name_of = |process: &ProcessSettings| {
        let name = process.name().as_str().to_owned();
        (process.key.clone(), name)
    };
    let names = processes.iter().map(name_of).collect();
    let zone = local_zone();
    let mut is_empty = true;
    let is_terminal = io::stdout().is_terminal();
    let wanted = Wanted {
        key: key.map(|process| process.key.as_str()),
        lines,
        follow,
        within: None,
    };
    events::read(wanted, |told| {
        is_empty = false;
        // A program that reads it gets one line.
        let lines = if is_terminal {
            let event = events::lines(told, &names, SystemTime::now(), &zone, "");
            [vec![event], events::output(told)].concat().join("\n")
        } else {
            events::line(told, &names, SystemTime::now(), &zone)
        };
        Ok(show(&format!("{lines}\n"))? == Reader::Reads)
    })?;
    if is_empty {
        complain(&t!("events.none"));
    }
    Ok(ExitCode::SUCCESS)
}
