//! The journal's catalog: every kind of event is explained in both languages, from fields that its
//! messages do have.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mfe_watchdog::events::Kind;

const CATALOGS: [&str; 2] = ["mfe-watchdog.catalog", "mfe-watchdog.pt_BR.catalog"];

/// The manual pages that explain more; man(1) shows them in the user's language.
const SUPPORT: [&str; 2] = [
    "Support: man:mfe-watchdog(8)",
    "Support: man:mfe-watchdog.toml(5)",
];

/// A terminal's width, in characters, less what `journalctl -x` puts before each line.
const WIDTH: usize = 80 - 3;

#[derive(Debug)]
struct Entry {
    /// The lines before the first empty one.
    header: Vec<String>,
    /// Those after it.
    text: Vec<String>,
}

impl Entry {
    /// The fields of the message that it shows.
    fn fields(&self) -> Vec<&str> {
        let lines = self.header.iter().chain(&self.text);
        let mut fields: Vec<&str> = lines
            .flat_map(|line| line.split('@'))
            .filter(|part| part.starts_with("MFE_"))
            .collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    }
}

/// Every entry, by its id.
fn entries(catalog: &str) -> BTreeMap<String, Entry> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("systemd")
        .join(catalog);
    let text = fs::read_to_string(path).unwrap();
    let mut entries = BTreeMap::new();
    for entry in text.split("\n\n-- ").skip(1) {
        let mut lines = entry.lines().map(str::to_owned);
        let id = lines.next().unwrap();
        let header = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let entry = Entry {
            header,
            text: lines.collect(),
        };
        assert!(entries.insert(id.clone(), entry).is_none(), "{id} twice");
    }
    entries
}

/// What every message of the kind has.
fn certain_fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Startup
        | Kind::Shutdown
        | Kind::Reloaded
        | Kind::ReloadFailed
        | Kind::ConfigFallback
        | Kind::LegacyWatcher
        | Kind::UnsafeCommand
        | Kind::Degraded
        | Kind::Restored
        | Kind::HookFailed => &[],
        Kind::Up
        | Kind::Adopted
        | Kind::Impostor
        | Kind::Misfit
        | Kind::Renamed
        | Kind::MainEnded
        | Kind::Duplicate => &["MFE_PID", "MFE_PROCESS"],
        Kind::Down | Kind::Waiting | Kind::Killed => &["MFE_CAUSE", "MFE_PROCESS"],
        Kind::Restarted => &["MFE_CAUSE", "MFE_OUTAGE_MS", "MFE_PID", "MFE_PROCESS"],
        _ => &["MFE_PROCESS"],
    }
}

#[test]
fn every_kind_of_event_has_its_entry_in_every_language_and_nothing_else_has_one() {
    let mut ids = Kind::ALL.map(Kind::message_id);
    ids.sort_unstable();
    for catalog in CATALOGS {
        let entries = entries(catalog);
        let explained: Vec<&str> = entries.keys().map(String::as_str).collect();
        assert_eq!(explained, ids, "{catalog}");
    }
}

#[test]
fn every_entry_is_whole_and_fits_a_terminal() {
    for catalog in CATALOGS {
        for (id, entry) in entries(catalog) {
            let at = format!("{catalog}: {id}");
            // A "Documentation:" would have journalctl put an arrow after each message.
            let [subject, defined_by, support] = entry.header.as_slice() else {
                panic!("{at}: {:?}", entry.header);
            };
            assert!(subject.starts_with("Subject: "), "{at}");
            assert_eq!(defined_by, "Defined-By: mfe-watchdog", "{at}");
            assert!(SUPPORT.contains(&support.as_str()), "{at}");
            // What happened and what it means, then what to do.
            let paragraphs = entry.text.join("\n");
            assert!(paragraphs.trim().split("\n\n").count() >= 2, "{at}");
            for line in &entry.text {
                assert!(line.chars().count() <= WIDTH, "{at}: {line}");
            }
        }
    }
}

#[test]
fn entries_show_the_same_fields_in_every_language_and_only_certain_ones() {
    let [english, portuguese] = CATALOGS;
    let (english, portuguese) = (entries(english), entries(portuguese));
    for kind in Kind::ALL {
        let (name, id) = (kind.name(), kind.message_id());
        let fields = english[id].fields();
        assert_eq!(portuguese[id].fields(), fields, "{name}");
        let certain = certain_fields(kind);
        assert!(fields.iter().all(|field| certain.contains(field)), "{name}");
        // Which program it is about has to be said.
        let of_process = certain.contains(&"MFE_PROCESS");
        assert_eq!(fields.contains(&"MFE_PROCESS"), of_process, "{name}");
    }
}
