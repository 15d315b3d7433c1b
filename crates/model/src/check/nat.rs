//! Inbound NAT rules and pools. The data path does not do the pools, which are for scale sets; whether they are valid is said all the
//! same.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::balancer::Balancer;
use super::frontend::Frontend;
use super::membership::{Binding, Membership};
use super::pool::Pool;
use super::reference::{Sibling, resolve};
use super::rule::{self, Route, Rule, Target, frontend};
use super::{Scope, field};
use crate::desired::WhenDown;
use crate::document::words::TransportProtocol;
use crate::document::{InboundNatPool, InboundNatRule, LoadBalancer};
use crate::problem::{Code, Path, Report};
use crate::{Distribution, IdleTimeout, NatPorts, ReturnPath};

const FRONTEND_PORTS: RangeInclusive<u32> = 1..=65_534;

pub(super) fn follow<'a>(balancer: &mut Balancer<'a>, scope: &Scope<'_>, members: &Membership<'a>) {
    let document = balancer.document;
    let array = Path::default().field("inboundNatRules");
    for (index, rule) in document.inbound_nat_rules.iter().enumerate() {
        let at = array.element(&rule.name, index);
        let bindings = members.of_nat_rule(balancer.entry, index);
        rule::protocol_not_there_yet(&mut balancer.report, &at, rule.protocol);
        extension(&mut balancer.report, &at, rule);
        if is_range(rule) {
            no_target(rule, bindings, members);
            follow_range(balancer, &at, rule, scope.ports);
            continue;
        }
        only_one_target(rule, bindings, members);
        if !scope.complete {
            mirror(&mut balancer.report, &at, rule, bindings);
        }
        follow_rule(balancer, &at, rule, bindings.first());
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

/// Whom a range leads to its pool says.
fn no_target(rule: &InboundNatRule, bindings: &[Binding<'_>], members: &Membership<'_>) {
    for binding in bindings {
        let message =
            format!("NAT rule `{}` leads to each member of its pool: put this into that pool", rule.name);
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

/// What `forebay` wishes of it, but for who may call and how answers come back.
fn extension(report: &mut Report, at: &Path, rule: &InboundNatRule) {
    let extension = rule.forebay.as_ref();
    rule::no_hairpin_where_floating(report, at, rule.enable_floating_ip, extension);
    rule::no_reset_without_probe(report, at, extension, "inbound NAT rules have none, so remove this");
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
    let idle = rule.idle_timeout_in_minutes;
    field::within(report, at, "idleTimeoutInMinutes", idle, IdleTimeout::RANGE);
    let first = frontend(report, at, document, rule.frontend_ip_configuration.as_ref());
    one_frontend(report, at, document, rule);
    let protocol = field::required(report, at, "protocol", rule.protocol);
    let ports = rule::ports(report, at, rule.protocol, rule.frontend_port, rule.backend_port);
    let floating = rule.enable_floating_ip == Some(true);
    let pool = target.map(|target| Pool::of_nat_rule(rule, at, target));
    if let (true, Some(ports), Some(pool)) = (floating, ports, &pool) {
        rule::return_path(report, at, ports, pool);
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
    let target = Target { pool: position, port: backend_port, floating };
    let build =
        |frontend: &Frontend<'_>| led(rule, frontend.address, (protocol, frontend_port), target, None);
    rules.extend(frontend.and_then(build));
}

/// A NAT rule's frontend port, and whom it leads to: everybody of the pool, which is its one target, or one of them.
fn led<'a>(
    rule: &'a InboundNatRule,
    frontend: Option<IpAddr>,
    (protocol, port): (TransportProtocol, u32),
    target: Target,
    only: Option<IpAddr>,
) -> Option<Rule<'a>> {
    Some(Rule {
        name: Cow::Owned(format!("inboundNatRules/{}", rule.name)),
        frontend,
        pool: target.pool,
        protocol: rule::protocol_done(protocol)?,
        frontend_port: u16::try_from(port).ok()?,
        backend_port: u16::try_from(target.port).ok()?,
        distribution: Distribution::Default,
        floating: target.floating,
        idle: rule::idle(rule.idle_timeout_in_minutes)?,
        probe: None,
        when_down: WhenDown::Continue,
        hairpin: rule::hairpin(rule.forebay.as_ref()),
        after_idle: rule::after_idle(rule.enable_tcp_reset, rule.forebay.as_ref()),
        only,
        guard: rule.forebay.as_ref().and_then(|it| it.service_security_group.as_ref()),
    })
}

/// Says which frontends beside the first one it does not listen on.
fn one_frontend(report: &mut Report, at: &Path, document: &LoadBalancer, rule: &InboundNatRule) {
    let more = rule::more_frontends(report, at, document, rule.forebay.as_ref());
    for place in more.into_iter().filter_map(|(_, place)| place) {
        let what = "inbound NAT rules on several frontends come";
        let mend = "the rule does nothing on this one: write a rule for each frontend";
        field::not_there_yet(report, &place, what, mend);
    }
}

/// NAT-1: each member of a pool has a port of the range.
fn follow_range<'a>(balancer: &mut Balancer<'a>, at: &Path, rule: &'a InboundNatRule, former: &NatPorts) {
    let is_done = balancer.is_done();
    let Balancer { document, entry, report, frontends, pools, routes, rules, nat_ranges, nat_ports, .. } =
        balancer;
    let document: &LoadBalancer = document;
    let first = frontend(report, at, document, rule.frontend_ip_configuration.as_ref());
    one_frontend(report, at, document, rule);
    rule::return_path_is_of_pool(report, at, rule.forebay.as_ref());
    let protocol = protocol_of_range(report, at, rule);
    field::required(report, at, "backendPort", rule.backend_port);
    let backend_port = field::within(report, at, "backendPort", rule.backend_port, 1..=65_535);
    let idle = rule.idle_timeout_in_minutes;
    field::within(report, at, "idleTimeoutInMinutes", idle, IdleTimeout::RANGE);
    if rule.frontend_port.is_some_and(|port| port != 0) {
        let message = "a rule has one frontendPort or a range of them: keep one";
        report.add(&at.field("frontendPort"), Code::InvalidRequestFormat, message);
    }
    let reference = field::required(report, at, "backendAddressPool", rule.backend_address_pool.as_ref());
    let position = reference.and_then(|reference| {
        resolve(report, (at, "backendAddressPool"), document, reference, Sibling::Pool)
    });
    let ports = range(report, at, rule.frontend_port_range_start, rule.frontend_port_range_end);
    let floating = rule.enable_floating_ip == Some(true);
    let target = position.zip(backend_port).map(|(pool, port)| Target { pool, port, floating });
    let (Some(number), Some(protocol), Some(ports)) = (first, protocol, ports) else { return };
    let (at, port_field, frontend) = (at.clone(), "frontendPortRangeStart", number);
    let route = Route { name: &rule.name, at, port_field, frontend, protocol, ports, target };
    let pool = target.and_then(|target| pools.get(target.pool));
    let frontend = frontends.get(number);
    if let (Some(target), Some(pool), Some(frontend)) = (target, pool, frontend) {
        rule::same_family(report, &route.at, frontend.address, pool);
        let members = members_of(pool, frontend.address);
        room_for_members(report, &route, members.len(), pool);
        let is_forwarded = is_forwarded(report, &route, target, pool);
        let name = NatPorts::name(&entry.key, &rule.name);
        let range = in_words(&route.ports);
        let ports = former.allot(&name, range.clone(), &members);
        let build = |port: u16, member: Option<IpAddr>| {
            led(rule, frontend.address, (protocol, port.into()), target, member)
        };
        if is_done && frontend.done && is_forwarded {
            rules.extend(ports.iter().filter_map(|(member, port)| build(*port, Some(*member))));
            nat_ranges.extend(build(*range.start(), None).map(|rule| (rule, *range.end())));
        }
        nat_ports.keep(name, ports);
    }
    routes.push(route);
}

/// A range is of one protocol with ports.
fn protocol_of_range(report: &mut Report, at: &Path, rule: &InboundNatRule) -> Option<TransportProtocol> {
    let protocol = field::required(report, at, "protocol", rule.protocol)?;
    if protocol == TransportProtocol::All {
        let message = "a range has ports of one protocol, and All has none: write a rule for each protocol";
        report.add(&at.field("protocol"), Code::InvalidRequestFormat, message);
        return None;
    }
    Some(protocol)
}

/// The members of a pool that a frontend leads to, in the order in which they have said so.
fn members_of(pool: &Pool<'_>, frontend: Option<IpAddr>) -> Vec<IpAddr> {
    let members = pool.members.iter().map(|member| member.address);
    members.filter(|member| frontend.is_none_or(|it| it.is_ipv4() == member.is_ipv4())).collect()
}

/// FIP-3: with floating IP members answer from the frontend's address and the backend port. Where that is not the port that was
/// called, answers have to pass the balancer.
fn is_forwarded(report: &mut Report, route: &Route<'_>, target: Target, pool: &Pool<'_>) -> bool {
    let is_answer_right = !target.floating
        || pool.return_path == ReturnPath::Gateway
        || route.ports == (target.port..=target.port);
    if !is_answer_right {
        let what = "ranges with floating IP whose answers do not pass the balancer come";
        let mend = format!(
            "it does nothing: make the balancer the gateway of pool `{}` and set `forebay.returnPath` there to \
             `gateway`, or set this to false",
            pool.name
        );
        field::not_there_yet(report, &route.at.field("enableFloatingIP"), what, &mend);
    }
    is_answer_right
}

fn in_words(ports: &RangeInclusive<u32>) -> RangeInclusive<u16> {
    // Both are within `FRONTEND_PORTS`.
    *ports.start() as u16..=*ports.end() as u16
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

/// A range that grew too small refuses whoever would be one too many; those that are there keep their ports.
fn room_for_members(report: &mut Report, route: &Route<'_>, members: usize, pool: &Pool<'_>) {
    let room = route.ports.clone().count();
    if members > room {
        let message =
            format!("the range has {room} ports for the {members} members of pool `{}`: widen it", pool.name);
        report.add(&route.at.field("frontendPortRangeEnd"), Code::OutOfRange, message);
    }
}
