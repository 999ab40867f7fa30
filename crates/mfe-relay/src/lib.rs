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
//! | `saved`, `published` | what is kept and told in files |
//! | `config`, [`token`] | what people write |
//! | `trouble`, `clock` | words and times |
//!
//! Language, settings, small files and the journal's lines are in `mfe-common`.

rust_i18n::i18n!("locales", fallback = "en");

pub mod cli;
pub mod token;

mod amqp;
mod backoff;
mod broker;
mod clock;
mod config;
mod event;
mod export;
mod join;
mod journal;
mod published;
mod redact;
mod relay;
mod saved;
mod state;
mod status;
mod trouble;
mod wake;
mod window;

#[cfg(test)]
mod tests {
    #[test]
    fn the_texts_are_those_that_are_used_in_every_language() {
        mfe_kit::catalogue::check(env!("CARGO_MANIFEST_DIR"));
    }
}
