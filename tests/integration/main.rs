//! Integration tests: the real binary with real processes, real signals and real sockets. Only the
//! vendor's closed programs have stand-ins.
//!
//! Every test has a directory and process names of its own, so that all can run side by side.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]
#![allow(unreachable_pub, reason = "nothing is outside a test binary")]

mod budget;
mod catalog;
mod check;
mod clock;
mod completions;
mod control;
mod copyright;
mod crash_loop;
mod demo;
mod doctor;
mod documents;
mod dry_run;
mod duplicates;
mod events;
mod fallback;
mod hang;
mod health;
mod help;
mod hooks;
mod identity;
mod journal;
mod logs;
mod manual;
mod metrics;
mod no_pidfd;
mod notify;
mod out_of_memory;
mod program;
mod reload;
mod report;
mod rival;
mod roff;
mod situations;
mod soak;
mod state;
mod status;
mod stuck;
mod supervise;
mod table;
mod trust;
mod unhealthy;
