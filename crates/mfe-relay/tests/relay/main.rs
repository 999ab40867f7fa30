//! The real program, against a real RabbitMQ over TLS and journals that systemd's own tools have made.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]
#![allow(unreachable_pub, reason = "nothing is outside a test binary")]

mod broker;
mod certificates;
mod chaos;
mod command;
mod completions;
mod delivery;
mod faults;
mod proxy;
mod till;
mod tls;
mod units;
