//! Everything there is, as programs and people read it: references are names, and lists are sorted by name.

use std::net::IpAddr;

use model::document::words::TransportProtocol;
use model::document::{
    LoadBalancer, LoadBalancingRule, NetworkSecurityGroup, PublicIpAddress, Reference, SecurityRule,
};
use serde_json::{Value, json};

use crate::config::Config;
use crate::documents::{Documents, family_of, group_of};
use crate::name::last_segment;
use crate::translate::placement::Placement;
use crate::translate::{ip_tag_pairs, label_of};

pub(super) fn of(documents: &Documents) -> Value {
    let balancers = documents.balancers.values().map(|it| balancer(documents, it)).collect();
    let public_ips = documents.public_ips.values().map(|it| public_ip(it)).collect();
    let rules = documents.security.as_deref().map(security_rules).unwrap_or_default();
    json!({
        "loadBalancers": sorted(balancers),
        "publicIPs": sorted(public_ips),
        "securityRules": sorted(rules),
    })
}

/// Who is where, for each configuration.
pub(super) fn placement(config: &Config, placement: &Placement) -> Value {
    let placed = config.balancers.iter().map(|placing| {
        let placed = placement.at(&placing.name);
        let services: Vec<String> =
            placed.into_iter().flat_map(|it| &it.services).map(ToString::to_string).collect();
        let nodes: Vec<&String> = placed.and_then(|it| it.nodes.as_ref()).into_iter().flatten().collect();
        (placing.name.clone(), json!({ "services": services, "nodes": nodes }))
    });
    Value::Object(placed.collect())
}

fn balancer(documents: &Documents, it: &LoadBalancer) -> Value {
    let frontends = it.frontend_ip_configurations.iter().map(|frontend| match &frontend.public_ip_address {
        Some(public) => json!({
            "name": frontend.name,
            "publicIP": public.id.as_deref().map_or(public.name.as_str(), last_segment),
        }),
        None => json!({
            "name": frontend.name,
            "subnet": name_of(frontend.subnet.as_ref()),
            "privateIP": frontend.private_ip_address,
            "allocation": frontend.private_ip_allocation_method.map(|it| it.as_str()),
            "version": documents.family_of(frontend).name(),
        }),
    });
    let pools = it
        .backend_address_pools
        .iter()
        .map(|pool| json!({ "name": pool.name, "addresses": sorted(members(documents, it, &pool.name)) }));
    let probes = it.probes.iter().map(|probe| {
        json!({
            "name": probe.name,
            "protocol": probe.protocol.map(|it| it.as_str()),
            "port": probe.port,
            "path": probe.request_path,
            "intervalSeconds": probe.interval_in_seconds,
            "threshold": probe.probe_threshold.or(probe.number_of_probes),
        })
    });
    json!({
        "name": it.name,
        "sku": it.sku_name().as_str(),
        "tags": it.tags,
        "frontends": sorted(frontends.collect()),
        "backendPools": sorted(pools.collect()),
        "probes": sorted(probes.collect()),
        "rules": sorted(it.load_balancing_rules.iter().map(rule).collect()),
    })
}

/// Members by address, and those whose interfaces say that they are in the pool.
fn members(documents: &Documents, balancer: &LoadBalancer, pool: &str) -> Vec<Value> {
    let pools = balancer.backend_address_pools.iter().filter(|it| it.name == pool);
    let by_address = pools.flat_map(|pool| &pool.load_balancer_backend_addresses);
    let mut members: Vec<Value> =
        by_address.map(|member| json!({ "name": member.name, "ip": member.ip_address })).collect();
    let own = balancer.id.as_deref().unwrap_or_default().to_lowercase();
    let id = format!("{own}/backendaddresspools/{}", pool.to_lowercase());
    for interface in documents.interfaces.values() {
        let ours = interface.ip_configurations.iter().filter(|configuration| {
            configuration.load_balancer_backend_address_pools.iter().any(|it| it.id.to_lowercase() == id)
        });
        members.extend(ours.map(|it| json!({ "name": interface.name, "ip": it.private_ip_address })));
    }
    members
}

fn rule(it: &LoadBalancingRule) -> Value {
    json!({
        "name": it.name,
        "protocol": it.protocol.map(in_azures_words),
        "frontend": name_of(it.frontend_ip_configuration.as_ref()),
        "frontendPort": it.frontend_port,
        "backendPool": name_of(it.backend_address_pool.as_ref()),
        "backendPort": it.backend_port,
        "probe": name_of(it.probe.as_ref()),
        "floatingIP": it.enable_floating_ip.unwrap_or_default(),
        "tcpReset": it.enable_tcp_reset,
        "idleTimeoutMinutes": it.idle_timeout_in_minutes,
        "distribution": it.load_distribution.map(|it| it.as_str()),
        "disableOutboundSnat": it.disable_outbound_snat.unwrap_or_default(),
    })
}

/// Azure has no word for SCTP: it shows a rule for all protocols, with one port.
const fn in_azures_words(protocol: TransportProtocol) -> &'static str {
    match protocol {
        TransportProtocol::Sctp => TransportProtocol::All.as_str(),
        TransportProtocol::Tcp
        | TransportProtocol::Udp
        | TransportProtocol::All
        | TransportProtocol::Quic
        | TransportProtocol::Gre
        | TransportProtocol::Esp => protocol.as_str(),
    }
}

fn public_ip(it: &PublicIpAddress) -> Value {
    let id = it.id.as_deref().unwrap_or_default();
    // The group as it was written, not as it is looked up.
    let group = id.split('/').nth(4).map_or_else(|| group_of(id), str::to_owned);
    json!({
        "name": it.name,
        "resourceGroup": group,
        "ip": it.ip_address,
        "version": family_of(it).name(),
        "sku": it.sku.as_ref().and_then(|sku| sku.name).map(|it| it.as_str()),
        "allocation": it.public_ip_allocation_method.map(|it| it.as_str()),
        "dnsLabel": label_of(it),
        "prefix": name_of(it.public_ip_prefix.as_ref()),
        "tags": it.tags,
        "ipTags": ip_tag_pairs(&it.ip_tags),
    })
}

fn security_rules(group: &NetworkSecurityGroup) -> Vec<Value> {
    let rule = |it: &SecurityRule| {
        json!({
            "name": it.name,
            "priority": it.priority,
            "access": it.access.map(|it| it.as_str()),
            "protocol": it.protocol.map(|it| it.as_str()),
            "sources": texts(it.source_address_prefix.as_ref(), &it.source_address_prefixes),
            "destinations": texts(it.destination_address_prefix.as_ref(), &it.destination_address_prefixes),
            "destinationPorts": texts(it.destination_port_range.as_ref(), &it.destination_port_ranges),
        })
    };
    group.security_rules.iter().map(rule).collect()
}

/// Both fields of a list, sorted as text.
fn texts(single: Option<&String>, several: &[String]) -> Vec<String> {
    let mut texts: Vec<String> = single.into_iter().chain(several).cloned().collect();
    texts.sort();
    texts.dedup();
    texts
}

fn name_of(reference: Option<&Reference>) -> Option<&str> {
    reference.map(|it| last_segment(&it.id))
}

fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    let key = |value: &Value| {
        let address: Option<IpAddr> = value["ip"].as_str().and_then(|ip| ip.parse().ok());
        (value["name"].as_str().unwrap_or_default().to_owned(), address)
    };
    values.sort_by_key(key);
    values
}
