//! Small worlds of documents for tests.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{Document, Inventory, Kind, Problem, ResourceId};

/// The id of a resource in the group of these tests, or of a child of one: `loadBalancers/b/probes/p`.
pub(crate) fn id(path: &str) -> String {
    format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/{path}")
}

pub(crate) fn to(path: &str) -> Value {
    json!({ "id": id(path) })
}

pub(crate) fn resource_id(path: &str) -> ResourceId {
    ResourceId::parse(&id(path)).unwrap().0
}

/// A document: `loadBalancers/b` with these properties.
pub(crate) fn document(path: &str, properties: Value) -> Arc<Document> {
    let (segment, name) = path.split_once('/').unwrap();
    let kind = Kind::of_segment(segment).unwrap();
    let value = json!({ "name": name, "id": id(path), "type": kind.type_name(), "properties": properties });
    let mut document = Document::read(&value, name).unwrap_or_else(|problems| panic!("{problems:#?}"));
    document.identify(&resource_id(path));
    Arc::new(document)
}

/// A list of named children, each with its properties.
pub(crate) fn named<const N: usize>(children: [(&str, Value); N]) -> Value {
    children.into_iter().map(|(name, properties)| json!({ "name": name, "properties": properties })).collect()
}

/// A virtual network of two subnets, a security group, and a logical network with a private and a public pool that
/// frontends come from.
pub(crate) fn fabric() -> Vec<Arc<Document>> {
    let private = named([
        ("vips", json!({ "startIpAddress": "10.9.0.10", "endIpAddress": "10.9.0.13" })),
        ("hosts", json!({ "startIpAddress": "10.9.0.100", "endIpAddress": "10.9.0.103" })),
    ]);
    let public =
        named([("vips", json!({ "startIpAddress": "203.0.113.8", "endIpAddress": "203.0.113.11" }))]);
    let subnets = named([
        (
            "back",
            json!({ "addressPrefix": "10.9.0.0/24", "defaultGateways": ["10.9.0.1"], "ipPools": private }),
        ),
        ("out", json!({ "addressPrefix": "203.0.113.0/24", "isPublic": true, "ipPools": public })),
    ]);
    let pools = [
        to("logicalNetworks/ln/subnets/back/ipPools/vips"),
        to("logicalNetworks/ln/subnets/out/ipPools/vips"),
    ];
    vec![
        document(
            "virtualNetworks/vn",
            json!({ "addressSpace": { "addressPrefixes": ["10.1.0.0/16", "fd00:1::/48"] }, "subnets": named([
                ("front", json!({ "addressPrefixes": ["10.1.1.0/28", "fd00:1:0:1::/64"] })),
                ("back", json!({ "addressPrefix": "10.1.2.0/24", "networkSecurityGroup": to("networkSecurityGroups/sg") })),
            ]) }),
        ),
        document("networkSecurityGroups/sg", json!({})),
        document("logicalNetworks/ln", json!({ "subnets": subnets })),
        document(
            "loadBalancerManagers/config",
            json!({ "loadBalancerManagerIPAddress": "10.9.0.10", "vipIpPools": pools }),
        ),
    ]
}

/// Those and others.
pub(crate) fn with(others: impl IntoIterator<Item = Arc<Document>>) -> Inventory {
    Inventory::of(fabric().into_iter().chain(others))
}

/// An internal load balancer of one frontend and one rule, without members.
pub(crate) fn balancer(name: &str, address: Option<&str>) -> Arc<Document> {
    let own = |path: &str| to(&format!("loadBalancers/{name}/{path}"));
    document(
        &format!("loadBalancers/{name}"),
        json!({
            "frontendIPConfigurations": named([
                ("f", json!({ "privateIPAddress": address, "subnet": to("virtualNetworks/vn/subnets/front") })),
            ]),
            "backendAddressPools": named([("web", json!({}))]),
            "probes": named([("alive", json!({ "protocol": "Tcp", "port": 80 }))]),
            "loadBalancingRules": named([("http", json!({
                "frontendIPConfiguration": own("frontendIPConfigurations/f"),
                "backendAddressPool": own("backendAddressPools/web"),
                "protocol": "Tcp", "frontendPort": 80, "backendPort": 8080,
            }))]),
            "inboundNatRules": named([("ssh", json!({
                "frontendIPConfiguration": own("frontendIPConfigurations/f"),
                "protocol": "Tcp", "frontendPort": 50_022, "backendPort": 22,
            }))]),
        }),
    )
}

/// A network interface with one address, in these pools and with these NAT rules.
pub(crate) fn interface(name: &str, address: Option<&str>, pools: &[&str], rules: &[&str]) -> Arc<Document> {
    let all = |paths: &[&str]| paths.iter().map(|path| to(path)).collect::<Vec<_>>();
    document(
        &format!("networkInterfaces/{name}"),
        json!({ "ipConfigurations": named([("ip", json!({
            "privateIPAddress": address,
            "subnet": to("virtualNetworks/vn/subnets/back"),
            "loadBalancerBackendAddressPools": all(pools),
            "loadBalancerInboundNatRules": all(rules),
        }))]) }),
    )
}

/// The same with one value changed: `ipConfigurations/0/properties/subnet`, as JSON sees it.
pub(crate) fn changed(document: &Arc<Document>, path: &str, value: Value) -> Arc<Document> {
    let mut json = serde_json::to_value(&**document).unwrap();
    let (above, field) = path.rsplit_once('/').unwrap_or(("", path));
    let above = if above.is_empty() { "/properties".to_owned() } else { format!("/properties/{above}") };
    json.pointer_mut(&above).unwrap()[field] = value;
    Arc::new(Document::read(&json, "changed").unwrap_or_else(|problems| panic!("{problems:#?}")))
}

/// Document, path and code of each problem; documents by what follows the provider.
pub(crate) fn short(problems: &[Problem]) -> Vec<(&str, &str, crate::Code)> {
    let name = |it: &Problem| it.document.rfind("Network/").map_or(0, |at| at + "Network/".len());
    problems.iter().map(|it| (&it.document[name(it)..], it.path.as_str(), it.code)).collect()
}
