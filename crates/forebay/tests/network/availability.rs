//! How available frontends are, found out by the balancer's own calls to them: over every path, when probes know nothing of it, and
//! after the process was killed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use forebay::lab::{Host, Need, install, require, skip_or_fail};
use serde_json::Value;

use crate::balancer::{Balancer, Settings, said};
use crate::document::{Document, Probe, Rule, Wire, floating, floating_and_plain, plain};
use crate::health::{ASKED, await_state, patients, pulse};
use crate::net::{ETH0, Net, Shape, installed};
use crate::patient::BUSY;
use crate::session::{Knock, all_stay, eventually, expect, open};

/// As long as it takes until six calls a second apart are answered, or nobody has answered six of them for two seconds each.
const SOON: Duration = Duration::from_secs(25);
/// What is known of a rule that always answers, and of one that never does.
const WHOLE: [u64; 2] = [6, 6];
const NONE: [u64; 2] = [0, 6];

#[test]
fn every_frontend_is_called_over_every_path_and_members_keep_nothing_of_it() {
    // PROBE-10
    let Some(net) = Net::flat("available", 2) else { return };
    let rules = floating_and_plain();
    let servers = net.serve(&rules);
    let balancer =
        measuring(Balancer::prepare(&net, &Document::new(&rules, net.everybody()), Settings::default()));
    all_are_available(&balancer, &rules);
    // What is called is the kernel's, which answers; the server hears nothing of a connection that nobody completes.
    assert!(servers.http.iter().all(|server| server.connections() == 0));
    // A member is told at once that nobody wants its connection; where the balancer masquerades, when it asks for the fifth time.
    let is_floating =
        |half_open: &String| rules.iter().any(|it| it.floating && half_open.contains(&port(it)));
    eventually(SOON, || {
        let left: Vec<String> = net.members.iter().flat_map(|member| half_open(&member.host)).collect();
        if left.iter().any(is_floating) { Err(left) } else { Ok(()) }
    });
    let counted = balancer.stats();
    for rule in &rules {
        let flows = counted.rule(&rule.name)["flows"].as_u64().unwrap();
        assert_eq!(flows > 0, rule.wire == Wire::Tcp, "{}: {flows} flows", rule.name);
    }
    // The doorway is the balancer's own: clients come in by eth0, where frontends are announced.
    assert_eq!(counted.0["interfaces"], serde_json::json!([{"name": "eth0", "mode": "native"}]));
    let listens = net.balancer.ip(&["maddr", "show"]).unwrap();
    assert_eq!(listens.matches("33:33:ff:00:00:01").count(), 1, "{listens}");
    let health = balancer.forebay(&["show", "health"]).out;
    let line = health.lines().find(|line| line.starts_with("lb/floating-tcp-6 ")).unwrap();
    assert!(
        line.contains(" [fd00:65::1]:80 ") && line.contains(" 100 % ") && line.contains(" 6 of 6 "),
        "{line}"
    );
}

#[test]
fn frontends_of_members_behind_a_gateway_are_called_too() {
    // PROBE-10
    let Some(net) = Net::new("available-gateway", Shape::TwoSided, 2) else { return };
    let to_other = |rule: Rule| if rule.wire == Wire::Tcp { rule.leading_to(8080) } else { rule };
    let rules: Vec<Rule> = floating().into_iter().map(to_other).chain(plain()).collect();
    let _servers = net.serve(&rules);
    let document = Document::through_gateway(&rules, net.everybody());
    let balancer = measuring(Balancer::prepare(&net, &document, Settings::default()));
    all_are_available(&balancer, &rules);
    eventually(SOON, || {
        let left: Vec<String> = net.members.iter().flat_map(|member| half_open(&member.host)).collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    // And it forwards as it did.
    for rule in &rules {
        expect(net.client(), rule, Knock::Answered);
    }
}

#[test]
fn a_member_that_its_probe_finds_up_and_no_client_reaches_makes_its_frontend_unavailable() {
    // PROBE-10
    if let Err(missing) = require(&[Need::Nft]) {
        return skip_or_fail(missing);
    }
    if !installed("curl") {
        return skip_or_fail(install("curl"));
    }
    let Some(net) = Net::flat("unavailable", 1) else { return };
    let rules = [
        Rule::floating("floating", Wire::Tcp, "65.52.0.10:80").probed_by("alive4"),
        Rule::plain("plain", Wire::Tcp, "65.52.0.11:8080", 8000).probed_by("alive4"),
    ];
    let _servers = net.serve(&rules);
    let _patients = patients(&net);
    let member = &net.members[0];
    // The guest's set-up is missing: nobody there has the frontend's address.
    member.host.ip(&["addr", "del", "65.52.0.10/32", "dev", "lo"]).unwrap();
    let balancer = measuring(Balancer::prepare_controlled(&net));
    let document =
        Document::new(&rules, vec![member.v4.into()]).probed(&[Probe::new("alive4", "Http", ASKED)]);
    let file = net.lab.write("lb.json", &document.with_network()).unwrap().display().to_string();
    assert_eq!(balancer.client(&["apply", "-f", &file]).code, Some(0));
    let found = await_state(&balancer, "alive4", member.v4.into(), "up");
    assert_eq!(found["takesNewFlows"], true, "{found}");
    await_last(&balancer, &[("floating", NONE), ("plain", WHOLE)]);
    check_metrics(&net, [("floating", "65.52.0.10", "80", "0.0"), ("plain", "65.52.0.11", "8080", "1.0")]);

    // Its firewall lets the probe in, and no clients.
    member.host.loopback_address("65.52.0.10/32").unwrap();
    let rules = "table inet f { chain i { type filter hook input priority 0; tcp dport 8000 drop; }; }";
    member.host.must(&["nft", rules]).unwrap();
    await_last(&balancer, &[("floating", WHOLE), ("plain", NONE)]);
    assert_eq!(pulse(&balancer, "alive4", member.v4.into())["state"], "up");
    // Who refuses is not available either.
    member.host.must(&["nft", "flush", "ruleset"]).unwrap();
    await_last(&balancer, &[("floating", WHOLE), ("plain", WHOLE)]);
    let refuse = "table inet f { chain i { type filter hook input priority 0; tcp dport 80 reject with tcp reset; }; }";
    member.host.must(&["nft", refuse]).unwrap();
    await_last(&balancer, &[("floating", NONE), ("plain", WHOLE)]);
}

#[test]
fn a_frontend_is_available_as_long_as_one_member_is_and_again_when_one_is_back() {
    // PROBE-10
    let Some(net) = Net::flat("available-dead", 2) else { return };
    let rules = [
        Rule::floating("floating", Wire::Tcp, "65.52.0.1:80").probed_by("alive4"),
        Rule::plain("plain", Wire::Tcp, "[fd00:65::3]:8080", 8000).probed_by("alive6"),
    ];
    let _servers = net.serve(&rules);
    let patients = patients(&net);
    let probes = [Probe::new("alive4", "Http", ASKED), Probe::new("alive6", "Http", ASKED)];
    let document = Document::new(&rules, net.everybody()).probed(&probes);
    let balancer = measuring(Balancer::prepare(&net, &document, Settings::default()));
    let both = |last: [u64; 2]| [("floating", last), ("plain", last)];
    await_last(&balancer, &both(WHOLE));
    let down = |number: usize| {
        let addresses = [net.members[number].v4.into(), IpAddr::from(net.members[number].v6)];
        for (probe, address) in ["alive4", "alive6"].into_iter().zip(addresses) {
            await_state(&balancer, probe, address, "down");
        }
    };
    // One dies, and its probe knows: the other one answers all of them.
    net.back.set_plugged(&net.members[0].host, ETH0, false).unwrap();
    down(0);
    await_last(&balancer, &both(WHOLE));
    // The other one serves, and says that it had better not: nobody takes new flows.
    patients[2..].iter().for_each(|patient| patient.set(BUSY));
    down(1);
    await_last(&balancer, &both(NONE));
    net.back.set_plugged(&net.members[0].host, ETH0, true).unwrap();
    await_last(&balancer, &both(WHOLE));
}

#[test]
fn the_doorway_outlives_the_process_is_opened_again_and_goes_with_the_data_path() {
    // FLOW-7, PROBE-10
    let Some(net) = Net::flat("doorway", 2) else { return };
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let mut balancer =
        measuring(Balancer::prepare(&net, &Document::new(&rules, net.everybody()), Settings::default()));
    all_are_available(&balancer, &rules);
    let mut sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, 3)).collect();
    let before = doorway(&net.balancer);
    assert_eq!(before.len(), 2, "{before:?}");
    balancer.kill();
    assert_eq!(doorway(&net.balancer), before);
    balancer.serve();
    all_are_available(&balancer, &rules);
    assert_eq!(doorway(&net.balancer), before, "the same one is used again");

    // Somebody takes it away.
    let inner = before.keys().find(|name| name.starts_with("fb-in-")).unwrap();
    net.balancer.ip(&["link", "del", "dev", inner]).unwrap();
    eventually(SOON, || match doorway(&net.balancer) {
        ends if ends.len() == 2 && ends != before => Ok(()),
        ends => Err(ends),
    });
    all_are_available(&balancer, &rules);

    // It goes with the data path, and also where it is not wanted any more.
    balancer.stop();
    assert_eq!(doorway(&net.balancer).len(), 2);
    assert_eq!(balancer.detach().code, Some(0));
    assert_eq!(doorway(&net.balancer), BTreeMap::new());
    balancer.serve();
    eventually(SOON, || if doorway(&net.balancer).len() == 2 { Ok(()) } else { Err("closed") });
    balancer.stop();
    let text = std::fs::read_to_string(&balancer.config).unwrap();
    net.lab.write("forebay.toml", &text.replace("availability = true", "availability = false")).unwrap();
    balancer.serve();
    assert_eq!(doorway(&net.balancer), BTreeMap::new());
    let shown = balancer.json(&["show", "health"]);
    assert!(shown.get("availability").is_none(), "{shown}");
    balancer.await_members();
    for rule in &rules {
        expect(net.client(), rule, Knock::Answered);
    }
    let mut connections: Vec<_> = sessions.drain(..).filter(|(it, _)| is_floating_tcp(it)).collect();
    all_stay(&mut connections, "whatever became of the doorway");
}

/// Connections that need nothing remembered outlive a data path that was taken away and came again.
fn is_floating_tcp(session: &crate::session::Session) -> bool {
    match session {
        crate::session::Session::Tcp(connection) => connection.peer().port() == 80,
        crate::session::Session::Udp(..) => false,
    }
}

/// Starts it, calling its frontends each second.
pub fn measuring(mut balancer: Balancer<'_>) -> Balancer<'_> {
    let text = std::fs::read_to_string(&balancer.config).unwrap();
    std::fs::write(&balancer.config, text + "[health]\navailability = true\navailability_interval = 1\n")
        .unwrap();
    balancer.serve();
    balancer
}

/// What `show health` says of the last calls to each rule: how many were answered, of how many.
fn last(balancer: &Balancer<'_>) -> BTreeMap<String, [u64; 2]> {
    let shown = balancer.json(&["show", "health"]);
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap();
    let row = |row: &Value| {
        let rule = row["rule"].as_str().unwrap().strip_prefix("lb/").unwrap().to_owned();
        (rule, [number(row, "lastAnswers"), number(row, "lastCalls")])
    };
    shown["availability"].as_array().into_iter().flatten().map(row).collect()
}

fn await_last(balancer: &Balancer<'_>, wanted: &[(&str, [u64; 2])]) {
    let wanted: BTreeMap<String, [u64; 2]> =
        wanted.iter().map(|(rule, last)| ((*rule).to_owned(), *last)).collect();
    eventually(SOON, || {
        let last = last(balancer);
        if last == wanted { Ok(()) } else { Err(last) }
    });
}

/// All rules for TCP are, and of the others nothing is said.
pub fn all_are_available(balancer: &Balancer<'_>, rules: &[Rule]) {
    let tcp = rules.iter().filter(|rule| rule.wire == Wire::Tcp);
    await_last(balancer, &tcp.map(|rule| (rule.name.as_str(), WHOLE)).collect::<Vec<_>>());
}

/// Both ends of the doorway with their interface indexes, as far as they are there.
fn doorway(host: &Host) -> BTreeMap<String, u32> {
    let shown = host.ip(&["-o", "link", "show"]).unwrap();
    let end = |line: &str| {
        let (index, rest) = line.split_once(": ")?;
        let name = rest.split(['@', ':']).next()?;
        name.starts_with("fb-").then(|| (name.to_owned(), index.parse().unwrap()))
    };
    shown.lines().filter_map(end).collect()
}

/// Connections that a host has accepted, and nobody has confirmed.
fn half_open(host: &Host) -> Vec<String> {
    const SYN_RECV: &str = "03";
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| host.must(&["cat", table]).unwrap());
    let rows = tables.iter().flat_map(|table| table.lines());
    rows.filter(|row| row.split_whitespace().nth(3) == Some(SYN_RECV)).map(str::to_owned).collect()
}

/// A rule's port as the kernel's tables have it, with what stands around it.
fn port(rule: &Rule) -> String {
    format!(":{:04X} ", rule.frontend.port())
}

/// What Prometheus reads says that the probe is content, and of each rule how available it is.
fn check_metrics(net: &Net, rules: [(&str, &str, &str, &str); 2]) {
    let ca = net.lab.folder().join("store/ca.pem").display().to_string();
    let read = said(&net.balancer, &["curl", "-sS", "--cacert", &ca, "https://127.0.0.1:8443/metrics"]);
    let has = |start: &str, end: &str| {
        let found = read.out.lines().any(|line| line.starts_with(start) && line.ends_with(end));
        assert!(found, "{start}…{end} is not in\n{}{}", read.out, read.err);
    };
    for (rule, address, port, available) in rules {
        let labels = format!(
            "{{rule=\"lb/{rule}\",frontend_ip_address=\"{address}\",frontend_port=\"{port}\",protocol_type=\"tcp\""
        );
        has(&format!("forebay_health_probe_status{labels},"), " 1");
        has(&format!("forebay_data_path_availability{labels}}}"), &format!(" {available}"));
    }
}
