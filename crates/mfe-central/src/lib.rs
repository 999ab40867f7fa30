//! mfe-central takes what the tills of a chain send to the office's broker, keeps it, and shows it.
//!
//! | module | its part |
//! |---|---|
//! | [`cli`] | the command line |
//! | `service` | the service: its tasks |
//! | `route`, `batch` | messages go to a handler in batches, and are settled by its verdicts; the rules of it, pure |
//! | `worker` | the routes and callbacks of the configuration |
//! | `program`, `verdict` | a handler that is a program of the user's; how it is spoken to, pure |
//! | `amqp`, `every`, `hook`, `sse` | where messages come from: RabbitMQ, time, HTTP, streams |
//! | `message` | what tills send, understood or refused, pure |
//! | `office` | what all tasks share; the handlers of events and states |
//! | `fleet` | how each till is, pure |
//! | `past` | how a till was over some time, pure; what that means and how it is told is in `mfe_history` |
//! | `clock` | whose clock counts |
//! | `database`, `store` | a way to PostgreSQL; what is kept there |
//! | `feed` | what has happened, for who follows |
//! | `http` | answers browsers and other systems |
//! | `page`, `pages`, `metrics` | for people, which is kept while it stays the same; for Prometheus |
//! | `enroll` | tills come and go |
//! | `tills`, `token` | what makes a till at the broker, pure; what it joins with |
//! | `setup`, `doctor` | makes a machine an office; what is wrong with one |
//! | `certificate` | by which tills know the broker |
//! | `site`, `scrape`, `ports` | the page's site at nginx; Prometheus; the broker's ports for clusters |
//! | `system` | other programs, users and files of the machine |
//! | `rabbitmq` | the broker as its administrator has it |
//! | `health` | how central itself is |
//! | `config` | what people write |
//!
//! Language, settings, small files and the journal's lines are in `mfe-common`.

rust_i18n::i18n!("locales", fallback = "en");

pub mod cli;

mod amqp;
mod batch;
mod certificate;
mod clock;
mod config;
mod database;
mod doctor;
mod enroll;
mod every;
mod feed;
mod fleet;
mod health;
mod hook;
mod http;
mod message;
mod metrics;
mod office;
mod page;
mod pages;
mod past;
mod ports;
mod program;
mod rabbitmq;
mod route;
mod scrape;
mod service;
mod setup;
mod site;
mod sse;
mod store;
mod system;
mod tills;
mod token;
mod verdict;
mod worker;

#[cfg(test)]
mod tests {
    #[test]
    fn the_texts_are_those_that_are_used_in_every_language() {
        mfe_kit::catalogue::check(env!("CARGO_MANIFEST_DIR"));
    }
}
