//! Other cloud configs: Basic load balancers, members by network interface, several standard load balancers.

use serde_json::json;

use crate::cluster::Cluster as _;
use crate::world::{Controller, World, becomes, eventually};

#[test]
fn nodes_are_members_by_their_interfaces_where_the_config_says_so() {
    // K8S-2 K8S-3
    let world = World::with(&json!({ "loadBalancerBackendPoolConfigurationType": "nodeIPConfiguration" }));
    let controller = world.controller("one");
    world.add_service("web", 80, &json!({}));
    world.add_service(
        "inner",
        81,
        &json!({ "metadata": { "annotations": {
        "service.beta.kubernetes.io/azure-load-balancer-internal": "true" } } }),
    );
    world.await_ingress("web");
    world.await_ingress("inner");
    let interface = world.server_has("nic", "node-0").unwrap();
    let configuration = &interface["properties"]["ipConfigurations"][0]["properties"];
    assert_eq!(configuration["privateIPAddress"], "10.240.1.0");
    assert_eq!(configuration["loadBalancerBackendAddressPools"].as_array().unwrap().len(), 2);
    world.add_node(2);
    eventually("it has an interface", || world.server_has("nic", "node-2"));
    let out = json!({ "metadata": { "labels": { "node.kubernetes.io/exclude-from-external-load-balancers": "true" } } });
    world.api.merge("nodes", "", "node-0", &out);
    becomes(&json!(null), || {
        let interface = world.server_has("nic", "node-0").unwrap();
        interface["properties"]["ipConfigurations"][0]["properties"]["loadBalancerBackendAddressPools"][0]
            .clone()
    });
    writes_nothing_more(&world, controller, 2);
}

#[test]
fn basic_load_balancers_are_named_after_sets_of_nodes() {
    // K8S-1 K8S-3
    let world = World::with(&json!({ "loadBalancerSku": "basic", "primaryScaleSetName": "pool0" }));
    for (node, set) in [("node-0", "pool0"), ("node-1", "pool1")] {
        world.api.merge("nodes", "", node, &json!({ "metadata": { "labels": { "agentpool": set } } }));
    }
    let controller = world.controller_with("one", &["--alone"]);
    world.add_service("web", 80, &json!({}));
    let mode = json!({ "metadata": { "annotations": { "service.beta.kubernetes.io/azure-load-balancer-mode": "pool1" } } });
    world.add_service("api", 81, &mode);
    world.await_ingress("web");
    world.await_ingress("api");
    assert_eq!(world.rules("kubernetes"), ["80->80"]);
    assert_eq!(world.rules("pool1"), ["81->81"]);
    assert_eq!(world.server_has("lb", "pool1").unwrap()["sku"]["name"], "Basic");
    writes_nothing_more(&world, controller, 2);
}

#[test]
fn services_and_nodes_are_spread_over_several_load_balancers() {
    // K8S-1 K8S-2 K8S-3
    let world = World::with(&json!({
        "loadBalancerBackendPoolUpdateIntervalInSeconds": 1,
        "multipleStandardLoadBalancerConfigurations": [
            { "name": "kubernetes", "primaryVMSet": "pool0" },
            { "name": "lb2", "primaryVMSet": "pool1", "serviceNamespaceSelector": { "matchLabels": { "tier": "edge" } } },
        ],
    }));
    for (node, set) in [("node-0", "pool0"), ("node-1", "pool1")] {
        world.api.merge("nodes", "", node, &json!({ "metadata": { "labels": { "agentpool": set } } }));
    }
    let controller = world.controller("one");
    world.add_service("web", 80, &json!({}));
    world.await_ingress("web");
    assert_eq!(world.rules("kubernetes"), ["80->80"]);
    becomes(&vec!["10.240.1.0".to_owned(), "10.240.1.1".to_owned()], || world.members("kubernetes"));

    // Its namespace is chosen now.
    world.api.merge("namespaces", "", "default", &json!({ "metadata": { "labels": { "tier": "edge" } } }));
    becomes(&vec!["80->80".to_owned()], || world.rules("lb2"));
    assert_eq!(world.server_has("lb", "kubernetes"), None);
    assert_eq!(world.ingress("web").len(), 1);

    // With the Local policy it has a pool of its own, which follows its endpoints.
    let slice = |node: &str| {
        json!({
            "metadata": { "name": "web-1", "labels": { "kubernetes.io/service-name": "web" } },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": ["10.244.0.2"], "nodeName": node }],
            "ports": [],
        })
    };
    world.api.create("endpointslices", "default", &slice("node-1"));
    world.api.merge("services", "default", "web", &json!({ "spec": { "externalTrafficPolicy": "Local" } }));
    becomes(&vec!["10.240.1.1".to_owned()], || world.members_of("lb2", "default-web"));
    world.api.merge("endpointslices", "default", "web-1", &slice("node-0"));
    becomes(&vec!["10.240.1.0".to_owned()], || world.members_of("lb2", "default-web"));
    eventually("that is told", || world.was_told("web", "LoadBalancerBackendPoolUpdated"));
    writes_nothing_more(&world, controller, 1);
}

/// Another controller finds everything in its place.
fn writes_nothing_more(world: &World, controller: Controller, services: u64) {
    becomes(&0, || controller.number("waiting"));
    controller.stop();
    let revision = world.revision();
    let second = world.controller("two");
    becomes(&services, || second.number("reconciles_total"));
    assert_eq!((second.number("transactions_total"), second.number("patches_total")), (0, 0));
    assert_eq!(world.revision(), revision);
}
