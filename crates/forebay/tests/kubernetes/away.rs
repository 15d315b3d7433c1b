//! Servers that are away for a while. Tests begin in the order of their names: this one waits while the others run.

use std::thread::{self, sleep};
use std::time::Duration;

use serde_json::json;

use crate::cluster::Cluster as _;
use crate::world::{World, becomes, eventually};

const A_MINUTE: Duration = Duration::from_secs(60);

#[test]
fn servers_that_are_away_for_a_minute_are_missed_by_nobody() {
    // K8S-4. Both wait at once, each with a cluster of its own.
    thread::scope(|scope| {
        scope.spawn(the_api_server_is_away);
        scope.spawn(the_server_is_away);
    });
}

fn the_api_server_is_away() {
    let mut world = World::start();
    let controller = world.controller("one");
    world.add_service("web", 80, &json!({}));
    world.await_ingress("web");
    world.api.go_away();
    world.api.merge(
        "services",
        "default",
        "web",
        &json!({ "spec": { "ports": [{ "port": 8080, "protocol": "TCP" }] } }),
    );
    world.add_service("api", 81, &json!({}));
    world.add_node(2);
    sleep(A_MINUTE);
    assert_eq!(world.rules("kubernetes"), ["80->80"], "what was served still is");
    assert!(!controller.leads(), "nobody can say whether somebody else does");
    world.api.come_back();
    world.await_ingress("api");
    becomes(&vec!["8080->8080".to_owned(), "81->81".to_owned()], || world.rules("kubernetes"));
    becomes(&3, || world.members("kubernetes").len());
}

fn the_server_is_away() {
    let mut world = World::start();
    let controller = world.controller("one");
    world.add_service("web", 80, &json!({}));
    world.await_ingress("web");
    let told = world.was_told("web", "SyncLoadBalancerFailed");
    world.kill_server();
    world.add_service("api", 81, &json!({}));
    let why = eventually("it is told", || world.was_told("api", "SyncLoadBalancerFailed"));
    assert!(why.contains("no server answers") || why.contains("connection"), "{why}");
    world.add_node(2);
    sleep(A_MINUTE);
    assert_eq!(world.ingress("web").len(), 1);
    assert!(controller.leads());
    world.start_server();
    world.await_ingress("api");
    becomes(&vec!["80->80".to_owned(), "81->81".to_owned()], || world.rules("kubernetes"));
    becomes(&3, || world.members("kubernetes").len());
    assert_eq!(told, None);
}
