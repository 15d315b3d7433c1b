//! Services and nodes come, change and go.

use serde_json::json;

use crate::cluster::Cluster as _;
use crate::world::{World, becomes, eventually};

const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

#[test]
fn a_service_is_served_as_long_as_it_is_there() {
    // K8S-1 K8S-2
    let world = World::start();
    let _controller = world.controller("one");
    let made = world.add_service("web", 80, &json!({}));
    assert_eq!(world.await_ingress("web"), "203.0.113.1");
    let service = world.service("web").unwrap();
    assert_eq!(service["metadata"]["finalizers"], json!([FINALIZER]));
    let base: String =
        format!("a{}", made["metadata"]["uid"].as_str().unwrap().replace('-', "")).chars().take(32).collect();
    let balancer = world.server_has("lb", "kubernetes").unwrap();
    assert_eq!(balancer["properties"]["frontendIPConfigurations"][0]["name"], json!(base));
    assert_eq!(world.rules("kubernetes"), ["80->80"]);
    assert_eq!(world.members("kubernetes"), ["10.240.1.0", "10.240.1.1"]);
    let public = world.server_has("pip", &format!("kubernetes-{base}")).unwrap();
    assert_eq!(public["tags"]["k8s-azure-service"], "default/web");
    let group = world.server_has("nsg", "nsg").unwrap();
    assert_eq!(
        group["properties"]["securityRules"][0]["properties"]["destinationAddressPrefix"],
        "203.0.113.1"
    );
    eventually("the end is told", || world.was_told("web", "EnsuredLoadBalancer"));
    assert!(world.was_told("web", "EnsuringLoadBalancer").is_some());

    let ports = json!({ "spec": { "ports": [{ "port": 80, "protocol": "TCP" }, { "port": 443, "protocol": "TCP" }] } });
    world.api.merge("services", "default", "web", &ports);
    becomes(&vec!["443->443".to_owned(), "80->80".to_owned()], || world.rules("kubernetes"));
    let internal = json!({ "metadata": { "annotations": { "service.beta.kubernetes.io/azure-load-balancer-internal": "true" } } });
    world.api.merge("services", "default", "web", &internal);
    becomes(&vec!["10.240.0.4".to_owned()], || world.ingress("web"));
    assert_eq!(world.server_has("lb", "kubernetes"), None, "it has moved");
    assert_eq!(world.rules("kubernetes-internal").len(), 2);

    world.api.delete("services", "default", "web");
    becomes(&None, || world.service("web"));
    assert_eq!(world.server_has("lb", "kubernetes-internal"), None);
    eventually("the end is told", || world.was_told("web", "DeletedLoadBalancer"));
}

#[test]
fn nodes_are_members_from_when_they_come_until_they_go() {
    // K8S-2
    let world = World::start();
    let controller = world.controller("one");
    world.add_service("web", 80, &json!({}));
    world.await_ingress("web");
    world.add_node(2);
    becomes(&members([0, 1, 2]), || world.members("kubernetes"));
    let excluded = json!({ "metadata": { "labels": { "node.kubernetes.io/exclude-from-external-load-balancers": "true" } } });
    world.api.merge("nodes", "", "node-0", &excluded);
    becomes(&members([1, 2]), || world.members("kubernetes"));
    world.api.delete("nodes", "", "node-1");
    becomes(&members([2]), || world.members("kubernetes"));
    // What is seen of a write may be seen before it is counted.
    becomes(&0, || controller.number("waiting"));
    let writes = controller.number("transactions_total");
    let heartbeat = json!({ "metadata": { "annotations": { "seen": "now" } } });
    world.api.merge("nodes", "", "node-2", &heartbeat);
    world.add_node(3);
    becomes(&members([2, 3]), || world.members("kubernetes"));
    becomes(&0, || controller.number("waiting"));
    assert_eq!(controller.number("transactions_total"), writes + 1, "one write for one node");
}

#[test]
fn a_service_of_another_type_is_let_go_and_one_of_a_class_was_never_ours() {
    // K8S-2
    let world = World::start();
    let _controller = world.controller("one");
    world.add_service("other", 81, &json!({ "spec": { "loadBalancerClass": "example.com/other" } }));
    world.add_service("web", 80, &json!({}));
    world.await_ingress("web");
    world.api.merge("services", "default", "web", &json!({ "spec": { "type": "ClusterIP" } }));
    becomes(&Vec::<String>::new(), || world.ingress("web"));
    becomes(&json!(null), || world.service("web").unwrap()["metadata"]["finalizers"].clone());
    assert_eq!(world.server_has("lb", "kubernetes"), None);
    let other = world.service("other").unwrap();
    assert_eq!(other["metadata"].get("finalizers"), None);
    assert_eq!(world.events("other"), []);
}

#[test]
fn nothing_stays_of_a_service_whose_finalizer_somebody_took_away() {
    // K8S-2
    let mut world = World::start();
    let _controller = world.controller("one");
    world.add_service("web", 80, &json!({}));
    world.await_ingress("web");
    world.api.go_away();
    world.api.merge("services", "default", "web", &json!({ "metadata": { "finalizers": null } }));
    world.api.delete("services", "default", "web");
    world.api.come_back();
    becomes(&None, || world.server_has("lb", "kubernetes"));
    // While the Service is there, it is given back.
    world.add_service("api", 81, &json!({}));
    world.await_ingress("api");
    world.api.merge("services", "default", "api", &json!({ "metadata": { "finalizers": null } }));
    becomes(&json!([FINALIZER]), || world.service("api").unwrap()["metadata"]["finalizers"].clone());
}

#[test]
fn both_families_and_a_shared_address_are_served() {
    // K8S-2
    let world = World::start();
    let _controller = world.controller("one");
    world.add_service("dual", 80, &json!({ "spec": { "ipFamilies": ["IPv4", "IPv6"] } }));
    becomes(&vec!["203.0.113.1".to_owned(), "2001:db8::100".to_owned()], || world.ingress("dual"));
    let pin = json!({ "metadata": { "annotations": { "service.beta.kubernetes.io/azure-load-balancer-ipv4": "203.0.113.1" } } });
    world.add_service("guest", 81, &pin);
    assert_eq!(world.await_ingress("guest"), "203.0.113.1");
    world.api.delete("services", "default", "dual");
    becomes(&None, || world.service("dual"));
    becomes(&vec!["81->81".to_owned()], || world.rules("kubernetes"));
    world.api.delete("services", "default", "guest");
    becomes(&None, || world.server_has("lb", "kubernetes"));
}

#[test]
fn a_second_look_writes_nothing() {
    // K8S-3
    let world = World::start();
    let first = world.controller("one");
    let local = json!({ "spec": { "externalTrafficPolicy": "Local" } });
    let internal = json!({ "metadata": { "annotations": { "service.beta.kubernetes.io/azure-load-balancer-internal": "true" } } });
    let guarded = json!({ "spec": { "loadBalancerSourceRanges": ["192.0.2.0/24"] } });
    for (name, port, more) in
        [("a", 80, json!({})), ("b", 81, local), ("c", 82, internal), ("d", 83, guarded)]
    {
        world.add_service(name, port, &more);
        world.await_ingress(name);
        eventually("it is told", || world.was_told(name, "EnsuredLoadBalancer"));
    }
    first.stop();
    let (revision, services, events) =
        (world.revision(), world.api.list("services"), world.api.list("events"));
    let second = world.controller_with("two", &["--resync", "10"]);
    // Once at the beginning, and once more because it is time.
    becomes(&8, || second.number("reconciles_total"));
    assert_eq!(second.number("transactions_total"), 0);
    assert_eq!(second.number("patches_total"), 0);
    assert_eq!(world.revision(), revision);
    assert_eq!(world.api.list("services"), services);
    assert_eq!(world.api.list("events"), events);
}

fn members(numbers: impl IntoIterator<Item = u8>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("10.240.1.{number}")).collect()
}

#[test]
fn a_node_that_was_shut_down_is_out_of_service_until_it_is_ready() {
    let world = World::start();
    let controller = world.controller("one");
    let taints = || -> Vec<String> {
        let node = world.api.get("nodes", "", "node-1").unwrap();
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        taints.iter().map(|it| format!("{}:{}", it["key"], it["effect"]).replace('"', "")).collect()
    };
    let ready = |status: &str| {
        let change = json!({ "status": { "conditions": [{ "type": "Ready", "status": status }] } });
        world.api.merge("nodes", "", "node-1", &change);
    };
    let shut_down = "node.cloudprovider.kubernetes.io/shutdown:NoSchedule".to_owned();
    let out = "node.kubernetes.io/out-of-service:NoExecute".to_owned();
    // One that only does not answer may be at work.
    ready("Unknown");
    becomes(&true, || controller.leads());
    assert_eq!(taints(), [""; 0]);
    let (key, effect) = shut_down.split_once(':').unwrap();
    world.api.merge(
        "nodes",
        "",
        "node-1",
        &json!({ "spec": { "taints": [{ "key": key, "effect": effect }] } }),
    );
    becomes(&vec![shut_down.clone(), out], taints);
    ready("True");
    becomes(&vec![shut_down], taints);
    becomes(&2, || controller.number("patches_total"));
}
