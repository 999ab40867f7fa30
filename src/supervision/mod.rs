//! Keeps one process running: `machine` decides, `task` looks, starts and says.

mod event;
mod machine;
mod task;

pub(crate) use event::say;
pub use event::{Kind, record};
pub use machine::{
    Action, Cause, Event, Fate, Look, Machine, Phase, Policy, Report, StartFailure, StartOutcome,
    Stop,
};
pub use task::{Published, Slot, supervise};
