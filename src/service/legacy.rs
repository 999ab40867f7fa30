//! Notices the script that this service replaces where it is still started at boot; it never
//! changes anything about it.

use std::fs;
use std::path::Path;

/// Where the script's installation instructions have it started.
pub(super) const RC_LOCAL: &str = "/etc/rc.local";

/// The script's names, the older one last.
const SCRIPTS: [&str; 2] = ["check_async.py", "check_comunicador.py"];

/// What a person types to be rid of it. The running script is ended by itself, for to restart
/// rc-local would end the programs with it.
const SWITCH_OFF: &str = r"sudo sed -i.bak -E '/check_(async|comunicador)\.py/s/^/#/' /etc/rc.local; sudo pkill -f 'check_(async|comunicador)\.py'";

/// A warning if `rc_local` starts the script.
pub(super) fn warning(rc_local: &Path) -> Option<String> {
    // One that isn't there, or isn't text, starts nothing.
    let text = fs::read_to_string(rc_local).ok()?;
    let script = started_script(&text)?;
    Some(format!(
        "{} still starts the old watcher {script}, which starts the programs a second time; to \
         switch it off, run: {SWITCH_OFF}",
        rc_local.display()
    ))
}

fn started_script(rc_local: &str) -> Option<&'static str> {
    let code = rc_local
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let mut found = code.filter_map(|line| SCRIPTS.iter().find(|name| line.contains(**name)));
    found.next().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_is_started_is_found() {
        let text = "#!/bin/sh -e\n/usr/local/bin/env_check/bin/python /usr/local/bin/env_check/check_async.py &\nexit 0\n";
        assert_eq!(started_script(text), Some("check_async.py"));
    }

    #[test]
    fn a_script_that_is_commented_out_is_not() {
        assert_eq!(started_script("#python check_async.py &\nexit 0\n"), None);
        assert_eq!(started_script("exit 0 # was: check_comunicador.py\n"), None);
        assert_eq!(started_script(""), None);
    }

    #[test]
    fn a_file_that_is_not_there_starts_nothing() {
        assert_eq!(warning(Path::new("/nonexistent/rc.local")), None);
    }
}
