//! The name by which a process is found, compared as the kernel keeps it; it reads no files.

use std::fmt;

use mfe_common::escape::printable;

/// The exact, case-sensitive name of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessName(String);

impl ProcessName {
    /// The kernel keeps this many bytes of a program's name (`TASK_COMM_LEN` less the NUL,
    /// proc(5)).
    pub const COMM_MAX: usize = 15;

    /// A name; the configuration makes sure that it is a possible one.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the kernel keeps of it, as /proc/PID/comm shows it. The cut may go through a
    /// character, hence bytes.
    #[must_use]
    pub fn comm(&self) -> &[u8] {
        let bytes = self.0.as_bytes();
        &bytes[..bytes.len().min(Self::COMM_MAX)]
    }

    /// Whether the kernel's name isn't the whole name, so that the program's file decides.
    #[must_use]
    pub fn is_longer_than_comm(&self) -> bool {
        self.0.len() > Self::COMM_MAX
    }

    /// Whether `program`, a path or an argument, has the whole name as its last component. The
    /// kernel marks the path of a file that an upgrade has replaced with ` (deleted)`.
    #[must_use]
    pub fn is_base_name_of(&self, program: &[u8]) -> bool {
        base_name(program) == self.0.as_bytes()
    }

    /// The same, in whatever upper and lower case letters of ASCII.
    #[must_use]
    pub fn is_base_name_in_any_letters_of(&self, program: &[u8]) -> bool {
        base_name(program).eq_ignore_ascii_case(self.0.as_bytes())
    }

    /// Whether some process could be taken for both.
    #[must_use]
    pub fn is_indistinguishable_from(&self, other: &Self) -> bool {
        let decided_by_file = self.is_longer_than_comm() && other.is_longer_than_comm();
        self == other || (self.comm() == other.comm() && !decided_by_file)
    }
}

fn base_name(program: &[u8]) -> &[u8] {
    let program = program.strip_suffix(b" (deleted)").unwrap_or(program);
    program
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or_default()
}

/// Fit for a terminal and for the journal.
impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_keeps_fifteen_bytes() {
        assert_eq!(ProcessName::new("Monitor").comm(), b"Monitor");
        assert_eq!(
            ProcessName::new("abcdefghijklmno").comm(),
            b"abcdefghijklmno"
        );
        assert_eq!(
            ProcessName::new("abcdefghijklmnop").comm(),
            b"abcdefghijklmno"
        );
        assert!(!ProcessName::new("abcdefghijklmno").is_longer_than_comm());
        assert!(ProcessName::new("abcdefghijklmnop").is_longer_than_comm());
    }

    #[test]
    fn the_cut_may_go_through_a_character() {
        let name = ProcessName::new("Comunicações-çx");
        assert_eq!(name.comm().len(), 15);
        assert!(std::str::from_utf8(ProcessName::new("Comunicador-MFçx").comm()).is_err());
    }

    #[test]
    fn the_base_name_decides_over_long_names() {
        let name = ProcessName::new("ComunicadorFiscalServer");
        assert!(name.is_base_name_of(b"/opt/x/ComunicadorFiscalServer"));
        assert!(name.is_base_name_of(b"ComunicadorFiscalServer"));
        assert!(name.is_base_name_of(b"/opt/x/ComunicadorFiscalServer (deleted)"));
        assert!(!name.is_base_name_of(b"/opt/x/ComunicadorFiscalClient"));
        assert!(!name.is_base_name_of(b"/opt/ComunicadorFiscalServer/x"));
        assert!(!name.is_base_name_of(b""));
        assert!(name.is_base_name_in_any_letters_of(b"/opt/comunicadorFISCALserver (deleted)"));
        assert!(!name.is_base_name_of(b"/opt/comunicadorFISCALserver"));
        assert!(!name.is_base_name_in_any_letters_of(b"/opt/comunicadorFISCALclient"));
    }

    #[test]
    fn names_that_share_what_the_kernel_keeps() {
        let whole = ProcessName::new("abcdefghijklmno");
        let long = ProcessName::new("abcdefghijklmnop");
        let longer = ProcessName::new("abcdefghijklmnopq");
        assert!(
            whole.is_indistinguishable_from(&long),
            "its processes have whole's comm"
        );
        assert!(
            !long.is_indistinguishable_from(&longer),
            "the file tells them apart"
        );
        assert!(
            !ProcessName::new("Monitor").is_indistinguishable_from(&ProcessName::new("monitor"))
        );
    }
}
