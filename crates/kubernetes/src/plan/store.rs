//! Documents in memory, with what a store does beyond keeping them: it hands out addresses, and refuses what cannot be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use model::document::words::{
    Access, AllocationMethod, Direction, IpVersion, PublicIpSkuName, SecurityProtocol, SkuName,
    TransportProtocol,
};
use model::document::{
    FrontendIpConfiguration, InboundNatPool, InboundNatRule, LoadBalancer, LoadBalancingRule,
    NetworkSecurityGroup, OutboundRule, PublicIpAddress, PublicIpSku, Reference, SecurityRule, Sku, Subnet,
    VirtualNetwork,
};
use model::{Code, Inventory, Limits, Prefix, Problem, judge};
use serde_json::json;

use super::scenario::{self, Scenario, Several};
use crate::config::{Config, Range};
use crate::documents::{Documents, Places, Write, family_of, key_of_public, public_key};
use crate::failure::{Class, Failure};
use crate::name;
use crate::service::Family;
use crate::translate::label_of;

const FIRST_V4: Ipv4Addr = Ipv4Addr::new(20, 0, 0, 1);
const FIRST_V6: Ipv6Addr = Ipv6Addr::new(0x2603, 0x1030, 1, 0, 0, 0, 0, 1);
/// Private addresses are handed out from here on in a subnet.
const FIRST_PRIVATE: u128 = 100;
/// What a store of everything would refuse. Other problems come from what a scenario does not say.
const REFUSED: [Code; 9] = [
    Code::PrivateIPAddressNotInSubnet,
    Code::PrivateIPAddressInReservedRange,
    Code::PrivateIPAddressInUse,
    Code::MultipleIpConfigsRequestSamePrivateIpAddress,
    Code::PublicIPAddressInUse,
    Code::DifferentSkuLoadBalancersAndPublicIPAddressNotAllowed,
    Code::LimitReached,
    Code::LoadBalancerRuleCountLimitReachedForNic,
    Code::SubnetIsFull,
];

/// Documents in memory.
pub(super) struct Store {
    pub documents: Documents,
    /// Where public addresses come from, by family.
    ranges: BTreeMap<Family, Vec<Range>>,
    next_public: BTreeMap<Family, u128>,
    next_private: BTreeMap<(String, Family), u128>,
    /// What was wrong before anything was written is not the writer's fault.
    known: BTreeSet<Problem>,
}

impl Store {
    pub(super) fn of(scenario: &Scenario, config: &Config) -> Self {
        let mut documents =
            Documents { network: Some(Arc::new(network(scenario, config))), ..Documents::default() };
        for it in &scenario.existing_public_ips {
            documents.apply(&Write::PutPublicIp(Arc::new(public_ip(it, config))));
        }
        for it in &scenario.existing_load_balancers {
            let balancer = balancer(it, scenario, config);
            documents.apply(&Write::PutBalancer(Arc::new(balancer)));
        }
        if !scenario.existing_security_rules.is_empty() {
            documents.security = Some(Arc::new(security_group(&scenario.existing_security_rules, config)));
        }
        let known = problems(&documents);
        let of = |family: Family| -> Vec<Range> {
            let own = config.public_addresses.iter().copied().filter(|it| Family::of(it.first) == family);
            let own: Vec<Range> = own.collect();
            let open = match family {
                Family::V4 => Range { first: FIRST_V4.into(), last: Ipv4Addr::BROADCAST.into() },
                Family::V6 => Range { first: FIRST_V6.into(), last: Ipv6Addr::from(u128::MAX).into() },
            };
            if config.public_addresses.is_empty() { vec![open] } else { own }
        };
        Self {
            documents,
            ranges: Family::BOTH.into_iter().map(|family| (family, of(family))).collect(),
            next_public: BTreeMap::new(),
            next_private: BTreeMap::new(),
            known,
        }
    }

    /// Does one write, or refuses it.
    pub(super) fn write(&mut self, write: Write) -> Result<(), Failure> {
        let write = self.settled(write)?;
        self.refuse_early(&write)?;
        let mut documents = self.documents.clone();
        documents.apply(&write);
        let found = problems(&documents);
        if let Some(problem) = found.iter().find(|it| REFUSED.contains(&it.code) && !self.known.contains(it))
        {
            let name = name::last_segment(&problem.document);
            let message = format!("{}: {name}: {}: {}", problem.code, problem.path, problem.message);
            return Err(Failure::new(Class::Refused, message));
        }
        self.known = found;
        self.documents = documents;
        Ok(())
    }

    /// The write with the addresses that it leaves open.
    fn settled(&mut self, write: Write) -> Result<Write, Failure> {
        match write {
            Write::PutBalancer(it) => {
                let mut balancer = (*it).clone();
                for frontend in &mut balancer.frontend_ip_configurations {
                    self.settle_frontend(frontend)?;
                }
                Ok(Write::PutBalancer(Arc::new(balancer)))
            }
            Write::PutPublicIp(it) if it.ip_address.is_none() => {
                let mut public = (*it).clone();
                public.ip_address = Some(self.public_address(family_of(&public))?);
                Ok(Write::PutPublicIp(Arc::new(public)))
            }
            write @ (Write::PutPublicIp(_)
            | Write::PutPool(..)
            | Write::DeleteBalancer(_)
            | Write::DeletePublicIp(_)
            | Write::PutInterface(_)
            | Write::PutSecurityGroup(_)) => Ok(write),
        }
    }

    fn settle_frontend(&mut self, frontend: &mut FrontendIpConfiguration) -> Result<(), Failure> {
        let Some(subnet) = &frontend.subnet else { return Ok(()) };
        if frontend.private_ip_address.is_some() {
            return Ok(());
        }
        let family = match frontend.private_ip_address_version {
            Some(IpVersion::V6) => Family::V6,
            Some(IpVersion::V4) | None => Family::V4,
        };
        let subnet = name::last_segment(&subnet.id).to_owned();
        frontend.private_ip_address = Some(self.private_address(&subnet, family)?);
        Ok(())
    }

    fn public_address(&mut self, family: Family) -> Result<IpAddr, Failure> {
        let next = self.next_public.entry(family).or_default();
        let ranges = self.ranges.get(&family).map(Vec::as_slice).unwrap_or_default();
        let taken: BTreeSet<IpAddr> =
            self.documents.public_ips.values().filter_map(|it| it.ip_address).collect();
        while let Some(address) = nth(ranges, *next) {
            *next += 1;
            if !taken.contains(&address) {
                return Ok(address);
            }
        }
        let message = format!("no public {} address is free (forebay.publicAddresses)", family.name());
        Err(Failure::new(Class::Refused, message))
    }

    fn private_address(&mut self, subnet: &str, family: Family) -> Result<IpAddr, Failure> {
        let prefixes = self.documents.prefixes(subnet);
        let prefix = prefixes.into_iter().find(|prefix| Family::of(prefix.address()) == family);
        let full = |what: &str| {
            let message = format!("subnet {subnet} has no {what}{} address", family.name());
            Failure::new(Class::Refused, message)
        };
        let prefix = prefix.ok_or_else(|| full(""))?;
        let balancers = self.documents.balancers.values();
        let frontends = balancers.flat_map(|it| &it.frontend_ip_configurations);
        let taken: BTreeSet<IpAddr> = frontends.filter_map(|it| it.private_ip_address).collect();
        let next = self.next_private.entry((subnet.to_lowercase(), family)).or_insert(FIRST_PRIVATE);
        let range = [Range { first: prefix.first(), last: prefix.last() }];
        while let Some(address) = nth(&range, *next) {
            *next += 1;
            if !taken.contains(&address) {
                return Ok(address);
            }
        }
        Err(full("free "))
    }

    /// What a judge of documents does not look at.
    fn refuse_early(&self, write: &Write) -> Result<(), Failure> {
        let refuse = |message: String| Err(Failure::new(Class::Refused, message));
        match write {
            Write::PutPublicIp(public) => {
                let label = label_of(public);
                let key = public.id.as_deref().map(key_of_public);
                let twin = self.documents.public_ips.values().find(|other| {
                    label.is_some()
                        && label_of(other).map(str::to_lowercase) == label.map(str::to_lowercase)
                        && other.id.as_deref().map(key_of_public) != key
                });
                match twin {
                    Some(twin) => refuse(format!(
                        "DnsRecordInUse: DNS label {} is taken by public IP {}",
                        label.unwrap_or_default(),
                        twin.name
                    )),
                    None => Ok(()),
                }
            }
            Write::DeletePublicIp(id) => {
                let key = key_of_public(id);
                let user = self.documents.balancers.values().find(|balancer| {
                    let frontends = &balancer.frontend_ip_configurations;
                    frontends.iter().any(|frontend| public_key(frontend).as_ref() == Some(&key))
                });
                match user {
                    Some(user) => refuse(format!(
                        "PublicIPAddressCannotBeDeleted: public IP {} is used by load balancer {}",
                        name::last_segment(id),
                        user.name
                    )),
                    None => Ok(()),
                }
            }
            Write::PutBalancer(balancer) => {
                let names = |name: &str| balancer.frontend_ip_configurations.iter().any(|it| it.name == name);
                let dangling = balancer.load_balancing_rules.iter().find(|rule| {
                    rule.frontend_ip_configuration
                        .as_ref()
                        .is_some_and(|it| !names(name::last_segment(&it.id)))
                });
                match dangling {
                    Some(rule) => {
                        refuse(format!("InvalidResourceReference: rule {} has no frontend", rule.name))
                    }
                    None => Ok(()),
                }
            }
            Write::PutPool(..)
            | Write::DeleteBalancer(_)
            | Write::PutInterface(_)
            | Write::PutSecurityGroup(_) => Ok(()),
        }
    }
}

fn problems(documents: &Documents) -> BTreeSet<Problem> {
    let inventory = Inventory::of(documents.each());
    judge(&inventory, &Limits::default()).err().unwrap_or_default().into_iter().collect()
}

/// An address of ranges in a row.
fn nth(ranges: &[Range], mut index: u128) -> Option<IpAddr> {
    for range in ranges {
        let (first, last) = (number(range.first), number(range.last));
        if index <= last - first {
            let number = first + index;
            return match range.first {
                IpAddr::V4(_) => Some(Ipv4Addr::from(u32::try_from(number).ok()?).into()),
                IpAddr::V6(_) => Some(Ipv6Addr::from(number).into()),
            };
        }
        index -= last - first + 1;
    }
    None
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

fn network(scenario: &Scenario, config: &Config) -> VirtualNetwork {
    let default = Several::Several(vec!["10.240.0.0/16".to_owned(), "fd00:240::/64".to_owned()]);
    let mut subnets: Vec<(&str, &Several)> =
        scenario.subnets.iter().map(|(name, it)| (name.as_str(), it)).collect();
    if subnets.is_empty() && config.subnets.is_empty() {
        subnets.push((&config.subnet, &default));
    }
    let read = |prefixes: &Several| prefixes.each().filter_map(|it| it.parse::<Prefix>().ok()).collect();
    let said = subnets.into_iter().map(|(name, prefixes)| (name, read(prefixes)));
    let configured = config.subnets.iter().map(|(name, prefixes)| (name.as_str(), prefixes.clone()));
    let others = configured.filter(|(name, _)| !scenario.subnets.contains_key(*name));
    let subnets: Vec<(&str, Vec<Prefix>)> = said.chain(others).collect();
    let subnet = |(name, address_prefixes): (&str, Vec<Prefix>)| Subnet {
        name: name.to_owned(),
        address_prefixes,
        ..Subnet::default()
    };
    VirtualNetwork {
        name: config.network.0.clone(),
        id: Some(Places(config).network()),
        subnets: subnets.into_iter().map(subnet).collect(),
        ..VirtualNetwork::default()
    }
}

fn public_ip(it: &scenario::PublicIp, config: &Config) -> PublicIpAddress {
    let ip: Option<IpAddr> = it.ip.as_deref().and_then(|ip| ip.parse().ok());
    let is_v6 = it.version.as_deref().is_some_and(|it| it.eq_ignore_ascii_case("IPv6"))
        || it.version.is_none() && ip.is_some_and(|ip| ip.is_ipv6());
    let sku = match it.sku.as_deref() {
        Some(sku) if sku.eq_ignore_ascii_case("basic") => PublicIpSkuName::Basic,
        Some(_) => PublicIpSkuName::Standard,
        None if config.is_standard() => PublicIpSkuName::Standard,
        None => PublicIpSkuName::Basic,
    };
    let group = it.resource_group.as_deref().unwrap_or(&config.group);
    PublicIpAddress {
        name: it.name.clone(),
        id: Some(Places(config).public_ip(group, &it.name)),
        sku: Some(PublicIpSku { name: Some(sku), tier: None }),
        ip_address: ip,
        public_ip_address_version: Some(if is_v6 { IpVersion::V6 } else { IpVersion::V4 }),
        public_ip_allocation_method: Some(AllocationMethod::Static),
        dns_settings: it.dns_label.as_ref().map(|label| json!({ "domainNameLabel": label })),
        tags: it.tags.clone(),
        ..PublicIpAddress::default()
    }
}

fn balancer(it: &scenario::Balancer, scenario: &Scenario, config: &Config) -> LoadBalancer {
    let places = Places(config);
    let within = |collection, name: &str| Reference::to(places.in_balancer(&it.name, collection, name));
    let on = |name: &str| within("frontendIPConfigurations", name);
    let sku = match it.sku.as_deref() {
        Some(sku) if sku.eq_ignore_ascii_case("basic") => SkuName::Basic,
        Some(_) => SkuName::Standard,
        None => config.sku,
    };
    let group_of = |name: &str| {
        let public =
            scenario.existing_public_ips.iter().find(|public| public.name.eq_ignore_ascii_case(name));
        public.and_then(|public| public.resource_group.clone()).unwrap_or_else(|| config.group.clone())
    };
    let frontend = |it: &scenario::Frontend| {
        let public = it.public_ip.as_deref().map(|name| {
            let id = Some(places.public_ip(&group_of(name), name));
            Box::new(PublicIpAddress { name: name.to_owned(), id, ..PublicIpAddress::default() })
        });
        let private: Option<IpAddr> = it.private_ip.as_deref().and_then(|ip| ip.parse().ok());
        let is_static = it.allocation.as_deref().is_none_or(|it| it.eq_ignore_ascii_case("static"));
        let method = if is_static { AllocationMethod::Static } else { AllocationMethod::Dynamic };
        let subnet = public.is_none().then(|| it.subnet.as_deref().unwrap_or(&config.subnet));
        FrontendIpConfiguration {
            name: it.name.clone(),
            private_ip_address: private,
            private_ip_allocation_method: private.map(|_| method),
            private_ip_address_version: private
                .map(|ip| if ip.is_ipv6() { IpVersion::V6 } else { IpVersion::V4 }),
            subnet: subnet.map(|name| Reference::to(places.subnet(name))),
            public_ip_address: public,
            ..FrontendIpConfiguration::default()
        }
    };
    let nat_rule = |it: &scenario::NatRule| InboundNatRule {
        name: it.name.clone(),
        frontend_ip_configuration: Some(on(&it.frontend)),
        protocol: Some(transport(&it.protocol)),
        frontend_port: Some(it.frontend_port),
        backend_port: Some(it.frontend_port),
        ..InboundNatRule::default()
    };
    let nat_pool = |it: &scenario::NatPool| InboundNatPool {
        name: it.name.clone(),
        frontend_ip_configuration: Some(on(&it.frontend)),
        protocol: Some(transport(&it.protocol)),
        frontend_port_range_start: Some(it.frontend_port_start),
        frontend_port_range_end: Some(it.frontend_port_end),
        backend_port: Some(it.frontend_port_start),
        ..InboundNatPool::default()
    };
    let outbound = |it: &scenario::OutboundRule| OutboundRule {
        name: it.name.clone(),
        frontend_ip_configurations: it.frontends.iter().map(|name| on(name)).collect(),
        protocol: Some(TransportProtocol::All),
        ..OutboundRule::default()
    };
    let foreign = |number| LoadBalancingRule {
        name: format!("foreign-{number}"),
        frontend_port: Some(number),
        backend_port: Some(number),
        protocol: Some(TransportProtocol::Tcp),
        ..LoadBalancingRule::default()
    };
    LoadBalancer {
        name: it.name.clone(),
        id: Some(places.balancer(&it.name)),
        sku: Some(Sku { name: Some(sku), tier: None }),
        tags: it.tags.clone(),
        frontend_ip_configurations: it.frontends.iter().map(frontend).collect(),
        inbound_nat_rules: it.inbound_nat_rules.iter().map(nat_rule).collect(),
        inbound_nat_pools: it.inbound_nat_pools.iter().map(nat_pool).collect(),
        outbound_rules: it.outbound_rules.iter().map(outbound).collect(),
        load_balancing_rules: (1..=it.foreign_rule_count)
            .filter_map(|it| u32::try_from(it).ok())
            .map(foreign)
            .collect(),
        ..LoadBalancer::default()
    }
}

fn transport(word: &str) -> TransportProtocol {
    match word.to_ascii_lowercase().as_str() {
        "udp" => TransportProtocol::Udp,
        "all" => TransportProtocol::All,
        _ => TransportProtocol::Tcp,
    }
}

fn security_group(rules: &[scenario::SecurityRule], config: &Config) -> NetworkSecurityGroup {
    let rule = |it: &scenario::SecurityRule| SecurityRule {
        name: it.name.clone(),
        priority: Some(it.priority),
        access: Some(if it.access.eq_ignore_ascii_case("deny") { Access::Deny } else { Access::Allow }),
        direction: Some(Direction::Inbound),
        protocol: Some(match it.protocol.to_ascii_lowercase().as_str() {
            "tcp" => SecurityProtocol::Tcp,
            "udp" => SecurityProtocol::Udp,
            _ => SecurityProtocol::Any,
        }),
        source_port_range: Some("*".to_owned()),
        source_address_prefixes: it.sources.clone(),
        destination_address_prefixes: it.destinations.clone(),
        destination_port_ranges: it.destination_ports.clone(),
        ..SecurityRule::default()
    };
    NetworkSecurityGroup {
        name: config.security_group.0.clone(),
        id: Some(Places(config).security_group()),
        security_rules: rules.iter().map(rule).collect(),
        ..NetworkSecurityGroup::default()
    }
}
