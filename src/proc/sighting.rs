//! What a look at the process table has found, bounded: anybody may run any number of processes of a
//! name, and none of them may cost the others their supervision. How they are found is in
//! [`super::ProcessTable`].

use super::ProcessId;
use crate::sys::exit_status::ExitStatus;

/// More living processes of a program aren't kept of a look; what else there is, is counted.
pub const ALIVE_MAX: usize = 64;

/// The same for those that aren't the program.
pub const IMPOSTORS_MAX: usize = 16;

/// What a look at the process table has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sighting {
    /// The living processes that are meant, by pid: those that are known, then root's, then the oldest.
    pub alive: Vec<Alive>,
    /// How many more of them there are.
    pub more_alive: usize,
    /// The dead ones of the name that their parent hasn't reaped.
    pub zombies: Vec<Zombie>,
    /// The living ones of the name that no target means, by pid. A confirmation meets them only while
    /// they are young.
    pub impostors: Vec<Impostor>,
    /// How many more of them there are.
    pub more_impostors: usize,
    /// Those that nearly have the name: but for upper and lower case, or in another PID namespace. As
    /// the impostors.
    pub near: Vec<Impostor>,
    /// Those among the living that are known, and no longer are what is meant: they have another name,
    /// program or arguments now.
    pub changed: Vec<Impostor>,
}

impl Sighting {
    /// Takes in a living process that is meant. Of too many those go that are not `known`.
    pub(super) fn add_alive(&mut self, alive: Alive, known: &[ProcessId]) {
        self.alive.push(alive);
        if self.alive.len() >= 2 * ALIVE_MAX {
            self.shed(known);
        }
    }

    /// Takes in a dead one: of the `known` it says how they ended, of others only that they were there.
    pub(super) fn add_zombie(&mut self, zombie: Zombie, known: &[ProcessId]) {
        if self.zombies.len() < ALIVE_MAX || known.contains(&zombie.id) {
            self.zombies.push(zombie);
        }
    }

    /// Whether an impostor of this user is to be described and kept; counts it if it isn't. Root's go
    /// before those of strangers, for they may be what we have started ourselves.
    pub(super) fn wants(&mut self, uid: Option<u32>, is_near: bool) -> bool {
        let kept = if is_near {
            &mut self.near
        } else {
            &mut self.impostors
        };
        if kept.len() < IMPOSTORS_MAX {
            return true;
        }
        let stranger = kept.iter().rposition(|impostor| impostor.uid != Some(0));
        let gives_way = stranger.filter(|_| uid == Some(0));
        if let Some(index) = gives_way {
            kept.remove(index);
        }
        if !is_near {
            self.more_impostors += 1;
        }
        gives_way.is_some()
    }

    /// Takes in one that isn't the program.
    pub(super) fn add_impostor(&mut self, impostor: Impostor) {
        if impostor.difference.is_near() {
            self.near.push(impostor);
        } else {
            self.impostors.push(impostor);
        }
    }

    /// Takes in a known process that lives, and in what it isn't what is meant any more.
    pub(super) fn add_known(&mut self, alive: Alive, named: Option<Impostor>) {
        let is_it = |impostor: &Impostor| impostor.id == alive.id;
        let take = |impostors: &mut Vec<Impostor>| {
            let position = impostors.iter().position(is_it);
            position.map(|index| impostors.swap_remove(index))
        };
        let met = take(&mut self.impostors);
        // One in another PID namespace has the right name.
        let near = take(&mut self.near);
        self.changed.extend(met.or(named).or(near));
        self.alive.push(alive);
    }

    /// In order of the pids, and each once, though it may have been met twice.
    pub(super) fn sort(&mut self, known: &[ProcessId]) {
        self.shed(known);
        self.alive.sort_unstable();
        self.alive.dedup_by_key(|alive| alive.id);
        for impostors in [&mut self.impostors, &mut self.near] {
            impostors.sort_unstable_by_key(|impostor| impostor.id);
            impostors.dedup_by_key(|impostor| impostor.id);
        }
    }

    /// Keeps those that matter most, and counts the others.
    fn shed(&mut self, known: &[ProcessId]) {
        if self.alive.len() > ALIVE_MAX {
            self.alive.sort_unstable_by_key(|alive| {
                let is_strange = alive.uid != Some(0);
                let Alive { id, .. } = alive;
                (!known.contains(id), is_strange, id.start_time, id.pid)
            });
            self.more_alive += self.alive.len() - ALIVE_MAX;
            self.alive.truncate(ALIVE_MAX);
        }
    }
}

/// A living process that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alive {
    /// Which process it is.
    pub id: ProcessId,
    /// The pid of its parent, or of whoever inherited it.
    pub parent: i32,
    /// Its effective user, where that was read: a confirmation doesn't.
    pub uid: Option<u32>,
    /// Whether it can do its work.
    pub state: RunState,
}

/// Whether a living process can do its work (proc(5), /proc/PID/stat field 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunState {
    /// It runs, or waits for something to do.
    Running,
    /// It was stopped by a signal (state T), not by a debugger.
    Stopped,
    /// The kernel is writing a core dump of it: it is dying (`CoreDumping` of /proc/PID/status).
    Dumping,
}

/// A living process that is nearly the one that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impostor {
    /// Which process it is.
    pub id: ProcessId,
    /// Its effective user; `None` where that can't be read.
    pub uid: Option<u32>,
    /// Its user: the name in /etc/passwd, or the number, and the effective one where that is another;
    /// printable.
    pub user: String,
    /// Its name, as the kernel keeps it; printable.
    pub name: String,
    /// The path of its program, or its name in brackets if that is unknown; printable and not
    /// too long for a line.
    pub path: String,
    /// What makes it another one.
    pub difference: Difference,
}

/// Whose a living process is and what it runs, as a person is told and as it may be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its pid.
    pub pid: i32,
    /// Its effective user.
    pub uid: Option<u32>,
    /// The user who has started it.
    pub real_uid: Option<u32>,
    /// Its user, as of an [`Impostor`].
    pub user: String,
    /// The path of its program, as of an [`Impostor`], whether an upgrade has replaced the file or not.
    pub path: String,
    /// Whom that file belongs to; `None` if that is unknown.
    pub owner: Option<u32>,
}

/// What makes a process another one than the one that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Its name has other upper and lower case letters.
    Case,
    /// It has the name inside another PID namespace (`pid_namespaces(7)`).
    Namespace,
    /// Its name is another one.
    Name,
    /// Its executable isn't the one that `exe` asks for.
    Exe,
    /// Its arguments aren't those that `cmdline` asks for.
    Cmdline,
    /// Its user isn't the one that `user` asks for.
    User,
    /// What it runs or was given can't be read, which its own user has brought about.
    Unreadable,
    /// Its effective user is the one that `user` asks for, and somebody else has started it
    /// (credentials(7)): it is a set-user-ID program.
    RealUser,
    /// Its executable has the path that `exe` asks for, and isn't the file that is there: somebody has put
    /// another one in its place, for itself alone (`mount_namespaces(7)`).
    File,
    /// Its arguments are those that `cmdline` asks for as far as they are read, and go on.
    LongCmdline,
}

impl Difference {
    /// Whether it only nearly has the name.
    #[must_use]
    pub fn is_near(self) -> bool {
        matches!(self, Self::Case | Self::Namespace)
    }

    /// Whether earlier versions took it for the program: it may be that, under rules that are stricter now.
    /// Nothing is started beside it.
    #[must_use]
    pub fn is_strict(self) -> bool {
        matches!(self, Self::RealUser | Self::File | Self::LongCmdline)
    }
}

/// A dead process that its parent hasn't reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zombie {
    /// Which process it was.
    pub id: ProcessId,
    /// How it ended, where the kernel tells.
    pub exit_status: Option<ExitStatus>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(pid: i32) -> ProcessId {
        ProcessId {
            pid,
            start_time: u64::try_from(pid).unwrap(),
        }
    }

    fn impostor(pid: i32, uid: u32) -> Impostor {
        Impostor {
            id: id(pid),
            uid: Some(uid),
            user: "pdv".into(),
            name: "X".into(),
            path: "/x".into(),
            difference: Difference::Exe,
        }
    }

    fn alive(pid: i32, uid: u32) -> Alive {
        Alive {
            id: id(pid),
            parent: 1,
            uid: Some(uid),
            state: RunState::Running,
        }
    }

    #[test]
    fn a_known_one_in_another_namespace_is_not_what_is_meant() {
        let mut sighting = Sighting::default();
        let contained = Impostor {
            difference: Difference::Namespace,
            ..impostor(5, 0)
        };
        sighting.add_impostor(contained.clone());
        sighting.add_known(alive(5, 0), None);
        assert_eq!(sighting.changed, [contained]);
        assert_eq!((sighting.alive.len(), sighting.near.len()), (1, 0));
    }

    #[test]
    fn one_that_is_met_twice_in_a_look_is_one() {
        let mut sighting = Sighting {
            alive: vec![alive(5, 0), alive(4, 0), alive(5, 0)],
            impostors: vec![impostor(3, 0), impostor(2, 0), impostor(3, 0)],
            ..Sighting::default()
        };
        sighting.sort(&[]);
        assert_eq!(sighting.alive, [alive(4, 0), alive(5, 0)]);
        assert_eq!(sighting.impostors, [impostor(2, 0), impostor(3, 0)]);
    }

    #[test]
    fn of_a_crowd_the_known_and_roots_are_kept_and_the_rest_is_counted() {
        let mut sighting = Sighting::default();
        let known = [id(4_999)];
        for pid in 1..=5_000 {
            let uid = if pid == 4_000 { 0 } else { 1000 };
            sighting.add_alive(alive(pid, uid), &known);
            sighting.add_zombie(
                Zombie {
                    id: id(pid),
                    exit_status: None,
                },
                &known,
            );
            if sighting.wants(Some(uid), false) {
                sighting.add_impostor(impostor(pid, uid));
            }
            assert!(sighting.alive.len() < 2 * ALIVE_MAX);
            assert!(sighting.impostors.len() <= IMPOSTORS_MAX);
        }
        sighting.sort(&known);
        assert_eq!(sighting.alive.len(), ALIVE_MAX);
        assert_eq!(sighting.more_alive, 5_000 - ALIVE_MAX);
        assert_eq!(sighting.more_impostors, 5_000 - IMPOSTORS_MAX);
        for pid in [1, 2, 4_000, 4_999] {
            assert!(
                sighting.alive.iter().any(|alive| alive.id == id(pid)),
                "{pid}"
            );
        }
        let of_root = |impostor: &Impostor| impostor.id == id(4_000);
        assert!(sighting.impostors.iter().any(of_root));
        let of_known = |zombie: &Zombie| zombie.id == known[0];
        assert!(sighting.zombies.iter().any(of_known));
        assert_eq!(sighting.zombies.len(), ALIVE_MAX + 1);
    }
}
