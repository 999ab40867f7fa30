//! mfe-watchdog keeps a shop's two MFE programs, Comunicador and Monitor, running: it finds each in
//! /proc by name, whoever started it, and brings it back when it is gone.
//!
//! The library exists for the program, its tests and its demo; it promises no stable interface.
//!
//! | module | its part |
//! |---|---|
//! | [`cli`] | the command line: words and exit codes |
//! | [`config`] | reads and validates the configuration |
//! | [`control`] | what a person can ask of the running service |
//! | [`process`] | finds processes in /proc |
//! | [`supervision`] | decides about one process (pure), and acts on it |
//! | [`launcher`] | runs start programs and reaps them |
//! | [`health`] | checks whether what runs is well |
//! | [`hooks`] | tells configured programs of events |
//! | [`trust`] | judges whether somebody else could change a program |
//! | [`subprocess`] | runs helper programs, within a time, for what comes of them |
//! | [`service`] | the running service: tasks, signals, systemd |
//! | [`state`] | what is remembered beyond the service's end |
//! | [`status`] | the published status: form, file, reading |
//! | [`report`] | how the processes were over some time, from the journal |
//! | [`event`] | what can happen: kinds, ids, the form of a message |
//! | `alarm` | wakes tasks at a time |
//! | `readable` | waits for descriptors of the kernel's |
//! | `locale` | which language people are spoken to in |
//! | [`phrase`] | sentences in English for the journal, in the user's language for people |
//! | `local_time` | times as the clock on the wall shows them |
//! | `paragraph` | text and commands in lines that fit a terminal |
//! | [`journal`] | where messages go |
//! | [`doctor`] | looks over the whole machine and changes nothing |
//! | `legacy` | the script that this service replaces |

rust_i18n::i18n!("locales", fallback = "en");

mod alarm;
pub mod cli;
pub mod config;
pub mod control;
pub mod doctor;
mod environment;
pub mod event;
pub mod health;
pub mod hooks;
pub mod journal;
pub mod launcher;
mod legacy;
mod local_time;
mod locale;
mod paragraph;
pub mod phrase;
mod printable;
pub mod process;
mod published;
mod readable;
pub mod report;
pub mod service;
mod spawn;
pub mod state;
pub mod status;
pub mod subprocess;
pub mod supervision;
pub mod trust;
