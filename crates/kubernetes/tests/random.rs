//! Services of every kind in a random order: what was settled is not written again, and nobody suffers from what is wrong with another.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use forebay_kubernetes::plan::{Report, Scenario, run};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const PREFIX: &str = "service.beta.kubernetes.io/";

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn what_is_settled_is_not_written_again(config in config(), steps in steps()) {
        // K8S-3
        let names: Vec<String> = steps.iter().map(name_of).collect();
        let mut steps = steps;
        // Security rules know an address until the status has told of another one, and a Service that shares may wait for another.
        let again = names.iter().cycle().take(names.len() * 4);
        let first = steps.len() + names.len() * 3;
        steps.extend(again.map(|name| json!({ "op": "ensure", "serviceRef": name })));
        let report = play(&config, steps);
        for step in report.steps.iter().skip(first).filter(|step| step.error.is_none()) {
            prop_assert_eq!(&step.writes, &Vec::<String>::new(), "{}", step.service);
        }
    }

    #[test]
    fn what_is_wrong_with_one_is_nobody_elses_business(config in config(), steps in steps(), wrong in wrong(), at in 0..8_usize) {
        // K8S-4
        let without = play(&config, steps.clone());
        let mut with = steps;
        let at = at.min(with.len());
        with.insert(at, wrong);
        let with = play(&config, with);
        prop_assert!(with.steps[at].error.is_some(), "the bad Service is told");
        let told = with.steps[at].events.iter().any(|(event, _)| event.reason == "SyncLoadBalancerFailed");
        prop_assert!(told, "by an event");
        let others = with.steps.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, step)| step);
        for (before, after) in without.steps.iter().zip(others) {
            prop_assert_eq!(&before.error, &after.error);
            prop_assert_eq!(&before.events, &after.events);
            prop_assert_eq!(before.ingress.len(), after.ingress.len());
        }
    }

    #[test]
    fn nothing_stays_of_services_that_are_gone(config in config(), steps in steps()) {
        // K8S-2
        let mut steps = steps;
        let names: Vec<String> = steps.iter().map(name_of).collect();
        // A shared frontend goes with the last who uses it.
        for _ in 0..2 {
            steps.extend(names.iter().map(|name| json!({ "op": "delete", "serviceRef": name })));
        }
        let report = play(&config, steps);
        let last = &report.steps.last().unwrap().state;
        prop_assert_eq!(&last["loadBalancers"], &json!([]));
        prop_assert_eq!(&last["publicIPs"], &json!([]));
        prop_assert_eq!(&last["securityRules"], &json!([]));
    }
}

fn play(config: &Value, steps: Vec<Value>) -> Report {
    let scenario = json!({
        "config": config,
        "nodes": [node("a", "pool0", 4), node("b", "pool1", 5), node("c", "pool2", 6)],
        "steps": steps,
    });
    run(&Scenario::of(&scenario).unwrap())
}

fn config() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({ "clusterServiceLoadBalancerHealthProbeMode": "shared", "tags": "a=b" })),
        Just(json!({ "loadBalancerBackendPoolConfigurationType": "nodeIPConfiguration" })),
        Just(json!({ "loadBalancerSku": "basic" })),
        Just(json!({ "multipleStandardLoadBalancerConfigurations": [
            { "name": "kubernetes", "primaryVMSet": "pool0" },
            { "name": "lb2", "primaryVMSet": "pool1" },
        ] })),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec((0..4_usize, service()), 1..7).prop_map(|services| {
        let named =
            services.into_iter().map(|(number, service)| step(&format!("service-{number}"), number, service));
        named.collect()
    })
}

type Words = (Vec<(&'static str, &'static str)>, Vec<&'static str>, bool, bool);

/// Annotations, families, and whether it is Local and sticky.
fn service() -> impl Strategy<Value = Words> {
    let annotations = prop::sample::subsequence(
        vec![
            ("azure-load-balancer-internal", "true"),
            ("azure-disable-load-balancer-floating-ip", "true"),
            ("azure-load-balancer-enable-high-availability-ports", "true"),
            ("azure-load-balancer-disable-tcp-reset", "true"),
            ("azure-load-balancer-health-probe-protocol", "http"),
            ("azure-allowed-ip-ranges", "10.0.0.0/8,2001:db8::/32"),
            ("azure-allowed-service-tags", "AzureCloud"),
            ("azure-deny-all-except-load-balancer-source-ranges", "true"),
            ("azure-additional-public-ips", "203.0.113.7"),
            ("azure-pip-tags", "x=y"),
            ("azure-pip-ip-tags", "RoutingPreference=Internet"),
            ("azure-pip-prefix-id", "/p/some"),
            ("azure-load-balancer-mode", "__auto__"),
        ],
        0..6,
    );
    let families = prop_oneof![
        Just(vec!["IPv4"]),
        Just(vec!["IPv6"]),
        Just(vec!["IPv4", "IPv6"]),
        Just(vec!["IPv6", "IPv4"]),
        Just(vec![])
    ];
    (annotations, families, any::<bool>(), any::<bool>())
}

/// A Service that cannot be served.
fn wrong() -> impl Strategy<Value = Value> {
    let annotations = prop_oneof![
        Just(("azure-load-balancer-tcp-idle-timeout", "3")),
        Just(("azure-load-balancer-ipv4", "203.0.113.99")),
        Just(("azure-pip-name", "none")),
        Just(("azure-additional-public-ips", "web")),
        Just(("port_80_health-probe_port", "none")),
    ];
    annotations.prop_map(|annotation| {
        let mut step = step("wrong", 9, (vec![annotation], vec!["IPv4"], false, false));
        // In every mode but this one its probe is its own.
        step["service"]["metadata"]["annotations"][format!("{PREFIX}azure-load-balancer-tcp-idle-timeout")] =
            "3".into();
        step
    })
}

fn step(name: &str, number: usize, (annotations, families, local, sticky): Words) -> Value {
    let annotations: Map<String, Value> =
        annotations.into_iter().map(|(name, value)| (format!("{PREFIX}{name}"), value.into())).collect();
    let mut spec = json!({
        "type": "LoadBalancer",
        "ipFamilies": families,
        "ports": [
            { "port": 80, "protocol": "TCP", "nodePort": 30_000 + number, "name": "web" },
            { "port": 53, "protocol": "UDP", "nodePort": 31_000 + number, "name": "dns" },
        ],
    });
    if local {
        spec["externalTrafficPolicy"] = "Local".into();
        spec["healthCheckNodePort"] = (32_000 + number).into();
    }
    if sticky {
        spec["sessionAffinity"] = "ClientIP".into();
    }
    json!({ "op": "ensure", "service": { "metadata": { "name": name, "annotations": annotations }, "spec": spec } })
}

fn name_of(step: &Value) -> String {
    format!("default/{}", step["service"]["metadata"]["name"].as_str().unwrap())
}

fn node(name: &str, set: &str, last: u8) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "agentpool": set } },
        "status": { "addresses": [
            { "type": "InternalIP", "address": format!("10.240.0.{last}") },
            { "type": "InternalIP", "address": format!("fd00:240::{last}") },
        ] },
    })
}
