//! mfe-watchdog keeps a shop's two MFE programs running.
pub mod cli;
