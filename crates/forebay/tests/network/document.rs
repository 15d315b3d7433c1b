//! Documents, and the rules of which they are made.

use std::collections::{BTreeMap, BTreeSet};
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
    pub probe: Option<&'static str>,
    /// Connections to a member that goes down are reset.
    pub resets: bool,
    /// Both ends of a connection that was silent for the idle time are reset.
    pub announces: bool,
    /// A connection that was silent for the idle time is dropped.
    pub strict: bool,
    /// A member may be led to itself.
    pub hairpin: bool,
    /// The protocol, where it is another than what sessions speak: all of them (HA ports), or one that nobody speaks here.
    pub protocol: Option<&'static str>,
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
        Self {
            name: name.to_owned(),
            frontend,
            wire,
            backend_port,
            floating: false,
            distribution,
            pool,
            probe: None,
            resets: false,
            announces: false,
            strict: false,
            hairpin: false,
            protocol: None,
        }
    }

    pub fn by(self, distribution: &'static str) -> Self {
        Self { distribution, ..self }
    }

    pub fn leading_to(self, backend_port: u16) -> Self {
        Self { backend_port, ..self }
    }

    pub fn probed_by(self, probe: &'static str) -> Self {
        Self { probe: Some(probe), ..self }
    }

    pub fn resetting(self) -> Self {
        Self { resets: true, ..self }
    }

    pub fn announcing(self) -> Self {
        Self { announces: true, ..self }
    }

    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    pub fn with_hairpin(self) -> Self {
        Self { hairpin: true, ..self }
    }

    /// The same of a rule for all ports: it takes more than what its members serve.
    pub fn of_all(self) -> Self {
        Self { protocol: Some("All"), backend_port: self.frontend.port(), ..self }
    }

    /// The same for SCTP, which its members do not serve.
    pub fn of_sctp(self) -> Self {
        Self { protocol: Some("Sctp"), ..self }
    }

    pub fn v4(&self) -> bool {
        self.frontend.is_ipv4()
    }

    /// The destination as this member sees it.
    pub fn seen_at(&self, member: IpAddr) -> SocketAddr {
        SocketAddr::new(if self.floating { self.frontend.ip() } else { member }, self.backend_port)
    }

    fn json(&self, frontend: &str) -> Value {
        let of_all = self.protocol == Some("All");
        let mut rule = json!({
            "name": self.name,
            "properties": {
                "frontendIPConfiguration": { "id": format!("frontendIPConfigurations/{frontend}") },
                "backendAddressPool": { "id": format!("backendAddressPools/{}", self.pool) },
                "protocol": self.protocol.unwrap_or(match self.wire { Wire::Tcp => "Tcp", Wire::Udp => "Udp" }),
                "frontendPort": if of_all { 0 } else { self.frontend.port() },
                "backendPort": if of_all { 0 } else { self.backend_port },
                "enableFloatingIP": self.floating,
                "loadDistribution": self.distribution,
                "idleTimeoutInMinutes": 4,
            },
        });
        let properties = &mut rule["properties"];
        if let Some(probe) = self.probe {
            properties["probe"] = json!({ "id": format!("probes/{probe}") });
        }
        if self.resets {
            properties["forebay"]["resetOnMemberDown"] = true.into();
        }
        if self.announces {
            properties["enableTcpReset"] = true.into();
        }
        if self.strict {
            properties["forebay"]["dropForgotten"] = true.into();
        }
        if self.hairpin {
            properties["forebay"]["hairpin"] = true.into();
        }
        rule
    }
}

impl Rule {
    /// As an inbound NAT rule with the ports from its own to this one.
    fn range(&self, frontend: &str, last: u16) -> Value {
        let mut rule = self.json(frontend);
        let properties = rule["properties"].as_object_mut().unwrap();
        properties.remove("loadDistribution");
        properties.remove("frontendPort");
        properties.insert("frontendPortRangeStart".to_owned(), self.frontend.port().into());
        properties.insert("frontendPortRangeEnd".to_owned(), last.into());
        rule
    }
}

/// How members are asked.
#[derive(Clone, Debug)]
pub struct Probe {
    pub name: &'static str,
    pub protocol: &'static str,
    pub port: u16,
    /// What is asked for over HTTP.
    pub path: &'static str,
    pub interval: Interval,
    pub threshold: u32,
    pub all_down: &'static str,
}

/// Between two attempts.
#[derive(Clone, Copy, Debug)]
pub enum Interval {
    Milliseconds(u32),
    Seconds(u32),
}

impl Probe {
    /// One that asks five times a second, and whose second equal result in a row counts.
    pub fn new(name: &'static str, protocol: &'static str, port: u16) -> Self {
        let (path, interval, all_down) = ("/alive", Interval::Milliseconds(200), "AllProbedDown");
        Self { name, protocol, port, path, interval, threshold: 2, all_down }
    }

    fn json(&self) -> Value {
        let mut probe = json!({
            "name": self.name,
            "properties": {
                "protocol": self.protocol,
                "port": self.port,
                "probeThreshold": self.threshold,
                "noHealthyBackendsBehavior": self.all_down,
            },
        });
        let properties = &mut probe["properties"];
        if self.protocol != "Tcp" {
            properties["requestPath"] = self.path.into();
        }
        match self.interval {
            Interval::Milliseconds(often) => properties["forebay"]["intervalInMilliseconds"] = often.into(),
            Interval::Seconds(seconds) => properties["intervalInSeconds"] = seconds.into(),
        }
        probe
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
    /// Inbound NAT rules with a range of ports, from that of the frontend to this one.
    pub ranges: Vec<(Rule, u16)>,
    /// Frontends beside those of the rules.
    pub frontends: Vec<IpAddr>,
    pub pools: Vec<Pool>,
    pub probes: Vec<Probe>,
    /// The members whose health is ordered: `Up` or `Down`.
    pub orders: BTreeMap<IpAddr, &'static str>,
    /// The members that weigh more than one.
    pub weights: BTreeMap<IpAddr, u32>,
    /// Seconds for which members that leave keep their connections.
    pub drain: u32,
    pub sku: &'static str,
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
        let (ranges, frontends, probes) = (Vec::new(), Vec::new(), Vec::new());
        let (orders, weights) = (BTreeMap::new(), BTreeMap::new());
        let (rules, drain, sku) = (rules.to_vec(), 0, "Standard");
        Self { rules, ranges, frontends, pools, probes, orders, weights, drain, sku }
    }

    /// The same with these probes.
    pub fn probed(self, probes: &[Probe]) -> Self {
        Self { probes: probes.to_vec(), ..self }
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
        let rules = self.rules.iter().chain(self.ranges.iter().map(|(rule, _)| rule));
        let mut frontends: BTreeSet<IpAddr> = rules.map(|rule| rule.frontend.ip()).collect();
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
            let mut member = json!({
                "name": format!("vm-{address}").replace([':', '.'], "-"),
                "properties": { "ipAddress": address },
            });
            if let Some(order) = self.orders.get(address) {
                member["properties"]["adminState"] = (*order).into();
            }
            if let Some(weight) = self.weights.get(address) {
                member["properties"]["forebay"]["weight"] = (*weight).into();
            }
            member
        };
        let pool = |pool: &Pool| {
            json!({
                "name": pool.name,
                "properties": {
                    "loadBalancerBackendAddresses": pool.members.iter().map(member).collect::<Vec<_>>(),
                    "forebay": { "returnPath": if pool.gateway { "gateway" } else { "masquerade" } },
                    "drainPeriodInSeconds": self.drain,
                },
            })
        };
        json!({
            "name": "lb",
            "type": "Microsoft.Network/loadBalancers",
            "sku": { "name": self.sku },
            "properties": {
                "frontendIPConfigurations": frontends.iter().map(frontend).collect::<Vec<_>>(),
                "backendAddressPools": self.pools.iter().map(pool).collect::<Vec<_>>(),
                "loadBalancingRules":
                    self.rules.iter().map(|rule| rule.json(&name(&rule.frontend.ip()))).collect::<Vec<_>>(),
                "inboundNatRules":
                    self.ranges.iter().map(|(rule, last)| rule.range(&name(&rule.frontend.ip()), *last)).collect::<Vec<_>>(),
                "probes": self.probes.iter().map(Probe::json).collect::<Vec<_>>(),
            },
        })
    }

    pub fn text(&self) -> String {
        format!("{:#}\n", self.json())
    }

    /// The same with the network that the frontends are in, as interfaces want it.
    pub fn with_network(&self) -> String {
        let (network, subnet) = SUBNET.split_once("/subnets/").unwrap();
        let subnet = json!({ "name": subnet, "properties": { "addressPrefix": "65.52.0.0/24" } });
        let network = json!({
            "id": network,
            "name": "net",
            "type": "Microsoft.Network/virtualNetworks",
            "properties": { "addressSpace": { "addressPrefixes": ["65.52.0.0/24"] }, "subnets": [subnet] },
        });
        format!("{:#}\n", json!([network, self.json()]))
    }
}
