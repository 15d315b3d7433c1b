//! Many Services and nodes: how long it takes, and how often anybody is asked.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::Cluster as _;
use crate::world::{Controller, World, becomes};

/// So many Services are reconciled together at most; at first it is one, and then twice as many each time.
const TOGETHER: u16 = 64;

#[test]
fn many_services_take_no_more_transactions_than_one_and_a_change_of_anything_one() {
    // K8S-3
    measure(20, 50);
}

#[test]
#[ignore = "it measures, for minutes: docs/performance.md"]
fn three_hundred_services_on_five_hundred_nodes() {
    measure(300, 500);
}

fn measure(services: u16, nodes: u16) {
    let world = World::of_size(nodes);
    for number in 0..services {
        world.add_service(&format!("s{number}"), 80, &json!({}));
    }
    let began = Instant::now();
    let controller = world.controller("one");
    becomes_within(&u64::from(services), || controller.number("patches_total") / 2);
    println!("{services} Services, {nodes} nodes: all served after {:.1} s", began.elapsed().as_secs_f64());
    let asked = Asked::of(&controller);
    println!("  {asked:?}");
    assert_eq!(asked.transactions, 2 * groups(services), "one for the addresses, one for who may call");
    assert_eq!(asked.patches, 2 * u64::from(services), "the finalizer, and the status");

    let began = Instant::now();
    world.api.merge(
        "services",
        "default",
        "s0",
        &json!({ "spec": { "ports": [{ "port": 8080, "protocol": "TCP" }] } }),
    );
    becomes(&(asked.transactions + 1), || controller.number("transactions_total"));
    println!("  another port of one Service: {:.0} ms", began.elapsed().as_secs_f64() * 1_000.0);

    let began = Instant::now();
    world.api.delete("nodes", "", "node-0");
    becomes(&(asked.transactions + 2), || controller.number("transactions_total"));
    println!("  one node less: {:.0} ms", began.elapsed().as_secs_f64() * 1_000.0);
    becomes(&0, || controller.number("waiting"));
    assert_eq!(Asked::of(&controller).transactions, asked.transactions + 2);
    assert_eq!(Asked::of(&controller).patches, asked.patches);
}

fn groups(services: u16) -> u64 {
    let (mut left, mut together, mut groups) = (services, 1, 0);
    while left > 0 {
        left = left.saturating_sub(together);
        together = TOGETHER.min(2 * together);
        groups += 1;
    }
    groups
}

/// How often anybody was asked.
#[derive(Debug)]
struct Asked {
    transactions: u64,
    patches: u64,
    #[expect(dead_code, reason = "printed")]
    events: u64,
}

impl Asked {
    fn of(controller: &Controller) -> Self {
        Self {
            transactions: controller.number("transactions_total"),
            patches: controller.number("patches_total"),
            events: controller.number("events_total"),
        }
    }
}

/// Waits as long as many Services take.
fn becomes_within(wanted: &u64, look: impl Fn() -> u64) {
    let began = Instant::now();
    while look() < *wanted {
        assert!(began.elapsed() < Duration::from_secs(1_200), "{} of {wanted}", look());
        std::thread::sleep(Duration::from_millis(100));
    }
}
