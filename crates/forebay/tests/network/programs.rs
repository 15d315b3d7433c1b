//! Programs that people run: a web server and its clients, and a load generator.

use forebay::lab::{Process, nginx};
use serde_json::Value;

use crate::balancer::{Balancer, said};
use crate::document::{Document, Rule, Wire};
use crate::net::{Member, Net};
use crate::session::eventually;

#[test]
fn curl_gets_pages_from_nginx_with_and_without_floating_ip() {
    // RULE-1, FIP-1, FIP-2, FIP-3
    let Some(net) = Net::with("nginx-curl", &["curl", "nginx"], 2) else { return };
    let rules = [
        Rule::floating("floating-4", Wire::Tcp, "65.52.0.1:80"),
        Rule::floating("floating-6", Wire::Tcp, "[fd00:65::1]:80"),
        Rule::plain("plain-4", Wire::Tcp, "65.52.0.3:8080", 8000),
        Rule::plain("plain-6", Wire::Tcp, "[fd00:65::3]:8080", 8000),
    ];
    // The addresses only: nginx listens on them.
    drop(net.serve(&rules));
    let _nginx: Vec<Process> = net.members.iter().map(|member| page(&net, member, &rules)).collect();
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for rule in &rules {
        let url = format!("http://{}/", rule.frontend);
        let curl = |more: &[&str]| {
            let command =
                [&["curl", "-sS", "-g", "--max-time", "5", "--connect-timeout", "3"], more, &[&url]];
            said(net.client(), &command.concat())
        };
        eventually(std::time::Duration::from_secs(5), || match curl(&[]) {
            said if said.code == Some(0) => Ok(()),
            said => Err(said),
        });
        let mut reached = std::collections::BTreeSet::new();
        for _ in 0..24 {
            let said = curl(&[]);
            assert_eq!(said.code, Some(0), "{said:?}");
            let words: Vec<String> = said.out.split_whitespace().map(str::to_owned).collect();
            let [member, called, caller] = words.as_slice() else { panic!("{said:?}") };
            reached.insert(member.clone());
            let called: std::net::IpAddr = called.parse().unwrap();
            let caller: std::net::IpAddr = caller.parse().unwrap();
            let member = net.members.iter().find(|it| it.name() == member).unwrap();
            assert_eq!(called, rule.seen_at(member.address(rule.v4())).ip());
            let own = if rule.v4() { "10.20.1.2" } else { "fd00:20::2" }.parse().unwrap();
            let wanted = if rule.floating { net.client_address(0, rule.v4()).ip() } else { own };
            assert_eq!(caller, wanted);
        }
        assert_eq!(reached.len(), 2, "{}: {reached:?}", rule.name);
        // Four requests over one connection are one flow.
        let flows = || balancer.stats().rule(&rule.name)["flows"].as_u64().unwrap();
        let before = flows();
        let said = curl(&[
            "-o",
            "/dev/null",
            &url,
            "-o",
            "/dev/null",
            &url,
            "-o",
            "/dev/null",
            &url,
            "-o",
            "/dev/null",
        ]);
        assert_eq!((said.code, flows()), (Some(0), before + 1), "{said:?}");
    }
}

#[test]
fn iperf3_runs_over_tcp_and_udp_with_and_without_floating_ip() {
    // DIST-3, RULE-1
    let Some(net) = Net::with("iperf3", &["iperf3"], 2) else { return };
    let mut rules = Vec::new();
    for (family, floating, plain) in
        [(4, "65.52.0.1:5201", "65.52.0.3:5202"), (6, "[fd00:65::1]:5201", "[fd00:65::3]:5202")]
    {
        for wire in [Wire::Tcp, Wire::Udp] {
            let name = |kind: &str| format!("{kind}-{wire:?}-{family}").to_lowercase();
            // Its control connection and its data must reach the same server.
            rules.push(Rule::floating(&name("floating"), wire, floating).by("SourceIP"));
            rules.push(Rule::plain(&name("plain"), wire, plain, 5202).by("SourceIP"));
        }
    }
    drop(net.serve(&rules));
    let mut servers = Vec::new();
    for member in &net.members {
        for rule in rules.iter().filter(|rule| rule.wire == Wire::Tcp) {
            let at = rule.seen_at(member.address(rule.v4()));
            let (address, port) = (at.ip().to_string(), at.port().to_string());
            servers.push(member.host.spawn(&["iperf3", "-s", "-B", &address, "-p", &port]).unwrap());
        }
    }
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for rule in &rules {
        let (address, port) = (rule.frontend.ip().to_string(), rule.frontend.port().to_string());
        let mut command =
            vec!["iperf3", "-c", &address, "-p", &port, "-t", "1", "-J", "--connect-timeout", "3000"];
        if rule.wire == Wire::Udp {
            command.extend(["-u", "-b", "10M", "-l", "1200"]);
        }
        eventually(std::time::Duration::from_secs(15), || {
            let said = said(net.client(), &command);
            let report: Value = serde_json::from_str(&said.out).unwrap_or_default();
            let end = &report["end"];
            let (packets, lost) = (end["sum"]["packets"].as_u64(), end["sum"]["lost_packets"].as_u64());
            let is_good = match rule.wire {
                Wire::Tcp => end["sum_received"]["bytes"].as_u64() > Some(1_000_000),
                // A server that sleeps for a tenth of a second loses more.
                Wire::Udp => packets.zip(lost).is_some_and(|(all, lost)| all > 500 && lost * 50 < all),
            };
            // A server that is still busy with the run before says so.
            if said.code == Some(0) && is_good { Ok(()) } else { Err((&rule.name, said)) }
        });
    }
    let stats = balancer.stats();
    for rule in &rules {
        assert!(stats.rule(&rule.name)["flows"].as_u64().unwrap() >= 1, "{}", rule.name);
    }
    let dropped =
        ["Malformed", "Fragment", "NoRule", "Unresolved", "TableFull"].map(|why| stats.verdict(why));
    assert_eq!(dropped, [0; 5]);
}

/// An nginx on a member that says who it is, which address was called, and by whom.
fn page(net: &Net, member: &Member, rules: &[Rule]) -> Process {
    let listen: String =
        rules.iter().map(|rule| format!("listen {};\n", rule.seen_at(member.address(rule.v4())))).collect();
    let name = member.name();
    let server = format!(
        "server {{\n{listen}location / {{ return 200 \"{name} $server_addr $remote_addr\\n\"; }} }}\n"
    );
    nginx(&net.lab, &member.host, 64, &server).unwrap()
}
