//! What is accepted, what is refused, and that settings survive being written and read again.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const FILE: &str = "/a/config.toml";

fn parsed(text: &str) -> Settings {
    parse(text, Path::new(FILE)).unwrap_or_else(|error| panic!("{error}\nin\n{text}"))
}

fn refused(text: &str) -> Vec<Problem> {
    let error = parse(text, Path::new(FILE)).expect_err(text);
    assert_eq!(error.file, Path::new(FILE));
    error.problems
}

/// A configuration with one process and this interval.
fn with_interval(interval: &str) -> String {
    format!("interval = {interval}\n[process.a]\nname = \"A\"\ncommand = [\"/a\"]\n")
}

#[test]
fn the_shipped_file_says_what_the_defaults_are() {
    let settings = parsed(DEFAULT_TEXT);
    assert_eq!(settings.interval, Duration::from_secs(10));
    assert_eq!(settings.launcher, Launcher::Auto);
    let each: Vec<_> = settings
        .processes
        .iter()
        .map(|process| {
            let start = process.start.to_string();
            (process.key.as_str(), process.name().as_str(), start)
        })
        .collect();
    let script = |name: &str| format!("/opt/sefaz/cco/bin/{name}");
    assert_eq!(
        each,
        [
            ("comunicador", "Comunicador", script("runcco-ser.sh")),
            ("monitor", "Monitor", script("runcco-mon.sh")),
        ]
    );
    for process in &settings.processes {
        assert_eq!(process.interval, Duration::from_secs(10));
        assert_eq!(process.start_timeout, Duration::from_secs(30));
    }
}

#[test]
fn durations_as_people_write_them() {
    for (text, expected) in [
        ("10s", 10_000),
        ("10 s", 10_000),
        ("10sec", 10_000),
        ("1min 30s", 90_000),
        ("1m30s", 90_000),
        ("100ms", 100),
        ("1s 500ms", 1_500),
        ("1h", 3_600_000),
        ("60min", 3_600_000),
    ] {
        let settings = parsed(&with_interval(&format!("{text:?}")));
        assert_eq!(settings.interval, Duration::from_millis(expected), "{text}");
    }
}

#[test]
fn durations_nobody_can_mean() {
    for value in [
        "\"0s\"",
        "\"-1s\"",
        "\"99ms\"",
        "\"99999us\"",
        "\"1h 1ms\"",
        "\"1h 1ns\"",
        "\"10\"",
        "\"0\"",
        "\"\"",
        "\" \"",
        "\"s\"",
        "\"10 parsecs\"",
        "\"ten seconds\"",
        "\"1.5h 1s\"",
        "\"99999999999999999999s\"",
        "\"18446744073709551615s 1s\"",
        "\"1000years\"",
        "\"10s\\n\\u0000\"",
        "10",
        "10.0",
        "true",
        "[\"10s\"]",
        "1979-05-27",
    ] {
        for (line, text) in [
            (1, with_interval(value)),
            (5, with_interval("\"1s\"") + &format!("interval = {value}")),
            (
                5,
                with_interval("\"1s\"") + &format!("start_timeout = {value}"),
            ),
        ] {
            let problems = refused(&text);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(problems[0].line, Some(line), "{text}");
            let message = &problems[0].message;
            let right =
                "must be a duration such as \"10s\" or \"1min 30s\", from 100ms to 1h, not ";
            assert!(message.starts_with(right), "{message}");
            assert!(!message.contains(char::is_control), "{message:?}");
        }
    }
}

#[test]
fn an_interval_of_its_own_goes_over_the_global_one() {
    let settings = parsed(
        "interval = \"20s\"\n\
         [process.a]\nname = \"A\"\ncommand = [\"/a\"]\ninterval = \"1s\"\nstart_timeout = \"2s\"\n\
         [process.b]\nname = \"B\"\ncommand = [\"/b\"]\n",
    );
    let of = |index: usize| {
        let process: &ProcessSettings = &settings.processes[index];
        (process.interval.as_secs(), process.start_timeout.as_secs())
    };
    assert_eq!(settings.interval.as_secs(), 20);
    assert_eq!((of(0), of(1)), ((1, 2), (20, 30)));
}

#[test]
fn processes_stay_in_the_order_of_the_file() {
    let mut text = String::new();
    for key in ["m", "z", "a", "k-1", "9"] {
        text += &format!("[process.{key}]\nname = \"{key}\"\ncommand = [\"/x\"]\n");
    }
    let settings = parsed(&text);
    let keys = |settings: &Settings| -> Vec<String> {
        let processes = settings.processes.iter();
        processes.map(|process| process.key.clone()).collect()
    };
    assert_eq!(keys(&settings), ["m", "z", "a", "k-1", "9"]);
    let again = parsed(&settings.to_toml().unwrap());
    assert_eq!(keys(&again), keys(&settings), "also when written and read");
}

#[test]
fn every_way_to_write_a_section_is_the_same() {
    let sections = parsed("[process.a]\nname = \"A\"\ncommand = [\"/a\"]\n");
    for same in [
        "process.a.name = \"A\"\nprocess.a.command = [\"/a\"]\n",
        "process = { a = { name = 'A', command = ['/a'] } }\n",
        "[process]\na = { name = 'A', command = ['/a'] }\n",
        "\u{feff}[process.a]\r\nname = \"A\"\r\ncommand = [\r\n  \"/a\", # its script\r\n]\r\n",
        "[\"process\".\"a\"]\n\"name\" = \"A\"\ncommand = [\"/a\"]",
    ] {
        assert_eq!(parsed(same), sections, "{same}");
    }
}

#[test]
fn keys_and_names_up_to_their_limits() {
    let section =
        |key: &str, name: &str| format!("[process.{key}]\nname = {name:?}\ncommand = [\"/a\"]\n");
    let (longest, too_long) = ("k".repeat(32), "k".repeat(33));
    for key in ["a", "0", "_", "-", "a_b-c9", &longest] {
        assert_eq!(parsed(&section(key, "A")).processes[0].key, *key);
    }
    for key in [
        "\"\"", "A", "\"ç\"", "\"a.b\"", "\"a b\"", "\"a\\n\"", &too_long,
    ] {
        let problems = refused(&section(key, "A"));
        assert_eq!(problems.len(), 1, "{key}: {problems:?}");
        assert!(
            problems[0]
                .message
                .starts_with("a key has 1 to 32 characters")
        );
        assert!(!problems[0].key.contains(char::is_control), "{problems:?}");
    }
    let longest = "n".repeat(255);
    assert_eq!(
        parsed(&section("a", &longest)).processes[0].name().as_str(),
        longest
    );
    for name in ["", "/", "bin/x", &"n".repeat(256)] {
        let problems = refused(&section("a", name));
        assert_eq!(problems[0].key, "process.a.name");
        assert!(
            problems[0]
                .message
                .ends_with("1 to 255 bytes, no path, no NUL")
        );
    }
}

#[test]
fn targets_know_their_namesakes() {
    let section = |key: &str, name: &str, rest: &str| {
        format!("[process.{key}]\nname = {name:?}\ncommand = [\"/a\"]\n{rest}\n")
    };
    let settings = parsed(
        &[
            section("a", "java", "cmdline = \"a\""),
            section("b", "other", ""),
            section("c", "java", "exe = \"/c\""),
            section("d", "java", "cmdline = \"d\""),
        ]
        .concat(),
    );
    let target = |index: usize| &settings.processes[index].target;
    let alone = |index: usize| Target {
        namesakes: Vec::new(),
        ..target(index).clone()
    };
    assert_eq!(target(0).namesakes, [alone(2), alone(3)]);
    assert_eq!(target(1).namesakes, []);
    assert_eq!(target(2).namesakes, [alone(0), alone(3)]);
    assert_eq!(target(3).namesakes, [alone(0), alone(2)]);
    let again = parsed(&settings.to_toml().unwrap());
    assert_eq!(again, settings, "also when written and read");
}

#[test]
fn units_of_other_kinds_and_options_are_no_services() {
    let text = |unit: &str| format!("[process.a]\nname = \"A\"\nunit = {unit:?}\n");
    for unit in [
        "cco-ser.service",
        "a@b.service",
        "a\\x2db.service",
        "A:1_.service",
    ] {
        assert_eq!(
            parsed(&text(unit)).processes[0].start,
            Start::Unit(unit.into())
        );
    }
    let too_long = "u".repeat(248) + ".service";
    for unit in [
        "",
        ".service",
        "cco-ser",
        "a.timer",
        "--now.service",
        "/a.service",
        "a b.service",
        "a.service\n",
        "a.service b.service",
        &too_long,
    ] {
        let problems = refused(&text(unit));
        assert_eq!(
            (problems[0].line, problems.len()),
            (Some(3), 1),
            "{problems:?}"
        );
        assert!(
            problems[0]
                .message
                .starts_with("must be a service's full name")
        );
    }
}

#[test]
fn a_large_file_of_mistakes_is_refused_in_no_time() {
    let mistakes = MAX_SIZE / 4;
    let mut text = String::new();
    for n in 0..mistakes / 4 {
        text += &format!("k{n} = 1\n");
    }
    let begin = std::time::Instant::now();
    let problems = refused(&text);
    assert_eq!(problems.len() as u64, mistakes / 4 + 1, "and no process");
    let last = problems.iter().filter_map(|problem| problem.line).max();
    assert_eq!(last.unwrap() as u64, mistakes / 4);
    // Counting each line from the beginning took minutes.
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
}

fn arbitrary_settings() -> impl Strategy<Value = Settings> {
    let text = || proptest::collection::vec(any::<char>(), 0..20);
    let no_nul =
        move || text().prop_map(|text| text.into_iter().filter(|c| *c != '\0').collect::<String>());
    let start = prop_oneof![
        (no_nul(), proptest::collection::vec(no_nul(), 0..3)).prop_map(|(program, arguments)| {
            let command = std::iter::once(format!("/{program}")).chain(arguments);
            Start::Command(command.collect())
        }),
        "[a-z0-9@_.-]{0,20}".prop_map(|stem| Start::Unit(format!("u{stem}.service"))),
    ];
    let duration = || (100_u64..=3_600_000).prop_map(Duration::from_millis);
    let exe = proptest::option::of(
        "[/*][a-z0-9*? ]{0,9}".prop_filter("no **", |exe| !exe.contains("**")),
    );
    let cmdline = proptest::option::of("[a-z.]{1,9}");
    let user = proptest::option::of(prop_oneof![Just("root".to_owned()), "[0-9]{1,9}"]);
    let identity = (no_nul(), exe, cmdline, user);
    let process = (identity, start, duration(), duration());
    let processes = proptest::collection::btree_map("[a-z0-9_-]{1,32}", process, 1..5);
    let launcher = prop_oneof![
        Just(Launcher::Auto),
        Just(Launcher::Systemd),
        Just(Launcher::Direct)
    ];
    (duration(), launcher, processes).prop_map(|(interval, launcher, processes)| {
        let processes = processes.into_iter().enumerate();
        let processes = processes.map(|(n, (key, (identity, start, interval, start_timeout)))| {
            let (name, exe, cmdline, user) = identity;
            // The number makes it a name of its own.
            let name = ProcessName::new(format!("{n}{}", name.replace('/', "|")));
            ProcessSettings {
                key,
                target: Target {
                    exe: exe.map(|exe| ExePattern::new(&exe).unwrap()),
                    cmdline: cmdline.map(|cmdline| CmdlinePattern::new(&cmdline).unwrap()),
                    user: user.map(|user| User::find(&user).unwrap().unwrap()),
                    ..Target::named(name)
                },
                start,
                launcher,
                interval,
                start_timeout,
            }
        });
        Settings {
            interval,
            launcher,
            processes: processes.collect(),
        }
    })
}

proptest! {
    #[test]
    fn settings_that_are_written_are_read_as_they_were(settings in arbitrary_settings()) {
        let text = settings.to_toml().unwrap();
        prop_assert_eq!(&parsed(&text), &settings);
        prop_assert_eq!(parsed(&text).to_toml().unwrap(), text);
    }

    #[test]
    fn no_text_makes_it_panic_or_refuse_without_a_reason(
        text in "(\\[\\[?|\\]\\]?|process|\\.|a|b|=|'|\"|\"\"\"|\\{|\\}|,|/|name|exe|cmdline|user|command|unit|interval|launcher|1|é|\\\\u|#| |\n|\r|\t|\u{0}|\u{feff}){0,60}"
    ) {
        if let Err(error) = parse(&text, Path::new(FILE)) {
            prop_assert!(!error.problems.is_empty());
            let lines: Vec<_> = error.problems.iter().map(|problem| problem.line).collect();
            prop_assert!(lines.is_sorted());
            prop_assert!(lines.iter().all(|line| line.is_some_and(|line| line >= 1 && line <= text.split('\n').count())));
            prop_assert!(!error.to_string().replace('\n', "").contains(char::is_control));
        }
    }
}
