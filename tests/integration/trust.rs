//! Programs that somebody other than root could change are named, and refused where that is asked
//! for; at the start, at each reload and by `check`.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::program::{mfe_watchdog, run};
use mfe_kit::{Need, Output, Till, is_root, needs, output, section};

/// A folder for a vendor's program, in which everything is safe, and the program.
struct Vendor {
    till: Till,
    folder: PathBuf,
    script: PathBuf,
}

impl Vendor {
    fn new() -> Self {
        let till = Till::new();
        let folder = till.path().join("sefaz/cco");
        fs::create_dir_all(&folder).unwrap();
        let script = folder.join("start.sh");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        for path in [till.path(), &till.path().join("sefaz"), &folder, &script] {
            set_mode(path, 0o755);
        }
        Self {
            till,
            folder,
            script,
        }
    }

    fn configure(&self, program: &Path, top: &str) {
        let section = section("comunicador", "MfeNobody", program);
        self.till
            .configure(&format!("interval = \"1h\"\n{top}\n{section}"));
    }

    /// What `check` says of a program.
    fn check(&self, program: &Path) -> Output {
        self.configure(program, "");
        let config = self.till.config();
        let checked = output(mfe_watchdog().arg("check").arg("--config").arg(config));
        assert_eq!(checked.code(), 0, "{}", checked.stderr);
        checked
    }

    /// Asserts that `check` warns of a program in one line that has all these words.
    fn assert_warned(&self, program: &Path, words: &[&str]) {
        let stderr = self.check(program).stderr;
        let begin = format!(
            "{}: process.comunicador.command: warning: somebody other than root could change {}, \
             which the service runs: ",
            self.till.config().display(),
            program.display()
        );
        assert!(stderr.starts_with(&begin), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        for words in words {
            assert!(stderr.contains(words), "{words:?} in {stderr}");
        }
    }

    fn assert_safe(&self, program: &Path) {
        assert_eq!(self.check(program).stderr, "");
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_warning_is_in_the_users_language_and_in_the_journal_in_english() {
    let vendor = Vendor::new();
    set_mode(&vendor.folder, 0o777);
    vendor.configure(&vendor.script, "");
    let warned = |journal: &Path| {
        let stderr = File::create(journal).unwrap();
        let metadata = stderr.metadata().unwrap();
        // As systemd names what it has connected stderr to.
        let stream = format!("{}:{}", metadata.dev(), metadata.ino());
        let mut check = mfe_watchdog();
        check.arg("check").arg("--config").arg(vendor.till.config());
        check.env("LANG", "pt_BR.UTF-8");
        let ours = output(&mut check).stderr;
        let status = check.env("JOURNAL_STREAM", stream).stderr(stderr).status();
        assert!(status.unwrap().success());
        (ours, fs::read_to_string(journal).unwrap())
    };
    let (ours, journal) = warned(&vendor.till.path().join("journal"));
    assert!(ours.contains(".command: aviso: "), "{ours}");
    assert!(journal.contains(".command: warning: "), "{journal}");
}

#[test]
fn what_everybody_can_change_is_named_with_what_mends_it() {
    let vendor = Vendor::new();
    vendor.assert_safe(&vendor.script);
    set_mode(&vendor.folder, 0o777);
    let path = vendor.folder.display();
    vendor.assert_warned(
        &vendor.script,
        &[
            &format!("{path} can be changed by everybody (mode 0777); "),
            &format!(" done' sh {path}\n"),
        ],
    );
    // As `chmod 777 -R /opt/sefaz` leaves it.
    let top = vendor.till.path().join("sefaz");
    set_mode(&top, 0o777);
    set_mode(&vendor.script, 0o777);
    let (top, script) = (top.display(), vendor.script.display());
    vendor.assert_warned(
        &vendor.script,
        &[
            &format!("{top} can be changed by everybody (mode 0777) (and 2 more)"),
            &format!(" done' sh {top} {path} 0755 {script}\n"),
        ],
    );
}

#[test]
fn the_command_that_mends_it_does() {
    let vendor = Vendor::new();
    let odd = vendor.till.path().join("it's (odd)");
    fs::create_dir(&odd).unwrap();
    set_mode(&odd, 0o777);
    let script = odd.join("a b.sh");
    fs::write(&script, "").unwrap();
    set_mode(&script, 0o766);
    let mut open = File::options().append(true).open(&script).unwrap();
    fix(&vendor.check(&script).stderr);
    vendor.assert_safe(&script);
    open.write_all(b"exit 7\n").unwrap();
    assert_eq!(fs::read_to_string(&script).unwrap(), "", "the old file");
}

/// Runs the command that a warning ends with, as the user that runs this test instead of root.
fn fix(warning: &str) {
    let (_, command) = warning.trim_end().split_once("this fixes it: ").unwrap();
    let me = rustix::process::geteuid().as_raw();
    let command = command.replace(" root ", &format!(" {me} "));
    let script = format!("sudo() {{ \"$@\"; }}\n{command}");
    let fixed = output(std::process::Command::new("sh").args(["-c", &script]));
    assert_eq!(fixed.code(), 0, "{command}: {}", fixed.stderr);
}

/// What a script runs in turn, with the mode of each.
#[test]
fn what_a_program_runs_in_turn_counts_too() {
    let vendor = Vendor::new();
    let library = vendor.till.path().join("drs");
    fs::create_dir(&library).unwrap();
    set_mode(&library, 0o755);
    let beside = vendor.folder.join("Program");
    let elsewhere = vendor.till.path().join("other.sh");
    let interpreter = vendor.till.path().join("sh");
    let loaded = library.join("lib.so");
    let data = vendor.folder.join("data");
    for (file, text) in [
        (&beside, "\u{7f}ELF"),
        (&elsewhere, "#!/bin/sh\n"),
        (&interpreter, "\u{7f}ELF"),
        (&loaded, "\u{7f}ELF"),
        (&data, "what the cashier's program writes"),
    ] {
        fs::write(file, text).unwrap();
        set_mode(file, 0o755);
    }
    set_mode(&data, 0o777);
    let script = format!(
        "#!/usr/bin/env -S {}\nexport LD_LIBRARY_PATH={}\n{} &\n",
        interpreter.display(),
        library.display(),
        elsewhere.display()
    );
    fs::write(&vendor.script, script).unwrap();
    vendor.assert_safe(&vendor.script);
    for (path, mode) in [
        (&beside, 0o777),
        (&elsewhere, 0o775),
        (&interpreter, 0o722),
        (&loaded, 0o666),
        (&library, 0o777),
        (&library, 0o1777),
    ] {
        let is_roots_group = fs::metadata(path).unwrap().gid() == 0;
        if mode == 0o775 && is_roots_group {
            chown(path, None, Some(1234)).unwrap();
        }
        let before = fs::metadata(path).unwrap().mode();
        set_mode(path, mode);
        let stderr = vendor.check(&vendor.script).stderr;
        let words = format!(
            "somebody other than root could change what {} runs in turn: {} can be changed",
            vendor.script.display(),
            path.display()
        );
        assert!(stderr.contains(&words), "{stderr}");
        if mode == 0o1777 {
            assert!(stderr.contains("; move "), "{stderr}");
            set_mode(path, before);
        } else {
            fix(&stderr);
        }
        vendor.assert_safe(&vendor.script);
    }
}

#[test]
fn the_configuration_counts_too() {
    let vendor = Vendor::new();
    let config = vendor.till.config();
    let text = |refuse: bool| {
        let section = section("comunicador", "MfeNobody", &vendor.script);
        format!("refuse_unsafe_commands = {refuse}\n{section}")
    };
    let check = |lang: &str| {
        let mut check = mfe_watchdog();
        output(
            check
                .arg("check")
                .arg("--config")
                .arg(&config)
                .env("LANG", lang),
        )
    };
    vendor.till.configure(&text(false));
    set_mode(&config, 0o666);
    let warned = check("C");
    assert_eq!(warned.code(), 0);
    let file = config.display();
    let begin = format!(
        "{file}: warning: somebody other than root could change this file, which says what root \
         runs: {file} can be changed by everybody (mode 0666); "
    );
    assert!(warned.stderr.starts_with(&begin), "{}", warned.stderr);
    let ours = check("pt_BR.UTF-8").stderr;
    assert!(ours.contains("alterar este arquivo"), "{ours}");
    assert!(ours.contains("este comando corrige: sudo sh -c "), "{ours}");
    let mut relative = mfe_watchdog();
    relative.args([
        "check",
        "--config",
        config.file_name().unwrap().to_str().unwrap(),
    ]);
    let relative = output(relative.current_dir(config.parent().unwrap())).stderr;
    assert!(relative.contains("could change this file"), "{relative}");
    let mut open = File::options().append(true).open(&config).unwrap();
    fix(&warned.stderr);
    open.write_all(b"interval = \"1s\"\n").unwrap();
    assert_eq!(check("C").stderr, "");
    assert_eq!(fs::metadata(&config).unwrap().mode() & 0o777, 0o644);

    vendor.till.configure(&text(true));
    assert_eq!(check("C").code(), 0);
    set_mode(vendor.till.path(), 0o777);
    let refused = check("C");
    set_mode(vendor.till.path(), 0o755);
    assert_eq!(refused.code(), 78, "{}", refused.stderr);
    let begin = format!("{file}: somebody other than root could change this file");
    assert!(refused.stderr.starts_with(&begin), "{}", refused.stderr);
}

#[test]
fn groups_other_than_roots_count() {
    let vendor = Vendor::new();
    chown(&vendor.script, None, Some(1234)).unwrap_or_else(|error| {
        assert!(!is_root(), "{error}");
    });
    set_mode(&vendor.script, 0o775);
    if is_root() {
        let words = "can be changed by the group 1234 (mode 0775)";
        vendor.assert_warned(&vendor.script, &[words, "; this fixes it: "]);
        chown(&vendor.script, None, Some(0)).unwrap();
        vendor.assert_safe(&vendor.script);
    } else {
        vendor.assert_warned(&vendor.script, &["can be changed by the group"]);
    }
}

/// An access control list as the kernel takes it (linux/posix_acl_xattr.h): the version, then for each
/// entry its tag, its permissions and whose it is.
fn access_list(of_somebody: u16) -> Vec<u8> {
    const NOBODYS: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 7, NOBODYS),
        (0x02, of_somebody, 1234),
        (0x04, 5, NOBODYS),
        (0x10, of_somebody | 5, NOBODYS),
        (0x20, 5, NOBODYS),
    ];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

#[test]
fn whoever_an_access_control_list_lets_write_counts() {
    let vendor = Vendor::new();
    if is_root() {
        chown(&vendor.script, None, Some(0)).unwrap();
    }
    let set = |permissions| {
        let flags = rustix::fs::XattrFlags::empty();
        let list = access_list(permissions);
        rustix::fs::setxattr(&vendor.script, "system.posix_acl_access", &list, flags).unwrap();
    };
    set(7);
    let words = "can be changed by whoever its access control list says (mode 0775)";
    vendor.assert_warned(&vendor.script, &[words, "; this fixes it: "]);
    set(5);
    vendor.assert_safe(&vendor.script);
    set(7);
    // As the warning says.
    set_mode(&vendor.script, 0o755);
    vendor.assert_safe(&vendor.script);
}

#[test]
fn owners_other_than_root_count() {
    needs!(Need::Root("it gives a file away"));
    let vendor = Vendor::new();
    chown(&vendor.folder, Some(54321), None).unwrap();
    let path = vendor.folder.display();
    vendor.assert_warned(
        &vendor.script,
        &[
            &format!("{path} belongs to the user 54321; "),
            &format!(" done' sh {path}\n"),
        ],
    );
    chown(&vendor.folder, Some(0), None).unwrap();
    vendor.assert_safe(&vendor.script);
    // In a folder that everybody may write to and that is sticky, what root owns is safe and what
    // anybody else owns isn't.
    set_mode(&vendor.folder, 0o1777);
    vendor.assert_safe(&vendor.script);
    let user = mfe_watchdog::sys::user::User::find("nobody")
        .unwrap()
        .unwrap();
    chown(&vendor.script, Some(user.uid), None).unwrap();
    vendor.assert_warned(
        &vendor.script,
        &["start.sh belongs to nobody; ", "; this fixes it: "],
    );
}

#[test]
fn links_are_followed_and_what_they_lie_in_counts() {
    let vendor = Vendor::new();
    let links = vendor.till.path().join("links");
    fs::create_dir(&links).unwrap();
    set_mode(&links, 0o755);
    symlink("../sefaz/cco/../cco", links.join("relative")).unwrap();
    symlink(links.join("relative/start.sh"), links.join("absolute")).unwrap();
    let link = links.join("absolute");
    vendor.assert_safe(&link);
    set_mode(&vendor.folder, 0o777);
    vendor.assert_warned(&link, &["sefaz/cco can be changed by everybody"]);
    set_mode(&vendor.folder, 0o755);
    set_mode(&links, 0o777);
    vendor.assert_warned(&link, &["links can be changed by everybody"]);
    // A loop is no program, and no reason to hang.
    set_mode(&links, 0o755);
    symlink("loop", links.join("loop")).unwrap();
    vendor.assert_safe(&links.join("loop"));
}

#[test]
fn of_a_program_that_is_not_there_the_folders_count() {
    let vendor = Vendor::new();
    let missing = vendor.folder.join("not/yet/start.sh");
    vendor.assert_safe(&missing);
    vendor.assert_safe(&vendor.script.join("below/a/file"));
    set_mode(&vendor.folder, 0o775);
    set_mode(&vendor.till.path().join("sefaz"), 0o777);
    vendor.assert_warned(&missing, &["sefaz can be changed by everybody"]);
    // Into a sticky folder everybody can put what isn't there; /tmp itself is to stay as it is.
    set_mode(&vendor.till.path().join("sefaz"), 0o755);
    set_mode(&vendor.folder, 0o1777);
    vendor.assert_warned(
        &missing,
        &[
            "cco can be changed by everybody (mode 1777); move ",
            "start.sh to where only root can write",
        ],
    );
}

#[test]
fn hooks_count_too_and_units_do_not() {
    let vendor = Vendor::new();
    set_mode(&vendor.script, 0o757);
    let config = vendor.till.config();
    let text = |refuse: bool| {
        format!(
            "refuse_unsafe_commands = {refuse}\n\n[process.a]\nname = \"MfeNobody\"\n\
             unit = \"mfe-nobody.service\"\n\n[[hook]]\non = [\"startup\"]\ncommand = [\"{}\"]\n",
            vendor.script.display()
        )
    };
    vendor.till.configure(&text(false));
    let check = || output(mfe_watchdog().arg("check").arg("--config").arg(&config));
    let warned = check();
    assert_eq!(warned.code(), 0);
    let begin = format!("{}: hook[1].command: warning: somebody", config.display());
    assert!(warned.stderr.starts_with(&begin), "{}", warned.stderr);
    vendor.till.configure(&text(true));
    let refused = check();
    assert_eq!(refused.code(), 78);
    let begin = format!(
        "{}:9: hook[1].command: somebody other than root",
        config.display()
    );
    assert!(refused.stderr.starts_with(&begin), "{}", refused.stderr);
}

#[test]
fn refused_where_that_is_asked_for_and_never_put_into_force() {
    let vendor = Vendor::new();
    vendor.configure(&vendor.script, "refuse_unsafe_commands = true");
    let service = run(&vendor.till);
    service.wait_for_line("MFE_EVENT=startup");
    set_mode(&vendor.folder, 0o777);
    service.signal(Signal::SIGHUP);
    let line = service.wait_for_line("MFE_EVENT=reload_failed");
    let problem = ":5: process.comunicador.command: somebody other than root could change";
    assert!(line.contains(problem), "{line}");
    let (_, _) = service.stop(Signal::SIGTERM);

    let runtime_dir = vendor.till.path().join("other-run");
    let ran = output(
        mfe_watchdog()
            .args([
                "run".as_ref(),
                "--config".as_ref(),
                vendor.till.config().as_os_str(),
            ])
            .args(["--runtime-dir".as_ref(), runtime_dir.as_os_str()]),
    );
    assert_eq!(ran.code(), 78, "{}", ran.stderr);
    assert!(ran.stderr.contains(problem), "{}", ran.stderr);
    assert!(!runtime_dir.exists());
}

#[test]
fn said_at_the_start_and_again_when_it_has_changed() {
    let vendor = Vendor::new();
    set_mode(&vendor.script, 0o757);
    vendor.configure(&vendor.script, "");
    let service = run(&vendor.till);
    let line = service.wait_for_line("MFE_EVENT=unsafe_command");
    assert!(
        line.contains(" process.comunicador.command: somebody other than root"),
        "{line}"
    );
    let reload = |count: usize| {
        service.signal(Signal::SIGHUP);
        mfe_kit::eventually(("reload", count), || {
            let lines = service.lines();
            let of = |event: &str| {
                let field = format!("MFE_EVENT={event}");
                lines.iter().filter(|line| line.contains(&field)).count()
            };
            (of("reloaded") == count).then(|| of("unsafe_command"))
        })
    };
    assert_eq!(reload(1), 1, "nothing new");
    set_mode(&vendor.folder, 0o777);
    reload(2);
    service.wait_for_line("cco can be changed by everybody");
    set_mode(&vendor.folder, 0o755);
    set_mode(&vendor.script, 0o755);
    assert_eq!(reload(3), 2, "all is well");
}
