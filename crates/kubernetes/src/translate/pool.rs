//! Members: which nodes are in which pool, by their addresses or by their network interfaces.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use model::document::words::AllocationMethod;
use model::document::{BackendAddress, BackendAddressPool, IpConfiguration, NetworkInterface, Reference};

use super::Translation;
use super::frontend::version;
use crate::config::PoolType;
use crate::documents::Write;
use crate::name;
use crate::service::{Family, Service};

impl Translation<'_> {
    /// Brings the members of the pools of a Service, and of those that all share, to the nodes there are.
    pub(super) fn settle_members(&mut self, service: &Service<'_>, current: &str) {
        let balancers = match self.config.is_multiple() {
            true => self.all_managed(),
            false => vec![current.to_owned()],
        };
        for balancer in balancers {
            if self.has_foreign_members(&balancer) {
                continue;
            }
            let is_current = balancer.eq_ignore_ascii_case(current);
            for family in Family::BOTH {
                let mut pools = vec![name::pool(self.cluster.name, family)];
                let own = self.pool_of(service, family);
                if is_current && !pools.contains(&own) {
                    pools.push(own);
                }
                for pool in pools {
                    self.settle_pool(service, &balancer, &pool, family);
                }
            }
        }
    }

    fn settle_pool(&mut self, service: &Service<'_>, balancer: &str, name: &str, family: Family) {
        let Some(document) = self.draft.documents.balancer(balancer) else { return };
        let found = document.backend_address_pools.iter().find(|pool| pool.name.eq_ignore_ascii_case(name));
        let Some(there) = found else { return };
        let (balancer, there) = (document.name.clone(), there.clone());
        let wanted = self.wanted_members(service, &balancer, name, family);
        let mut pool = there.clone();
        match self.config.pools {
            PoolType::NodeIp => {
                self.settle_addresses(&mut pool, &wanted);
                self.settle_interfaces(&balancer, &pool, &BTreeMap::new(), family);
            }
            PoolType::NodeIpConfiguration => {
                pool.load_balancer_backend_addresses.clear();
                pool.virtual_network = None;
                self.settle_interfaces(&balancer, &pool, &wanted, family);
            }
        }
        if pool != there {
            self.draft.write(Write::PutPool(balancer, Box::new(pool)));
        }
    }

    /// The nodes that are to be in a pool, with their addresses of its family.
    pub(super) fn wanted_members(
        &self,
        service: &Service<'_>,
        balancer: &str,
        pool: &str,
        family: Family,
    ) -> BTreeMap<String, IpAddr> {
        let is_common = pool.eq_ignore_ascii_case(&name::pool(self.cluster.name, family));
        let hosts = self.cluster.endpoints.get(&service.key).filter(|_| !is_common);
        let serves = |node: &str| match is_common {
            true => self.serves_on(node, balancer),
            false => hosts.is_none_or(|hosts| hosts.contains(node)),
        };
        let members = self.members.iter().filter(|member| serves(&member.name));
        members.filter_map(|member| Some((member.name.clone(), member.address(family)?))).collect()
    }

    fn settle_addresses(&self, pool: &mut BackendAddressPool, wanted: &BTreeMap<String, IpAddr>) {
        let network = self.places.network();
        if !pool.virtual_network.as_ref().is_some_and(|it| it.id.eq_ignore_ascii_case(&network)) {
            pool.virtual_network = Some(Reference::to(network));
        }
        let members = &mut pool.load_balancer_backend_addresses;
        members.retain(|member| {
            let is_wanted = |address| wanted.values().any(|it| *it == address);
            member.ip_address.is_some_and(is_wanted)
        });
        for (name, address) in wanted {
            if !members.iter().any(|member| member.ip_address == Some(*address)) {
                members.push(BackendAddress {
                    name: name.clone(),
                    ip_address: Some(*address),
                    ..BackendAddress::default()
                });
            }
        }
    }

    /// Membership by interface is said on the interface of each node.
    fn settle_interfaces(
        &mut self,
        balancer: &str,
        pool: &BackendAddressPool,
        wanted: &BTreeMap<String, IpAddr>,
        family: Family,
    ) {
        let id = self.places.in_balancer(balancer, "backendAddressPools", &pool.name);
        let mut changed = Vec::new();
        for there in self.draft.documents.interfaces.values() {
            if wanted.contains_key(&there.name) {
                continue;
            }
            let mut interface = (**there).clone();
            for configuration in &mut interface.ip_configurations {
                let pools = &mut configuration.load_balancer_backend_address_pools;
                pools.retain(|pool| !pool.id.eq_ignore_ascii_case(&id));
            }
            if interface != **there {
                changed.push(interface);
            }
        }
        for (node, address) in wanted {
            let there = self.draft.documents.interfaces.get(&node.to_lowercase());
            let mut interface = match there {
                Some(there) => (**there).clone(),
                None => self.new_interface(node),
            };
            let configurations = &mut interface.ip_configurations;
            let position = configurations.iter().position(|it| it.private_ip_address == Some(*address));
            let position = position.unwrap_or_else(|| {
                configurations.push(self.new_configuration(*address, family));
                configurations.len() - 1
            });
            let pools = &mut configurations[position].load_balancer_backend_address_pools;
            if !pools.iter().any(|pool| pool.id.eq_ignore_ascii_case(&id)) {
                pools.push(Reference::to(id.clone()));
            }
            if there.is_none_or(|there| **there != interface) {
                changed.push(interface);
            }
        }
        for interface in changed {
            self.draft.write(Write::PutInterface(Arc::new(interface)));
        }
    }

    fn new_interface(&self, node: &str) -> NetworkInterface {
        NetworkInterface {
            name: node.to_owned(),
            id: Some(self.places.interface(node)),
            location: self.config.location.clone(),
            ..NetworkInterface::default()
        }
    }

    fn new_configuration(&self, address: IpAddr, family: Family) -> IpConfiguration {
        IpConfiguration {
            name: format!("ip{}", family.name().trim_start_matches("IP")),
            private_ip_address: Some(address),
            private_ip_allocation_method: Some(AllocationMethod::Static),
            private_ip_address_version: Some(version(family)),
            primary: Some(family == Family::V4),
            subnet: Some(Reference::to(self.places.subnet(&self.config.subnet))),
            ..IpConfiguration::default()
        }
    }
}
