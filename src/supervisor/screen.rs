//! Finds out for one process who is at the screen, whenever that matters; what it means is decided in
//! [`crate::machine`].

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::config::ProcessSettings;
use crate::machine::{Seat, Stray};
use crate::proc::{Difference, Impostor, ProcessId, Sighting, Target};
use crate::session::{self, Found, Watch, autostart};
use crate::start::Placement;
use crate::sys::user::User;
use crate::systemd::control_group::{ControlGroups, MOUNTED};
use crate::systemd::names::unit_of;
use crate::text::phrase::Phrase;

/// A user that nobody is (setuid(2)): while the screen is empty no process is the program.
const NOBODY: u32 = u32::MAX;

/// What is known of the screen.
#[derive(Debug)]
pub(super) struct AtScreen {
    root: PathBuf,
    placement: Placement,
    /// When the entries that sessions start were last changed.
    entries_changed: Option<SystemTime>,
    /// While the program belongs on the screen.
    watch: Option<Watch>,
    screen: Option<session::Screen>,
    /// The session that was at the screen last.
    last: Option<String>,
    /// What makes the process, as long as that depends on who is at the screen.
    target: Option<Target>,
}

impl AtScreen {
    /// For a process of these settings. Must be called in the runtime.
    pub(super) fn new(process: &ProcessSettings) -> Self {
        let root = PathBuf::from("/");
        let mut screen = Self {
            placement: Placement::of(&root, process),
            entries_changed: None,
            watch: None,
            screen: None,
            last: None,
            target: None,
            root,
        };
        screen.configured(process);
        screen
    }

    /// Takes new settings into account.
    pub(super) fn configured(&mut self, process: &ProcessSettings) {
        self.entries_changed = self.when_entries_changed();
        self.placement = Placement::of(&self.root, process);
        self.target = None;
    }

    fn when_entries_changed(&self) -> Option<SystemTime> {
        let folder = self.root.join(autostart::FOLDER.trim_start_matches('/'));
        fs::metadata(folder)
            .and_then(|folder| folder.modified())
            .ok()
    }

    /// Where the program belongs, in words.
    pub(super) fn placement(&self) -> Option<Phrase> {
        self.placement.phrase()
    }

    /// Looks who is there; gives it if that is another one than `known`.
    pub(super) fn news(&mut self, process: &ProcessSettings, known: &Seat) -> Option<Seat> {
        if self.placement.phrase().is_none() && *known == Seat::NotNeeded {
            return None;
        }
        // The driver may have been installed or removed since.
        if self.when_entries_changed() != self.entries_changed {
            self.configured(process);
        }
        let seat = if self.placement.is_graphical() {
            let root = &self.root;
            self.watch.get_or_insert_with(|| Watch::new(root)).renew();
            let screen = session::Screen::look(root, process, self.last.as_deref());
            let seat = screen.seat(self.placement.entry.is_some());
            if let Found::Session(chosen) = &screen.found {
                self.last = Some(chosen.id.clone());
            }
            self.screen = Some(screen);
            seat
        } else {
            self.watch = None;
            self.screen = None;
            Seat::NotNeeded
        };
        (!seat.is_same(known)).then_some(seat)
    }

    /// Who lives in the session besides the program, where that tells whether it goes on.
    pub(super) fn company(&self) -> Option<BTreeSet<ProcessId>> {
        match &self.screen.as_ref()?.found {
            Found::Session(chosen) => session::company(&self.root, chosen),
            Found::Nobody | Found::Unclear => None,
        }
    }

    /// Waits until a session has come, gone or changed. May be dropped and called again.
    pub(super) async fn changed(&mut self) {
        match &mut self.watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    }

    /// What makes the process now: where it belongs on the screen, it is that of whoever is there.
    pub(super) fn target<'a>(
        &'a mut self,
        process: &'a ProcessSettings,
        seat: &Seat,
    ) -> &'a Target {
        let uid = match seat {
            Seat::NotNeeded => return &process.target,
            seat => seat.uid().unwrap_or(NOBODY),
        };
        let is_current = |target: &Target| target.user.as_ref().map(|user| user.uid) == Some(uid);
        if !self.target.as_ref().is_some_and(is_current) {
            self.target = Some(Target {
                user: Some(User {
                    name: uid.to_string(),
                    uid,
                }),
                ..process.target.clone()
            });
        }
        self.target.as_ref().unwrap_or(&process.target)
    }

    /// Who of those that look like the program is nobody's, and was left by a start of ours: in the
    /// control group of our unit. `None` where no program belongs on the screen.
    pub(super) fn strays(
        &self,
        process: &ProcessSettings,
        sighting: &Sighting,
    ) -> Option<Vec<Stray>> {
        let screen = self.screen.as_ref()?;
        let is_root_there = matches!(&screen.found, Found::Session(chosen) if chosen.uid == 0);
        let of_somebody = |impostor: &&Impostor| impostor.difference == Difference::User;
        let strays: Vec<Stray> = sighting
            .impostors
            .iter()
            .filter(of_somebody)
            .filter_map(|impostor| {
                let (id, uid) = (impostor.id, impostor.uid?);
                let is_roots = uid == 0 && !is_root_there;
                let is_left =
                    uid != 0 && screen.found != Found::Unclear && !screen.users.contains(&uid);
                (is_roots || is_left).then_some(Stray { id, is_roots })
            })
            .collect();
        if strays.is_empty() {
            return Some(strays);
        }
        let ours = self.in_own_group(&process.key);
        let is_ours = |id: ProcessId| ours.contains(&id.pid);
        Some(
            strays
                .into_iter()
                .filter(|stray| is_ours(stray.id))
                .collect(),
        )
    }

    fn in_own_group(&self, key: &str) -> BTreeSet<i32> {
        let below = |path: &str| self.root.join(path.trim_start_matches('/'));
        let groups = ControlGroups::new(below(MOUNTED), below("/proc"));
        let unit = unit_of(key);
        // What is unknown isn't ours to end.
        let members = groups.members(&|name| name == unit).unwrap_or_default();
        members.into_iter().collect()
    }
}
