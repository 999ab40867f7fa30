//! The unit is understood by every supported systemd, from 229 (Ubuntu 16.04) on, and opens as little as it can.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mfe_kit::output;

/// What systemd 229 knows of what the unit says (its NEWS and manual pages).
const KNOWN_TO_229: [&str; 32] = [
    "CapabilityBoundingSet",
    "ConditionPathExists",
    "Description",
    "DevicePolicy",
    "Documentation",
    "ExecStart",
    "Group",
    "Nice",
    "NoNewPrivileges",
    "NotifyAccess",
    "PrivateDevices",
    "PrivateTmp",
    "ProtectHome",
    "ProtectSystem",
    "ReadWriteDirectories",
    "Restart",
    "RestartPreventExitStatus",
    "RestartSec",
    "RestrictAddressFamilies",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "StandardError",
    "StandardOutput",
    "StartLimitInterval",
    "SupplementaryGroups",
    "SystemCallArchitectures",
    "SystemCallErrorNumber",
    "TasksMax",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "Type",
    "UMask",
];

const ALSO_KNOWN: [&str; 3] = ["User", "WantedBy", "WatchdogSec"];

/// Since which version systemd knows what the folders of systemd/since say (its NEWS).
const KNOWN_SINCE: [(&str, u32); 18] = [
    ("KeyringMode", 235),
    ("LockPersonality", 235),
    ("MemoryDenyWriteExecute", 231),
    ("MemoryMax", 231),
    ("PrivateMounts", 239),
    ("ProtectClock", 245),
    ("ProtectControlGroups", 232),
    ("ProtectHostname", 242),
    ("ProtectKernelLogs", 244),
    ("ProtectKernelModules", 232),
    ("ProtectKernelTunables", 232),
    ("ProtectProc", 247),
    ("ProtectSystem", 232),
    ("RemoveIPC", 232),
    ("RestrictNamespaces", 233),
    ("RestrictRealtime", 231),
    ("RestrictSUIDSGID", 242),
    ("StateDirectory", 235),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

fn settings(file: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let settings = lines.filter_map(|line| line.split_once('='));
    settings
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn since() -> Vec<(u32, PathBuf)> {
    let versions = fs::read_dir(folder().join("since"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let version = |path: &Path| path.file_name().unwrap().to_str().unwrap().parse().unwrap();
    let mut all: Vec<(u32, PathBuf)> = versions
        .map(|path| (version(&path), path.join("mfe-relay.service.conf")))
        .collect();
    all.sort();
    all
}

#[test]
fn every_systemd_understands_what_it_is_told() {
    let unit = settings(&folder().join("mfe-relay.service"));
    for (name, _) in &unit {
        let name = name.as_str();
        assert!(
            KNOWN_TO_229.contains(&name) || ALSO_KNOWN.contains(&name),
            "229 doesn't know {name}"
        );
    }
    assert!(unit.contains(&("StartLimitInterval".into(), "0".into())));
    for (version, file) in since() {
        for (name, value) in settings(&file) {
            if name == "SystemCallFilter" {
                // With a group that a version doesn't know an allow-list would kill the service.
                assert!(version >= 231 && value.starts_with('~'), "{name}={value}");
                continue;
            }
            if name == "StateDirectoryMode" {
                continue;
            }
            let known = KNOWN_SINCE.iter().find(|(known, _)| *known == name);
            assert!(
                known.is_some_and(|(_, known)| *known <= version),
                "since/{version}: {name}"
            );
        }
    }
}

/// `systemd-analyze security` of all the settings, of 10 (see its manual page).
#[test]
fn the_service_opens_as_little_as_it_can() {
    let offline = Command::new("systemd-analyze")
        .args(["security", "--help"])
        .output();
    let can = offline.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("--offline"));
    if !can {
        // Before systemd 250 only a running service can be judged.
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let unit = scratch.path().join("mfe-relay.service");
    let mut text = fs::read_to_string(folder().join("mfe-relay.service")).unwrap();
    for (_, file) in since() {
        text += &fs::read_to_string(file).unwrap();
    }
    fs::write(&unit, text).unwrap();
    let mut analyze = Command::new("systemd-analyze");
    let said = output(
        analyze
            .args(["security", "--offline=true", "--threshold=15", "--no-pager"])
            .arg(&unit),
    );
    assert!(said.status.success(), "{}{}", said.stdout, said.stderr);
}
