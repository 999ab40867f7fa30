//! What is left of a start: the processes that it brought forth and that still live. Who they are is
//! found out in [`crate::start`]; what that means for the next start is decided in [`super`].

use crate::proc::ProcessId;

/// What is left of a start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// The processes of the start that live, its start program aside.
    pub processes: Vec<LeftOver>,
    /// Whether there may be others that couldn't be looked at. That isn't "none".
    pub is_incomplete: bool,
    /// Whether others were born since the start that nothing can link to it, in a session of their own.
    pub has_unlinked: bool,
}

impl Left {
    /// Whether certainly nothing is left.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.processes.is_empty() && !self.is_incomplete
    }

    /// Whether this process is of the start.
    #[must_use]
    pub fn has(&self, id: ProcessId) -> bool {
        self.processes.iter().any(|left| left.id == id)
    }

    /// Those that run an executable of their own: a program, not a script on its way to one.
    pub fn programs(&self) -> impl Iterator<Item = &LeftOver> {
        self.processes.iter().filter(|left| left.is_program)
    }
}

/// A process that a start has brought forth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOver {
    /// Which process it is.
    pub id: ProcessId,
    /// Its effective user, where that can be read.
    pub uid: Option<u32>,
    /// Its user, for a person; printable.
    pub user: String,
    /// Its name, as the kernel keeps it; printable.
    pub name: String,
    /// The path of its program; printable.
    pub path: String,
    /// Whether that is an executable of its own: no shell, and no script's interpreter.
    pub is_program: bool,
}

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
