//! The file of a start command, as far as the rules go by it; reading it is [`crate::start`]'s.

/// The file of a start command, as far as a change of it is a reason to try again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandId {
    /// Its inode (`stat(2)`).
    pub inode: u64,
    /// When its content was last changed, in nanoseconds of the clock that people read.
    pub modified_ns: i128,
    /// Its type and rights (inode(7)).
    pub mode: u32,
}
