//! Load balancing rules.

use std::ops::RangeInclusive;

use super::address::version_of;
use super::field;
use super::frontend::Frontend;
use super::pool::Pool;
use super::reference::{Sibling, resolve};
use crate::desired::{self, PoolIndex, Protocol};
use crate::document::words::TransportProtocol;
use crate::document::{LoadBalancer, LoadBalancingRule, Reference};
use crate::problem::{Code, Path, Report};
use crate::{Distribution, IdleTimeout, Port, ReturnPath};

/// A rule the data path does.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    name: &'a str,
    frontend: Option<std::net::IpAddr>,
    pub(super) pool: usize,
    protocol: Protocol,
    frontend_port: Port,
    backend_port: Port,
    distribution: Distribution,
    floating: bool,
    idle: IdleTimeout,
}

impl Rule<'_> {
    pub(super) fn desired(&self, balancer: &str, pool: PoolIndex) -> Option<desired::Rule> {
        Some(desired::Rule {
            name: format!("{balancer}/{}", self.name),
            frontend: self.frontend?,
            pool,
            protocol: self.protocol,
            frontend_port: self.frontend_port,
            backend_port: self.backend_port,
            distribution: self.distribution,
            floating: self.floating,
            idle: self.idle,
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

pub(super) fn follow<'a>(
    report: &mut Report,
    balancer: &'a LoadBalancer,
    frontends: &[Frontend<'_>],
    pools: &[Pool<'_>],
    routes: &mut Vec<Route<'a>>,
    rules: &mut Vec<Rule<'a>>,
) {
    let array = Path::default().field("loadBalancingRules");
    for (index, rule) in balancer.load_balancing_rules.iter().enumerate() {
        let at = array.element(&rule.name, index);
        not_there_yet(report, &at, rule);
        if let Some(probe) = &rule.probe {
            resolve(report, &at.field("probe"), balancer, probe, Sibling::Probe);
        }
        let idle = rule.idle_timeout_in_minutes;
        field::within(report, &at, "idleTimeoutInMinutes", idle, IdleTimeout::RANGE);

        let frontend = frontend(report, &at, balancer, rule.frontend_ip_configuration.as_ref());
        let pool = pool(report, &at, balancer, rule);
        let protocol = field::required(report, &at, "protocol", rule.protocol);
        let ports = ports(report, &at, rule);
        let floating = rule.enable_floating_ip == Some(true);
        if let (Some(frontend), Some(pool)) = (frontend, pool) {
            same_family(report, &at, frontends.get(frontend), pools.get(pool));
        }
        if let (true, Some(ports), Some(pool)) = (floating, ports, pool.and_then(|pool| pools.get(pool))) {
            return_path(report, &at, ports, pool);
        }
        let (Some(frontend), Some(protocol), Some((frontend_port, backend_port))) =
            (frontend, protocol, ports)
        else {
            continue;
        };
        if protocol == TransportProtocol::All && frontends.get(frontend).is_some_and(|it| !it.internal) {
            let message = "HA ports are for internal frontends: name the ports, or use an internal frontend";
            report.add(&at.field("protocol"), Code::HaPortsNeedInternalFrontend, message);
        }
        routes.push(Route {
            name: &rule.name,
            at,
            port_field: "frontendPort",
            frontend,
            protocol,
            ports: match protocol {
                TransportProtocol::All | TransportProtocol::Gre | TransportProtocol::Esp => 0..=65_535,
                TransportProtocol::Tcp | TransportProtocol::Udp | TransportProtocol::Quic => {
                    frontend_port..=frontend_port
                }
            },
            target: pool.map(|pool| Target { pool, port: backend_port, floating }),
        });
        let address = frontends.get(frontend).and_then(|frontend| frontend.address);
        rules.extend(build(rule, address, pool, protocol));
    }
}

/// The rule as the data path does it; `None` if it does not do it yet.
fn build(
    rule: &LoadBalancingRule,
    frontend: Option<std::net::IpAddr>,
    pool: Option<usize>,
    protocol: TransportProtocol,
) -> Option<Rule<'_>> {
    let protocol = match protocol {
        TransportProtocol::Tcp => Protocol::Tcp,
        TransportProtocol::Udp => Protocol::Udp,
        TransportProtocol::All
        | TransportProtocol::Quic
        | TransportProtocol::Gre
        | TransportProtocol::Esp => return None,
    };
    let idle = rule.idle_timeout_in_minutes.map(IdleTimeout::minutes).transpose().ok()?;
    Some(Rule {
        name: &rule.name,
        frontend,
        pool: pool?,
        protocol,
        frontend_port: Port::new(rule.frontend_port?).ok()?,
        backend_port: Port::new(rule.backend_port?).ok()?,
        distribution: rule.load_distribution.unwrap_or(Distribution::Default),
        floating: rule.enable_floating_ip == Some(true),
        idle: idle.unwrap_or_default(),
    })
}

fn not_there_yet(report: &mut Report, at: &Path, rule: &LoadBalancingRule) {
    if rule.probe.is_some() {
        let mend = "remove the probe reference: members are then taken as up";
        field::not_there_yet(report, &at.field("probe"), "rules with a probe come", mend);
    }
    match rule.protocol {
        Some(TransportProtocol::Tcp | TransportProtocol::Udp) | None => {}
        Some(TransportProtocol::All) => {
            let mend = "write a rule for each port, Tcp or Udp";
            field::not_there_yet(report, &at.field("protocol"), "HA ports come", mend);
        }
        Some(other @ (TransportProtocol::Gre | TransportProtocol::Esp)) => {
            let what = format!("rules for {other} come");
            field::not_there_yet(report, &at.field("protocol"), &what, "use Tcp or Udp");
        }
        Some(TransportProtocol::Quic) => {
            field::not_there_yet(report, &at.field("protocol"), "Quic comes", "use Udp");
        }
    }
    if rule.enable_tcp_reset == Some(true) {
        let mend = "set it to false: idle flows are forgotten without a reset";
        field::not_there_yet(report, &at.field("enableTcpReset"), "TCP reset comes", mend);
    }
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
        field::not_there_yet(report, &at.field(name), what, "set it to false");
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
    resolve(report, &at.field("frontendIPConfiguration"), balancer, reference, Sibling::Frontend)
}

fn pool(report: &mut Report, at: &Path, balancer: &LoadBalancer, rule: &LoadBalancingRule) -> Option<usize> {
    if rule.backend_address_pools.len() > 1 {
        let message = "a rule leads to one pool; two are for Gateway load balancers: keep one";
        report.add(&at.field("backendAddressPools"), Code::InvalidRequestFormat, message);
        return None;
    }
    let reference = rule.backend_address_pools.first().or(rule.backend_address_pool.as_ref());
    let reference = field::required(report, at, "backendAddressPool", reference)?;
    resolve(report, &at.field("backendAddressPool"), balancer, reference, Sibling::Pool)
}

/// Frontend port and backend port. Zero stands for all of them, with protocol All only (HA-1).
fn ports(report: &mut Report, at: &Path, rule: &LoadBalancingRule) -> Option<(u32, u32)> {
    let (frontend, backend) = ("frontendPort", "backendPort");
    if matches!(rule.protocol, Some(TransportProtocol::Gre | TransportProtocol::Esp)) {
        // They have no ports.
        return Some((0, 0));
    }
    let frontend_port = field::required(report, at, frontend, rule.frontend_port);
    let backend_port = field::required(report, at, backend, rule.backend_port);
    let (frontend_port, backend_port) = match rule.protocol {
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
        Some(TransportProtocol::Tcp | TransportProtocol::Udp | TransportProtocol::Quic) => (
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
fn same_family(report: &mut Report, at: &Path, frontend: Option<&Frontend<'_>>, pool: Option<&Pool<'_>>) {
    let (Some(pool), Some(address)) = (pool, frontend.and_then(|frontend| frontend.address)) else { return };
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
fn return_path(report: &mut Report, at: &Path, (frontend_port, backend_port): (u32, u32), pool: &Pool<'_>) {
    match pool.return_path {
        ReturnPath::Gateway => {}
        ReturnPath::Masquerade if frontend_port == backend_port => {}
        ReturnPath::Masquerade => {
            let message = format!(
                "a floating rule from port {frontend_port} to {backend_port} needs answers to pass the balancer: \
                 use one port for both, or make the balancer the gateway of pool `{}` and set \
                 `forebay.returnPath` to `gateway`",
                pool.name
            );
            report.add(&at.field("backendPort"), Code::ReturnPathNeeded, message);
        }
    }
}
