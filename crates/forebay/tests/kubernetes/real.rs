//! The controller beside a real kube-apiserver: what the one in this tree only says it would do. `FOREBAY_TEST_KUBECONFIG` names a cluster
//! for tests, of which whoever names it is an administrator.

mod cluster;

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::apiserver::HOME;
use crate::cluster::Cluster as _;
use crate::world::{World, becomes, eventually};
use cluster::{MANIFESTS, Real};

const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

#[test]
fn a_real_cluster_takes_all_that_is_written_of_a_service() {
    // K8S-1 K8S-2
    let Some(world) = world(2) else { return };
    let _controller = world.controller("one");
    world.add_service("web", 80, &json!({}));
    let address = world.await_ingress("web");
    assert_eq!(address, "203.0.113.1");
    let service = world.service("web").unwrap();
    assert_eq!(service["metadata"]["finalizers"], json!([FINALIZER]));
    let managers = service["metadata"]["managedFields"].as_array().unwrap().iter();
    assert!(managers.clone().any(|it| it["manager"] == "forebay-kubernetes"), "{service}");
    let node_port = &service["spec"]["ports"][0]["nodePort"];
    let balancer = world.server_has("lb", "kubernetes").unwrap();
    assert_eq!(balancer["properties"]["probes"][0]["properties"]["port"], *node_port);
    eventually("the end is told", || world.was_told("web", "EnsuredLoadBalancer"));
    assert!(world.was_told("web", "EnsuringLoadBalancer").is_some());

    // Another family, protocols of all kinds, the Local policy.
    let more = json!({ "spec": { "ipFamilyPolicy": "PreferDualStack", "ports": [
        { "name": "dns", "port": 53, "protocol": "UDP" }, { "name": "dns-tcp", "port": 53, "protocol": "TCP" }] } });
    let made = world.add_service("dual", 53, &more);
    let families = made["spec"]["ipFamilies"].as_array().unwrap().len();
    becomes(&families, || world.ingress("dual").len());
    world.add_service("local", 81, &json!({ "spec": { "externalTrafficPolicy": "Local" } }));
    world.await_ingress("local");

    let edit = |change: Value| drop(world.api.merge("services", world.api.namespace(), "web", &change));
    edit(json!({ "spec": { "ports": [
        { "name": "http", "port": 80, "protocol": "TCP" }, { "name": "https", "port": 443, "protocol": "TCP" }] } }));
    eventually("the port is served", || {
        world.rules("kubernetes").contains(&"443->443".to_owned()).then_some(())
    });
    edit(
        json!({ "metadata": { "annotations": { "service.beta.kubernetes.io/azure-load-balancer-internal": "true" } } }),
    );
    becomes(&vec!["10.240.0.4".to_owned()], || world.ingress("web"));
    // Whoever takes the finalizer away while it is there, or the status, is mended.
    edit(json!({ "metadata": { "finalizers": null } }));
    becomes(&json!([FINALIZER]), || world.service("web").unwrap()["metadata"]["finalizers"].clone());
    edit(json!({ "status": { "loadBalancer": { "ingress": null } } }));
    becomes(&vec!["10.240.0.4".to_owned()], || world.ingress("web"));

    edit(json!({ "spec": { "type": "ClusterIP" } }));
    becomes(&Value::Null, || world.service("web").unwrap()["metadata"]["finalizers"].clone());
    assert_eq!(world.ingress("web"), Vec::<String>::new());
    assert_eq!(world.server_has("lb", "kubernetes-internal"), None);
    for name in ["dual", "local"] {
        world.api.delete("services", world.api.namespace(), name);
        becomes(&None, || world.service(name));
    }
    assert_eq!(world.server_has("lb", "kubernetes"), None);
    eventually("it is told", || world.was_told("dual", "DeletedLoadBalancer"));
}

#[test]
fn nodes_of_a_real_cluster_are_members() {
    // K8S-2
    let Some(world) = world(2) else { return };
    let controller = world.controller("one");
    world.add_service("web", 80, &json!({}));
    world.await_ingress("web");
    let ours = || -> Vec<String> {
        world.members("kubernetes").into_iter().filter(|it| it.starts_with("10.240.1.")).collect()
    };
    becomes(&2, || ours().len());
    world.add_node(2);
    becomes(&3, || ours().len());
    let out = json!({ "metadata": { "labels": { "node.kubernetes.io/exclude-from-external-load-balancers": "" } } });
    world.api.merge("nodes", "", "node-0", &out);
    becomes(&vec!["10.240.1.1".to_owned(), "10.240.1.2".to_owned()], ours);
    world.api.delete("nodes", "", "node-1");
    becomes(&vec!["10.240.1.2".to_owned()], ours);
    becomes(&0, || controller.number("waiting"));
    let writes = controller.number("transactions_total");
    world.api.merge("nodes", "", "node-2", &json!({ "metadata": { "annotations": { "seen": "now" } } }));
    world.api.merge("nodes", "", "node-2", &json!({ "spec": { "unschedulable": true } }));
    thread::sleep(Duration::from_secs(1));
    assert_eq!(
        controller.number("transactions_total"),
        writes,
        "a cordoned node is a member, and a heartbeat is no news"
    );
}

#[test]
fn whoever_writes_a_service_of_a_real_cluster_at_the_same_time_loses_nothing() {
    let Some(world) = world(1) else { return };
    let _controller = world.controller("one");
    let namespace = world.api.namespace().to_owned();
    world.add_service("web", 80, &json!({}));
    for number in 0..40 {
        let label = json!({ "metadata": { "labels": { format!("l{number}"): "set" } } });
        world.api.merge("services", &namespace, "web", &label);
        if number == 20 {
            let ports = json!({ "spec": { "ports": [{ "port": 8080, "protocol": "TCP" }] } });
            world.api.merge("services", &namespace, "web", &ports);
        }
    }
    world.await_ingress("web");
    becomes(&vec!["8080->8080".to_owned()], || world.rules("kubernetes"));
    let service = world.service("web").unwrap();
    let labels = service["metadata"]["labels"].as_object().unwrap();
    assert_eq!((0..40).filter(|number| labels.contains_key(&format!("l{number}"))).count(), 40);
    assert_eq!(service["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(world.was_told("web", "SyncLoadBalancerFailed"), None, "that is no failure");
    // The version that is checked is the one that was seen: a Service of the same name is another one.
    world.api.delete("services", &namespace, "web");
    becomes(&None, || world.service("web"));
    world.add_service("web", 90, &json!({}));
    world.await_ingress("web");
    becomes(&vec!["90->90".to_owned()], || world.rules("kubernetes"));
}

#[test]
fn two_controllers_share_a_lease_of_a_real_cluster() {
    let Some(world) = world(1) else { return };
    let first = world.controller("one");
    becomes(&true, || first.leads());
    let second = world.controller("two");
    let lease = || world.api.get("leases", HOME, "forebay-kubernetes").unwrap();
    let held = lease();
    assert_eq!(held["spec"]["holderIdentity"], "one");
    assert!(held["spec"]["renewTime"].as_str().unwrap().len() > "2026-01-01T00:00:00Z".len(), "{held}");
    becomes(&true, || lease()["spec"]["renewTime"] != held["spec"]["renewTime"]);
    assert!(!second.leads());
    drop(first);
    let began = Instant::now();
    world.add_service("web", 80, &json!({}));
    world.await_ingress("web");
    println!("the other one served {:.1} s after the first one was killed", began.elapsed().as_secs_f64());
    let held = lease();
    assert_eq!((&held["spec"]["holderIdentity"], second.leads()), (&json!("two"), true));
    // Who is told to stop gives it back, and nobody waits for it to end.
    let third = world.controller("three");
    becomes(&1, || third.number("server_revision").min(1));
    second.stop();
    let began = Instant::now();
    becomes(&true, || third.leads());
    println!("the next one led {:.1} s after the second one had stopped", began.elapsed().as_secs_f64());
}

#[test]
fn a_second_look_at_a_real_cluster_writes_nothing() {
    // K8S-3
    let Some(world) = world(2) else { return };
    let first = world.controller("one");
    let internal = json!({ "metadata": { "annotations": { "service.beta.kubernetes.io/azure-load-balancer-internal": "true" } } });
    let guarded = json!({ "spec": { "loadBalancerSourceRanges": ["192.0.2.0/24"] } });
    let local = json!({ "spec": { "externalTrafficPolicy": "Local" } });
    for (name, port, more) in
        [("a", 80, json!({})), ("b", 81, local), ("c", 82, internal), ("d", 83, guarded)]
    {
        world.add_service(name, port, &more);
        world.await_ingress(name);
        eventually("it is told", || world.was_told(name, "EnsuredLoadBalancer"));
    }
    becomes(&0, || first.number("waiting"));
    first.stop();
    let seen = || {
        let mine = |it: &Value| it["metadata"]["namespace"] == world.api.namespace();
        let of = |collection| world.api.list(collection).into_iter().filter(mine).collect::<Vec<_>>();
        (world.revision(), of("services"), of("events"))
    };
    let before = seen();
    let second = world.controller_with("two", &["--resync", "10"]);
    // Once at the beginning, and once more because it is time.
    becomes(&8, || second.number("reconciles_total"));
    assert_eq!((second.number("transactions_total"), second.number("patches_total")), (0, 0));
    assert!(seen() == before, "nobody has written anything");
}

#[test]
fn a_real_cluster_takes_the_manifests_and_lets_the_controller_do_nothing_else() {
    let Some(world) = world(0) else { return };
    let said = world.api.kubectl(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "-f",
        MANIFESTS,
    ]);
    assert!(said.lines().count() >= 12, "{said}");
    let account = format!("--as=system:serviceaccount:{HOME}:forebay-controller");
    for (may, rest) in [
        ("yes", &["patch", "services/status", "-A"][..]),
        ("yes", &["watch", "endpointslices.discovery.k8s.io", "-A"]),
        ("no", &["delete", "services", "-A"]),
        ("no", &["get", "secrets", "-A"]),
        ("yes", &["patch", "nodes"]),
        ("no", &["delete", "nodes"]),
        ("no", &["update", "leases.coordination.k8s.io/another", "-n", HOME]),
    ] {
        let arguments = [&["auth", "can-i"], rest, &[&account]].concat();
        assert_eq!(world.api.ask(&arguments).trim().lines().last(), Some(may), "{rest:?}");
    }
}

#[test]
fn what_kubectl_does_to_a_service_of_a_real_cluster_is_done() {
    // K8S-1 K8S-2
    let Some(world) = world(1) else { return };
    let _controller = world.controller("one");
    let manifest = world.folder.path().join("web.yaml");
    let namespace = world.api.namespace();
    let write = |port: u16| {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: web, namespace: {namespace} }}\nspec:\n  type: LoadBalancer\n  \
             selector: {{ app: web }}\n  ports:\n  - {{ name: http, port: {port} }}\n"
        );
        std::fs::write(&manifest, text).unwrap();
    };
    let run = |arguments: &[&str]| world.api.kubectl(&[arguments, &["-n", namespace]].concat());
    let file = manifest.to_str().unwrap();
    write(80);
    run(&["apply", "-f", file]);
    let address = world.await_ingress("web");
    assert!(run(&["get", "service", "web"]).contains(&address));
    write(8080);
    run(&["apply", "-f", file]);
    run(&["apply", "--server-side", "--force-conflicts", "-f", file]);
    becomes(&vec!["8080->8080".to_owned()], || world.rules("kubernetes"));
    assert_eq!(world.await_ingress("web"), address, "an apply does not take the status away");
    assert_eq!(world.service("web").unwrap()["metadata"]["finalizers"], json!([FINALIZER]));
    run(&["annotate", "service", "web", "service.beta.kubernetes.io/azure-load-balancer-tcp-idle-timeout=1"]);
    let described = eventually("the event is described", || {
        Some(run(&["describe", "service", "web"])).filter(|it| it.contains("SyncLoadBalancerFailed"))
    });
    assert!(described.contains("1 is out of range: 4 to 100 minutes"), "{described}");
    run(&["delete", "service", "web", "--timeout=60s"]);
    assert_eq!(world.service("web"), None);
    assert_eq!(world.server_has("lb", "kubernetes"), None);
}

/// The cluster with so many more nodes, and a server; nothing where no cluster is at hand, which is no failure anywhere.
fn world(nodes: u16) -> Option<World<Real>> {
    let Some(cluster) = Real::take() else {
        eprintln!("skipped: FOREBAY_TEST_KUBECONFIG names no cluster");
        return None;
    };
    let settings = json!({ "forebay": { "subnets": { "nodes": cluster.subnets() } } });
    let world = World::around(cluster, &settings);
    (0..nodes).for_each(|number| world.add_node(number));
    Some(world)
}
