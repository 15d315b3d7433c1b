//! What has to be there before any Service: the security group, the network of the nodes, and public addresses to hand out. On Azure they
//! are there; here the cloud config may say the latter two, and then the controller makes them.

use client::{Client, Error, Precondition};
use model::document::{AddressSpace, IpPool, LogicalNetwork, LogicalSubnet, Subnet, VirtualNetwork};
use model::{Document, Kind, ResourceId};

use crate::config::Config;
use crate::documents::Places;
use crate::translate::{complete, new_group};

/// The subnet and the pools of public addresses are called this.
const PUBLIC: &str = "public";

/// Makes what is missing, and says whether anything was.
pub(super) async fn lay(server: &Client, config: &Config, cluster: &str) -> Result<bool, Error> {
    let group = Places(config).security_group();
    let mut has_written = settle(server, &group, |there| security(config, there)).await?;
    if !config.subnets.is_empty() {
        let id = Places(config).network();
        has_written |= settle(server, &id, |there| network(config, &id, there)).await?;
    }
    if !config.public_addresses.is_empty() {
        let name = format!("{cluster}-{PUBLIC}");
        let id = ResourceId::new(&config.subscription, &config.group, Kind::LogicalNetwork, &name);
        if let Ok(id) = id {
            let id = id.to_string();
            has_written |= settle(server, &id, |there| pools(config, &name, &id, there)).await?;
        }
    }
    Ok(has_written)
}

/// Brings one resource to what is wanted, by what is there.
async fn settle(
    server: &Client,
    id: &str,
    wanted: impl Fn(Option<Document>) -> Option<Document>,
) -> Result<bool, Error> {
    let Some((id, _)) = ResourceId::parse(id) else { return Ok(false) };
    let there = server.get(&id).await?;
    let condition = match &there {
        Some(there) => Precondition::Is(there.etag.clone()),
        None => Precondition::Absent,
    };
    // What cannot be read is somebody's, and stays.
    let document = match there.map(|it| it.document()) {
        None => None,
        Some(Ok(document)) => Some(document),
        Some(Err(_)) => return Ok(false),
    };
    let Some(document) = wanted(document) else { return Ok(false) };
    server.put(&document, &condition).await.map(|_| true)
}

/// The group, with what the config says of it. Its rules are the Services' business.
fn security(config: &Config, there: Option<Document>) -> Option<Document> {
    match there {
        None => Some(new_group(config).into()),
        Some(Document::NetworkSecurityGroup(there)) => {
            let mut group = (*there).clone();
            complete(&mut group, config);
            (group != *there).then(|| group.into())
        }
        Some(_) => None,
    }
}

/// The network with the subnets it lacks. Those that are there are not touched.
fn network(config: &Config, id: &str, there: Option<Document>) -> Option<Document> {
    let mut network = match there {
        Some(Document::VirtualNetwork(there)) => *there,
        Some(_) => return None,
        None => VirtualNetwork {
            name: config.network.0.clone(),
            id: Some(id.to_owned()),
            location: config.location.clone(),
            ..VirtualNetwork::default()
        },
    };
    let missing: Vec<_> = (config.subnets.iter())
        .filter(|(name, _)| !network.subnets.iter().any(|it| it.name.eq_ignore_ascii_case(name)))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let space: &mut AddressSpace = network.address_space.get_or_insert_default();
    for (name, prefixes) in missing {
        for prefix in prefixes {
            if !space.address_prefixes.iter().any(|it| it.covers(*prefix)) {
                space.address_prefixes.push(*prefix);
            }
        }
        network.subnets.push(Subnet {
            name: name.clone(),
            address_prefixes: prefixes.clone(),
            ..Subnet::default()
        });
    }
    Some(network.into())
}

/// The pools of public addresses, as the config says them now.
fn pools(config: &Config, name: &str, id: &str, there: Option<Document>) -> Option<Document> {
    let pool = |(number, range): (usize, &crate::config::Range)| IpPool {
        name: format!("{PUBLIC}-{number}"),
        start_ip_address: Some(range.first),
        end_ip_address: Some(range.last),
        ..IpPool::default()
    };
    let pools: Vec<IpPool> = config.public_addresses.iter().enumerate().map(pool).collect();
    let ranges = |pools: &[IpPool]| -> Vec<_> {
        pools.iter().map(|pool| (pool.start_ip_address, pool.end_ip_address)).collect()
    };
    let mut network = match there {
        Some(Document::LogicalNetwork(there)) => *there,
        Some(_) => return None,
        None => {
            let id = Some(id.to_owned());
            LogicalNetwork { name: name.to_owned(), id, ..LogicalNetwork::default() }
        }
    };
    let position = network.subnets.iter().position(|it| it.name.eq_ignore_ascii_case(PUBLIC));
    match position.map(|position| &mut network.subnets[position]) {
        Some(subnet) if ranges(&subnet.ip_pools) == ranges(&pools) => return None,
        Some(subnet) => subnet.ip_pools = pools,
        None => network.subnets.push(LogicalSubnet {
            name: PUBLIC.to_owned(),
            is_public: Some(true),
            ip_pools: pools,
            ..LogicalSubnet::default()
        }),
    }
    Some(network.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_network_gets_what_it_lacks_and_keeps_what_it_has() {
        let config = config();
        let made = network(&config, "id", None).unwrap();
        let Document::VirtualNetwork(first) = &made else { unreachable!() };
        assert_eq!(first.subnets.len(), 2);
        assert_eq!(network(&config, "id", Some(made.clone())), None, "nothing is missing");
        let mut other = (**first).clone();
        other.subnets.remove(0);
        other.subnets[0].address_prefixes = vec!["10.9.0.0/24".parse().unwrap()];
        let Some(Document::VirtualNetwork(mended)) = network(&config, "id", Some(other.clone().into()))
        else {
            unreachable!()
        };
        assert_eq!(mended.subnets[0], other.subnets[0], "somebody wants it so");
        assert_eq!(mended.subnets.len(), 2);
    }

    #[test]
    fn the_group_is_there_before_any_rule_and_says_what_tags_stand_for() {
        let config = config();
        let made = security(&config, None).unwrap();
        assert_eq!(security(&config, Some(made.clone())), None);
        let Document::NetworkSecurityGroup(group) = &made else { unreachable!() };
        let prefixes: Vec<_> = group.prefixes_of_tag("storage").unwrap().collect();
        assert_eq!(prefixes, ["192.0.2.0/24".parse().unwrap()]);
        let mut other = (**group).clone();
        other.forebay = None;
        assert_eq!(security(&config, Some(other.into())), Some(made));
    }

    #[test]
    fn pools_follow_the_config() {
        let config = config();
        let made = pools(&config, "k-public", "id", None).unwrap();
        assert_eq!(pools(&config, "k-public", "id", Some(made.clone())), None);
        let Document::LogicalNetwork(mut it) = made else { unreachable!() };
        it.subnets[0].ip_pools.pop();
        assert!(pools(&config, "k-public", "id", Some((*it).into())).is_some());
    }

    fn config() -> Config {
        let value = json!({ "forebay": {
            "subnets": { "nodes": ["10.1.0.0/24"], "edge": ["10.2.0.0/24", "fd00:2::/64"] },
            "publicAddresses": ["203.0.113.0/28", "203.0.113.32-203.0.113.40"],
            "serviceTags": { "Storage": ["192.0.2.0/24"] },
        } });
        Config::read(&value).unwrap()
    }
}
