//! mfe-watchdog keeps a shop's two MFE programs, Comunicador and Monitor, running: it finds each in
//! /proc by name, whoever started it, and brings it back when it is gone.
//!
//! The library exists for the program, its tests and its demo; it promises no stable interface.
//!
//! A room uses the rooms below it in this table, never one beside it or above; a test holds that.
//!
//! | room | its part |
//! |---|---|
//! | [`cli`] | the command line: one file a command, its arguments, words and exit codes |
//! | [`daemon`] | the service: its loop, runtime directory, notifications, control socket, start-up |
//! | [`doctor`] | examines the whole machine and changes nothing |
//! | [`report`] | what has happened, and how the processes were over some time, from the journal |
//! | [`supervisor`] | one task a process: looks, acts, tells |
//! | [`start`] | brings a process up: a child, or a unit |
//! | [`health`] | checks whether a living process is healthy |
//! | [`hooks`] | tells configured programs of events |
//! | [`config`] | reads and validates the configuration |
//! | [`machine`] | the rules, pure: events and time in, actions out |
//! | [`status`] | the published status: form, file, reading; asking the service |
//! | [`logging`] | where messages go: the journal, stderr |
//! | [`events`] | what can happen: kinds, ids, the form of a message |
//! | [`proc`] | reads /proc: who runs, who ended; signals |
//! | [`systemd`] | the system's manager: its bus, its units' names; journalctl |
//! | [`sys`] | what wraps the operating system: children, files, timers, users |
//! | [`text`] | how a thing is said to people, in their language |

rust_i18n::i18n!("locales", fallback = "en");

pub mod cli;
pub mod config;
pub mod daemon;
pub mod doctor;
pub mod events;
pub mod health;
pub mod hooks;
pub mod logging;
pub mod machine;
pub mod proc;
pub mod report;
pub mod session;
pub mod start;
pub mod status;
pub mod supervisor;
pub mod sys;
pub mod systemd;
pub mod text;

#[cfg(test)]
mod rooms;
