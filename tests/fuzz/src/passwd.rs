//! Any bytes as a list of users.

use mfe_watchdog::sys::user::{name_in, uid_of};

/// Looks for users by name and by number.
pub fn run(data: &[u8]) {
    for uid in [0, 7, 1000, u32::MAX] {
        let Some(name) = name_in(data, uid) else {
            continue;
        };
        let is_plain = !name.chars().any(char::is_control);
        assert!(is_plain, "not fit for a terminal: {name:?}");
        // The same name may stand there once more, before, with another number; and what isn't printable
        // is shown in another form.
        let is_itself = name.is_ascii() && !name.contains('\\');
        assert!(!is_itself || uid_of(data, &name).is_some(), "{name}");
    }
    let before = [b"pdv:x:7:\n".as_slice(), data].concat();
    assert_eq!(uid_of(&before, "pdv"), Some(7), "the first one counts");
}
