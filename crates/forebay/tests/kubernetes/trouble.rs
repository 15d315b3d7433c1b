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
fn what_the_server_refuses_falls_apart_so_that_the_good_ones_get_through() {
    // K8S-4
    let world = World::start();
    let outside = json!({ "metadata": { "annotations": {
        "service.beta.kubernetes.io/azure-load-balancer-internal": "true",
        "service.beta.kubernetes.io/azure-load-balancer-ipv4": "10.99.0.1",
    } } });
    for number in 0..16 {
        let more = if number == 6 { outside.clone() } else { json!({}) };
        world.add_service(&format!("s{number:02}"), 80, &more);
    }
    let controller = world.controller("one");
    let good: Vec<String> = (0..16).filter(|it| *it != 6).map(|number| format!("s{number:02}")).collect();
    good.iter().for_each(|name| drop(world.await_ingress(name)));
    let why = eventually("the bad one is told", || world.was_told("s06", "SyncLoadBalancerFailed"));
    assert!(why.contains("10.99.0.1"), "{why}");
    for name in &good {
        eventually("the end is told", || world.was_told(name, "EnsuredLoadBalancer"));
        assert_eq!(world.was_told(name, "SyncLoadBalancerFailed"), None, "nobody else is blamed");
        assert_eq!(world.events(name).len(), 2, "beginning and end are told once");
    }
    becomes(&1, || controller.number("failing"));
    // They come as 1, 2, 4, 8 and 1. Of the 4 all, one half and one alone are refused, two and one get their addresses, and then these
    // three are opened at once.
    assert_eq!(controller.number("transactions_total"), 4 * 2 + 3 + 2 + 1);
    assert_eq!(world.rules("kubernetes").len(), 15);
    let rules = world.server_has("nsg", "nsg").unwrap()["properties"]["securityRules"].clone();
    let destinations = &rules[0]["properties"]["destinationAddressPrefixes"];
    assert_eq!(destinations.as_array().unwrap().len(), 15, "{rules}");
}

#[test]
fn those_that_are_written_together_are_made_again_together_when_somebody_else_wrote() {
    // K8S-4
    let world = World::start();
    let document = world.folder.path().join("other.json");
    for number in 0..30 {
        world.add_service(&format!("s{number}"), 80, &json!({}));
    }
    let controller = world.controller("one");
    for number in 0..10 {
        let name = format!("other{number}");
        let other = json!({ "name": name, "type": "Microsoft.Network/virtualNetworks", "properties": {
            "addressSpace": { "addressPrefixes": ["10.9.0.0/16"] } } });
        std::fs::write(&document, other.to_string()).unwrap();
        world.ask(&["apply", "-f", document.to_str().unwrap()]);
    }
    (0..30).for_each(|number| drop(world.await_ingress(&format!("s{number}"))));
    assert_eq!(controller.number("failing"), 0);
    assert_eq!(world.rules("kubernetes").len(), 30);
    assert!(
        controller.number("transactions_total") <= 5 * 2 + 10,
        "one for each round, and one for each conflict at most"
    );
}

#[test]
fn a_public_ip_that_could_not_be_made_is_told_of() {
    // K8S-4
    let world = World::with(&json!({ "forebay": { "publicAddresses": ["203.0.113.1"] } }));
    let _controller = world.controller("one");
    world.add_service("first", 80, &json!({}));
    world.await_ingress("first");
    world.add_service("second", 81, &json!({}));
    let why = eventually("it is told", || world.was_told("second", "CreateOrUpdatePublicIPAddress"));
    assert!(why.starts_with("public IP kubernetes-a"), "{why}");
    eventually("so is the end", || world.was_told("second", "SyncLoadBalancerFailed"));
}

#[test]
fn a_public_ip_that_somebody_else_uses_stays_when_its_service_goes() {
    // K8S-2
    let world = World::start();
    let _controller = world.controller("one");
    // It gets its public IP, and nothing else.
    let made = world.add_service("web", 79, &json!({ "metadata": { "annotations": { IDLE: "1" } } }));
    let base: String =
        format!("a{}", made["metadata"]["uid"].as_str().unwrap().replace('-', "")).chars().take(32).collect();
    let name = format!("kubernetes-{base}");
    let public = eventually("it has a public IP", || world.server_has("pip", &name));
    let id = public["id"].as_str().unwrap();
    let foreign = json!({
        "id": id.replace("publicIPAddresses", "loadBalancers").replace("/resourceGroups/", "/resourceGroups/other-"),
        "name": name,
        "type": "Microsoft.Network/loadBalancers",
        "sku": { "name": "Standard" },
        "properties": { "frontendIPConfigurations": [{ "name": "f", "properties": { "publicIPAddress": { "id": id } } }] },
    });
    let document = world.folder.path().join("foreign.json");
    std::fs::write(&document, foreign.to_string()).unwrap();
    world.ask(&["apply", "-f", document.to_str().unwrap()]);
    world.api.delete("services", "default", "web");
    becomes(&None, || world.service("web"));
    let why = eventually("it is told", || world.was_told("web", "DeletePublicIPAddress"));
    assert_eq!(why, format!("public IP {name} stays: something else uses it"));
    assert!(world.server_has("pip", &name).is_some());
    eventually("the end is told", || world.was_told("web", "DeletedLoadBalancer"));
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
