//! What exists: the documents of a cluster. A [`Draft`] is what becomes of them, with every write that leads there, in its order.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use model::document::words::IpVersion;
use model::document::{
    BackendAddressPool, FrontendIpConfiguration, LoadBalancer, NetworkInterface, NetworkSecurityGroup,
    PublicIpAddress, Subnet, VirtualNetwork,
};
use model::{Document, Kind, Prefix, ResourceId};

use crate::config::Config;
use crate::name;
use crate::service::Family;

/// Everything there is of what a cluster uses, by name in lower case. Copying it copies no document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    /// The load balancers of their group.
    pub balancers: BTreeMap<String, Arc<LoadBalancer>>,
    /// Public IPs by group and name.
    pub public_ips: BTreeMap<(String, String), Arc<PublicIpAddress>>,
    /// Network interfaces of nodes.
    pub interfaces: BTreeMap<String, Arc<NetworkInterface>>,
    /// The security group.
    pub security: Option<Arc<NetworkSecurityGroup>>,
    /// The network of the nodes.
    pub network: Option<Arc<VirtualNetwork>>,
}

/// One thing that is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A load balancer becomes this.
    PutBalancer(Arc<LoadBalancer>),
    /// One of its pools becomes this.
    PutPool(String, Box<BackendAddressPool>),
    /// A load balancer goes.
    DeleteBalancer(String),
    /// A public IP becomes this.
    PutPublicIp(Arc<PublicIpAddress>),
    /// A public IP goes: its id.
    DeletePublicIp(String),
    /// A network interface becomes this.
    PutInterface(Arc<NetworkInterface>),
    /// The security group becomes this.
    PutSecurityGroup(Arc<NetworkSecurityGroup>),
}

impl fmt::Display for Write {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutBalancer(it) => write!(out, "PUT lb {}", it.name),
            Self::PutPool(balancer, pool) => write!(out, "PUT pool {balancer}/{}", pool.name),
            Self::DeleteBalancer(name) => write!(out, "DELETE lb {name}"),
            Self::PutPublicIp(it) => write!(out, "PUT pip {}", it.name),
            Self::DeletePublicIp(id) => write!(out, "DELETE pip {}", name::last_segment(id)),
            Self::PutInterface(it) => write!(out, "PUT nic {}", it.name),
            Self::PutSecurityGroup(it) => write!(out, "PUT nsg {}", it.name),
        }
    }
}

/// Documents that are being changed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// As they are once all writes so far are done.
    pub documents: Documents,
    /// What was written so far.
    pub writes: Vec<Write>,
}

impl Documents {
    /// The load balancer of this name.
    #[must_use]
    pub fn balancer(&self, name: &str) -> Option<&Arc<LoadBalancer>> {
        self.balancers.get(&name.to_lowercase())
    }

    /// The public IP of this group and name.
    #[must_use]
    pub fn public_ip(&self, group: &str, name: &str) -> Option<&Arc<PublicIpAddress>> {
        self.public_ips.get(&(group.to_lowercase(), name.to_lowercase()))
    }

    /// The public IP that a frontend refers to.
    #[must_use]
    pub fn public_ip_of(&self, frontend: &FrontendIpConfiguration) -> Option<&Arc<PublicIpAddress>> {
        self.public_ips.get(&public_key(frontend)?)
    }

    /// The public IP of this address in a group.
    #[must_use]
    pub fn public_ip_at(&self, group: &str, address: IpAddr) -> Option<&Arc<PublicIpAddress>> {
        let group = group.to_lowercase();
        let in_group = self.public_ips.iter().filter(|((it, _), _)| *it == group);
        in_group.map(|(_, public)| public).find(|public| public.ip_address == Some(address))
    }

    /// The address of a frontend, where it has one.
    #[must_use]
    pub fn address_of(&self, frontend: &FrontendIpConfiguration) -> Option<IpAddr> {
        match &frontend.public_ip_address {
            Some(_) => self.public_ip_of(frontend)?.ip_address,
            None => frontend.private_ip_address,
        }
    }

    /// The family of a frontend.
    #[must_use]
    pub fn family_of(&self, frontend: &FrontendIpConfiguration) -> Family {
        let public = self.public_ip_of(frontend);
        let version = match public {
            Some(public) => return family_of(public),
            None => frontend.private_ip_address_version,
        };
        match (version, self.address_of(frontend)) {
            (_, Some(address)) => Family::of(address),
            (Some(IpVersion::V6), None) => Family::V6,
            (Some(IpVersion::V4) | None, None) => Family::V4,
        }
    }

    /// A subnet of the network.
    #[must_use]
    pub fn subnet(&self, name: &str) -> Option<&Subnet> {
        self.network.as_ref()?.subnets.iter().find(|subnet| subnet.name.eq_ignore_ascii_case(name))
    }

    /// The prefixes of a subnet.
    #[must_use]
    pub fn prefixes(&self, subnet: &str) -> Vec<Prefix> {
        self.subnet(subnet).map(|subnet| subnet.prefixes().collect()).unwrap_or_default()
    }

    /// What they become with a write done.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::PutBalancer(it) => {
                self.balancers.insert(it.name.to_lowercase(), Arc::clone(it));
            }
            Write::PutPool(name, pool) => {
                if let Some(balancer) = self.balancers.get_mut(&name.to_lowercase()) {
                    let pools = &mut Arc::make_mut(balancer).backend_address_pools;
                    match pools.iter_mut().find(|it| it.name.eq_ignore_ascii_case(&pool.name)) {
                        Some(there) => there.clone_from(pool),
                        None => pools.push((**pool).clone()),
                    }
                }
            }
            Write::DeleteBalancer(name) => {
                self.balancers.remove(&name.to_lowercase());
            }
            Write::PutPublicIp(it) => {
                let group = it.id.as_deref().map(group_of).unwrap_or_default();
                self.public_ips.insert((group, it.name.to_lowercase()), Arc::clone(it));
            }
            Write::DeletePublicIp(id) => {
                self.public_ips.remove(&key_of_public(id));
            }
            Write::PutInterface(it) => {
                self.interfaces.insert(it.name.to_lowercase(), Arc::clone(it));
            }
            Write::PutSecurityGroup(it) => self.security = Some(Arc::clone(it)),
        }
    }

    /// All of them, as what refers to what can be judged.
    pub fn each(&self) -> impl Iterator<Item = Arc<Document>> {
        let balancers = self.balancers.values().map(|it| Document::from((**it).clone()));
        let public_ips = self.public_ips.values().map(|it| Document::from((**it).clone()));
        let interfaces = self.interfaces.values().map(|it| Document::from((**it).clone()));
        let security = self.security.iter().map(|it| Document::from((**it).clone()));
        let network = self.network.iter().map(|it| Document::from((**it).clone()));
        balancers.chain(public_ips).chain(interfaces).chain(security).chain(network).map(Arc::new)
    }
}

impl Draft {
    /// Nothing is changed yet.
    #[must_use]
    pub const fn of(documents: Documents) -> Self {
        Self { documents, writes: Vec::new() }
    }

    /// Writes.
    pub fn write(&mut self, write: Write) {
        self.documents.apply(&write);
        self.writes.push(write);
    }

    /// Writes a load balancer, if that changes it.
    pub fn put_balancer(&mut self, balancer: LoadBalancer) {
        if self.documents.balancer(&balancer.name).is_none_or(|there| **there != balancer) {
            self.write(Write::PutBalancer(Arc::new(balancer)));
        }
    }

    /// Writes a public IP, if that changes it.
    pub fn put_public_ip(&mut self, public: PublicIpAddress) {
        let key = public.id.as_deref().map(key_of_public).unwrap_or_default();
        if self.documents.public_ips.get(&key).is_none_or(|there| **there != public) {
            self.write(Write::PutPublicIp(Arc::new(public)));
        }
    }
}

/// Where things are: ids.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a>(pub &'a Config);

impl Places<'_> {
    /// A load balancer.
    #[must_use]
    pub fn balancer(&self, name: &str) -> String {
        self.id(&self.0.balancer_group, Kind::LoadBalancer, name)
    }

    /// Something in a load balancer.
    #[must_use]
    pub fn in_balancer(&self, balancer: &str, collection: &str, name: &str) -> String {
        format!("{}/{collection}/{name}", self.balancer(balancer))
    }

    /// A public IP.
    #[must_use]
    pub fn public_ip(&self, group: &str, name: &str) -> String {
        self.id(group, Kind::PublicIpAddress, name)
    }

    /// The network of the nodes.
    #[must_use]
    pub fn network(&self) -> String {
        let (name, group) = &self.0.network;
        self.id(group, Kind::VirtualNetwork, name)
    }

    /// A subnet of it.
    #[must_use]
    pub fn subnet(&self, name: &str) -> String {
        format!("{}/subnets/{name}", self.network())
    }

    /// The network interface of a node.
    #[must_use]
    pub fn interface(&self, node: &str) -> String {
        self.id(&self.0.group, Kind::NetworkInterface, node)
    }

    /// The security group.
    #[must_use]
    pub fn security_group(&self) -> String {
        let (name, group) = &self.0.security_group;
        self.id(group, Kind::NetworkSecurityGroup, name)
    }

    /// What is no name of a group or resource makes an id that the store refuses; it is not our business to judge it.
    fn id(&self, group: &str, kind: Kind, name: &str) -> String {
        let id = ResourceId::new(&self.0.subscription, group, kind, name);
        id.map_or_else(
            |_| {
                let (subscription, segment) = (&self.0.subscription, kind.segment());
                format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network/{segment}/{name}")
            },
            |id| id.to_string(),
        )
    }
}

/// The family of a public IP.
#[must_use]
pub fn family_of(public: &PublicIpAddress) -> Family {
    match (public.public_ip_address_version, public.ip_address) {
        (Some(IpVersion::V6), _) => Family::V6,
        (Some(IpVersion::V4), _) | (None, None) => Family::V4,
        (None, Some(address)) => Family::of(address),
    }
}

/// The key of the public IP that a frontend refers to.
#[must_use]
pub fn public_key(frontend: &FrontendIpConfiguration) -> Option<(String, String)> {
    frontend.public_ip_address.as_ref()?.id.as_deref().map(key_of_public)
}

/// Group and name of a public IP's id, in lower case.
#[must_use]
pub fn key_of_public(id: &str) -> (String, String) {
    (group_of(id), name::last_segment(id).to_lowercase())
}

/// The resource group of an id, in lower case.
#[must_use]
pub fn group_of(id: &str) -> String {
    let mut parts = id.split('/');
    parts.find(|part| part.eq_ignore_ascii_case("resourceGroups"));
    parts.next().unwrap_or_default().to_lowercase()
}

/// Whether a reference within a load balancer is to the child of this name.
#[must_use]
pub fn is_to(reference: Option<&model::document::Reference>, name: &str) -> bool {
    reference.is_some_and(|it| name::last_segment(&it.id).eq_ignore_ascii_case(name))
}
