//! How evenly flows are shared (DIST-5, DIST-9): a million real connections through the pipeline on the host, in pools of 10 to 1,000
//! members, of one weight and of several. Needs no root.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, anyhow};
use engine::{Compiler, Health, Memory, Replica, Sizes, Surroundings, Tables};
use model::{Desired, Source};
use plane::Tick;
use plane::row::{Hop, Mac};
use serde_json::{Value, json};

const POOLS: [u32; 5] = [10, 32, 100, 320, 1_000];
const FLOWS: u32 = 1_000_000;
const LINK: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const SIZES: Sizes = Sizes { flow_bits: 4, masquerade_bits: 4, rings: 8 };

fn main() -> Result<()> {
    println!(
        "| members | weights | slots: most of a fair share | connections: most of it | deviation | what chance alone would do |"
    );
    println!("|---|---|---|---|---|---|");
    for members in POOLS {
        for heaviest in [1, 4] {
            println!("{}", row(members, heaviest)?);
        }
    }
    Ok(())
}

/// Members of weights from one to `heaviest`, in turn.
fn row(members: u32, heaviest: u32) -> Result<String> {
    let weight = |number: u32| 1 + number % heaviest;
    let tables = tables(members, weight)?;
    let mut slots: BTreeMap<u32, u32> = BTreeMap::new();
    let numbers: BTreeMap<u32, IpAddr> =
        tables.members.iter().map(|(number, row)| (*number, row.address().into())).collect();
    for ring in tables.rings_in_use() {
        tables.slots(ring).for_each(|slot| *slots.entry(slot.current()).or_default() += 1);
    }
    let replica = Replica::new(tables, Memory::new(SIZES));
    let mut flows: BTreeMap<u32, u32> = BTreeMap::new();
    for number in 0..FLOWS {
        let mut frame = packet(number);
        let _ = replica.run(&mut frame, 1, Tick(1_000));
    }
    replica.member_counts().into_iter().for_each(|(number, counts)| {
        flows.insert(number, u32::try_from(counts.packets).unwrap_or(u32::MAX));
    });
    let whole: u32 = (0..members).map(weight).sum();
    let fair = |number: &u32, all: u32| {
        let number = match numbers.get(number) {
            Some(IpAddr::V4(address)) => address.to_bits() - address_of(0).to_bits(),
            Some(IpAddr::V6(_)) | None => 0,
        };
        f64::from(all) * f64::from(weight(number)) / f64::from(whole)
    };
    let shares = |counts: &BTreeMap<u32, u32>, all: u32| -> Vec<f64> {
        counts.iter().map(|(number, count)| f64::from(*count) / fair(number, all)).collect()
    };
    let most = |shares: &[f64]| shares.iter().copied().fold(0.0, f64::max);
    let (slots, flows) = (shares(&slots, 65_536), shares(&flows, FLOWS));
    let count = f64::from(members);
    let deviation = (flows.iter().map(|share| (share - 1.0).powi(2)).sum::<f64>() / count).sqrt();
    let chance =
        ((0..members).map(|at| f64::from(whole) / f64::from(weight(at) * FLOWS)).sum::<f64>() / count).sqrt();
    Ok(format!(
        "| {members} | {} | {:.4} | {:.4} | {:.2} % | {:.2} % |",
        if heaviest == 1 { "1".to_owned() } else { format!("1 to {heaviest}") },
        most(&slots),
        most(&flows),
        deviation * 100.0,
        chance * 100.0
    ))
}

fn tables(members: u32, weight: impl Fn(u32) -> u32) -> Result<Tables> {
    let member = |number: u32| {
        json!({ "name": format!("m{number}"), "properties": {
            "ipAddress": address_of(number), "forebay": { "weight": weight(number) } } })
    };
    let document = json!({ "name": "b", "sku": { "name": "Standard" }, "properties": {
        "frontendIPConfigurations": [{ "name": "front", "properties": {
            "privateIPAddress": "10.0.0.100", "privateIPAllocationMethod": "Static", "subnet": { "id": "/subscriptions/s/n" } } }],
        "backendAddressPools": [{ "name": "web", "properties": {
            "loadBalancerBackendAddresses": (0..members).map(member).collect::<Vec<Value>>() } }],
        "loadBalancingRules": [{ "name": "web", "properties": {
            "frontendIPConfiguration": { "id": "frontendIPConfigurations/front" },
            "backendAddressPool": { "id": "backendAddressPools/web" },
            "protocol": "Tcp", "frontendPort": 80, "backendPort": 80, "enableFloatingIP": true } }] } });
    let source = Source { name: "b.json".into(), text: document.to_string() };
    let desired: Desired =
        model::check(&[source]).map_err(|problems| anyhow!("{} problems: {problems:?}", problems.len()))?;
    let hop = Hop { link: 1, source: LINK, destination: LINK, adjacent: true, mtu: 1_500 };
    let around = Surroundings {
        links: [(1, engine::Link { mac: LINK, mtu: 1_500 })].into(),
        hops: (0..members).map(|number| (address_of(number).into(), hop)).collect(),
        sizes: SIZES,
        ..Surroundings::default()
    };
    Ok(Compiler::default().compile(&desired, &Health::default(), &around, &Tables::default())?)
}

fn address_of(member: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a10_0001 + member)
}

/// The SYN of a connection: 61 ports of each client.
fn packet(number: u32) -> Vec<u8> {
    let client = Ipv4Addr::from_bits(0xc612_0000 + number / 61);
    let port = 30_000 + (number % 61) as u16;
    let mut frame = [&LINK.bytes()[..], &[2, 0, 0, 0, 3, 1, 8, 0]].concat();
    frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(client.octets());
    frame.extend([10, 0, 0, 100]);
    frame.extend(port.to_be_bytes());
    frame.extend([0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    frame
}
