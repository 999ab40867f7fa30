//! What mfe-watchdog, mfe-relay and mfe-central do alike: which language they speak, how they read settings and keep
//! small files, how they write times and foreign text, how they speak to the journal, and what tills and their office
//! have to agree on.

pub mod duration;
pub mod escape;
pub mod files;
pub mod locale;
pub mod office;
pub mod say;
pub mod settings;
pub mod timestamp;
