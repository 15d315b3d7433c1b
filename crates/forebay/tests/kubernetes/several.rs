//! Two controllers, of which one leads.

use std::time::Instant;

use serde_json::json;

use crate::apiserver::HOME;
use crate::cluster::Cluster as _;
use crate::world::{World, becomes};

#[test]
fn when_the_leader_is_killed_the_other_one_goes_on() {
    let world = World::start();
    let first = world.controller("one");
    becomes(&true, || first.leads());
    let second = world.controller("two");
    world.add_service("web", 80, &json!({}));
    world.await_ingress("web");
    assert!(!second.leads());
    assert_eq!(second.number("transactions_total"), 0, "who does not lead writes nothing");
    drop(first);
    world.add_service("api", 81, &json!({}));
    let began = Instant::now();
    world.await_ingress("api");
    assert!(second.leads());
    println!("the other one served {:.1} s after the first one was killed", began.elapsed().as_secs_f64());
    let lease = world.api.get("leases", HOME, "forebay-kubernetes").unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "two");
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
}

#[test]
fn a_leader_that_is_told_to_stop_gives_the_lease_back() {
    let world = World::start();
    let first = world.controller("one");
    becomes(&true, || first.leads());
    let second = world.controller("two");
    becomes(&1, || second.number("server_revision").min(1));
    first.stop();
    let lease = world.api.get("leases", HOME, "forebay-kubernetes").unwrap();
    assert!(["", "two"].contains(&lease["spec"]["holderIdentity"].as_str().unwrap()));
    becomes(&true, || second.leads());
    world.add_service("web", 80, &json!({}));
    world.await_ingress("web");
}
