//! The system's manager as this service knows it: its bus and its units' names. What is started by it is
//! decided in [`crate::start`].

pub(crate) mod ask;
pub(crate) mod control_group;
pub mod dbus;
pub(crate) mod journalctl;
pub(crate) mod manager;
pub(crate) mod memory;
pub(crate) mod names;
pub mod standby;
