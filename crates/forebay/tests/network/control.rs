//! The control plane: a client in another language builds a service over its interfaces, and real packets flow through it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::balancer::{Balancer, Said, said};
use crate::document::{Rule, Wire};
use crate::net::{ETH0, Net};
use crate::session::{Knock, Session, all_stay, distinct, eventually, knock, knock_until, open};

const VIP: &str = "65.52.0.20";
/// The one that Debian's modules are for.
const PYTHON: &str = "/usr/bin/python3";
const REALISED: Duration = Duration::from_secs(10);

/// The rules that the client makes.
fn rules() -> [Rule; 2] {
    [
        Rule::plain("web", Wire::Tcp, "65.52.0.20:80", 8000),
        Rule::plain("ssh", Wire::Tcp, "65.52.0.20:2222", 2022),
    ]
}

#[test]
fn a_service_built_over_the_network_controller_interface_carries_traffic_until_it_is_taken_down() {
    // API-1, NAT-1, RULE-1
    let Some(net) = with_python("control", 3) else { return };
    let rules = rules();
    let [web, ssh] = &rules;
    let _servers = net.serve(&rules);
    let balancer = Balancer::controlled(&net);
    assert_eq!(knock(net.client(), Wire::Tcp, web.frontend), Knock::Silence);

    controller(&net, &["build"]);
    knock_until(net.client(), web, Knock::Answered);
    let sessions = open(&net, web, 60);
    assert_eq!(distinct(sessions.iter().map(|(_, member)| member)).len(), 3);
    let bound = open(&net, ssh, 12);
    assert_eq!(
        distinct(bound.iter().map(|(_, member)| member)),
        ["vm1"].into(),
        "the NAT rule leads to one member"
    );

    // A member leaves its pool on its network interface: new flows avoid it.
    controller(&net, &["members", "--joined", "vm1", "--joined", "vm2"]);
    eventually(REALISED, || {
        let sessions = open(&net, web, 40);
        let members = distinct(sessions.iter().map(|(_, member)| member));
        if members == ["vm1", "vm2"].into() { Ok(()) } else { Err(format!("{members:?}")) }
    });

    // Nothing is left of it: no answer, no row, no resource.
    drop((sessions, bound));
    controller(&net, &["teardown"]);
    eventually(REALISED, || match knock(net.client(), Wire::Tcp, web.frontend) {
        Knock::Silence => Ok(()),
        heard @ (Knock::Answered | Knock::Refused) => Err(heard),
    });
    let stats = balancer.stats();
    for table in ["frontends", "rules", "members"] {
        assert_eq!(stats.0[table].as_array().map(Vec::len), Some(0), "{stats:?}");
    }
}

#[test]
fn what_is_accepted_is_there_after_a_kill_and_no_session_notices() {
    // API-3, FLOW-7
    let Some(net) = with_python("control-kill", 2) else { return };
    let rules = rules();
    let _servers = net.serve(&rules);
    let mut balancer = built(&net, &rules);
    let before = show(&net, "/loadBalancers/service");
    let mut sessions = open(&net, &rules[0], 40);
    balancer.kill();
    all_stay(&mut sessions, "while nobody serves");
    balancer.serve();
    all_stay(&mut sessions, "after the next start");
    let after = show(&net, "/loadBalancers/service");
    assert_eq!((&before["etag"], &before["instanceId"]), (&after["etag"], &after["instanceId"]));
    assert_eq!(open(&net, &rules[0], 20).len(), 20);
}

#[test]
fn the_interface_tells_accepted_and_realised_apart_down_to_each_member() {
    // API-4
    let Some(net) = with_python("control-states", 2) else { return };
    let rules = rules();
    let _servers = net.serve(&rules);
    let _balancer = built(&net, &rules);
    let frontend = "/loadBalancers/service/frontendIPConfigurations/fe";
    let state = || show(&net, frontend)["properties"]["configurationState"].clone();
    eventually(REALISED, || match state() {
        state if state["status"] == "Success" => Ok(()),
        state => Err(state),
    });
    let dips = |state: &Value, endpoint: &str| -> Vec<(String, String)> {
        let endpoints = state["vipEndpointStates"].as_array().unwrap();
        let found = endpoints.iter().find(|it| it["vipEndpoint"] == endpoint);
        let dips = found.unwrap_or_else(|| panic!("no {endpoint} in {state}"))["dipEndpointStates"]
            .as_array()
            .unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        dips.iter().map(|dip| (text(&dip["dipEndpoint"]), text(&dip["status"]))).collect()
    };
    let all_well = [("10.20.1.11:8000", "Success"), ("10.20.1.12:8000", "Success")];
    let owned = |dips: &[(&str, &str)]| -> Vec<_> {
        dips.iter().map(|(dip, status)| ((*dip).to_owned(), (*status).to_owned())).collect()
    };
    assert_eq!(dips(&state(), "Tcp:65.52.0.20:80"), owned(&all_well));
    assert_eq!(dips(&state(), "Tcp:65.52.0.20:2222"), owned(&[("10.20.1.11:2022", "Success")]));

    // One member's cable is out: the resource is as accepted as before, and says which member is not reached.
    net.front.set_plugged(&net.members[1].host, ETH0, false).unwrap();
    let _ = net.balancer.ip(&["neigh", "flush", "to", "10.20.1.12"]);
    eventually(Duration::from_secs(60), || {
        let shown = show(&net, frontend);
        let state = &shown["properties"]["configurationState"];
        let members = dips(state, "Tcp:65.52.0.20:80");
        let away = members == owned(&[("10.20.1.11:8000", "Success"), ("10.20.1.12:8000", "Failure")]);
        let accepted = shown["properties"]["provisioningState"] == "Succeeded";
        if away && accepted && state["status"] == "Warning" { Ok(()) } else { Err(shown) }
    });
    // What passes by is counted where the interface says so.
    let count = |name: &str| {
        let counters = show(&net, frontend)["properties"]["counters"].clone();
        let found = counters.as_array().unwrap().iter().find(|it| it["name"] == name).cloned();
        found.unwrap_or_else(|| panic!("no {name} in {counters}"))["currentValue"].as_f64().unwrap()
    };
    let before = count("TotalPackets");
    let mut session = Session::new(&net, &rules[1]);
    assert_eq!(session.member(), "vm1");
    eventually(REALISED, || match count("TotalPackets") {
        now if now > before => Ok(()),
        now => Err((before, now)),
    });
}

/// A balancer whose service was built by the client, and answers.
fn built<'a>(net: &'a Net, rules: &[Rule]) -> Balancer<'a> {
    let balancer = Balancer::controlled(net);
    controller(net, &["build"]);
    knock_until(net.client(), &rules[0], Knock::Answered);
    balancer
}

/// A client, a balancer, members, and Python with `requests` to speak to the balancer.
fn with_python(name: &str, members: u8) -> Option<Net> {
    let there = std::process::Command::new(PYTHON).args(["-c", "import requests"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        forebay::lab::skip_or_fail(
            "Python or its module `requests` is missing: apt-get install python3-requests",
        );
        return None;
    }
    Net::flat(name, members)
}

/// Runs the client on the balancer's host, which is the only one that may come without a credential.
fn controller(net: &Net, arguments: &[&str]) -> Said {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/network_controller.py");
    let ca = net.lab.folder().join("store/ca.pem");
    assert!(fs::exists(&ca).unwrap(), "the server made no certificate");
    let members: Vec<String> = net.members.iter().map(|it| format!("{}={}", it.name(), it.v4)).collect();
    let [program, ca] = [program, ca].map(|path| path.to_string_lossy().into_owned());
    let mut command = vec![PYTHON, &program];
    command.extend(arguments);
    command.extend(["--server", "https://127.0.0.1:8443", "--ca", &ca, "--vip", VIP]);
    for member in &members {
        command.extend(["--member", member]);
    }
    let said = said(&net.balancer, &command);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    said
}

/// A resource, as the interface shows it.
fn show(net: &Net, path: &str) -> Value {
    serde_json::from_str(&controller(net, &["show", "--path", path]).out).unwrap()
}
