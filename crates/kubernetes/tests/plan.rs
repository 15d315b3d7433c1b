//! Scenarios, as people write them and as programs read what comes of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use forebay_kubernetes::plan::{Report, Scenario, run, text};
use serde_json::{Value, json};

#[test]
fn a_report_has_the_fields_that_programs_read() {
    // K8S-2
    let report = play(SCENARIO).json();
    let steps = report["steps"].as_array().unwrap();
    let first = &steps[0];
    let fields: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["error", "ingress", "exists", "state", "events", "writes"]);
    assert_eq!(first["error"], Value::Null);
    assert_eq!(first["ingress"], json!(["20.0.0.1"]));
    assert_eq!(first["exists"], true);
    assert_eq!(
        first["state"],
        json!({
            "loadBalancers": [{
                "name": "kubernetes", "sku": "Standard", "tags": {},
                "frontends": [{ "name": BASE, "publicIP": format!("kubernetes-{BASE}") }],
                "backendPools": [{ "name": "kubernetes", "addresses": [{ "name": "node-0", "ip": "10.240.0.4" }] }],
                "probes": [{
                    "name": format!("{BASE}-TCP-80"), "protocol": "Tcp", "port": 30080, "path": null,
                    "intervalSeconds": 5, "threshold": 2,
                }],
                "rules": [{
                    "name": format!("{BASE}-TCP-80"), "protocol": "Tcp", "frontend": BASE, "frontendPort": 80,
                    "backendPool": "kubernetes", "backendPort": 80, "probe": format!("{BASE}-TCP-80"),
                    "floatingIP": true, "tcpReset": true, "idleTimeoutMinutes": 4, "distribution": "Default",
                    "disableOutboundSnat": false,
                }],
            }],
            "publicIPs": [{
                "name": format!("kubernetes-{BASE}"), "resourceGroup": "rg", "ip": "20.0.0.1", "version": "IPv4",
                "sku": "Standard", "allocation": "Static", "dnsLabel": null, "prefix": null,
                "tags": { "k8s-azure-cluster-name": "kubernetes", "k8s-azure-service": "default/web" }, "ipTags": {},
            }],
            "securityRules": [{
                "name": "k8s-azure-lb_allow_IPv4_d39272f7f57ed937951650d93992ad77", "priority": 500, "access": "Allow",
                "protocol": "Tcp", "sources": ["Internet"], "destinations": ["20.0.0.1"], "destinationPorts": ["80"],
            }],
        })
    );
    let event = &first["events"][0];
    assert_eq!(
        event,
        &json!({
            "type": "Normal", "reason": "EnsuringLoadBalancer", "message": "Ensuring load balancer",
            "service": "default/web",
        })
    );
    // K8S-3
    assert_eq!(steps[1]["writes"], json!([]));
    assert_eq!(steps[1]["state"], first["state"]);
    assert!(steps[2]["error"]["message"].as_str().unwrap().contains("azure-load-balancer-tcp-idle-timeout"));
    assert_eq!(steps[2]["ingress"], first["ingress"], "the status is as it was");
    assert_eq!(steps[2]["state"], first["state"]);
    assert_eq!((&steps[3]["exists"], &steps[3]["ingress"]), (&json!(false), &json!([])));
    assert_eq!((&steps[4]["exists"], &steps[4]["ingress"]), (&json!(false), &json!([])));
    let empty = json!({ "loadBalancers": [], "publicIPs": [], "securityRules": [] });
    assert_eq!(steps[4]["state"], empty);
}

#[test]
fn private_frontends_say_their_subnet() {
    let report = play(
        "steps:
- op: ensure
  service:
    metadata: { name: web, annotations: { service.beta.kubernetes.io/azure-load-balancer-internal: 'true' } }
    spec: { type: LoadBalancer, ports: [{ port: 80, nodePort: 30080 }] }",
    );
    let frontend = &report.steps[0].state["loadBalancers"][0]["frontends"][0];
    let fields: Vec<&String> = frontend.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["name", "subnet", "privateIP", "allocation", "version"]);
}

#[test]
fn what_exists_is_shown_from_the_beginning() {
    let report = play(
        "existingLoadBalancers:
- { name: kubernetes, sku: Standard, frontends: [{ name: fe, publicIP: own }], foreignRuleCount: 2 }
existingPublicIPs: [{ name: own, ip: 20.9.0.1, version: IPv4, resourceGroup: rg, tags: { a: b } }]
existingSecurityRules:
- { name: ssh, priority: 100, access: Allow, protocol: Tcp, sources: ['*'], destinations: ['*'], destinationPorts: ['22'] }
steps: [{ op: get, serviceRef: default/web }]",
    );
    let state = &report.steps[0].state;
    assert_eq!(state["loadBalancers"][0]["frontends"], json!([{ "name": "fe", "publicIP": "own" }]));
    assert_eq!(state["loadBalancers"][0]["rules"].as_array().unwrap().len(), 2);
    assert_eq!(state["publicIPs"][0]["tags"], json!({ "a": "b" }));
    assert_eq!(state["securityRules"][0]["name"], "ssh");
    assert_eq!(report.steps[0].error, None);
}

#[test]
fn a_config_that_cannot_be_used_fails_every_step() {
    let report = play(&format!("config: {{ loadBalancerSku: premium }}\n{SCENARIO}"));
    assert!(report.steps.iter().all(|step| step.error.is_some() && step.writes.is_empty()));
    let message = &report.steps[0].error.as_ref().unwrap().message;
    assert_eq!(message, "loadBalancerSku: `premium` is not one of basic, standard");
}

#[test]
fn the_config_is_read_whatever_the_case_of_its_keys() {
    let scenario = format!("config: {{ LoadBalancerSKU: Basic, unknown: [1] }}\n{SCENARIO}");
    assert_eq!(play(&scenario).steps[0].state["loadBalancers"][0]["sku"], "Basic");
}

#[test]
fn public_addresses_may_be_ones_own() {
    let scenario =
        format!("config: {{ forebay: {{ publicAddresses: [203.0.113.10-203.0.113.11] }} }}\n{SCENARIO}");
    assert_eq!(play(&scenario).steps[0].ingress, ["203.0.113.10"]);
}

#[test]
fn manifests_are_a_scenario_too() {
    let read = |name: &str| (name.to_owned(), std::fs::read_to_string(examples().join(name)).unwrap());
    let (web, nodes, config) = (read("web.yaml"), read("nodes.yaml"), read("azure.json"));
    let scenario = Scenario::of_manifests(&[web], Some(&nodes), Some(&config)).unwrap();
    let report = run(&scenario);
    assert_eq!(report.steps[0].ingress, ["10.240.1.10"]);
    let pool = &report.steps[0].state["loadBalancers"][0]["backendPools"][0];
    assert_eq!(pool["addresses"].as_array().unwrap().len(), 2);
    let same = run(&scenario);
    assert_eq!(report, same, "names do not change from run to run");
    let none = Scenario::of_manifests(&[nodes], None, None).unwrap_err();
    assert_eq!(none.to_string(), "there is no Service in nodes.yaml");
}

#[test]
fn every_example_can_be_played() {
    let mut count = 0;
    for file in std::fs::read_dir(examples()).unwrap().map(|it| it.unwrap().path()) {
        let content = std::fs::read_to_string(&file).unwrap();
        if content.contains("\nsteps:\n") {
            let report = play(&content);
            let may_fail = file.ends_with("mistakes.yaml");
            assert_eq!(report.has_errors(), may_fail, "{}: {}", file.display(), text(&report));
            count += 1;
        }
    }
    assert!(count >= 3, "{count} scenarios");
}

#[test]
fn the_guide_shows_what_is_printed() {
    let guide = std::fs::read_to_string(root().join("docs/kubernetes.md")).unwrap();
    let mut count = 0;
    for block in guide.split("```console\n$ forebay kubernetes plan ").skip(1) {
        let (command, rest) = block.split_once('\n').unwrap();
        let (shown, _) = rest.split_once("```").unwrap();
        assert_eq!(printed(command), shown, "{command}");
        count += 1;
    }
    assert!(count >= 2, "{count} examples");
}

#[test]
fn people_read_what_differs() {
    let text = text(&play(SCENARIO));
    for line in [
        "1. ensure default/web: 20.0.0.1",
        "   Normal EnsuredLoadBalancer: Ensured load balancer",
        "   + loadBalancers/kubernetes: sku Standard",
        &format!("   + publicIPs/kubernetes-{BASE}"),
        &format!(
            "   PUT pip kubernetes-{BASE}, PUT lb kubernetes, PUT pool kubernetes/kubernetes, PUT nsg nsg"
        ),
        "2. ensure default/web: 20.0.0.1",
        "   nothing was written",
        "   - loadBalancers/kubernetes",
        "5. get default/web: nothing is there",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    let gone: Vec<&str> = text.lines().filter(|line| line.starts_with("   - ")).collect();
    assert_eq!(gone.len(), 3, "what goes with its load balancer is not said again: {gone:?}");
}

#[test]
fn what_is_no_scenario_is_refused_with_its_place() {
    for (scenario, wanted) in [
        ("steps: [{ op: push }]", "unknown variant `push`"),
        ("steps: [{ op: ensure }]", "needs a service with a name"),
        ("steps: 1", "invalid type"),
        ("steps: [", "line 1"),
    ] {
        let error = Scenario::read(scenario).unwrap_err().to_string();
        assert!(error.contains(wanted), "{scenario}: {error}");
    }
}

fn play(scenario: &str) -> Report {
    run(&Scenario::read(scenario).unwrap())
}

/// What the command prints: of a scenario, or of `-f` and whatever it goes with.
fn printed(command: &str) -> String {
    let read = |name: &str| (name.to_owned(), std::fs::read_to_string(root().join(name)).unwrap());
    let words: Vec<&str> = command.split(' ').collect();
    let said = |flag: &str| {
        let at = words.iter().position(|word| *word == flag)?;
        Some(read(words[at + 1]))
    };
    match said("-f") {
        None => text(&play(&read(words[0]).1)),
        Some(manifests) => {
            let (nodes, config) = (said("--nodes"), said("--config"));
            let scenario = Scenario::of_manifests(&[manifests], nodes.as_ref(), config.as_ref()).unwrap();
            text(&run(&scenario))
        }
    }
}

fn examples() -> PathBuf {
    root().join("examples/kubernetes")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

const BASE: &str = "a1111111122223333444455555555555";

const SCENARIO: &str = "
nodes:
- metadata: { name: node-0, labels: { agentpool: pool0 } }
  status: { addresses: [{ type: InternalIP, address: 10.240.0.4 }] }
steps:
- op: ensure
  service:
    metadata: { namespace: default, name: web, uid: 11111111-2222-3333-4444-555555555555 }
    spec: { type: LoadBalancer, ports: [{ port: 80, protocol: TCP, nodePort: 30080 }] }
- { op: ensure, serviceRef: default/web }
- op: update
  service:
    metadata:
      namespace: default
      name: web
      uid: 11111111-2222-3333-4444-555555555555
      annotations: { service.beta.kubernetes.io/azure-load-balancer-tcp-idle-timeout: '1' }
    spec: { type: LoadBalancer, ports: [{ port: 80, protocol: TCP, nodePort: 30080 }] }
- { op: delete, serviceRef: default/web }
- { op: get, serviceRef: default/web }
";
