//! The ports of inbound NAT rules' ranges, as members are shown them.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Child, Entry, Inventory};
use crate::NatPorts;
use crate::document::words::TransportProtocol;
use crate::document::{BackendAddress, Document, InboundNatRule, LoadBalancer, NetworkInterface, Reference};
use crate::id;

/// A port of a frontend that leads to one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatMapping {
    /// The rule's name.
    pub rule: String,
    /// What it carries.
    pub protocol: Option<TransportProtocol>,
    /// The port clients call.
    pub frontend_port: u16,
    /// The member's port.
    pub backend_port: u32,
}

impl Inventory {
    /// The ports that lead to a member of a load balancer's pool, in the order of the rules; `None` if it has no such pool.
    #[must_use]
    pub fn nat_mappings(
        &self,
        balancer: &Document,
        pool: &str,
        member: IpAddr,
        ports: &NatPorts,
    ) -> Option<Vec<NatMapping>> {
        let entry = self.entry_of(balancer)?;
        let balancer = LoadBalancer::of(balancer)?;
        let pools = &balancer.backend_address_pools;
        let pool = pools.iter().find(|it| it.name.eq_ignore_ascii_case(pool))?;
        Some(mappings(&balancer.inbound_nat_rules, entry, &pool.name, member, ports))
    }

    /// The address of an interface's ip configuration, by its id.
    #[must_use]
    pub fn address_of(&self, configuration: &str) -> Option<IpAddr> {
        let place = self.find(configuration)?;
        let Child::Configuration(position) = place.child else { return None };
        let interface = NetworkInterface::of(&place.entry.document)?;
        interface.ip_configurations.get(position)?.private_ip_address
    }

    /// Shows the members of a load balancer's pools which ports lead to them.
    pub(super) fn show_ports(&self, balancer: &mut LoadBalancer, entry: &Entry, ports: &NatPorts) {
        for pool in &mut balancer.backend_address_pools {
            for member in &mut pool.load_balancer_backend_addresses {
                let Some(address) = self.address_of_member(member) else { continue };
                let mappings = mappings(&balancer.inbound_nat_rules, entry, &pool.name, address, ports);
                member.inbound_nat_rules_port_mapping = mappings.iter().map(NatMapping::shown).collect();
            }
        }
    }

    fn address_of_member(&self, member: &BackendAddress) -> Option<IpAddr> {
        let by_interface = || self.address_of(&member.network_interface_ip_configuration.as_ref()?.id);
        member.ip_address.or_else(by_interface)
    }
}

impl NatMapping {
    fn shown(&self) -> Value {
        json!({
            "inboundNatRuleName": self.rule,
            "frontendPort": self.frontend_port,
            "backendPort": self.backend_port,
        })
    }
}

fn mappings(
    rules: &[InboundNatRule],
    balancer: &Entry,
    pool: &str,
    member: IpAddr,
    ports: &NatPorts,
) -> Vec<NatMapping> {
    let leads_there =
        |to: &Reference| id::name_of(&to.id).is_some_and(|name| name.eq_ignore_ascii_case(pool));
    let of_pool = rules.iter().filter(|rule| rule.backend_address_pool.as_ref().is_some_and(leads_there));
    let mapping = |rule: &InboundNatRule| {
        Some(NatMapping {
            rule: rule.name.clone(),
            protocol: rule.protocol,
            frontend_port: ports.port(&NatPorts::name(&balancer.key, &rule.name), member)?,
            backend_port: rule.backend_port?,
        })
    };
    of_pool.filter_map(mapping).collect()
}
