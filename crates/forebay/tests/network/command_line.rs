//! The commands people type.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use nix::mount::{MntFlags, umount2};
use serde_json::Value;

use crate::balancer::{Balancer, FOREBAY, Settings, forebay, said};
use crate::document::{Document, Rule, Wire, floating_and_plain, plain};
use crate::net::{ETH0, Net, Shape};
use crate::session::{Session, choices, open};

#[test]
fn check_says_everything_that_is_wrong_with_files_folders_and_standard_input() {
    // API-2
    let Some(net) = Net::flat("check", 1) else { return };
    let rules = floating_and_plain();
    let good = Document::new(&rules, net.everybody());
    let mut bad = good.json();
    bad["properties"]["loadBalancingRules"][0]["properties"]["frontendPort"] = 0.into();
    bad["properties"]["loadBalancingRules"][1]["properties"]["protocol"] = "Dccp".into();
    let good = net.lab.write("good/lb.json", &good.text()).unwrap().display().to_string();
    let bad = net.lab.write("bad/lb.json", &bad.to_string()).unwrap().display().to_string();
    let folder = |file: &str| PathBuf::from(file).parent().unwrap().display().to_string();
    let check = |arguments: &[&str]| forebay(net.client(), &[&["check"], arguments].concat());

    for path in [good.clone(), folder(&good)] {
        let said = check(&[&path]);
        let out = "1 document file: nothing is wrong\n";
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), out, ""));
    }
    let said = check(&[&good, "--json"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "[]\n"));

    let said = check(&[&bad]);
    assert_eq!(said.code, Some(1));
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(
        (lines.len(), lines.last().copied()),
        (3, Some("2 problems; nothing was applied")),
        "{}",
        said.out
    );
    for (rule, field, code) in
        [("floating-tcp-4", "frontendPort", "OutOfRange"), ("floating-udp-4", "protocol", "UnknownValue")]
    {
        let starts = format!("lb: loadBalancingRules/{rule}/{field}: ");
        let named = |line: &&str| line.starts_with(&starts) && line.ends_with(&format!("({code})"));
        assert!(lines.iter().any(named), "{}", said.out);
    }
    let said = check(&[&folder(&bad), "--json"]);
    assert_eq!(said.code, Some(1));
    let problems: Vec<Value> = serde_json::from_str(&said.out).unwrap();
    assert_eq!(problems.len(), 2);
    let keys: Vec<&String> = problems[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["document", "path", "code", "message"]);

    for (file, code) in [(&good, 0), (&bad, 1)] {
        let said = said_of(&net, &format!("{FOREBAY} check - < {file}"));
        assert_eq!(said.0, Some(code), "{said:?}");
    }
    let nowhere = net.lab.folder().join("nowhere.json").display().to_string();
    let said = check(&[&nowhere]);
    let wanted = format!("forebay: could not read {nowhere}: No such file or directory (os error 2)\n");
    assert_eq!((said.code, said.err), (Some(2), wanted));
    let empty = net.lab.folder().join("empty");
    fs::create_dir(&empty).unwrap();
    let said = check(&[&empty.display().to_string()]);
    assert_eq!(
        (said.code, said.err),
        (Some(2), format!("forebay: there is no *.json in {}\n", empty.display()))
    );
    assert_eq!(check(&[]).code, Some(2));
}

#[test]
fn trace_says_where_the_real_connection_goes() {
    // DIST-7
    let Some(net) = Net::flat("trace", 3) else { return };
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let macs: Vec<(String, String)> = net
        .members
        .iter()
        .map(|member| {
            let mac = member.host.mac(ETH0).unwrap().map(|byte| format!("{byte:02x}")).join(":");
            (mac, member.name().to_owned())
        })
        .collect();
    for rule in &rules {
        for port in 23_000..23_006 {
            let mut from = net.client_address(0, rule.v4());
            from.set_port(port);
            let trace = trace(&balancer, from, rule);
            assert_eq!(trace["verdict"], "sent to the member");
            let station = trace["sent"]["station"].as_str().unwrap();
            let (_, traced) = macs.iter().find(|(mac, _)| mac == station).expect("a member's station");
            let destination: SocketAddr = trace["sent"]["destination"].as_str().unwrap().parse().unwrap();
            let member = net.members.iter().find(|member| member.name() == traced).unwrap();
            assert_eq!(destination, rule.seen_at(member.address(rule.v4())));
            let real = choices(&net, rule, std::iter::once(port));
            assert_eq!(real[&port], *traced, "{} from {from}", rule.name);
        }
    }
    let counted = balancer.stats().verdict("Forwarded");
    let said = balancer.forebay(&["trace", "--from", "10.20.1.100:5000", "--to", "65.52.0.1:81"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.out.ends_with("\ndropped: no rule has this frontend address, protocol and port\n"),
        "{}",
        said.out
    );
    let said = balancer.forebay(&["trace", "--from", "10.20.1.100:5000", "--to", "65.52.0.1:80"]);
    assert!(said.out.contains("addresses: ") && said.out.contains("slots: ring "), "{}", said.out);
    let said = balancer.forebay(&["trace", "--from", "10.20.1.100:5000", "--to", "10.20.1.11:80"]);
    assert!(said.out.ends_with("passed to the host: no frontend has this address\n"), "{}", said.out);
    let stats = balancer.stats();
    assert_eq!((stats.verdict("Forwarded"), stats.verdict("NoRule")), (counted, 0), "a trace was counted");
    // Addresses of two families cannot be one packet's.
    let said = balancer.forebay(&["trace", "--from", "10.20.1.100:5000", "--to", "[fd00:65::1]:80"]);
    let wanted = "forebay: no packet goes from 10.20.1.100:5000 to [fd00:65::1]:80: name two addresses of one family\n";
    assert_eq!((said.code, said.err.as_str()), (Some(2), wanted));
}

#[test]
fn show_prints_tables_flows_and_what_was_counted() {
    // RULE-2
    let Some(net) = Net::flat("show", 2) else { return };
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let show = |what: &str| {
        let said = balancer.forebay(&["show", what]);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
        said.out
    };
    let none = "nothing is remembered: in steady state a TCP flow's slot tells its member\n";
    assert_eq!(show("flows"), none);
    let mut sessions: Vec<(Session, String)> = rules.iter().flat_map(|rule| open(&net, rule, 2)).collect();
    let flows = show("flows");
    for (session, _) in &mut sessions {
        let local = session.local();
        let frontend = match session {
            Session::Tcp(connection) => connection.peer(),
            Session::Udp(_, to) => *to,
        };
        let is_masqueraded = rules.iter().any(|rule| rule.frontend == frontend && !rule.floating);
        let shown = flows
            .lines()
            .any(|line| line.contains(&local.to_string()) && line.contains(&frontend.to_string()));
        assert_eq!(shown, is_masqueraded, "{local} to {frontend}:\n{flows}");
    }
    assert_eq!(balancer.flows()["masqueraded"].as_array().unwrap().len(), 8);
    let remembered = balancer.flows()["remembered"].clone();
    let number = remembered.as_array().unwrap().iter().map(|row| row["flows"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(number, 4, "the UDP sessions of rules with floating IP");

    let stats = show("stats");
    assert!(stats.starts_with(&format!("balancer {}  eth0 (native XDP)\n", balancer.name)), "{stats}");
    for heading in ["FRONTEND ", "RULE ", "POOL ", "VERDICT "] {
        assert!(stats.lines().any(|line| line.starts_with(heading)), "{heading} is missing:\n{stats}");
    }
    assert!(
        stats.contains("remembered: 4 of 65536 flows, 8 of 65536 masqueraded; 0 slots changing\n"),
        "{stats}"
    );

    let tables = show("tables");
    for address in ["65.52.0.1", "fd00:65::3", "10.20.1.11", "fd00:20::12", "10.20.1.2"] {
        assert!(tables.contains(address), "{address} is missing:\n{tables}");
    }
    assert_eq!(tables, show("tables"), "it is the same text each time");
}

#[test]
fn the_name_may_be_left_out_where_there_is_one_balancer() {
    let Some(net) = Net::new("names", Shape::TwoSided, 1) else { return };
    let state = State(net.lab.folder().join("state"));
    let shown = state.0.display().to_string();
    let rules = plain();
    let document = Document::new(&rules, net.everybody());
    let show = || forebay(&net.balancer, &["show", "stats", "--state", &shown]);
    let none = "forebay: no data path is loaded on this host, or it takes root to see it; start one with `forebay serve`\n";
    assert_eq!((show().code, show().err.as_str()), (Some(2), none));

    let prepared = Balancer::prepare(&net, &document, Settings::default());
    let text = fs::read_to_string(&prepared.config).unwrap();
    let mut running = Vec::new();
    for (name, interface) in [("left", "eth0"), ("right", "eth1")] {
        let text = text
            .replace(
                &format!("name = \"{}\"", prepared.name),
                &format!("name = \"{name}\"\nstate = \"{shown}\""),
            )
            .replace("[\"eth0\", \"eth1\"]", &format!("[\"{interface}\"]"));
        let config = net.lab.write(&format!("{name}.toml"), &text).unwrap().display().to_string();
        let mut process = net.balancer.spawn(&[FOREBAY, "serve", "--config", &config]).unwrap();
        process.await_line(&["ready:"], std::time::Duration::from_secs(15)).unwrap();
        running.push(process);
        if name == "left" {
            let said = show();
            assert_eq!(said.code, Some(0), "{said:?}");
            assert!(said.out.starts_with("balancer left  eth0 (native XDP)\n"), "{}", said.out);
        }
    }
    let both = show();
    assert_eq!((both.code, both.err.as_str()), (Some(2), "forebay: say which with --name: left, right\n"));
    let unknown = forebay(&net.balancer, &["show", "stats", "--state", &shown, "--name", "middle"]);
    let wanted = "forebay: no data path named `middle` is loaded (there is left, right); start it with `forebay serve`\n";
    assert_eq!((unknown.code, unknown.err.as_str()), (Some(2), wanted));
    for (process, name) in running.iter_mut().zip(["left", "right"]) {
        assert!(process.stop(std::time::Duration::from_secs(5)).unwrap().success());
        let said = forebay(&net.balancer, &["detach", "--state", &shown, "--name", name]);
        assert_eq!((said.code, said.out), (Some(0), format!("the data path `{name}` is gone\n")));
    }
    assert_eq!(show().err, none);
}

#[test]
fn what_is_not_understood_is_refused_with_a_hint() {
    let Some(net) = Net::flat("words", 1) else { return };
    for (words, wanted) in [
        (vec!["shov"], "unrecognized subcommand 'shov'"),
        (vec!["show", "table"], "[possible values: tables, flows, stats, health]"),
        (vec!["trace", "--from", "10.0.0.1", "--to", "10.0.0.2:80"], "invalid value '10.0.0.1' for '--from"),
        (vec!["trace", "--to", "10.0.0.2:80"], "--from <ADDRESS:PORT>"),
        (vec!["demo", "--keep", "--simulate"], "cannot be used with"),
    ] {
        let said = forebay(net.client(), &words);
        assert!(said.code == Some(2) && said.err.contains(wanted), "{words:?}: {said:?}");
    }
    let said = forebay(net.client(), &["--version"]);
    assert_eq!((said.code, said.out), (Some(0), format!("forebay {}\n", env!("CARGO_PKG_VERSION"))));
}

fn trace(balancer: &Balancer<'_>, from: SocketAddr, rule: &Rule) -> Value {
    let proto = match rule.wire {
        Wire::Tcp => "tcp",
        Wire::Udp => "udp",
    };
    balancer.json(&[
        "trace",
        "--from",
        &from.to_string(),
        "--to",
        &rule.frontend.to_string(),
        "--proto",
        proto,
    ])
}

/// Exit code and output of a shell's line on the client.
fn said_of(net: &Net, line: &str) -> (Option<i32>, String) {
    let said = said(net.client(), &["sh", "-c", line]);
    (said.code, said.out + &said.err)
}

/// A state folder of a test's own, with the file system that `serve` mounts in it.
struct State(PathBuf);

impl Drop for State {
    fn drop(&mut self) {
        // Where nothing was mounted there is nothing to take away.
        let _ = umount2(&self.0.join("bpf"), MntFlags::MNT_DETACH);
    }
}
