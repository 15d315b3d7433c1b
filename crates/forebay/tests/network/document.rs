//! Documents, and the rules of which they are made.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

const SUBNET: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/tests\
                      /providers/Microsoft.Network/virtualNetworks/net/subnets/front";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wire {
    Tcp,
    Udp,
}

/// A load-balancing rule, and by that what its members serve.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: String,
    pub frontend: SocketAddr,
    pub wire: Wire,
    pub backend_port: u16,
    pub floating: bool,
    pub distribution: &'static str,
    pub pool: &'static str,
}

impl Rule {
    /// A rule with floating IP; the member's port is the frontend's.
    pub fn floating(name: &str, wire: Wire, frontend: &str) -> Self {
        let frontend: SocketAddr = frontend.parse().unwrap();
        Self { floating: true, ..Self::plain(name, wire, &frontend.to_string(), frontend.port()) }
    }

    /// A rule without floating IP.
    pub fn plain(name: &str, wire: Wire, frontend: &str, backend_port: u16) -> Self {
        let frontend = frontend.parse().unwrap();
        let (distribution, pool) = ("Default", "web");
        Self { name: name.to_owned(), frontend, wire, backend_port, floating: false, distribution, pool }
    }

    pub fn by(self, distribution: &'static str) -> Self {
        Self { distribution, ..self }
    }

    pub fn leading_to(self, backend_port: u16) -> Self {
        Self { backend_port, ..self }
    }

    pub fn v4(&self) -> bool {
        self.frontend.is_ipv4()
    }

    /// The destination as this member sees it.
    pub fn seen_at(&self, member: IpAddr) -> SocketAddr {
        SocketAddr::new(if self.floating { self.frontend.ip() } else { member }, self.backend_port)
    }

    fn json(&self, frontend: &str) -> Value {
        json!({
            "name": self.name,
            "properties": {
                "frontendIPConfiguration": { "id": format!("frontendIPConfigurations/{frontend}") },
                "backendAddressPool": { "id": format!("backendAddressPools/{}", self.pool) },
                "protocol": match self.wire { Wire::Tcp => "Tcp", Wire::Udp => "Udp" },
                "frontendPort": self.frontend.port(),
                "backendPort": self.backend_port,
                "enableFloatingIP": self.floating,
                "loadDistribution": self.distribution,
                "idleTimeoutInMinutes": 4,
            },
        })
    }
}

/// Floating IP for both families and protocols, and the same without it.
pub fn floating_and_plain() -> Vec<Rule> {
    [floating(), plain()].concat()
}

/// Floating IP for both families and protocols.
pub fn floating() -> Vec<Rule> {
    vec![
        Rule::floating("floating-tcp-4", Wire::Tcp, "65.52.0.1:80"),
        Rule::floating("floating-udp-4", Wire::Udp, "65.52.0.1:5300"),
        Rule::floating("floating-tcp-6", Wire::Tcp, "[fd00:65::1]:80"),
        Rule::floating("floating-udp-6", Wire::Udp, "[fd00:65::1]:5300"),
    ]
}

/// Rules without floating IP for both families and protocols.
pub fn plain() -> Vec<Rule> {
    vec![
        Rule::plain("plain-tcp-4", Wire::Tcp, "65.52.0.3:8080", 8000),
        Rule::plain("plain-udp-4", Wire::Udp, "65.52.0.3:53", 5353),
        Rule::plain("plain-tcp-6", Wire::Tcp, "[fd00:65::3]:8080", 8000),
        Rule::plain("plain-udp-6", Wire::Udp, "[fd00:65::3]:53", 5353),
    ]
}

/// A load balancer.
#[derive(Clone, Debug)]
pub struct Document {
    pub rules: Vec<Rule>,
    /// Frontends beside those of the rules.
    pub frontends: Vec<IpAddr>,
    pub pools: Vec<Pool>,
}

#[derive(Clone, Debug)]
pub struct Pool {
    pub name: &'static str,
    pub members: Vec<IpAddr>,
    pub gateway: bool,
}

impl Document {
    /// One pool, `web`, with the return path `masquerade`.
    pub fn new(rules: &[Rule], members: Vec<IpAddr>) -> Self {
        let pools = vec![Pool { name: "web", members, gateway: false }];
        Self { rules: rules.to_vec(), frontends: Vec::new(), pools }
    }

    /// The same, with the balancer as the members' gateway.
    pub fn through_gateway(rules: &[Rule], members: Vec<IpAddr>) -> Self {
        let mut document = Self::new(rules, members);
        document.pools[0].gateway = true;
        document
    }

    /// The same with these members in the first pool.
    pub fn with(&self, members: Vec<IpAddr>) -> Self {
        let mut document = self.clone();
        document.pools[0].members = members;
        document
    }

    pub fn json(&self) -> Value {
        let mut frontends: BTreeSet<IpAddr> = self.rules.iter().map(|rule| rule.frontend.ip()).collect();
        frontends.extend(&self.frontends);
        let name = |address: &IpAddr| format!("at-{address}").replace([':', '.'], "-");
        let frontend = |address: &IpAddr| {
            json!({
                "name": name(address),
                "properties": {
                    "privateIPAddress": address,
                    "privateIPAllocationMethod": "Static",
                    "privateIPAddressVersion": if address.is_ipv4() { "IPv4" } else { "IPv6" },
                    "subnet": { "id": SUBNET },
                },
            })
        };
        let member = |address: &IpAddr| {
            json!({
                "name": format!("vm-{address}").replace([':', '.'], "-"),
                "properties": { "ipAddress": address },
            })
        };
        let pool = |pool: &Pool| {
            json!({
                "name": pool.name,
                "properties": {
                    "loadBalancerBackendAddresses": pool.members.iter().map(member).collect::<Vec<_>>(),
                    "forebay": { "returnPath": if pool.gateway { "gateway" } else { "masquerade" } },
                },
            })
        };
        json!({
            "name": "lb",
            "type": "Microsoft.Network/loadBalancers",
            "sku": { "name": "Standard" },
            "properties": {
                "frontendIPConfigurations": frontends.iter().map(frontend).collect::<Vec<_>>(),
                "backendAddressPools": self.pools.iter().map(pool).collect::<Vec<_>>(),
                "loadBalancingRules":
                    self.rules.iter().map(|rule| rule.json(&name(&rule.frontend.ip()))).collect::<Vec<_>>(),
            },
        })
    }

    pub fn text(&self) -> String {
        format!("{:#}\n", self.json())
    }
}
