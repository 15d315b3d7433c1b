//! The stage of the simulator: the same hosts as on the real one, in this process, on time that is counted. The engine and the
//! pipeline are the ones that forward real packets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sim::{Broken, HostId, Simulation};

use super::setting::{
    BALANCER, CLIENT, FRONTENDS, MEMBERS, Member, SEGMENT_LENGTH, SERVICES, VM1, VM2, document,
    floating_frontends,
};
use super::stage::{
    Answer, Carried, FrontendStats, InterfaceStats, Knock, MemberStats, Session, Stage, Stats, Transport,
    Trouble,
};

/// Said before the first step.
pub const WHAT_THIS_IS: &str = "\
Everything from here on is simulated: the hosts, their wires and their clocks are values in this process, and
nothing on this machine is touched. The balancer is the real one: its documents, its engine and its packet
pipeline, which sees real frames. Where a step says `kill -9`, the simulated control plane ends; where it says
`in the kernel`, it is the same pipeline on tables in memory.";

/// The same demo every time.
const SEED: u64 = 1;
/// How long a first packet waits for an answer.
const KNOCK: Duration = Duration::from_millis(400);
/// How many looks at the balancer a start takes.
const START: usize = 5;
/// The first of the client's ports.
const FIRST_PORT: u16 = 32_768;

/// Simulated hosts.
#[derive(Debug)]
pub struct Simulated {
    simulation: Simulation,
    stop: Arc<AtomicBool>,
    client: HostId,
    balancer: HostId,
    sessions: BTreeMap<Session, sim::Session>,
    opened: u64,
    next_port: u16,
    /// Changes of a start that is under way, and in how many looks it will be over.
    starting: Option<(usize, usize)>,
}

impl Simulated {
    /// Makes the hosts and their servers and starts the balancer.
    pub fn set_up(stop: Arc<AtomicBool>) -> Result<Self, Trouble> {
        let mut simulation = Simulation::new(SEED);
        let lan = simulation.segment();
        let mut host = |name: &str, address: IpAddr| {
            let host = simulation.host(name);
            let link = simulation.attach(host, lan, &[(address, SEGMENT_LENGTH)]);
            (host, link)
        };
        let (client, link) = host("client", CLIENT.into());
        let (balancer, _) = host("balancer", BALANCER.into());
        let members = MEMBERS.map(|member| (member, host(member.name, member.address.into()).0));
        simulation.route(client, frontends()?, link, None);
        for (member, host) in members {
            serve(&mut simulation, host, member);
        }
        simulation.balance(balancer, &[BALANCER.into()]);
        let mut stage = Self {
            simulation,
            stop,
            client,
            balancer,
            sessions: BTreeMap::new(),
            opened: 0,
            next_port: FIRST_PORT,
            starting: None,
        };
        stage.apply(&[VM1, VM2])?;
        Ok(stage)
    }

    /// What is to be said after the summary.
    pub fn last_words(&self) -> String {
        let faults = self.simulation.faults();
        let mut words = format!(
            "   All of it was simulated: {:.0} s of simulated time, and the same every time.",
            self.simulation.now().as_secs_f64()
        );
        for fault in faults {
            words += &format!("\n   and this should never have happened: {fault}");
        }
        words
    }

    fn check_stop(&self) -> Result<(), Trouble> {
        if self.stop.load(Ordering::Relaxed) { Err(Trouble::Interrupted) } else { Ok(()) }
    }

    fn session(&self, session: Session) -> Result<sim::Session, Trouble> {
        self.check_stop()?;
        self.sessions.get(&session).copied().ok_or_else(|| Trouble::Failed(format!("{session:?} is closed")))
    }

    fn next_client(&mut self) -> SocketAddr {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        SocketAddr::new(CLIENT.into(), port)
    }
}

impl Stage for Simulated {
    fn made_of(&self) -> String {
        format!("simulated hosts on a simulated segment, from seed {SEED}; engine and pipeline as they are")
    }

    fn now(&self) -> Duration {
        self.simulation.now()
    }

    fn pass(&mut self, time: Duration) -> Result<(), Trouble> {
        self.check_stop()?;
        self.simulation.pass(time);
        Ok(())
    }

    fn apply(&mut self, members: &[Member]) -> Result<String, Trouble> {
        self.check_stop()?;
        if !self.simulation.is_running() {
            return Err(Trouble::Failed("the simulated control plane is not running".to_owned()));
        }
        let source = model::Source { name: "lb.json".to_owned(), text: document(members).to_string() };
        match self.simulation.want(&[source]) {
            Ok(changes) => Ok(format!("applied: {changes} changes")),
            Err(refused) => {
                Err(Trouble::Failed(format!("the balancer did not take the document: {refused}")))
            }
        }
    }

    fn kill_balancer(&mut self) -> Result<(), Trouble> {
        self.check_stop()?;
        self.simulation.kill();
        Ok(())
    }

    fn start_balancer(&mut self) -> Result<(), Trouble> {
        self.check_stop()?;
        let planned = self.simulation.start().map_err(|refused| Trouble::Failed(refused.to_string()))?;
        self.starting = Some((planned, START));
        Ok(())
    }

    fn balancer_is_ready(&mut self) -> Result<bool, Trouble> {
        self.check_stop()?;
        match self.starting {
            None => Ok(self.simulation.is_running()),
            Some((_, 0)) => {
                self.simulation.apply_changes(usize::MAX);
                self.starting = None;
                Ok(true)
            }
            Some((planned, looks)) => {
                self.simulation.apply_changes(planned / START);
                self.starting = Some((planned, looks - 1));
                Ok(false)
            }
        }
    }

    fn open(&mut self, transport: Transport, to: SocketAddr) -> Result<Session, Trouble> {
        self.check_stop()?;
        let from = self.next_client();
        let opened = self.simulation.open(self.client, simulated(transport), from, to);
        let opened = opened.map_err(|broken| trouble(broken, &format!("{from} calls {to}")))?;
        self.opened += 1;
        let session = Session(self.opened);
        self.sessions.insert(session, opened);
        Ok(session)
    }

    fn ask(&mut self, session: Session) -> Result<Answer, Trouble> {
        let asked = self.session(session)?;
        let answer = self.simulation.ask(asked).map_err(|broken| trouble(broken, "a question"))?;
        Ok(Answer {
            member: answer.member,
            instance: answer.instance,
            client: answer.client,
            client_seen: answer.client_seen,
            destination_seen: answer.called_seen,
        })
    }

    fn download(&mut self, session: Session, bytes: u64) -> Result<u64, Trouble> {
        let asked = self.session(session)?;
        let bytes = u32::try_from(bytes).map_err(|_| Trouble::Failed("that is too much".to_owned()))?;
        self.simulation.download(asked, bytes).map_err(|broken| trouble(broken, "a download"))
    }

    fn close(&mut self, session: Session) {
        if let Some(session) = self.sessions.remove(&session) {
            self.simulation.close(session);
        }
    }

    fn knock(&mut self, transport: Transport, to: SocketAddr) -> Result<Knock, Trouble> {
        self.check_stop()?;
        let from = self.next_client();
        Ok(match self.simulation.knock(self.client, simulated(transport), from, to, KNOCK) {
            sim::Knock::Silence => Knock::Silence,
            sim::Knock::Refused => Knock::Refused,
            sim::Knock::Answered => Knock::Answered,
        })
    }

    fn carried(&mut self) -> Result<Carried, Trouble> {
        self.check_stop()?;
        let (received, sent) = self.simulation.carried(self.balancer);
        Ok(Carried { received, sent })
    }

    fn stats(&mut self) -> Result<Stats, Trouble> {
        self.check_stop()?;
        let seen = self.simulation.seen();
        let frontends = SERVICES.map(|service| service.frontend);
        let frontend = |address: &std::net::Ipv4Addr| FrontendStats {
            address: address.to_string(),
            unmatched: seen.unmatched((*address).into()),
        };
        let mut frontends: Vec<FrontendStats> = frontends.iter().map(frontend).collect();
        frontends.sort_by(|one, other| one.address.cmp(&other.address));
        frontends.dedup();
        Ok(Stats {
            interfaces: vec![InterfaceStats { name: "eth0".to_owned(), mode: "simulated".to_owned() }],
            frontends,
            members: seen.members().iter().map(member_stats).collect(),
        })
    }
}

/// The servers of a member, and the addresses it carries on its loopback.
fn serve(simulation: &mut Simulation, host: HostId, member: Member) {
    for frontend in floating_frontends() {
        simulation.loopback(host, frontend.into());
    }
    for service in SERVICES {
        simulation.serve(host, simulated(service.transport), service.seen_at(member.address), service.name);
    }
}

fn member_stats(&(address, counts): &(IpAddr, sim::Counts)) -> MemberStats {
    let name = MEMBERS.iter().find(|member| IpAddr::V4(member.address) == address).map(|member| member.name);
    MemberStats {
        member: name.unwrap_or("?").to_owned(),
        address: address.to_string(),
        state: "ready".to_owned(),
        packets: counts.packets,
        flows: counts.flows,
    }
}

fn simulated(transport: Transport) -> sim::Transport {
    match transport {
        Transport::Tcp => sim::Transport::Tcp,
        Transport::Udp => sim::Transport::Udp,
    }
}

/// Where the frontends are, as an address and a length.
fn frontends() -> Result<(IpAddr, u8), Trouble> {
    let parts = FRONTENDS.split_once('/');
    let read = parts.and_then(|(address, length)| Some((address.parse().ok()?, length.parse().ok()?)));
    read.ok_or_else(|| Trouble::Failed(format!("{FRONTENDS} is no prefix")))
}

fn trouble(broken: Broken, what: &str) -> Trouble {
    match broken {
        Broken::Silence => Trouble::Silence(what.to_owned()),
        Broken::Reset => Trouble::Failed(format!("{what}: the connection was reset")),
        Broken::Unknown => Trouble::Failed(format!("{what}: there is no such session")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenario::{Outcome, play};
    use super::super::screen::Screen;
    use super::*;

    // DIST-2, DIST-6, FIP-1, FIP-2, FIP-3, FLOW-3, FLOW-7, RULE-2
    #[test]
    fn every_step_holds_in_the_simulator() {
        let mut out = Vec::new();
        let mut stage = Simulated::set_up(Arc::default()).unwrap();
        let outcome = play(&mut stage, &mut Screen::new(&mut out, false));
        let text = String::from_utf8(out).unwrap();
        assert_eq!(outcome, Outcome::Held, "{text}");
        assert!(text.contains("made of: simulated hosts"), "{text}");
        assert!(text.contains("data path on the balancer's eth0: simulated XDP"), "{text}");
        assert_eq!(stage.simulation.faults(), [], "{text}");
        assert_eq!(stage.last_words().lines().count(), 1);
    }

    #[test]
    fn the_simulated_demo_succeeds_and_says_what_it_is() {
        let mut out = Vec::new();
        let code = super::super::simulate(&mut Screen::new(&mut out, false), true, Arc::default());
        let text = String::from_utf8(out).unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::SUCCESS), "{text}");
        assert!(text.starts_with("Everything from here on is simulated"), "{text}");
        assert!(text.contains("9 of 9 steps held"), "{text}");
        assert!(text.contains("There is nothing to keep"), "{text}");
    }

    #[test]
    fn a_signal_ends_the_simulated_demo_too() {
        let stop = Arc::new(AtomicBool::new(false));
        let mut stage = Simulated::set_up(stop.clone()).unwrap();
        stop.store(true, Ordering::Relaxed);
        let mut out = Vec::new();
        assert_eq!(play(&mut stage, &mut Screen::new(&mut out, false)), Outcome::Interrupted);
    }

    #[test]
    fn a_balancer_that_is_killed_takes_no_document() {
        let mut stage = Simulated::set_up(Arc::default()).unwrap();
        stage.kill_balancer().unwrap();
        let refused = stage.apply(&[VM1]).unwrap_err();
        assert_eq!(refused.to_string(), "the simulated control plane is not running");
        stage.start_balancer().unwrap();
        while !stage.balancer_is_ready().unwrap() {}
        assert!(stage.apply(&[VM1]).unwrap().starts_with("applied: "));
    }
}
