//! mfe-relay brings the events of mfe-watchdog from the till's journal to the office's broker, and loses none.
//!
//! | module | its part |
//! |---|---|
//! | [`cli`] | the command line |
//! | `join` | a till comes to an office, and goes |
//! | `status` | what a person is told of the running service |
//! | `relay` | the service: its loop |
//! | `journal` | reads the journal by journalctl |
//! | `export` | what journalctl writes, pure |
//! | `wake` | notices that there is news |
//! | `broker`, `amqp` | what is asked of a broker; RabbitMQ |
//! | `event`, `state`, `redact` | the form of what leaves the till, pure |
//! | `window` | what is confirmed, pure |
//! | `backoff` | how long to wait |
//! | `saved`, `published`, `files` | what is kept and told in files |
//! | `config`, `token` | what people write |
//! | `trouble`, `say`, `locale`, `clock` | words and times |

rust_i18n::i18n!("locales", fallback = "en");

pub mod cli;

mod amqp;
mod backoff;
mod broker;
mod clock;
mod config;
mod event;
mod export;
mod files;
mod join;
mod journal;
mod locale;
mod published;
mod redact;
mod relay;
mod saved;
mod say;
mod state;
mod status;
mod token;
mod trouble;
mod wake;
mod window;
