//! Outbound rules. The data path does not do them yet; whether they are valid is said all the same.

use std::collections::BTreeMap;

use super::conflict::overlap;
use super::field;
use super::pool::Pool;
use super::reference::{Sibling, resolve};
use crate::IdleTimeout;
use crate::document::words::TransportProtocol;
use crate::document::{LoadBalancer, OutboundRule};
use crate::limits::PORTS_OF_FRONTEND;
use crate::problem::{Code, Path, Report};

/// Which outbound rules use a frontend, and for which protocol.
type Users<'a> = BTreeMap<usize, Vec<(&'a str, TransportProtocol)>>;

pub(super) fn examine(report: &mut Report, balancer: &LoadBalancer, pools: &[Pool<'_>]) {
    let array = Path::default().field("outboundRules");
    let mut users = Users::new();
    for (index, rule) in balancer.outbound_rules.iter().enumerate() {
        let at = array.element(&rule.name, index);
        field::not_there_yet(report, &at, "outbound rules come", "it does nothing: remove it");
        let idle = rule.idle_timeout_in_minutes;
        field::within(report, &at, "idleTimeoutInMinutes", idle, IdleTimeout::RANGE);
        let protocol = field::required(report, &at, "protocol", rule.protocol);
        let frontends = frontends(report, &at, balancer, rule);
        for frontend in &frontends {
            use_frontend(report, &at, *frontend, (&rule.name, protocol), &mut users);
        }
        let reference =
            field::required(report, &at, "backendAddressPool", rule.backend_address_pool.as_ref());
        let pool = reference.and_then(|reference| {
            resolve(report, (&at, "backendAddressPool"), balancer, reference, Sibling::Pool)
        });
        allocated_ports(report, &at, rule, frontends.len(), pool.and_then(|pool| pools.get(pool)));
    }
    if !users.is_empty() {
        no_implicit_snat(report, balancer, &users);
    }
}

fn frontends(report: &mut Report, at: &Path, balancer: &LoadBalancer, rule: &OutboundRule) -> Vec<usize> {
    let at = at.field("frontendIPConfigurations");
    if rule.frontend_ip_configurations.is_empty() {
        report.add(&at, Code::MissingField, "an outbound rule needs a frontend to call out from: add one");
    }
    let resolve = |(index, reference): (usize, _)| {
        resolve(report, (&at, &index.to_string()), balancer, reference, Sibling::Frontend)
    };
    rule.frontend_ip_configurations.iter().enumerate().filter_map(resolve).collect()
}

fn use_frontend<'a>(
    report: &mut Report,
    at: &Path,
    frontend: usize,
    (name, protocol): (&'a str, Option<TransportProtocol>),
    users: &mut Users<'a>,
) {
    let Some(protocol) = protocol else { return };
    let others = users.entry(frontend).or_default();
    if let Some((other, _)) = others.iter().find(|(_, other)| overlap(*other, protocol)) {
        let message = format!("`{other}` uses the same frontend for the same protocol: use another frontend");
        let code = Code::MoreThanOneOutboundRuleUsingSameFrontendIPConfigurationAndProtocolIsNotSupported;
        report.add(&at.field("frontendIPConfigurations"), code, message);
    }
    others.push((name, protocol));
}

/// SNAT-1.
fn allocated_ports(
    report: &mut Report,
    at: &Path,
    rule: &OutboundRule,
    frontends: usize,
    pool: Option<&Pool<'_>>,
) {
    let Some(ports) = rule.allocated_outbound_ports else { return };
    let ports = usize::try_from(ports).unwrap_or(usize::MAX);
    let at = at.field("allocatedOutboundPorts");
    if !ports.is_multiple_of(8) {
        let message = format!("ports are handed out in blocks of 8: use {}", ports.next_multiple_of(8));
        let code = Code::SpecifiedAllocatedOutboundPortsForOutboundRuleIsNotAMultipleOfEight;
        report.add(&at, code, message);
    }
    let (name, supply) = (PORTS_OF_FRONTEND.name, PORTS_OF_FRONTEND.value);
    if ports > supply {
        let message = format!("the limit of {name} is {supply}: use no more");
        let code =
            Code::SpecifiedAllocatedOutboundPortsForOutboundRuleExceedsTotalNumberOfAllowedPortsPerRule;
        report.add(&at, code, message);
    } else if let Some(pool) =
        pool.filter(|pool| ports * pool.members.len() > supply * frontends && frontends > 0)
    {
        let message = format!(
            "{ports} ports for each of {} members are more than the {supply} of each of {frontends} frontends: use \
             fewer ports or more frontends",
            pool.members.len()
        );
        let code = Code::SpecifiedAllocatedOutboundPortsForOutboundRuleExceedsTotalNumberOfAvailablePorts;
        report.add(&at, code, message);
    }
}

fn no_implicit_snat(report: &mut Report, balancer: &LoadBalancer, users: &Users<'_>) {
    let array = Path::default().field("loadBalancingRules");
    for (index, rule) in balancer.load_balancing_rules.iter().enumerate() {
        let mut unheard = Report::new("");
        let frontend = rule.frontend_ip_configuration.as_ref().and_then(|reference| {
            resolve(&mut unheard, (&array, ""), balancer, reference, Sibling::Frontend)
        });
        let outbound = frontend.and_then(|frontend| users.get(&frontend)).and_then(|users| users.first());
        let at = array.element(&rule.name, index);
        let Some((outbound, _)) = outbound else { continue };
        if rule.protocol == Some(TransportProtocol::All) {
            let message =
                format!("outbound rule `{outbound}` uses the same frontend: give one of them another");
            let code = Code::AnyPortProtocolNotAllowedWithOtherOutboundNatRules; // HA-2
            report.add(&at.field("protocol"), code, message);
        }
        if rule.disable_outbound_snat != Some(true) {
            let message = format!("outbound rule `{outbound}` uses the same frontend: set this to true");
            let code = Code::LoadBalancingRuleMustDisableSNATSinceSameFrontendIPConfigurationIsReferencedByOutboundRule;
            report.add(&at.field("disableOutboundSnat"), code, message);
        }
    }
}
