//! Members that are asked how they are: what is found, what is said of it, and where flows go.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use forebay::lab::{Error, Host, HttpConnection, dial, udp_ask, udp_socket};
use serde_json::Value;

use crate::balancer::{Balancer, Settings};
use crate::document::{Document, Interval, Probe, Rule, Wire, floating, plain};
use crate::net::{ETH0, Member, Net, Shape};
use crate::patient::{BUSY, Crowded, GOOD, Manner, Patient, how_often};
use crate::session::{Knock, LATE, Session, all_stay, eventually, knock, open};

/// Where probes of these tests ask.
pub const ASKED: u16 = 9000;
/// So long it may take until a state has turned and is shown, on a machine that does many things at once.
pub const SOON: Duration = Duration::from_secs(15);
/// So many new flows that each of two members is among them: by chance one is not in one of eight million times.
pub const MANY: usize = 24;

#[test]
fn what_a_member_answers_decides_whether_it_is_up_and_the_reason_is_said() {
    // PROBE-1, PROBE-6, PROBE-7, FIP-6
    let Some(net) = Net::flat("answers", 2) else { return };
    let cases = [
        ("good", "Http", "up", "answers well"),
        ("refuses", "Tcp", "down", "connection refused"),
        ("crowded", "Tcp", "down", "no answer in 300 ms: firewall?"),
        ("silent", "Http", "down", "connected, but no whole answer in 300 ms"),
        ("fails", "Http", "down", "HTTP 500"),
        ("redirects", "Http", "down", "HTTP 302 (only 200 counts)"),
        ("half", "Http", "down", "not HTTP: it ended after `HTTP/1.1 20`"),
        ("expired", "Https", "up", "answers well"),
        ("busy-tls", "Https", "down", "HTTP 503"),
    ];
    let port = |number: usize| ASKED + u16::try_from(number).unwrap();
    let (mut probes, mut rules) = (Vec::new(), Vec::new());
    for (number, (name, protocol, ..)) in cases.iter().enumerate() {
        let interval = Interval::Milliseconds(300);
        probes.push(Probe { interval, ..Probe::new(name, protocol, port(number)) });
        let frontend = format!("65.52.0.{}:80", number + 1);
        rules.push(Rule::floating(name, Wire::Tcp, &frontend).probed_by(name));
    }
    let _servers = net.serve(&rules);
    let (mut patients, mut crowded) = (Vec::new(), Vec::new());
    for (number, (name, protocol, ..)) in cases.iter().enumerate() {
        let [first, second] =
            [0, 1].map(|member: usize| SocketAddr::new(net.members[member].v4.into(), port(number)));
        let (vm1, vm2) = (&net.members[0], &net.members[1]);
        patients.push(if *protocol == "Https" {
            Patient::expired(vm2, second, GOOD)
        } else {
            Patient::start(vm2, second, GOOD)
        });
        match *name {
            "refuses" => {}
            "crowded" => crowded.push(Crowded::start(vm1, first)),
            "silent" => patients.push(Patient::start(vm1, first, Manner::Silent)),
            "fails" => patients.push(Patient::start(vm1, first, Manner::Status("500 Broken"))),
            "redirects" => patients.push(Patient::start(vm1, first, Manner::Status("302 Found"))),
            "half" => patients.push(Patient::start(vm1, first, Manner::Half)),
            "expired" => patients.push(Patient::expired(vm1, first, GOOD)),
            "busy-tls" => patients.push(Patient::expired(vm1, first, BUSY)),
            _ => patients.push(Patient::start(vm1, first, GOOD)),
        }
    }
    let document = Document::new(&rules, vec![net.members[0].v4.into(), net.members[1].v4.into()]);
    // Each probe has its own view of the pool, and that is a ring.
    let settings = Settings { pools: 16, ..Settings::default() };
    let balancer = Balancer::start_with(&net, &document.probed(&probes), settings);
    for (rule, (name, _, state, why)) in rules.iter().zip(&cases) {
        await_state(&balancer, name, net.members[1].v4.into(), "up");
        let found = await_state(&balancer, name, net.members[0].v4.into(), state);
        assert!(found["last"].as_str().unwrap().starts_with(why), "{name}: {found}");
        assert!(found["since"].as_str().unwrap().ends_with('Z'), "{name}: {found}");
        assert_eq!(found["history"][0]["to"], *state, "{name}: {found}");
        assert_eq!(found["takesNewFlows"], *state == "up", "{name}: {found}");
        let reached = open(&net, rule, MANY);
        let has_vm1 = reached.iter().any(|(_, member)| member == "vm1");
        assert_eq!(has_vm1, *state == "up", "{name}");
    }
    let said = balancer.forebay(&["show", "health"]).out;
    for (name, _, _, why) in cases {
        assert!(said.contains(&format!("by probe lb/{name} ")) && said.contains(why), "{name}: {said}");
    }
}

#[test]
fn connections_stay_with_a_member_that_goes_down_sessions_move_and_new_flows_avoid_it() {
    // FLOW-1, PROBE-5, PROBE-6, FIP-5
    let Some(net) = Net::flat("goes-down", 2) else { return };
    let mut probed = |rule: Rule| {
        let probe = if rule.v4() { "alive4" } else { "alive6" };
        rule.probed_by(probe)
    };
    let rules: Vec<Rule> = [floating(), plain()].concat().into_iter().map(&mut probed).collect();
    let _servers = net.serve(&rules);
    let probes = [Probe::new("alive4", "Http", ASKED), Probe::new("alive6", "Http", ASKED)];
    let patients = patients(&net);
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()).probed(&probes));
    all_up(&net, &balancer);
    let mut sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, MANY)).collect();

    patients.iter().take(2).for_each(|patient| patient.set(BUSY));
    for v4 in [true, false] {
        let found = await_state(&balancer, name(v4), net.members[0].address(v4), "down");
        assert_eq!(found["last"], "HTTP 503");
    }
    sessions.iter_mut().for_each(|(session, member)| {
        if matches!(session, Session::Udp(..)) {
            "vm2".clone_into(member);
        }
    });
    all_stay(&mut sessions, "vm1 is down");
    for rule in &rules {
        let new = open(&net, rule, MANY);
        assert!(new.iter().all(|(_, member)| member == "vm2"), "{}", rule.name);
    }

    patients.iter().take(2).for_each(|patient| patient.set(GOOD));
    for v4 in [true, false] {
        await_state(&balancer, name(v4), net.members[0].address(v4), "up");
    }
    let connections = |(session, _): &&mut (Session, String)| matches!(session, Session::Tcp(_));
    for (session, member) in sessions.iter_mut().filter(connections) {
        assert_eq!(session.member(), *member, "vm1 is back");
    }
    for rule in &rules {
        let new = open(&net, rule, MANY);
        assert!(new.iter().any(|(_, member)| member == "vm1"), "{}", rule.name);
    }

    // Four rules lead to each address, and it is asked as often as if it were one.
    let before = how_often(&patients);
    let began = Instant::now();
    thread::sleep(Duration::from_secs(2));
    let passed = began.elapsed().as_secs_f64() / 0.2;
    for ((number, patient), before) in patients.iter().enumerate().zip(before) {
        let asked = patient.asked();
        let more = (asked.len() - before) as f64;
        assert!(more >= passed / 2.0 && more <= passed + 2.0, "{more} probes in {passed} intervals");
        let (member, v4) = (&net.members[number / 2], number % 2 == 0);
        let own: IpAddr = if v4 { "10.20.1.2" } else { "fd00:20::2" }.parse().unwrap();
        let at = SocketAddr::new(member.address(v4), ASKED);
        for asked in &asked {
            assert_eq!((asked.from.ip(), asked.to), (own, at));
        }
        let hosts: Vec<&String> = asked.iter().filter_map(|asked| asked.host.as_ref()).collect();
        assert!(hosts.len() * 2 > asked.len(), "{asked:?}");
        assert!(hosts.iter().all(|host| **host == at.to_string()), "{hosts:?}");
    }
}

#[test]
fn probes_never_go_to_a_frontend_and_a_member_that_drops_them_is_down_though_it_serves() {
    // FIP-5, PROBE-1, FLOW-1
    let Some(net) = Net::flat("dropping", 2) else { return };
    let rules = [Rule::floating("web", Wire::Tcp, "65.52.0.1:80").probed_by("serves")];
    let _servers = net.serve(&rules);
    // The instance is bound to the frontend address; what is asked listens at the member's own.
    let vm1 = &net.members[0];
    let patients = Patient::of_all(&net, 80);
    let addresses: Vec<IpAddr> = net.members.iter().map(|member| member.v4.into()).collect();
    let capture = vm1.host.capture(ETH0, "tcp and src host 10.20.1.2").unwrap();
    let probe = Probe { port: 80, ..Probe::new("serves", "Tcp", 80) };
    let balancer = Balancer::start(&net, &Document::new(&rules, addresses.clone()).probed(&[probe]));
    addresses.iter().for_each(|address| drop(await_state(&balancer, "serves", *address, "up")));
    let mut sessions = open(&net, &rules[0], MANY);
    // Answers to the balancer go nowhere; those to clients do not pass it.
    vm1.host.ip(&["route", "add", "blackhole", "10.20.1.2/32"]).unwrap();
    let found = await_state(&balancer, "serves", vm1.v4.into(), "down");
    assert_eq!(found["last"], "no answer in 200 ms: firewall?");
    all_stay(&mut sessions, "vm1 drops probes");
    let new = open(&net, &rules[0], MANY);
    assert!(new.iter().all(|(_, member)| member == "vm2"));
    let frames = capture.stop().unwrap();
    assert!(!frames.is_empty());
    for frame in frames {
        assert_eq!(frame.0[30..34], vm1.v4.octets(), "a probe went elsewhere");
    }
    drop(patients);
}

#[test]
fn as_many_equal_answers_as_the_threshold_says_turn_a_member_both_ways() {
    // PROBE-3, PROBE-8
    let Some(net) = Net::flat("threshold", 2) else { return };
    let rules = [Rule::floating("dns", Wire::Udp, "65.52.0.1:5300").probed_by("alive4")];
    let _servers = net.serve(&rules);
    let probe = Probe { threshold: 3, ..Probe::new("alive4", "Http", ASKED) };
    let patients = patients(&net);
    let addresses: Vec<IpAddr> = net.members.iter().map(|member| member.v4.into()).collect();
    let balancer = Balancer::start(&net, &Document::new(&rules, addresses.clone()).probed(&[probe]));
    addresses.iter().for_each(|address| drop(await_state(&balancer, "alive4", *address, "up")));
    let (vm1, at) = (&patients[0], addresses[0]);
    let turns = || pulse(&balancer, "alive4", at)["history"].as_array().unwrap().len();
    let settle = || thread::sleep(Duration::from_millis(2_200));

    for lost in [1, 2] {
        vm1.next(lost, BUSY);
        vm1.await_asked(lost + 2);
        settle();
        assert_eq!(turns(), 1, "{lost} lost");
    }
    // One session that is with vm1 shows to the millisecond when it moves.
    let mut took = Vec::new();
    for _ in 0..2 {
        let moved = thread::scope(|scope| {
            let watcher = scope.spawn(|| until_elsewhere(&net, &rules[0]));
            thread::sleep(Duration::from_millis(300));
            vm1.set(BUSY);
            watcher.join().unwrap()
        });
        let bad: Vec<Instant> =
            vm1.asked().iter().filter(|asked| asked.manner == BUSY).map(|asked| asked.at).collect();
        let run = bad.iter().rev().take_while(|at| moved.duration_since(**at) < SOON).count();
        let deciding = bad.iter().rfind(|at| **at <= moved).unwrap();
        assert!(run >= 3, "{run} bad answers");
        took.push(moved.duration_since(*deciding));
        let found = await_state(&balancer, "alive4", at, "down");
        assert_eq!(found["history"][0]["because"], "HTTP 503");

        vm1.next(2, GOOD);
        vm1.await_asked(4);
        settle();
        assert_eq!(pulse(&balancer, "alive4", at)["state"], "down");
        vm1.set(GOOD);
        await_state(&balancer, "alive4", at, "up");
    }
    eprintln!("PROBE-8: from the deciding answer to the first flow elsewhere: {took:?}");
    assert!(took.iter().all(|took| *took < Duration::from_secs(1) + LATE), "{took:?}");
}

#[test]
fn when_all_are_down_the_probe_and_the_sku_say_what_becomes_of_flows_and_orders_stand_above() {
    // FLOW-2, FLOW-4, PROBE-4, RULE-3
    let Some(net) = Net::flat("all-down", 2) else { return };
    let plain = |rules: &[Rule]| -> Vec<Rule> {
        rules.iter().cloned().map(|rule| Rule { probe: None, ..rule }).collect()
    };
    let rules = [
        Rule::floating("floating", Wire::Tcp, "65.52.0.1:80").probed_by("alive4"),
        Rule::plain("plain", Wire::Tcp, "65.52.0.3:8080", 8000).probed_by("alive4"),
    ];
    let _servers = net.serve(&rules);
    let patients = patients(&net);
    let everybody: Vec<IpAddr> = net.members.iter().map(|member| member.v4.into()).collect();
    let probe = Probe::new("alive4", "Http", ASKED);
    for patient in &patients {
        patient.set(BUSY);
    }
    // Without a probe everybody is up, whatever they would answer.
    let mut balancer = Balancer::start(&net, &Document::new(&plain(&rules), everybody.clone()));
    let mut sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, MANY)).collect();
    for rule in &rules {
        assert_eq!(reached(&net, rule), ["vm1", "vm2"], "{}", rule.name);
    }
    let said = balancer.forebay(&["show", "health"]).out;
    assert_eq!(said, "no rule has a probe: every member counts as up\n");

    let document = Document::new(&rules, everybody.clone()).probed(std::slice::from_ref(&probe));
    balancer.apply(&document);
    everybody.iter().for_each(|address| drop(await_state(&balancer, "alive4", *address, "down")));
    for rule in &rules {
        assert_eq!(knock(net.client(), rule.wire, rule.frontend), Knock::Silence, "{}", rule.name);
    }
    all_stay(&mut sessions, "all are down");

    let up = Probe { all_down: "AllProbedUp", ..probe };
    balancer.apply(&document.clone().probed(&[up]));
    for rule in &rules {
        assert_eq!(reached(&net, rule), ["vm1", "vm2"], "{}", rule.name);
    }
    let because = |balancer: &Balancer<'_>, member: usize| {
        await_because(balancer, "alive4", everybody[member], "all are down, which counts as up");
    };
    because(&balancer, 0);
    all_stay(&mut sessions, "all count as up");

    let mut ordered = document.clone();
    ordered.orders.insert(everybody[0], "Up");
    balancer.apply(&ordered);
    for rule in &rules {
        assert_eq!(reached(&net, rule), ["vm1"], "{}", rule.name);
    }
    await_because(&balancer, "alive4", everybody[0], "up by order");
    patients.iter().for_each(|patient| patient.set(GOOD));
    everybody.iter().for_each(|address| drop(await_state(&balancer, "alive4", *address, "up")));
    ordered.orders.insert(everybody[0], "Down");
    balancer.apply(&ordered);
    for rule in &rules {
        assert_eq!(reached(&net, rule), ["vm2"], "{}", rule.name);
    }
    await_because(&balancer, "alive4", everybody[0], "down by order");
    all_stay(&mut sessions, "vm1 is down by order");

    let basic = Document { sku: "Basic", ..document };
    balancer.apply(&basic);
    for rule in &rules {
        assert_eq!(reached(&net, rule), ["vm1", "vm2"], "{}", rule.name);
    }
    all_stay(&mut sessions, "the load balancer is Basic");
    patients[0].set(BUSY);
    await_state(&balancer, "alive4", everybody[0], "down");
    all_stay(&mut sessions, "vm1 is down");
    patients[2].set(BUSY);
    await_state(&balancer, "alive4", everybody[1], "down");
    for (session, member) in &mut sessions {
        let answer = session.ask_within(Duration::from_millis(100));
        assert!(answer.is_err(), "{} of {member}: {answer:?}", session.local());
    }
}

#[test]
fn connections_to_a_member_that_goes_down_are_reset_where_the_rule_says_so() {
    // CLUS-1
    let Some(net) = Net::flat("resets", 2) else { return };
    let rules = [
        Rule::floating("floating", Wire::Tcp, "65.52.0.1:80").probed_by("alive4").resetting(),
        Rule::plain("plain", Wire::Tcp, "65.52.0.3:8080", 8000).probed_by("alive4").resetting(),
        Rule::floating("patient", Wire::Tcp, "65.52.0.2:80").probed_by("alive4"),
    ];
    let _servers = net.serve(&rules);
    let patients = patients(&net);
    let everybody: Vec<IpAddr> = net.members.iter().map(|member| member.v4.into()).collect();
    let probe = Probe::new("alive4", "Http", ASKED);
    let document = Document::new(&rules, everybody.clone()).probed(&[probe]);
    let balancer = Balancer::start(&net, &document);
    everybody.iter().for_each(|address| drop(await_state(&balancer, "alive4", *address, "up")));
    let mut sessions: Vec<_> = rules.iter().map(|rule| open(&net, rule, MANY)).collect();
    patients[0].set(BUSY);
    let began = Instant::now();
    // Two answers at 200 ms, and a second.
    let limit = Duration::from_millis(1_400);
    let mut last = began;
    for sessions in &mut sessions[..2] {
        for (session, _) in sessions.iter_mut().filter(|(_, member)| member == "vm1") {
            let (cause, at) = until_broken(session, began + limit * 4);
            assert!(cause.is_refusal(), "{}: {cause}", session.local());
            last = last.max(at);
            assert!(at.duration_since(began) < limit + LATE, "{:?}", at.duration_since(began));
        }
        sessions.retain(|(_, member)| member == "vm2");
        all_stay(sessions, "vm1 is down");
    }
    eprintln!("CLUS-1: all were reset {:?} after the probe's answer changed", last.duration_since(began));
    all_stay(&mut sessions[2], "their rule resets nothing");
}

#[test]
fn a_member_that_calls_its_own_frontend_fails_only_where_it_is_chosen_itself() {
    // HAIR-1
    let Some(net) = Net::flat("hairpin", 2) else { return };
    let rule = Rule::plain("plain", Wire::Tcp, "65.52.0.3:8080", 8000);
    let _servers = net.serve(std::slice::from_ref(&rule));
    let caller = &net.members[0];
    caller.host.route("65.52.0.0/24", ETH0).unwrap();
    let everybody = vec![caller.v4.into(), net.members[1].v4.into()];
    let document = Document::new(std::slice::from_ref(&rule), everybody);
    let mut balancer = Balancer::start(&net, &document);
    let calls = call(&caller.host, caller.v4.into(), &rule, 21_000..21_016);
    let lost: Vec<u16> = calls.iter().filter(|(_, member)| member.is_none()).map(|(port, _)| *port).collect();
    assert!(!lost.is_empty() && lost.len() < calls.len(), "{calls:?}");
    assert!(calls.iter().flat_map(|(_, member)| member).all(|member| member == "vm2"), "{calls:?}");
    assert!(balancer.stats().verdict("Hairpin") >= lost.len() as u64);
    for (port, member) in &calls {
        let from = SocketAddr::new(caller.v4.into(), *port).to_string();
        let trace = balancer.json(&["trace", "--from", &from, "--to", "65.52.0.3:8080"]);
        let says =
            trace["verdict"].as_str().unwrap().contains("a member called a frontend and was chosen itself");
        assert_eq!(says, member.is_none(), "{trace}");
    }
    with_hairpins_it_reaches_everybody(&mut balancer, caller, &document);
}

#[test]
fn behind_a_gateway_a_member_may_call_its_own_frontend_where_the_rule_says_so() {
    // HAIR-1
    let Some(net) = Net::new("hairpin-gateway", Shape::TwoSided, 2) else { return };
    let rule = Rule::plain("plain", Wire::Tcp, "65.52.0.3:8080", 8000);
    let _servers = net.serve(std::slice::from_ref(&rule));
    let caller = &net.members[0];
    let everybody = vec![caller.v4.into(), net.members[1].v4.into()];
    let document = Document::through_gateway(std::slice::from_ref(&rule), everybody);
    let mut balancer = Balancer::start(&net, &document);
    let calls = call(&caller.host, caller.v4.into(), &rule, 21_000..21_012);
    assert!(calls.iter().any(|(_, member)| member.is_none()), "{calls:?}");
    assert!(balancer.stats().verdict("Hairpin") > 0);
    with_hairpins_it_reaches_everybody(&mut balancer, caller, &document);
    // A client is seen as before.
    assert_eq!(Session::new(&net, &rule).ask().unwrap().client.ip(), net.client_address(0, true).ip());
}

/// A member is led to itself by a rule, and by its own port of a range.
fn with_hairpins_it_reaches_everybody(balancer: &mut Balancer<'_>, caller: &Member, document: &Document) {
    let rule = document.rules[0].clone().with_hairpin();
    let ports = Rule { frontend: SocketAddr::new(rule.frontend.ip(), 50_000), ..rule.clone() };
    let own = Document { rules: Vec::new(), ranges: vec![(ports.clone(), 50_001)], ..document.clone() };
    balancer.apply(&own);
    let calls = call(&caller.host, caller.v4.into(), &ports, 21_200..21_204);
    assert!(calls.iter().all(|(_, member)| member.as_deref() == Some("vm1")), "{calls:?}");

    balancer.apply(&Document { rules: vec![rule.clone()], ..document.clone() });
    let calls = call(&caller.host, caller.v4.into(), &rule, 21_100..21_132);
    for wanted in ["vm1", "vm2"] {
        assert!(calls.iter().any(|(_, member)| member.as_deref() == Some(wanted)), "{wanted}: {calls:?}");
    }
    assert!(calls.iter().all(|(_, member)| member.is_some()), "{calls:?}");
}

#[test]
fn who_was_down_before_a_restart_is_down_after_it_and_no_connection_is_lost() {
    // FLOW-7, PROBE-3
    let Some(net) = Net::flat("health-restart", 2) else { return };
    let rules = [
        Rule::floating("floating", Wire::Tcp, "65.52.0.1:80").probed_by("slow"),
        Rule::plain("plain", Wire::Tcp, "65.52.0.3:8080", 8000).probed_by("slow"),
    ];
    let _servers = net.serve(&rules);
    let patients = patients(&net);
    // Slow enough that a restart has no result for a while, and one result is enough for the first state.
    let probe = Probe { interval: Interval::Milliseconds(4_000), ..Probe::new("slow", "Http", ASKED) };
    let everybody: Vec<IpAddr> = net.members.iter().map(|member| member.v4.into()).collect();
    patients[0].set(BUSY);
    let mut balancer = Balancer::start(&net, &Document::new(&rules, everybody.clone()).probed(&[probe]));
    await_state(&balancer, "slow", everybody[0], "down");
    await_state(&balancer, "slow", everybody[1], "up");
    let mut sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, MANY)).collect();
    assert!(sessions.iter().all(|(_, member)| member == "vm2"));
    // It would be up for who knows nothing and asks once.
    patients[0].set(GOOD);
    let asked = patients[0].asked().len();
    balancer.kill();
    all_stay(&mut sessions, "killed");
    balancer.serve();
    all_stay(&mut sessions, "taken over");
    for rule in &rules {
        let new = open(&net, rule, MANY);
        let good = patients[0].asked().len() - asked;
        assert!(
            good >= 2 || new.iter().all(|(_, member)| member == "vm2"),
            "{}: {good} good answers",
            rule.name
        );
    }
    await_state(&balancer, "slow", everybody[0], "up");
    for rule in &rules {
        assert_eq!(reached(&net, rule), ["vm1", "vm2"], "{}", rule.name);
    }
    all_stay(&mut sessions, "vm1 is up");
}

/// What probes ask, of all members: vm1 over IPv4 and IPv6, then vm2.
pub fn patients(net: &Net) -> Vec<Patient> {
    let both = |member: &'_ crate::net::Member| {
        [true, false].map(|v4| Patient::start(member, SocketAddr::new(member.address(v4), ASKED), GOOD))
    };
    net.members.iter().flat_map(both).collect()
}

fn name(v4: bool) -> &'static str {
    if v4 { "alive4" } else { "alive6" }
}

fn all_up(net: &Net, balancer: &Balancer<'_>) {
    for member in &net.members {
        for v4 in [true, false] {
            await_state(balancer, name(v4), member.address(v4), "up");
        }
    }
}

/// What is shown of a member as a probe sees it.
pub fn pulse(balancer: &Balancer<'_>, probe: &str, member: IpAddr) -> Value {
    let health = balancer.json(&["show", "health"]);
    let groups = health["groups"].as_array().into_iter().flatten();
    let of_probe = groups.filter(|group| group["probe"] == format!("lb/{probe}"));
    let mut members = of_probe.flat_map(|group| group["members"].as_array().unwrap().clone());
    members.find(|shown| shown["address"] == member.to_string()).unwrap_or_default()
}

/// Waits until a member is shown in this state, and gives what is shown.
pub fn await_state(balancer: &Balancer<'_>, probe: &str, member: IpAddr, state: &str) -> Value {
    let mut found = Value::Null;
    eventually(SOON, || {
        found = pulse(balancer, probe, member);
        if found["state"] == state { Ok(()) } else { Err(found.clone()) }
    });
    found
}

pub fn await_because(balancer: &Balancer<'_>, probe: &str, member: IpAddr, because: &str) {
    eventually(SOON, || {
        let found = pulse(balancer, probe, member);
        if found["because"] == because { Ok(()) } else { Err(found) }
    });
}

/// The members that new flows of a rule reach, sorted.
pub fn reached(net: &Net, rule: &Rule) -> Vec<String> {
    let mut reached: Vec<String> = open(net, rule, MANY).into_iter().map(|(_, member)| member).collect();
    reached.sort();
    reached.dedup();
    reached
}

/// Asks over sessions that are with vm1 until one of them is answered by another member; gives when that one was asked.
fn until_elsewhere(net: &Net, rule: &Rule) -> Instant {
    const PAUSE: Duration = Duration::from_millis(1);
    let socket = std::iter::repeat_with(|| udp_socket(net.client(), net.client_address(0, true)).unwrap())
        .take(200)
        .find(|socket| udp_ask(socket, rule.frontend, SOON).unwrap().member == "vm1")
        .expect("one session in two is with vm1");
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        let asked = Instant::now();
        if udp_ask(&socket, rule.frontend, SOON).unwrap().member != "vm1" {
            return asked;
        }
        thread::sleep(PAUSE);
    }
    panic!("the session stays with vm1");
}

/// Asks over a session until it breaks; gives how and when.
fn until_broken(session: &mut Session, deadline: Instant) -> (Error, Instant) {
    loop {
        if let Err(cause) = session.ask() {
            return (cause, Instant::now());
        }
        assert!(Instant::now() < deadline, "{} goes on", session.local());
        thread::sleep(Duration::from_millis(10));
    }
}

/// Calls a frontend from these ports of a member; gives who answered each, if anybody did.
fn call(host: &Host, from: IpAddr, rule: &Rule, ports: std::ops::Range<u16>) -> Vec<(u16, Option<String>)> {
    let patience = Duration::from_millis(400);
    let one = |port| {
        let stream =
            host.within(|| dial(Some(SocketAddr::new(from, port)), rule.frontend, patience)).unwrap();
        let answer = stream.and_then(HttpConnection::over).and_then(|mut it| it.whoami());
        (port, answer.ok().map(|whoami| whoami.member))
    };
    ports.map(one).collect()
}
