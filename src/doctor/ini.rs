//! Understands systemd's files (systemd.syntax(7)): units, journald.conf and their drop-ins; it knows
//! no setting.

use std::path::{Path, PathBuf};

use super::root::View;

/// The assignments in a section of a file, in order.
pub(super) fn assignments(text: &str, section: &str) -> Vec<(String, String)> {
    let mut assignments = Vec::new();
    let mut is_inside = false;
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            is_inside = name.strip_suffix(']') == Some(section);
            continue;
        }
        let mut line = line.to_owned();
        while line.ends_with('\\') {
            line.pop();
            // A comment among the lines of a long one is no part of it.
            let mut more = lines.by_ref().filter(|line| !line.starts_with(['#', ';']));
            line.push(' ');
            line += more.next().unwrap_or_default();
        }
        if let (true, Some((key, value))) = (is_inside, line.split_once('=')) {
            assignments.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    assignments
}

/// The value of a setting that has one: the last that is given counts, and an empty one takes it back.
pub(super) fn value(assignments: &[(String, String)], key: &str) -> Option<String> {
    let mut given = assignments.iter().filter(|(name, _)| name == key);
    let value = given.next_back().map(|(_, value)| value.clone());
    value.filter(|value| !value.is_empty())
}

/// The values of a setting that is a list: each adds to it, and an empty one clears it.
pub(super) fn values(assignments: &[(String, String)], key: &str) -> Vec<String> {
    let mut values = Vec::new();
    for (_, value) in assignments.iter().filter(|(name, _)| name == key) {
        if value.is_empty() {
            values.clear();
        } else {
            values.push(value.clone());
        }
    }
    values
}

/// The drop-ins in `folders`, of which the earlier ones go before; in the order in which they apply.
pub(super) fn drop_ins(
    view: &mut View<'_>,
    folders: impl IntoIterator<Item = PathBuf>,
) -> Vec<PathBuf> {
    let mut drop_ins: Vec<PathBuf> = Vec::new();
    for folder in folders {
        for path in view.folder(&folder) {
            let is_conf = path
                .extension()
                .is_some_and(|extension| extension == "conf");
            let is_hidden = drop_ins
                .iter()
                .any(|other| other.file_name() == path.file_name());
            if is_conf && !is_hidden {
                drop_ins.push(path);
            }
        }
    }
    drop_ins.sort_unstable_by(|one, other| one.file_name().cmp(&other.file_name()));
    drop_ins
}

/// The assignments in a section of several files, one after the other.
pub(super) fn read<'a>(
    view: &mut View<'_>,
    files: impl IntoIterator<Item = &'a Path>,
    section: &str,
) -> Vec<(String, String)> {
    let texts = files.into_iter().filter_map(|file| view.text(file));
    texts.flat_map(|text| assignments(&text, section)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_read_as_systemd_reads_it() {
        let text = "[Unit]\nRestart=unit\n[Service]\n# Restart=comment\nRestart = always \n\
                    ExecStart=/a \\\n; comment\n  b\nExecStart=/c\n[Install]\nRestart=no\n";
        let service = assignments(text, "Service");
        assert_eq!(value(&service, "Restart").unwrap(), "always");
        assert_eq!(values(&service, "ExecStart"), ["/a  b", "/c"]);
        assert_eq!(value(&service, "Type"), None);
    }

    #[test]
    fn what_is_empty_takes_back() {
        let service = assignments("[S]\nA=1\nA=\nB=1\nB=\nB=2\nC\\", "S");
        assert_eq!(value(&service, "A"), None);
        assert_eq!(values(&service, "B"), ["2"]);
    }
}
