//! `check`, and what `run` says about the same files: every kind of bad input in the words and
//! with the code that were promised, and the effective settings of a good one.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::program::{BINARY, mfe_watchdog};
use mfe_kit::{Need, Output, Till, eventually, in_mount_namespace, needs, output, section};

const DURATION: &str = "must be a duration such as \"10s\" or \"1min 30s\", from 100ms to 1h, not";
const COMMAND: &str = "must be a list of a program's absolute path and its arguments, such as \
                       [\"/opt/x/start.sh\"], not";
const NO_PROCESS: &str =
    "1: process: no process to keep running; write at least one [process.KEY] section";
const SECTIONS: &str = "must be sections, each begun by [process.KEY]";
const SAME_NAME: &str = "process.a has the same name; give each process a name of its own, or each \
                         an exe or a cmdline of its own";
const KNOWN: &str = "unknown key; known here: interval, start_timeout, stop_timeout, \
                     stopped_timeout, restart_burst, restart_delay, restart_delay_max, \
                     stable_after, crash_loop_restarts, crash_loop_window, duplicates, \
                     autostart_timeout, dry_run, launcher, refuse_unsafe_commands, process, hook";
const KNOWN_OF_PROCESS: &str = "unknown key; known here: name, exe, cmdline, user, session, \
                                command, unit, interval, start_timeout, stop_timeout, stopped_timeout, \
                                restart_burst, restart_delay, restart_delay_max, stable_after, \
                                crash_loop_restarts, crash_loop_window, duplicates, \
                                autostart_timeout, dry_run, check";

/// The rules of supervision as they are without any of one's own, but for the interval.
const RULES: &str = "start_timeout = \"30s\"\nstop_timeout = \"10s\"\nstopped_timeout = \"30s\"\n\
                     restart_burst = 3\nrestart_delay = \"1s\"\nrestart_delay_max = \"1m\"\n\
                     stable_after = \"1m\"\ncrash_loop_restarts = 5\ncrash_loop_window = \"5m\"\n\
                     duplicates = \"warn\"\nautostart_timeout = \"2m\"\ndry_run = false\n";

fn check(file: &Path) -> Output {
    output(mfe_watchdog().args([
        OsStr::new("check"),
        OsStr::new("--config"),
        file.as_os_str(),
    ]))
}

/// What is in force by a file, in full.
fn show(file: &Path) -> Output {
    output(
        mfe_watchdog()
            .args(["check", "--show", "--config"])
            .arg(file),
    )
}

/// Asserts that `check` and `run` refuse a file with exactly these lines, of which each stands
/// behind the file's name.
fn assert_refused(file: &Path, expected: &[impl AsRef<str>]) {
    let mut text = String::new();
    for line in expected {
        text += &format!("{}:{}\n", file.display(), line.as_ref());
    }
    let expected = text;
    let checked = check(file);
    let count = text_of_count(expected.lines().count());
    assert_eq!(checked.stderr, format!("{expected}{count}\n"));
    assert_eq!(checked.code(), 78, "{expected}");
    assert_eq!(checked.stdout, "");

    let directory = tempfile::tempdir().unwrap();
    let runtime_dir = directory.path().join("run");
    let ran = output(
        mfe_watchdog()
            .args([OsStr::new("run"), OsStr::new("--config"), file.as_os_str()])
            .args([OsStr::new("--runtime-dir"), runtime_dir.as_os_str()]),
    );
    assert_eq!(ran.stderr, expected, "run's words");
    assert_eq!(ran.code(), 78, "run's code");
    assert!(!runtime_dir.exists(), "refused before anything is done");
}

fn text_of_count(problems: usize) -> String {
    let plural = if problems == 1 { "" } else { "s" };
    format!("{problems} problem{plural}")
}

/// The same for a configuration's text; each line is `LINE: KEY: MESSAGE`.
fn assert_text_refused(text: impl AsRef<[u8]>, expected: &[impl AsRef<str>]) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    fs::write(&file, text).unwrap();
    assert_refused(&file, expected);
}

/// A process section of two settings.
fn process(key: &str, name: &str, rest: &str) -> String {
    format!("[process.{key}]\nname = {name}\n{rest}\n")
}

#[test]
fn files_that_are_no_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let missing = " can't be read: No such file or directory (os error 2)";
    assert_refused(&path("missing.toml"), &[missing]);
    symlink(path("missing.toml"), path("dangling.toml")).unwrap();
    assert_refused(&path("dangling.toml"), &[missing]);
    let directory_instead = " is a directory, not a configuration file";
    assert_refused(directory.path(), &[directory_instead]);
    mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
    assert_refused(&path("fifo"), &[" is not a regular file"]);
    assert_refused(Path::new("/dev/zero"), &[" is not a regular file"]);
    // Reading its first byte fails for everybody, root included.
    let error = " can't be read: Input/output error (os error 5)";
    assert_refused(Path::new("/proc/self/mem"), &[error]);
    let not_directory = " can't be read: Not a directory (os error 20)";
    assert_refused(Path::new("/dev/null/config.toml"), &[not_directory]);
}

#[test]
fn contents_that_are_no_configuration() {
    assert_text_refused("", &[NO_PROCESS]);
    assert_text_refused("\n# nothing but a comment\n", &[NO_PROCESS]);
    assert_text_refused("interval = \"1s\"\n\n[process]\n", &[NO_PROCESS]);
    let no_utf8 = "is not UTF-8 text; save it as UTF-8 with a text editor";
    assert_text_refused(b"# a\n# Comunica\xe7\xe3o\n", &[format!("2: {no_utf8}")]);
    // As a well-known editor saves "Unicode".
    let utf16: Vec<u8> = "interval = \"1s\""
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let binary = "holds a NUL byte, so it is not a text file";
    assert_text_refused(b"\x7fELF\x02\x01\x01\0\0\xff", &[format!("1: {binary}")]);
    assert_text_refused("a = 1\n\n\0", &[format!("3: {binary}")]);
    assert_text_refused(&utf16, &[format!("1: {binary}")]);
}

#[test]
fn a_huge_file_is_refused_and_one_of_a_mebibyte_is_not() {
    let good = process("a", "\"A\"", "command = [\"/a\"]");
    let padded = |size: usize| good.clone() + &"#".repeat(size - good.len());
    assert_text_refused(
        padded((1 << 20) + 1),
        &[" is larger than 1 MiB, so not a configuration"],
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    fs::write(&file, padded(1 << 20)).unwrap();
    assert_eq!(check(&file).code(), 0);
    // A sparse terabyte must not be read into memory.
    fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    assert_refused(&file, &[" is larger than 1 MiB, so not a configuration"]);
}

#[test]
fn wrong_types_everywhere() {
    for (text, expected) in [
        ("process = 3", vec![format!("1: process: {SECTIONS}")]),
        ("\nprocess = []", vec![format!("2: process: {SECTIONS}")]),
        (
            "[[process]]\nname = \"A\"",
            vec![format!("1: process: {SECTIONS}")],
        ),
        (
            "process.x = 3",
            vec!["1: process.x: must be a section begun by [process.x]".into()],
        ),
        (
            "[[process.x]]\nname = \"A\"",
            vec!["1: process.x: must be a section begun by [process.x]".into()],
        ),
        (
            "interval = 10\nlauncher = \"initd\"\n",
            vec![
                format!("1: interval: {DURATION} 10"),
                NO_PROCESS.into(),
                "2: launcher: must be \"auto\", \"systemd\" or \"direct\", not \"initd\"".into(),
            ],
        ),
        (
            "launcher.x = 3\n[process.a]\nname = \"A\"\nunit = \"a.service\"",
            vec!["1: launcher: must be \"auto\", \"systemd\" or \"direct\", not a section".into()],
        ),
        (
            "[process.x]\nname = [\"x\"]\ncommand = \"string\"\ninterval = true\nstart_timeout = {}",
            vec![
                "2: process.x.name: must be the process's exact name, such as \"Comunicador\", \
                 not [\"x\"]"
                    .into(),
                format!("3: process.x.command: {COMMAND} \"string\""),
                format!("4: process.x.interval: {DURATION} true"),
                format!("5: process.x.start_timeout: {DURATION} a section"),
            ],
        ),
        (
            "[process.x]\nname = \"x\"\ncommand = [\"/x\", 3]",
            vec![format!("3: process.x.command: {COMMAND} [\"/x\", 3]")],
        ),
        (
            "[process.x]\nname = \"x\"\ncommand = [\n  [\"/x\"]\n]",
            vec![format!("3: process.x.command: {COMMAND} […")],
        ),
        (
            "[process.x]\nname = \"x\"\nunit = [\"x.service\"]",
            vec![
                "3: process.x.unit: must be a service, such as \"cco-ser.service\", \
                 not [\"x.service\"]"
                    .into(),
            ],
        ),
    ] {
        assert_text_refused(text, &expected);
    }
}

#[test]
fn how_a_program_is_started() {
    let relative = |what: &str| {
        format!(
            "3: process.x.command: the program must be an absolute path such as \
             \"/opt/x/start.sh\", not \"{what}\""
        )
    };
    let unit = |what: &str| {
        format!(
            "3: process.x.unit: must be a service's full name such as \"cco-ser.service\", \
             not \"{what}\""
        )
    };
    for (rest, expected) in [
        (
            "",
            "1: process.x.command: is missing: give a command (or a unit) that starts the \
             program"
                .into(),
        ),
        (
            "command = [\"/x\"]\nunit = \"x.service\"",
            "4: process.x.unit: both command and unit are given; keep the one that starts the \
             program"
                .into(),
        ),
        (
            "unit = \"x.service\"\ncommand = [\"/x\"]",
            "3: process.x.unit: both command and unit are given; keep the one that starts the \
             program"
                .into(),
        ),
        (
            "command = []",
            "3: process.x.command: is empty; write the program's absolute path and its arguments"
                .into(),
        ),
        ("command = [\"bin/start.sh\"]", relative("bin/start.sh")),
        ("command = [\"./start.sh\", \"/x\"]", relative("./start.sh")),
        ("command = [\"\"]", relative("")),
        (
            "command = [\"/x\", \"a\\u0000b\"]",
            "3: process.x.command: holds a NUL character, which no program can be given".into(),
        ),
        ("unit = \"cco-ser\"", unit("cco-ser")),
        ("unit = \"x.timer\"", unit("x.timer")),
        ("unit = \"--force.service\"", unit("--force.service")),
    ] {
        assert_text_refused(process("x", "\"x\"", rest), &[expected]);
    }
}

#[test]
fn no_check_is_called_as_a_program_that_hangs_is() {
    let check = "[[process.a.check]]\nkind = \"age\"\nmax = \"7d\"\nname = \"stopped\"\n";
    assert_text_refused(
        process("a", "\"A\"", "command = [\"/a\"]") + check,
        &[
            "7: process.a.check[1].name: is the service's own name for a program that hangs; give another",
        ],
    );
}

#[test]
fn names_and_keys() {
    let command = "command = [\"/x\"]";
    let expected = "the process's exact name, such as \"Comunicador\"";
    let impossible =
        format!("2: process.x.name: must be {expected}: 1 to 255 bytes, no path, no NUL");
    let too_long = format!("{:?}", "n".repeat(256));
    for name in ["\"\"", "\"/opt/x\"", "\"a\\u0000b\"", &too_long] {
        assert_text_refused(process("x", name, command), &[&impossible]);
    }
    assert_text_refused(
        format!("[process.x]\n{command}\n"),
        &[format!("1: process.x.name: is missing: {expected}")],
    );
    for (key, shown) in [
        ("Comunicador", "Comunicador"),
        ("\"a b\"", "a b"),
        ("\"\"", ""),
        ("\"a\\nb\\u001b[2J\"", "a\\nb\\u{1b}[2J"),
    ] {
        assert_text_refused(
            process(key, "\"x\"", command),
            &[format!(
                "1: process.{shown}: a key has 1 to 32 characters out of a-z, 0-9, _ and -"
            )],
        );
    }
}

#[test]
fn processes_that_nothing_tells_apart() {
    let command = "command = [\"/x\"]";
    let two = |first: &str, second: &str, rest: &str| {
        process("a", first, command) + &process("b", second, rest)
    };
    let same: &str = &format!("5: process.b.name: {SAME_NAME}");
    assert_text_refused(two("\"A\"", "\"A\"", command), &[same]);
    assert_text_refused(
        two("\"A\"", "'''A'''", "command = []"),
        &[
            same,
            "6: process.b.command: is empty; write the program's absolute path and its arguments",
        ],
    );
    let kept = "5: process.b.name: can't be distinguished from process.a, \"abcdefghijklmno\": the kernel \
                keeps only the first 15 bytes of a name, which must differ";
    assert_text_refused(
        two("\"abcdefghijklmno\"", "\"abcdefghijklmnop\"", command),
        &[kept],
    );
    // Of two long names, the program's file has the whole.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    fs::write(
        &file,
        two("\"abcdefghijklmnop\"", "\"abcdefghijklmnoq\"", command),
    )
    .unwrap();
    assert_eq!(check(&file).code(), 0);
    fs::write(&file, two("\"Monitor\"", "\"monitor\"", command)).unwrap();
    assert_eq!(check(&file).code(), 0, "upper case is another name");
}

#[test]
fn a_name_may_be_shared_by_programs_that_are_told_apart() {
    let java = |key: &str, rest: &str| {
        let rest = format!("{rest}command = [\"/{key}\"]");
        process(key, "\"java\"", &rest)
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let two = |first: &str, second: &str| java("a", first) + &java("b", second);
    for (first, second) in [
        ("cmdline = \"a[.]jar\"\n", "cmdline = \"b[.]jar\"\n"),
        ("exe = \"/a/*\"\n", "exe = \"/b/*\"\n"),
        ("exe = \"/a/*\"\n", "exe = \"/a/*\"\ncmdline = \"b\"\n"),
        ("exe = \"/a/*\"\n", "cmdline = \"b\"\n"),
    ] {
        fs::write(&file, two(first, second)).unwrap();
        let checked = check(&file);
        assert_eq!((checked.code(), checked.stderr.as_str()), (0, ""));
    }
    let same = format!("6: process.b.name: {SAME_NAME}");
    for (first, second) in [
        ("cmdline = \"a\"\n", ""),
        ("cmdline = \"a\"\n", "cmdline = \"a\"\n"),
        ("exe = \"/a\"\n", "user = \"root\"\n"),
        ("user = 1000\n", "user = \"root\"\n"),
    ] {
        assert_text_refused(two(first, second), &[&same]);
    }
}

#[test]
fn what_narrows_a_name() {
    let exe = "must be the absolute path of the program, with * for any part of it, such as \
               \"/opt/sefaz/cco/bin/Monitor*\", not";
    let cmdline = "must be a regular expression that is found in the program's arguments, such as \
                   \"monitor[.]jar\", not";
    let user = "the name or the number of a user, such as \"root\"";
    let nobody = |name: &str| format!("user: /etc/passwd has no user \"{name}\"; must be {user}");
    for (line, expected) in [
        ("exe = \"Monitor\"", format!("exe: {exe} \"Monitor\"")),
        ("exe = \"\"", format!("exe: {exe} \"\"")),
        (
            "exe = \"opt/\\u001b*\"",
            format!("exe: {exe} \"opt/\\u{{1b}}*\""),
        ),
        ("exe = [\"/x\"]", format!("exe: {exe} [\"/x\"]")),
        (
            "exe = \"/x/[a\"",
            "exe: isn't a pattern: invalid range pattern, near character 4".into(),
        ),
        (
            "exe = \"/x/y**\"",
            "exe: isn't a pattern: recursive wildcards must form a single path component, near \
             character 4"
                .into(),
        ),
        ("cmdline = \"\"", format!("cmdline: {cmdline} \"\"")),
        ("cmdline = 3", format!("cmdline: {cmdline} 3")),
        (
            "cmdline = \"(jar\"",
            "cmdline: isn't a regular expression: found open group without closing ')'".into(),
        ),
        (
            "user = \"nobody is called so\"",
            nobody("nobody is called so"),
        ),
        ("user = \"\"", nobody("")),
        ("user = \"-1\"", nobody("-1")),
        ("user = \"4294967296\"", nobody("4294967296")),
        ("user = -1", format!("user: must be {user}, not -1")),
        ("user = true", format!("user: must be {user}, not true")),
    ] {
        let text = process("x", "\"x\"", &format!("command = [\"/x\"]\n{line}"));
        assert_text_refused(text, &[format!("4: process.x.{expected}")]);
    }
    let all = "exe = \"x\"\ncmdline = \"[\"\nuser = \"\\n\"\ncommand = [\"/x\"]";
    assert_text_refused(
        process("x", "\"x\"", all),
        &[
            format!("3: process.x.exe: {exe} \"x\""),
            "4: process.x.cmdline: isn't a regular expression: found unclosed character class"
                .into(),
            format!("5: process.x.{}", nobody("\\n")),
        ],
    );
}

#[test]
fn unknown_keys_at_every_level() {
    let text = "intervall = \"1s\"\n\
                [process.x]\nname = \"x\"\ncommand = [\"/x\"]\nnmae = \"y\"\n\
                [process.x.health]\ncommand = [\"/y\"]\n\
                [\"rock\\net\"]\nx = 1\n";
    assert_text_refused(
        text,
        &[
            "1: intervall: unknown key; did you mean interval?".to_owned(),
            "5: process.x.nmae: unknown key; did you mean name?".to_owned(),
            format!("6: process.x.health: {KNOWN_OF_PROCESS}"),
            format!("8: rock\\net: {KNOWN}"),
        ],
    );
}

#[test]
fn broken_toml_with_the_right_line() {
    let missing = "the value is missing or isn't in quotes; for example: interval = \"10s\"";
    for (text, expected) in [
        ("\ninterval = 10s\n", vec![format!("2: {missing}")]),
        ("\ninterval =\n", vec![format!("2: {missing}")]),
        (
            "# a\n\ninterval = \"10s\n[process.x]\n",
            vec!["3: the quote that ends the text is missing on this line".into()],
        ),
        (
            "interval = \"1s\"\n[process.x\nname = \"x\"\n",
            vec!["2: the ] that closes the section's name is missing".into()],
        ),
        (
            "interval \"1s\"\n",
            vec!["1: TOML syntax: key with no value, expected `=`".into()],
        ),
        (
            "interval = \"1s\"\r\ninterval = \"2s\"\r\n",
            vec!["2: interval: is given twice; keep one of them".into()],
        ),
        (
            "[process.x]\nname = \"x\"\n\n[process.x]\nunit = \"x.service\"\n",
            vec!["4: x: is given twice; keep one of them".into()],
        ),
    ] {
        assert_text_refused(text, &expected);
    }
}

#[test]
fn a_program_and_its_arguments_in_one_item_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let start = directory.path().join("start it.sh");
    let started = start.display().to_string();
    let command = format!("command = [\"{started} -d\"]");
    fs::write(&file, process("a", "\"A\"", &command)).unwrap();
    let told = check(&file);
    let (shown, first) = (file.display(), started.split_once(' ').unwrap().0);
    assert_eq!(
        told.stderr,
        format!(
            "{shown}: process.a.command: warning: there is no file \"{started} -d\"; write each \
             argument as an item of its own: [\"{first}\", \"it.sh\", \"-d\"]\n"
        )
    );
    assert_eq!(
        (told.code(), told.stdout),
        (0, format!("OK, 1 warning: {shown}\n"))
    );
    // There is such a file.
    fs::write(&start, "#!/bin/sh\n").unwrap();
    let command = format!("command = [\"{started}\"]");
    fs::write(&file, process("a", "\"A\"", &command)).unwrap();
    assert!(!check(&file).stderr.contains("an item of its own"));
}

#[test]
fn many_problems_are_all_said_in_the_order_of_the_file() {
    let text = "launcher = \"rocket\"\n\
                [process.Z]\nname = \"\"\n\
                [process.m]\ncommand = [\"x\"]\nstart_timeout = \"0s\"\n\
                [process.a]\nname = \"A\"\ncommand = [\"/a\"]\nretries = 3\n\
                [process.b]\nname = \"A\"\ncommand = [\"/b\"]\n\
                [proces.c]\nname = \"C\"\n";
    let name = "the process's exact name, such as \"Comunicador\"";
    assert_text_refused(
        text,
        &[
            "1: launcher: must be \"auto\", \"systemd\" or \"direct\", not \"rocket\"".to_owned(),
            "2: process.Z: a key has 1 to 32 characters out of a-z, 0-9, _ and -".to_owned(),
            "2: process.Z.command: is missing: give a command (or a unit) that starts the program"
                .to_owned(),
            format!("3: process.Z.name: must be {name}: 1 to 255 bytes, no path, no NUL"),
            format!("4: process.m.name: is missing: {name}"),
            "5: process.m.command: the program must be an absolute path such as \
         \"/opt/x/start.sh\", not \"x\""
                .to_owned(),
            format!("6: process.m.start_timeout: {DURATION} \"0s\""),
            format!("10: process.a.retries: {KNOWN_OF_PROCESS}"),
            format!("12: process.b.name: {SAME_NAME}"),
            "14: proces: unknown key; did you mean process?".to_owned(),
        ],
    );
    // Nobody reads more than a screenful.
    let mut text = String::new();
    for n in 1..=1000 {
        text += &format!("k{n} = 1\n");
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    fs::write(&file, text).unwrap();
    let stderr = check(&file).stderr;
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 27);
    let more = format!("{}: 976 more problems", file.display());
    assert_eq!(lines[25..], [&more, "1001 problems"]);
}

#[test]
fn every_default_is_filled_in() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    fs::write(
        &file,
        "[process.z]\nname = \"Z\"\ncommand = [\"/z\", \"\", \"a b\"]\nuser = 7\n\
         cmdline = 'a\\.jar'\nexe = \"/z/*\"\n\
         [process.a]\nname = \"A\"\nunit = \"a.service\"\ninterval = \"1m 30s\"\nuser = \"root\"\n",
    )
    .unwrap();
    let checked = check(&file);
    assert_eq!((checked.code(), checked.stderr.as_str()), (0, ""));
    assert_eq!(checked.stdout, format!("OK: {}\n", file.display()));
    let checked = show(&file);
    assert_eq!((checked.code(), checked.stderr.as_str()), (0, ""));
    let expected = format!(
        "# {}\n\
         interval = \"10s\"\n\
         {RULES}\
         launcher = \"auto\"\n\
         refuse_unsafe_commands = false\n\n\
         [process.z]\n\
         name = \"Z\"\n\
         exe = \"/z/*\"\n\
         cmdline = 'a\\.jar'\n\
         user = \"7\"\n\
         command = [\"/z\", \"\", \"a b\"]\n\
         interval = \"10s\"\n\
         {RULES}\n\
         [process.a]\n\
         name = \"A\"\n\
         user = \"root\"\n\
         unit = \"a.service\"\n\
         interval = \"1m 30s\"\n\
         {RULES}\n\
         # OK: {}\n",
        file.display(),
        file.display()
    );
    assert_eq!(checked.stdout, expected);
}

#[test]
fn the_output_is_a_configuration_with_the_same_output() {
    let directory = tempfile::tempdir().unwrap();
    // The file's own name stands in the output too.
    let file = directory.path().join("a\nb = \"ç\".toml");
    for name in [
        r#""plain""#,
        r#""a \"quoted\" name""#,
        r#""'single' and \"double\"""#,
        r#""'''three\"\"\"""#,
        r#""two\nlines\n""#,
        r#""\ttab\u001b[31m\u007f\r""#,
        r#""Comunicação 通信 🖨\u202e""#,
        r#""back\\slash\\n""#,
        r##""# no comment""##,
    ] {
        let command = format!("command = [\"/x\", {name}]\nstart_timeout = \"1h\"");
        fs::write(&file, process("x-1", name, &command)).unwrap();
        let first = show(&file);
        assert_eq!((first.code(), first.stderr.as_str()), (0, ""), "{name}");
        let parse = |text: &str| text.parse::<toml::Table>().unwrap();
        let given = parse(&fs::read_to_string(&file).unwrap());
        let shown = parse(&first.stdout);
        assert_eq!(
            shown["process"]["x-1"]["name"],
            given["process"]["x-1"]["name"]
        );
        assert_eq!(
            shown["process"]["x-1"]["command"],
            given["process"]["x-1"]["command"]
        );
        fs::write(&file, &first.stdout).unwrap();
        assert_eq!(show(&file).stdout, first.stdout, "{name}");
    }
}

/// Runs `check` where /etc/mfe-watchdog is `setup`'s alone.
fn check_default(setup: &str, directory: &Path) -> Output {
    // A directory that doesn't exist can't be mounted over, so all of /etc is replaced.
    let setup = format!("mount -t tmpfs none /etc\n{setup}");
    output(
        in_mount_namespace(&setup, BINARY)
            .env("DIRECTORY", directory)
            .args(["check", "--show"]),
    )
}

#[test]
fn without_a_default_file_the_shipped_one_is_in_force() {
    needs!(Need::Root(
        "to others / belongs to somebody else in its namespace"
    ));
    let directory = tempfile::tempdir().unwrap();
    for setup in ["", "mkdir /etc/mfe-watchdog"] {
        let checked = check_default(setup, directory.path());
        assert_eq!((checked.code(), checked.stderr.as_str()), (0, ""));
        let (source, settings) = checked.stdout.split_once('\n').unwrap();
        assert_eq!(
            source,
            "# built-in defaults, /etc/mfe-watchdog/config.toml doesn't exist"
        );
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/default.toml");
        let of_shipped = show(&shipped).stdout;
        let settings_of = |shown: &str| shown.rsplit_once("\n\n# OK: ").unwrap().0.to_owned();
        let (_, of_shipped) = of_shipped.split_once('\n').unwrap();
        assert_eq!(settings_of(settings), settings_of(of_shipped));
    }
}

#[test]
fn a_default_file_is_used_and_never_passed_over_for_being_bad() {
    needs!(Need::Namespaces);
    let directory = tempfile::tempdir().unwrap();
    let file = |text: &str| fs::write(directory.path().join("config.toml"), text).unwrap();
    let copy = "mkdir /etc/mfe-watchdog\ncp \"$DIRECTORY/config.toml\" /etc/mfe-watchdog";
    file(&process("only", "\"Only\"", "command = [\"/x\"]"));
    let checked = check_default(copy, directory.path());
    assert_eq!(checked.code(), 0);
    let stdout = &checked.stdout;
    assert!(
        stdout.starts_with("# /etc/mfe-watchdog/config.toml\n"),
        "{stdout}"
    );
    assert!(
        stdout.contains("[process.only]") && !stdout.contains("comunicador"),
        "{stdout}"
    );

    file("interval = 3");
    for (setup, expected) in [
        (copy, format!(":1: interval: {DURATION} 3")),
        (
            "mkdir -p /etc/mfe-watchdog/config.toml",
            ": is a directory, not a configuration file".into(),
        ),
        (
            "mkdir /etc/mfe-watchdog; ln -s gone /etc/mfe-watchdog/config.toml",
            ": can't be read: No such file or directory (os error 2)".into(),
        ),
        (
            "touch /etc/mfe-watchdog",
            ": can't be read: Not a directory (os error 20)".into(),
        ),
    ] {
        let checked = check_default(setup, directory.path());
        assert_eq!(checked.code(), 78, "{setup}");
        let line = format!("/etc/mfe-watchdog/config.toml{expected}");
        assert_eq!(checked.stderr.lines().next(), Some(line.as_str()));
    }
}

#[test]
fn problems_are_told_in_the_users_language() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let text = format!(
        "dry_run = \"x\"\n{}",
        process("a", "\"A\"", "command = [\"/a\"]\ninterval = \"2h\"\n")
    );
    fs::write(&file, text).unwrap();
    let shown = file.display().to_string();
    let expected = [
        "1: dry_run: deve ser true ou false, não \"x\"",
        "5: process.a.interval: deve ser uma duração como \"10s\" ou \"1min 30s\", de 100ms a 1h, \
         não \"2h\"",
    ];
    for command in ["check", "run"] {
        let mut refused = mfe_watchdog();
        refused.arg(command).arg("--config").arg(&file);
        refused.arg("--runtime-dir").arg(directory.path());
        let refused = output(refused.env("LANG", "pt_BR.UTF-8").env_remove("LC_ALL"));
        assert_eq!((refused.code(), refused.stdout.as_str()), (78, ""));
        for line in expected {
            let line = format!("{shown}:{line}\n");
            assert!(refused.stderr.contains(&line), "{}", refused.stderr);
        }
    }
}

#[test]
fn usage_errors_have_a_code_of_their_own() {
    for arguments in [
        &[][..],
        &["watch"],
        &["check", "--confg", "x"],
        &["check", "--config"],
        &["check", "extra"],
        &["check", "--config", "a", "--config", "b"],
        &["status", "--config", "a"],
        &["run", "--json"],
        &["--runtime-dir"],
    ] {
        let ran = output(mfe_watchdog().args(arguments));
        assert_eq!(ran.code(), 2, "{arguments:?}");
        assert!(
            ran.stderr.contains("--help"),
            "{arguments:?}: {}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "");
    }
    let version = output(mfe_watchdog().arg("--version"));
    let expected = concat!("mfe-watchdog ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!((version.code(), version.stdout.as_str()), (0, expected));
    let help = output(mfe_watchdog().arg("--help"));
    assert_eq!(help.code(), 0);
    for word in ["run", "check", "status", "--runtime-dir"] {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
}

#[test]
fn a_file_is_named_as_the_user_named_it() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("c.toml"), "").unwrap();
    for command in ["check", "run"] {
        let refused = output(
            mfe_watchdog()
                .args([command, "--config", "c.toml", "--runtime-dir", "run"])
                .current_dir(&directory),
        );
        let count = if command == "check" {
            "1 problem\n"
        } else {
            ""
        };
        assert_eq!(refused.stderr, format!("c.toml:{NO_PROCESS}\n{count}"));
    }
}

#[test]
fn the_shipped_configuration_is_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked = check(&root.join("src/config/default.toml"));
    assert_eq!((checked.code(), checked.stderr.as_str()), (0, ""));
}

#[test]
fn a_program_that_is_nearly_the_one_that_is_configured_is_told() {
    let till = Till::new();
    let program = till.program('c');
    let script = till.script("start.sh", "exit 1");
    till.configure(&section("a", &program.name.to_uppercase(), &script));
    let quiet = check(&till.config());
    assert_eq!((quiet.code(), quiet.stderr.as_str()), (0, ""));
    let child = mfe_kit::Guard(program.start());
    let told = eventually("it is told", || {
        let told = check(&till.config());
        (!told.stderr.is_empty()).then_some(told)
    });
    assert_eq!(told.code(), 0);
    let words = format!(
        "but {} is running instead (pid {}",
        program.name,
        child.0.id()
    );
    assert!(told.stderr.contains(&words), "{}", told.stderr);
}
