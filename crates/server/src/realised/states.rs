//! Each resource's part of what has become of everything: pure functions of what is wanted and what is seen.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::SystemTime;

use engine::health::{Outcome, State};
use model::document::words::TransportProtocol;
use model::document::{InboundNatRule, LoadBalancer, NetworkInterface, Reference};
use model::{AdminState, Code, Document, Member, Pool, Probe, Problem, Protocol, Rule};

use super::{
    ConfigurationState, DipEndpointState, Info, NOT_PROBED, PROBE_FAILED, Realised, Source, Status,
    UNREACHED, VipEndpointState,
};
use crate::catalogue::{Record, Snapshot, tree};

/// Reasons that a resource repeats of its children.
const MAX_INFO: usize = 20;

/// What has become of a resource and of everything in it. Nothing is known before anybody tried (networking-rest.md 2.1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct States {
    whole: Option<ConfigurationState>,
    children: BTreeMap<String, ConfigurationState>,
}

impl States {
    /// Of a resource.
    #[must_use]
    pub fn of(wanted: &Snapshot, record: &Record, realised: &Realised) -> Self {
        if matches!(realised.outcome, node::Outcome::NotYet) {
            return Self::default();
        }
        let seen = Seen::of(wanted, record, realised);
        let mut children: BTreeMap<String, ConfigurationState> =
            record.child_keys().map(|key| (key.to_owned(), seen.plain(key))).collect();
        let mut whole = seen.plain("");
        match &*record.document {
            Document::LoadBalancer(balancer) => seen.balancer(balancer, &mut children),
            Document::PublicIpAddress(address) => {
                if let Some(address) = address.ip_address.filter(|address| seen.is_frontend(*address)) {
                    seen.listen(&mut whole, address, Vec::new());
                }
            }
            Document::NetworkInterface(interface) => seen.interface(interface, &mut children),
            Document::LoadBalancerMux(_) => {
                let ConfigurationState { status, detailed_info, .. } = realised.overall(wanted);
                whole.join(status, detailed_info);
            }
            Document::PublicIpPrefix(_)
            | Document::VirtualNetwork(_)
            | Document::NetworkSecurityGroup(_)
            | Document::LogicalNetwork(_)
            | Document::LoadBalancerManager(_)
            | Document::VirtualServer(_) => {}
        }
        if !children.is_empty() {
            let status = Status::together(children.values().map(|child| child.status));
            whole.join(status, children.values().flat_map(|child| child.detailed_info.clone()));
            whole.detailed_info.truncate(MAX_INFO);
        }
        for (key, child) in &mut children {
            child.id = record.instance_of(key).to_string();
        }
        Self { whole: Some(whole.of(record.instance(&[]))), children }
    }

    /// Of a child, or with an empty path of the resource itself.
    #[must_use]
    pub fn get(&self, child: &[(String, String)]) -> Option<&ConfigurationState> {
        if child.is_empty() { self.whole.as_ref() } else { self.children.get(&tree::key(child)) }
    }
}

/// What is wanted and seen, as far as one resource is concerned.
struct Seen<'a> {
    wanted: &'a Snapshot,
    record: &'a Record,
    realised: &'a Realised,
    /// With their paths in lower case.
    shortfalls: Vec<(String, &'a Problem)>,
}

impl<'a> Seen<'a> {
    fn of(wanted: &'a Snapshot, record: &'a Record, realised: &'a Realised) -> Self {
        let shortfalls = wanted.shortfalls_of(&record.id);
        let shortfalls = shortfalls.iter().map(|problem| (problem.path.to_ascii_lowercase(), problem));
        Self { wanted, record, realised, shortfalls: shortfalls.collect() }
    }

    /// The state of what the data path does nothing special for. `place` is a [`tree::key`].
    fn plain(&self, place: &str) -> ConfigurationState {
        let mut state = ConfigurationState::new(Status::Success, self.realised.since);
        let short = self.shortfalls_of(place);
        if !short.is_empty() {
            state.join(Status::Warning, short);
        }
        state
    }

    /// What is valid there, and cannot be done yet. That of its children is theirs.
    fn shortfalls_of(&self, place: &str) -> Vec<Info> {
        let is_of_child = |path: &str| {
            let in_child = |key: &str| key.len() > place.len() && is_within(path, key);
            self.record.child_keys().any(in_child)
        };
        let own = self.shortfalls.iter().filter(|(path, _)| match place.is_empty() {
            true => !is_of_child(path),
            false => is_within(path, place),
        });
        own.map(|(_, problem)| in_words(problem)).collect()
    }

    fn balancer(&self, balancer: &LoadBalancer, children: &mut BTreeMap<String, ConfigurationState>) {
        let listening = Self::listening(balancer);
        let mut addresses = BTreeMap::new();
        for frontend in &balancer.frontend_ip_configurations {
            let key = key("frontendIPConfigurations", &frontend.name);
            let Some(state) = children.get_mut(&key) else { continue };
            let Some(address) = self.address(&frontend.name) else {
                let short = state.status == Status::Warning;
                state.join(if short { Status::Failure } else { Status::Success }, []);
                continue;
            };
            addresses.insert(key.clone(), address);
            let mine = listening.iter().filter(|one| one.frontends.contains(&key));
            let absent = mine.filter_map(|one| self.absent(one, address)).collect();
            self.listen(state, address, absent);
        }
        let mut rules = Vec::new();
        for one in &listening {
            let of_one = one.frontends.iter().filter_map(|key| addresses.get(key));
            rules.extend(of_one.flat_map(|address| self.rules_at(one, *address)));
            let addresses = one.frontends.iter().filter_map(|key| addresses.get(key));
            let states = addresses.map(|address| self.place(one, *address));
            let status = Status::together(states);
            if let Some(state) = children.get_mut(&one.key) {
                state.join(status, []);
            }
        }
        for pool in &balancer.backend_address_pools {
            let key = key("backendAddressPools", &pool.name);
            let (Some(state), Some(pool)) = (children.get_mut(&key), self.pool(&pool.name)) else { continue };
            let leading: Vec<&Rule> =
                rules.iter().copied().filter(|rule| self.pool_of(rule).name() == pool.name()).collect();
            let members: Vec<(Status, Vec<Info>)> =
                pool.members().iter().map(|member| self.of_rules(&leading, member)).collect();
            let status = Status::together(members.iter().map(|(status, _)| *status));
            state.join(status, members.into_iter().flat_map(|(_, infos)| infos));
        }
        for rule in &balancer.outbound_rules {
            let Some(state) = children.get_mut(&key("outboundRules", &rule.name)) else { continue };
            if state.status == Status::Warning {
                state.join(Status::Failure, []);
            }
        }
    }

    fn interface(&self, interface: &NetworkInterface, children: &mut BTreeMap<String, ConfigurationState>) {
        for configuration in &interface.ip_configurations {
            let key = key("ipConfigurations", &configuration.name);
            let (Some(state), Some(address)) = (children.get_mut(&key), configuration.private_ip_address)
            else {
                continue;
            };
            if self.realised.members.contains_key(&address) {
                let (status, infos) = self.member(address);
                state.join(status, infos);
            }
        }
    }

    /// The state of an address that clients call, with everything that listens there.
    fn listen(&self, state: &mut ConfigurationState, address: IpAddr, absent: Vec<VipEndpointState>) {
        let progress = self.progress(address);
        let rules = self.wanted.desired.rules_at(address);
        let mut endpoints: Vec<VipEndpointState> =
            rules.iter().map(|rule| self.endpoint(rule, progress.status)).collect();
        endpoints.extend(absent);
        let status = after(progress.status, endpoints.iter().map(|endpoint| endpoint.status));
        let members = endpoints.iter().flat_map(|endpoint| &endpoint.dip_endpoint_states);
        let members = members.flat_map(|member| member.detailed_info.clone());
        state.join(status, progress.detailed_info.into_iter().chain(members).take(MAX_INFO));
        state.vip_endpoint_states = Some(endpoints);
    }

    fn endpoint(&self, rule: &Rule, progress: Status) -> VipEndpointState {
        let members: Vec<DipEndpointState> =
            self.wanted.desired.members_of(rule).map(|member| self.dip(rule, member)).collect();
        let status = after(progress, members.iter().map(|member| member.status));
        VipEndpointState {
            status,
            last_updated_time: self.realised.since,
            vip_endpoint: vip(protocol(rule.protocol()), rule.frontend(), rule.frontend_port()),
            dip_endpoint_states: members,
        }
    }

    fn dip(&self, rule: &Rule, member: &Member) -> DipEndpointState {
        let address = member.address();
        let (status, detailed_info) = self.of_rules(&[rule], member);
        let probe = self.wanted.desired.probe_of(rule).filter(|probe| self.is_down(probe, member));
        DipEndpointState {
            status,
            detailed_info,
            last_updated_time: self.since(rule, address),
            dip_endpoint: SocketAddr::new(address, rule.backend_port()).to_string(),
            host_ip_address: String::new(),
            host_id: String::new(),
            adapter_id: self.wanted.adapter(address).map(|adapter| adapter.to_string()).unwrap_or_default(),
            probe_rule: probe.map_or_else(String::new, |probe| probe.name().to_owned()),
        }
    }

    /// The state of a member, by how it is reached and by what the probes of these rules find.
    fn of_rules(&self, rules: &[&Rule], member: &Member) -> (Status, Vec<Info>) {
        let (mut status, mut infos) = self.member(member.address());
        for probe in rules.iter().filter_map(|rule| self.wanted.desired.probe_of(rule)) {
            if let Some((found, info)) = self.probed(probe, member) {
                status = worse(status, found);
                if !infos.contains(&info) {
                    infos.push(info);
                }
            }
        }
        (status, infos)
    }

    /// What a probe has against a member. Who is up or down by order is as was wanted.
    fn probed(&self, probe: &Probe, member: &Member) -> Option<(Status, Info)> {
        let (address, name) = (member.address(), probe.name());
        let (status, code, message) = match self.found(probe, member)? {
            State::Up => return None,
            State::Down => {
                let why = self.why_down(probe, address);
                (Status::Failure, PROBE_FAILED, format!("{address} is down for probe {name}{why}"))
            }
            State::Unknown => {
                let message =
                    format!("{address} has not answered probe {name} yet, so it takes no new flows");
                (Status::InProgress, NOT_PROBED, message)
            }
        };
        let source = Source::SoftwareLoadBalancerManager;
        Some((status, Info { source, message, code: code.to_owned() }))
    }

    /// What a probe thinks of a member, where that counts.
    fn found(&self, probe: &Probe, member: &Member) -> Option<State> {
        let pulse = self.realised.vitals.ward.pulse(probe.name(), member.address());
        let state = pulse.map_or(State::Unknown, |pulse| pulse.state());
        (member.admin() == AdminState::None).then_some(state)
    }

    fn is_down(&self, probe: &Probe, member: &Member) -> bool {
        self.found(probe, member) == Some(State::Down)
    }

    /// The newest bad result, in words.
    fn why_down(&self, probe: &Probe, address: IpAddr) -> String {
        let Some(pulse) = self.realised.vitals.ward.pulse(probe.name(), address) else {
            return String::new();
        };
        let last = pulse.last().map(|(outcome, _)| outcome);
        let bad = last.filter(|outcome| matches!(outcome, Outcome::Bad(_)));
        let bad = bad.or_else(|| pulse.history().next().map(|turn| &turn.outcome));
        bad.map(|outcome| format!(": {outcome}")).unwrap_or_default()
    }

    /// Since when a member is as it is.
    fn since(&self, rule: &Rule, address: IpAddr) -> SystemTime {
        let vitals = &self.realised.vitals;
        let reached = self.realised.members.get(&address).map(|seen| seen.since);
        let probe = self.wanted.desired.probe_of(rule);
        let pulse = probe.and_then(|probe| vitals.ward.pulse(probe.name(), address));
        let turned = pulse.map(|pulse| vitals.when(pulse.since()));
        reached.max(turned).unwrap_or(self.realised.since)
    }

    fn member(&self, address: IpAddr) -> (Status, Vec<Info>) {
        match self.realised.members.get(&address) {
            Some(member) if member.ready => (Status::Success, Vec::new()),
            Some(member) => {
                let message = format!("{address} {}", member.words);
                let source = Source::SoftwareLoadBalancerManager;
                (Status::Failure, vec![Info { source, message, code: UNREACHED.to_owned() }])
            }
            None => (Status::InProgress, Vec::new()),
        }
    }

    /// What became of one rule at one address.
    fn place(&self, one: &Listening, address: IpAddr) -> Status {
        match self.rules_at(one, address) {
            [] if self.shortfalls_of(&one.key).is_empty() => Status::Success,
            [] => Status::Failure,
            rules => {
                let of_rule = |rule| self.wanted.desired.members_of(rule).map(move |member| (rule, member));
                let members = rules.iter().flat_map(of_rule);
                let members = members.map(|(rule, member)| self.of_rules(&[rule], member).0);
                after(self.progress(address).status, members)
            }
        }
    }

    /// A rule that the data path leaves out, as clients look for it.
    fn absent(&self, one: &Listening, address: IpAddr) -> Option<VipEndpointState> {
        let is_short = !self.shortfalls_of(&one.key).is_empty();
        (is_short && self.rules_at(one, address).is_empty()).then(|| VipEndpointState {
            status: Status::Failure,
            last_updated_time: self.realised.since,
            vip_endpoint: vip(
                one.protocol.map_or("All", TransportProtocol::as_str),
                address,
                *one.ports.start(),
            ),
            dip_endpoint_states: Vec::new(),
        })
    }

    fn progress(&self, address: IpAddr) -> ConfigurationState {
        self.realised.of_revision(self.wanted.wanted_since(address))
    }

    /// One, or one for each port of a range that leads to somebody.
    fn rules_at(&self, one: &Listening, address: IpAddr) -> &'a [Rule] {
        let protocol = match one.protocol {
            Some(TransportProtocol::Tcp) => Protocol::Tcp,
            Some(TransportProtocol::Udp) => Protocol::Udp,
            Some(TransportProtocol::Sctp) => Protocol::Sctp,
            Some(TransportProtocol::All) => Protocol::All,
            Some(TransportProtocol::Quic | TransportProtocol::Gre | TransportProtocol::Esp) | None => {
                return &[];
            }
        };
        let rules = self.wanted.desired.rules_at(address);
        let place = |rule: &Rule| (rule.protocol(), rule.frontend_port());
        let from = rules.partition_point(|rule| place(rule) < (protocol, *one.ports.start()));
        let to = rules.partition_point(|rule| place(rule) <= (protocol, *one.ports.end()));
        rules.get(from..to).unwrap_or_default()
    }

    fn is_frontend(&self, address: IpAddr) -> bool {
        self.wanted.desired.frontends().binary_search_by_key(&address, |frontend| frontend.address()).is_ok()
    }

    /// The address of one of the balancer's frontends.
    fn address(&self, name: &str) -> Option<IpAddr> {
        self.wanted.frontend_address(&self.record.id, name)
    }

    fn pool_of(&self, rule: &Rule) -> &'a Pool {
        self.wanted.desired.pool(rule.pool())
    }

    /// One of the balancer's pools.
    fn pool(&self, name: &str) -> Option<&'a Pool> {
        self.wanted.pool(&self.record.id, name)
    }

    /// Everything of a balancer that listens, and at which of its frontends.
    fn listening(balancer: &LoadBalancer) -> Vec<Listening> {
        let rules = balancer.load_balancing_rules.iter().map(|rule| {
            let more = rule.forebay.iter().flat_map(|forebay| &forebay.frontend_ip_configurations);
            Listening {
                key: key("loadBalancingRules", &rule.name),
                frontends: frontends(rule.frontend_ip_configuration.iter().chain(more)),
                protocol: rule.protocol,
                ports: port(rule.frontend_port)..=port(rule.frontend_port),
            }
        });
        let nat_rules = balancer.inbound_nat_rules.iter().map(|rule| {
            let more = rule.forebay.iter().flat_map(|forebay| &forebay.frontend_ip_configurations);
            Listening {
                key: key("inboundNatRules", &rule.name),
                frontends: frontends(rule.frontend_ip_configuration.iter().chain(more)),
                protocol: rule.protocol,
                ports: ports(rule),
            }
        });
        rules.chain(nat_rules).collect()
    }
}

/// A rule or NAT rule of a document.
struct Listening {
    key: String,
    /// The keys of its frontends.
    frontends: Vec<String>,
    protocol: Option<TransportProtocol>,
    ports: RangeInclusive<u16>,
}

fn frontends<'a>(references: impl Iterator<Item = &'a Reference>) -> Vec<String> {
    references.map(|reference| key("frontendIPConfigurations", name_of(&reference.id))).collect()
}

fn ports(rule: &InboundNatRule) -> RangeInclusive<u16> {
    match (rule.frontend_port_range_start, rule.frontend_port_range_end) {
        (None, None) => port(rule.frontend_port)..=port(rule.frontend_port),
        (first, last) => port(first)..=port(last),
    }
}

/// Ports outside their range are refused long before.
fn port(port: Option<u32>) -> u16 {
    port.and_then(|port| u16::try_from(port).ok()).unwrap_or_default()
}

fn key(collection: &str, name: &str) -> String {
    format!("{collection}/{name}").to_ascii_lowercase()
}

fn name_of(id: &str) -> &str {
    id.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// Of two things that must both be so.
fn worse(one: Status, other: Status) -> Status {
    let rank = |status| match status {
        Status::Success => 0,
        Status::Warning => 1,
        Status::Uninitialized | Status::InProgress => 2,
        Status::Failure => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}

/// Parts count once what they are parts of is in force.
fn after(progress: Status, parts: impl Iterator<Item = Status>) -> Status {
    if progress == Status::Success { Status::together(parts) } else { progress }
}

fn is_within(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn in_words(problem: &Problem) -> Info {
    let place = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
    let is_ours = problem.code == Code::NotThereYet;
    let source = if is_ours { Source::SoftwareLoadBalancerManager } else { Source::ResourceGlobal };
    Info { source, message: format!("{place}{}", problem.message), code: problem.code.to_string() }
}

const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "Tcp",
        Protocol::Udp => "Udp",
        Protocol::Sctp => "Sctp",
        Protocol::All => "All",
    }
}

/// `Tcp:203.0.113.10:443`, `Tcp:[2001:db8::5]:443`
fn vip(protocol: &str, address: IpAddr, port: u16) -> String {
    format!("{protocol}:{}", SocketAddr::new(address, port))
}
