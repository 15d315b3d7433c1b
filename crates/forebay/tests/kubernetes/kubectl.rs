//! People's way: kubectl applies, edits, describes and deletes.

use std::path::Path;
use std::process::Command;

use forebay::lab::{install, skip_or_fail};
use serde_json::json;

use crate::cluster::Cluster as _;
use crate::world::{World, becomes, eventually, kubectl};

const MANIFEST: &str = "apiVersion: v1
kind: Service
metadata: { name: web, namespace: default }
spec:
  type: LoadBalancer
  ports:
  - { name: http, port: 80, protocol: TCP }
";

#[test]
fn what_kubectl_does_to_a_service_is_done() {
    // K8S-1 K8S-2
    let Some(program) = kubectl() else {
        return skip_or_fail(install("kubectl"));
    };
    let world = World::start();
    let _controller = world.controller("one");
    let manifest = world.folder.path().join("web.yaml");
    std::fs::write(&manifest, MANIFEST).unwrap();
    let manifest = manifest.to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| run(&program, &world, arguments);
    run(&["apply", "--validate=false", "-f", &manifest]);
    let address = world.await_ingress("web");
    assert!(
        run(&["get", "service", "web", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}"]) == address
    );
    run(&["annotate", "service", "web", "service.beta.kubernetes.io/azure-load-balancer-internal=true"]);
    becomes(&vec!["10.240.0.4".to_owned()], || world.ingress("web"));
    std::fs::write(&manifest, MANIFEST.replace("port: 80", "port: 8080")).unwrap();
    run(&["apply", "--validate=false", "-f", &manifest]);
    becomes(&vec!["8080->8080".to_owned()], || world.rules("kubernetes-internal"));
    eventually("it is told", || world.was_told("web", "EnsuredLoadBalancer"));
    let events = run(&["get", "events", "-n", "default", "-o", "jsonpath={.items[*].reason}"]);
    assert!(events.contains("EnsuringLoadBalancer"), "{events}");
    world.api.merge("services", "default", "web", &json!({ "metadata": { "labels": { "a": "b" } } }));
    run(&["delete", "service", "web", "--timeout=60s"]);
    assert_eq!(world.service("web"), None);
    assert_eq!(world.server_has("lb", "kubernetes-internal"), None);
}

fn run(program: &Path, world: &World, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .arg("--kubeconfig")
        .arg(world.api.kubeconfig(world.folder.path()))
        .arg("--cache-dir")
        .arg(world.folder.path().join("cache"))
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}
