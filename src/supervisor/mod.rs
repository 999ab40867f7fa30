//! Keeps one process running: [`crate::machine`] decides, a task here looks, acts and says.

mod message;
mod task;

pub use task::{Command, Published, Remembered, Slot, supervise};
