//! `mfe-relay status`: whether events arrive at the office, and why not.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use rust_i18n::t;

use crate::cli::print;
use crate::published::Published;

/// As `systemctl status` has it.
const EXIT_NOT_RUNNING: u8 = 3;

/// Shows it; exits 0 if the relay is connected and nothing is wrong, 1 if not, 3 if it isn't running.
pub(crate) fn status(runtime: &Path, credential: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let published = Published::read(runtime).with_context(|| t!("status.unreadable"))?;
    let Some(published) = published else {
        let is_joined = credential.exists();
        let text = if is_joined {
            t!("status.not_running")
        } else {
            t!("status.not_joined")
        };
        eprintln!("mfe-relay: {text}");
        return Ok(ExitCode::from(EXIT_NOT_RUNNING));
    };
    let is_well = published.connected_since.is_some() && published.troubles.is_empty();
    if json {
        let text = serde_json::to_string_pretty(&published)?;
        print(&format!("{text}\n"))?;
    } else {
        print(&in_words(&published))?;
    }
    Ok(ExitCode::from(u8::from(!is_well)))
}

/// The whole, a line each.
fn in_words(published: &Published) -> String {
    let mut lines = vec![headline(published)];
    lines.push(match &published.last_delivered {
        Some(last) => {
            let kind = &last.id;
            t!("status.last", at = last.at, event = kind).into_owned()
        }
        None => t!("status.none_delivered").into_owned(),
    });
    lines.push(t!("status.backlog", count = published.backlog).into_owned());
    if published.lost > 0 {
        lines.push(t!("status.lost", count = published.lost).into_owned());
    }
    for since in &published.troubles {
        let what = since.trouble.in_words();
        lines.push(t!("status.since", at = since.since, what = what).into_owned());
    }
    lines.join("\n") + "\n"
}

/// The one line that `systemctl status` shows too.
pub(crate) fn headline(published: &Published) -> String {
    let (till, server) = (&published.till, &published.server);
    match &published.connected_since {
        Some(since) => t!(
            "status.connected",
            till = till,
            server = server,
            since = since
        ),
        None => t!("status.not_connected", till = till, server = server),
    }
    .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::{Delivered, Since};
    use crate::trouble::{Kind, Trouble};

    #[test]
    fn it_says_whether_events_arrive_and_why_not() {
        let mut published = Published {
            version: 1,
            pid: 1,
            till: "till-1".into(),
            server: "central.example:443".into(),
            started_at: "2026-11-27T10:00:00.000Z".into(),
            connected_since: None,
            last_delivered: None,
            backlog: 7,
            lost: 0,
            troubles: vec![Since {
                trouble: Trouble::new(Kind::Login, "peer\nshutdown"),
                since: "2026-11-27T10:00:01.000Z".into(),
            }],
        };
        let words = in_words(&published);
        assert!(
            words.starts_with("till-1: not connected to central.example:443\n"),
            "{words}"
        );
        assert!(
            words.contains("no event delivered since the start\nbacklog: 7\n"),
            "{words}"
        );
        assert!(words.contains("the broker refuses the login"), "{words}");
        assert!(words.contains("peer\\nshutdown"), "{words}");
        published.connected_since = Some("2026-11-27T10:00:02.000Z".into());
        published.troubles.clear();
        published.last_delivered = Some(Delivered {
            id: "b/1/2".into(),
            at: "2026-11-27T10:00:03.000Z".into(),
        });
        let words = in_words(&published);
        assert!(words.contains("connected to central.example:443 since 2026-11-27T10:00:02.000Z"));
        assert!(
            words.contains("last event delivered: 2026-11-27T10:00:03.000Z (b/1/2)"),
            "{words}"
        );
    }
}
