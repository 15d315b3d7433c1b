//! What Prometheus reads.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use engine::Health;
use engine::health::{Outcome, Reason, Round, Ward};
use node::health::Vitals;
use node::inspect::{
    FrontendStats, MemberStats, RememberedStats, ResetStats, RuleStats, SecurityStats, Stats, VerdictStats,
};
use node::{Available, MemberSeen};
use serde_json::json;

use super::text;
use crate::Realised;
use crate::api::tests::{Rig, at, balancer, furnished};

#[tokio::test]
async fn what_is_not_known_is_not_said() {
    let rig = furnished().await;
    let text = text(&rig.state.catalogue.snapshot(), &Realised::default());
    check(&text, "forebay_revision_accepted 2");
    check(&text, "forebay_revision_realised 0");
    check(&text, "forebay_data_path_follows 0");
    assert!(
        !text.contains("forebay_rule_packets_total") && !text.contains("forebay_health_probe_status{"),
        "{text}"
    );
    assert!(!text.contains("forebay_data_path_availability{"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

// PROBE-7
#[tokio::test]
async fn each_member_of_each_rule_has_its_health() {
    let rig = probed().await;
    let snapshot = rig.state.catalogue.snapshot();
    let vitals = Arc::new(vitals(&snapshot.desired.probes()[0]));
    let realised = Realised { vitals, ..Realised::default() };
    let text = text(&snapshot, &realised);
    let labels = |member: &str| {
        let rule =
            "rule=\"web/http\",frontend_ip_address=\"10.0.0.10\",frontend_port=\"80\",protocol_type=\"tcp\"";
        format!("{{{rule},backend_ip_address=\"{member}\",backend_port=\"8080\",probe=\"web/alive\"}}")
    };
    check(&text, &format!("forebay_health_probe_status{} 1", labels("10.0.0.4")));
    check(&text, &format!("forebay_health_probe_status{} 0", labels("10.0.0.5")));
    check(&text, &format!("forebay_member_takes_new_flows{} 0", labels("10.0.0.5")));
    check(&text, &format!("forebay_member_takes_new_flows{} 0", labels("10.0.0.6")));
    check(&text, "forebay_health_probe_caution{probe=\"web/alive\",backend_ip_address=\"10.0.0.4\"} 1");
    assert!(!text.contains(&format!("forebay_health_probe_status{}", labels("10.0.0.6"))), "{text}");
}

#[tokio::test]
async fn what_is_counted_keeps_its_numbers() {
    let rig = furnished().await;
    let mut realised = Realised::default();
    realised.count(stats(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_700), Instant::now());
    let answer = rig.ask("GET", "/metrics", &[], "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, crate::api::own::EXPOSITION));
    let text = text(&rig.state.catalogue.snapshot(), &realised);
    check(
        &text,
        "forebay_frontend_packets_total{frontend=\"web/front\",frontend_ip_address=\"10.0.0.10\"} 11",
    );
    check(
        &text,
        "forebay_frontend_unmatched_packets_total{frontend=\"web/front\",frontend_ip_address=\"10.0.0.10\"} 14",
    );
    let rule =
        "{rule=\"web/http\",frontend_ip_address=\"10.0.0.10\",frontend_port=\"80\",protocol_type=\"tcp\"}";
    check(&text, &format!("forebay_rule_bytes_total{rule} 22"));
    check(&text, &format!("forebay_rule_flows_total{rule} 23"));
    let member = "{pool=\"web/pool\",member=\"near\",backend_ip_address=\"10.0.0.4\"}";
    check(&text, &format!("forebay_member_packets_total{member} 31"));
    check(&text, "forebay_verdict_packets_total{verdict=\"drop\",reason=\"NoMember\"} 41");
    check(&text, "forebay_security_rule_packets_total{security_rule=\"sg/office\"} 15");
    check(&text, "forebay_flows_remembered 51");
    check(&text, "forebay_connections_tracked 56");
    check(&text, "forebay_resets_total{cause=\"Idle\"} 57");
    check(&text, "forebay_flows_limit 52");
    check(&text, "forebay_changing_slots 55");
    check(&text, "forebay_counters_read_timestamp_seconds 1700");
}

// PROBE-10
#[tokio::test]
async fn how_available_a_rule_is_is_said_where_it_is_measured() {
    let rig = furnished().await;
    let available = Arc::new(vec![available()]);
    let realised =
        Realised { vitals: Arc::new(Vitals { available, ..Vitals::default() }), ..Realised::default() };
    let text = text(&rig.state.catalogue.snapshot(), &realised);
    let rule =
        "{rule=\"web/http\",frontend_ip_address=\"10.0.0.10\",frontend_port=\"80\",protocol_type=\"tcp\"}";
    check(&text, &format!("forebay_data_path_availability{rule} 0.75"));
    check(&text, &format!("forebay_data_path_calls_total{rule} 62"));
    check(&text, &format!("forebay_data_path_answers_total{rule} 61"));
}

// What is documented, drawn and alerted on is there, and everything there is documented.
#[tokio::test]
async fn every_name_that_is_written_elsewhere_is_one_of_these() {
    let rig = probed().await;
    let snapshot = rig.state.catalogue.snapshot();
    let mut realised =
        Realised { vitals: Arc::new(vitals(&snapshot.desired.probes()[0])), ..Realised::default() };
    realised.count(stats(), SystemTime::UNIX_EPOCH, Instant::now());
    let seen = MemberSeen { ready: true, words: String::new(), since: SystemTime::UNIX_EPOCH };
    realised.members = [([10, 0, 0, 4].into(), seen)].into();
    let text = text(&snapshot, &realised);
    let rows: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let said = names(&rows.join("\n"));
    assert_eq!(names(include_str!("../../../../docs/metrics.md")), said);
    for (file, text) in [
        ("alerts", include_str!("../../../../deploy/prometheus/alerts.yaml")),
        ("dashboard", include_str!("../../../../deploy/grafana/forebay.json")),
    ] {
        let unknown: Vec<String> = names(text).difference(&said).cloned().collect();
        assert_eq!(unknown, Vec::<String>::new(), "{file}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../../../deploy/grafana/forebay.json")).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
}

/// A server with a rule that has a probe and three members.
async fn probed() -> Rig {
    let rig = furnished().await;
    let mut web = balancer("10.0.0.10");
    let properties = &mut web["properties"];
    properties["probes"] = json!([{ "name": "alive", "properties": { "protocol": "Tcp", "port": 90 } }]);
    properties["loadBalancingRules"][0]["properties"]["probe"] =
        json!({ "id": at("loadBalancers/web/probes/alive") });
    let member = |address| json!({ "name": format!("m{address}"), "properties": { "ipAddress": address } });
    let members = [member("10.0.0.4"), member("10.0.0.5"), member("10.0.0.6")];
    properties["backendAddressPools"][0]["properties"] = json!({ "loadBalancerBackendAddresses": members });
    assert_eq!(rig.put("loadBalancers/web", &web).await.status, 200);
    rig
}

/// The names in a text, as Prometheus knows them.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("forebay_") && !word.ends_with('_')).map(str::to_owned).collect()
}

fn check(text: &str, line: &str) {
    assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
}

/// The first member is up, the second is down, the third was not asked yet.
fn vitals(probe: &model::Probe) -> Vitals {
    let members: Vec<IpAddr> = [4, 5, 6].map(|last| [10, 0, 0, last].into()).into();
    let round = Round {
        ask: probe.ask().clone(),
        port: probe.port(),
        threshold: 1,
        members: members.iter().copied().collect(),
    };
    let mut ward = Ward::default();
    ward.keep([(probe.name().to_owned(), round)].into(), Duration::ZERO);
    for (member, outcome) in members.into_iter().zip([Outcome::Good, Outcome::Bad(Reason::Refused)]) {
        ward.hear(probe.name(), member, outcome, Duration::from_secs(1));
    }
    let health = Health { down: ward.down(), ..Health::default() };
    let available = Arc::new(vec![available()]);
    Vitals { ward, health, available, now: Duration::from_secs(2), at: SystemTime::UNIX_EPOCH }
}

fn available() -> Available {
    let frontend = ([10, 0, 0, 10], 80).into();
    Available { rule: "web/http".into(), frontend, calls: 62, answers: 61, lately: [3, 4] }
}

fn stats() -> Stats {
    let (frontend, member) = ([10, 0, 0, 10].into(), [10, 0, 0, 4].into());
    Stats {
        name: "default".into(),
        interfaces: Vec::new(),
        frontends: vec![FrontendStats {
            frontend: "web/front".into(),
            address: frontend,
            packets: 11,
            bytes: 12,
            flows: 13,
            unmatched: 14,
        }],
        rules: vec![RuleStats {
            rule: "web/http".into(),
            frontend,
            protocol: "tcp".into(),
            port: 80,
            packets: 21,
            bytes: 22,
            flows: 23,
        }],
        members: vec![MemberStats {
            pool: "web/pool".into(),
            member: "near".into(),
            address: member,
            state: "ready".into(),
            packets: 31,
            bytes: 32,
            flows: 33,
        }],
        security: vec![SecurityStats { rule: "sg/office".into(), packets: 15, bytes: 16 }],
        remembered: RememberedStats {
            flows: 51,
            flows_limit: 52,
            masquerades: 53,
            masquerades_limit: 54,
            tracked: 56,
            changing_slots: 55,
        },
        resets: vec![ResetStats { cause: "Idle".into(), resets: 57 }],
        verdicts: vec![VerdictStats {
            verdict: "drop".into(),
            reason: "NoMember".into(),
            packets: 41,
            bytes: 42,
        }],
    }
}
