//! Who is measured.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use engine::packet::{ACK, Way};
use engine::{Compiler, Health, Sizes, Surroundings, Tables};
use kernel::pass::Passing;
use kernel::wire::{Crowd, FarEnd};
use kernel::{Kernel, Options, Place};
use model::Source;
use plane::row::{Hop, Mac};
use serde_json::{Value, json};

use crate::host::{BALANCER, CLIENT, FRONT, Host};

/// Who does something with the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Nobody: they are counted where they arrive.
    Nobody,
    /// A program that sends them back as they are.
    Reflector,
    /// Forebay, by a rule of this port.
    Forebay(u16),
    Nftables,
}

/// Floating IP, where nothing is remembered; destination NAT; floating IP, with every connection kept in mind.
const FLOATING: u16 = 80;
const NAT: u16 = 443;
const KEPT: u16 = 8080;
const FRONTEND: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 10);
const MEMBERS: u8 = 128;
/// Room for a million connections.
const SIZES: Sizes = Sizes { flow_bits: 18, masquerade_bits: 10, rings: 8 };

fn way(port: u16) -> Way {
    let from = (Ipv4Addr::new(100, 64, 0, 0), 1024).into();
    Way { destination: BALANCER, source: CLIENT, from, to: (FRONTEND, port).into() }
}

impl Subject {
    pub fn all(host: &Host) -> Vec<Self> {
        let mut all = vec![
            Self::Nobody,
            Self::Reflector,
            Self::Forebay(FLOATING),
            Self::Forebay(NAT),
            Self::Forebay(KEPT),
        ];
        if host.has_nft {
            all.push(Self::Nftables);
        }
        all
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Nobody => "sent and counted, no more",
            Self::Reflector => "reflector",
            Self::Forebay(NAT) => "Forebay, destination NAT",
            Self::Forebay(KEPT) => "Forebay, same segment, kept in mind",
            Self::Forebay(_) => "Forebay, same segment",
            Self::Nftables => "nftables, destination NAT",
        }
    }

    /// A rate at which nobody loses the packets that are to be remembered.
    pub fn comfortable(self) -> f64 {
        match self {
            Self::Nobody | Self::Reflector | Self::Forebay(_) => 500_000.0,
            Self::Nftables => 100_000.0,
        }
    }

    /// Packets of so many connections to it, but for one.
    pub fn crowd(self, mask: u32) -> Crowd {
        let port = match self {
            Self::Forebay(port) => port,
            Self::Nobody | Self::Reflector | Self::Nftables => FLOATING,
        };
        Crowd::new(way(port), ACK, mask)
    }

    /// Puts it on the balancer's end of the link.
    pub fn start(self, host: &Host) -> Result<Running> {
        host.within(|| {
            Ok(match self {
                Self::Nobody => Running::Counted(FarEnd::take(FRONT, None)?),
                Self::Reflector => Running::Turned(FarEnd::turn(FRONT)?),
                Self::Forebay(_) => Running::Forebay(Box::new(forebay()?)),
                Self::Nftables => {
                    nftables(host)?;
                    Running::Nftables(Passing::on(FRONT)?)
                }
            })
        })
    }
}

/// In force for as long as it lives.
pub enum Running {
    /// Nothing goes further.
    Counted(FarEnd),
    Turned(#[allow(dead_code, reason = "it is kept alive")] FarEnd),
    Forebay(Box<Kernel>),
    Nftables(#[allow(dead_code, reason = "it is kept alive")] Passing),
}

impl Running {
    /// What arrived at the balancer's end, where nothing goes further.
    pub fn end(&self) -> Option<&FarEnd> {
        match self {
            Self::Counted(end) => Some(end),
            Self::Turned(_) | Self::Forebay(_) | Self::Nftables(_) => None,
        }
    }

    /// Takes it away, and sees that nothing went wrong.
    pub fn stop(self, host: &Host) -> Result<()> {
        match self {
            Self::Counted(_) | Self::Turned(_) => Ok(()),
            Self::Forebay(kernel) => {
                let reasons = kernel.reason_counts()?;
                drop(kernel);
                // At once, so that the next one finds the link free.
                kernel::detach(&place()?)?;
                let wrong: Vec<String> = reasons
                    .iter()
                    .filter(|(reason, (packets, _))| *packets > 0 && reason.0 >= 16 && reason.0 != 32)
                    .map(|(reason, (packets, _))| format!("{reason:?}: {packets}"))
                    .collect();
                ensure!(wrong.is_empty(), "packets were not forwarded: {}", wrong.join(", "));
                Ok(())
            }
            Self::Nftables(_) => host.run(&["nft", "flush", "ruleset"]).map(drop),
        }
    }
}

fn forebay() -> Result<Kernel> {
    let member = |number: u8| Ipv4Addr::new(10, 1, 0, number);
    let list: Vec<Value> = (1..=MEMBERS)
        .map(|number| json!({ "name": format!("m{number}"), "ipAddress": member(number) }))
        .collect();
    let pool = |name: &str, way: &str| json!({ "name": name, "loadBalancerBackendAddresses": list, "forebay": { "returnPath": way } });
    let rule = |port: u16, pool: &str, floating: bool, reset: bool| {
        json!({
            "name": format!("r{port}"), "protocol": "Tcp", "frontendPort": port, "backendPort": if floating { port } else { 8443 },
            "frontendIPConfiguration": { "id": "frontendIPConfigurations/front" },
            "backendAddressPool": { "id": format!("backendAddressPools/{pool}") },
            "enableFloatingIP": floating, "enableTcpReset": reset,
        })
    };
    let document = json!({
        "name": "wire",
        "sku": { "name": "Standard" },
        "frontendIPConfigurations": [{
            "name": "front", "privateIPAddress": FRONTEND, "privateIPAllocationMethod": "Static",
            "subnet": { "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n/subnets/s" },
        }],
        "backendAddressPools": [pool("floating", "masquerade"), pool("gateway", "gateway")],
        "loadBalancingRules": [
            rule(FLOATING, "floating", true, false), rule(NAT, "gateway", false, false), rule(KEPT, "floating", true, true),
        ],
    });
    let source = Source { name: "wire.json".into(), text: document.to_string() };
    let desired = model::check(&[source]).map_err(|problems| anyhow!("{problems:?}"))?;
    let link = kernel::link::index(FRONT)?;
    let hop = |number: u8| -> (IpAddr, Hop) {
        let destination = Mac::new([2, 0, 0, 0, 2, number]);
        (member(number).into(), Hop { link, source: BALANCER, destination, adjacent: true, mtu: 1_500 })
    };
    let surroundings = Surroundings {
        links: [(link, engine::Link { mac: BALANCER, mtu: 1_500 })].into(),
        hops: (1..=MEMBERS).map(hop).collect(),
        sizes: SIZES,
        clock: kernel::clock(),
        ..Surroundings::default()
    };
    let mut kernel = Kernel::open(&Options { place: place()?, sizes: SIZES })?;
    let nothing = Tables::default();
    let tables = Compiler::default().compile(&desired, &Health::default(), &surroundings, &nothing)?;
    kernel.apply(&kernel.dump()?.changes_to(&tables))?;
    kernel.attach(FRONT)?;
    Ok(kernel)
}

fn place() -> Result<Place> {
    Ok(Place::new(Path::new("/run/forebay"), "wire")?)
}

/// Each new connection to a member by its hash; connection tracking knows the others.
fn nftables(host: &Host) -> Result<()> {
    let members: Vec<String> =
        (1..=MEMBERS).map(|number| format!("{} : 10.1.0.{number}", number - 1)).collect();
    let rules = format!(
        "table ip wire {{ chain prerouting {{ type nat hook prerouting priority dstnat; \
         ip daddr {FRONTEND} tcp dport {FLOATING} dnat to jhash ip saddr . tcp sport mod {MEMBERS} map {{ {} }}\n}}\n}}\n",
        members.join(", ")
    );
    let file = "/run/wire.nft";
    std::fs::write(file, rules)?;
    host.run(&["nft", "flush", "ruleset"])?;
    host.run(&["nft", "-f", file])?;
    let lines: Vec<String> = (1..=MEMBERS)
        .map(|number| format!("neighbour replace 10.1.0.{number} lladdr 02:00:00:00:02:{number:02x} dev {FRONT} nud permanent"))
        .collect();
    let batch = format!("address replace 10.1.255.254/16 dev {FRONT}\n{}\n", lines.join("\n"));
    std::fs::write("/run/wire.ip", batch)?;
    host.run(&["ip", "-batch", "/run/wire.ip"]).map(drop)
}
