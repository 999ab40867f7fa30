//! Keeps one process running: `machine` decides, `task` looks, starts and says.

mod backoff;
mod copies;
mod ending;
mod machine;
mod message;
mod policy;
mod report;
mod task;

pub use backoff::Backoff;
pub use machine::{Absence, Action, Event, Look, Machine, Memory, Pause, Phase, STOPPED};
pub use policy::{Duplicates, Policy};
pub use report::{Cause, Fate, Intention, Recovery, Report, StartFailure, StartOutcome, Stop};
pub use task::{Command, Published, Slot, supervise};
