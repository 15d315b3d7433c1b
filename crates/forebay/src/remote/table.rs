//! Columns for people, for each kind of resource others. What a column shows is read from what the server shows, so
//! that one newer than this command is shown as far as it is known here.

use model::Kind;
use serde_json::Value;

use super::diff::{self, Names};
use crate::show::Table;

#[cfg(test)]
mod tests;

/// Resources of one kind, each with the name it goes by.
pub(super) fn resources(kind: Kind, rows: &[(String, &Value)], wide: bool) -> String {
    let columns = columns(kind);
    let wide_heads = if wide { &["GROUP", "ETAG"][..] } else { &[] };
    let heads = columns.iter().map(|(head, _)| *head);
    let mut table = Table::of(["NAME"].into_iter().chain(heads).chain(wide_heads.iter().copied()));
    for (name, value) in rows {
        let row = Row::of(value);
        let mut cells = vec![vec![name.clone()]];
        cells.extend(columns.iter().map(|(_, cell)| cell(&row)));
        if wide {
            cells.push(vec![row.group()]);
            cells.push(vec![text(&value["etag"])]);
        }
        table.tall_row(cells);
    }
    written(&table)
}

/// Children, with everything they say.
pub(super) fn children(collection: &str, values: &[Value], wide: bool) -> String {
    let wide_heads = if wide { &["ETAG"][..] } else { &[] };
    let mut table = Table::of(["NAME", "FIELDS"].into_iter().chain(wide_heads.iter().copied()));
    for value in values {
        let fields = diff::fields_of(value, resource_of(collection));
        let fields = fields.into_iter().map(|(field, value)| format!("{field}: {value}")).collect();
        let mut cells = vec![vec![text(&value["name"])], fields];
        if wide {
            cells.push(vec![text(&value["etag"])]);
        }
        table.tall_row(cells);
    }
    written(&table)
}

type Cell = fn(&Row<'_>) -> Vec<String>;

/// What is worth a column.
fn columns(kind: Kind) -> &'static [(&'static str, Cell)] {
    match kind {
        Kind::LoadBalancer => {
            &[("FRONTENDS", frontends), ("RULES", rules), ("POOLS", pools), ("STATE", state)]
        }
        Kind::PublicIpAddress => &[
            ("ADDRESS", |row| row.texts("ipAddress")),
            ("METHOD", |row| row.texts("publicIPAllocationMethod")),
            ("USED BY", |row| row.references("ipConfiguration")),
            ("STATE", state),
        ],
        Kind::PublicIpPrefix => &[
            ("PREFIX", |row| row.texts("ipPrefix")),
            ("ADDRESSES", |row| row.references("publicIPAddresses")),
            ("STATE", state),
        ],
        Kind::VirtualNetwork => &[
            ("ADDRESSES", |row| row.list(&row.properties()["addressSpace"]["addressPrefixes"])),
            ("SUBNETS", subnets),
            ("STATE", state),
        ],
        Kind::NetworkInterface => &[
            ("ADDRESSES", interface_addresses),
            ("MAC", |row| row.texts("macAddress")),
            ("POOLS", interface_pools),
            ("STATE", state),
        ],
        Kind::NetworkSecurityGroup => &[("RULES", security_rules), ("STATE", state)],
        Kind::LogicalNetwork => &[("SUBNETS", subnets), ("IP POOLS", ip_pools), ("STATE", state)],
        Kind::LoadBalancerManager => &[
            ("ADDRESS", |row| row.texts("loadBalancerManagerIPAddress")),
            ("VIP POOLS", |row| row.references("vipIpPools")),
            ("STATE", state),
        ],
        Kind::LoadBalancerMux => {
            &[("SERVER", |row| row.references("virtualServer")), ("PEERS", peers), ("STATE", state)]
        }
        Kind::VirtualServer => &[("ADDRESSES", connections), ("STATE", state)],
    }
}

/// A resource, and how ids are said within it.
struct Row<'a> {
    value: &'a Value,
    names: Names,
}

impl<'a> Row<'a> {
    fn of(value: &'a Value) -> Self {
        Self { value, names: Names::within(value["id"].as_str().unwrap_or_default()) }
    }

    fn properties(&self) -> &'a Value {
        &self.value["properties"]
    }

    fn group(&self) -> String {
        self.value["id"].as_str().and_then(|id| id.split('/').nth(4)).unwrap_or_default().to_owned()
    }

    fn texts(&self, field: &str) -> Vec<String> {
        self.list(&self.properties()[field])
    }

    /// One value, or each of a list.
    fn list(&self, value: &Value) -> Vec<String> {
        match value {
            Value::Null => Vec::new(),
            Value::Array(list) => list.iter().map(|value| self.names.show(value)).collect(),
            other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                vec![self.names.show(other)]
            }
        }
    }

    /// What is referred to, be it one or a list, and be it shown whole.
    fn references(&self, field: &str) -> Vec<String> {
        let value = &self.properties()[field];
        let list = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        list.iter().filter_map(|it| it["id"].as_str()).map(|id| self.names.short(id)).collect()
    }

    /// Each child of a collection, with its name and its properties.
    fn children(&self, collection: &str) -> impl Iterator<Item = (String, &'a Value)> {
        children_of(self.properties(), collection)
    }
}

fn children_of<'a>(properties: &'a Value, collection: &str) -> impl Iterator<Item = (String, &'a Value)> {
    let list = properties[collection].as_array().map_or(&[][..], Vec::as_slice);
    list.iter().map(|child| (text(&child["name"]), &child["properties"]))
}

/// Whether it was accepted, and whether the data path does it, where that is another matter.
fn state(row: &Row<'_>) -> Vec<String> {
    let realised = row.properties()["configurationState"]["status"].as_str().filter(|state| !is_well(state));
    let mut said = row.texts("provisioningState");
    said.extend(realised.map(|state| format!("data path: {state}")));
    said
}

fn is_well(state: &str) -> bool {
    matches!(state, "Success" | "Uninitialized" | "Unknown")
}

/// What the data path says of it and of what is in it where not all is well, a line each.
pub(super) fn troubles(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect_troubles("", value, &mut found);
    found.dedup();
    found
}

fn collect_troubles(path: &str, value: &Value, found: &mut Vec<String>) {
    let properties = &value["properties"];
    let state = &properties["configurationState"];
    if let Some(status) = state["status"].as_str().filter(|status| !is_well(status)) {
        let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
        let details = state["detailedInfo"].as_array().map_or(&[][..], Vec::as_slice);
        let details = details.iter().filter_map(|detail| detail["message"].as_str());
        found.extend(details.map(|message| format!("{place}{status}: {message}")));
    }
    for (collection, children) in properties.as_object().into_iter().flatten() {
        for child in children.as_array().into_iter().flatten() {
            if let Some(name) = child["name"].as_str() {
                let path = if path.is_empty() { String::new() } else { format!("{path}/") };
                collect_troubles(&format!("{path}{collection}/{name}"), child, found);
            }
        }
    }
}

fn frontends(row: &Row<'_>) -> Vec<String> {
    let address = |front: &Value| match (front["privateIPAddress"].as_str(), &front["publicIPAddress"]) {
        (Some(address), _) => address.to_owned(),
        (None, public) => match (public["properties"]["ipAddress"].as_str(), public["id"].as_str()) {
            (Some(address), _) => address.to_owned(),
            (None, Some(id)) => row.names.short(id),
            (None, None) => "no address yet".to_owned(),
        },
    };
    row.children("frontendIPConfigurations")
        .map(|(name, front)| format!("{name} {}", address(front)))
        .collect()
}

fn rules(row: &Row<'_>) -> Vec<String> {
    let port = |rule: &Value| {
        let protocol = text(&rule["protocol"]).to_lowercase();
        let [first, last] =
            ["frontendPortRangeStart", "frontendPortRangeEnd"].map(|field| rule[field].as_u64());
        match (first.zip(last), rule["frontendPort"].as_u64()) {
            (Some((first, last)), _) => format!("{first}-{last}/{protocol}"),
            (None, Some(0)) => "all ports".to_owned(),
            (None, _) => format!("{}/{protocol}", text(&rule["frontendPort"])),
        }
    };
    let balanced = row.children("loadBalancingRules").map(|(name, rule)| {
        let pool = last(&rule["backendAddressPool"]["id"]);
        let pool = if pool.is_empty() { last(&rule["backendAddressPools"][0]["id"]) } else { pool };
        match rule["backendPort"].as_u64() {
            Some(0) | None => format!("{name} {} -> {pool}", port(rule)),
            Some(backend) => format!("{name} {} -> {pool}:{backend}", port(rule)),
        }
    });
    let translated = row.children("inboundNatRules").map(|(name, rule)| {
        let [target, pool] =
            ["backendIPConfiguration", "backendAddressPool"].map(|field| last(&rule[field]["id"]));
        let target = match (target.is_empty(), pool.is_empty()) {
            (false, _) => target,
            (true, false) => format!("one each of {pool}"),
            (true, true) => "nobody".to_owned(),
        };
        format!("{name} {} -> {target}:{}", port(rule), text(&rule["backendPort"]))
    });
    balanced.chain(translated).collect()
}

fn pools(row: &Row<'_>) -> Vec<String> {
    let members = |pool: &Value| {
        let length = |field: &str| pool[field].as_array().map_or(0, Vec::len);
        // Members by network interface may be shown in both lists.
        length("loadBalancerBackendAddresses").max(length("backendIPConfigurations"))
    };
    let pools = row.children("backendAddressPools");
    pools.map(|(name, pool)| format!("{name} ({})", crate::command::count(members(pool), "member"))).collect()
}

fn subnets(row: &Row<'_>) -> Vec<String> {
    let prefixes = |subnet: &Value| match subnet["addressPrefix"].as_str() {
        Some(prefix) => prefix.to_owned(),
        None => row.list(&subnet["addressPrefixes"]).join(" "),
    };
    row.children("subnets").map(|(name, subnet)| format!("{name} {}", prefixes(subnet))).collect()
}

fn ip_pools(row: &Row<'_>) -> Vec<String> {
    let pools = row.children("subnets").flat_map(|(subnet, properties)| {
        children_of(properties, "ipPools").map(move |(name, pool)| {
            let (from, to) = (text(&pool["startIpAddress"]), text(&pool["endIpAddress"]));
            format!("{subnet}/{name} {from}-{to}")
        })
    });
    pools.collect()
}

fn interface_addresses(row: &Row<'_>) -> Vec<String> {
    row.children("ipConfigurations")
        .map(|(name, it)| format!("{name} {}", text(&it["privateIPAddress"])))
        .collect()
}

fn interface_pools(row: &Row<'_>) -> Vec<String> {
    let ids = row.children("ipConfigurations").flat_map(|(_, properties)| {
        let list = |field: &str| properties[field].as_array().cloned().unwrap_or_default();
        [list("loadBalancerBackendAddressPools"), list("loadBalancerInboundNatRules")].concat()
    });
    ids.filter_map(|it| it["id"].as_str().map(|id| row.names.short(id))).collect()
}

fn security_rules(row: &Row<'_>) -> Vec<String> {
    let rules = row.children("securityRules").map(|(name, rule)| {
        let word = |field: &str| text(&rule[field]).to_lowercase();
        format!("{} {name}: {} {} {}", word("priority"), word("access"), word("direction"), word("protocol"))
    });
    rules.collect()
}

fn peers(row: &Row<'_>) -> Vec<String> {
    let peers = row.properties()["routerConfiguration"]["peerRouterConfigurations"].as_array();
    let peers = peers.map_or(&[][..], Vec::as_slice).iter();
    peers.map(|peer| format!("{} AS {}", text(&peer["routerIPAddress"]), text(&peer["peerASN"]))).collect()
}

fn connections(row: &Row<'_>) -> Vec<String> {
    let connections = row.properties()["connections"].as_array();
    let connections = connections.map_or(&[][..], Vec::as_slice).iter();
    connections.flat_map(|connection| row.list(&connection["managementAddresses"])).collect()
}

/// The name at the end of an id.
fn last(id: &Value) -> String {
    id.as_str().and_then(|id| id.rsplit('/').next()).unwrap_or_default().to_owned()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    }
}

/// The id of the resource that this is in.
fn resource_of(id: &str) -> &str {
    let end = id.match_indices('/').nth(9 - 1).map_or(id.len(), |(at, _)| at);
    &id[..end]
}

fn written(table: &Table) -> String {
    let mut text = String::new();
    table.write(&mut text);
    text
}
