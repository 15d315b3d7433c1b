//! Who is there, under which addresses, and the document that says what is balanced.
//!
//! The worked example of floating IP: two frontends on port 80, one pool, an instance for each frontend on each member.
//! A third frontend without floating IP stands beside it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::stage::Transport;

/// The kind of lab, and the beginning of the balancer's instance name.
pub const PREFIX: &str = "demo";
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 100);
pub const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 2);
/// Prefix length of the segment.
pub const SEGMENT_LENGTH: u8 = 24;
/// Where the frontends are; the client has a route to it.
pub const FRONTENDS: &str = "65.52.0.0/24";
/// A port of the green frontend that no rule matches.
pub const UNUSED_PORT: u16 = 81;

/// A host that can be in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: &'static str,
    pub address: Ipv4Addr,
}

pub const VM1: Member = Member { name: "vm1", address: Ipv4Addr::new(10, 20, 1, 11) };
pub const VM2: Member = Member { name: "vm2", address: Ipv4Addr::new(10, 20, 1, 12) };
pub const VM3: Member = Member { name: "vm3", address: Ipv4Addr::new(10, 20, 1, 13) };
pub const MEMBERS: [Member; 3] = [VM1, VM2, VM3];

/// One balanced service: a rule of the document, and an instance on each member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// The frontend, and the instance that serves it.
    pub name: &'static str,
    pub frontend: Ipv4Addr,
    pub transport: Transport,
    pub port: u16,
    pub member_port: u16,
    pub floating: bool,
}

impl Service {
    /// What the client calls.
    pub fn called(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.frontend), self.port)
    }

    /// What a member sees as the destination, and where its instance listens.
    pub fn seen_at(&self, member: Ipv4Addr) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(if self.floating { self.frontend } else { member }), self.member_port)
    }

    fn rule(&self) -> String {
        match self.transport {
            Transport::Tcp => self.name.to_owned(),
            Transport::Udp => format!("{}-udp", self.name),
        }
    }
}

const GREEN_FRONTEND: Ipv4Addr = Ipv4Addr::new(65, 52, 0, 1);
const PURPLE_FRONTEND: Ipv4Addr = Ipv4Addr::new(65, 52, 0, 2);
const BLUE_FRONTEND: Ipv4Addr = Ipv4Addr::new(65, 52, 0, 3);

pub const GREEN: Service = floating("green", GREEN_FRONTEND, Transport::Tcp, 80);
pub const PURPLE: Service = floating("purple", PURPLE_FRONTEND, Transport::Tcp, 80);
pub const GREEN_UDP: Service = floating("green", GREEN_FRONTEND, Transport::Udp, 5300);
pub const PURPLE_UDP: Service = floating("purple", PURPLE_FRONTEND, Transport::Udp, 5300);
pub const BLUE: Service = Service {
    name: "blue",
    frontend: BLUE_FRONTEND,
    transport: Transport::Tcp,
    port: 8080,
    member_port: 8000,
    floating: false,
};
pub const SERVICES: [Service; 5] = [GREEN, PURPLE, BLUE, GREEN_UDP, PURPLE_UDP];

const fn floating(name: &'static str, frontend: Ipv4Addr, transport: Transport, port: u16) -> Service {
    Service { name, frontend, transport, port, member_port: port, floating: true }
}

/// The frontends that float, whose addresses the members carry on their loopback interfaces.
pub fn floating_frontends() -> [Ipv4Addr; 2] {
    [GREEN_FRONTEND, PURPLE_FRONTEND]
}

/// The load balancer with these members, as `az network lb show -o json` would print it.
pub fn document(members: &[Member]) -> Value {
    let frontends = [("green", GREEN_FRONTEND), ("purple", PURPLE_FRONTEND), ("blue", BLUE_FRONTEND)];
    json!({
        "name": "lb",
        "type": "Microsoft.Network/loadBalancers",
        "location": "here",
        "sku": { "name": "Standard", "tier": "Regional" },
        "properties": {
            "frontendIPConfigurations": frontends.map(|(name, address)| json!({
                "name": name,
                "properties": {
                    "privateIPAddress": address,
                    "privateIPAllocationMethod": "Static",
                    "privateIPAddressVersion": "IPv4",
                    "subnet": { "id": SUBNET },
                },
            })),
            "backendAddressPools": [{
                "name": "web",
                "properties": {
                    "loadBalancerBackendAddresses": members.iter().map(|member| json!({
                        "name": member.name,
                        "properties": { "ipAddress": member.address },
                    })).collect::<Vec<_>>(),
                },
            }],
            "loadBalancingRules": SERVICES.map(|service| json!({
                "name": service.rule(),
                "properties": {
                    "frontendIPConfiguration": { "id": format!("frontendIPConfigurations/{}", service.name) },
                    "backendAddressPool": { "id": "backendAddressPools/web" },
                    "protocol": match service.transport { Transport::Tcp => "Tcp", Transport::Udp => "Udp" },
                    "frontendPort": service.port,
                    "backendPort": service.member_port,
                    "enableFloatingIP": service.floating,
                    "loadDistribution": "Default",
                    "idleTimeoutInMinutes": 4,
                },
            })),
            "probes": [],
            "inboundNatRules": [],
            "inboundNatPools": [],
            "outboundRules": [],
        },
    })
}

const SUBNET: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/demo\
                      /providers/Microsoft.Network/virtualNetworks/lan/subnets/lan";

/// The set-up, drawn.
pub const PICTURE: &str = r"
    client 10.20.1.100
       │  requests to 65.52.0.x                      answers of green and purple go
       ▼                                             straight back to the client ▲
  ─────┴────────┬─────────────────┬─────────────────┬─────────────────┬──────────┴──
                │ 10.20.1.0/24    │                 │                 │
         balancer .2          vm1 .11           vm2 .12           vm3 .13 (joins later)
         forebay serve        lo 65.52.0.1      lo 65.52.0.1      lo 65.52.0.1
         XDP on eth0          lo 65.52.0.2      lo 65.52.0.2      lo 65.52.0.2

    green   65.52.0.1  80/tcp 5300/udp  →  members, floating IP: green instance at 65.52.0.1
    purple  65.52.0.2  80/tcp 5300/udp  →  members, floating IP: purple instance at 65.52.0.2
    blue    65.52.0.3  8080/tcp         →  members' own address, port 8000, through the balancer";
