//! What it costs to find the connections that are over among a million (FLOW-5). Measured, and not told apart from noise by a test:
//!
//! ```sh
//! cargo test --release -p forebay-kernel --test sweep -- --ignored --nocapture
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::time::{Duration, Instant};

use common::in_a_world;
use engine::reset::{Endings, Fate};
use engine::{Compiler, Health, Sizes, Surroundings};
use forebay_kernel::{Kernel, Options, Sweep, clock};
use model::Source;
use plane::row::{Hop, Mac};
use plane::{Remembered, Tick};

const LINK: u32 = 1;
const BALANCER: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const MEMBER: Mac = Mac::new([2, 0, 0, 0, 0, 2]);
const CLIENT: Mac = Mac::new([2, 0, 0, 0, 0, 3]);
/// The room of the default settings, and as many connections as fill it but for the buckets that are full.
const CONNECTIONS: u32 = 1 << 20;

const DOCUMENT: &str = r#"{"name": "b", "properties": {
    "frontendIPConfigurations": [{"name": "front", "properties": {"privateIPAddress": "10.0.0.100",
        "privateIPAllocationMethod": "Static", "subnet": {"id": "/subscriptions/s/n"}}}],
    "backendAddressPools": [{"name": "web", "properties": {"loadBalancerBackendAddresses": [
        {"name": "a", "properties": {"ipAddress": "10.0.0.4"}}]}}],
    "loadBalancingRules": [
        {"name": "r", "properties": {"frontendIPConfiguration": {"id": "frontendIPConfigurations/front"},
            "backendAddressPool": {"id": "backendAddressPools/web"}, "protocol": "Tcp", "frontendPort": 80, "backendPort": 80,
            "enableFloatingIP": true, "enableTcpReset": true}}]}}"#;

#[test]
#[ignore = "it measures, and takes a while"]
fn a_sweep_of_a_million_connections() {
    in_a_world(|world| {
        let sizes = Sizes::default();
        let mut kernel = Kernel::open(&Options { place: world.place("sweep"), sizes }).unwrap();
        let desired = model::check(&[Source { name: "b.json".into(), text: DOCUMENT.into() }]).unwrap();
        let hop = Hop { link: LINK, source: BALANCER, destination: MEMBER, adjacent: true, mtu: 1_500 };
        let surroundings = Surroundings {
            links: [(LINK, engine::Link { mac: BALANCER, mtu: 1_500 })].into(),
            hops: [([10, 0, 0, 4].into(), hop)].into(),
            sizes,
            clock: clock(),
            ..Surroundings::default()
        };
        let before = kernel.dump().unwrap();
        let tables =
            Compiler::default().compile(&desired, &Health::default(), &surroundings, &before).unwrap();
        kernel.apply(&before.changes_to(&tables)).unwrap();
        for number in 0..CONNECTIONS {
            // No SYN: the connections are under way, and established from their first packet.
            kernel.run(&frame(number), LINK).unwrap();
        }
        let (now, moment) = (kernel.now().unwrap(), kernel.moment().unwrap());
        let there = kernel.flow_words().filter(|word| Remembered::of(*word, now).is_some()).count();
        let endings = Endings::new(&tables, clock());

        let measure = |what: &str, sweep: Sweep, moment: u32| {
            let mut least = Duration::MAX;
            let mut ended = 0;
            for _ in 0..if sweep.thorough { 3 } else { 21 } {
                let began = Instant::now();
                ended += kernel
                    .end(sweep, |word, known| endings.fate(word, known, sweep.now, moment))
                    .unwrap()
                    .len();
                least = least.min(began.elapsed());
            }
            eprintln!(
                "{what}: {least:?}, {:.2} % of a processor twice a second; {ended} ended",
                least.as_secs_f64() * 200.0
            );
            ended
        };
        eprintln!("{there} connections");
        let sweep = Sweep { now, thorough: false, most: usize::MAX };
        assert_eq!(measure("none is due", sweep, moment), 0);
        assert_eq!(
            measure("all are looked at, and none is due", Sweep { thorough: true, ..sweep }, moment),
            0
        );
        // 240 s later.
        let later = Sweep { now: Tick(now.0 + 235), most: 8_192, ..sweep };
        let began = Instant::now();
        let ended =
            kernel.end(later, |word, known| endings.fate(word, known, later.now, moment + 235 * 8)).unwrap();
        let found = began.elapsed();
        assert_eq!(ended.len(), 8_192);
        let began = Instant::now();
        let frames: usize = ended
            .iter()
            .map(|one| {
                let holder = engine::reset::Holder { member: one.member, port: 0 };
                endings.resets(&one.known, Some(holder)).len()
            })
            .sum();
        eprintln!("8192 are due: {found:?} to find them, {:?} to make {frames} frames", began.elapsed());
        assert!(kernel.end(sweep, |_, _| Fate::Stays).unwrap().is_empty());
    });
}

/// An acknowledgement of a connection; its number is its client's address and port.
fn frame(number: u32) -> Vec<u8> {
    let mut frame = Vec::with_capacity(64);
    frame.extend(BALANCER.bytes());
    frame.extend(CLIENT.bytes());
    frame.extend([0x08, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend([172, 16, (number >> 24) as u8, (number >> 16) as u8]);
    frame.extend([10, 0, 0, 100]);
    frame.extend((number as u16).to_be_bytes());
    frame.extend(80u16.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0]);
    frame
}
