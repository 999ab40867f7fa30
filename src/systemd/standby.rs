//! Keeps one connection to systemd open before it is needed. systemd takes longer to let somebody in, above a
//! millisecond, than for all else that stands between a death and the start of the program.
//!
//! systemd tells whoever is connected on its private socket of every change of every unit. So nobody waits
//! for what comes here: it is thrown away when the service is awake anyway. A connection is for one start;
//! the next one is opened when that start is over, for then there is time.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::dbus::{Call, Connection, Idle, Sockets};

/// The way to the connection, for all who may need it.
#[derive(Debug, Clone, Default)]
pub struct Standby {
    sockets: Sockets,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Open(Idle),
    InUse,
}

impl Standby {
    /// On these sockets.
    #[cfg(test)]
    pub(crate) fn on(sockets: Sockets) -> Self {
        let state = Arc::default();
        Self { sockets, state }
    }

    /// Where systemd is spoken to.
    pub(crate) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// Has a connection open: opens one unless there is one, and throws away what has come on it. Waits for
    /// nothing. A machine on which there can't be one asks systemd as soon as there is something to ask.
    pub fn keep(&self) {
        let mut state = self.lock();
        if let State::Open(idle) = &mut *state {
            if idle.skim() {
                return;
            }
            *state = State::Closed;
        }
        if let State::Closed = *state {
            *state = Idle::open(&self.sockets).map_or(State::Closed, State::Open);
        }
    }

    /// Has none open, for as long as nobody will need one: whoever takes in nothing for too long is a burden
    /// to systemd.
    pub fn close(&self) {
        let mut state = self.lock();
        if let State::Open(_) = *state {
            *state = State::Closed;
        }
    }

    /// Hands over the connection, if one is open, on which these calls are made already where that is
    /// possible; whoever calls anything has to make them first. Must be called in the runtime.
    pub(crate) fn take(&self, calls: &[Call<'_>]) -> Option<(Connection, InUse)> {
        let mut state = self.lock();
        if matches!(*state, State::InUse) {
            return None;
        }
        let State::Open(idle) = mem::take(&mut *state) else {
            return None;
        };
        let connection = idle.begin(calls)?;
        *state = State::InUse;
        Some((connection, InUse(self.clone())))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by whoever has the connection. Dropping it has the next one opened.
#[derive(Debug)]
pub(crate) struct InUse(Standby);

impl Drop for InUse {
    fn drop(&mut self) {
        *self.0.lock() = State::Closed;
        self.0.keep();
    }
}
