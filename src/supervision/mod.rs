//! Keeps one process running: `machine` decides, `task` looks, starts and says.

mod machine;
mod message;
mod task;

pub use machine::{
    Action, Cause, Event, Fate, Look, Machine, Phase, Policy, Report, StartFailure, StartOutcome,
    Stop,
};
pub use task::{Published, Slot, supervise};
