//! Rules: one for each port of a Service and family, or one for all ports.

use model::document::words::{Distribution, TransportProtocol};
use model::document::{
    FrontendIpConfiguration, LoadBalancer, LoadBalancingRule, Probe, Reference, RuleExtension,
};

use super::Translation;
use super::owner::is_own;
use super::probe::node_port;
use crate::annotation::{self, HA_PORTS, IDLE_TIMEOUT, NO_TCP_RESET, PREFIX};
use crate::documents::is_to;
use crate::failure::{Class, Failure};
use crate::name;
use crate::service::{Family, Port, Service, Transport};

const IDLE_MINUTES: std::ops::RangeInclusive<i32> = 4..=100;

/// The rules and probes that a Service wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub rules: Vec<LoadBalancingRule>,
    pub probes: Vec<Probe>,
}

impl Wanted {
    fn add_probe(&mut self, probe: &Probe) {
        if !self.probes.iter().any(|there| there.name == probe.name) {
            self.probes.push(probe.clone());
        }
    }
}

impl Translation<'_> {
    /// The rules of a Service for one family, with their probes.
    pub(super) fn rules(
        &mut self,
        service: &Service<'_>,
        balancer: &LoadBalancer,
        frontend: &FrontendIpConfiguration,
        family: Family,
    ) -> Result<Wanted, Failure> {
        let common = self.common_probe(service, family)?;
        let ports = service.ports();
        let mut wanted = Wanted::default();
        if let Some(first) = ports.first().filter(|_| self.has_ha_ports(service)) {
            let name = name::rule(service, first.transport, first.number, family);
            let probe = match common.probe() {
                Some(common) => Some(common.clone()),
                // A port whose probe is faulty is passed over.
                None => ports
                    .iter()
                    .find_map(|port| self.own_probe(service, port, &common, name.clone()).ok().flatten()),
            };
            let mut rule = self.rule(service, balancer, frontend, family, name)?;
            rule.protocol = Some(TransportProtocol::All);
            rule.frontend_port = Some(0);
            rule.backend_port = Some(0);
            rule.enable_floating_ip = Some(family == Family::V4);
            rule.enable_tcp_reset = Some(!service.annotations.flag(NO_TCP_RESET));
            rule.probe = self.attach(&mut wanted, balancer, probe.as_ref());
            wanted.rules.push(rule);
            return Ok(wanted);
        }
        for port in &ports {
            let says = |what| service.annotations.flag(&annotation::of_port(port.number, what));
            if says("no_lb_rule") {
                continue;
            }
            if port.transport == Transport::Sctp && !(service.internal && self.config.is_standard()) {
                let message = format!(
                    "port {}: SCTP is only balanced on internal Services and standard load balancers",
                    port.number
                );
                return Err(Failure::new(Class::Sctp, message));
            }
            let name = name::rule(service, port.transport, port.number, family);
            let mut rule = self.rule(service, balancer, frontend, family, name.clone())?;
            let floating = !service.is_without_floating_ip() && (family == Family::V4 || !service.internal);
            rule.protocol = Some(protocol(port.transport));
            rule.frontend_port = u32::try_from(port.number).ok();
            rule.backend_port = match floating {
                true => u32::try_from(port.number).ok(),
                false => Some(node_port(port, "a rule without floating IP")?),
            };
            rule.enable_floating_ip = Some(floating);
            let resets = port.transport == Transport::Tcp && self.config.is_standard();
            rule.enable_tcp_reset = resets.then(|| !service.annotations.flag(NO_TCP_RESET));
            if !says("no_probe_rule") {
                let own = self.own_probe(service, port, &common, name)?;
                let probe = own.as_ref().or_else(|| common.probe());
                rule.probe = self.attach(&mut wanted, balancer, probe);
            }
            wanted.rules.push(rule);
        }
        Ok(wanted)
    }

    /// Whether one rule is to lead all ports to the members.
    pub(super) fn has_ha_ports(&self, service: &Service<'_>) -> bool {
        service.internal && self.config.is_standard() && service.annotations.flag(HA_PORTS)
    }

    fn attach(
        &self,
        wanted: &mut Wanted,
        balancer: &LoadBalancer,
        probe: Option<&Probe>,
    ) -> Option<Reference> {
        let probe = probe?;
        wanted.add_probe(probe);
        Some(Reference::to(self.places.in_balancer(&balancer.name, "probes", &probe.name)))
    }

    /// What all rules of a Service have in common.
    fn rule(
        &self,
        service: &Service<'_>,
        balancer: &LoadBalancer,
        frontend: &FrontendIpConfiguration,
        family: Family,
        name: String,
    ) -> Result<LoadBalancingRule, Failure> {
        let within =
            |collection, name: &str| Reference::to(self.places.in_balancer(&balancer.name, collection, name));
        let pool = within("backendAddressPools", &self.pool_of(service, family));
        let distribution = if service.is_sticky() { Distribution::SourceIp } else { Distribution::Default };
        // On Azure the subnet of the nodes names the group, and judges what else is behind it as well.
        let guard = RuleExtension {
            service_security_group: Some(Reference::to(self.places.security_group())),
            ..RuleExtension::default()
        };
        Ok(LoadBalancingRule {
            name,
            forebay: Some(guard),
            frontend_ip_configuration: Some(within("frontendIPConfigurations", &frontend.name)),
            backend_address_pool: Some(pool.clone()),
            backend_address_pools: vec![pool],
            load_distribution: Some(distribution),
            idle_timeout_in_minutes: Some(idle_timeout(service)?),
            disable_outbound_snat: self.config.is_standard().then_some(self.config.disable_outbound_snat),
            ..LoadBalancingRule::default()
        })
    }
}

fn idle_timeout(service: &Service<'_>) -> Result<u32, Failure> {
    let minutes = service.annotations.integer(IDLE_TIMEOUT)?.unwrap_or(*IDLE_MINUTES.start());
    if !IDLE_MINUTES.contains(&minutes) {
        let (least, most) = IDLE_MINUTES.into_inner();
        let message = format!(
            "annotation {PREFIX}{IDLE_TIMEOUT}: {minutes} is out of range: {least} to {most} minutes"
        );
        return Err(Failure::new(Class::OutOfRange, message));
    }
    Ok(minutes.unsigned_abs())
}

/// Azure has no word for SCTP, and cloud-provider-azure writes a rule for all protocols with a port.
const fn protocol(transport: Transport) -> TransportProtocol {
    match transport {
        Transport::Tcp => TransportProtocol::Tcp,
        Transport::Udp => TransportProtocol::Udp,
        Transport::Sctp => TransportProtocol::Sctp,
    }
}

/// Nobody else may have a port of the frontend: no rule of another Service, no inbound NAT rule or pool.
pub(super) fn check_conflicts(
    translation: &Translation<'_>,
    service: &Service<'_>,
    balancer: &LoadBalancer,
    frontend: &FrontendIpConfiguration,
) -> Result<(), Failure> {
    let here = |reference: &Option<Reference>| is_to(reference.as_ref(), &frontend.name);
    let wants_all = translation.has_ha_ports(service);
    let ports = service.ports();
    let wants = |is_protocol: &dyn Fn(TransportProtocol) -> bool, first: u32, last: u32| {
        let hit = |port: &&Port<'_>| {
            is_protocol(protocol(port.transport))
                && u32::try_from(port.number).is_ok_and(|number| (first..=last).contains(&number))
        };
        ports.iter().find(hit).map(|port| format!("port {}/{}", port.number, port.transport.name()))
    };
    let refuse = |port: String, user: String| {
        let message = format!(
            "{port} of {} is in use: {user} has it on frontend {} of load balancer {}",
            service.key, frontend.name, balancer.name
        );
        Err(Failure::new(Class::PortConflict, message))
    };
    let others = balancer.load_balancing_rules.iter().filter(|rule| !is_own(service, &rule.name));
    for rule in others.filter(|rule| here(&rule.frontend_ip_configuration)) {
        let number = rule.frontend_port.unwrap_or_default();
        let takes_all = rule.protocol == Some(TransportProtocol::All) && number == 0;
        let port = match wants_all || takes_all {
            true => ports.first().map(|port| format!("port {}/{}", port.number, port.transport.name())),
            false => wants(&|protocol| rule.protocol == Some(protocol), number, number),
        };
        if let Some(port) = port {
            return refuse(port, format!("load balancing rule {}", rule.name));
        }
    }
    for rule in balancer.inbound_nat_rules.iter().filter(|rule| here(&rule.frontend_ip_configuration)) {
        let first = rule.frontend_port.or(rule.frontend_port_range_start).unwrap_or_default();
        let last = rule.frontend_port.or(rule.frontend_port_range_end).unwrap_or(first);
        let fits = |protocol| rule.protocol == Some(protocol);
        if let Some(port) = wants(&fits, first, last) {
            return refuse(port, format!("inbound NAT rule {}", rule.name));
        }
    }
    for pool in balancer.inbound_nat_pools.iter().filter(|pool| here(&pool.frontend_ip_configuration)) {
        let (first, last) = (
            pool.frontend_port_range_start.unwrap_or_default(),
            pool.frontend_port_range_end.unwrap_or_default(),
        );
        let fits = |protocol| pool.protocol == Some(protocol);
        if let Some(port) = wants(&fits, first, last) {
            return refuse(port, format!("inbound NAT pool {}", pool.name));
        }
    }
    Ok(())
}

/// Whether a rule that is there is the wanted one. What nobody decides here does not count.
pub(super) fn is_same(there: &LoadBalancingRule, wanted: &LoadBalancingRule) -> bool {
    let same_end = |some: &Option<Reference>, other: &Option<Reference>| match (some, other) {
        (Some(some), Some(other)) => {
            name::last_segment(&some.id).eq_ignore_ascii_case(name::last_segment(&other.id))
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let is_tcp = wanted.protocol == Some(TransportProtocol::Tcp);
    let is_on = |flag: Option<bool>| flag.unwrap_or_default();
    let guard = |rule: &LoadBalancingRule| {
        let group = rule.forebay.as_ref().and_then(|it| it.service_security_group.as_ref());
        group.map(|it| it.id.to_lowercase())
    };
    there.name.eq_ignore_ascii_case(&wanted.name)
        && there.protocol == wanted.protocol
        && (!is_tcp || is_on(there.enable_tcp_reset) == is_on(wanted.enable_tcp_reset))
        && same_end(&there.frontend_ip_configuration, &wanted.frontend_ip_configuration)
        && same_end(&there.backend_address_pool, &wanted.backend_address_pool)
        && there.load_distribution.unwrap_or(Distribution::Default)
            == wanted.load_distribution.unwrap_or(Distribution::Default)
        && there.frontend_port == wanted.frontend_port
        && there.backend_port == wanted.backend_port
        && same_end(&there.probe, &wanted.probe)
        && guard(there) == guard(wanted)
        && is_on(there.enable_floating_ip) == is_on(wanted.enable_floating_ip)
        && is_on(there.disable_outbound_snat) == is_on(wanted.disable_outbound_snat)
        && there.idle_timeout_in_minutes.zip(wanted.idle_timeout_in_minutes).is_none_or(|(a, b)| a == b)
}

/// Whether a probe that is there is the wanted one.
pub(super) fn is_same_probe(there: &Probe, wanted: &Probe) -> bool {
    let path = |probe: &Probe| probe.request_path.as_deref().unwrap_or_default().to_lowercase();
    let threshold = |probe: &Probe| probe.probe_threshold.or(probe.number_of_probes);
    there.name.eq_ignore_ascii_case(&wanted.name)
        && there.protocol == wanted.protocol
        && path(there) == path(wanted)
        && there.port == wanted.port
        && there.interval_in_seconds == wanted.interval_in_seconds
        && threshold(there) == threshold(wanted)
}
