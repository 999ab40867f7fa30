//! Keeps one process running: [`crate::machine`] decides, a task here looks, acts and says.

mod message;
mod output;
mod screen;
mod task;
mod update;
mod wording;

pub use task::{Channels, Common, supervise};
pub use update::{Remembered, Standing, Update, Updates};
pub(crate) use wording::{failure_wording, misfit_wording};
