//! What chaos does and when: a sequence that follows from the seed alone, so that a run can be
//! repeated. It does nothing itself.

use std::time::Duration;

use crate::random::Random;

/// One of the two programs, by its place in `PROGRAMS`.
pub type Which = usize;

/// The one of whose copies the service ends the newest.
pub const STOPS_NEWEST: Which = 0;

/// The one that is started by a command.
const BY_COMMAND: Which = 0;

/// How the next start of a program goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manner {
    /// Its script ends with failure, and the program comes all the same, a moment later.
    Lies,
    /// Its script ends well, and nothing comes of it.
    Vain,
    /// Its script leaves the program in the background, where it takes its time.
    Late,
    /// The same, and longer than a start may take.
    Later,
    /// The program comes in a PID namespace of its own.
    Hidden,
    /// The program has a child of its name, which outlives it.
    Forks,
    /// The program forks twice, as a daemon does, and its parent waits for a while.
    Twice,
    /// The program comes with its name in capitals.
    OtherCase,
}

/// Something that is done at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// Kills a program.
    Kill(Which),
    /// The same, and its next start goes in a special way.
    StartBadly(Which, Manner),
    /// Somebody has systemd restart the unit of a program.
    Restart(Which),
    /// systemd executes itself again in the moment in which a program dies.
    Reexec(Which),
    /// A program dies while systemd stands still, for so many seconds.
    FreezeSystemd(Which, u64),
    /// A program takes another name and lives on.
    Rename(Which),
    /// Stops a program for a moment that is no hang yet.
    Stop(Which),
    /// Somebody starts a second copy, and ends it again.
    Duplicate(Which),
    /// Somebody starts a second copy, and the service ends it.
    Surplus(Which),
    /// A copy dies whose parent doesn't care.
    Zombie(Which),
    /// A program dies while it is paused, and so does the service.
    Pause(Which),
    /// A program dies while its command is being replaced by dpkg.
    Update(Which),
    /// A program dies while its command is away.
    CommandAway(Which),
    /// kill -9 of the service.
    KillService,
    /// The same, with a configuration that is bad.
    CrashBadly,
    /// Somebody removes the folder in which the service publishes.
    RemoveFolder,
    /// Somebody runs a second watchdog.
    SecondService,
    /// SIGSTOP of the service, until systemd's watchdog has had enough of it.
    FreezeService,
    /// A configuration that is good.
    ReloadGood,
    /// One that is not.
    ReloadBad,
    /// The wall clock, as the service sees it, is set by so many days.
    SetClock(i32),
}

/// Something that lasts for some steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The journal stands still, and its queue is full.
    JournalStopped,
    /// Nothing more can be written to /run.
    RunFull,
    /// Nothing more can be written where the service keeps what it remembers.
    VarFull,
    /// Another unit starts processes as fast as it can.
    ForkBomb,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is over at once.
    Blow(Blow),
    /// It lasts until its end.
    Begin(Trouble),
    /// It has lasted long enough.
    End(Trouble),
}

/// How often each is struck, compared with the others.
pub(super) const BLOWS: [(usize, Blow); 44] = [
    (6, Blow::Kill(0)),
    (6, Blow::Kill(1)),
    (2, Blow::StartBadly(0, Manner::Lies)),
    (2, Blow::StartBadly(1, Manner::Lies)),
    (1, Blow::StartBadly(0, Manner::Vain)),
    (1, Blow::StartBadly(1, Manner::Vain)),
    (2, Blow::StartBadly(0, Manner::Late)),
    (2, Blow::StartBadly(1, Manner::Late)),
    (1, Blow::StartBadly(0, Manner::Later)),
    (1, Blow::StartBadly(1, Manner::Later)),
    (1, Blow::StartBadly(0, Manner::Hidden)),
    (1, Blow::StartBadly(1, Manner::Hidden)),
    (1, Blow::StartBadly(0, Manner::Forks)),
    (1, Blow::StartBadly(1, Manner::Forks)),
    (1, Blow::StartBadly(0, Manner::Twice)),
    (1, Blow::StartBadly(1, Manner::Twice)),
    (1, Blow::StartBadly(0, Manner::OtherCase)),
    (1, Blow::StartBadly(1, Manner::OtherCase)),
    (2, Blow::Restart(0)),
    (2, Blow::Restart(1)),
    (2, Blow::Reexec(0)),
    (2, Blow::Reexec(1)),
    (1, Blow::FreezeSystemd(0, 1)),
    (1, Blow::FreezeSystemd(1, 7)),
    (2, Blow::Rename(0)),
    (2, Blow::Rename(1)),
    (2, Blow::Stop(0)),
    (2, Blow::Stop(1)),
    (2, Blow::Duplicate(0)),
    (2, Blow::Duplicate(1)),
    (2, Blow::Surplus(STOPS_NEWEST)),
    (2, Blow::Zombie(0)),
    (2, Blow::Zombie(1)),
    (2, Blow::Pause(0)),
    (2, Blow::Pause(1)),
    (2, Blow::Update(BY_COMMAND)),
    (2, Blow::CommandAway(BY_COMMAND)),
    (4, Blow::KillService),
    (2, Blow::CrashBadly),
    (2, Blow::RemoveFolder),
    (1, Blow::SecondService),
    (1, Blow::FreezeService),
    (2, Blow::ReloadGood),
    (2, Blow::ReloadBad),
];

const TROUBLES: [Trouble; 4] = [
    Trouble::JournalStopped,
    Trouble::RunFull,
    Trouble::VarFull,
    Trouble::ForkBomb,
];

/// Out of so many steps one begins a trouble, one sets the clock.
const PER_TROUBLE: usize = 6;
const PER_CLOCK: usize = 12;

/// At most so many steps long is a trouble.
const TROUBLE_STEPS: usize = 5;

/// The longest pause between two steps, in milliseconds.
const PAUSE_MS: usize = 700;

/// The endless sequence of a seed.
pub struct Plan {
    random: Random,
    step: usize,
    /// What lasts, and at which step it ends.
    troubles: Vec<(Trouble, usize)>,
}

impl Plan {
    /// The one of this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            step: 0,
            troubles: Vec::new(),
        }
    }

    /// The next step, and the pause before it.
    pub fn next_step(&mut self) -> (Duration, Step) {
        self.step += 1;
        let pause = Duration::from_millis(self.random.below(PAUSE_MS) as u64);
        let over = self.troubles.iter().position(|(_, end)| *end <= self.step);
        if let Some(over) = over {
            return (pause, Step::End(self.troubles.swap_remove(over).0));
        }
        if self.random.below(PER_TROUBLE) == 0 {
            let trouble = *self.random.choose(&TROUBLES);
            if !self.troubles.iter().any(|(lasts, _)| *lasts == trouble) {
                let end = self.step + 2 + self.random.below(TROUBLE_STEPS);
                self.troubles.push((trouble, end));
                return (pause, Step::Begin(trouble));
            }
        }
        if self.random.below(PER_CLOCK) == 0 {
            let days = *self.random.choose(&[-366, 366, -1, 0]);
            return (pause, Step::Blow(Blow::SetClock(days)));
        }
        (pause, Step::Blow(self.blow()))
    }

    fn blow(&mut self) -> Blow {
        let sum = BLOWS.iter().map(|(weight, _)| weight).sum();
        let mut left = self.random.below(sum);
        for (weight, blow) in BLOWS {
            match left.checked_sub(weight) {
                Some(rest) => left = rest,
                None => return blow,
            }
        }
        Blow::Kill(0)
    }

    /// What lasts when the sequence is broken off.
    pub fn left(&self) -> impl Iterator<Item = Trouble> {
        self.troubles.iter().map(|(trouble, _)| *trouble)
    }
}
