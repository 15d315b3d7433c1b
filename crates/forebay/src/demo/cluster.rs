//! `forebay demo cluster`: an active and a passive server behind one address, failovers, and how long nobody served.
//!
//! The arrangement is the one of SIOS LifeKeeper, SQL Server listeners and Pacemaker behind an internal load balancer: the application
//! listens on the servers' own addresses, a probe that only the active one answers says where it is, and the active server has the
//! cluster's address on a second interface, so that its own calls never leave it.

mod asking;
mod hosts;
mod member;
mod witness;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use super::scenario::Outcome;
use super::screen::Screen;
use super::stage::Trouble;
use asking::Asking;
pub use hosts::Hosts;
pub use member::run as run_member;

/// The cluster's address and port.
const FRONTEND: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 20, 1, 200), 1521);
/// Where the active server answers probes.
const PROBED: u16 = 9999;
/// The probe, as the document says it.
const INTERVAL: Duration = Duration::from_secs(1);
const THRESHOLD: u32 = 2;
/// CLUS-1: from the probe's answer moving to the last connection that went wrong.
const BOUND: Duration = Duration::from_millis(2_100);
/// How long one outage may last before the demo gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The set-up, drawn.
const PICTURE: &str = r"
    client 10.20.1.100                       witness .5 (who may be active)
       │  10.20.1.200:1521                      │
  ─────┴────────┬─────────────────┬─────────────┴───┬───  10.20.1.0/24
                │                 │                 │
         balancer .2          vm1 .11           vm2 .12         the service listens at 1521
         forebay serve        active            passive         only the active one answers at 9999
         XDP on eth0            │                 │
                              eth1 10.20.2.11   eth1 10.20.2.12
                              + 10.20.1.200/32  (on the active server only)";

/// How the active server is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Stopped,
    Killed,
    Unplugged,
}

impl Loss {
    const ALL: [Self; 3] = [Self::Stopped, Self::Killed, Self::Unplugged];

    const fn words(self) -> &'static str {
        match self {
            Self::Stopped => "service stopped",
            Self::Killed => "process killed",
            Self::Unplugged => "link down",
        }
    }
}

/// One failover, as it was seen.
struct Failover {
    loss: Loss,
    from: String,
    to: String,
    /// From the loss to the other server answering its probe.
    take_over: Duration,
    /// From there to the last connection that went wrong, or the first to the new server.
    balancer: Duration,
    /// Between the last connection before and the first from which on all were served.
    without_service: Duration,
}

/// Plays it on hosts that are there.
pub fn play<W: Write>(hosts: &mut Hosts, screen: &mut Screen<W>) -> Outcome {
    screen.say(PICTURE);
    match scenes(hosts, screen) {
        Ok(()) if screen.all_held() => Outcome::Held,
        Ok(()) => Outcome::Broken,
        Err(Trouble::Interrupted) => Outcome::Interrupted,
        Err(trouble) => {
            screen.check(false, &trouble.to_string());
            Outcome::Broken
        }
    }
}

fn scenes<W: Write>(hosts: &mut Hosts, screen: &mut Screen<W>) -> Result<(), Trouble> {
    one_is_active(hosts, screen)?;
    let asking = Asking::start(hosts.client(), FRONTEND.into());
    let mut failovers = Vec::new();
    for loss in Loss::ALL {
        screen.step(&format!("Failover: {}", loss.words()));
        let failover = fail_over(hosts, &asking, loss)?;
        screen.check(
            failover.balancer <= BOUND,
            &format!(
                "CLUS-1: {:.2} s after {} answered its probe all new connections went there (at most {:.2} s)",
                failover.balancer.as_secs_f64(),
                failover.to,
                BOUND.as_secs_f64()
            ),
        );
        failovers.push(failover);
    }
    drop(asking);
    calls_from_inside(hosts, screen)?;
    screen.step("What the balancer thinks, and the times");
    let (shown, turns) = hosts.health()?;
    screen.say(&shown);
    let both = longest_with_two(&turns);
    screen.check(
        both <= INTERVAL * THRESHOLD,
        &format!(
            "CLUS-2: both were taken for active at one time for {:.2} s at most (at most {:.2} s)",
            both.as_secs_f64(),
            (INTERVAL * THRESHOLD).as_secs_f64()
        ),
    );
    screen.say(&format!("\n{}", table(&failovers)));
    Ok(())
}

fn one_is_active<W: Write>(hosts: &mut Hosts, screen: &mut Screen<W>) -> Result<(), Trouble> {
    screen.step("One server is active, and everybody is led to it");
    hosts.start_member(0)?;
    hosts.until("vm1 answers the client", |hosts| hosts.call(None).is_ok_and(|who| who.member == "vm1"))?;
    hosts.start_member(1)?;
    let all = (0..20).filter_map(|_| hosts.call(None).ok()).filter(|who| who.member == "vm1").count();
    screen.check(all == 20, &format!("{all} of 20 connections to {FRONTEND} reached vm1, the active server"));
    Ok(())
}

/// Loses the active server, waits until the other one has everything, and brings the lost one back as the passive one.
fn fail_over(hosts: &mut Hosts, asking: &Asking, loss: Loss) -> Result<Failover, Trouble> {
    let from = hosts.active().ok_or_else(|| Trouble::Failed("nobody is active".to_owned()))?;
    let to = 1 - from;
    asking.settled_at(hosts.name(from), Instant::now(), PATIENCE, |time| hosts.pass(time))?;
    let lost = Instant::now();
    hosts.lose(from, loss)?;
    let answers = hosts.await_active(to, PATIENCE)?;
    let outage = asking.settled_at(hosts.name(to), lost, PATIENCE, |time| hosts.pass(time))?;
    hosts.bring_back(from, loss)?;
    Ok(Failover {
        loss,
        from: hosts.name(from).to_owned(),
        to: hosts.name(to).to_owned(),
        take_over: answers.saturating_duration_since(lost),
        balancer: outage.over.saturating_duration_since(answers),
        without_service: outage.over.saturating_duration_since(outage.last_before),
    })
}

fn calls_from_inside<W: Write>(hosts: &mut Hosts, screen: &mut Screen<W>) -> Result<(), Trouble> {
    screen.step("Calls from inside the servers");
    let active = hosts.active().ok_or_else(|| Trouble::Failed("nobody is active".to_owned()))?;
    let (name, other) = (hosts.name(active).to_owned(), hosts.name(1 - active).to_owned());
    let local = hosts.call(Some(active));
    screen.check(
        local.as_ref().is_ok_and(|who| who.member == name && who.caller == *FRONTEND.ip()),
        &format!("{name}, the active server, reaches {FRONTEND} without leaving itself"),
    );
    let across = hosts.call(Some(1 - active));
    screen.check(
        across.as_ref().is_ok_and(|who| who.member == name && who.caller == hosts::BALANCER),
        &format!("{other}, the passive one, reaches {name} through the balancer"),
    );
    hosts.set_local(active, false)?;
    let fails = hosts.call(Some(active));
    let why = hosts.trace_from(active)?;
    hosts.set_local(active, true)?;
    screen.check(
        fails.is_err() && why.contains("a member called a frontend and was chosen itself"),
        &format!("without 10.20.1.200 on eth1 of {name} its own call fails, and `forebay trace` says why:"),
    );
    screen.note(&format!("      {why}"));
    Ok(())
}

fn table(failovers: &[Failover]) -> String {
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let mut text = format!(
        "   {:<18}{:<14}{:>12}{:>12}{:>10}{:>18}\n",
        "failover", "from, to", "take-over", "balancer", "at most", "without service"
    );
    for failover in failovers {
        let Failover { loss, from, to, take_over, balancer, without_service } = failover;
        text += &format!(
            "   {:<18}{:<14}{:>12}{:>12}{:>10}{:>18}\n",
            loss.words(),
            format!("{from}, {to}"),
            seconds(*take_over),
            seconds(*balancer),
            seconds(BOUND),
            seconds(*without_service)
        );
    }
    text += &format!(
        "\n   take-over: until the other server answered its probe, which is the cluster's part (a lease of {:.1} s)\n   \
         balancer: from there until all new connections went to it; {THRESHOLD} × {} s + 100 ms at most (CLUS-1)",
        witness::LEASE.as_secs_f64(),
        INTERVAL.as_secs()
    );
    text
}

/// When a server was taken for active, or for one that is not any more.
pub struct Turn {
    server: String,
    is_up: bool,
    /// Since midnight.
    at: Duration,
}

/// The longest time for which two servers were taken for active; the turns are in their order.
fn longest_with_two(turns: &[Turn]) -> Duration {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let (mut up, mut since, mut longest) = (BTreeSet::new(), None, Duration::ZERO);
    for turn in turns {
        if let Some(since) = since {
            let passed = turn.at.checked_sub(since).unwrap_or_else(|| turn.at + DAY - since);
            longest = longest.max(passed);
        }
        if turn.is_up {
            up.insert(&turn.server)
        } else {
            up.remove(&turn.server)
        };
        since = (up.len() > 1).then(|| since.unwrap_or(turn.at));
    }
    longest
}

/// An address of the cluster's segment.
fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::from((address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_what_the_probe_settings_imply() {
        // CLUS-1
        assert_eq!(BOUND, INTERVAL * THRESHOLD + Duration::from_millis(100));
    }

    #[test]
    fn the_time_with_two_is_from_one_coming_up_to_the_other_going_down() {
        // CLUS-2
        let turn = |(server, is_up, at): (&str, bool, u64)| Turn {
            server: server.to_owned(),
            is_up,
            at: Duration::from_secs(at),
        };
        let apart = [("vm1", true, 1), ("vm1", false, 5), ("vm2", true, 6)].map(turn);
        assert_eq!(longest_with_two(&apart), Duration::ZERO);
        let over_midnight = [("vm1", true, 1), ("vm2", true, 86_399), ("vm1", false, 2)].map(turn);
        assert_eq!(longest_with_two(&over_midnight), Duration::from_secs(3));
    }
}
