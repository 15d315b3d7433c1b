//! Whom to ask, what is believed before the first answer, and how it is shown.

use engine::health::{Outcome, Reason};
use engine::{Compiler, Sizes};
use model::Source;
use serde_json::{Value, json};

use super::*;

const ALIVE: &str = "lb/alive";

/// Two members of each family behind rules of both, probed by `probe`, or by nobody.
fn desired(probe: Option<&str>, edit: impl Fn(&mut Value)) -> Desired {
    let frontend = |name: &str, address: &str, version: &str| {
        json!({ "name": name, "properties": { "privateIPAddress": address, "privateIPAddressVersion": version,
            "privateIPAllocationMethod": "Static", "subnet": { "id": "/s/n" } } })
    };
    let rule = |name: &str, frontend: &str, port: u16| {
        let probe = probe.map(|probe| json!({ "id": format!("probes/{probe}") }));
        json!({ "name": name, "properties": {
            "frontendIPConfiguration": { "id": format!("frontendIPConfigurations/{frontend}") },
            "backendAddressPool": { "id": "backendAddressPools/web" }, "probe": probe,
            "protocol": "Tcp", "frontendPort": port, "backendPort": port } })
    };
    let members = ["10.0.0.4", "10.0.0.5", "fd00::4", "fd00::5"].iter().enumerate();
    let members =
        members.map(|(at, it)| json!({ "name": format!("vm{at}"), "properties": { "ipAddress": it } }));
    let asks = json!({ "protocol": "Http", "requestPath": "/up", "port": 8080, "probeThreshold": 2 });
    let probe = |name: &str| json!({ "name": name, "properties": asks });
    let mut document = json!({ "name": "lb", "properties": {
        "frontendIPConfigurations": [frontend("f4", "10.0.1.1", "IPv4"), frontend("f6", "fd00:1::1", "IPv6")],
        "backendAddressPools": [{ "name": "web", "properties": { "loadBalancerBackendAddresses": members.collect::<Vec<_>>() } }],
        "probes": [probe("alive"), probe("ready")],
        "loadBalancingRules": [rule("http", "f4", 80), rule("https", "f4", 443), rule("http6", "f6", 80)],
    } });
    edit(&mut document);
    let source = Source { name: "lb.json".into(), text: document.to_string() };
    model::check(&[source]).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn surroundings() -> Surroundings {
    Surroundings {
        own_v4: Some("10.0.0.2".parse().unwrap()),
        sizes: Sizes { rings: 8, ..Sizes::default() },
        ..Surroundings::default()
    }
}

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn compiled(desired: &Desired, health: &Health) -> Tables {
    Compiler::default().compile(desired, health, &surroundings(), &Tables::default()).unwrap()
}

// PROBE-5, FIP-5
#[test]
fn a_member_is_asked_once_by_each_probe_at_its_own_address() {
    let tasks = tasks(&desired(Some("alive"), |_| ()), [Some(ip("10.0.0.2")), None]);
    let asked: Vec<_> = tasks.iter().map(|task| (task.member, task.source)).collect();
    let own = Some(ip("10.0.0.2"));
    assert_eq!(
        asked,
        [(ip("10.0.0.4"), own), (ip("10.0.0.5"), own), (ip("fd00::4"), None), (ip("fd00::5"), None)]
    );
    assert!(tasks.iter().all(|task| &*task.probe == ALIVE && task.port == 8_080));
    // PROBE-4
    assert!(super::tasks(&desired(None, |_| ()), [own, own]).is_empty());
}

// FLOW-7
#[test]
fn a_restart_believes_the_tables_until_somebody_answers() {
    let desired = desired(Some("alive"), |_| ());
    let mut health = Health::default();
    health.find(ALIVE, ip("10.0.0.5"), false);
    let known = in_force(&desired, &compiled(&desired, &health));
    let states: Vec<_> = known.iter().map(|(_, member, state)| (*member, *state)).collect();
    let (up, down) = (State::Up, State::Down);
    assert_eq!(
        states,
        [(ip("10.0.0.4"), up), (ip("10.0.0.5"), down), (ip("fd00::4"), up), (ip("fd00::5"), up)]
    );
    assert!(in_force(&desired, &Tables::default()).is_empty());
}

#[test]
fn a_rule_that_gets_a_probe_keeps_its_members_until_somebody_answers() {
    let tables = compiled(&desired(None, |_| ()), &Health::default());
    let probed = desired(Some("ready"), |_| ());
    let known = in_force(&probed, &tables);
    assert!(known.iter().all(|(probe, _, state)| *probe == "lb/ready" && *state == State::Up));
    assert_eq!(known.len(), 4);
    // Of a member that joins nothing is known.
    let joined = desired(Some("ready"), |document| {
        let members = &mut document["properties"]["backendAddressPools"][0]["properties"]["loadBalancerBackendAddresses"];
        let new = json!({ "name": "new", "properties": { "ipAddress": "10.0.0.9" } });
        members.as_array_mut().unwrap().push(new);
    });
    assert!(in_force(&joined, &tables).iter().all(|(_, member, _)| *member != ip("10.0.0.9")));
    // What was ordered says nothing about what a probe would find.
    let ordered = desired(Some("ready"), |document| {
        let members = &mut document["properties"]["backendAddressPools"][0]["properties"]["loadBalancerBackendAddresses"];
        members[0]["properties"]["adminState"] = "Down".into();
    });
    assert_eq!(in_force(&ordered, &tables).len(), 3);
}

// PROBE-7, CLUS-2
#[test]
fn everything_that_is_known_is_shown_with_its_reason() {
    let desired = desired(Some("alive"), |document| {
        let members = &mut document["properties"]["backendAddressPools"][0]["properties"]["loadBalancerBackendAddresses"];
        members[2]["properties"]["adminState"] = "Up".into();
    });
    let second = Duration::from_secs;
    let mut ward = Ward::default();
    ward.keep(rounds(&desired), second(0));
    ward.hear(ALIVE, ip("10.0.0.4"), Outcome::Good, second(1));
    ward.hear(ALIVE, ip("10.0.0.5"), Outcome::Good, second(1));
    for at in [6, 11] {
        ward.hear(ALIVE, ip("10.0.0.5"), Outcome::Bad(Reason::Refused), second(at));
    }
    let health = Health {
        down: ward.down(),
        avoided: BTreeMap::from([(ip("10.0.0.5"), Hint::NoWay)]),
        ..Health::default()
    };
    let now = (second(20), SystemTime::UNIX_EPOCH + second(1_000));
    let vitals = Vitals { ward, health, available: Arc::default(), now: now.0, at: now.1 };
    let view = HealthView::of(&desired, &vitals);
    assert_eq!(view.at, "1970-01-01T00:16:40.000Z");
    let [v4, v6] = view.groups.as_slice() else { panic!("{view:#?}") };
    let (v4, v6) = if v4.members[0].address.is_ipv4() { (v4, v6) } else { (v6, v4) };
    assert_eq!(
        (v4.asks.as_str(), v4.rules.as_slice()),
        ("Http 8080 /up", &["lb/http".into(), "lb/https".into()][..])
    );
    let down = &v4.members[1];
    assert_eq!((down.member.as_str(), down.state.as_str(), down.takes_new_flows), ("vm1", "down", false));
    assert_eq!((down.last.as_str(), down.in_a_row), ("connection refused", 2));
    // A clock that was set does not matter: nine seconds ago it turned.
    assert_eq!(down.since, "1970-01-01T00:16:31.000Z");
    let turns: Vec<_> =
        down.history.iter().map(|it| (it.from.as_str(), it.to.as_str(), it.because.as_str())).collect();
    assert_eq!(turns, [("up", "down", "connection refused"), ("unknown", "up", "answers well")]);
    let ordered = &v6.members[0];
    assert_eq!((ordered.state.as_str(), ordered.takes_new_flows), ("unknown", true));
    assert_eq!(ordered.because, "up by order");
    // It is written down and read again as it is.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lb.health");
    view.write(&path).unwrap();
    assert_eq!(HealthView::read(&path).unwrap(), view);
}

#[test]
fn what_happens_to_members_and_rules_is_told_once() {
    let desired = desired(Some("alive"), |_| ());
    let mut care = Care::start(true, nobody()).unwrap();
    care.want(&desired, &surroundings(), &Tables::default());
    let hear = |care: &mut Care, member: &str, outcome: Outcome| {
        let heard = Heard { probe: ALIVE.into(), member: ip(member), outcome, at: Instant::now() };
        let turned = care.hear(vec![heard]);
        let health = care.health_by(&BTreeMap::new(), &BTreeSet::new());
        care.count(&desired, &health);
        turned
    };
    let names = |care: &Care, after: u64| -> Vec<&'static str> {
        care.events().after(after).map(|event| event.happening.name()).collect()
    };
    // Nothing is known of anybody yet: nobody takes new flows, and the first answer counts at once.
    assert!(hear(&mut care, "10.0.0.4", Outcome::Good));
    assert_eq!(names(&care, 0), ["memberUp"]);
    assert!(hear(&mut care, "10.0.0.5", Outcome::Bad(Reason::Refused)));
    let told = care.events().last();
    assert!(!hear(&mut care, "10.0.0.4", Outcome::Bad(Reason::Status(503))));
    assert!(hear(&mut care, "10.0.0.4", Outcome::Bad(Reason::Status(503))));
    assert_eq!(names(&care, told), ["memberDown", "noHealthyMembers", "noHealthyMembers"]);
    let told = care.events().last();
    assert!(!hear(&mut care, "10.0.0.5", Outcome::Good));
    assert!(hear(&mut care, "10.0.0.5", Outcome::Good));
    assert_eq!(names(&care, told), ["memberUp", "healthyMembersAgain", "healthyMembersAgain"]);
    assert!(care.take_news() && !care.take_news());
}

#[test]
fn who_cannot_be_reached_is_avoided_unless_that_is_switched_off() {
    let (first, second) = (ip("10.0.0.4"), ip("10.0.0.5"));
    let hop = plane::row::Hop {
        link: 2,
        source: plane::row::Mac::new([2, 0, 0, 0, 0, 1]),
        destination: plane::row::Mac::new([2, 0, 0, 0, 0, 5]),
        adjacent: true,
        mtu: 1_500,
    };
    let reaches = BTreeMap::from([(first, Reach::NoRoute), (second, Reach::Resolved(hop))]);
    let avoided = |hints: bool, silent: &[IpAddr]| {
        let care = Care::start(hints, nobody()).unwrap();
        care.health_by(&reaches, &silent.iter().copied().collect()).avoided
    };
    assert_eq!(avoided(true, &[]), [(first, Hint::NoWay)].into());
    assert_eq!(avoided(true, &[first, second]), [(first, Hint::NoWay), (second, Hint::Silent)].into());
    assert!(avoided(false, &[first, second]).is_empty());
}

#[test]
fn who_was_said_to_be_unreachable_is_avoided_until_an_attempt_ends_otherwise() {
    for hints in [true, false] {
        let desired = desired(Some("alive"), |_| ());
        let mut care = Care::start(hints, nobody()).unwrap();
        care.want(&desired, &surroundings(), &Tables::default());
        let mut hear = |member: &str, outcome: Outcome| {
            let told = care.events().last();
            let heard = Heard { probe: ALIVE.into(), member: ip(member), outcome, at: Instant::now() };
            let news = care.hear(vec![heard]);
            let health = care.health_by(&BTreeMap::new(), &BTreeSet::new());
            care.count(&desired, &health);
            let events = care.events();
            let events = events.after(told).map(|event| event.happening.name()).collect::<Vec<_>>();
            let takes: Vec<bool> =
                health.of_rule(&desired, &desired.rules()[0]).into_iter().map(|(_, takes)| takes).collect();
            (news, events, takes)
        };
        hear("10.0.0.5", Outcome::Good);
        assert_eq!(hear("10.0.0.4", Outcome::Good), (true, vec!["memberUp"], vec![true, true]));
        // The threshold is 2.
        let unreachable = || Outcome::Bad(Reason::Unreachable(engine::health::Target::Host));
        if !hints {
            assert_eq!(hear("10.0.0.4", unreachable()), (false, vec![], vec![true, true]));
            continue;
        }
        assert_eq!(hear("10.0.0.4", unreachable()), (true, vec!["memberAvoided"], vec![false, true]));
        assert_eq!(hear("10.0.0.4", Outcome::Good), (true, vec!["memberAvoidedNoMore"], vec![true, true]));
        hear("10.0.0.4", unreachable());
        assert_eq!(hear("10.0.0.4", unreachable()), (true, vec!["memberDown"], vec![false, true]));
    }
}

/// Where doubts go that nobody looks at.
fn nobody() -> mpsc::Sender<IpAddr> {
    mpsc::channel(1).0
}
