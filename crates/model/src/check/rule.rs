//! Load balancing rules.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::address::version_of;
use super::balancer::Balancer;
use super::field;
use super::frontend::Frontend;
use super::pool::Pool;
use super::reference::{Sibling, resolve};
use crate::desired::{self, AfterIdle, PoolIndex, ProbeIndex, Protocol, WhenDown};
use crate::document::words::{IpVersion, SkuName, TransportProtocol};
use crate::document::{LoadBalancer, LoadBalancingRule, Reference, RuleExtension};
use crate::problem::{Code, Path, Report};
use crate::{Distribution, IdleTimeout, ReturnPath};

/// A rule the data path does.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) frontend: Option<IpAddr>,
    pub(super) pool: usize,
    pub(super) protocol: Protocol,
    pub(super) frontend_port: u16,
    pub(super) backend_port: u16,
    pub(super) distribution: Distribution,
    pub(super) floating: bool,
    pub(super) idle: IdleTimeout,
    /// Its position in the document.
    pub(super) probe: Option<usize>,
    pub(super) when_down: WhenDown,
    pub(super) hairpin: bool,
    pub(super) after_idle: AfterIdle,
    pub(super) only: Option<IpAddr>,
    /// The security group of a cluster's Services.
    pub(super) guard: Option<&'a Reference>,
}

impl Rule<'_> {
    pub(super) fn desired(
        &self,
        balancer: &str,
        pool: PoolIndex,
        probe: Option<ProbeIndex>,
        list: Option<usize>,
    ) -> Option<desired::Rule> {
        Some(desired::Rule {
            name: format!("{balancer}/{}", self.name),
            frontend: self.frontend?,
            list,
            pool,
            protocol: self.protocol,
            frontend_port: self.frontend_port,
            backend_port: self.backend_port,
            distribution: self.distribution,
            floating: self.floating,
            idle: self.idle,
            probe,
            when_down: self.when_down,
            hairpin: self.hairpin,
            after_idle: self.after_idle,
            only: self.only,
        })
    }
}

/// Where something arrives and where it leads, to be compared with the others.
#[derive(Debug)]
pub(super) struct Route<'a> {
    pub(super) name: &'a str,
    pub(super) at: Path,
    /// The field that says where it arrives.
    pub(super) port_field: &'static str,
    pub(super) frontend: usize,
    pub(super) protocol: TransportProtocol,
    pub(super) ports: RangeInclusive<u32>,
    /// Nowhere for NAT rules whose member is bound from elsewhere.
    pub(super) target: Option<Target>,
}

/// A port of a pool's members.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) pool: usize,
    pub(super) port: u32,
    pub(super) floating: bool,
}

pub(super) fn follow(balancer: &mut Balancer<'_>) {
    let is_done = balancer.is_done();
    let Balancer { document, report, frontends, pools, routes, rules, .. } = balancer;
    let document: &LoadBalancer = document;
    let array = Path::default().field("loadBalancingRules");
    for (index, rule) in document.load_balancing_rules.iter().enumerate() {
        let at = array.element(&rule.name, index);
        not_there_yet(report, &at, rule);
        return_path_is_of_pool(report, &at, rule.forebay.as_ref());
        let probe = rule.probe.as_ref();
        let probe = probe.and_then(|probe| resolve(report, (&at, "probe"), document, probe, Sibling::Probe));
        let when_down = when_down(report, &at, document, rule);
        let hairpin = hairpin(rule.forebay.as_ref());
        no_hairpin_where_floating(report, &at, rule.enable_floating_ip, rule.forebay.as_ref());
        let idle = rule.idle_timeout_in_minutes;
        field::within(report, &at, "idleTimeoutInMinutes", idle, IdleTimeout::RANGE);

        let first = frontend(report, &at, document, rule.frontend_ip_configuration.as_ref());
        let more = more_frontends(report, &at, document, rule.forebay.as_ref());
        let pool = pool(report, &at, document, rule);
        let protocol = field::required(report, &at, "protocol", rule.protocol);
        let ports = ports(report, &at, rule.protocol, rule.frontend_port, rule.backend_port);
        let floating = rule.enable_floating_ip == Some(true);
        if let (true, Some(ports), Some(pool)) = (floating, ports, pool.and_then(|pool| pools.get(pool))) {
            return_path(report, &at, ports, pool);
        }
        let mut versions: Vec<IpVersion> = Vec::new();
        for (frontend, place) in first.map(|frontend| (frontend, None)).into_iter().chain(more) {
            let Some(Frontend { address, internal, done, .. }) = frontends.get(frontend) else { continue };
            if let Some(pool) = pool.and_then(|pool| pools.get(pool)) {
                same_family(report, &at, *address, pool);
            }
            let (Some(protocol), Some((frontend_port, backend_port))) = (protocol, ports) else { continue };
            if protocol == TransportProtocol::All && !internal {
                let message =
                    "HA ports are for internal frontends: name the ports, or use an internal frontend";
                report.add(&at.field("protocol"), Code::HaPortsNeedInternalFrontend, message);
            }
            // Answers of two frontends would look alike to the balancer.
            let is_second =
                address.is_some_and(|address| versions.contains(&version_of(address))) && !floating;
            if let Some(place) = place.filter(|_| is_second) {
                let what = "rules without floating IP on several frontends of one family come";
                let mend =
                    "the rule does nothing on this one: write a rule for each frontend, or use floating IP";
                field::not_there_yet(report, &place, what, mend);
            }
            versions.extend(address.map(version_of));
            let target = pool.map(|pool| Target { pool, port: backend_port, floating });
            routes.push(Route {
                name: &rule.name,
                at: at.clone(),
                port_field: "frontendPort",
                frontend,
                protocol,
                ports: arrival(protocol, frontend_port),
                target: target.filter(|_| !is_second),
            });
            if is_done && *done && !is_second {
                let built = build(rule, *address, pool, protocol);
                rules.extend(built.map(|built| Rule { probe, when_down, hairpin, ..built }));
            }
        }
    }
}

/// The rule as the data path does it; `None` if it does not do it yet.
fn build(
    rule: &LoadBalancingRule,
    frontend: Option<IpAddr>,
    pool: Option<usize>,
    protocol: TransportProtocol,
) -> Option<Rule<'_>> {
    Some(Rule {
        name: Cow::Borrowed(&rule.name),
        frontend,
        pool: pool?,
        protocol: protocol_done(protocol)?,
        frontend_port: u16::try_from(rule.frontend_port?).ok()?,
        backend_port: u16::try_from(rule.backend_port?).ok()?,
        distribution: rule.load_distribution.unwrap_or(Distribution::Default),
        floating: rule.enable_floating_ip == Some(true),
        idle: idle(rule.idle_timeout_in_minutes)?,
        probe: None,
        when_down: WhenDown::Continue,
        hairpin: false,
        after_idle: after_idle(rule.enable_tcp_reset, rule.forebay.as_ref()),
        only: None,
        guard: rule.forebay.as_ref().and_then(|it| it.service_security_group.as_ref()),
    })
}

/// What becomes of connections when members are found down.
fn when_down(report: &mut Report, at: &Path, balancer: &LoadBalancer, rule: &LoadBalancingRule) -> WhenDown {
    let resets = resets(rule.forebay.as_ref());
    if rule.probe.is_none() {
        no_reset_without_probe(report, at, rule.forebay.as_ref(), "name a probe, or remove this");
    }
    match balancer.sku_name() {
        _ if resets => WhenDown::Reset,
        SkuName::Basic => WhenDown::EndWithTheLast,
        SkuName::Standard | SkuName::Gateway | SkuName::Service => WhenDown::Continue,
    }
}

/// CLUS-1
fn resets(extension: Option<&RuleExtension>) -> bool {
    extension.and_then(|extension| extension.reset_on_member_down) == Some(true)
}

/// CLUS-1, where no probe asks.
pub(super) fn no_reset_without_probe(
    report: &mut Report,
    at: &Path,
    extension: Option<&RuleExtension>,
    mend: &str,
) {
    if resets(extension) {
        let message = format!("without a probe no member is found down: {mend}");
        let at = at.field("forebay").field("resetOnMemberDown");
        report.add(&at, Code::InvalidRequestFormat, message);
    }
}

/// HAIR-1
pub(super) fn hairpin(extension: Option<&RuleExtension>) -> bool {
    extension.and_then(|extension| extension.hairpin) == Some(true)
}

/// HAIR-1. A member of a floating rule has the frontend's address itself, so its calls never leave it.
pub(super) fn no_hairpin_where_floating(
    report: &mut Report,
    at: &Path,
    floating: Option<bool>,
    extension: Option<&RuleExtension>,
) {
    if hairpin(extension) && floating == Some(true) {
        let message = "a member of a floating rule has the frontend's address itself, and reaches itself \
                       there without the balancer: remove this";
        report.add(&at.field("forebay").field("hairpin"), Code::InvalidRequestFormat, message);
    }
}

/// FLOW-5
pub(super) fn after_idle(reset: Option<bool>, extension: Option<&RuleExtension>) -> AfterIdle {
    let strict = extension.and_then(|extension| extension.drop_forgotten);
    AfterIdle { reset: reset == Some(true), strict: strict == Some(true) }
}

/// The ports at which a rule of this protocol and frontend port takes packets; without ports they count as all.
pub(super) fn arrival(protocol: TransportProtocol, port: u32) -> RangeInclusive<u32> {
    match protocol {
        TransportProtocol::All | TransportProtocol::Gre | TransportProtocol::Esp => 0..=65_535,
        TransportProtocol::Tcp
        | TransportProtocol::Udp
        | TransportProtocol::Quic
        | TransportProtocol::Sctp => port..=port,
    }
}

/// The protocol as the data path knows it, if it does.
pub(super) const fn protocol_done(protocol: TransportProtocol) -> Option<Protocol> {
    match protocol {
        TransportProtocol::Tcp => Some(Protocol::Tcp),
        TransportProtocol::Udp => Some(Protocol::Udp),
        TransportProtocol::Sctp => Some(Protocol::Sctp),
        TransportProtocol::All => Some(Protocol::All),
        TransportProtocol::Quic | TransportProtocol::Gre | TransportProtocol::Esp => None,
    }
}

pub(super) fn idle(minutes: Option<u32>) -> Option<IdleTimeout> {
    match minutes {
        Some(minutes) => IdleTimeout::minutes(minutes).ok(),
        None => Some(IdleTimeout::default()),
    }
}

/// Says what of a protocol is not done.
pub(super) fn protocol_not_there_yet(report: &mut Report, at: &Path, protocol: Option<TransportProtocol>) {
    let at = at.field("protocol");
    match protocol {
        Some(
            TransportProtocol::Tcp
            | TransportProtocol::Udp
            | TransportProtocol::Sctp
            | TransportProtocol::All,
        )
        | None => {}
        Some(other @ (TransportProtocol::Gre | TransportProtocol::Esp)) => {
            let what = format!("rules for {other} come");
            field::not_there_yet(report, &at, &what, "this does nothing: use Tcp or Udp");
        }
        Some(TransportProtocol::Quic) => {
            field::not_there_yet(report, &at, "Quic comes", "this does nothing: use Udp");
        }
    }
}

fn not_there_yet(report: &mut Report, at: &Path, rule: &LoadBalancingRule) {
    protocol_not_there_yet(report, at, rule.protocol);
    let others = [
        (rule.enable_connection_tracking, "enableConnectionTracking", "connection tracking comes"),
        (
            rule.enable_destination_service_endpoint,
            "enableDestinationServiceEndpoint",
            "service endpoints come",
        ),
        (rule.allow_backend_port_conflict, "allowBackendPortConflict", "shared backend ports come"),
    ];
    for (_, name, what) in others.into_iter().filter(|(flag, ..)| *flag == Some(true)) {
        field::not_there_yet(report, &at.field(name), what, "it has no effect: set it to false");
    }
}

/// The frontend a rule refers to.
pub(super) fn frontend(
    report: &mut Report,
    at: &Path,
    balancer: &LoadBalancer,
    reference: Option<&Reference>,
) -> Option<usize> {
    let reference = field::required(report, at, "frontendIPConfiguration", reference)?;
    resolve(report, (at, "frontendIPConfiguration"), balancer, reference, Sibling::Frontend)
}

/// The frontends a rule lists beside that one, each with its place.
pub(super) fn more_frontends(
    report: &mut Report,
    at: &Path,
    balancer: &LoadBalancer,
    extension: Option<&RuleExtension>,
) -> Vec<(usize, Option<Path>)> {
    let Some(extension) = extension else { return Vec::new() };
    let at = at.field("forebay").field("frontendIPConfigurations");
    let references = extension.frontend_ip_configurations.iter().enumerate();
    let follow = |(index, reference): (usize, &Reference)| {
        let index = index.to_string();
        let frontend = resolve(report, (&at, &index), balancer, reference, Sibling::Frontend)?;
        Some((frontend, Some(at.field(&index))))
    };
    references.filter_map(follow).collect()
}

fn pool(report: &mut Report, at: &Path, balancer: &LoadBalancer, rule: &LoadBalancingRule) -> Option<usize> {
    if rule.backend_address_pools.len() > 1 {
        let message = "a rule leads to one pool; two are for Gateway load balancers: keep one";
        report.add(&at.field("backendAddressPools"), Code::InvalidRequestFormat, message);
        return None;
    }
    let reference = rule.backend_address_pools.first().or(rule.backend_address_pool.as_ref());
    let reference = field::required(report, at, "backendAddressPool", reference)?;
    resolve(report, (at, "backendAddressPool"), balancer, reference, Sibling::Pool)
}

/// Frontend port and backend port. Zero stands for all of them, with protocol All only (HA-1).
pub(super) fn ports(
    report: &mut Report,
    at: &Path,
    protocol: Option<TransportProtocol>,
    frontend_port: Option<u32>,
    backend_port: Option<u32>,
) -> Option<(u32, u32)> {
    let (frontend, backend) = ("frontendPort", "backendPort");
    if matches!(protocol, Some(TransportProtocol::Gre | TransportProtocol::Esp)) {
        // They have no ports.
        return Some((0, 0));
    }
    let frontend_port = field::required(report, at, frontend, frontend_port);
    let backend_port = field::required(report, at, backend, backend_port);
    let (frontend_port, backend_port) = match protocol {
        Some(TransportProtocol::All) => {
            let mut zero = |name, port: Option<u32>| {
                if port.is_some_and(|port| port != 0) {
                    let message = "with protocol All both ports are 0, for all of them: write 0";
                    report.add(&at.field(name), Code::OutOfRange, message);
                }
                port.filter(|port| *port == 0)
            };
            (zero(frontend, frontend_port), zero(backend, backend_port))
        }
        Some(
            TransportProtocol::Tcp
            | TransportProtocol::Udp
            | TransportProtocol::Quic
            | TransportProtocol::Sctp,
        ) => (
            field::within(report, at, frontend, frontend_port, 1..=65_534),
            field::within(report, at, backend, backend_port, 1..=65_535),
        ),
        Some(TransportProtocol::Gre | TransportProtocol::Esp) | None => (
            field::within(report, at, frontend, frontend_port, 0..=65_534),
            field::within(report, at, backend, backend_port, 0..=65_535),
        ),
    };
    Some((frontend_port?, backend_port?))
}

/// A pool may have members of both families, and a rule uses those of its frontend's; an empty pool is a pool
/// whose members are still to come (RULE-3).
pub(super) fn same_family(report: &mut Report, at: &Path, frontend: Option<IpAddr>, pool: &Pool<'_>) {
    let Some(address) = frontend else { return };
    let version = version_of(address);
    if !pool.members.is_empty() && !pool.members.iter().any(|member| version_of(member.address) == version) {
        let message = format!(
            "the frontend {address} is {version}, and pool `{}` has no {version} member: add one, or use \
             another pool",
            pool.name
        );
        report.add(&at.field("backendAddressPool"), Code::AddressFamilyMismatch, message);
    }
}

/// FIP-3: members of a floating rule answer the client themselves, so nobody puts the frontend's port back,
/// unless the balancer is their gateway.
pub(super) fn return_path(
    report: &mut Report,
    at: &Path,
    (frontend_port, backend_port): (u32, u32),
    pool: &Pool<'_>,
) {
    match pool.return_path {
        ReturnPath::Gateway => {}
        ReturnPath::Masquerade if frontend_port == backend_port => {}
        ReturnPath::Masquerade => {
            let (of_whom, whose) = if pool.sole {
                ("the rule's target".to_owned(), " of the rule")
            } else {
                (format!("pool `{}`", pool.name), "")
            };
            let message = format!(
                "a floating rule from port {frontend_port} to {backend_port} needs answers to pass the balancer: \
                 use one port for both, or make the balancer the gateway of {of_whom} and set \
                 `forebay.returnPath`{whose} to `gateway`"
            );
            report.add(&at.field("backendPort"), Code::ReturnPathNeeded, message);
        }
    }
}

/// Where a rule leads to a pool, its members have one way back, whatever the rule.
pub(super) fn return_path_is_of_pool(report: &mut Report, at: &Path, extension: Option<&RuleExtension>) {
    if extension.is_some_and(|extension| extension.return_path.is_some()) {
        let message = "the pool says how its members' answers get back: write this there";
        report.add(&at.field("forebay").field("returnPath"), Code::InvalidRequestFormat, message);
    }
}
