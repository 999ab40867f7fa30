//! How many files the service may have open (getrlimit(2), `RLIMIT_NOFILE`): enough that nobody can use
//! them up by running many processes; what it runs gets the limit that it has inherited itself.

use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More are of no use, and select(2) of none for more than 1024.
const WANTED: u64 = 65_536;

/// So many are left to what must not fail for want of one: a start, and what tells of it.
const RESERVE: u64 = 64;

/// The limit that was inherited, and the one since.
static LIMITS: OnceLock<(Rlimit, Rlimit)> = OnceLock::new();

/// Raises the limit of this process as far as it may. Where that is refused all goes on with what there is.
pub(crate) fn raise() {
    let inherited = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: Some(raised(inherited.current, inherited.maximum)),
        ..inherited
    };
    if raised != inherited && setrlimit(Resource::Nofile, raised).is_ok() {
        // It is called once.
        let _ = LIMITS.set((inherited, raised));
    }
}

/// The soft limit to have; `None` is none.
fn raised(current: Option<u64>, maximum: Option<u64>) -> u64 {
    let wanted = WANTED.min(maximum.unwrap_or(WANTED));
    current.map_or(WANTED, |current| current.max(wanted))
}

/// Acts under the limit that was inherited, which a child inherits in turn.
pub(crate) fn as_inherited<T>(act: impl FnOnce() -> T) -> T {
    let Some((inherited, raised)) = LIMITS.get() else {
        return act();
    };
    // To lower the soft limit is never refused, nor to raise it to what it has been.
    let _ = setrlimit(Resource::Nofile, *inherited);
    let done = act();
    let _ = setrlimit(Resource::Nofile, *raised);
    done
}

/// Whether so many descriptors are in use that this one had better be closed, if nothing depends on it.
pub(crate) fn is_of_the_reserve(descriptor: &impl AsRawFd) -> bool {
    let limit = LIMITS.get().and_then(|(_, raised)| raised.current);
    // The kernel hands out the lowest number that is free.
    let number = u64::try_from(descriptor.as_raw_fd()).unwrap_or_default();
    limit.is_some_and(|limit| number + RESERVE >= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_raised_as_far_as_may_be_and_never_lowered() {
        assert_eq!(raised(Some(1024), Some(524_288)), 65_536);
        assert_eq!(raised(Some(1024), Some(4096)), 4096);
        assert_eq!(raised(Some(1024), None), 65_536);
        assert_eq!(raised(Some(100_000), Some(524_288)), 100_000);
        assert_eq!(raised(None, None), 65_536);
    }
}
