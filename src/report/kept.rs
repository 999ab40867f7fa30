//! Reads the events that the watchdog keeps itself ([`crate::logging::ring`]), for [`mfe_history::kept`].

use std::path::Path;

use mfe_history::kept::Kept;

use crate::logging::ring::{FILES, folder};
use crate::sys::host::machine_id;
use crate::sys::small_file;
use crate::text::phrase::Phrase;

/// Reads what is kept in a state directory; nothing where nothing is.
///
/// # Errors
/// When there is something that can't be read; the phrase says why.
pub(super) fn read(state: &Path) -> Result<Kept, Phrase> {
    let folder = folder(state);
    // The newer file first: if it becomes the earlier one meanwhile, it is read twice, and not missed.
    let [current, earlier] = FILES.map(|name| small_file::read(&folder, name));
    let (current, earlier) = (current?.unwrap_or_default(), earlier?.unwrap_or_default());
    Ok(Kept::of(&[earlier, current].join(&b'\n'), &machine_id()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn line(seq: u64) -> String {
        format!(
            "{{\"_BOOT_ID\":\"1\",\"__MONOTONIC_TIMESTAMP\":\"5\",\
             \"__REALTIME_TIMESTAMP\":\"{seq}\",\"_PID\":\"9\",\"MFE_RUN\":\"1\",\
             \"MFE_SEQ\":\"{seq}\",\"MFE_AT\":\"5\",\"MFE_EVENT\":\"up\",\"MFE_PROCESS\":\"a\"}}"
        )
    }

    fn seqs(kept: Kept) -> Vec<u64> {
        let numbers = kept.rest().map(|one| one.entry.number.unwrap());
        numbers.map(|number| number.seq).collect()
    }

    #[test]
    fn of_both_files_the_earlier_one_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        assert!(read(directory.path()).unwrap().is_empty());
        let files = FILES.map(|name| folder(directory.path()).join(name));
        fs::create_dir(folder(directory.path())).unwrap();
        // The last line of the earlier one is torn.
        let earlier = format!("{}\n{{\"", line(1));
        fs::write(&files[1], earlier).unwrap();
        fs::write(&files[0], line(2) + "\n").unwrap();
        let kept = read(directory.path()).unwrap();
        assert_eq!(seqs(kept), [1, 2]);
        fs::remove_file(&files[0]).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &files[0]).unwrap();
        read(directory.path()).unwrap_err();
    }
}
