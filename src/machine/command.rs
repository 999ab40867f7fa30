//! The file of a start command, as far as the rules go by it; reading it is [`crate::start`]'s.

use serde::{Deserialize, Serialize};

/// Which file a start command is, and in which state: a change of it is a reason to try again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandId {
    /// The device that the file is on (stat(2)).
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// When its content was last changed, in seconds and nanoseconds since 1970.
    pub modified: (i64, i64),
    /// Its type and rights (inode(7)).
    pub mode: u32,
}
