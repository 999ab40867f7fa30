//! One way to say a thing to people: sentences in their language, and lines that fit a terminal. What is said is
//! decided where it happens; which language that is, in `mfe_common::locale`. Times and foreign words are made fit
//! in `mfe_common::duration`, `mfe_common::escape` and `mfe_history::local_time`.

pub(crate) mod charset;
pub mod phrase;
pub(crate) mod wrap;
