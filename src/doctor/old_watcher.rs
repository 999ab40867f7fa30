//! Whether the script that this service replaces is still started, or runs; what a unit of systemd's
//! starts is looked at in [`super::rivals`].

use std::path::Path;

use rust_i18n::t;

use super::Examination;
use super::root::View;
use crate::proc::Running;
use crate::start::old_watcher::{self, RC_LOCAL};
use crate::text::escape::{list, printable};

/// Where commands for cron are: tables and, in the folders of run-parts(8), scripts.
const CRON_FOLDERS: [&str; 6] = [
    "/etc/cron.d",
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
    "/var/spool/cron/crontabs",
];

pub(super) fn examine(view: &mut View<'_>, running: &[Running], found: &mut Examination) {
    let rc_local = Path::new(RC_LOCAL);
    let starts = |view: &mut View<'_>, file: &Path| {
        let commands = view.text(file)?;
        old_watcher::started_script(&commands)
    };
    if let Some(script) = starts(view, rc_local) {
        let text = t!("doctor.old_watcher_in", file = RC_LOCAL, script = script);
        found.find(
            "old-watcher-rc-local",
            text,
            old_watcher::comment_out(rc_local),
        );
    }
    let folders = CRON_FOLDERS.map(|folder| view.folder(Path::new(folder)));
    let tables = std::iter::once("/etc/crontab".into());
    for file in tables.chain(folders.into_iter().flatten()) {
        if let Some(script) = starts(view, &file) {
            let shown = printable(&file.display().to_string());
            let text = t!("doctor.old_watcher_in", file = shown, script = script);
            found.find("old-watcher-cron", text, old_watcher::comment_out(&file));
        }
    }
    let scripts = running.iter().filter_map(|process| {
        let script = old_watcher::running_script(&process.arguments)?;
        Some((script, process.id.pid))
    });
    let (scripts, pids): (Vec<_>, Vec<_>) = scripts.unzip();
    if let Some(script) = scripts.first() {
        let text = t!(
            "doctor.old_watcher_runs",
            script = script,
            pids = list(pids)
        );
        found.find("old-watcher-running", text, old_watcher::END);
    }
}
