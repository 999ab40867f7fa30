//! One way to say a thing to people: sentences in their language, times as they read them, lines that
//! fit a terminal, and foreign words made harmless. What is said is decided where it happens; which language
//! that is, in `mfe_common::locale`.

pub(crate) mod charset;
pub(crate) mod duration;
pub(crate) mod escape;
pub(crate) mod local_time;
pub mod phrase;
pub mod timestamp;
pub(crate) mod wrap;
