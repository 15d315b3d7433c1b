//! Segments, hosts and time: where frames are, and where they go next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use model::Source;
use plane::row::Mac;
use plane::{Pass, Reason, Verdict};

use crate::balancer::{Balancer, Refused, Seen};
use crate::chance::Chance;
use crate::frame::{Content, Frame, Packet, Transport, Unreadable};
use crate::host::{Host, Leaving};
use crate::session::{Open, Session};

/// How long a frame is under way from one station to the next.
const ON_THE_WIRE: Duration = Duration::from_micros(20);
/// How often the control plane looks after what has changed by itself.
const LOOK: Duration = Duration::from_secs(15);
/// How often somebody is asked for that does not answer.
const ASKED: usize = 5;

/// A segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentId(pub(crate) usize);

/// A host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub(crate) usize);

/// A whole world, at one moment of its time.
#[derive(Debug)]
pub struct Simulation {
    now: Duration,
    pub(crate) chance: Chance,
    segments: Vec<Vec<(HostId, u32)>>,
    pub(crate) hosts: Vec<Host>,
    in_flight: BTreeMap<(Duration, u64), Arrival>,
    sent: u64,
    /// Frames of a thousand that are lost.
    loss: u64,
    balancer: Option<(HostId, Balancer)>,
    next_look: Duration,
    pub(crate) sessions: BTreeMap<Session, Open>,
    pub(crate) opened: u64,
    verdicts: Option<Vec<Event>>,
    pub(crate) faults: Vec<Fault>,
}

#[derive(Debug)]
struct Arrival {
    host: HostId,
    link: u32,
    bytes: Vec<u8>,
}

/// Something that was seen while [`Simulation::watch`] was on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The data plane has decided about a frame. (Not about ARP and neighbour discovery.)
    Verdict(Verdict),
    /// A packet has reached a program on this host.
    Heard(String, Packet),
}

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A host got a frame with a wrong checksum.
    Checksum {
        /// Who got it.
        host: String,
        /// Whose checksum.
        of: &'static str,
    },
    /// A client was answered by somebody it had not called (FIP-3).
    Stranger {
        /// Who answered.
        from: SocketAddr,
        /// The client's side.
        to: SocketAddr,
    },
    /// A packet to a frontend was given to the balancer host's own stack (RULE-2).
    HandedToHost {
        /// The frontend.
        to: SocketAddr,
    },
    /// A frame that is the host's was changed.
    PassedChanged(Pass),
    /// A session whose member is there was answered by another one (DIST-2).
    Moved {
        /// Which session.
        session: Session,
        /// Whose it was.
        from: String,
        /// Who answered.
        to: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum { host, of } => write!(f, "{host} got a frame with a wrong {of} checksum"),
            Self::Stranger { from, to } => write!(f, "{to} was answered by {from}, which it did not call"),
            Self::HandedToHost { to } => write!(f, "a packet to {to} was given to the balancer host"),
            Self::PassedChanged(why) => write!(f, "a frame was changed and then passed ({why:?})"),
            Self::Moved { session, from, to } => {
                write!(f, "session {} of {from} was answered by {to}", session.0)
            }
        }
    }
}

impl Simulation {
    /// An empty world; `seed` decides about everything that is left to chance.
    pub fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            chance: Chance::new(seed),
            segments: Vec::new(),
            hosts: Vec::new(),
            in_flight: BTreeMap::new(),
            sent: 0,
            loss: 0,
            balancer: None,
            next_look: LOOK,
            sessions: BTreeMap::new(),
            opened: 0,
            verdicts: None,
            faults: Vec::new(),
        }
    }

    /// Adds a segment.
    pub fn segment(&mut self) -> SegmentId {
        self.segments.push(Vec::new());
        SegmentId(self.segments.len() - 1)
    }

    /// Adds a host.
    pub fn host(&mut self, name: &str) -> HostId {
        self.hosts.push(Host::new(name));
        HostId(self.hosts.len() - 1)
    }

    /// Gives a host a link to a segment, with these addresses, and tells the link's interface index.
    pub fn attach(&mut self, host: HostId, segment: SegmentId, addresses: &[(IpAddr, u8)]) -> u32 {
        let HostId(number) = host;
        let Some(at) = self.hosts.get_mut(number) else { return 0 };
        let link = at.links.len() as u32 + 2;
        let mac = Mac::new([2, 0, (number >> 8) as u8, number as u8, 0, link as u8]);
        at.links.push(crate::host::Link { segment, mac, received: 0, sent: 0 });
        for (address, length) in addresses {
            at.add_address(link, *address, *length);
        }
        if let Some(stations) = self.segments.get_mut(segment.0) {
            stations.push((host, link));
        }
        link
    }

    /// A route: `via` a router, or without one to a segment.
    pub fn route(&mut self, host: HostId, to: (IpAddr, u8), link: u32, via: Option<IpAddr>) {
        self.change(host, |host| host.add_route(to.0, to.1, link, via));
    }

    /// An address on the loopback: the host takes its packets, and never says that it has it.
    pub fn loopback(&mut self, host: HostId, address: IpAddr) {
        self.change(host, |host| host.add_loopback(address));
    }

    /// Makes a host pass on what is for others.
    pub fn forward(&mut self, host: HostId) {
        self.change(host, |host| host.forwards = true);
    }

    /// Starts a server that says who it is.
    pub fn serve(&mut self, host: HostId, transport: Transport, at: SocketAddr, instance: &str) {
        self.change(host, |host| host.programs.serve(transport, at, instance));
    }

    /// A host that hears and says nothing any more, as if its power was cut; or is back, as it was.
    pub fn silence(&mut self, host: HostId, silent: bool) {
        self.change(host, |host| host.silent = silent);
    }

    fn change(&mut self, host: HostId, change: impl FnOnce(&mut Host)) {
        if let Some(host) = self.hosts.get_mut(host.0) {
            change(host);
        }
    }

    /// The name of a host.
    pub fn name(&self, host: HostId) -> &str {
        self.hosts.get(host.0).map_or("", |host| &host.name)
    }

    /// How many frames of a thousand are lost from now on.
    pub fn lose(&mut self, of_a_thousand: u64) {
        self.loss = of_a_thousand;
    }

    /// Time since the world began.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Bytes that a host's links have received and sent.
    pub fn carried(&self, host: HostId) -> (u64, u64) {
        let links = || self.hosts.get(host.0).into_iter().flat_map(|host| &host.links);
        (links().map(|link| link.received).sum(), links().map(|link| link.sent).sum())
    }

    /// The hosts that have served requests of a session, by name, and how many.
    pub fn served(&self, session: Session) -> BTreeMap<&str, u64> {
        self.hosts
            .iter()
            .filter_map(|host| Some((host.name.as_str(), *host.programs.served.get(&session.0)?)))
            .collect()
    }

    /// What must never happen and did.
    pub fn faults(&self) -> Vec<Fault> {
        let strangers = self.hosts.iter().flat_map(|host| &host.programs.strangers);
        let strangers = strangers.map(|(from, to)| Fault::Stranger { from: *from, to: *to });
        self.faults.iter().cloned().chain(strangers).collect()
    }

    /// Begins to note what happens to packets.
    pub fn watch(&mut self) {
        self.verdicts = Some(Vec::new());
        for host in &mut self.hosts {
            host.programs.heard = Some(Vec::new());
        }
    }

    /// What has happened since [`Self::watch`]; nothing more is noted.
    pub fn watched(&mut self) -> Vec<Event> {
        let mut events = self.verdicts.take().unwrap_or_default();
        for host in &mut self.hosts {
            let heard = host.programs.heard.take().unwrap_or_default();
            events.extend(heard.into_iter().map(|packet| Event::Heard(host.name.clone(), packet)));
        }
        events
    }

    /// A packet leaves a host.
    pub fn send(&mut self, host: HostId, packet: Packet) {
        let leaving = self.hosts.get_mut(host.0).map(|host| host.send(packet));
        self.transmit(host, leaving.unwrap_or_default());
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.in_flight.first_key_value().map(|((at, _), _)| *at);
            match next {
                Some(at) if at <= self.next_look.min(end) => {
                    self.now = self.now.max(at);
                    if let Some((_, arrival)) = self.in_flight.pop_first() {
                        self.arrive(arrival);
                    }
                }
                _ if self.next_look <= end => {
                    self.now = self.next_look;
                    self.next_look += LOOK;
                    self.look();
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// Lets time pass until no frame is under way.
    pub fn settle(&mut self) {
        while let Some(((at, _), _)) = self.in_flight.first_key_value() {
            let until = at.saturating_sub(self.now);
            self.pass(until);
        }
    }

    fn transmit(&mut self, host: HostId, leaving: Vec<Leaving>) {
        for (link, frame) in leaving {
            self.launch(host, link, frame.bytes());
        }
    }

    fn launch(&mut self, host: HostId, index: u32, bytes: Vec<u8>) {
        let Some(link) = self.hosts.get_mut(host.0).and_then(|host| host.link_mut(index)) else { return };
        link.sent += bytes.len() as u64;
        let segment = link.segment;
        if self.loss > 0 && self.chance.below(1_000) < self.loss {
            return;
        }
        let Some(station) = bytes.first_chunk::<6>().map(|bytes| Mac::new(*bytes)) else { return };
        let stations = self.segments.get(segment.0).into_iter().flatten();
        let hears = |(other, link): &&(HostId, u32)| {
            let mac = self.hosts.get(other.0).and_then(|host| host.link(*link)).map(|link| link.mac);
            (*other, *link) != (host, index) && (station.is_group() || mac == Some(station))
        };
        let hearers: Vec<(HostId, u32)> = stations.filter(hears).copied().collect();
        for (host, link) in hearers {
            self.sent += 1;
            let arrival = Arrival { host, link, bytes: bytes.clone() };
            self.in_flight.insert((self.now + ON_THE_WIRE, self.sent), arrival);
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        let Arrival { host, link, mut bytes } = arrival;
        let Some(at) = self.hosts.get_mut(host.0) else { return };
        if let Some(link) = at.link_mut(link) {
            link.received += bytes.len() as u64;
        }
        if let Some((_, balancer)) = self.balancer.as_mut().filter(|(on, _)| *on == host) {
            let before = bytes.clone();
            let verdict = balancer.run(&mut bytes, link, self.now);
            let readable = Frame::read(&before);
            if let (Some(events), Ok(Content::Packet(_))) =
                (&mut self.verdicts, readable.map(|frame| frame.content))
            {
                events.push(Event::Verdict(verdict));
            }
            match verdict {
                Verdict::Pass(why) => self.check_passed(&before, &bytes, why),
                Verdict::Drop(_) => return,
                Verdict::Send(link, _) => return self.launch(host, link, bytes),
                Verdict::Route(_) => return self.route_on(host, &bytes),
            }
        }
        let Some(frame) = self.read(host, &bytes) else { return };
        let leaving = self.hosts.get_mut(host.0).map(|host| host.receive(link, frame));
        self.transmit(host, leaving.unwrap_or_default());
    }

    /// What the data plane hands to the host's routes has its hop limit lowered already.
    fn route_on(&mut self, host: HostId, bytes: &[u8]) {
        if let Some(Frame { content: Content::Packet(packet), .. }) = self.read(host, bytes) {
            self.send(host, packet);
        }
    }

    fn check_passed(&mut self, before: &[u8], after: &[u8], why: Pass) {
        if before != after {
            self.faults.push(Fault::PassedChanged(why));
        }
        let Ok(Frame { content: Content::Packet(packet), .. }) = Frame::read(before) else { return };
        let to = packet.destination;
        if self.balancer.as_ref().is_some_and(|(_, balancer)| balancer.answers_for(to.ip())) {
            self.faults.push(Fault::HandedToHost { to });
        }
    }

    fn read(&mut self, host: HostId, bytes: &[u8]) -> Option<Frame> {
        match Frame::read(bytes) {
            Ok(frame) => Some(frame),
            Err(Unreadable::Checksum(of)) => {
                let host = self.name(host).to_owned();
                self.faults.push(Fault::Checksum { host, of });
                None
            }
            Err(Unreadable::Cut | Unreadable::Foreign) => None,
        }
    }
}

/// The balancer.
impl Simulation {
    /// Attaches the data plane to all links of a host, and starts the control plane with nothing wanted.
    pub fn balance(&mut self, host: HostId, own: &[IpAddr]) {
        let links = self.hosts.get(host.0).map(Host::ports).unwrap_or_default();
        self.balancer = Some((host, Balancer::new(links, own)));
    }

    /// Changes what is wanted, as when the documents on disk change, and applies all of it. Gives the number of changes; where the
    /// control plane does not run there are none, and it finds the documents when it starts.
    ///
    /// # Errors
    /// A document is refused, or there is no room; then nothing changes.
    pub fn want(&mut self, documents: &[Source]) -> Result<usize, Refused> {
        self.plan(documents)?;
        Ok(self.apply_changes(usize::MAX))
    }

    /// Like [`Self::want`], but applies none of the changes yet. Gives their number.
    ///
    /// # Errors
    /// A document is refused, or there is no room; then nothing changes.
    pub fn plan(&mut self, documents: &[Source]) -> Result<usize, Refused> {
        let desired = model::check(documents).map_err(Refused::Invalid)?;
        let members = desired.pools().iter().flat_map(|pool| pool.members()).map(|it| it.address()).collect();
        self.resolve(&members);
        self.look_around(&members);
        self.with_balancer(Ok(0), |balancer| balancer.want(desired))
    }

    /// Applies at most so many of the changes that are planned, and tells how many it were.
    pub fn apply_changes(&mut self, at_most: usize) -> usize {
        self.with_balancer(0, |balancer| balancer.apply(at_most))
    }

    /// Kills the control plane, perhaps in the middle of its changes. The data plane stays.
    pub fn kill(&mut self) {
        self.with_balancer((), Balancer::kill);
    }

    /// Starts the control plane on what the data plane has: plans the way from there to what is wanted and gives the number of
    /// changes, none of which is applied yet.
    ///
    /// # Errors
    /// There is no room for what is wanted.
    pub fn start(&mut self) -> Result<usize, Refused> {
        let members = self.with_balancer(BTreeSet::new(), |balancer| balancer.members());
        self.resolve(&members);
        self.look_around(&members);
        self.with_balancer(Ok(0), Balancer::start)
    }

    /// Whether the control plane runs.
    pub fn is_running(&self) -> bool {
        self.balancer.as_ref().is_some_and(|(_, balancer)| balancer.is_running())
    }

    /// A probe's result: a member (by the name that `Desired` gives the probe) is found up or down.
    pub fn find(&mut self, probe: &str, member: IpAddr, up: bool) {
        self.with_balancer((), |balancer| balancer.find(probe, member, up));
        self.look();
    }

    /// What the balancer shows.
    pub fn seen(&self) -> Seen<'_> {
        Seen { balancer: self.balancer.as_ref().map(|(_, balancer)| balancer), now: self.now }
    }

    /// Packets that ended for this reason, by its name.
    pub fn counted(&self, reason: &str) -> u64 {
        let number = Reason::ALL.iter().find(|(_, _, name)| *name == reason).map(|it| it.0);
        let count = |reason| self.balancer.as_ref().map_or(0, |(_, balancer)| balancer.counted(reason));
        number.map_or(0, count)
    }

    fn with_balancer<T>(&mut self, otherwise: T, act: impl FnOnce(&mut Balancer) -> T) -> T {
        let Some((_, balancer)) = &mut self.balancer else { return otherwise };
        act(balancer)
    }

    fn look_around(&mut self, members: &BTreeSet<IpAddr>) {
        let Some((host, balancer)) = &mut self.balancer else { return };
        if let Some(host) = self.hosts.get(host.0) {
            balancer.look_around(host, members, self.now);
        }
    }

    fn look(&mut self) {
        let members = self.with_balancer(BTreeSet::new(), |balancer| balancer.members());
        self.ask_for(&members);
        self.look_around(&members);
        self.with_balancer((), Balancer::look);
    }

    /// Asks for members until all have answered, or have been asked often enough.
    fn resolve(&mut self, members: &BTreeSet<IpAddr>) {
        for _ in 0..ASKED {
            if !self.ask_for(members) {
                return;
            }
            self.settle();
        }
    }

    /// Asks for the next stations on the way to these addresses. Is anybody not known?
    fn ask_for(&mut self, members: &BTreeSet<IpAddr>) -> bool {
        let Some(id) = self.balancer.as_ref().map(|(host, _)| *host) else { return false };
        let Some(host) = self.hosts.get(id.0) else { return false };
        let unknown: BTreeSet<(u32, IpAddr)> = members
            .iter()
            .filter_map(|member| host.way(*member))
            .filter(|(_, next)| host.neighbour(*next).is_none())
            .collect();
        let leaving: Vec<Leaving> = unknown.iter().flat_map(|(link, next)| host.ask(*link, *next)).collect();
        self.transmit(id, leaving);
        !unknown.is_empty()
    }
}
