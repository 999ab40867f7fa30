//! Checks the whole machine for what keeps the service from its job, and names the command that
//! fixes each thing; it changes nothing.
//!
//! Each area is a module of its own, in which a pure judgement stands beside a thin reading of the
//! machine. What couldn't be looked at is noted and is no finding.

mod clock;
mod config;
mod disk;
mod driver;
mod ini;
mod journal;
mod lists;
mod old_watcher;
mod processes;
mod program;
mod rivals;
mod root;
mod screen;
mod second_watchdog;
mod service;
mod standing;
mod systemd;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rust_i18n::t;

use mfe_common::escape::list;
pub use systemd::Systemd;

use crate::proc;
use crate::text::wrap::Paragraph;
use root::View;

/// The machine that is checked.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its root folder.
    pub root: PathBuf,
    /// The configuration, if it isn't where it is by default.
    pub config: Option<PathBuf>,
    /// The number of the user that the service runs as.
    pub service_user: u32,
    /// What its clock shows.
    pub now: SystemTime,
    /// What systemd says of it.
    pub systemd: Systemd,
}

impl Machine {
    /// This machine, with another configuration than the usual one if `config` names it. systemd is
    /// asked, which takes some seconds at most.
    ///
    /// # Errors
    /// When the event loop for that can't be set up.
    pub fn this(config: Option<PathBuf>) -> anyhow::Result<Self> {
        Ok(Self {
            root: PathBuf::from("/"),
            config,
            service_user: 0,
            now: SystemTime::now(),
            systemd: Systemd::ask()?,
        })
    }
}

/// Something that keeps the service from its job, or may do so one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing it is, for whoever looks it up: the same in every language and version.
    pub id: &'static str,
    /// What is wrong, in the user's language, fit for a terminal.
    pub text: String,
    /// Somebody else's words about it, fit for a terminal.
    pub lines: Vec<String>,
    /// The shell command that fixes it, where a command does.
    pub command: Option<String>,
    /// What may be done afterwards.
    pub later: Vec<Later>,
}

/// Something that may be done when what was found is fixed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later {
    /// When, or what for, in the user's language; the same for commands that belong together.
    pub text: String,
    /// The shell command. Whoever copies all that is printed isn't to run it: it is printed as a comment.
    pub command: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examination {
    /// What is to be fixed, what weighs most first.
    pub findings: Vec<Finding>,
    /// What couldn't be looked at and what is good to know, in the user's language.
    pub notes: Vec<String>,
    /// Whether the running service says that every program is up.
    pub is_all_up: bool,
}

impl Examination {
    fn find(&mut self, id: &'static str, text: impl Into<String>, command: impl Into<String>) {
        self.find_with_later(id, text, command, Vec::new());
    }

    fn find_with_later(
        &mut self,
        id: &'static str,
        text: impl Into<String>,
        command: impl Into<String>,
        later: Vec<Later>,
    ) {
        self.findings.push(Finding {
            id,
            text: text.into(),
            lines: Vec::new(),
            command: Some(command.into()),
            later,
        });
    }

    /// Something that no command fixes; its text says what does.
    fn find_without_command(&mut self, id: &'static str, text: impl Into<String>) {
        self.findings.push(Finding {
            id,
            text: text.into(),
            lines: Vec::new(),
            command: None,
            later: Vec::new(),
        });
    }

    fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

/// Checks a machine.
#[must_use]
pub fn examine(machine: &Machine) -> Examination {
    let mut found = Examination::default();
    let mut view = View::new(&machine.root);
    let proc = Path::new("/proc");
    let running = proc::running(&view.at(proc)).unwrap_or_else(|error| {
        view.cannot_see(proc, &error);
        Vec::new()
    });
    let config = config::examine(machine, &mut view, &mut found);
    service::examine(&machine.systemd, &mut found);
    service::examine_sandbox(&machine.systemd, &mut found);
    standing::examine(config.as_ref(), machine.now, &view, &mut found);
    let lists = lists::lists(&mut view);
    old_watcher::examine(&lists, &running, &mut found);
    if let Some(config) = &config {
        lists::examine(&lists, &config.settings, &mut view, &mut found);
        second_watchdog::examine(&config.settings, &mut view, &running, &mut found);
        rivals::examine(&config.settings, &mut view, &running, &mut found);
        driver::examine(&config.settings, &mut view, &running, &mut found);
        program::examine(&config.settings, machine, &mut view, &mut found);
        processes::examine(config, &mut view, &running, &mut found);
        screen::examine(config, &mut view, &mut found);
        service::examine_version(&machine.systemd, &config.settings, &mut found);
    }
    journal::examine(&mut view, &mut found);
    disk::examine(&mut view, &mut found);
    clock::examine(machine, &mut view, &mut found);
    let unseen = view.into_unseen();
    if !unseen.is_empty() {
        let mut note = t!("doctor.not_seen", what = list(unseen)).into_owned();
        if !rustix::process::geteuid().is_root() {
            note = format!("{note} {}", t!("doctor.not_root"));
        }
        found.note(note);
    }
    found
}

/// For a person: at most 80 columns wide, as far as there are spaces to break lines at.
impl fmt::Display for Examination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let text = format!("{} [{}]", finding.text, finding.id);
            writeln!(f, "{}", Paragraph::of_text(&text))?;
            for line in &finding.lines {
                writeln!(f, "{}", Paragraph::of_detail(&format!("> {line}")))?;
            }
            if let Some(command) = &finding.command {
                writeln!(f, "{}", Paragraph::of_command(command))?;
            }
            let mut before = None;
            for Later { text, command } in &finding.later {
                if before.replace(text) != Some(text) {
                    writeln!(f, "{}", Paragraph::of_detail(text))?;
                }
                writeln!(f, "    # {command}")?;
            }
        }
        for note in &self.notes {
            let note = t!("doctor.note", note = note);
            writeln!(f, "{}", Paragraph::of_text(&note))?;
        }
        let summary = match self.findings.len() {
            0 if self.is_all_up => t!("doctor.clean"),
            0 => t!("doctor.clean_as_far_as_seen"),
            1 => t!("doctor.count_one"),
            count => t!("doctor.count", count = count),
        };
        writeln!(f, "{}", Paragraph::of_text(&summary))
    }
}
