//! Remembers what was found out about processes by more than cheap reads, for as long as nothing about
//! them has changed, so that a crowd is judged once. What is found out is up to [`super::table`].

use std::collections::BTreeMap;

use super::sighting::Difference;
use super::{ProcessId, Target};

/// More isn't remembered: as many as a machine has pids by default (proc(5), `pid_max`).
const REMEMBERED_MAX: usize = 32 * 1024;

/// What a living process of a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What the target means.
    Meant,
    /// One that has the name and is another one.
    Other(Difference),
    /// One whose whole name is another, or that another target means.
    AnotherName,
}

/// What a verdict is about: another program in the same process has another executable, or its arguments
/// in another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: ProcessId,
    pub(super) arg_start: u64,
    /// The real and the effective user.
    pub(super) uids: (Option<u32>, Option<u32>),
    /// Device and inode of the executable; `None` if they are unknown.
    pub(super) exe: Option<(u64, u64)>,
}

/// The verdicts about the processes of one target, by pid.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    target: Option<Target>,
    remembered: BTreeMap<i32, (Key, Verdict)>,
    /// In how many PID namespaces a process is, where it takes long to find out.
    namespaces: BTreeMap<i32, (ProcessId, usize)>,
}

impl Verdicts {
    /// From now on they are about this target: those about another one are void.
    pub(super) fn are_for(&mut self, target: &Target) {
        if self.target.as_ref() != Some(target) {
            self.remembered.clear();
            self.target = Some(target.clone());
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Verdict> {
        let (remembered, verdict) = self.remembered.get(&key.id.pid)?;
        (remembered == key).then_some(*verdict)
    }

    /// What is known of a process that belongs to neither root nor to anybody who may become another user, and
    /// isn't the one that is meant.
    pub(super) fn stranger(&self, pid: i32) -> Option<(Key, Difference)> {
        let (key, verdict) = self.remembered.get(&pid)?;
        let (real, effective) = key.uids;
        let is_stranger = real == effective && real.is_some_and(|uid| uid != 0);
        match verdict {
            Verdict::Other(difference) if is_stranger && key.arg_start != 0 => {
                Some((*key, *difference))
            }
            _ => None,
        }
    }

    pub(super) fn remember(&mut self, key: Key, verdict: Verdict) {
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
        }
        self.remembered.insert(key.id.pid, (key, verdict));
    }

    pub(super) fn namespaces(&self, id: ProcessId) -> Option<usize> {
        let (remembered, count) = self.namespaces.get(&id.pid)?;
        (*remembered == id).then_some(*count)
    }

    pub(super) fn remember_namespaces(&mut self, id: ProcessId, count: usize) {
        if self.namespaces.len() >= REMEMBERED_MAX {
            self.namespaces.clear();
        }
        self.namespaces.insert(id.pid, (id, count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::ProcessName;

    fn key(pid: i32) -> Key {
        Key {
            id: ProcessId { pid, start_time: 1 },
            arg_start: 7,
            uids: (Some(0), Some(0)),
            exe: Some((8, 9)),
        }
    }

    #[test]
    fn a_verdict_holds_until_anything_changes() {
        let mut verdicts = Verdicts::default();
        let target = Target::named(ProcessName::new("a"));
        verdicts.are_for(&target);
        verdicts.remember(key(5), Verdict::Meant);
        verdicts.are_for(&target);
        assert_eq!(verdicts.get(&key(5)), Some(Verdict::Meant));
        assert_eq!(verdicts.get(&key(6)), None);
        for other in [
            Key {
                arg_start: 8,
                ..key(5)
            },
            Key {
                exe: None,
                ..key(5)
            },
            Key {
                uids: (Some(0), Some(1)),
                ..key(5)
            },
            Key {
                id: ProcessId {
                    pid: 5,
                    start_time: 2,
                },
                ..key(5)
            },
        ] {
            assert_eq!(verdicts.get(&other), None);
        }
        verdicts.are_for(&Target::named(ProcessName::new("b")));
        assert_eq!(verdicts.get(&key(5)), None);
    }

    #[test]
    fn who_may_become_another_user_is_no_stranger() {
        let mut verdicts = Verdicts::default();
        let mut stranger = |uids, verdict| {
            verdicts.remember(Key { uids, ..key(5) }, verdict);
            verdicts.stranger(5).map(|(_, difference)| difference)
        };
        let other = Verdict::Other(Difference::Exe);
        let of = |uid| (Some(uid), Some(uid));
        assert_eq!(stranger(of(1000), other), Some(Difference::Exe));
        assert_eq!(stranger(of(1000), Verdict::Meant), None);
        assert_eq!(stranger(of(0), other), None);
        assert_eq!(stranger((Some(1000), Some(0)), other), None);
        assert_eq!(stranger((None, None), other), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut verdicts = Verdicts::default();
        for pid in 0..3 * i32::try_from(REMEMBERED_MAX).unwrap() {
            verdicts.remember(key(pid), Verdict::AnotherName);
            verdicts.remember_namespaces(key(pid).id, 1);
        }
        assert!(verdicts.remembered.len() <= REMEMBERED_MAX);
        assert!(verdicts.namespaces.len() <= REMEMBERED_MAX);
        let last = key(3 * i32::try_from(REMEMBERED_MAX).unwrap() - 1);
        assert_eq!(verdicts.get(&last), Some(Verdict::AnotherName));
        assert_eq!(verdicts.namespaces(last.id), Some(1));
    }
}
