//! What goes wrong: bad Services, others who write, and watches that end.

use serde_json::json;

use crate::cluster::Cluster as _;
use crate::world::{World, becomes, eventually};

const IDLE: &str = "service.beta.kubernetes.io/azure-load-balancer-tcp-idle-timeout";

#[test]
fn a_bad_service_is_told_so_and_the_others_are_served() {
    // K8S-4
    let world = World::start();
    let controller = world.controller("one");
    world.add_service("bad", 79, &json!({ "metadata": { "annotations": { IDLE: "1" } } }));
    let pinned = json!({ "metadata": { "annotations": {
        "service.beta.kubernetes.io/azure-load-balancer-internal": "true",
        "service.beta.kubernetes.io/azure-load-balancer-ipv4": "10.99.0.1",
    } } });
    world.add_service("outside", 78, &pinned);
    for number in 0..5 {
        world.add_service(&format!("good-{number}"), 80 + number, &json!({}));
    }
    (0..5).for_each(|number| drop(world.await_ingress(&format!("good-{number}"))));
    let why = eventually("the bad one is told", || world.was_told("bad", "SyncLoadBalancerFailed"));
    assert!(why.contains("1 is out of range: 4 to 100 minutes"), "{why}");
    let why = eventually("the other bad one is told", || world.was_told("outside", "SyncLoadBalancerFailed"));
    assert!(why.contains("10.99.0.1") && why.contains("nodes"), "{why}");
    assert_eq!(world.ingress("bad"), Vec::<String>::new());
    becomes(&2, || controller.number("failing"));
    world.api.merge("services", "default", "bad", &json!({ "metadata": { "annotations": { IDLE: "5" } } }));
    world.await_ingress("bad");
    becomes(&1, || controller.number("failing"));
}

#[test]
fn what_a_service_waits_for_may_come_later() {
    // K8S-4
    let world = World::start();
    let _controller = world.controller("one");
    let pin = json!({ "metadata": { "annotations": { "service.beta.kubernetes.io/azure-load-balancer-ipv4": "203.0.113.1" } } });
    world.add_service("guest", 81, &pin);
    let why = eventually("it is told", || world.was_told("guest", "SyncLoadBalancerFailed"));
    assert!(why.contains("203.0.113.1 was not found"), "{why}");
    world.add_service("host", 80, &json!({}));
    assert_eq!(world.await_ingress("host"), "203.0.113.1");
    assert_eq!(world.await_ingress("guest"), "203.0.113.1");
}

#[test]
fn advice_is_told_once() {
    // K8S-4
    let world = World::start();
    let _controller = world.controller("one");
    let misspelt = json!({ "metadata": { "annotations": { "service.beta.kubernetes.io/azure-load-balancer-internl": "true" } } });
    world.add_service("web", 80, &misspelt);
    world.await_ingress("web");
    let why = eventually("it is told", || world.was_told("web", "UnknownAnnotation"));
    assert!(why.ends_with("azure-load-balancer-internal is known"), "{why}");
    world.api.merge("services", "default", "web", &json!({ "metadata": { "labels": { "a": "b" } } }));
    world.add_service("other", 81, &json!({}));
    world.await_ingress("other");
    let times = world.events("web").iter().filter(|(reason, _)| reason == "UnknownAnnotation").count();
    assert_eq!(times, 1);
}

#[test]
fn whoever_writes_a_service_at_the_same_time_comes_first() {
    let world = World::start();
    world.api.interfere(3);
    let _controller = world.controller("one");
    world.add_service("web", 80, &json!({}));
    world.await_ingress("web");
    let service = world.service("web").unwrap();
    assert_eq!(service["metadata"]["labels"]["interfered"], "0", "nobody's change was lost");
    assert_eq!(world.was_told("web", "SyncLoadBalancerFailed"), None, "that is no failure");
}

#[test]
fn others_who_write_to_the_server_hold_nobody_up() {
    let world = World::start();
    let controller = world.controller("one");
    let document = world.folder.path().join("other.json");
    for number in 0..10 {
        world.add_service(&format!("s{number}"), 80, &json!({}));
        let name = format!("other{number}");
        let other = json!({ "name": name, "type": "Microsoft.Network/virtualNetworks", "properties": {
            "addressSpace": { "addressPrefixes": ["10.9.0.0/16"] } } });
        std::fs::write(&document, other.to_string()).unwrap();
        world.ask(&["apply", "-f", document.to_str().unwrap()]);
    }
    (0..10).for_each(|number| drop(world.await_ingress(&format!("s{number}"))));
    assert_eq!(controller.number("failing"), 0);
    assert!(world.server_has("vnet", "other9").is_some(), "nobody's write was lost");
    assert_eq!(controller.number("drifts_total"), 0, "that was nobody's business here");
}

#[test]
fn watches_that_end_and_cannot_go_on_lose_nothing() {
    let world = World::start();
    let _controller = world.controller("one");
    world.add_service("web", 80, &json!({}));
    world.await_ingress("web");
    world.api.expire_watches();
    world.add_service("api", 81, &json!({}));
    world.await_ingress("api");
    world.api.expire_watches();
    world.api.delete("nodes", "", "node-0");
    becomes(&vec!["10.240.1.1".to_owned()], || world.members("kubernetes"));
}

#[test]
fn what_others_change_of_it_is_mended() {
    // K8S-3
    let world = World::start();
    let controller = world.controller("one");
    world.add_service("web", 80, &json!({}));
    world.add_service("api", 81, &json!({}));
    world.await_ingress("web");
    world.await_ingress("api");
    let rules = ["80->80".to_owned(), "81->81".to_owned()].to_vec();
    becomes(&rules, || world.rules("kubernetes"));
    world.ask(&["delete", "lb", "kubernetes"]);
    becomes(&rules, || world.rules("kubernetes"));
    assert!(controller.number("drifts_total") >= 1);
    becomes(&2, || world.members("kubernetes").len());
    world.api.merge(
        "services",
        "default",
        "web",
        &json!({ "status": { "loadBalancer": { "ingress": null } } }),
    );
    world.await_ingress("web");
}
