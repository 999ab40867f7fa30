//! One way to say a thing to people: sentences in their language, times as they read them, lines that
//! fit a terminal, and foreign words made harmless. What is said is decided where it happens; which language
//! that is, in `mfe_common::locale`.

pub(crate) mod charset;
pub mod phrase;
pub(crate) mod wrap;
