//! Knows the script that this service replaces: where it is started from, and what a person types to
//! be rid of it; it never changes anything about it.

use std::fs;
use std::path::Path;

use mfe_common::escape::{printable, shell_word};

/// Where the script's installation instructions have it started.
pub(crate) const RC_LOCAL: &str = "/etc/rc.local";

/// The script's names, the older one last.
const SCRIPTS: [&str; 2] = ["check_async.py", "check_comunicador.py"];

/// What a person types to end the script where it runs. It is ended by itself, for to restart
/// rc-local would end the programs with it.
pub(crate) const END: &str = r"sudo pkill -f 'check_(async|comunicador)\.py'";

/// What a person types so that `file`, a list of commands, starts the script no more.
pub(crate) fn comment_out(file: &Path) -> String {
    // A copy beside a table of cron's might be taken for another table.
    let copy = if file == Path::new(RC_LOCAL) {
        ".bak"
    } else {
        ""
    };
    let file = shell_word(&file.display().to_string());
    format!(r"sudo sed -i{copy} -E '/check_(async|comunicador)\.py/s/^/#/' {file}")
}

/// A warning if `rc_local` starts the script.
pub(crate) fn warning(rc_local: &Path) -> Option<String> {
    // One that isn't there, or isn't text, starts nothing.
    let text = fs::read_to_string(rc_local).ok()?;
    let script = started_script(&text)?;
    Some(format!(
        "{} still starts the old script {script}, which starts the programs too; to \
         switch it off, run: {}; {END}",
        printable(&rc_local.display().to_string()),
        comment_out(Path::new(RC_LOCAL)),
    ))
}

/// The script that a list of commands starts: `rc.local` or another shell script, a table of cron's.
pub(crate) fn started_script(commands: &str) -> Option<&'static str> {
    let code = commands
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let mut found = code.filter_map(script_in);
    found.next()
}

/// The script that a command names.
pub(crate) fn script_in(command: &str) -> Option<&'static str> {
    SCRIPTS.into_iter().find(|name| command.contains(*name))
}

/// The script that a process runs, by its arguments. Whoever edits the script isn't one.
pub(crate) fn running_script(arguments: &[String]) -> Option<&'static str> {
    let is_python = |argument: &String| base_name(argument).starts_with("python");
    let script = match arguments {
        [first, rest @ ..] if is_python(first) => rest.iter().find(|word| !word.starts_with('-')),
        [first, ..] => Some(first),
        [] => None,
    };
    let name = base_name(script?);
    SCRIPTS.into_iter().find(|script| *script == name)
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
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

    #[test]
    fn a_process_that_runs_the_script_is_told_from_one_that_edits_it() {
        let runs = |words: &[&str]| {
            running_script(
                &words
                    .iter()
                    .map(|word| (*word).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            runs(&[
                "/usr/local/bin/env_check/bin/python3",
                "-u",
                "/x/check_async.py"
            ]),
            Some("check_async.py")
        );
        assert_eq!(
            runs(&["/x/check_comunicador.py"]),
            Some("check_comunicador.py")
        );
        assert_eq!(runs(&["nano", "/x/check_async.py"]), None);
        assert_eq!(runs(&["python3", "/x/other.py", "check_async.py"]), None);
        assert_eq!(runs(&[]), None);
    }

    #[test]
    fn what_switches_it_off_is_what_the_package_says() {
        let postinst = include_str!("../../debian/mfe-watchdog.postinst");
        let command = format!("  {}; {END}\n", comment_out(Path::new(RC_LOCAL)));
        assert!(postinst.contains(&command), "{command}");
        assert!(comment_out(Path::new("/etc/cron.d/a b")).ends_with(" '/etc/cron.d/a b'"));
    }
}
