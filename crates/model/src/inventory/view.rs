//! A document as everybody may see it: with who refers to it, and what follows from others.

use std::collections::HashMap;

use serde_json::json;

use super::{Entry, Inventory};
use crate::NatPorts;
use crate::document::words::AdminState;
use crate::document::{
    BackendAddress, BackendAddressPool, Document, IpPool, LoadBalancer, LogicalNetwork, NetworkSecurityGroup,
    PoolUsage, PublicIpAddress, PublicIpPrefix, Reference, VirtualNetwork,
};
use crate::id::Id;
use crate::kind::Kind;
use crate::resource_id::ResourceId;

impl Inventory {
    /// The document with all that follows from itself and others: who refers to what is in it, the members of its
    /// pools that are said elsewhere, how many addresses are taken.
    #[must_use]
    pub fn view(&self, document: &Document) -> Document {
        self.view_with_ports(document, &NatPorts::default())
    }

    /// The same, with the ports that members have in the ranges of inbound NAT rules.
    #[must_use]
    pub fn view_with_ports(&self, document: &Document, ports: &NatPorts) -> Document {
        let mut view = document.clone();
        let Some(entry) = self.entry_of(document) else { return view };
        let users = Users::of(self, entry);
        match &mut view {
            Document::LoadBalancer(it) => {
                balancer(it, entry, &users);
                self.show_ports(it, entry, ports);
            }
            Document::PublicIpAddress(it) => public_address(it, &users),
            Document::PublicIpPrefix(it) => prefix(it, &users),
            Document::VirtualNetwork(it) => virtual_network(it, &users),
            Document::NetworkSecurityGroup(it) => security_group(it, &users),
            Document::LogicalNetwork(it) => self.logical_network(it, &users),
            Document::LoadBalancerManager(it) => {
                let used = self.vip_pools_used(it.vip_ip_pools.iter());
                it.vip_pools_in_use = used;
            }
            Document::VirtualServer(it) => {
                it.load_balancer_muxes = users.ids(&[("virtualServer", None)]);
            }
            Document::NetworkInterface(_) | Document::LoadBalancerMux(_) => {}
        }
        view
    }

    fn logical_network(&self, network: &mut LogicalNetwork, users: &Users<'_>) {
        network.virtual_networks = users.ids(&[("logicalNetwork", None)]);
        for subnet in &mut network.subnets {
            let path = format!("/subnets/{}", subnet.name);
            subnet.ip_configurations = users.configurations(&path);
            subnet.network_interfaces = users.documents(&path, "subnet", Kind::NetworkInterface);
            for pool in &mut subnet.ip_pools {
                pool.usage = Some(self.usage(pool));
            }
        }
    }

    fn usage(&self, pool: &IpPool) -> PoolUsage {
        let in_words = |count: u128| Some(u32::try_from(count).unwrap_or(u32::MAX));
        PoolUsage {
            number_of_ip_addresses: in_words(pool.size()),
            number_of_ip_addresses_allocated: in_words(self.claimed_in(pool) as u128),
            number_of_ip_addresses_in_transition: Some(0),
        }
    }

    /// Those of the pools of which a frontend or a public address has an address.
    fn vip_pools_used<'r>(&self, pools: impl Iterator<Item = &'r Reference>) -> Vec<Reference> {
        let balancers = self.of_kind(Kind::LoadBalancer).chain(self.of_kind(Kind::PublicIpAddress));
        let taken: Vec<_> = balancers.flat_map(|document| document.addresses()).collect();
        let is_used = |reference: &&Reference| {
            let pool = self.find(&reference.id).and_then(|place| place.ip_pool());
            pool.is_some_and(|(_, pool)| taken.iter().any(|address| pool.has(*address)))
        };
        pools.filter(is_used).cloned().collect()
    }
}

/// Who refers to a document and into it: what is referred to, by which field, and the resource or child that does.
struct Users<'a> {
    by_child: HashMap<&'a str, Vec<Usage<'a>>>,
}

struct Usage<'a> {
    field: &'a str,
    by: &'a Entry,
    /// The child of that document that refers; the document as a whole, when none does.
    child: Option<(&'static str, &'a str)>,
}

impl<'a> Users<'a> {
    fn of(inventory: &'a Inventory, entry: &'a Entry) -> Self {
        let mut by_child: HashMap<&str, Vec<Usage<'_>>> = HashMap::new();
        for (by, link) in inventory.links_to(entry) {
            let child = child_of_path(by.document.kind(), &link.path);
            by_child.entry(link.child()).or_default().push(Usage { field: &link.field, by, child });
        }
        Self { by_child }
    }

    fn at(&self, path: &str) -> &[Usage<'a>] {
        self.by_child.get(&*path.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// The children that refer to what is at a path by this field; documents, where no child does.
    fn children(&self, path: &str, field: &str) -> Vec<Reference> {
        let usages = self.at(path).iter().filter(|usage| usage.field == field);
        sorted(usages.map(Usage::id).collect())
    }

    /// Who has an address in the subnet at a path. Members by address name their subnet too, and have none there.
    fn configurations(&self, path: &str) -> Vec<Reference> {
        let collections = ["ipConfigurations", "frontendIPConfigurations"];
        let has_address =
            |usage: &&Usage<'_>| usage.child.is_some_and(|(collection, _)| collections.contains(&collection));
        let usages = self.at(path).iter().filter(|usage| usage.field == "subnet");
        sorted(usages.filter(has_address).map(Usage::id).collect())
    }

    /// The documents of a kind that refer to what is at a path by this field.
    fn documents(&self, path: &str, field: &str, kind: Kind) -> Vec<Reference> {
        let usages = self.at(path).iter().filter(|usage| usage.field == field);
        let documents = usages.filter(|usage| usage.by.document.kind() == kind);
        sorted(documents.map(|usage| usage.by.label().to_owned()).collect())
    }

    /// Who refers to the document as a whole by one of these fields, from a child of this collection.
    fn ids(&self, wanted: &[(&str, Option<&str>)]) -> Vec<Reference> {
        let fits = |usage: &&Usage<'_>| {
            let collection = usage.child.map(|(collection, _)| collection);
            wanted.iter().any(|(field, from)| usage.field == *field && collection == *from)
        };
        sorted(self.at("").iter().filter(fits).map(Usage::id).collect())
    }
}

impl Usage<'_> {
    fn id(&self) -> String {
        let label = self.by.label().trim_end_matches('/');
        match self.child {
            Some((collection, name)) => format!("{label}/{collection}/{name}"),
            None => label.to_owned(),
        }
    }
}

fn sorted(mut ids: Vec<String>) -> Vec<Reference> {
    ids.sort();
    ids.dedup();
    ids.into_iter().map(Reference::to).collect()
}

/// The child at which a path begins.
fn child_of_path(kind: Kind, path: &str) -> Option<(&'static str, &str)> {
    let mut parts = path.split('/');
    let first = parts.next()?;
    let collection = kind.collections().iter().find(|collection| collection.name == first)?;
    Some((collection.name, parts.next()?))
}

fn balancer(balancer: &mut LoadBalancer, entry: &Entry, users: &Users<'_>) {
    let siblings = Siblings::of(balancer, entry);
    for frontend in &mut balancer.frontend_ip_configurations {
        let at = ("frontendipconfigurations", &*frontend.name);
        frontend.load_balancing_rules = siblings.of_collection(at, "loadBalancingRules");
        frontend.inbound_nat_rules = siblings.of_collection(at, "inboundNatRules");
        frontend.inbound_nat_pools = siblings.of_collection(at, "inboundNatPools");
        frontend.outbound_rules = siblings.of_collection(at, "outboundRules");
    }
    for pool in &mut balancer.backend_address_pools {
        let at = ("backendaddresspools", &*pool.name);
        pool.load_balancing_rules = siblings.of_collection(at, "loadBalancingRules");
        pool.inbound_nat_rules = siblings.of_collection(at, "inboundNatRules");
        pool.outbound_rules = siblings.of_collection(at, "outboundRules");
        pool.outbound_rule = pool.outbound_rules.first().cloned();
        let path = format!("/backendAddressPools/{}", pool.name);
        mirror_members(pool, users.children(&path, "loadBalancerBackendAddressPools"));
    }
    for probe in &mut balancer.probes {
        probe.load_balancing_rules = siblings.of_collection(("probes", &probe.name), "loadBalancingRules");
    }
    for rule in &mut balancer.inbound_nat_rules {
        let path = format!("/inboundNatRules/{}", rule.name);
        let mut bound = users.children(&path, "loadBalancerInboundNatRules").into_iter();
        rule.backend_ip_configuration = bound.next();
        // As Azure shows a range.
        if rule.frontend_port_range_start.is_some() {
            rule.frontend_port.get_or_insert(0);
        }
    }
}

/// Shows members that are said at their interfaces. An entry of such a member that says its health by order is
/// there already, under the same name.
fn mirror_members(pool: &mut BackendAddressPool, configurations: Vec<Reference>) {
    let positions: HashMap<String, usize> =
        pool.load_balancer_backend_addresses.iter().map(|it| it.name.to_ascii_lowercase()).zip(0..).collect();
    for configuration in &configurations {
        let name = mirror_name(&configuration.id);
        let position = positions.get(&name.to_ascii_lowercase());
        let ordered = position.and_then(|at| pool.load_balancer_backend_addresses.get_mut(*at));
        match ordered.filter(|entry| entry.ip_address.is_none()) {
            Some(entry) => entry.network_interface_ip_configuration = Some(configuration.clone()),
            None => pool.load_balancer_backend_addresses.push(BackendAddress {
                name,
                admin_state: Some(AdminState::None),
                network_interface_ip_configuration: Some(configuration.clone()),
                ..BackendAddress::default()
            }),
        }
    }
    pool.backend_ip_configurations = configurations;
}

/// What a member by interface is called in its pool, as Azure calls it.
pub(crate) fn mirror_name(configuration: &str) -> String {
    match ResourceId::parse(configuration) {
        Some((interface, path)) => {
            let name = path.first().map(|(_, name)| name.as_str()).unwrap_or_default();
            format!("{}_{}{name}", interface.group(), interface.name())
        }
        None => configuration.trim_matches('/').replace('/', "_"),
    }
}

/// Who refers to whom within one load balancer.
struct Siblings {
    users: HashMap<(String, String), Vec<(String, String)>>,
    label: String,
}

impl Siblings {
    fn of(balancer: &LoadBalancer, entry: &Entry) -> Self {
        let mut users: HashMap<_, Vec<_>> = HashMap::new();
        let mut refer = |collection: &str, name: &str, to: &Reference| {
            if let Some(id) = Id::parse(&to.id) {
                let at = (id.collection.to_ascii_lowercase(), id.name.to_ascii_lowercase());
                users.entry(at).or_default().push((collection.to_owned(), name.to_owned()));
            }
        };
        for rule in &balancer.load_balancing_rules {
            let more = rule.forebay.iter().flat_map(|it| &it.frontend_ip_configurations);
            let frontends = rule.frontend_ip_configuration.iter().chain(more);
            let pools = rule.backend_address_pools.iter();
            for to in frontends.chain(pools).chain(&rule.backend_address_pool).chain(&rule.probe) {
                refer("loadBalancingRules", &rule.name, to);
            }
        }
        for rule in &balancer.inbound_nat_rules {
            let more = rule.forebay.iter().flat_map(|it| &it.frontend_ip_configurations);
            for to in rule.frontend_ip_configuration.iter().chain(more).chain(&rule.backend_address_pool) {
                refer("inboundNatRules", &rule.name, to);
            }
        }
        for pool in &balancer.inbound_nat_pools {
            if let Some(to) = &pool.frontend_ip_configuration {
                refer("inboundNatPools", &pool.name, to);
            }
        }
        for rule in &balancer.outbound_rules {
            for to in rule.frontend_ip_configurations.iter().chain(&rule.backend_address_pool) {
                refer("outboundRules", &rule.name, to);
            }
        }
        Self { users, label: entry.label().trim_end_matches('/').to_owned() }
    }

    /// Those of a collection that refer to what is at a place.
    fn of_collection(&self, (collection, name): (&str, &str), from: &str) -> Vec<Reference> {
        let users = self.users.get(&(collection.to_owned(), name.to_ascii_lowercase()));
        let users = users.into_iter().flatten().filter(|(collection, _)| collection == from);
        let mut ids: Vec<_> = users.map(|(_, name)| format!("{}/{from}/{name}", self.label)).collect();
        ids.dedup();
        ids.into_iter().map(Reference::to).collect()
    }
}

fn public_address(address: &mut PublicIpAddress, users: &Users<'_>) {
    let user = users.children("", "publicIPAddress").into_iter().next();
    address.ip_configuration = user.map(|user| json!({ "id": user.id }));
}

fn prefix(prefix: &mut PublicIpPrefix, users: &Users<'_>) {
    prefix.public_ip_addresses = users.ids(&[("publicIPPrefix", None)]);
    let frontends = users.ids(&[("publicIPPrefix", Some("frontendIPConfigurations"))]);
    prefix.load_balancer_frontend_ip_configuration = frontends.into_iter().next();
}

fn virtual_network(network: &mut VirtualNetwork, users: &Users<'_>) {
    for subnet in &mut network.subnets {
        subnet.ip_configurations = users.configurations(&format!("/subnets/{}", subnet.name));
    }
}

fn security_group(group: &mut NetworkSecurityGroup, users: &Users<'_>) {
    let field = "networkSecurityGroup";
    group.network_interfaces = users.ids(&[(field, None)]);
    group.subnets = users.ids(&[(field, Some("subnets"))]);
    group.ip_configurations = users.ids(&[(field, Some("ipConfigurations"))]);
}
