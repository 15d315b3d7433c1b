//! Which addresses a document says are somebody's.

use std::net::IpAddr;

use crate::document::{Document, NetworkInterface};
use crate::net::MacAddress;

impl Document {
    /// The addresses that it has for itself: of frontends, of interfaces, of public IP addresses.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        match self {
            Self::LoadBalancer(it) => {
                it.frontend_ip_configurations.iter().filter_map(|it| it.private_ip_address).collect()
            }
            Self::PublicIpAddress(it) => it.ip_address.into_iter().collect(),
            Self::NetworkInterface(it) => {
                it.ip_configurations.iter().filter_map(|it| it.private_ip_address).collect()
            }
            Self::PublicIpPrefix(_)
            | Self::VirtualNetwork(_)
            | Self::NetworkSecurityGroup(_)
            | Self::LogicalNetwork(_)
            | Self::LoadBalancerManager(_)
            | Self::LoadBalancerMux(_)
            | Self::VirtualServer(_) => Vec::new(),
        }
    }
}

/// Those, and the addresses of machines that it speaks of.
pub(super) fn addresses(document: &Document) -> Vec<IpAddr> {
    let mut addresses = document.addresses();
    match document {
        Document::LoadBalancer(it) => {
            let members = it.backend_address_pools.iter().flat_map(|it| &it.load_balancer_backend_addresses);
            addresses.extend(members.filter_map(|member| member.ip_address));
            // An expanded one brings its address along.
            let public = it.frontend_ip_configurations.iter().filter_map(|it| it.public_ip_address.as_ref());
            addresses.extend(public.filter_map(|public| public.ip_address));
        }
        Document::LogicalNetwork(it) => {
            addresses.extend(it.subnets.iter().flat_map(|subnet| &subnet.default_gateways));
        }
        Document::LoadBalancerManager(it) => addresses.extend(it.load_balancer_manager_ip_address),
        Document::LoadBalancerMux(it) => {
            let peers = it.router_configuration.iter().flat_map(|it| &it.peer_router_configurations);
            addresses.extend(peers.flat_map(|it| [it.router_ip_address, it.local_ip_address]).flatten());
        }
        Document::PublicIpAddress(_)
        | Document::PublicIpPrefix(_)
        | Document::VirtualNetwork(_)
        | Document::NetworkInterface(_)
        | Document::NetworkSecurityGroup(_)
        | Document::VirtualServer(_) => {}
    }
    addresses
}

/// The link-layer address of an interface.
pub(super) fn mac(document: &Document) -> Option<MacAddress> {
    NetworkInterface::of(document)?.mac_address
}
