//! Inbound NAT rules and pools. The data path does neither yet; whether they are valid is said all the same.

use std::ops::RangeInclusive;

use super::field;
use super::pool::Pool;
use super::reference::{Sibling, resolve};
use super::rule::{Route, Target, frontend};
use crate::IdleTimeout;
use crate::document::{InboundNatPool, InboundNatRule, LoadBalancer};
use crate::problem::{Code, Path, Report};

const FRONTEND_PORTS: RangeInclusive<u32> = 1..=65_534;

pub(super) fn follow<'a>(
    report: &mut Report,
    balancer: &'a LoadBalancer,
    pools: &[Pool<'_>],
    routes: &mut Vec<Route<'a>>,
) {
    let array = Path::default().field("inboundNatRules");
    for (index, rule) in balancer.inbound_nat_rules.iter().enumerate() {
        let at = array.element(&rule.name, index);
        field::not_there_yet(
            report,
            &at,
            "inbound NAT rules come",
            "remove it, or use a load balancing rule",
        );
        routes.extend(follow_rule(report, at, balancer, rule, pools));
    }
    let array = Path::default().field("inboundNatPools");
    for (index, pool) in balancer.inbound_nat_pools.iter().enumerate() {
        let at = array.element(&pool.name, index);
        field::not_there_yet(report, &at, "inbound NAT pools come", "remove it, or use load balancing rules");
        routes.extend(follow_pool(report, at, balancer, pool));
    }
}

fn follow_rule<'a>(
    report: &mut Report,
    at: Path,
    balancer: &LoadBalancer,
    rule: &'a InboundNatRule,
    pools: &[Pool<'_>],
) -> Option<Route<'a>> {
    let frontend = frontend(report, &at, balancer, rule.frontend_ip_configuration.as_ref());
    let protocol = field::required(report, &at, "protocol", rule.protocol);
    field::required(report, &at, "backendPort", rule.backend_port);
    let backend_port = field::within(report, &at, "backendPort", rule.backend_port, 1..=65_535);
    let idle = rule.idle_timeout_in_minutes;
    field::within(report, &at, "idleTimeoutInMinutes", idle, IdleTimeout::RANGE);
    let pool = rule.backend_address_pool.as_ref().and_then(|reference| {
        resolve(report, &at.field("backendAddressPool"), balancer, reference, Sibling::Pool)
    });

    let (start, end) = (rule.frontend_port_range_start, rule.frontend_port_range_end);
    let is_range = rule.backend_address_pool.is_some() || start.is_some() || end.is_some();
    let (port_field, ports) = if is_range {
        if rule.frontend_port.is_some_and(|port| port != 0) {
            let message = "a rule has one frontendPort or a range of them: keep one";
            report.add(&at.field("frontendPort"), Code::InvalidRequestFormat, message);
        }
        field::required(report, &at, "backendAddressPool", rule.backend_address_pool.as_ref());
        ("frontendPortRangeStart", range(report, &at, start, end))
    } else {
        field::required(report, &at, "frontendPort", rule.frontend_port);
        let port = field::within(report, &at, "frontendPort", rule.frontend_port, FRONTEND_PORTS);
        ("frontendPort", port.map(|port| port..=port))
    };
    if let (Some(ports), Some(pool)) = (&ports, pool.and_then(|pool| pools.get(pool))) {
        room_for_members(report, &at, ports, pool);
    }
    let floating = rule.enable_floating_ip == Some(true);
    let target = pool.zip(backend_port).map(|(pool, port)| Target { pool, port, floating });
    Some(Route {
        name: &rule.name,
        at,
        port_field,
        frontend: frontend?,
        protocol: protocol?,
        ports: ports?,
        target,
    })
}

fn follow_pool<'a>(
    report: &mut Report,
    at: Path,
    balancer: &LoadBalancer,
    pool: &'a InboundNatPool,
) -> Option<Route<'a>> {
    let frontend = frontend(report, &at, balancer, pool.frontend_ip_configuration.as_ref());
    let protocol = field::required(report, &at, "protocol", pool.protocol);
    field::required(report, &at, "backendPort", pool.backend_port);
    field::within(report, &at, "backendPort", pool.backend_port, 1..=65_535);
    let idle = pool.idle_timeout_in_minutes;
    field::within(report, &at, "idleTimeoutInMinutes", idle, IdleTimeout::RANGE);
    let ports = range(report, &at, pool.frontend_port_range_start, pool.frontend_port_range_end);
    let port_field = "frontendPortRangeStart";
    Some(Route {
        name: &pool.name,
        at,
        port_field,
        frontend: frontend?,
        protocol: protocol?,
        ports: ports?,
        target: None,
    })
}

fn range(
    report: &mut Report,
    at: &Path,
    start: Option<u32>,
    end: Option<u32>,
) -> Option<RangeInclusive<u32>> {
    let (first, last) = ("frontendPortRangeStart", "frontendPortRangeEnd");
    field::required(report, at, first, start);
    field::required(report, at, last, end);
    let start = field::within(report, at, first, start, FRONTEND_PORTS);
    let end = field::within(report, at, last, end, FRONTEND_PORTS);
    let (start, end) = (start?, end?);
    if start > end {
        let message = format!("the range ends at {end}, before it starts at {start}: exchange them");
        report.add(&at.field(last), Code::OutOfRange, message);
        return None;
    }
    Some(start..=end)
}

/// NAT-1: each member has its port of the range.
fn room_for_members(report: &mut Report, at: &Path, ports: &RangeInclusive<u32>, pool: &Pool<'_>) {
    let room = ports.clone().count();
    if pool.members.len() > room {
        let message = format!(
            "the range has {room} ports for the {} members of pool `{}`: widen it",
            pool.members.len(),
            pool.name
        );
        report.add(&at.field("frontendPortRangeEnd"), Code::OutOfRange, message);
    }
}
