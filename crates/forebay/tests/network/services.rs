//! Services that people run behind a balancer: names by DNS, pages over TLS behind two frontends that share a port, and one long transfer.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use forebay::lab::{Process, nginx};

use crate::balancer::{Balancer, Said, said};
use crate::document::{Document, Rule, Wire};
use crate::net::{Member, Net};
use crate::session::eventually;

/// How long a server may take to come up.
const START: Duration = Duration::from_secs(8);
/// A tenth of the size that is promised to pass; `FOREBAY_GIGABYTES` says another.
const GIGABYTES: u64 = 1;

#[test]
fn dnsmasq_answers_dig_over_udp_and_tcp() {
    // RULE-1, FIP-3
    let Some(net) = Net::with("dns", &["dnsmasq", "dig"], 2) else { return };
    let both = |name: &str, frontend: &str, port: Option<u16>| {
        [Wire::Udp, Wire::Tcp].map(|wire| {
            let name = format!("{name}-{wire:?}").to_lowercase();
            match port {
                None => Rule::floating(&name, wire, frontend),
                Some(port) => Rule::plain(&name, wire, frontend, port),
            }
        })
    };
    let rules = [
        both("floating-4", "65.52.0.1:53", None),
        both("floating-6", "[fd00:65::1]:53", None),
        both("plain-4", "65.52.0.3:53", Some(5_353)),
        both("plain-6", "[fd00:65::3]:53", Some(5_353)),
    ]
    .concat();
    // The addresses only: dnsmasq listens on them.
    drop(net.serve(&rules));
    let _servers: Vec<Process> =
        net.members.iter().flat_map(|member| dnsmasq(&net, member, &rules)).collect();
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for rule in &rules {
        let (address, port) = (rule.frontend.ip().to_string(), rule.frontend.port().to_string());
        let ask = |name: &str, kind: &str| {
            let over = if rule.wire == Wire::Tcp { "+tcp" } else { "+notcp" };
            let server = format!("@{address}");
            said(
                net.client(),
                &["dig", "+short", "+tries=1", "+time=10", "+ignore", over, &server, "-p", &port, kind, name],
            )
        };
        eventually(START, || match ask("who.test", "TXT") {
            said if said.code == Some(0) && !said.out.is_empty() => Ok(()),
            said => Err(said),
        });
        let mut answered = BTreeSet::new();
        for _ in 0..24 {
            let said = ask("who.test", "TXT");
            assert_eq!(said.code, Some(0), "{}: {said:?}", rule.name);
            answered.insert(said.out.trim().trim_matches('"').to_owned());
        }
        let names: BTreeSet<String> = net.members.iter().map(|member| member.name().to_owned()).collect();
        assert_eq!(answered, names, "{}", rule.name);
        // An answer that does not fit into the smallest of packets.
        let said = ask("long.test", "TXT");
        assert!(said.out.len() > 700, "{}: {said:?}", rule.name);
    }
    let stats = balancer.stats();
    assert_eq!(["Malformed", "NoRule", "Unresolved"].map(|why| stats.verdict(why)), [0; 3]);
}

#[test]
fn a_tls_service_behind_two_floating_frontends_shares_one_port_of_its_members() {
    // FIP-4, FIP-2
    let Some(net) = Net::with("tls", &["nginx", "curl"], 2) else { return };
    let sites = ["one.test", "two.test"];
    let rules = [
        Rule::floating("one-4", Wire::Tcp, "65.52.0.1:443"),
        Rule::floating("two-4", Wire::Tcp, "65.52.0.2:443"),
        Rule::floating("one-6", Wire::Tcp, "[fd00:65::1]:443"),
        Rule::floating("two-6", Wire::Tcp, "[fd00:65::2]:443"),
    ];
    drop(net.serve(&rules));
    for site in sites {
        certificate(net.lab.folder(), site);
    }
    let _servers: Vec<Process> = net
        .members
        .iter()
        .map(|member| {
            let servers: Vec<String> = rules
                .iter()
                .zip(sites.iter().cycle())
                .map(|(rule, site)| {
                    let folder = net.lab.folder().display();
                    format!(
                        "server {{ listen {} ssl; ssl_certificate {folder}/{site}.pem; ssl_certificate_key {folder}/{site}.key;\n\
                         location / {{ return 200 \"{} {site}\\n\"; }} }}\n",
                        rule.frontend,
                        member.name()
                    )
                })
                .collect();
            nginx(&net.lab, &member.host, 64, &servers.concat()).unwrap()
        })
        .collect();
    let _balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for (rule, site) in rules.iter().zip(sites.iter().cycle()) {
        let ask = |site: &str, authority: &str| -> Said {
            let at = format!("{site}:443:{}", rule.frontend.ip());
            let url = format!("https://{site}/");
            let authority = net.lab.folder().join(format!("{authority}.pem")).display().to_string();
            let fixed = [
                "curl",
                "-sS",
                "--noproxy",
                "*",
                "--max-time",
                "5",
                "--cacert",
                &authority,
                "--resolve",
                &at,
                &url,
            ];
            said(net.client(), &fixed)
        };
        eventually(START, || match ask(site, site) {
            said if said.code == Some(0) => Ok(()),
            said => Err(said),
        });
        let mut reached = BTreeSet::new();
        for _ in 0..24 {
            let said = ask(site, site);
            assert_eq!(said.code, Some(0), "{}: {said:?}", rule.name);
            let (member, answered) = said.out.trim().split_once(' ').unwrap();
            assert_eq!(answered, *site, "{}", rule.name);
            reached.insert(member.to_owned());
        }
        assert_eq!(reached.len(), 2, "{}: {reached:?}", rule.name);
        // The other site's certificate is not shown here, though the port of the members is the same.
        let other = sites.iter().find(|other| *other != site).unwrap();
        let refused = ask(site, other);
        assert_eq!(refused.code, Some(60), "{}: {refused:?}", rule.name);
    }
}

#[test]
fn a_long_transfer_goes_on_while_members_come_and_go() {
    // DIST-2, FIP-3
    let Some(net) = Net::with("transfer", &["nginx", "curl"], 4) else { return };
    let gigabytes = env::var("FOREBAY_GIGABYTES").map_or(GIGABYTES, |text| text.parse().expect("a number"));
    let size = gigabytes * 1_000_000_000;
    let rules = [
        // All of it passes the balancer; and only the client's acknowledgements do.
        Rule::plain("plain", Wire::Tcp, "65.52.0.3:80", 8_000),
        Rule::floating("floating", Wire::Tcp, "65.52.0.1:80"),
    ];
    drop(net.serve(&rules));
    File::create(net.lab.folder().join("long")).unwrap().set_len(size / 2).unwrap();
    let _servers: Vec<Process> = net
        .members
        .iter()
        .map(|member| {
            let listen: String = rules
                .iter()
                .map(|rule| format!("listen {};\n", rule.seen_at(member.address(true))))
                .collect();
            let root = net.lab.folder().display();
            let server = format!(
                "server {{\n{listen} sendfile on; root {root}; add_header Who {}; }}\n",
                member.name()
            );
            nginx(&net.lab, &member.host, 64, &server).unwrap()
        })
        .collect();
    let everybody = Document::new(&rules, net.everybody());
    let mut balancer = Balancer::start(&net, &everybody);
    let began = Instant::now();
    let mut transfers: Vec<(Process, String)> = rules
        .iter()
        .map(|rule| {
            let url = format!("http://{}/long", rule.frontend);
            let head = net.lab.folder().join(format!("{}.head", rule.name)).display().to_string();
            let said = "%{http_code} %{size_download} %{num_connects}\n";
            let command = ["curl", "-sS", "--noproxy", "*", "-D", &head, "-o", "/dev/null", "-w", said, &url];
            let curl = net.client().spawn(&command).unwrap();
            let mut member = String::new();
            eventually(START, || {
                let text = fs::read_to_string(&head).unwrap_or_default();
                let who = text.lines().find_map(|line| line.strip_prefix("Who: "));
                member = who.unwrap_or_default().to_owned();
                if member.is_empty() { Err(text) } else { Ok(()) }
            });
            (curl, member)
        })
        .collect();
    // Those who serve stay; of the others one comes or goes, or weighs something else, again and again.
    let serving: BTreeSet<String> = transfers.iter().map(|(_, member)| member.clone()).collect();
    let others: Vec<&Member> = net.members.iter().filter(|member| !serving.contains(member.name())).collect();
    let mut changes = 0;
    let deadline = Instant::now() + Duration::from_secs(300 * gigabytes.max(1));
    while transfers.iter_mut().any(|(curl, _)| curl.is_running()) {
        assert!(Instant::now() < deadline, "after {changes} changes");
        let mut document = everybody.clone();
        let other = others[changes % others.len()];
        let of_other: [IpAddr; 2] = [other.v4.into(), other.v6.into()];
        match changes % 3 {
            0 => document.pools[0].members.retain(|member| !of_other.contains(member)),
            1 => document.weights.extend(of_other.map(|address| (address, 5))),
            _ => document.orders.extend(of_other.map(|address| (address, "Down"))),
        }
        balancer.apply(&document);
        changes += 1;
        thread::sleep(Duration::from_millis(200));
    }
    let took = began.elapsed().as_secs_f64();
    println!("{gigabytes} GB in {took:.0} s, through {changes} changes");
    for ((curl, member), rule) in transfers.iter().zip(&rules) {
        let wanted = format!("200 {} 1", size / 2);
        assert_eq!(curl.stdout().trim(), wanted, "{} from {member}: {}", rule.name, curl.stderr());
    }
    assert!(changes >= 3, "only {changes} changes: the transfer was too short");
}

/// One for each port, because it answers at one only.
fn dnsmasq(net: &Net, member: &Member, rules: &[Rule]) -> Vec<Process> {
    let ports: BTreeSet<u16> = rules.iter().map(|rule| rule.backend_port).collect();
    let start = |port: u16| {
        let at: BTreeSet<IpAddr> = rules
            .iter()
            .filter(|rule| rule.backend_port == port)
            .map(|rule| rule.seen_at(member.address(rule.v4())).ip())
            .collect();
        let long = "x".repeat(250);
        let mut text = format!(
            "no-resolv\nno-hosts\nno-daemon\nbind-interfaces\nport={port}\nuser=root\npid-file=\nedns-packet-max=1232\n\
             txt-record=who.test,{}\ntxt-record=long.test,{long},{long},{long}\n",
            member.name()
        );
        for address in at {
            text.push_str(&format!("listen-address={address}\n"));
        }
        let config = net.lab.write(&format!("{}/dnsmasq-{port}.conf", member.name()), &text).unwrap();
        member.host.spawn(&["dnsmasq", "--keep-in-foreground", "-C", &config.display().to_string()]).unwrap()
    };
    ports.into_iter().map(start).collect()
}

/// A certificate of its own for a site: `<site>.pem` and `<site>.key`.
fn certificate(folder: &Path, site: &str) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([site.to_owned()]).unwrap();
    fs::write(folder.join(format!("{site}.pem")), cert.pem()).unwrap();
    fs::write(folder.join(format!("{site}.key")), signing_key.serialize_pem()).unwrap();
}
