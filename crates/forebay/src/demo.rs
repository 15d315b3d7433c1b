//! `forebay demo`: a client, a balancer and three members, real traffic between them, and step by step what it proves.
//!
//! The scenario is written once, against a `stage::Stage`. On this machine the stage is network namespaces with the
//! ordinary `forebay serve` in the balancer's; without the privileges for that, or with `--simulate`, it is the simulator, which runs
//! the same engine and the same pipeline.

mod cluster;
mod real;
mod scenario;
mod screen;
mod setting;
mod simulated;
mod stage;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::lab::{self, Need};
pub use cluster::run_member;
use real::Real;
use scenario::Outcome;
use screen::Screen;
use simulated::Simulated;
use stage::Trouble;

/// Something did not hold.
const BROKEN: u8 = 1;
/// The demo could not be played.
const IMPOSSIBLE: u8 = 2;
/// Ended by a signal, as shells say it for Ctrl-C.
const INTERRUPTED: u8 = 130;
/// How long `--clean` waits for a demo in another terminal to clean up.
const PATIENCE: Duration = Duration::from_secs(15);

/// What `forebay demo` can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Play in the simulator, without privileges and without touching the machine.
    pub simulate: bool,
    /// Leave the hosts and the balancer running after the last step.
    pub keep: bool,
    /// Only remove what a kept or killed demo has left.
    pub clean: bool,
}

/// Plays the demo. The exit code is 0 only if everything it shows held.
pub fn run(options: Options) -> ExitCode {
    let stop = match stop_on_signals() {
        Ok(stop) => stop,
        Err(trouble) => return fail(trouble),
    };
    let mut screen = Screen::stdout();
    if options.clean {
        return clean(&mut screen);
    }
    if options.simulate {
        return simulate(&mut screen, options.keep, stop);
    }
    match lab::require(&[Need::Namespaces, Need::Bpf]) {
        Ok(()) => play_for_real(&mut screen, options.keep, stop),
        Err(missing) => {
            screen.say("Real hosts are not possible here:");
            for reason in &missing.reasons {
                screen.say(&format!("  - {reason}"));
            }
            simulate(&mut screen, options.keep, stop)
        }
    }
}

/// Plays the cluster. The exit code is 0 only if everything it shows held.
pub fn run_cluster() -> ExitCode {
    let began = Instant::now();
    let stop = match stop_on_signals() {
        Ok(stop) => stop,
        Err(trouble) => return fail(trouble),
    };
    if let Err(missing) = lab::require(&[Need::Namespaces, Need::Bpf]) {
        return fail(missing);
    }
    let mut screen = Screen::stdout();
    remove_leftovers(&mut screen);
    screen.say(
        "Making a client, a balancer, a witness and two servers in network namespaces of this machine ...",
    );
    let mut hosts = match cluster::Hosts::set_up(Path::new("/proc/self/exe"), stop) {
        Ok(hosts) => hosts,
        Err(Trouble::Interrupted) => return interrupted(&mut screen),
        Err(trouble) => return fail(format!("the demo could not be set up: {trouble}")),
    };
    let outcome = cluster::play(&mut hosts, &mut screen);
    if outcome != Outcome::Interrupted {
        screen.summary(began.elapsed());
    }
    if outcome == Outcome::Broken {
        screen.say(&format!("\nThe balancer's log:\n{}", hosts.log()));
    }
    screen.say("Removing the hosts, the balancer and its data path ...");
    drop(hosts);
    end(outcome, &mut screen)
}

fn stop_on_signals() -> Result<Arc<AtomicBool>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, stop.clone()).map_err(|cause| {
            format!("the demo could not catch signal {signal}, so it would not clean up: {cause}")
        })?;
    }
    Ok(stop)
}

fn end(outcome: Outcome, screen: &mut Screen<io::Stdout>) -> ExitCode {
    match outcome {
        Outcome::Held => ExitCode::SUCCESS,
        Outcome::Broken => ExitCode::from(BROKEN),
        Outcome::Interrupted => interrupted(screen),
    }
}

fn play_for_real(screen: &mut Screen<io::Stdout>, keep: bool, stop: Arc<AtomicBool>) -> ExitCode {
    let began = Instant::now();
    remove_leftovers(screen);
    screen.say("Making a client, a balancer and three members in network namespaces of this machine ...");
    let mut stage = match Real::set_up(Path::new("/proc/self/exe"), stop.clone()) {
        Ok(stage) => stage,
        Err(Trouble::Interrupted) => return interrupted(screen),
        Err(trouble) => return fail(format!("the demo could not be set up: {trouble}")),
    };
    let outcome = scenario::play(&mut stage, screen);
    if outcome != Outcome::Interrupted {
        screen.summary(began.elapsed());
    }
    if outcome == Outcome::Broken {
        screen.say(&format!("\nThe end of the balancer's log:\n{}", stage.log()));
    }
    if keep && outcome != Outcome::Interrupted {
        screen.say(&stage.how_to_play());
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
        }
        screen.say("");
    }
    screen.say("Removing the hosts, the balancer and its data path ...");
    drop(stage);
    end(outcome, screen)
}

/// Plays the same scenario on the simulator.
fn simulate<W: Write>(screen: &mut Screen<W>, keep: bool, stop: Arc<AtomicBool>) -> ExitCode {
    let began = Instant::now();
    screen.say(simulated::WHAT_THIS_IS);
    let mut stage = match Simulated::set_up(stop) {
        Ok(stage) => stage,
        Err(trouble) => return fail(format!("the simulated demo could not be set up: {trouble}")),
    };
    let outcome = scenario::play(&mut stage, screen);
    if outcome == Outcome::Interrupted {
        return interrupted(screen);
    }
    screen.summary(began.elapsed());
    screen.say(&stage.last_words());
    if keep {
        screen.say("   There is nothing to keep: simulated hosts end with this process.");
    }
    match outcome {
        Outcome::Held => ExitCode::SUCCESS,
        Outcome::Broken | Outcome::Interrupted => ExitCode::from(BROKEN),
    }
}

/// Ends demos that still run, and removes what others have left.
fn clean(screen: &mut Screen<io::Stdout>) -> ExitCode {
    if let Err(missing) = lab::require(&[Need::Namespaces]) {
        return fail(missing);
    }
    let Ok(found) = lab::leftovers(setting::PREFIX) else {
        return fail("the list of demos could not be read");
    };
    for demo in found.iter().filter(|demo| demo.is_alive()) {
        screen.say(&format!("Ending {} (process {}) ...", demo.name, demo.owner));
        // It removes its hosts itself.
        let _ = kill(Pid::from_raw(demo.owner.cast_signed()), Signal::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        while demo.is_alive() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
    }
    remove_leftovers(screen);
    match lab::leftovers(setting::PREFIX) {
        Ok(left) if left.is_empty() => {
            screen.say(if found.is_empty() { "There was nothing to remove." } else { "All removed." });
            ExitCode::SUCCESS
        }
        Ok(left) => fail(format!(
            "{} would not go",
            left.iter().map(|demo| demo.name.as_str()).collect::<Vec<_>>().join(", ")
        )),
        Err(cause) => fail(cause),
    }
}

/// Removes demos whose process is gone.
fn remove_leftovers(screen: &mut Screen<io::Stdout>) {
    for demo in lab::leftovers(setting::PREFIX).unwrap_or_default().iter().filter(|demo| !demo.is_alive()) {
        screen.say(&format!("Removing {}, whose process was killed ...", demo.name));
        real::detach(Path::new("/proc/self/exe"), &demo.name);
        demo.remove();
    }
}

fn interrupted<W: Write>(screen: &mut Screen<W>) -> ExitCode {
    screen.say("Interrupted; nothing is left behind.");
    ExitCode::from(INTERRUPTED)
}

fn fail(reason: impl fmt::Display) -> ExitCode {
    eprintln!("forebay demo: {reason}");
    ExitCode::from(IMPOSSIBLE)
}
