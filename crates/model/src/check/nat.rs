//! Inbound NAT rules and pools. The data path does rules with one target; whether the others are valid is said all
//! the same.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::balancer::Balancer;
use super::membership::{Binding, Membership};
use super::pool::Pool;
use super::reference::{Sibling, resolve};
use super::rule::{self, Route, Rule, Target, frontend};
use super::{Scope, field};
use crate::desired::WhenDown;
use crate::document::{InboundNatPool, InboundNatRule, LoadBalancer};
use crate::problem::{Code, Path, Report};
use crate::{Distribution, IdleTimeout};

const FRONTEND_PORTS: RangeInclusive<u32> = 1..=65_534;

pub(super) fn follow<'a>(balancer: &mut Balancer<'a>, scope: &Scope<'_>, members: &Membership<'a>) {
    let document = balancer.document;
    let array = Path::default().field("inboundNatRules");
    for (index, rule) in document.inbound_nat_rules.iter().enumerate() {
        let at = array.element(&rule.name, index);
        let bindings = members.of_nat_rule(balancer.entry, index);
        only_one_target(rule, bindings, members);
        if !scope.complete {
            mirror(&mut balancer.report, &at, rule, bindings);
        }
        match is_range(rule) {
            true => follow_range(balancer, &at, rule),
            false => follow_rule(balancer, &at, rule, bindings.first()),
        }
    }
    let array = Path::default().field("inboundNatPools");
    let Balancer { report, routes, .. } = balancer;
    for (index, pool) in document.inbound_nat_pools.iter().enumerate() {
        let at = array.element(&pool.name, index);
        let mend = "it does nothing: remove it, or use load balancing rules";
        field::not_there_yet(report, &at, "inbound NAT pools come", mend);
        routes.extend(follow_pool(report, at, document, pool));
    }
}

fn only_one_target(rule: &InboundNatRule, bindings: &[Binding<'_>], members: &Membership<'_>) {
    for binding in bindings.iter().skip(1) {
        let first = bindings.first().map(Binding::name).unwrap_or_default();
        let message = format!("NAT rule `{}` leads to `{first}` already: use another rule", rule.name);
        members.refuse(binding, Code::InboundNatRuleInUse, message);
    }
}

/// What a file shows of the rule's target: its own document says which address it has.
fn mirror(report: &mut Report, at: &Path, rule: &InboundNatRule, bindings: &[Binding<'_>]) {
    let Some(shown) = &rule.backend_ip_configuration else { return };
    if !bindings.iter().any(|binding| binding.is(&shown.id)) {
        let message = format!(
            "nothing says which address `{}` has: give the document of that network interface beside this one, \
             with this rule in its loadBalancerInboundNatRules",
            super::balancer::short(&shown.id)
        );
        report.add(&at.field("backendIPConfiguration"), Code::AddressUnknown, message);
    }
}

const fn is_range(rule: &InboundNatRule) -> bool {
    rule.backend_address_pool.is_some()
        || rule.frontend_port_range_start.is_some()
        || rule.frontend_port_range_end.is_some()
}

/// NAT-1: one frontend port leads to one member. Without one it leads nowhere, until an interface says that it is
/// the target.
fn follow_rule<'a>(
    balancer: &mut Balancer<'a>,
    at: &Path,
    rule: &'a InboundNatRule,
    target: Option<&Binding<'a>>,
) {
    let is_done = balancer.is_done();
    let Balancer { document, report, frontends, pools, routes, rules, .. } = balancer;
    rule::protocol_not_there_yet(report, at, rule.protocol);
    if rule.enable_tcp_reset == Some(true) {
        let mend = "idle flows are forgotten without a reset: set it to false";
        field::not_there_yet(report, &at.field("enableTcpReset"), "TCP reset comes", mend);
    }
    let idle = rule.idle_timeout_in_minutes;
    field::within(report, at, "idleTimeoutInMinutes", idle, IdleTimeout::RANGE);
    let first = frontend(report, at, document, rule.frontend_ip_configuration.as_ref());
    let more = rule::more_frontends(report, at, document, rule.forebay.as_ref());
    let protocol = field::required(report, at, "protocol", rule.protocol);
    let ports = rule::ports(report, at, rule.protocol, rule.frontend_port, rule.backend_port);
    let floating = rule.enable_floating_ip == Some(true);
    let pool = target.map(|target| Pool::of_nat_rule(&rule.name, at, target));
    if let (true, Some(ports), Some(pool)) = (floating, ports, &pool) {
        rule::return_path(report, at, ports, pool);
    }
    for (_, place) in &more {
        if let Some(place) = place {
            let what = "inbound NAT rules on several frontends come";
            let mend = "the rule does nothing on this one: write a rule for each frontend";
            field::not_there_yet(report, place, what, mend);
        }
    }
    let (Some(frontend), Some(protocol), Some((frontend_port, backend_port))) = (first, protocol, ports)
    else {
        return;
    };
    let position = pools.len();
    routes.push(Route {
        name: &rule.name,
        at: at.clone(),
        port_field: "frontendPort",
        frontend,
        protocol,
        ports: rule::arrival(protocol, frontend_port),
        target: pool.as_ref().map(|_| Target { pool: position, port: backend_port, floating }),
    });
    let Some(pool) = pool else { return };
    pools.push(pool);
    let frontend = frontends.get(frontend).filter(|frontend| frontend.done && is_done);
    let build = || {
        Some(Rule {
            name: Cow::Owned(format!("inboundNatRules/{}", rule.name)),
            frontend: frontend?.address,
            pool: position,
            protocol: rule::protocol_done(protocol)?,
            frontend_port: u16::try_from(frontend_port).ok()?,
            backend_port: u16::try_from(backend_port).ok()?,
            distribution: Distribution::Default,
            floating,
            idle: rule::idle(rule.idle_timeout_in_minutes)?,
            probe: None,
            when_down: WhenDown::Continue,
            hairpin: false,
        })
    };
    rules.extend(build());
}

/// A range of ports, one for each member of a pool.
fn follow_range<'a>(balancer: &mut Balancer<'a>, at: &Path, rule: &'a InboundNatRule) {
    let Balancer { document, report, pools, routes, .. } = balancer;
    let document: &LoadBalancer = document;
    let what = "ranges of inbound NAT rules come";
    let mend = "it does nothing: remove it, or use a rule for each member";
    field::not_there_yet(report, at, what, mend);
    let frontend = frontend(report, at, document, rule.frontend_ip_configuration.as_ref());
    let protocol = field::required(report, at, "protocol", rule.protocol);
    field::required(report, at, "backendPort", rule.backend_port);
    let backend_port = field::within(report, at, "backendPort", rule.backend_port, 1..=65_535);
    let idle = rule.idle_timeout_in_minutes;
    field::within(report, at, "idleTimeoutInMinutes", idle, IdleTimeout::RANGE);
    if rule.frontend_port.is_some_and(|port| port != 0) {
        let message = "a rule has one frontendPort or a range of them: keep one";
        report.add(&at.field("frontendPort"), Code::InvalidRequestFormat, message);
    }
    let reference = field::required(report, at, "backendAddressPool", rule.backend_address_pool.as_ref());
    let pool = reference.and_then(|reference| {
        resolve(report, (at, "backendAddressPool"), document, reference, Sibling::Pool)
    });
    let ports = range(report, at, rule.frontend_port_range_start, rule.frontend_port_range_end);
    if let (Some(ports), Some(pool)) = (&ports, pool.and_then(|pool| pools.get(pool))) {
        room_for_members(report, at, ports, pool);
    }
    let floating = rule.enable_floating_ip == Some(true);
    let (Some(frontend), Some(protocol), Some(ports)) = (frontend, protocol, ports) else { return };
    let target = pool.zip(backend_port).map(|(pool, port)| Target { pool, port, floating });
    let (at, port_field) = (at.clone(), "frontendPortRangeStart");
    routes.push(Route { name: &rule.name, at, port_field, frontend, protocol, ports, target });
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
