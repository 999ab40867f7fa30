//! What is accepted, what is refused, and that settings survive being written and read again.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::events::Kind;
use crate::machine::Duplicates;

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
    assert_eq!(settings.policy.interval, Duration::from_secs(10));
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
        assert_eq!(process.policy.interval, Duration::from_secs(10));
        assert_eq!(process.policy.start_timeout, Duration::from_secs(30));
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
        assert_eq!(
            settings.policy.interval,
            Duration::from_millis(expected),
            "{text}"
        );
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
            let message = problems[0].message.to_string();
            let right =
                "must be a duration such as \"10s\" or \"1min 30s\", from 100ms to 1h, not ";
            assert!(message.starts_with(right), "{message}");
            assert!(!message.contains(char::is_control), "{message:?}");
        }
    }
}

#[test]
fn every_rule_may_stand_at_the_top_and_in_a_section() {
    let rules = "interval = \"1s\"\nstart_timeout = \"2s\"\nstop_timeout = \"3s\"\n\
        stopped_timeout = \"4s\"\nrestart_burst = 0\nrestart_delay = \"0s\"\n\
        restart_delay_max = \"5s\"\nstable_after = \"6s\"\ncrash_loop_restarts = 7\n\
        crash_loop_window = \"8s\"\nduplicates = \"stop-newest\"\n\
        autostart_timeout = \"9s\"\ndry_run = true\n";
    let second = Duration::from_secs(1);
    let expected = Policy {
        interval: second,
        start_timeout: 2 * second,
        stop_timeout: 3 * second,
        stopped_timeout: 4 * second,
        restart_burst: 0,
        restart_delay: Duration::ZERO,
        restart_delay_max: 5 * second,
        stable_after: 6 * second,
        crash_loop_restarts: 7,
        crash_loop_window: 8 * second,
        duplicates: Duplicates::StopNewest,
        autostart_timeout: 9 * second,
        dry_run: true,
        is_unit: false,
    };
    let section = |key: &str| format!("[process.{key}]\nname = \"{key}\"\ncommand = [\"/a\"]\n");
    let settings = parsed(&format!("{rules}{}", section("a")));
    assert_eq!(settings.policy, expected);
    assert_eq!(settings.processes[0].policy, expected);
    let settings = parsed(&format!("{}{rules}{}", section("a"), section("b")));
    assert_eq!(settings.policy, Policy::default());
    assert_eq!(settings.processes[0].policy, expected);
    assert_eq!(settings.processes[1].policy, Policy::default());
}

#[test]
fn only_a_command_belongs_on_the_screen() {
    let section = |rest: &str| format!("[process.a]\nname = \"A\"\n{rest}\n");
    let mode = |rest: &str| parsed(&section(rest)).processes[0].session;
    let command = "command = [\"/a\"]\n";
    assert_eq!(mode(command), SessionMode::None);
    for (word, expected) in [
        ("graphical", SessionMode::Graphical),
        ("none", SessionMode::None),
        ("auto", SessionMode::Auto),
    ] {
        assert_eq!(mode(&format!("{command}session = \"{word}\"")), expected);
    }
    assert_eq!(
        mode("unit = \"a.service\"\nsession = \"none\""),
        SessionMode::None
    );
    for session in ["graphical", "auto"] {
        let problems = refused(&section(&format!(
            "unit = \"a.service\"\nsession = \"{session}\""
        )));
        let [problem] = problems.as_slice() else {
            panic!("{problems:?}");
        };
        assert_eq!(
            (problem.line, problem.key.as_str()),
            (Some(4), "process.a.session")
        );
    }
    let problems = refused(&section(&format!("{command}session = \"x11\"")));
    assert_eq!(
        problems[0].message.to_string(),
        "must be \"graphical\", \"none\" or \"auto\", not \"x11\""
    );
}

#[test]
fn a_rule_that_cannot_be_is_refused() {
    for (rule, message) in [
        (
            "restart_burst = -1",
            "must be a number from 0 to 1000, not -1",
        ),
        (
            "restart_burst = \"3\"",
            "must be a number from 0 to 1000, not \"3\"",
        ),
        (
            "crash_loop_restarts = 1",
            "must be a number from 2 to 1000, not 1",
        ),
        ("dry_run = 1", "must be true or false, not 1"),
        (
            "duplicates = \"kill\"",
            "must be \"warn\" or \"stop-newest\", not \"kill\"",
        ),
        (
            "restart_delay = \"2min\"",
            "restart_delay, 2m, is longer than restart_delay_max, 1m",
        ),
        (
            "restart_delay_max = \"500ms\"",
            "restart_delay, 1s, is longer than restart_delay_max, 500ms",
        ),
        (
            "restart_delay = \"-1s\"",
            "must be a duration such as \"10s\" or \"1min 30s\", from 0s to 1h, not \"-1s\"",
        ),
    ] {
        let text = format!("{rule}\n[process.a]\nname = \"A\"\ncommand = [\"/a\"]\n");
        let problems = refused(&text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].line, Some(1), "{rule}");
        assert_eq!(problems[0].message.to_string(), message);
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
        (
            process.policy.interval.as_secs(),
            process.policy.start_timeout.as_secs(),
        )
    };
    assert_eq!(settings.policy.interval.as_secs(), 20);
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
                .to_string()
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
                .to_string()
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
                .to_string()
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

fn arbitrary_policy() -> impl Strategy<Value = Policy> {
    let duration = || (100_u64..=3_600_000).prop_map(Duration::from_millis);
    let delay = (0_u64..=3_600_000).prop_map(Duration::from_millis);
    let duplicates = prop_oneof![Just(Duplicates::Warn), Just(Duplicates::StopNewest)];
    let times = (
        duration(),
        duration(),
        duration(),
        duration(),
        duration(),
        duration(),
    );
    let rest = (delay, 0..=1000_u32, 2..=1000_u32, duplicates, any::<bool>());
    (times, rest).prop_map(
        |(times, (delay, restart_burst, crash_loop_restarts, duplicates, dry_run))| {
            let (interval, start_timeout, stop_timeout, stopped_timeout, stable_after, window) =
                times;
            Policy {
                interval,
                start_timeout,
                stop_timeout,
                stopped_timeout,
                restart_burst,
                restart_delay: delay / 2,
                restart_delay_max: delay,
                stable_after,
                crash_loop_restarts,
                crash_loop_window: window,
                duplicates,
                autostart_timeout: delay / 3,
                dry_run,
                is_unit: false,
            }
        },
    )
}

fn arbitrary_check() -> impl Strategy<Value = CheckSettings> {
    let duration = || (100_u64..=3_600_000).prop_map(Duration::from_millis);
    let age = || (100_u64..=31_557_600_000).prop_map(Duration::from_millis);
    let address = prop_oneof![
        any::<(std::net::Ipv4Addr, u16)>().prop_map(|(ip, port)| format!("{ip}:{}", port.max(1))),
        any::<(std::net::Ipv6Addr, u16)>().prop_map(|(ip, port)| format!("[{ip}]:{}", port.max(1))),
        (1..=u16::MAX).prop_map(|port| format!("localhost:{port}")),
    ];
    let kind = prop_oneof![
        address.prop_map(|address| CheckKind::Tcp {
            address: TcpAddress::parse(&address).unwrap(),
        }),
        ("/([a-zé \"'?.]|\\*[a-z]|\\[[0-9-]\\]){0,8}", age())
            .prop_map(|(path, max_age)| CheckKind::File { path, max_age }),
        (1_u64 << 20..=1 << 40).prop_map(|max| CheckKind::Memory { max: ByteSize(max) }),
        (1_u64..=1 << 20).prop_map(|max| CheckKind::Memory {
            max: ByteSize(max << 20)
        }),
        (1..=10_000_u32).prop_map(|max| CheckKind::Cpu {
            max: Percent(max),
            over: Duration::from_secs(3600),
        }),
        (age(), proptest::option::of((0..24_u16, 0..60_u16))).prop_map(|(max, end)| {
            let times = end.map(|(hour, minute)| format!("00:01-{hour:02}:{minute:02}"));
            let between = times.and_then(|times| TimesOfDay::parse(&times));
            CheckKind::Age { max, between }
        }),
        proptest::collection::vec("[^\0]{0,8}", 0..3).prop_map(|arguments| {
            let command = std::iter::once("/check".to_owned()).chain(arguments);
            CheckKind::Command {
                command: command.collect(),
            }
        }),
    ];
    let action = prop_oneof![Just(CheckAction::Alert), Just(CheckAction::Restart)];
    let name = "[a-z0-9_-]{0,31}";
    (name, kind, duration(), duration(), 1..=1000_u32, action).prop_map(
        |(name, kind, every, timeout, failures, action)| CheckSettings {
            name,
            kind,
            every,
            timeout,
            failures,
            action,
        },
    )
}

#[test]
fn hooks_are_read_with_their_defaults() {
    let process = "[process.a]\nname = \"A\"\ncommand = [\"/a\"]\n";
    let settings = parsed(&format!(
        "{process}[[hook]]\non = [\"restarted\", \"hook_failed\"]\ncommand = [\"/b\", \"c\"]\n\
         [[hook]]\non = [\"up\"]\ncommand = [\"/d\"]\ntimeout = \"1min\"\n"
    ));
    let hook = |on: &[Kind], command: &[&str], timeout| HookSettings {
        on: on.to_vec(),
        command: command.iter().map(|&word| word.into()).collect(),
        timeout: Duration::from_secs(timeout),
    };
    let first = hook(&[Kind::Restarted, Kind::HookFailed], &["/b", "c"], 10);
    assert_eq!(settings.hooks, [first, hook(&[Kind::Up], &["/d"], 60)]);
    let commands: Vec<_> = settings.commands().collect();
    let expected = [
        ("process.a.command", "/a"),
        ("hook[1].command", "/b"),
        ("hook[2].command", "/d"),
    ];
    assert_eq!(
        commands,
        expected.map(|(key, program)| (key.into(), program))
    );
    assert!(parsed(process).hooks.is_empty());
    assert!(!settings.refuse_unsafe_commands);
}

#[test]
fn hooks_nobody_can_mean() {
    let process = "[process.a]\nname = \"A\"\ncommand = [\"/a\"]\n";
    let good = "on = [\"up\"]\ncommand = [\"/b\"]\n";
    for (text, line, key, message) in [
        (
            "[[hook]]\ncommand = [\"/b\"]\n",
            4,
            "hook[1].on",
            "is missing: a list of events",
        ),
        (
            "[[hook]]\non = [\"up\"]\n",
            4,
            "hook[1].command",
            "is missing: give the program",
        ),
        (
            "[[hook]]\non = []\ncommand = [\"/b\"]\n",
            5,
            "hook[1].on",
            "is empty; write",
        ),
        (
            "[[hook]]\non = \"up\"\ncommand = [\"/b\"]\n",
            5,
            "hook[1].on",
            "must be a list of events",
        ),
        (
            "[[hook]]\non = [\"up\", \"Up\"]\ncommand = [\"/b\"]\n",
            5,
            "hook[1].on",
            "\"Up\" isn't an event; known: startup, shutdown, ",
        ),
        (
            &format!("[[hook]]\n{good}timeout = \"2h\"\n"),
            7,
            "hook[1].timeout",
            "must be a duration",
        ),
        (
            &format!("[[hook]]\n{good}[[hook]]\n{good}x = 1\n"),
            10,
            "hook[2].x",
            "unknown key",
        ),
        (
            &format!("[hook]\n{good}"),
            4,
            "hook",
            "must be sections, each begun by [[hook]]",
        ),
        (
            "[[hook]]\non = [\"up\"]\ncommand = [\"b\"]\n",
            6,
            "hook[1].command",
            "the program must be an absolute path",
        ),
    ] {
        let problems = refused(&format!("{process}{text}"));
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        let problem = &problems[0];
        assert_eq!(
            (problem.line, problem.key.as_str()),
            (Some(line), key),
            "{text}"
        );
        assert!(
            problem.message.to_string().starts_with(message),
            "{}",
            problem.message
        );
    }
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
    let checks = proptest::collection::vec(arbitrary_check(), 0..4);
    let exe = proptest::option::of(
        "[/*][a-z0-9*? ]{0,9}".prop_filter("no **", |exe| !exe.contains("**")),
    );
    let cmdline = proptest::option::of("[a-z.]{1,9}");
    let user = proptest::option::of(prop_oneof![Just("root".to_owned()), "[0-9]{1,9}"]);
    let identity = (no_nul(), exe, cmdline, user);
    let process = (identity, start, arbitrary_policy(), checks);
    let processes = proptest::collection::btree_map("[a-z0-9_-]{1,32}", process, 1..5);
    let launcher = prop_oneof![
        Just(Launcher::Auto),
        Just(Launcher::Systemd),
        Just(Launcher::Direct)
    ];
    let duration = || (100_u64..=3_600_000).prop_map(Duration::from_millis);
    let hook = (
        proptest::sample::subsequence(Kind::ALL.to_vec(), 1..=Kind::ALL.len()),
        (no_nul(), proptest::collection::vec(no_nul(), 0..3)),
        duration(),
    );
    let hook = hook.prop_map(|(on, (program, arguments), timeout)| HookSettings {
        on,
        command: std::iter::once(format!("/{program}"))
            .chain(arguments)
            .collect(),
        timeout,
    });
    let hooks = proptest::collection::vec(hook, 0..3);
    let top = (arbitrary_policy(), launcher, any::<bool>());
    (top, processes, hooks).prop_map(|(top, processes, hooks)| {
        let (policy, launcher, refuse_unsafe_commands) = top;
        let processes = processes.into_iter().enumerate();
        let processes = processes.map(|(n, (key, (identity, start, policy, checks)))| {
            let (name, exe, cmdline, user) = identity;
            // The number makes it a name of its own.
            let checks = checks.into_iter().enumerate();
            let checks = checks.map(|(n, check)| CheckSettings {
                name: format!("{}{n}", check.name),
                ..check
            });
            let name = ProcessName::new(format!("{n}{}", name.replace('/', "|")));
            let is_unit = matches!(start, Start::Unit(_));
            let modes = [SessionMode::None, SessionMode::Graphical, SessionMode::Auto];
            ProcessSettings {
                key,
                target: Target {
                    exe: exe.map(|exe| ExePattern::new(&exe).unwrap()),
                    cmdline: cmdline.map(|cmdline| CmdlinePattern::new(&cmdline).unwrap()),
                    user: user.map(|user| User::find(&user).unwrap().unwrap()),
                    ..Target::named(name)
                },
                session: if is_unit {
                    SessionMode::None
                } else {
                    modes[n % 3]
                },
                start,
                launcher,
                policy: Policy { is_unit, ..policy },
                checks: checks.collect(),
            }
        });
        Settings {
            policy,
            launcher,
            refuse_unsafe_commands,
            processes: processes.collect(),
            hooks,
        }
    })
}

proptest! {
    #[test]
    fn settings_that_are_written_are_read_as_they_were(settings in arbitrary_settings()) {
        let text = settings.to_toml().unwrap();
        prop_assert_eq!(&parsed(&text), &settings);
        prop_assert_eq!(&parsed(&text).to_toml().unwrap(), &text);
        let short = settings.to_short_toml().unwrap();
        prop_assert!(short.len() <= text.len());
        prop_assert_eq!(parsed(&short), settings);
    }

    #[test]
    fn no_text_makes_it_panic_or_refuse_without_a_reason(
        text in "(\\[\\[?|\\]\\]?|process|\\.|a|b|=|'|\"|\"\"\"|\\{|\\}|,|/|name|exe|cmdline|user|command|unit|interval|launcher|hook|on|timeout|1|é|\\\\u|#| |\n|\r|\t|\u{0}|\u{feff}){0,60}"
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

#[test]
fn a_file_has_no_more_sections_than_can_be_compared() {
    let checks = "[[process.a.check]]\nkind = \"age\"\nmax = \"7d\"\n".repeat(1001);
    let checks = format!("[process.a]\nname = \"A\"\nunit = \"a.service\"\n{checks}");
    let processes: Vec<_> = (0..1001)
        .map(|number| {
            let exe = format!("exe = \"/{number}\"\nunit = \"a.service\"");
            format!("[process.p{number}]\nname = \"A\"\n{exe}\n")
        })
        .collect();
    for (text, place) in [
        (checks, ":3004: process.a.check: are too many"),
        (processes.concat(), ":4001: process: are too many"),
    ] {
        let refused = parse(&text, Path::new("config.toml")).unwrap_err();
        let refused = refused.to_string();
        let mut lines = refused.lines();
        assert!(lines.any(|line| line.contains(place)), "{refused}");
    }
}
