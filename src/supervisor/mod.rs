//! Keeps one process running: [`crate::machine`] decides, a task here looks, acts and says.

mod message;
mod output;
mod screen;
mod task;
mod wording;

pub use task::{Common, Published, Remembered, Slot, supervise};
pub(crate) use wording::{failure_wording, misfit_wording};
