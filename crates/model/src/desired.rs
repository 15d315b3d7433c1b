//! What is wanted of the data plane: everything resolved, nothing left to check.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    AdminState, Distribution, IdleTimeout, NatPorts, NoHealthyBackendsBehavior, Port, ReturnPath, Weight,
};

/// What all documents together ask for. It comes from `check` only, so holding one is the proof that it is
/// valid; the default asks for nothing. Sorted, so that the same documents, after the same ports of members, always give the same value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub(crate) frontends: Vec<Frontend>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) probes: Vec<Probe>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) nat_ranges: Vec<NatRange>,
    pub(crate) lists: Vec<SecurityList>,
    pub(crate) nat_ports: NatPorts,
}

impl Desired {
    /// Every frontend, by address; also those no rule uses.
    #[must_use]
    pub fn frontends(&self) -> &[Frontend] {
        &self.frontends
    }

    /// Every pool, by name.
    #[must_use]
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// Every rule, by frontend address, protocol and port.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The ranges of inbound NAT rules. [`Self::rules`] has a rule for each of their ports that leads to a member.
    #[must_use]
    pub fn nat_ranges(&self) -> &[NatRange] {
        &self.nat_ranges
    }

    /// Whom rules admit, by [`Rule::list`].
    #[must_use]
    pub fn lists(&self) -> &[SecurityList] {
        &self.lists
    }

    /// Every probe, by name; also those no rule uses.
    #[must_use]
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// The probe that finds out which members a rule may lead to. Without one they are all up (PROBE-4).
    ///
    /// # Panics
    /// When the rule is of another `Desired` with more probes.
    #[must_use]
    pub fn probe_of(&self, rule: &Rule) -> Option<&Probe> {
        rule.probe.map(|index| &self.probes[index.0])
    }

    /// The members that a rule leads to: those of its pool that are of its frontend's family, by address; or the one it is for.
    ///
    /// # Panics
    /// When the rule is of another `Desired` with more pools.
    pub fn members_of(&self, rule: &Rule) -> impl Iterator<Item = &Member> + use<'_> {
        let (v4, only) = (rule.frontend.is_ipv4(), rule.only);
        let members = self.pool(rule.pool).members.iter();
        members.filter(move |it| it.address.is_ipv4() == v4 && only.is_none_or(|only| it.address == only))
    }

    /// Whether a rule leads to one member, now and later: there is nobody to choose (NAT-1).
    ///
    /// # Panics
    /// When the rule is of another `Desired` with more pools.
    #[must_use]
    pub fn is_direct(&self, rule: &Rule) -> bool {
        rule.only.is_some() || self.pool(rule.pool).sole
    }

    /// The ports that members have in the ranges of inbound NAT rules. The next documents are judged after these.
    #[must_use]
    pub const fn nat_ports(&self) -> &NatPorts {
        &self.nat_ports
    }

    /// The rules of one frontend.
    #[must_use]
    pub fn rules_at(&self, frontend: IpAddr) -> &[Rule] {
        let from = self.rules.partition_point(|rule| rule.frontend < frontend);
        let to = self.rules.partition_point(|rule| rule.frontend <= frontend);
        &self.rules[from..to]
    }

    /// Where the pool of this name (`load balancer/pool`) is.
    #[must_use]
    pub fn pool_named(&self, name: &str) -> Option<PoolIndex> {
        self.pools.binary_search_by(|pool| pool.name.as_str().cmp(name)).ok().map(PoolIndex)
    }

    /// The pool a rule leads to.
    ///
    /// # Panics
    /// When the index is of another `Desired` with more pools.
    #[must_use]
    pub fn pool(&self, index: PoolIndex) -> &Pool {
        &self.pools[index.0]
    }
}

/// An address clients call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) echo: bool,
}

impl Frontend {
    /// `load balancer/frontend`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether echo requests to it are answered while it has somebody who serves (ICMP-2).
    #[must_use]
    pub const fn echo(&self) -> bool {
        self.echo
    }
}

/// Members that serve alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    pub(crate) name: String,
    pub(crate) members: Vec<Member>,
    pub(crate) return_path: ReturnPath,
    pub(crate) drain: Duration,
    /// It is the target of an inbound NAT rule.
    pub(crate) sole: bool,
}

impl Pool {
    /// `load balancer/pool`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its members by address, IPv4 before IPv6. A rule uses those of its frontend's family.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How answers get back where the balancer rewrites packets.
    #[must_use]
    pub const fn return_path(&self) -> ReturnPath {
        self.return_path
    }

    /// How long a member that leaves keeps its connections (FLOW-3); zero is not at all.
    #[must_use]
    pub const fn drain(&self) -> Duration {
        self.drain
    }
}

/// One machine of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) admin: AdminState,
    pub(crate) weight: Weight,
}

impl Member {
    /// Its name within the pool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Its health by order, for rules that have a probe (FLOW-4).
    #[must_use]
    pub const fn admin(&self) -> AdminState {
        self.admin
    }

    /// Its share of new flows beside those of the pool's other members (DIST-9).
    #[must_use]
    pub const fn weight(&self) -> Weight {
        self.weight
    }
}

/// Whom a rule admits (ACL-1): a packet must be allowed by each of the groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecurityList {
    pub(crate) groups: Vec<Vec<ListedRule>>,
}

impl SecurityList {
    /// Security groups. Of each the first rule decides that speaks of the packet's source; the last one speaks of every source.
    pub fn groups(&self) -> impl Iterator<Item = &[ListedRule]> {
        self.groups.iter().map(Vec::as_slice)
    }

    /// All their rules.
    pub fn rules(&self) -> impl Iterator<Item = &ListedRule> {
        self.groups.iter().flatten()
    }
}

/// A security rule, as far as it concerns a rule of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedRule {
    pub(crate) name: Arc<str>,
    pub(crate) allows: bool,
    /// The first and the last address of each range; thousands, which the lists of many rules share.
    pub(crate) sources: Arc<[(IpAddr, IpAddr)]>,
}

impl ListedRule {
    /// `security group/rule`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether packets that it speaks of may pass.
    #[must_use]
    pub const fn allows(&self) -> bool {
        self.allows
    }

    /// The sources of one family that it speaks of: the first and the last address of each range.
    pub fn sources(&self, v4: bool) -> impl Iterator<Item = (IpAddr, IpAddr)> + '_ {
        self.sources.iter().copied().filter(move |(first, _)| first.is_ipv4() == v4)
    }
}

/// How the health of members is found out: whoever answers `ask` at `port` is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub(crate) name: String,
    pub(crate) ask: Ask,
    pub(crate) port: Port,
    pub(crate) interval: Duration,
    pub(crate) threshold: u32,
    pub(crate) all_down: NoHealthyBackendsBehavior,
}

/// What a member is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// To complete a TCP handshake.
    Tcp,
    /// For this path over HTTP.
    Http(String),
    /// For this path over HTTPS, whatever the certificate.
    Https(String),
}

impl Probe {
    /// The longest that an answer is waited for.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// `load balancer/probe`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What members are asked.
    #[must_use]
    pub const fn ask(&self) -> &Ask {
        &self.ask
    }

    /// The port of the member's own address that is asked.
    #[must_use]
    pub const fn port(&self) -> Port {
        self.port
    }

    /// What is asked, in words: `Tcp 8080`, `Http 8080 /alive`.
    #[must_use]
    pub fn asks(&self) -> String {
        match &self.ask {
            Ask::Tcp => format!("Tcp {}", self.port),
            Ask::Http(path) => format!("Http {} {path}", self.port),
            Ask::Https(path) => format!("Https {} {path}", self.port),
        }
    }

    /// From the start of one attempt to the start of the next: at least 100 ms (PROBE-2).
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// How long an attempt may take, from its start: the interval, 30 s at most (PROBE-1).
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.interval.min(Self::PATIENCE)
    }

    /// How many equal results in a row change a member's state: 1 to 100 (PROBE-3).
    #[must_use]
    pub const fn threshold(&self) -> u32 {
        self.threshold
    }

    /// What holds when all members are found down (FLOW-2).
    #[must_use]
    pub const fn all_down(&self) -> NoHealthyBackendsBehavior {
        self.all_down
    }
}

/// What arrives at a frontend and port goes to a pool and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(crate) name: String,
    pub(crate) list: Option<usize>,
    pub(crate) frontend: IpAddr,
    pub(crate) pool: PoolIndex,
    pub(crate) protocol: Protocol,
    pub(crate) frontend_port: u16,
    pub(crate) backend_port: u16,
    pub(crate) distribution: Distribution,
    pub(crate) floating: bool,
    pub(crate) idle: IdleTimeout,
    pub(crate) probe: Option<ProbeIndex>,
    pub(crate) when_down: WhenDown,
    pub(crate) hairpin: bool,
    pub(crate) after_idle: AfterIdle,
    /// The member of the pool that it is for: a port of a range is one member's.
    pub(crate) only: Option<IpAddr>,
}

impl Rule {
    /// The position of the list that says whom it admits; everybody without one.
    #[must_use]
    pub const fn list(&self) -> Option<usize> {
        self.list
    }

    /// `load balancer/rule`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address clients call.
    #[must_use]
    pub const fn frontend(&self) -> IpAddr {
        self.frontend
    }

    /// The pool it leads to.
    #[must_use]
    pub const fn pool(&self) -> PoolIndex {
        self.pool
    }

    /// What it carries.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The port clients call; 0 is all of them, with protocol All.
    #[must_use]
    pub const fn frontend_port(&self) -> u16 {
        self.frontend_port
    }

    /// The port of the members; 0 is the one that was called, with protocol All.
    #[must_use]
    pub const fn backend_port(&self) -> u16 {
        self.backend_port
    }

    /// Which packets of a client reach one member.
    #[must_use]
    pub const fn distribution(&self) -> Distribution {
        self.distribution
    }

    /// The one member of the pool that it leads to, where its port is that member's in a range (NAT-1).
    #[must_use]
    pub const fn only(&self) -> Option<IpAddr> {
        self.only
    }

    /// Whether members see the frontend's address as destination (FIP-2) and not their own (FIP-1).
    #[must_use]
    pub const fn floating(&self) -> bool {
        self.floating
    }

    /// How long a quiet flow is remembered.
    #[must_use]
    pub const fn idle(&self) -> IdleTimeout {
        self.idle
    }

    /// The probe that finds out who is up.
    #[must_use]
    pub const fn probe(&self) -> Option<ProbeIndex> {
        self.probe
    }

    /// What becomes of established connections when members are found down.
    #[must_use]
    pub const fn when_down(&self) -> WhenDown {
        self.when_down
    }

    /// Whether a member that calls the frontend may be led to itself (HAIR-1).
    #[must_use]
    pub const fn hairpin(&self) -> bool {
        self.hairpin
    }

    /// What becomes of connections that were silent for the idle time. It is about TCP.
    #[must_use]
    pub const fn after_idle(&self) -> AfterIdle {
        self.after_idle
    }
}

/// Ports of a frontend, each of which leads to one member of a pool, or to nobody (NAT-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatRange {
    /// The rule of its first port, for nobody in particular.
    pub(crate) rule: Rule,
    pub(crate) last: u16,
}

impl NatRange {
    /// What its ports have in common; the port is the first of them.
    #[must_use]
    pub const fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The rule of one of its ports, which leads to `member`; nothing where that is another one's port. The member may be one that has
    /// left the pool (FLOW-3).
    #[must_use]
    pub fn rule_of(&self, port: u16, member: IpAddr) -> Option<Rule> {
        let is_here = (self.rule.frontend_port..=self.last).contains(&port);
        is_here.then(|| Rule { frontend_port: port, only: Some(member), ..self.rule.clone() })
    }
}

/// What becomes of TCP connections that were silent for the idle time (FLOW-5). By default they are forgotten, and chosen afresh when
/// they speak again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AfterIdle {
    pub(crate) reset: bool,
    pub(crate) strict: bool,
}

impl AfterIdle {
    /// Whether both ends are reset.
    #[must_use]
    pub const fn reset(self) -> bool {
        self.reset
    }

    /// Whether a packet of a connection that is not kept in mind is dropped, instead of being chosen for afresh.
    #[must_use]
    pub const fn strict(self) -> bool {
        self.strict
    }
}

/// What becomes of established connections when members are found down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WhenDown {
    /// They continue (FLOW-1).
    Continue,
    /// They continue, unless all members are down (FLOW-2, Basic).
    EndWithTheLast,
    /// They are led to a member that is up, which does not know them and resets them (CLUS-1).
    Reset,
}

/// Which probe of a `Desired`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeIndex(pub(crate) usize);

impl ProbeIndex {
    /// Its position among the probes.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// Which pool of a `Desired`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolIndex(pub(crate) usize);

impl PoolIndex {
    /// Its position among the pools.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// What a rule carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// All of them, on all ports (HA-1).
    All,
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::All => "all",
        })
    }
}
