//! One way to say a thing to people: sentences in their language, times as they read them, lines that
//! fit a terminal, and foreign words made harmless. What is said is decided where it happens.

pub(crate) mod charset;
pub(crate) mod duration;
pub(crate) mod escape;
pub(crate) mod local_time;
pub(crate) mod locale;
pub mod phrase;
pub mod timestamp;
pub(crate) mod wrap;
