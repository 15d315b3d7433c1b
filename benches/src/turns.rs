//! What it costs until the tables say that a member went down, among ten thousand (PROBE-8).
//!
//! A member after the other goes down; each time the tables are made anew and compared with those in force, as the node does. What is
//! printed is the turn in the middle and the longest, and how many words had to be written. Writing them is not measured: it takes
//! microseconds.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use engine::{Compiler, Health, Sizes, Surroundings, Tables};
use model::{Desired, Source};
use serde_json::{Value, json};

/// Pools, and members of each.
const SHAPES: [(usize, usize); 4] = [(2, 5_000), (10, 1_000), (100, 100), (1_000, 10)];
const TURNS: usize = 20;
/// A load balancer may have 600 frontends.
const POOLS_OF_BALANCER: usize = 500;

fn main() -> Result<()> {
    println!(
        "| 10,000 members as | the one in the middle | the longest | words written |\n|---|---|---|---|"
    );
    for (pools, size) in SHAPES {
        let times = turns(pools, size)?;
        let [middle, longest] =
            [times.len() / 2, times.len() - 1].map(|at| times.get(at).copied().unwrap_or_default());
        let (words, ms) = (longest.1, |time: Duration| time.as_millis());
        println!("| {pools} pools of {size} | {} ms | {} ms | {words} |", ms(middle.0), ms(longest.0));
    }
    Ok(())
}

/// How long each turn took, shortest first, and the words that differ.
fn turns(pools: usize, size: usize) -> Result<Vec<(Duration, usize)>> {
    let desired = desired(pools, size)?;
    let around =
        Surroundings { sizes: Sizes { rings: 2_048, ..Sizes::default() }, ..Surroundings::default() };
    let (mut compiler, mut health) = (Compiler::default(), Health::default());
    let mut tables = compiler.compile(&desired, &health, &around, &Tables::default())?;
    let mut times = Vec::new();
    for turn in 0..TURNS {
        let pool = turn % pools;
        health.find(&format!("lb{}/alive", pool / POOLS_OF_BALANCER), member(pool, size, turn), false);
        let began = Instant::now();
        let after = compiler.compile(&desired, &health, &around, &tables)?;
        let words = tables.changes_to(&after).len();
        times.push((began.elapsed(), words));
        tables = after;
    }
    times.sort();
    Ok(times)
}

fn member(pool: usize, size: usize, number: usize) -> IpAddr {
    let number = u32::try_from(pool * size + number).unwrap_or_default();
    Ipv4Addr::from_bits(0x0a10_0000 + number).into()
}

fn desired(pools: usize, size: usize) -> Result<Desired> {
    let numbers: Vec<usize> = (0..pools).collect();
    let balancers = numbers.chunks(POOLS_OF_BALANCER).enumerate();
    let source = |(number, pools): (usize, &[usize])| Source {
        name: format!("{number}.json"),
        text: balancer(number, pools, size).to_string(),
    };
    let sources: Vec<Source> = balancers.map(source).collect();
    model::check(&sources).map_err(|problems| anyhow!("the documents are not valid: {problems:?}"))
}

fn balancer(number: usize, pools: &[usize], size: usize) -> Value {
    let frontends = pools.iter().map(|pool| {
        let address = format!("10.1.{}.{}", pool / 250, 1 + pool % 250);
        json!({ "name": format!("f{pool}"), "privateIPAddress": address, "privateIPAllocationMethod": "Static",
            "subnet": { "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n/subnets/s" } })
    });
    let of_pool = |pool: usize| -> Vec<Value> {
        let one = |at: usize| json!({ "name": format!("m{at}"), "ipAddress": member(pool, size, at) });
        (0..size).map(one).collect()
    };
    let all = pools
        .iter()
        .map(|pool| json!({ "name": format!("p{pool}"), "loadBalancerBackendAddresses": of_pool(*pool) }));
    let rules = pools.iter().map(|pool| {
        json!({ "name": format!("r{pool}"), "protocol": "Tcp", "frontendPort": 80, "backendPort": 80, "enableFloatingIP": true,
            "frontendIPConfiguration": { "id": format!("frontendIPConfigurations/f{pool}") },
            "backendAddressPool": { "id": format!("backendAddressPools/p{pool}") }, "probe": { "id": "probes/alive" } })
    });
    json!({
        "name": format!("lb{number}"),
        "sku": { "name": "Standard" },
        "frontendIPConfigurations": frontends.collect::<Vec<_>>(),
        "backendAddressPools": all.collect::<Vec<_>>(),
        "loadBalancingRules": rules.collect::<Vec<_>>(),
        "probes": [{ "name": "alive", "protocol": "Tcp", "port": 80 }],
    })
}
