//! Which floating rules a server has, and to whom they lead.

use std::net::IpAddr;
use std::sync::Arc;

use guest::Destination;
use model::{Desired, Inventory, Limits, judge};

use super::{Server, Unanswered, args};

/// A floating rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Floating {
    /// What its packets are addressed to.
    pub destination: Destination,
    /// The members of its pool, of the frontend's family.
    pub members: Vec<IpAddr>,
    /// The port at which its members are probed.
    pub probe: Option<u16>,
}

pub(super) async fn ask(args: args::Server) -> Result<Vec<Floating>, Unanswered> {
    let server = Server::of(args, args::Home::default())?;
    let there = server.client.everything().await?.resources;
    let documents: Result<Vec<_>, _> = there.iter().map(|it| it.document().map(Arc::new)).collect();
    let judgement = judge(&Inventory::of(documents?), &unlimited())?;
    Ok(floating(&judgement.desired))
}

/// The server has kept to its own limits.
fn unlimited() -> Limits {
    Limits::NAMES.iter().fold(Limits::default(), |mut limits, name| {
        // Only a name that is not there is an error.
        let _ = limits.set(name, usize::MAX);
        limits
    })
}

fn floating(desired: &Desired) -> Vec<Floating> {
    let of_rule = |rule: &model::Rule| {
        let protocol = match rule.protocol() {
            model::Protocol::Tcp => guest::Protocol::Tcp,
            model::Protocol::Udp => guest::Protocol::Udp,
            // A guest's firewall is opened by ports of these two only.
            model::Protocol::Sctp | model::Protocol::All => return None,
        };
        Some(Floating {
            destination: Destination { address: rule.frontend(), port: rule.backend_port(), protocol },
            members: desired.members_of(rule).map(model::Member::address).collect(),
            probe: desired.probe_of(rule).map(|probe| probe.port().get()),
        })
    };
    desired.rules().iter().filter(|rule| rule.floating()).filter_map(of_rule).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_floating_rules_are_named_with_their_members_and_probes() {
        let rule = |name: &str, floating: bool, port: u16| {
            json!({ "name": name, "properties": {
                "frontendIPConfiguration": { "id": "frontendIPConfigurations/fe" },
                "backendAddressPool": { "id": "backendAddressPools/app" },
                "probe": { "id": "probes/Alive" },
                "protocol": "Tcp", "frontendPort": port, "backendPort": port, "enableFloatingIP": floating,
            } })
        };
        let subnet =
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n/subnets/f";
        let properties = json!({
            "frontendIPConfigurations": [{ "name": "fe", "properties": {
                "privateIPAddress": "203.0.113.10", "privateIPAllocationMethod": "Static", "subnet": { "id": subnet },
            } }],
            "backendAddressPools": [{ "name": "app", "properties": { "loadBalancerBackendAddresses": [
                { "name": "a", "properties": { "ipAddress": "10.0.0.4" } },
                { "name": "b", "properties": { "ipAddress": "2001:db8::4" } },
            ] } }],
            "probes": [{ "name": "alive", "properties": { "protocol": "Tcp", "port": 8080 } }],
            "loadBalancingRules": [rule("web", true, 443), rule("plain", false, 80)],
        });
        let text =
            json!({ "name": "lb", "sku": { "name": "Standard" }, "properties": properties }).to_string();
        let desired = model::check(&[model::Source { name: "lb.json".into(), text }]).unwrap();
        let wanted = Floating {
            destination: "203.0.113.10:443/tcp".parse().unwrap(),
            members: vec!["10.0.0.4".parse().unwrap()],
            probe: Some(8080),
        };
        assert_eq!(floating(&desired), [wanted]);
    }
}
