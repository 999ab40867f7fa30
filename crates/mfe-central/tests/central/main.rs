//! The real program, with a real RabbitMQ and a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]
#![allow(unreachable_pub, reason = "nothing is outside a test binary")]

mod browser;
mod chaos;
mod command;
mod completions;
mod enroll;
mod events;
mod office;
mod page;
mod route;
mod setup;
mod shown;
