//! A ready-made surrounding: what most stories need, so that they can speak of pools and frontends only.
//!
//! ```text
//!   clients 198.51.100.0/24, 2001:db8:c::/64 ─── router ─┬─ balancer 10.0.0.2, 2001:db8:a::2
//!                                                        ├─ members 10.0.0.x, 2001:db8:a::x
//!                 frontends 203.0.113.0/24, 2001:db8:f::/64 are on this segment too, and nobody's
//!                                                        └─ router ─── members 10.0.1.x, behind a route
//! ```
//!
//! Hosts come into being when they are named. A client whose address lies on the members' segment calls from there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use model::Source;
use serde_json::{Value, json};

use crate::balancer::Refused;
use crate::frame::{Packet, Transport};
use crate::session::{Broken, Session};
use crate::simulation::{HostId, SegmentId, Simulation};

/// The balancer's own addresses.
pub const OWN: [IpAddr; 2] = [v4([10, 0, 0, 2]), v6(0xa, 2)];
const LAN_ROUTER: [IpAddr; 2] = [v4([10, 0, 0, 1]), v6(0xa, 1)];
const OUTSIDE_ROUTER: [IpAddr; 2] = [v4([198, 51, 100, 1]), v6(0xc, 1)];
const FAR_ROUTER: [IpAddr; 2] = [v4([10, 0, 1, 1]), v6(0xb, 1)];
const FRONTENDS: [IpAddr; 2] = [v4([203, 0, 113, 0]), v6(0xf, 0)];

/// A load-balancing rule, as stories speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The pool it leads to.
    pub pool: String,
    /// The port of its members.
    pub port: u16,
    /// Floating IP.
    pub floating: bool,
    /// `loadDistribution`, in Azure's words.
    pub distribution: String,
    /// `idleTimeoutInMinutes`.
    pub idle: u32,
}

/// A pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pool {
    members: BTreeSet<IpAddr>,
    gateway: bool,
}

/// What is wanted, as the document says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    pools: BTreeMap<String, Pool>,
    frontends: BTreeSet<IpAddr>,
    rules: BTreeMap<(SocketAddr, Transport), Rule>,
}

/// A balancer with its members, a router, and clients beyond it.
#[derive(Debug)]
pub struct Town {
    /// The world it is in.
    pub simulation: Simulation,
    lan: SegmentId,
    outside: SegmentId,
    far: SegmentId,
    balancer: HostId,
    hosts: BTreeMap<IpAddr, (HostId, u32)>,
    wanted: Wanted,
}

impl Town {
    /// The town of this seed, where nothing is wanted yet.
    pub fn new(seed: u64) -> Self {
        let mut simulation = Simulation::new(seed);
        let (lan, outside, far) = (simulation.segment(), simulation.segment(), simulation.segment());
        let router = simulation.host("router");
        simulation.forward(router);
        let link = simulation.attach(router, lan, &with_lengths(LAN_ROUTER));
        simulation.attach(router, outside, &with_lengths(OUTSIDE_ROUTER));
        simulation.attach(router, far, &with_lengths(FAR_ROUTER));
        for frontends in with_lengths(FRONTENDS) {
            simulation.route(router, frontends, link, None);
        }
        let balancer = simulation.host("balancer");
        simulation.forward(balancer);
        let link = simulation.attach(balancer, lan, &with_lengths(OWN));
        default_routes(&mut simulation, balancer, link, LAN_ROUTER);
        simulation.balance(balancer, &OWN);
        Self { simulation, lan, outside, far, balancer, hosts: BTreeMap::new(), wanted: Wanted::default() }
    }

    /// The balancer's host.
    pub fn balancer(&self) -> HostId {
        self.balancer
    }

    /// Makes a pool of these members. `gateway`: their answers go through the balancer.
    ///
    /// # Errors
    /// The document is refused; it stays as it was.
    pub fn pool(&mut self, name: &str, members: &[IpAddr], gateway: bool) -> Result<(), Refused> {
        let pool = Pool { members: members.iter().copied().collect(), gateway };
        self.want(|wanted| {
            wanted.pools.insert(name.to_owned(), pool);
        })
    }

    /// A frontend without a rule.
    ///
    /// # Errors
    /// The document is refused; it stays as it was.
    pub fn frontend(&mut self, address: IpAddr) -> Result<(), Refused> {
        self.want(|wanted| {
            wanted.frontends.insert(address);
        })
    }

    /// A rule at a frontend, new or changed.
    ///
    /// # Errors
    /// The document is refused; it stays as it was.
    pub fn rule(&mut self, at: SocketAddr, transport: Transport, rule: Rule) -> Result<(), Refused> {
        self.want(|wanted| {
            wanted.frontends.insert(at.ip());
            wanted.rules.insert((at, transport), rule);
        })
    }

    /// Takes a rule away; its frontend stays.
    ///
    /// # Errors
    /// The document is refused; it stays as it was.
    pub fn remove_rule(&mut self, at: SocketAddr, transport: Transport) -> Result<(), Refused> {
        self.want(|wanted| {
            wanted.rules.remove(&(at, transport));
        })
    }

    /// Another distribution for a rule.
    ///
    /// # Errors
    /// The document is refused; it stays as it was.
    pub fn distribute(&mut self, at: SocketAddr, transport: Transport, by: &str) -> Result<(), Refused> {
        self.want(|wanted| {
            if let Some(rule) = wanted.rules.get_mut(&(at, transport)) {
                rule.distribution = by.to_owned();
            }
        })
    }

    /// A member joins a pool or leaves it.
    ///
    /// # Errors
    /// The document is refused; it stays as it was.
    pub fn member(&mut self, pool: &str, member: IpAddr, joins: bool) -> Result<(), Refused> {
        self.write(pool, member, joins)?;
        self.simulation.apply_changes(usize::MAX);
        Ok(())
    }

    /// Like [`Self::member`], but none of the changes is applied yet. Gives their number.
    ///
    /// # Errors
    /// The document is refused; it stays as it was.
    pub fn write(&mut self, pool: &str, member: IpAddr, joins: bool) -> Result<usize, Refused> {
        self.plan(|wanted| {
            if let Some(pool) = wanted.pools.get_mut(pool) {
                if joins {
                    pool.members.insert(member);
                } else {
                    pool.members.remove(&member);
                }
            }
        })
    }

    /// The members of a pool.
    pub fn members(&self, pool: &str) -> Vec<IpAddr> {
        self.wanted.pools.get(pool).map(|pool| pool.members.iter().copied().collect()).unwrap_or_default()
    }

    /// The rule at a frontend.
    pub fn rule_at(&self, at: SocketAddr, transport: Transport) -> Option<&Rule> {
        self.wanted.rules.get(&(at, transport))
    }

    /// What a probe finds out about a member of a pool.
    pub fn find(&mut self, pool: &str, member: IpAddr, up: bool) {
        self.simulation.find(&format!("lb/{pool}"), member, up);
    }

    /// A host loses its power, or has it back.
    pub fn silence(&mut self, address: IpAddr, silent: bool) {
        if let Some((host, _)) = self.hosts.get(&address) {
            self.simulation.silence(*host, silent);
        }
    }

    /// Opens a session from an address and port.
    ///
    /// # Errors
    /// The connection is not accepted.
    pub fn open(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        transport: Transport,
    ) -> Result<Session, Broken> {
        let host = self.client(from.ip());
        self.simulation.open(host, transport, from, to)
    }

    /// Sends one packet from a client.
    pub fn send(&mut self, packet: Packet) {
        let host = self.client(packet.source.ip());
        self.simulation.send(host, packet);
    }

    /// Changes the document; `plan`ned and applied.
    fn want(&mut self, change: impl FnOnce(&mut Wanted)) -> Result<(), Refused> {
        self.plan(change)?;
        self.simulation.apply_changes(usize::MAX);
        Ok(())
    }

    fn plan(&mut self, change: impl FnOnce(&mut Wanted)) -> Result<usize, Refused> {
        let mut wanted = self.wanted.clone();
        change(&mut wanted);
        self.furnish(&wanted);
        let source = Source { name: "lb.json".to_owned(), text: wanted.document().to_string() };
        // A balancer has a frontend; pools that wait for one are not written yet.
        let sources = if wanted.frontends.is_empty() { Vec::new() } else { vec![source] };
        let planned = self.simulation.plan(&sources)?;
        self.wanted = wanted;
        Ok(planned)
    }

    /// Members are hosts that serve what rules lead to, and carry the addresses of floating frontends.
    fn furnish(&mut self, wanted: &Wanted) {
        for (name, pool) in &wanted.pools {
            for member in &pool.members {
                let (host, link) = self.member_host(*member);
                let gateway = if pool.gateway { OWN } else { router_of(*member) };
                default_routes(&mut self.simulation, host, link, gateway);
                let rules = wanted.rules.iter().filter(|(_, rule)| rule.pool == *name);
                for ((frontend, transport), rule) in
                    rules.filter(|((at, _), _)| at.is_ipv4() == member.is_ipv4())
                {
                    let at = if rule.floating { frontend.ip() } else { *member };
                    if rule.floating {
                        self.simulation.loopback(host, at);
                    }
                    let instance = frontend.ip().to_string();
                    self.simulation.serve(host, *transport, SocketAddr::new(at, rule.port), &instance);
                }
            }
        }
    }

    fn member_host(&mut self, address: IpAddr) -> (HostId, u32) {
        let (segment, router) = if is_far(address) { (self.far, FAR_ROUTER) } else { (self.lan, LAN_ROUTER) };
        self.host(address, segment, router)
    }

    fn client(&mut self, address: IpAddr) -> HostId {
        let near = LAN_ROUTER.iter().any(|router| same_segment(*router, address));
        let (segment, router) = if near { (self.lan, LAN_ROUTER) } else { (self.outside, OUTSIDE_ROUTER) };
        let (host, link) = self.host(address, segment, router);
        if near {
            for frontends in with_lengths(FRONTENDS) {
                self.simulation.route(host, frontends, link, None);
            }
        }
        host
    }

    fn host(&mut self, address: IpAddr, segment: SegmentId, router: [IpAddr; 2]) -> (HostId, u32) {
        if let Some(known) = self.hosts.get(&address) {
            return *known;
        }
        let host = self.simulation.host(&address.to_string());
        let link = self.simulation.attach(host, segment, &[(address, length(address))]);
        default_routes(&mut self.simulation, host, link, router);
        self.hosts.insert(address, (host, link));
        (host, link)
    }
}

impl Wanted {
    fn document(&self) -> Value {
        json!({
            "name": "lb",
            "sku": { "name": "Standard" },
            "properties": {
                "frontendIPConfigurations": self.frontends.iter().map(frontend).collect::<Vec<_>>(),
                "backendAddressPools": self.pools.iter().map(pool).collect::<Vec<_>>(),
                // What finds out who of a pool is up is called like the pool.
                "probes": if self.rules.is_empty() {
                    Vec::new()
                } else {
                    self.pools.keys().map(|name| json!({ "name": name, "properties": { "protocol": "Tcp", "port": 80 } })).collect()
                },
                "loadBalancingRules": self.rules.iter().map(rule).collect::<Vec<_>>(),
            },
        })
    }
}

fn frontend(address: &IpAddr) -> Value {
    json!({
        "name": plain(*address),
        "properties": {
            "privateIPAddress": address,
            "privateIPAllocationMethod": "Static",
            "privateIPAddressVersion": if address.is_ipv4() { "IPv4" } else { "IPv6" },
            "subnet": { "id": "/subnets/lan" },
        },
    })
}

fn pool((name, pool): (&String, &Pool)) -> Value {
    let member =
        |address: &IpAddr| json!({ "name": plain(*address), "properties": { "ipAddress": address } });
    json!({
        "name": name,
        "properties": {
            "loadBalancerBackendAddresses": pool.members.iter().map(member).collect::<Vec<_>>(),
            "forebay": { "returnPath": if pool.gateway { "gateway" } else { "masquerade" } },
        },
    })
}

fn rule(((at, transport), rule): (&(SocketAddr, Transport), &Rule)) -> Value {
    let protocol = match transport {
        Transport::Tcp => "Tcp",
        Transport::Udp => "Udp",
    };
    json!({
        "name": format!("{}-{}-{transport}", plain(at.ip()), at.port()),
        "properties": {
            "frontendIPConfiguration": { "id": format!("frontendIPConfigurations/{}", plain(at.ip())) },
            "backendAddressPool": { "id": format!("backendAddressPools/{}", rule.pool) },
            "probe": { "id": format!("probes/{}", rule.pool) },
            "protocol": protocol,
            "frontendPort": at.port(),
            "backendPort": rule.port,
            "enableFloatingIP": rule.floating,
            "loadDistribution": rule.distribution,
            "idleTimeoutInMinutes": rule.idle,
        },
    })
}

/// An address as a name.
fn plain(address: IpAddr) -> String {
    format!("a-{}", address.to_string().replace([':', '.'], "-")).trim_end_matches('-').to_owned()
}

fn default_routes(simulation: &mut Simulation, host: HostId, link: u32, router: [IpAddr; 2]) {
    for via in router {
        let everything = if via.is_ipv4() { v4([0; 4]) } else { IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) };
        simulation.route(host, (everything, 0), link, Some(via));
    }
}

fn router_of(member: IpAddr) -> [IpAddr; 2] {
    if is_far(member) { FAR_ROUTER } else { LAN_ROUTER }
}

fn is_far(member: IpAddr) -> bool {
    FAR_ROUTER.iter().any(|router| same_segment(*router, member))
}

fn same_segment(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.to_bits() >> 8 == other.to_bits() >> 8,
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() >> 64 == other.to_bits() >> 64,
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

fn with_lengths(addresses: [IpAddr; 2]) -> [(IpAddr, u8); 2] {
    addresses.map(|address| (address, length(address)))
}

fn length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 24 } else { 64 }
}

const fn v4(octets: [u8; 4]) -> IpAddr {
    let [a, b, c, d] = octets;
    IpAddr::V4(std::net::Ipv4Addr::new(a, b, c, d))
}

const fn v6(segment: u16, host: u16) -> IpAddr {
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, segment, 0, 0, 0, 0, host))
}
