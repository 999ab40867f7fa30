//! What mfe-watchdog, mfe-relay and mfe-central do alike: which language they speak, how they read settings and keep
//! small files, and how they speak to the journal.

pub mod files;
pub mod locale;
pub mod say;
pub mod settings;
