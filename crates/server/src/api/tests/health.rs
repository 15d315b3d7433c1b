//! Who is well, as each interface says it (PROBE-7).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine::Health;
use engine::health::{Outcome, Reason, Round, Stage, Target, Ward};
use node::health::Vitals;
use serde_json::{Value, json};

use super::{Rig, at, balancer, furnished};

const WEB: &str = "loadBalancers/web";
const NEAR: &str = "10.0.0.4";
const FAR: &str = "10.0.0.5";

/// A server with a rule that has a probe and two members.
pub(super) async fn probed(probe: Value) -> Rig {
    let rig = furnished().await;
    let mut web = balancer("10.0.0.10");
    let properties = &mut web["properties"];
    properties["probes"] = json!([{ "name": "alive", "properties": probe }]);
    properties["loadBalancingRules"][0]["properties"]["probe"] =
        json!({ "id": at("loadBalancers/web/probes/alive") });
    properties["backendAddressPools"][0]["properties"] = json!({ "loadBalancerBackendAddresses": [
        { "name": "near", "properties": { "ipAddress": NEAR } },
        { "name": "far", "properties": { "ipAddress": FAR } },
    ] });
    let answer = rig.put(WEB, &web).await;
    assert_eq!(answer.status, 200, "{:#}", answer.body);
    rig
}

/// What the probe heard of each of them, one result a second.
pub(super) fn hear(rig: &Rig, results: &[(&str, Vec<Outcome>)]) {
    let snapshot = rig.state.catalogue.snapshot();
    let probe = &snapshot.desired.probes()[0];
    let members: BTreeSet<IpAddr> = results.iter().map(|(member, _)| member.parse().unwrap()).collect();
    let round = Round { ask: probe.ask().clone(), port: probe.port(), threshold: probe.threshold(), members };
    let mut ward = Ward::default();
    ward.keep([(probe.name().to_owned(), round)].into(), Duration::ZERO);
    for (member, outcomes) in results {
        for (second, outcome) in (1..).zip(outcomes) {
            let now = Duration::from_secs(second);
            ward.hear(probe.name(), member.parse().unwrap(), outcome.clone(), now);
        }
    }
    let health = Health { down: ward.down(), ..Health::default() };
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
    let vitals = Vitals { ward, health, now: Duration::from_secs(10), at, ..Vitals::default() };
    rig.realised.send_modify(|realised| realised.vitals = Arc::new(vitals));
}

async fn ask(rig: &Rig, rule: &str) -> (u16, Value) {
    let path = format!("{}?api-version=2025-05-01", at(&format!("{WEB}/loadBalancingRules/{rule}/health")));
    let answer = rig.ask("POST", &path, &[], "").await;
    (answer.status, answer.body)
}

fn tcp() -> Value {
    json!({ "protocol": "Tcp", "port": 8080, "probeThreshold": 2 })
}

fn http() -> Value {
    json!({ "protocol": "Http", "port": 8080, "requestPath": "/alive", "probeThreshold": 2 })
}

fn bad(reason: Reason) -> Outcome {
    Outcome::Bad(reason)
}

fn late(stage: Stage) -> Outcome {
    bad(Reason::TimedOut { after: Duration::from_secs(5), stage })
}

// PROBE-7
#[tokio::test]
async fn azure_reads_who_is_well_and_why() {
    let rig = probed(tcp()).await;
    let (good, refused) = (Outcome::Good, bad(Reason::Refused));
    hear(&rig, &[(NEAR, vec![good.clone()]), (FAR, vec![refused.clone(), refused])]);
    let (status, health) = ask(&rig, "HTTP").await;
    assert_eq!((status, &health["up"], &health["down"]), (200, &json!(1), &json!(1)), "{health:#}");
    let [near, far] = health["loadBalancerBackendAddresses"].as_array().unwrap().as_slice() else {
        panic!("{health:#}")
    };
    assert_eq!(
        (&near["ipAddress"], &near["state"], &near["reason"]),
        (&json!(NEAR), &json!("Up"), &json!("Up_Probe_Success"))
    );
    assert_eq!((&far["ipAddress"], &far["state"]), (&json!(FAR), &json!("Down")));
    assert_eq!(far["reason"], "Down_Probe_TcpProbeTimeout");
    assert_eq!(far["networkInterfaceIPConfigurationId"], "");
    let words = &far["forebay"];
    assert_eq!((&words["last"], &words["inARow"]), (&json!("connection refused"), &json!(2)));
    assert_eq!(
        (&words["since"], &words["takesNewFlows"]),
        (&json!("1970-01-01T00:00:01.000Z"), &json!(false))
    );
}

#[tokio::test]
async fn every_result_has_azures_word() {
    let good = || Outcome::Good;
    check(tcp(), vec![], "NA").await;
    check(tcp(), vec![bad(Reason::NoAddress)], "NA").await;
    check(tcp(), vec![good(), bad(Reason::Refused)], "Up_Probe_ApproachingUnhealthyThreshold").await;
    check(tcp(), vec![bad(Reason::Reset), good()], "Down_Probe_ApproachingHealthyThreshold").await;
    check(tcp(), vec![late(Stage::Connect)], "Down_Probe_TcpProbeTimeout").await;
    check(tcp(), vec![bad(Reason::Reset), bad(Reason::NoAddress)], "Down_Probe_TcpProbeTimeout").await;
    check(http(), vec![bad(Reason::Status(503))], "Down_Probe_HttpStatusCodeError").await;
    check(http(), vec![bad(Reason::Refused)], "Down_Probe_HttpEndpointUnreachable").await;
    check(http(), vec![bad(Reason::Unreachable(Target::Host))], "Down_Probe_HttpEndpointUnreachable").await;
    check(http(), vec![late(Stage::Connect)], "Down_Probe_HttpEndpointUnreachable").await;
    check(http(), vec![late(Stage::Answer)], "Down_Probe_HttpNoResponse").await;
    check(http(), vec![bad(Reason::NotHttp("SSH".to_owned()))], "Down_Probe_HttpNoResponse").await;
    let mut all_up = http();
    all_up["noHealthyBackendsBehavior"] = json!("AllProbedUp");
    check(all_up, vec![bad(Reason::Status(404))], "Up_Probe_AllDownIsUp").await;

    async fn check(probe: Value, outcomes: Vec<Outcome>, wanted: &str) {
        let rig = probed(probe).await;
        let case = format!("{outcomes:?}");
        hear(&rig, &[(NEAR, outcomes), (FAR, vec![bad(Reason::Refused)])]);
        let (_, health) = ask(&rig, "http").await;
        assert_eq!(health["loadBalancerBackendAddresses"][0]["reason"], wanted, "{case}: {health:#}");
    }
}

#[tokio::test]
async fn what_an_operator_ordered_is_said() {
    check("Up", "Up_Admin", 1).await;
    check("Down", "Down_Admin", 0).await;

    async fn check(order: &str, wanted: &str, up: usize) {
        let rig = probed(tcp()).await;
        let mut web = rig.get(WEB).await.body;
        let members =
            &mut web["properties"]["backendAddressPools"][0]["properties"]["loadBalancerBackendAddresses"];
        members[0]["properties"]["adminState"] = json!(order);
        assert_eq!(rig.put(WEB, &web).await.status, 200);
        let refused = vec![bad(Reason::Refused)];
        hear(&rig, &[(NEAR, refused.clone()), (FAR, refused)]);
        let (_, health) = ask(&rig, "http").await;
        assert_eq!(
            (&health["loadBalancerBackendAddresses"][0]["reason"], &health["up"]),
            (&json!(wanted), &json!(up))
        );
    }
}

#[tokio::test]
async fn nothing_is_known_without_a_data_path_and_nothing_is_asked_without_a_probe() {
    let rig = probed(tcp()).await;
    let (_, health) = ask(&rig, "http").await;
    assert_eq!(
        (&health["up"], &health["loadBalancerBackendAddresses"][1]["reason"]),
        (&json!(0), &json!("NA"))
    );
    let (status, missing) = ask(&rig, "other").await;
    assert_eq!((status, &missing["error"]["code"]), (404, &json!("NotFound")));
    let rig = furnished().await;
    let (status, refused) = ask(&rig, "http").await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (400, &json!("LoadBalancingRuleHasNoProbe")),
        "{refused:#}"
    );
    assert!(refused["error"]["message"].as_str().unwrap().contains("add `probe` to it"));
    let get = rig.get(&format!("{WEB}/loadBalancingRules/http/health")).await;
    assert_eq!((get.status, get.header("allow")), (405, "POST"));
}
