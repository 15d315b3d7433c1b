//! Services that are reconciled together ([`crate::round`]) come to what they come to one after another, with fewer transactions.

use std::net::IpAddr;
use std::sync::Arc;

use model::Document;
use model::document::words::IpVersion;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::controller::transactions;
use crate::documents::{Documents, Write};
use crate::name;
use crate::round::round;

const PREFIX: &str = "service.beta.kubernetes.io/";

#[test]
fn many_services_take_no_more_transactions_than_one() {
    let services: Vec<Value> = (0..30).map(|number| service(number, &[], "IPv4", false)).collect();
    let (report, transactions) = played(&json!({}), &services, |_, keys| ensured(keys));
    assert_eq!(transactions, 2, "one for the addresses, one for who may call");
    assert!(report.ends.iter().all(|(_, end)| end.is_ok()));
    let state = state::of(&report.documents);
    assert_eq!(state["securityRules"].as_array().unwrap().len(), 30, "everybody is let in to all of them");
    assert_eq!(state["loadBalancers"][0]["rules"].as_array().unwrap().len(), 30);
}

#[test]
fn who_needs_the_address_of_another_one_looks_again_when_it_is_there() {
    // K8S-4
    let guest = service(1, &[("azure-load-balancer-ipv4", "20.0.0.1")], "IPv4", false);
    let (report, transactions) =
        played(&json!({}), &[service(0, &[], "IPv4", false), guest], |_, keys| ensured(keys));
    let addresses = Ok(Outcome::Served(vec!["20.0.0.1".parse().unwrap()]));
    assert!(report.ends.iter().all(|(_, end)| *end == addresses), "{:?}", report.ends);
    assert_eq!(transactions, 2);
    assert!(report.told.is_empty(), "nothing went wrong: {:?}", report.told);
}

#[test]
fn a_bad_service_in_the_middle_is_nobody_elses_business() {
    // K8S-4
    let mut services: Vec<Value> = (0..9).map(|number| service(number, &[], "IPv4", false)).collect();
    services[4] = service(4, &[("azure-load-balancer-tcp-idle-timeout", "3")], "IPv4", false);
    let (report, transactions) = played(&json!({}), &services, |_, keys| ensured(keys));
    let failed: Vec<_> =
        report.ends.iter().filter(|(_, end)| end.is_err()).map(|(key, _)| key.name.as_str()).collect();
    assert_eq!(failed, ["service-4"]);
    assert_eq!(transactions, 2);
}

#[test]
fn one_that_goes_takes_nothing_of_the_others_with_it() {
    // K8S-2
    let pin = [("azure-load-balancer-ipv4", "20.0.0.1")];
    let services =
        [service(0, &[], "IPv4", false), service(1, &pin, "IPv4", false), service(2, &[], "IPv4", false)];
    let (report, _) = played(&json!({}), &services, |round, keys| match round {
        0 => ensured(keys),
        _ => vec![
            (keys[0].clone(), Operation::Delete),
            (keys[1].clone(), Operation::Ensure),
            (keys[2].clone(), Operation::Delete),
        ],
    });
    let state = state::of(&report.documents);
    assert_eq!(state["securityRules"][0]["destinations"], json!(["20.0.0.1"]));
    assert_eq!(state["publicIPs"].as_array().unwrap().len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn together_is_as_one_after_another(
        config in config(),
        first in services(),
        second in services(),
        fates in prop::collection::vec(0..4_u8, 6),
    ) {
        // K8S-2 K8S-3
        let (mut alone, mut together) = (Site::new(&config), Site::new(&config));
        let mut keys = Vec::new();
        for (turn, services) in [first, second].iter().enumerate() {
            keys.extend(services.iter().map(key_of));
            keys.sort();
            keys.dedup();
            let fate = |(place, key): (usize, &Key)| match (turn, fates[place % fates.len()]) {
                (1, 0) => (key.clone(), Operation::Delete),
                (1, 1) => (key.clone(), Operation::Update),
                _ => (key.clone(), Operation::Ensure),
            };
            let jobs: Vec<(Key, Operation)> = keys.iter().enumerate().map(fate).collect();
            // Who goes, or is looked at because of its nodes, is as it was.
            let is_ensured = |it: &&Value| jobs.contains(&(key_of(it), Operation::Ensure));
            let given: Vec<Value> = services.iter().filter(is_ensured).cloned().collect();
            for site in [&mut alone, &mut together] {
                site.give(&given);
            }
            for job in &jobs {
                alone.reconcile(std::slice::from_ref(job));
            }
            together.reconcile(&jobs);
            prop_assert!(together.transactions <= alone.transactions);
            for site in [&mut alone, &mut together] {
                // What one of them waits for may be the work of one behind it.
                for _ in 0..3 {
                    for job in ensured(&keys) {
                        site.reconcile(&[job]);
                    }
                }
            }
            // Who is on which of several load balancers, and may share a frontend there, depends on who was there first.
            if !alone.config.is_multiple() {
                for part in ["publicIPs", "loadBalancers", "securityRules"] {
                    prop_assert_eq!(alone.part(part), together.part(part));
                }
                prop_assert_eq!(&alone.services, &together.services);
            }
            let before = together.transactions;
            together.reconcile(&ensured(&keys));
            prop_assert_eq!(together.transactions, before, "a second look writes nothing");
        }
    }
}

fn key_of(service: &Value) -> Key {
    Key::read(service["metadata"]["name"].as_str().unwrap())
}

fn ensured(keys: &[Key]) -> Vec<(Key, Operation)> {
    keys.iter().map(|key| (key.clone(), Operation::Ensure)).collect()
}

struct Played {
    documents: Documents,
    ends: Vec<(Key, Result<Outcome, Failure>)>,
    told: Vec<Event>,
}

/// Services that are given at once, and what is done to all of them together, turn by turn until nothing is.
fn played(
    config: &Value,
    services: &[Value],
    turn: impl Fn(usize, &[Key]) -> Vec<(Key, Operation)>,
) -> (Played, usize) {
    let mut site = Site::new(config);
    site.give(services);
    let keys: Vec<Key> = site.services.keys().cloned().collect();
    site.reconcile(&turn(0, &keys));
    let (ends, told, transactions) = (site.ends.clone(), site.told.clone(), site.transactions);
    if turn(1, &keys) != turn(0, &keys) {
        site.reconcile(&turn(1, &keys));
    }
    (Played { documents: site.store.documents, ends, told }, transactions)
}

/// A store, and Services.
struct Site {
    config: Config,
    nodes: Vec<core::Node>,
    store: Store,
    services: BTreeMap<Key, core::Service>,
    placement: Placement,
    transactions: usize,
    ends: Vec<(Key, Result<Outcome, Failure>)>,
    told: Vec<Event>,
}

impl Site {
    fn new(config: &Value) -> Self {
        let node = |(name, set, last): (&str, &str, u8)| {
            json!({
                "metadata": { "name": name, "labels": { "agentpool": set } },
                "status": { "addresses": [
                    { "type": "InternalIP", "address": format!("10.240.0.{last}") },
                    { "type": "InternalIP", "address": format!("fd00:240::{last}") },
                ] },
            })
        };
        let nodes: Vec<Value> = [("a", "pool0", 4), ("b", "pool1", 5), ("c", "pool2", 6)].map(node).into();
        let scenario = Scenario::of(&json!({ "config": config, "nodes": nodes })).unwrap();
        let config = Config::read(&scenario.config).unwrap();
        Self {
            store: Store::of(&scenario, &config),
            nodes: scenario.nodes,
            config,
            services: BTreeMap::new(),
            placement: Placement::default(),
            transactions: 0,
            ends: Vec::new(),
            told: Vec::new(),
        }
    }

    /// What there is of a kind. Which of the rules of a kind comes first does not matter, nor who stands first in a tag, nor a pool that
    /// no rule leads to: it goes with its load balancer.
    fn part(&self, part: &str) -> Value {
        let mut part = state::of(&self.store.documents)[part].clone();
        for it in part.as_array_mut().unwrap() {
            it["priority"] = Value::Null;
            let rules = it["rules"].clone();
            if let Some(pools) = it["backendPools"].as_array_mut() {
                let is_used = |pool: &Value| {
                    rules.as_array().unwrap().iter().any(|rule| rule["backendPool"] == pool["name"])
                };
                pools.retain(is_used);
            }
            if let Some(names) = it["tags"]["k8s-azure-service"].as_str() {
                let mut names: Vec<&str> = names.split(',').collect();
                names.sort_unstable();
                it["tags"]["k8s-azure-service"] = names.join(",").into();
            }
        }
        part
    }

    fn has(&self, key: &Key) -> bool {
        self.services.contains_key(key)
    }

    /// Services as somebody applies them; their status stays.
    fn give(&mut self, services: &[Value]) {
        for service in services {
            let mut manifest: core::Service = serde_json::from_value(service.clone()).unwrap();
            let key = Key::of(&manifest);
            manifest.metadata.uid = Some(scenario::uid_of(&key));
            manifest.status = self.services.get(&key).and_then(|there| there.status.clone());
            self.services.insert(key, manifest);
        }
    }

    /// As the controller does it.
    fn reconcile(&mut self, jobs: &[(Key, Operation)]) {
        let known = jobs.iter().filter(|(key, _)| self.has(key));
        let mut open: Vec<(Key, Reconcile)> =
            known.map(|(key, what)| (key.clone(), Reconcile::new(*what))).collect();
        while !open.is_empty() {
            let services: Vec<_> = open.iter().map(|(key, run)| (run, &self.services[key])).collect();
            let cluster = Cluster {
                name: "kubernetes",
                config: &self.config,
                services: &self.services,
                nodes: &self.nodes,
                namespaces: &BTreeMap::new(),
                endpoints: &BTreeMap::new(),
                kept: &BTreeSet::new(),
            };
            let made = round(&cluster, &self.store.documents, &self.placement, &services);
            self.write(&made.writes);
            self.placement = made.placement;
            let former = std::mem::take(&mut open);
            for ((key, _), turn) in former.into_iter().zip(made.turns) {
                match turn.end {
                    None => open.push((key, turn.after)),
                    Some(end) => self.end(key, &turn.after, end),
                }
            }
        }
    }

    fn end(&mut self, key: Key, run: &Reconcile, end: Result<Outcome, Failure>) {
        match &end {
            Ok(Outcome::Served(ingress)) if run.operation() == Operation::Ensure => {
                let ingress: Vec<String> = ingress.iter().map(ToString::to_string).collect();
                sync::set_status(self.services.get_mut(&key).unwrap(), &ingress);
            }
            Ok(Outcome::Gone) => drop(self.services.remove(&key)),
            Ok(_) | Err(_) => {}
        }
        self.told.extend(run.events.clone());
        self.ends.push((key, end));
    }

    fn write(&mut self, writes: &[Write]) {
        for transaction in transactions(&self.config, &self.store.documents.clone(), writes) {
            self.transactions += 1;
            for document in transaction.put {
                self.store.documents.apply(&as_write(document));
            }
            for id in transaction.delete {
                let write = match id.to_lowercase().contains("/loadbalancers/") {
                    true => Write::DeleteBalancer(name::last_segment(&id).to_owned()),
                    false => Write::DeletePublicIp(id),
                };
                self.store.documents.apply(&write);
            }
        }
    }
}

/// A document as the store keeps it: with an address that it hands out by the name, so that nobody's depends on who asks first.
fn as_write(document: Document) -> Write {
    match document {
        Document::LoadBalancer(mut it) => {
            for frontend in &mut it.frontend_ip_configurations {
                if frontend.public_ip_address.is_none() {
                    let is_v6 = frontend.private_ip_address_version == Some(IpVersion::V6);
                    let of = address(&frontend.name, if is_v6 { "fd00:240::1:" } else { "10.240.1." });
                    frontend.private_ip_address.get_or_insert(of);
                }
            }
            Write::PutBalancer(Arc::from(it))
        }
        Document::PublicIpAddress(mut it) => {
            let is_v6 = it.public_ip_address_version == Some(IpVersion::V6);
            let of = address(&it.name, if is_v6 { "2603:1030:1::" } else { "20.0.0." });
            it.ip_address.get_or_insert(of);
            Write::PutPublicIp(Arc::from(it))
        }
        Document::NetworkInterface(it) => Write::PutInterface(Arc::from(it)),
        Document::NetworkSecurityGroup(it) => Write::PutSecurityGroup(Arc::from(it)),
        Document::PublicIpPrefix(_)
        | Document::VirtualNetwork(_)
        | Document::LogicalNetwork(_)
        | Document::LoadBalancerManager(_)
        | Document::LoadBalancerMux(_)
        | Document::VirtualServer(_) => unreachable!("nobody writes it here"),
    }
}

/// That of the Service after which something is named.
fn address(name: &str, start: &str) -> IpAddr {
    let base =
        |number: &usize| scenario::uid_of(&Key::read(&format!("default/service-{number}"))).replace('-', "");
    let number = (0..30).find(|number| name.contains(&base(number)[..31])).unwrap();
    format!("{start}{}", number + 1).parse().unwrap()
}

fn config() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({ "clusterServiceLoadBalancerHealthProbeMode": "shared" })),
        Just(json!({ "loadBalancerBackendPoolConfigurationType": "nodeIPConfiguration" })),
        Just(json!({ "multipleStandardLoadBalancerConfigurations": [
            { "name": "kubernetes", "primaryVMSet": "pool0" },
            { "name": "lb2", "primaryVMSet": "pool1" },
        ] })),
    ]
}

fn services() -> impl Strategy<Value = Vec<Value>> {
    let annotations = prop::sample::subsequence(
        vec![
            ("azure-load-balancer-ipv4", "20.0.0.1"),
            ("azure-disable-load-balancer-floating-ip", "true"),
            ("azure-load-balancer-enable-high-availability-ports", "true"),
            ("azure-allowed-ip-ranges", "10.0.0.0/8,2001:db8::/32"),
            ("azure-deny-all-except-load-balancer-source-ranges", "true"),
            ("azure-additional-public-ips", "203.0.113.7"),
            ("azure-load-balancer-tcp-idle-timeout", "3"),
        ],
        0..4,
    );
    let families = prop_oneof![Just("IPv4"), Just("IPv6"), Just("IPv4,IPv6")];
    let one = (0..6_usize, annotations, families, any::<bool>()).prop_map(
        |(number, mut annotations, families, local)| {
            // Who insists on an address of another one wants no address of its own: those are handed out in the order of asking.
            // Whether somebody who moves is met where he was depends on who comes first.
            if number > 3 {
                annotations.retain(|(name, _)| !name.ends_with("-ipv4"));
                annotations.push(("azure-load-balancer-internal", "true"));
            }
            service(number, &annotations, families, local)
        },
    );
    prop::collection::vec(one, 1..7)
}

fn service(number: usize, annotations: &[(&str, &str)], families: &str, local: bool) -> Value {
    let annotations: Map<String, Value> =
        annotations.iter().map(|(name, value)| (format!("{PREFIX}{name}"), (*value).into())).collect();
    let mut spec = json!({
        "type": "LoadBalancer",
        "ipFamilies": families.split(',').collect::<Vec<_>>(),
        "ports": [{ "port": 80 + number, "protocol": "TCP", "nodePort": 30_000 + number, "name": "web" }],
    });
    if local {
        spec["externalTrafficPolicy"] = "Local".into();
        spec["healthCheckNodePort"] = (32_000 + number).into();
    }
    json!({ "metadata": { "name": format!("service-{number}"), "annotations": annotations }, "spec": spec })
}
