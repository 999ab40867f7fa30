//! Any bytes as what has come from systemd.

use mfe_watchdog::systemd::dbus::take_apart;

/// Takes messages apart, one after the other.
pub fn run(data: &[u8]) {
    let mut rest = data;
    while let Some((length, values)) = take_apart(rest) {
        assert!(length <= rest.len(), "{length} of {}", rest.len());
        // A signature has at most 255 types.
        assert!(values <= 255, "{values} values");
        let again = take_apart(&rest[..length]);
        assert_eq!(
            again,
            Some((length, values)),
            "what follows changes nothing"
        );
        rest = &rest[length..];
    }
}
