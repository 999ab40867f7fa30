//! Whether there is room left on the file systems that the service, the journal and the package need.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rust_i18n::t;
use rustix::fs::{StatVfs, statvfs};

use super::Examination;
use super::root::View;

/// A folder, how much room it needs, in bytes, and the command that makes some or shows what takes it.
const NEEDS: [(&str, u64, &str); 3] = [
    (
        "/",
        64 << 20,
        "sudo apt-get clean && sudo journalctl --vacuum-size=50M",
    ),
    (
        "/var",
        64 << 20,
        "sudo apt-get clean && sudo journalctl --vacuum-size=50M",
    ),
    ("/run", 1 << 20, "sudo du -xhd2 /run"),
];

/// With fewer files than this left there may be none tomorrow.
const FILES_LEFT: u64 = 500;

pub(super) fn examine(view: &mut View<'_>, found: &mut Examination) {
    let mut seen = Vec::new();
    for (folder, needed, command) in NEEDS {
        let path = Path::new(folder);
        // A folder that isn't there has no file system of its own.
        let Some(metadata) = view.metadata(path) else {
            continue;
        };
        if seen.contains(&metadata.dev()) {
            continue;
        }
        seen.push(metadata.dev());
        let room = match statvfs(view.at(path)) {
            Ok(room) => room,
            Err(error) => {
                view.cannot_see(path, &error);
                continue;
            }
        };
        match shortage(&room, needed) {
            None => {}
            Some(Shortage::Room(left)) => {
                let left = left >> 20;
                let text = t!("doctor.disk_full", folder = folder, left = left);
                found.find("disk-full", text, command);
            }
            Some(Shortage::Files(left)) => {
                let text = t!("doctor.no_files_left", folder = folder, left = left);
                found.find("disk-full", text, format!("sudo du --inodes -xd3 {folder}"));
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Shortage {
    /// So many bytes are left.
    Room(u64),
    /// So many files can still be made.
    Files(u64),
}

/// What root, as whom service and journal write, has left. Some file systems count no files.
fn shortage(room: &StatVfs, needed: u64) -> Option<Shortage> {
    let left = room.f_bfree.saturating_mul(room.f_frsize);
    if left < needed {
        Some(Shortage::Room(left))
    } else if room.f_files > 0 && room.f_ffree < FILES_LEFT {
        Some(Shortage::Files(room.f_ffree))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short() {
        let mut room = statvfs("/").unwrap();
        (room.f_frsize, room.f_bfree) = (4096, 100);
        (room.f_files, room.f_ffree) = (10_000, 5_000);
        assert_eq!(shortage(&room, 4096 * 100), None);
        assert_eq!(
            shortage(&room, 4096 * 100 + 1),
            Some(Shortage::Room(409_600))
        );
        room.f_ffree = 499;
        assert_eq!(shortage(&room, 1), Some(Shortage::Files(499)));
        (room.f_files, room.f_ffree) = (0, 0);
        assert_eq!(shortage(&room, 1), None, "it counts no files");
    }
}
