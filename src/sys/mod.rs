//! Wraps the operating system for the rooms above: children, small files, locks, timers, users, who may
//! change a path. What lives in /proc about processes is read by [`crate::proc`].

pub(crate) mod child_env;
pub(crate) mod descriptors;
pub(crate) mod event_loop;
pub mod exit_status;
pub mod host;
pub(crate) mod interruption;
pub mod lock;
pub mod path_trust;
pub(crate) mod script;
pub(crate) mod small_file;
pub(crate) mod spawn;
pub mod subprocess;
pub(crate) mod timer;
pub mod user;
