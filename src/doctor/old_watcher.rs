//! Whether the script that this service replaces is still started, or runs; what a unit of systemd's
//! starts is looked at in [`super::rivals`]; how it is started and ended is known by
//! [`crate::start::old_watcher`].

use std::path::Path;

use mfe_common::escape::{list, printable};
use rust_i18n::t;

use super::Examination;
use super::lists::{Kind, List};
use crate::proc::Running;
use crate::start::old_watcher::{self, RC_LOCAL};

pub(super) fn examine(lists: &[List], running: &[Running], found: &mut Examination) {
    for list in lists {
        let Some(script) = old_watcher::started_script(&list.text) else {
            continue;
        };
        let file = list.file.as_path();
        let shown = printable(&file.display().to_string());
        let text = t!("doctor.old_watcher_in", file = shown, script = script);
        let (id, command) = match list.kind {
            Kind::Desktop => ("old-watcher-autostart", list.without([].into_iter())),
            _ if file == Path::new(RC_LOCAL) => {
                ("old-watcher-rc-local", old_watcher::comment_out(file))
            }
            _ => ("old-watcher-cron", old_watcher::comment_out(file)),
        };
        found.find(id, text, command);
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
