//! A configuration that can't be used leaves no program unwatched: what was last in force goes on, and
//! everybody is told. Each service has an /etc/mfe-watchdog of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::program::{BINARY, mfe_watchdog};
use mfe_kit::schema::{STATUS_SCHEMA, assert_valid};
use mfe_kit::{Output, Program, Service, Till, eventually, in_mount_namespace, output, section};

const KEY: &str = "comunicador";
const FILE: &str = "/etc/mfe-watchdog/config.toml";

/// A till whose configuration is where it is by default.
struct Shop {
    till: Till,
    program: Program,
}

impl Shop {
    fn new() -> Self {
        let till = Till::new();
        let program = till.program('C');
        till.script("start.sh", &format!("exec {}", program.command()));
        fs::create_dir(till.path().join("etc")).unwrap();
        Self { till, program }
    }

    fn config(&self) -> PathBuf {
        self.till.path().join("etc/config.toml")
    }

    fn heard(&self) -> PathBuf {
        self.till.path().join("heard")
    }

    /// Writes a good configuration, whose hook hears of a bad one.
    fn configure(&self) {
        let hook = self
            .till
            .script("hook.sh", &format!("cat >> '{}'", self.heard().display()));
        let script = self.till.path().join("bin/start.sh");
        let section = section(KEY, &self.program.name, &script);
        let text = format!(
            "interval = \"100ms\"\nrestart_delay = \"0s\"\n{section}\
             [[hook]]\non = [\"config_fallback\"]\ncommand = [\"{}\"]\n",
            hook.display()
        );
        fs::write(self.config(), text).unwrap();
    }

    fn run(&self) -> Service {
        // A directory that doesn't exist can't be mounted over, so all of /etc is replaced.
        let setup = "mount -t tmpfs none /etc\nmkdir /etc/mfe-watchdog\n\
                     mount --bind \"$ETC\" /etc/mfe-watchdog";
        let mut command = in_mount_namespace(setup, BINARY);
        let etc = self.till.path().join("etc");
        command.env("ETC", etc).arg("run").arg("--state-dir");
        command.arg(self.state_dir());
        Service::start_by_default(&self.till, &mut command)
    }

    fn state_dir(&self) -> PathBuf {
        self.till.path().join("state")
    }

    fn status(&self, locale: &str, arguments: &[&str]) -> Output {
        let mut command = mfe_watchdog();
        command.arg("status").args(arguments).env("LC_ALL", locale);
        command.arg("--runtime-dir").arg(self.till.runtime_dir());
        output(command.arg("--state-dir").arg(self.state_dir()))
    }

    /// The exit code and what is said, on one line.
    fn said(&self, locale: &str) -> (i32, String) {
        let shown = self.status(locale, &[]);
        let words: Vec<&str> = shown.stdout.split_whitespace().collect();
        (shown.code(), words.join(" "))
    }

    /// Starts with a good file once, so that it was in force.
    fn has_run(&self) {
        self.configure();
        let service = self.run();
        service.wait_for_state(KEY, "up");
        eventually("kept", || self.kept().exists().then_some(()));
        service.stop(Signal::SIGKILL);
    }

    fn kept(&self) -> PathBuf {
        self.state_dir().join("last-in-force.toml")
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_was_in_force_goes_on_and_everybody_is_told() {
    let shop = Shop::new();
    shop.has_run();
    fs::write(
        shop.config(),
        "# edited\ninterval = \"soon\"\n[process.x]\nname = 3\n",
    )
    .unwrap();
    let service = shop.run();
    service.wait_for_state(KEY, "up");
    let line = service.wait_for_line("MFE_EVENT=config_fallback");
    let problem = format!("{FILE}:2: interval: must be a duration such as");
    assert!(
        line.contains(&problem) && line.contains(" ERROR "),
        "{line}"
    );
    eventually("the hook", || {
        let heard = fs::read_to_string(shop.heard()).ok()?;
        let is_told = heard.contains("\"event\":\"config_fallback\"");
        is_told.then_some(())
    });

    let (code, said) = shop.said("C");
    assert_eq!(code, 1);
    let begin = format!("The configuration is bad: {problem}");
    assert!(said.contains(&begin), "{said}");
    assert!(
        said.contains("the last configuration that was in force stays in force"),
        "{said}"
    );
    let (code, said) = shop.said("pt_BR.UTF-8");
    assert_eq!(code, 1);
    let begin = format!("A configuração está errada: {FILE}:2: interval: deve ser uma duração");
    assert!(said.contains(&begin), "{said}");
    let json = shop.status("C", &["--json"]);
    assert_eq!(json.code(), 1);
    assert_valid(STATUS_SCHEMA, &serde_json::from_str(&json.stdout).unwrap());

    shop.program.kill();
    service.wait_for_restarts(KEY, 1);
    shop.configure();
    service.signal(Signal::SIGHUP);
    service.wait_for_line("MFE_EVENT=reloaded");
    eventually("all is well", || (shop.said("C").0 == 0).then_some(()));
    assert!(!shop.said("C").1.contains("is bad"));
}

#[test]
fn a_dry_run_that_can_be_read_holds() {
    let shop = Shop::new();
    shop.has_run();
    fs::write(shop.config(), "dry_run = true\n[process.x\n").unwrap();
    let service = shop.run();
    service.wait_for_state(KEY, "up");
    let starts = shop.program.starts().len();
    shop.program.kill();
    service.wait_for("dry_run", KEY);
    service.wait_cycles(3);
    assert_eq!(shop.program.starts().len(), starts, "nothing is started");
}

#[test]
fn a_file_that_names_programs_of_which_none_was_in_force_is_refused() {
    let shop = Shop::new();
    fs::write(shop.config(), "[process.mine]\nname = 3\n").unwrap();
    let (exit, lines) = shop.run().wait();
    assert_eq!(exit.code(), Some(78));
    let begin = format!("{FILE}:2: process.mine.name: ");
    assert!(
        lines.iter().any(|line| line.starts_with(&begin)),
        "{lines:#?}"
    );
    assert!(!shop.till.runtime_dir().exists());
}

#[test]
fn whoever_may_read_the_file_may_read_what_is_in_force() {
    let shop = Shop::new();
    shop.configure();
    let published = shop.till.runtime_dir().join("in-force.toml");
    for expected in [0o600, 0o644, 0o600] {
        fs::set_permissions(shop.config(), fs::Permissions::from_mode(expected)).unwrap();
        let service = shop.run();
        service.wait_for_state(KEY, "up");
        eventually("published", || (mode(&published) == expected).then_some(()));
        eventually("kept", || {
            (shop.kept().exists() && mode(&shop.kept()) == expected).then_some(())
        });
        service.stop(Signal::SIGKILL);
    }
    // In its place too.
    fs::write(shop.config(), "interval = 3\n").unwrap();
    fs::set_permissions(shop.config(), fs::Permissions::from_mode(0o644)).unwrap();
    let service = shop.run();
    service.wait_for_line("MFE_EVENT=config_fallback");
    service.wait_for_state(KEY, "up");
    assert_eq!((mode(&published), mode(&shop.kept())), (0o600, 0o600));
}
