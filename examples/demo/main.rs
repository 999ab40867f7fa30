//! Shows the real service at its job on any machine, with stand-ins for the vendor's two programs:
//! `cargo run --example demo`. It leaves nothing behind, and it isn't how the service is installed.
//!
//! Cargo builds the service's program for no example, so this one plays that part too, when it is run
//! under the name `mfe-watchdog`.

mod narrator;
mod stage;
mod story;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use mfe_watchdog::proc::{ProcessName, ProcessTable, Target};
use nix::sys::signal::Signal;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use narrator::Narrator;
use stage::{COMUNICADOR, MONITOR, SERVICE, Stage};

fn main() -> ExitCode {
    let called_as = std::env::args_os().next().unwrap_or_default();
    if Path::new(&called_as).file_name() == Some(OsStr::new(SERVICE)) {
        // Were the demo killed, a service left alone would bring the stand-ins back for ever.
        // Where the kernel can't promise that, nothing else is lost.
        let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGTERM);
        return mfe_watchdog::cli::main();
    }
    demo().unwrap_or_else(|error| {
        eprintln!("demo: {error:#}");
        ExitCode::FAILURE
    })
}

#[tokio::main(flavor = "current_thread")]
async fn demo() -> anyhow::Result<ExitCode> {
    // Listened for before there is anything that could be left behind, and to the very end.
    let mut interrupts = Interrupts::listen().context("signals can't be received")?;
    refuse_real_programs()?;
    let narrator = Narrator::new();
    let mut stage = Stage::build()?;
    let played = tokio::select! {
        biased;
        signal = interrupts.any() => Err(signal),
        played = story::play(&mut stage, &narrator) => Ok(played),
    };
    let told = match &played {
        Err(signal) => narrator.heading(&format!("Interrupted by {signal}.")),
        Ok(Err(_)) => narrator.heading("That went wrong; clearing away."),
        Ok(Ok(())) => narrator.heading("The end."),
    };
    let cleared = stage.clear(&narrator).await;
    match played {
        Err(signal) => {
            cleared?;
            // As shells report it.
            Ok(ExitCode::from(128 + signal as u8))
        }
        Ok(played) => {
            played.and(cleared)?;
            told?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// On a till these would be the real programs, and a shop might be selling.
fn refuse_real_programs() -> anyhow::Result<()> {
    let mut table = ProcessTable::new("/proc");
    for name in [COMUNICADOR, MONITOR] {
        let sighting = table.look(&Target::named(ProcessName::new(name)));
        let sighting = sighting.with_context(|| format!("can't tell whether {name} is running"))?;
        if let Some(alive) = sighting.alive.first() {
            anyhow::bail!(
                "{name} already runs on this machine (pid {pid}). If this is a till, it is the \
                 real one: the demo won't mix with it and has started nothing.\n\
                 Run the demo on another machine, or once {name} has ended.",
                pid = alive.id.pid
            );
        }
    }
    Ok(())
}

/// The signals that ask the demo to end.
struct Interrupts {
    interrupt: SignalStream,
    terminate: SignalStream,
    hangup: SignalStream,
    quit: SignalStream,
}

impl Interrupts {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn any(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.hangup.recv() => Signal::SIGHUP,
            _ = self.quit.recv() => Signal::SIGQUIT,
        }
    }
}
