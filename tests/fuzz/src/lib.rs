//! What reads foreign text, as functions of any bytes: they end in a panic where it is wrong.

#![allow(clippy::missing_panics_doc, reason = "that is how they tell")]

pub mod config;
pub mod control;
pub mod dbus;
pub mod doctor;
pub mod journal;
pub mod passwd;
pub mod process_table;
pub mod published;
