//! Accepted and realised are two things, down to each member (API-4).

use std::sync::Arc;
use std::time::Duration;

use engine::Health;
use engine::health::{Round, Ward};
use model::{Document, Kind, ResourceId};
use serde_json::{Value, json};

use super::*;
use crate::catalogue::{Edit, Limits};
use crate::store::Memory;
use crate::{Catalogue, Snapshot};

const NEAR: &str = "10.0.0.4";
const FAR: &str = "10.0.0.5";

#[tokio::test]
async fn nothing_is_said_before_the_data_path_runs() {
    let bench = Bench::new().await;
    let states = bench.states(&Realised::default());
    assert_eq!((states.get(&[]), states.get(&frontend())), (None, None));
    let overall = Realised::default().overall(&bench.snapshot());
    assert_eq!(overall.status, Status::Uninitialized);
}

// API-4
#[tokio::test]
async fn what_was_written_is_in_progress_until_the_data_path_has_it() {
    let bench = Bench::new().await;
    let early = done(0, &[]);
    bench.check(&early, &[("", "InProgress"), ("frontend", "InProgress"), ("rule", "InProgress")]);
    assert_eq!(early.overall(&bench.snapshot()).status, Status::InProgress);
    let late = done(1, &[(NEAR, true), (FAR, true)]);
    bench.check(&late, &[("", "Success"), ("frontend", "Success"), ("rule", "Success"), ("pool", "Success")]);
    assert_eq!(late.overall(&bench.snapshot()).status, Status::Success);
}

#[tokio::test]
async fn a_write_elsewhere_leaves_what_is_in_force_alone() {
    let bench = Bench::new().await;
    let realised = done(1, &[(NEAR, true), (FAR, true)]);
    bench.write("other", "203.0.113.11", 443).await;
    assert_eq!(realised.overall(&bench.snapshot()).status, Status::InProgress);
    bench.check(&realised, &[("", "Success"), ("frontend", "Success")]);
    bench.write("web", "203.0.113.10", 444).await;
    bench.check(&realised, &[("", "InProgress"), ("frontend", "InProgress")]);
}

#[tokio::test]
async fn members_are_shown_one_by_one() {
    let bench = Bench::new().await;
    let realised = done(1, &[(NEAR, true), (FAR, false)]);
    bench.check(
        &realised,
        &[("", "Warning"), ("frontend", "Warning"), ("rule", "Warning"), ("pool", "Warning")],
    );
    let nobody = done(1, &[(NEAR, false), (FAR, false)]);
    bench.check(
        &nobody,
        &[("", "Failure"), ("frontend", "Failure"), ("rule", "Failure"), ("pool", "Failure")],
    );

    let shown = bench.shown(&realised);
    let instance = bench.snapshot().get(&bench.id("web")).unwrap().instance(&frontend()).to_string();
    assert_eq!(
        shown,
        json!({
            "status": "Warning",
            "detailedInfo": [unreached(FAR)],
            "lastUpdatedTime": "1970-01-01T00:00:09.000Z",
            "id": instance,
            "vipEndpointStates": [{
                "status": "Warning",
                "lastUpdatedTime": "1970-01-01T00:00:09.000Z",
                "vipEndpoint": "Tcp:203.0.113.10:443",
                "dipEndpointStates": [dip(NEAR, "Success", json!([])), dip(FAR, "Failure", json!([unreached(FAR)]))],
            }],
        })
    );

    fn unreached(address: &str) -> Value {
        json!({
            "source": "SoftwareLoadBalancerManager",
            "message": format!("{address} does not answer ARP"),
            "code": "HostUnreachable",
        })
    }

    fn dip(address: &str, status: &str, info: Value) -> Value {
        json!({
            "status": status,
            "detailedInfo": info,
            "lastUpdatedTime": "1970-01-01T00:00:07.000Z",
            "dipEndpoint": format!("{address}:8443"),
            "hostIPAddress": "",
            "hostId": "",
            "adapterId": "",
            "probeRule": "",
        })
    }
}

// Case does not tell two names apart, so a rule's frontend is found however either spells it.
#[tokio::test]
async fn a_frontend_is_found_whatever_the_case_of_its_name() {
    let bench = Bench::new().await;
    for (name, reference) in [("FE", "FE"), ("Fe", "fE")] {
        bench.rename_frontend(name, reference).await;
        let revision = bench.snapshot().revision;
        let rule = |realised: &Realised| {
            bench.states(realised).get(&child("loadBalancingRules", "r")).unwrap().status
        };
        assert_eq!(rule(&done(revision, &[(NEAR, false), (FAR, false)])), Status::Failure, "{name}");
        assert_eq!(rule(&done(revision, &[(NEAR, true), (FAR, true)])), Status::Success, "{name}");
    }
}

#[tokio::test]
async fn a_member_by_its_network_interface_says_which() {
    let bench = Bench::new().await;
    let id = ResourceId::new("s", "g", Kind::NetworkInterface, "nic").unwrap();
    let configuration = json!({ "name": "c", "properties": { "privateIPAddress": "203.0.113.77",
        "privateIPAllocationMethod": "Static",
        "subnet": { "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n/subnets/a" },
        "loadBalancerBackendAddressPools": [{ "id": format!("{}/backendAddressPools/q", bench.id("nics")) }] } });
    let interface =
        json!({ "id": id.to_string(), "name": "nic", "properties": { "ipConfigurations": [configuration] } });
    let own = |rest: &str| json!({ "id": format!("{}/{rest}", bench.id("nics")) });
    let balancer = json!({ "id": bench.id("nics").to_string(), "name": "nics", "properties": {
        "frontendIPConfigurations": [{ "name": "f", "properties": { "privateIPAddress": "203.0.113.12",
            "subnet": { "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n/subnets/a" } } }],
        "backendAddressPools": [{ "name": "q" }],
        "loadBalancingRules": [{ "name": "r", "properties": { "protocol": "Udp", "frontendPort": 53, "backendPort": 53,
            "frontendIPConfiguration": own("frontendIPConfigurations/f"),
            "backendAddressPool": own("backendAddressPools/q") } }],
    } });
    let mut edit = Edit::put(bench.id("nics"), Document::read(&balancer, "nics").unwrap());
    edit.puts.append(&mut Edit::put(id.clone(), Document::read(&interface, "nic").unwrap()).puts);
    bench.0.write(move |_| Ok(edit)).await.unwrap();
    let realised = done(2, &[("203.0.113.77", true)]);
    let state = bench.states_of("nics", &realised).get(&frontend()).cloned().unwrap();
    let endpoint = &state.vip_endpoint_states.unwrap()[0];
    assert_eq!(endpoint.vip_endpoint, "Udp:203.0.113.12:53");
    let dip = &endpoint.dip_endpoint_states[0];
    let nic = bench.snapshot().get(&id).unwrap().instance(&[]).to_string();
    assert_eq!((dip.dip_endpoint.as_str(), &dip.adapter_id), ("203.0.113.77:53", &nic));
    let own = States::of(&bench.snapshot(), bench.snapshot().get(&id).unwrap(), &realised);
    assert_eq!(own.get(&child("ipConfigurations", "c")).unwrap().status, Status::Success);
}

// What is valid and cannot be done yet is said where it is, and where it stands in the way.
#[tokio::test]
async fn what_falls_short_is_a_warning_and_what_is_left_out_a_failure() {
    let bench = Bench::new().await;
    let own = |rest: &str| json!({ "id": format!("{}/{rest}", bench.id("web")) });
    let mut value = bench.snapshot().get(&bench.id("web")).unwrap().value();
    let properties = &mut value["properties"];
    properties["probes"] = json!([{ "name": "alive", "properties": { "protocol": "Tcp", "port": 80 } }]);
    properties["loadBalancingRules"][0]["properties"]["probe"] = own("probes/alive");
    let another = {
        let mut another = properties["frontendIPConfigurations"][0].clone();
        another["name"] = json!("g");
        another["id"] = json!(null);
        another["properties"]["privateIPAddress"] = json!("203.0.113.20");
        another
    };
    properties["frontendIPConfigurations"].as_array_mut().unwrap().push(another);
    properties["backendAddressPools"].as_array_mut().unwrap().push(json!({ "name": "q" }));
    properties["loadBalancingRules"].as_array_mut().unwrap().push(json!({ "name": "quic", "properties": {
        "protocol": "Quic", "frontendPort": 443, "backendPort": 443,
        "frontendIPConfiguration": own("frontendIPConfigurations/g"),
        "backendAddressPool": own("backendAddressPools/q") } }));
    value["sku"] = json!({ "name": "Standard" });
    let edit = Edit::put(bench.id("web"), Document::read(&value, "web").unwrap());
    bench.0.write(move |_| Ok(edit)).await.unwrap();
    let mut realised = done(2, &[(NEAR, true), (FAR, true)]);
    bench.hear(&mut realised, &[(NEAR, engine::health::Outcome::Good), (FAR, engine::health::Outcome::Good)]);
    bench.check(&realised, &[("", "Warning"), ("frontend", "Success"), ("rule", "Success")]);
    let states = bench.states(&realised);
    assert_eq!(states.get(&child("loadBalancingRules", "quic")).unwrap().status, Status::Failure);
    let left_out = states.get(&child("frontendIPConfigurations", "g")).unwrap();
    let endpoints = left_out.vip_endpoint_states.as_ref().unwrap();
    assert_eq!(
        (left_out.status, endpoints[0].vip_endpoint.as_str()),
        (Status::Failure, "Quic:203.0.113.20:443")
    );
    assert_eq!(realised.overall(&bench.snapshot()).status, Status::Warning);
}

#[tokio::test]
async fn what_could_not_be_done_is_a_failure_and_the_rest_is_not() {
    let bench = Bench::new().await;
    bench.write("other", "203.0.113.11", 443).await;
    let mut realised = done(1, &[(NEAR, true), (FAR, true)]);
    realised.observe(&observed(
        2,
        Outcome::Failed("the table of rules is full".to_owned()),
        &[(NEAR, true), (FAR, true)],
    ));
    bench.check(&realised, &[("", "Success"), ("frontend", "Success")]);
    let other = bench.states_of("other", &realised);
    let state = other.get(&frontend()).unwrap();
    assert_eq!((state.status, state.detailed_info[0].code.as_str()), (Status::Failure, FAILED));
    assert!(state.detailed_info[0].message.starts_with("the table of rules is full; what was in force"));
    let overall = realised.overall(&bench.snapshot());
    assert_eq!(overall.status, Status::Failure);
    assert!(overall.detailed_info[0].message.contains("revision 2 could not be realised, and revision 1 is"));
    realised.observe(&observed(3, Outcome::Done, &[(NEAR, true), (FAR, true)]));
    assert_eq!(bench.states_of("other", &realised).get(&[]).unwrap().status, Status::Success);
}

// PROBE-7
#[tokio::test]
async fn a_member_that_a_probe_finds_down_is_a_failure_and_its_pool_a_warning() {
    let bench = Bench::new().await;
    bench.add_probe().await;
    let mut realised = done(2, &[(NEAR, true), (FAR, true)]);
    bench.check(&realised, &[("frontend", "InProgress"), ("pool", "InProgress"), ("rule", "InProgress")]);
    bench.hear(&mut realised, &[(NEAR, Outcome::Good), (FAR, Outcome::Bad(Reason::Refused))]);
    bench.check(
        &realised,
        &[("", "Warning"), ("frontend", "Warning"), ("pool", "Warning"), ("rule", "Warning")],
    );
    let shown = bench.shown(&realised);
    let dips = &shown["vipEndpointStates"][0]["dipEndpointStates"];
    assert_eq!((&dips[0]["status"], &dips[0]["probeRule"]), (&json!("Success"), &json!("")));
    assert_eq!((&dips[1]["status"], &dips[1]["probeRule"]), (&json!("Failure"), &json!("web/alive")));
    let message = "10.0.0.5 is down for probe web/alive: connection refused";
    let info =
        json!({ "source": "SoftwareLoadBalancerManager", "message": message, "code": "HealthProbeFailed" });
    assert_eq!((&dips[1]["detailedInfo"], &shown["detailedInfo"]), (&json!([info]), &json!([info])));
    assert_eq!(dips[1]["lastUpdatedTime"], "1970-01-01T00:00:21.000Z");
    let refused = || Outcome::Bad(Reason::Refused);
    bench.hear(&mut realised, &[(NEAR, refused()), (FAR, refused())]);
    bench.check(&realised, &[("frontend", "Failure"), ("pool", "Failure"), ("rule", "Failure")]);

    use engine::health::{Outcome, Reason};
}

#[test]
fn several_things_that_are_one_fail_only_together() {
    use Status::{Failure, InProgress, Success, Uninitialized, Warning};
    check(&[], Success);
    check(&[Success, Success], Success);
    check(&[Success, Failure], Warning);
    check(&[Success, Warning], Warning);
    check(&[Failure, Failure], Failure);
    check(&[Failure, InProgress], InProgress);
    check(&[Success, Uninitialized], InProgress);

    fn check(parts: &[Status], wanted: Status) {
        assert_eq!(Status::together(parts.iter().copied()), wanted, "{parts:?}");
    }
}

#[test]
fn rates_are_measured_between_two_readings() {
    let mut realised = Realised::default();
    // The clock of people is set back all the time, and that does not matter.
    let origin = Instant::now();
    let at = |millis| origin + Duration::from_millis(millis);
    let wall = |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3_600);
    realised.count(stats(100, 1_000), wall(9), at(0));
    check(&realised, 100, 0, 0);
    realised.count(stats(300, 1_501_000), wall(5), at(2_000));
    check(&realised, 300, 100, 6);
    // A reading that follows at once is measured against the one before the last.
    realised.count(stats(400, 1_501_000), wall(1), at(2_001));
    check(&realised, 400, 149, 5);
    assert_eq!(realised.counted.as_ref().unwrap().of_frontend([1, 1, 1, 1].into()), []);

    fn check(realised: &Realised, packets: u64, rate: u64, bandwidth: u64) {
        let counters = realised.counted.as_ref().unwrap().of_frontend([203, 0, 113, 10].into());
        let value = |name| counters.iter().find(|counter| counter.name == name).unwrap().current_value;
        let found = ["TotalPackets", "PacketsPerSecond", "AverageBandwidth", "DroppedPackets"].map(value);
        assert_eq!(found, [packets, rate, bandwidth, 3]);
    }
}

/// A balancer `web` with a rule and two members.
struct Bench(Catalogue);

impl Bench {
    async fn new() -> Self {
        let bench = Self(Catalogue::open(Arc::new(Memory::new()), Limits::default()).await.unwrap());
        bench.write("web", "203.0.113.10", 443).await;
        bench
    }

    fn id(&self, name: &str) -> ResourceId {
        ResourceId::new("s", "g", Kind::LoadBalancer, name).unwrap()
    }

    async fn write(&self, name: &str, address: &str, port: u16) {
        let own = |rest: &str| json!({ "id": format!("{}/{rest}", self.id(name)) });
        // Each balancer has members of its own ports, and all have the same addresses.
        let backend = if name == "web" { 8_443 } else { 9_443 };
        let member =
            |address| json!({ "name": format!("m{address}"), "properties": { "ipAddress": address } });
        let document = json!({ "id": self.id(name).to_string(), "name": name, "properties": {
            "frontendIPConfigurations": [{ "name": "f", "properties": {
                "privateIPAddress": address, "privateIPAllocationMethod": "Static",
                "subnet": { "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n/subnets/a" } } }],
            "backendAddressPools": [{ "name": "p", "properties": {
                "loadBalancerBackendAddresses": [member(NEAR), member(FAR)] } }],
            "loadBalancingRules": [{ "name": "r", "properties": { "protocol": "Tcp",
                "frontendPort": port, "backendPort": backend,
                "frontendIPConfiguration": own("frontendIPConfigurations/f"),
                "backendAddressPool": own("backendAddressPools/p") } }],
        } });
        let document = Document::read(&document, name).unwrap();
        let mut edit = Edit::put(self.id(name), document);
        if self.snapshot().of_kind(Kind::VirtualNetwork).next().is_none() {
            let id = ResourceId::new("s", "g", Kind::VirtualNetwork, "n").unwrap();
            let network = json!({ "id": id.to_string(), "name": "n", "properties": {
                "addressSpace": { "addressPrefixes": ["203.0.113.0/24"] },
                "subnets": [{ "name": "a", "properties": { "addressPrefix": "203.0.113.0/24" } }] } });
            edit.puts.append(&mut Edit::put(id, Document::read(&network, "n").unwrap()).puts);
        }
        self.0.write(move |_| Ok(edit)).await.unwrap();
    }

    /// Gives the rule of `web` a probe.
    async fn add_probe(&self) {
        let mut value = self.snapshot().get(&self.id("web")).unwrap().value();
        let properties = &mut value["properties"];
        properties["probes"] = json!([{ "name": "alive", "properties": { "protocol": "Tcp", "port": 80 } }]);
        properties["loadBalancingRules"][0]["properties"]["probe"] =
            json!({ "id": format!("{}/probes/alive", self.id("web")) });
        let edit = Edit::put(self.id("web"), Document::read(&value, "web").unwrap());
        self.0.write(move |_| Ok(edit)).await.unwrap();
    }

    /// The probe of `web` hears one result of each.
    fn hear(&self, realised: &mut Realised, results: &[(&str, engine::health::Outcome)]) {
        let snapshot = self.snapshot();
        let probe = &snapshot.desired.probes()[0];
        let members = results.iter().map(|(member, _)| member.parse().unwrap()).collect();
        let round = Round { ask: probe.ask().clone(), port: probe.port(), threshold: 1, members };
        let mut ward = Ward::default();
        ward.keep([(probe.name().to_owned(), round)].into(), Duration::ZERO);
        for (member, outcome) in results {
            ward.hear(probe.name(), member.parse().unwrap(), outcome.clone(), Duration::from_secs(1));
        }
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(30);
        let health = Health { down: ward.down(), ..Health::default() };
        let now = Duration::from_secs(10);
        realised.vitals = Arc::new(Vitals { ward, health, now, at, ..Vitals::default() });
    }

    /// Calls the frontend of `web` something else, and refers to it so.
    async fn rename_frontend(&self, name: &str, reference: &str) {
        let mut value = self.snapshot().get(&self.id("web")).unwrap().value();
        let frontend = &mut value["properties"]["frontendIPConfigurations"][0];
        (frontend["name"], frontend["id"]) = (json!(name), Value::Null);
        value["properties"]["loadBalancingRules"][0]["properties"]["frontendIPConfiguration"] =
            json!({ "id": format!("{}/frontendIPConfigurations/{reference}", self.id("web")) });
        let edit = Edit::put(self.id("web"), Document::read(&value, "web").unwrap());
        self.0.write(move |_| Ok(edit)).await.unwrap();
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot()
    }

    fn states(&self, realised: &Realised) -> States {
        self.states_of("web", realised)
    }

    fn states_of(&self, name: &str, realised: &Realised) -> States {
        let snapshot = self.snapshot();
        States::of(&snapshot, snapshot.get(&self.id(name)).unwrap(), realised)
    }

    fn shown(&self, realised: &Realised) -> Value {
        serde_json::to_value(self.states(realised).get(&frontend()).unwrap()).unwrap()
    }

    fn check(&self, realised: &Realised, wanted: &[(&str, &str)]) {
        let states = self.states(realised);
        for (part, status) in wanted {
            let path = match *part {
                "frontend" => frontend(),
                "rule" => child("loadBalancingRules", "r"),
                "pool" => child("backendAddressPools", "p"),
                _ => Vec::new(),
            };
            assert_eq!(states.get(&path).unwrap().status.as_str(), *status, "{part}");
        }
    }
}

fn frontend() -> model::ChildPath {
    child("frontendIPConfigurations", "f")
}

fn child(collection: &str, name: &str) -> model::ChildPath {
    vec![(collection.to_owned(), name.to_owned())]
}

fn done(revision: Revision, members: &[(&str, bool)]) -> Realised {
    let mut realised = Realised::default();
    realised.observe(&observed(revision, Outcome::Done, members));
    realised
}

fn observed(revision: Revision, outcome: Outcome, members: &[(&str, bool)]) -> Observed {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let member = |(address, ready): &(&str, bool)| {
        let words = if *ready { "is at 02:00:00:00:00:01" } else { "does not answer ARP" };
        (address.parse().unwrap(), MemberSeen { ready: *ready, words: words.to_owned(), since: at(7) })
    };
    let members = members.iter().map(member).collect();
    Observed { revision, outcome, since: at(9), members, ..Observed::default() }
}

fn stats(packets: u64, bytes: u64) -> Stats {
    let frontend = node::inspect::FrontendStats {
        frontend: "web/f".to_owned(),
        address: [203, 0, 113, 10].into(),
        packets,
        bytes,
        flows: 1,
        unmatched: 3,
    };
    let remembered = node::inspect::RememberedStats {
        flows: 0,
        flows_limit: 0,
        masquerades: 0,
        masquerades_limit: 0,
        tracked: 0,
        changing_slots: 0,
    };
    Stats {
        name: "test".to_owned(),
        interfaces: Vec::new(),
        frontends: vec![frontend],
        rules: Vec::new(),
        members: Vec::new(),
        security: Vec::new(),
        remembered,
        verdicts: Vec::new(),
        resets: Vec::new(),
    }
}
