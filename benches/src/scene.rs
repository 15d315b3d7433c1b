//! The balancer that is measured: a document like any other, made into tables like any other, loaded into the kernel and into a
//! replica of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use engine::{Compiler, Health, Memory, Replica, Sizes, Surroundings, Tables};
use kernel::{Kernel, Options, Place};
use model::{Desired, Source};
use plane::Tick;
use plane::row::{Hop, Mac};
use serde_json::{Value, json};

use crate::packet::{LINK, MTU};

/// The interface index that frames come in by when nothing else is said: the loopback's.
pub const INGRESS: u32 = 1;
/// Members of each pool and address family.
const MEMBERS: u16 = 128;
/// Load balancers of others, in a crowd.
const OTHERS: u32 = 20;
/// Who stands between the balancer and clients that are answered through it.
pub const HOME: Mac = Mac::new([2, 0, 0, 0, 2, 1]);
/// The balancer's link to them.
pub const WAY_HOME: Mac = Mac::new([2, 0, 0, 0, 2, 2]);

/// What is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scene {
    /// Every kind of rule; nothing is changing; memories of the usual size.
    Steady,
    /// The same with memories for a million flows.
    Large,
    /// The same while every slot is changing: half of the members went down and the other half came up.
    Changing,
    /// No pool whose answers come back through this host.
    Direct,
    /// Among ten thousand other frontends, each with a rule, and pools of two thousand members.
    Crowded,
}

impl Scene {
    pub const ALL: [Self; 5] = [Self::Steady, Self::Large, Self::Changing, Self::Direct, Self::Crowded];

    fn sizes(self) -> Sizes {
        let usual = Sizes { rings: 16, ..Sizes::default() };
        match self {
            Self::Steady | Self::Direct => usual,
            Self::Crowded => Sizes { rings: 64, ..usual },
            Self::Large | Self::Changing => Sizes { flow_bits: 18, masquerade_bits: 22, ..usual },
        }
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// A member of a pool.
    pub fn member(self, pool: Pool, number: u16) -> IpAddr {
        let [_, number] = number.to_be_bytes();
        match self {
            Self::V4 => Ipv4Addr::new(10, pool as u8, 0, number).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, pool as u16, 0, 0, 0, 0, number.into()).into(),
        }
    }

    pub fn frontend(self) -> IpAddr {
        self.address(10)
    }

    pub fn own(self) -> IpAddr {
        self.address(1)
    }

    /// An address near the frontend's that is nobody's business.
    pub fn stranger(self) -> IpAddr {
        self.address(200)
    }

    fn address(self, number: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(198, 18, 0, number).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, number.into()).into(),
        }
    }

    /// The client of flow 0. Those of other flows have other last two bytes.
    pub fn client(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(100, 64, 0, 0).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0).into(),
        }
    }
}

/// A pool, by the way its members answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    Floating = 1,
    Gateway = 2,
    Masquerade = 3,
}

/// A data path in the kernel, and what is needed to make a replica of it.
#[derive(Debug)]
pub struct Stage {
    pub kernel: Kernel,
    tables: Tables,
    sizes: Sizes,
}

impl Stage {
    /// Loads the data path of a scene.
    pub fn set(scene: Scene) -> Result<Self> {
        let desired = desired(scene)?;
        let sizes = scene.sizes();
        let place = Place::new(Path::new("/run/forebay"), &format!("{scene:?}").to_lowercase())?;
        let mut kernel = Kernel::open(&Options { place, sizes })?;
        let tables = tables(scene, &desired)?;
        kernel.apply(&Tables::default().changes_to(&tables))?;
        Ok(Self { kernel, tables, sizes })
    }

    /// The tables in force.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The same data path in ordinary memory, with nothing remembered.
    pub fn replica(&self) -> Replica {
        Replica::new(self.tables.clone(), Memory::new(self.sizes))
    }
}

fn tables(scene: Scene, desired: &Desired) -> Result<Tables> {
    let mut compiler = Compiler::default();
    let surroundings = surroundings(scene.sizes());
    let nothing = Tables::default();
    let mut compile = |down: fn(usize) -> bool, before: &Tables| {
        compiler.compile(desired, &health(desired, down), &surroundings, before)
    };
    Ok(match scene {
        Scene::Steady | Scene::Large | Scene::Direct | Scene::Crowded => compile(|_| false, &nothing)?,
        Scene::Changing => {
            let before = compile(|member| member % 2 == 0, &nothing)?;
            compile(|member| member % 2 != 0, &before)?
        }
    })
}

fn health(desired: &Desired, down: fn(usize) -> bool) -> Health {
    let members = desired.pools().iter().flat_map(|pool| pool.members().iter().enumerate());
    let mut health = Health::default();
    members.filter(|(at, _)| down(*at)).for_each(|(_, it)| health.find("bench/alive", it.address(), false));
    health
}

fn surroundings(sizes: Sizes) -> Surroundings {
    let own = |family: Family| family.own();
    let hops = [Pool::Floating, Pool::Gateway, Pool::Masquerade].into_iter().flat_map(|pool| {
        Family::BOTH.into_iter().flat_map(move |family| {
            (1..=MEMBERS).map(move |number| {
                let destination = Mac::new([2, 0, pool as u8, family as u8, 0, number as u8]);
                (
                    family.member(pool, number),
                    Hop { link: INGRESS, source: LINK, destination, adjacent: true, mtu: MTU },
                )
            })
        })
    });
    Surroundings {
        links: BTreeMap::from([(INGRESS, engine::Link { mac: LINK, mtu: MTU })]),
        own_v4: match own(Family::V4) {
            IpAddr::V4(own) => Some(own),
            IpAddr::V6(_) => None,
        },
        own_v6: match own(Family::V6) {
            IpAddr::V6(own) => Some(own),
            IpAddr::V4(_) => None,
        },
        hops: hops.collect(),
        sizes,
        clock: kernel::clock(),
        now: Tick(0),
    }
}

/// The document, checked.
fn desired(scene: Scene) -> Result<Desired> {
    let pools = match scene {
        Scene::Direct => vec![Pool::Floating, Pool::Masquerade],
        Scene::Steady | Scene::Large | Scene::Changing | Scene::Crowded => {
            vec![Pool::Floating, Pool::Gateway, Pool::Masquerade]
        }
    };
    let rules = pools.iter().flat_map(|pool| {
        Family::BOTH.into_iter().flat_map(move |family| match pool {
            Pool::Floating => {
                vec![
                    rule(family, *pool, "Tcp", 80, 80),
                    rule(family, *pool, "Udp", 53, 53),
                    resetting(rule(family, *pool, "Tcp", 8080, 8080)),
                ]
            }
            Pool::Gateway => {
                vec![rule(family, *pool, "Tcp", 443, 8443), resetting(rule(family, *pool, "Tcp", 8081, 8444))]
            }
            Pool::Masquerade => vec![rule(family, *pool, "Tcp", 25, 2525)],
        })
    });
    let document = json!({
        "name": "bench",
        "sku": { "name": "Standard" },
        "frontendIPConfigurations": Family::BOTH.map(|family| json!({
            "name": family.name(),
            "privateIPAddress": family.frontend(),
            "privateIPAddressVersion": family.name(),
            "privateIPAllocationMethod": "Static",
            "subnet": { "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n/subnets/s" },
        })),
        "backendAddressPools": pools.iter().map(|pool| pool_document(*pool)).collect::<Vec<_>>(),
        "loadBalancingRules": rules.collect::<Vec<_>>(),
        "probes": [{ "name": "alive", "protocol": "Tcp", "port": 80 }],
    });
    let mut sources = vec![Source { name: "bench.json".into(), text: document.to_string() }];
    if scene == Scene::Crowded {
        sources.extend((0..OTHERS).map(other));
    }
    model::check(&sources).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the document of the benchmark is not valid:\n{}", problems.join("\n"))
    })
}

/// Another load balancer, with as many frontends as one has.
fn other(number: u32) -> Source {
    const FRONTENDS: u32 = 500;
    const MEMBERS: u32 = 100;
    let address = |network: u32, at: u32| Ipv4Addr::from_bits(network + at);
    let frontend = |at: u32| {
        json!({
            "name": format!("f{at}"),
            "privateIPAddress": address(0x0b00_0000, number * FRONTENDS + at),
            "privateIPAllocationMethod": "Static",
            "subnet": { "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n/subnets/s" },
        })
    };
    let rule = |at: u32| {
        json!({
            "name": format!("r{at}"),
            "frontendIPConfiguration": { "id": format!("frontendIPConfigurations/f{at}") },
            // No more than 300 rules lead to one member.
            "backendAddressPool": { "id": format!("backendAddressPools/p{}", at % 2) },
            "protocol": "Tcp", "frontendPort": 80, "backendPort": 80, "enableFloatingIP": true,
        })
    };
    let member = |at: u32| json!({ "name": format!("m{at}"), "ipAddress": address(0x0c00_0001, number * MEMBERS + at) });
    let pool = |half: u32| {
        let members = (0..MEMBERS).filter(|at| at % 2 == half).map(member);
        json!({ "name": format!("p{half}"), "loadBalancerBackendAddresses": members.collect::<Vec<_>>() })
    };
    let document = json!({
        "name": format!("other{number}"),
        "sku": { "name": "Standard" },
        "frontendIPConfigurations": (0..FRONTENDS).map(frontend).collect::<Vec<_>>(),
        "backendAddressPools": [pool(0), pool(1)],
        "loadBalancingRules": (0..FRONTENDS).map(rule).collect::<Vec<_>>(),
    });
    Source { name: format!("other{number}.json"), text: document.to_string() }
}

fn pool_document(pool: Pool) -> Value {
    let members = Family::BOTH.into_iter().flat_map(|family| {
        (1..=MEMBERS).map(move |number| {
            json!({ "name": format!("{}-{number}", family.name()), "ipAddress": family.member(pool, number) })
        })
    });
    let way = match pool {
        Pool::Floating | Pool::Masquerade => "masquerade",
        Pool::Gateway => "gateway",
    };
    json!({
        "name": format!("{pool:?}"),
        "loadBalancerBackendAddresses": members.collect::<Vec<_>>(),
        "forebay": { "returnPath": way },
    })
}

fn rule(family: Family, pool: Pool, protocol: &str, port: u16, backend_port: u16) -> Value {
    json!({
        "name": format!("{}-{protocol}-{port}", family.name()),
        "frontendIPConfiguration": { "id": format!("frontendIPConfigurations/{}", family.name()) },
        "backendAddressPool": { "id": format!("backendAddressPools/{pool:?}") },
        "probe": { "id": "probes/alive" },
        "protocol": protocol,
        "frontendPort": port,
        "backendPort": backend_port,
        "enableFloatingIP": pool == Pool::Floating,
    })
}

/// The rule with the resets of its connections, which are then all kept in mind.
fn resetting(mut rule: Value) -> Value {
    rule["enableTcpReset"] = true.into();
    rule
}

/// Routes and neighbours for answers that pass through this host, in a network of its own.
pub fn lay_ways_home() -> Result<()> {
    let commands = [
        "link set lo up".to_owned(),
        format!("link add home address {WAY_HOME} type veth peer name clients address {HOME}"),
        "link set home up".to_owned(),
        "link set clients up".to_owned(),
        "address add 192.0.2.1/24 dev home".to_owned(),
        "address add 2001:db8:e::1/64 dev home nodad".to_owned(),
        format!("neighbour replace 192.0.2.2 lladdr {HOME} dev home nud permanent"),
        format!("neighbour replace 2001:db8:e::2 lladdr {HOME} dev home nud permanent"),
        "route add default via 192.0.2.2".to_owned(),
        "-6 route add default via 2001:db8:e::2".to_owned(),
    ];
    for file in ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"] {
        let file = format!("/proc/sys/net/{file}");
        std::fs::write(&file, "1").with_context(|| format!("could not write {file}"))?;
    }
    for command in commands {
        let words = command.split(' ');
        let status =
            Command::new("ip").args(words).status().context("could not run `ip`: install iproute2")?;
        if !status.success() {
            bail!("`ip {command}` failed");
        }
    }
    Ok(())
}
