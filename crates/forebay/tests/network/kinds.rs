//! What is neither a plain TCP connection nor a datagram of one frame: rules for all ports, SCTP, packets in pieces, echoes, and ICMP
//! errors with what hangs on them.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use forebay::lab::{Frame, Host, HttpConnection, TcpEcho, dial, install, skip_or_fail};
use socket2::{Domain, Protocol, Socket, Type};

use crate::balancer::{Balancer, said};
use crate::document::{Document, Rule, Wire, floating, floating_and_plain, plain};
use crate::net::{ETH0, Net, Shape, installed};
use crate::session::{Knock, Session, distinct, knock};

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn all_ports_of_a_frontend_lead_to_members_and_to_one_for_each_session() {
    // HA-1, DIST-2
    let rules = [
        Rule::floating("all-4", Wire::Tcp, "65.52.0.1:80").of_all(),
        Rule::floating("all-6", Wire::Tcp, "[fd00:65::1]:80").of_all(),
    ];
    let plain = [
        Rule::plain("all-4", Wire::Tcp, "65.52.0.3:80", 80).of_all(),
        Rule::plain("all-6", Wire::Tcp, "[fd00:65::3]:80", 80).of_all(),
    ];
    for (name, shape, rules) in [
        ("all", Shape::Flat, &rules),
        ("all-plain", Shape::Flat, &plain),
        ("all-gate", Shape::TwoSided, &plain),
    ] {
        let Some(net) = Net::new(name, shape, 2) else { return };
        // The same frontend, called by other ports and protocols.
        let more = rules.iter().flat_map(|rule| {
            let at = |wire, port| {
                let frontend = SocketAddr::new(rule.frontend.ip(), port);
                Rule { wire, frontend, backend_port: port, name: format!("{wire:?}-{port}"), ..rule.clone() }
            };
            [
                at(Wire::Tcp, 80),
                at(Wire::Tcp, 1),
                at(Wire::Tcp, 65_535),
                at(Wire::Udp, 53),
                at(Wire::Udp, 5_300),
            ]
        });
        let called: Vec<Rule> = more.collect();
        let _servers = net.serve(&called);
        let document = match shape {
            Shape::TwoSided => Document::through_gateway(rules, net.everybody()),
            Shape::Flat | Shape::Routed => Document::new(rules, net.everybody()),
        };
        let balancer = Balancer::start(&net, &document);
        for call in &called {
            let mut members = Vec::new();
            for _ in 0..24 {
                let mut session = Session::new(&net, call);
                let whoami = session.ask().unwrap();
                assert_eq!(whoami.destination.port(), call.frontend.port(), "{name}");
                assert_eq!(session.member(), whoami.member, "{name}: {}", call.name);
                members.push(whoami.member);
            }
            assert_eq!(distinct(&members).len(), 2, "{name}: {}: {members:?}", call.name);
        }
        let stats = balancer.stats();
        for rule in rules {
            // A port of the client may have been used twice.
            let flows = stats.rule(&rule.name)["flows"].as_u64().unwrap();
            assert!((5 * 24 - 8..=5 * 24).contains(&flows), "{name}: {flows}");
            assert_eq!(stats.frontend(rule.frontend.ip())["unmatched"], 0, "{name}");
        }
    }
}

#[test]
fn datagrams_in_pieces_arrive_whole_both_ways() {
    // HA-1, DIST-2
    let every = [
        ("pieces", Shape::Flat, floating_and_plain()),
        ("pieces-gate", Shape::TwoSided, plain()),
        ("pieces-route", Shape::Routed, plain()),
    ];
    for (name, shape, rules) in every {
        let Some(net) = Net::new(name, shape, 2) else { return };
        let rules: Vec<Rule> = rules.into_iter().filter(|rule| rule.wire == Wire::Udp).collect();
        // The addresses first; then echoes in the places of the servers.
        drop(net.serve(&rules));
        let echoes: Vec<UdpSocket> = net
            .members
            .iter()
            .flat_map(|member| {
                rules.iter().map(|rule| {
                    let at = rule.seen_at(member.address(rule.v4()));
                    member.host.within(|| UdpSocket::bind(at)).unwrap().unwrap()
                })
            })
            .collect();
        let document = match shape {
            Shape::TwoSided => Document::through_gateway(&rules, net.everybody()),
            Shape::Flat | Shape::Routed => Document::new(&rules, net.everybody()),
        };
        let balancer = Balancer::start(&net, &document);
        thread::scope(|scope| {
            // Gone once nobody asks any more, and where something fails.
            let asking = Arc::new(());
            for echo in &echoes {
                let asking = Arc::downgrade(&asking);
                scope.spawn(move || {
                    echo.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                    let mut buffer = [0; 65_536];
                    while asking.upgrade().is_some() {
                        if let Ok((length, from)) = echo.recv_from(&mut buffer) {
                            echo.send_to(&buffer[..length], from).unwrap();
                        }
                    }
                });
            }
            for rule in &rules {
                for length in [2_000, 4_001, 30_000, 65_000] {
                    let sent: Vec<u8> = (0..length).map(|at| (at / 7) as u8).collect();
                    let from = net.client_address(0, rule.v4());
                    let socket = net.client().within(|| UdpSocket::bind(from)).unwrap().unwrap();
                    socket.set_read_timeout(Some(PATIENCE)).unwrap();
                    socket.send_to(&sent, rule.frontend).unwrap();
                    let mut heard = vec![0; 65_536];
                    let (length, from) = socket.recv_from(&mut heard).unwrap();
                    assert_eq!((from, &heard[..length]), (rule.frontend, &sent[..]), "{name}: {}", rule.name);
                }
            }
        });
        let stats = balancer.stats();
        assert_eq!(stats.verdict("Fragment"), 0, "{name}");
    }
}

#[test]
fn transfers_pass_a_link_that_takes_less_than_the_others() {
    // ICMP-1: otherwise they would stand still at the first full segment.
    for (name, shape, rules) in
        [("narrow", Shape::Flat, floating_and_plain()), ("narrow-gate", Shape::TwoSided, plain())]
    {
        let Some(net) = Net::new(name, shape, 2) else { return };
        let rules: Vec<Rule> = rules.into_iter().filter(|rule| rule.wire == Wire::Tcp).collect();
        let client = behind_a_narrow_link(&net);
        let _servers = net.serve(&rules);
        let document = match shape {
            Shape::TwoSided => Document::through_gateway(&rules, net.everybody()),
            Shape::Flat | Shape::Routed => Document::new(&rules, net.everybody()),
        };
        let balancer = Balancer::start(&net, &document);
        for rule in &rules {
            let before = balancer.stats().verdict("Reported");
            // Both members have to learn it, each for itself.
            for _ in 0..12 {
                let mut connection = HttpConnection::open(&client, None, rule.frontend).unwrap();
                connection.set_patience(PATIENCE).unwrap();
                assert_eq!(connection.count("/bytes/300000").unwrap(), 300_000, "{name}: {}", rule.name);
            }
            let reported = balancer.stats().verdict("Reported") - before;
            assert!(reported >= 1, "{name}: {}: {reported}", rule.name);
        }
    }
}

#[test]
fn a_client_learns_that_a_link_before_its_member_takes_less() {
    // ICMP-1
    let Some(net) = Net::new("narrow-back", Shape::Routed, 1) else { return };
    let rules: Vec<Rule> = plain().into_iter().filter(|rule| rule.wire == Wire::Tcp).collect();
    let member = &net.members[0];
    for host in [&Host::of(net.lab.name(), "router").unwrap(), &member.host] {
        let device = if host.name() == "router" { "eth1" } else { ETH0 };
        host.ip(&["link", "set", device, "mtu", "1400"]).unwrap();
    }
    // The member does not know how little its link takes, as behind a tunnel.
    for (family, to, via) in [("-4", "default", "10.20.2.1"), ("-6", "default", "fd00:21::1")] {
        member.host.ip(&[family, "route", "replace", to, "via", via, "advmss", "1440"]).unwrap();
    }
    let echoes =
        rules.iter().map(|rule| TcpEcho::start(&member.host, rule.seen_at(member.address(rule.v4()))));
    let _echoes: Vec<TcpEcho> = echoes.map(Result::unwrap).collect();
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for rule in &rules {
        let mut stream = net.client().within(|| dial(None, rule.frontend, PATIENCE)).unwrap().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut sending = stream.try_clone().unwrap();
        let sent = thread::spawn(move || sending.write_all(&[7; 300_000]));
        stream.read_exact(&mut vec![0; 300_000]).unwrap();
        sent.join().unwrap().unwrap();
    }
    assert!(balancer.stats().verdict("Reported") >= 2);
}

#[test]
fn who_calls_a_closed_port_of_a_member_is_told() {
    // ICMP-1
    for (name, shape) in [("closed", Shape::Flat), ("closed-gate", Shape::TwoSided)] {
        let Some(net) = Net::new(name, shape, 1) else { return };
        let rules: Vec<Rule> = plain().into_iter().filter(|rule| rule.wire == Wire::Udp).collect();
        let document = match shape {
            Shape::TwoSided => Document::through_gateway(&rules, net.everybody()),
            Shape::Flat | Shape::Routed => Document::new(&rules, net.everybody()),
        };
        let balancer = Balancer::start(&net, &document);
        for rule in &rules {
            assert_eq!(
                knock(net.client(), Wire::Udp, rule.frontend),
                Knock::Refused,
                "{name}: {}",
                rule.name
            );
        }
        assert_eq!(balancer.stats().verdict("Reported"), 2, "{name}");
    }
}

#[test]
fn a_frontend_answers_echo_requests_while_somebody_serves() {
    // ICMP-2
    if !installed("ping") {
        return skip_or_fail(install("ping"));
    }
    let Some(net) = Net::flat("echo", 1) else { return };
    let rules = floating();
    let full = Document::new(&rules, net.everybody());
    let mut balancer = Balancer::start(&net, &full);
    let ping = |to: &str, more: &[&str]| {
        said(net.client(), &[&["ping", "-n", "-c", "3", "-i", "0.05", "-W", "1"], more, &[to]].concat())
    };
    for frontend in ["65.52.0.1", "fd00:65::1"] {
        let heard = ping(frontend, &["-s", "1400"]);
        assert!(heard.out.contains("3 received"), "{heard:?}");
        assert!(heard.out.contains(&format!("from {frontend}: icmp_seq=3 ttl=64")), "{heard:?}");
    }
    assert_eq!(balancer.stats().verdict("Echoed"), 6);
    // An address that is no frontend's is nobody's.
    assert_eq!(ping("65.52.0.9", &["-c", "1"]).code, Some(1));

    balancer.apply(&full.with(Vec::new()));
    for frontend in ["65.52.0.1", "fd00:65::1"] {
        assert_eq!(ping(frontend, &["-c", "1"]).code, Some(1), "{frontend}");
    }
    // Azure's public load balancers leave it unanswered, and who wants that says so.
    let mut silent = full.json();
    for frontend in silent["properties"]["frontendIPConfigurations"].as_array_mut().unwrap() {
        frontend["properties"]["forebay"]["echo"] = false.into();
    }
    balancer.apply(&full);
    assert_eq!(ping("65.52.0.1", &["-c", "1"]).code, Some(0));
    assert!(balancer.submit(&silent.to_string()).starts_with("applied:"));
    for frontend in ["65.52.0.1", "fd00:65::1"] {
        assert_eq!(ping(frontend, &["-c", "1"]).code, Some(1), "{frontend}");
    }
}

#[test]
fn associations_are_balanced_with_right_checksums() {
    // RULE-1, FIP-1, FIP-2. This kernel need not know SCTP: the packets are made and looked at here.
    const PORT: u16 = 3_868;
    let rules = [
        Rule::floating("floating-4", Wire::Udp, "65.52.0.1:3868"),
        Rule::floating("floating-6", Wire::Udp, "[fd00:65::1]:3868"),
        Rule::plain("plain-4", Wire::Udp, "65.52.0.3:3868", 9_000),
        Rule::plain("plain-6", Wire::Udp, "[fd00:65::3]:3868", 9_000),
    ]
    .map(Rule::of_sctp);
    let Some(net) = Net::flat("sctp", 1) else { return };
    let member = &net.members[0];
    drop(net.serve(&rules));
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    for rule in &rules {
        let own = net.client_address(0, rule.v4()).ip();
        let init = sctp(5_000, PORT, INIT, 16);
        let (seen, from) = passes(&member.host, &|| send(net.client(), own, rule.frontend.ip(), &init), INIT);
        assert_eq!(ports(&seen).1, rule.backend_port, "{}", rule.name);
        assert_eq!(from == own, rule.floating, "{}: {from}", rule.name);
        // Answered in place of the member, by what it saw.
        let answer = sctp(rule.backend_port, ports(&seen).0, INIT_ACK, 21);
        let at = rule.seen_at(member.address(rule.v4())).ip();
        let (seen, from) = passes(net.client(), &|| send(&member.host, at, from, &answer), INIT_ACK);
        assert_eq!(SocketAddr::new(from, ports(&seen).0), rule.frontend, "{}", rule.name);
        assert_eq!(ports(&seen).1, 5_000, "{}", rule.name);
    }
    let stats = balancer.stats();
    for rule in &rules {
        assert_eq!(stats.rule(&rule.name)["flows"], 1, "{}", rule.name);
        let from = SocketAddr::new(net.client_address(0, rule.v4()).ip(), 6_000).to_string();
        let to = rule.frontend.to_string();
        let trace = balancer.json(&["trace", "--proto", "sctp", "--from", &from, "--to", &to]);
        assert_eq!(
            trace["sent"]["destination"],
            rule.seen_at(member.address(rule.v4())).to_string(),
            "{trace}"
        );
    }
}

/// A client for whom one of the links on the way takes smaller packets than its own.
fn behind_a_narrow_link(net: &Net) -> Host {
    let (narrow, outside) = (net.lab.segment("narrow").unwrap(), net.lab.segment("outside").unwrap());
    let near = net.lab.host("near").unwrap();
    near.attach(&net.front, ETH0, &["10.20.1.1/24", "fd00:20::1/64"]).unwrap();
    near.attach(&narrow, "eth1", &["10.20.8.1/24", "fd00:28::1/64"]).unwrap();
    let far = net.lab.host("far").unwrap();
    far.attach(&narrow, ETH0, &["10.20.8.2/24", "fd00:28::2/64"]).unwrap();
    far.attach(&outside, "eth1", &["10.20.9.1/24", "fd00:29::1/64"]).unwrap();
    for (host, device) in [(&near, "eth1"), (&far, ETH0)] {
        host.forward().unwrap();
        host.ip(&["link", "set", device, "mtu", "1400"]).unwrap();
    }
    let client = net.lab.host("distant").unwrap();
    client.attach(&outside, ETH0, &["10.20.9.100/24", "fd00:29::100/64"]).unwrap();
    for (v4, via) in [(true, "10.20.9.1"), (false, "fd00:29::1")] {
        client.route("default", via).unwrap();
        let (outside, back) = if v4 { ("10.20.9.0/24", "10.20.8.2") } else { ("fd00:29::/64", "fd00:28::2") };
        near.route(outside, back).unwrap();
        near.route(if v4 { "65.52.0.0/24" } else { "fd00:65::/64" }, ETH0).unwrap();
        let (front, to_near) = if v4 { ("10.20.1.1", "10.20.8.1") } else { ("fd00:20::1", "fd00:28::1") };
        far.route("default", to_near).unwrap();
        // Answers go back the way that is theirs: by the balancer where that is the members' router.
        net.balancer.route("default", front).unwrap();
        if net.shape == Shape::Flat {
            net.members.iter().for_each(|member| member.host.route("default", front).unwrap());
        }
    }
    client
}

const SCTP: u8 = 132;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;

/// A packet of one chunk, which carries so many bytes.
fn sctp(from: u16, to: u16, chunk: u8, length: usize) -> Vec<u8> {
    let mut packet = [from.to_be_bytes(), to.to_be_bytes()].concat();
    packet.extend([0, 0, 0, 9, 0, 0, 0, 0, chunk, 0, 0, 4 + length as u8]);
    packet.extend((0..length).map(|at| at as u8));
    let checksum = crc32c(&packet);
    packet[8..12].copy_from_slice(&checksum.to_le_bytes());
    packet
}

/// Bit by bit (RFC 9260, appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0x82f6_3b78 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

fn ports(packet: &[u8]) -> (u16, u16) {
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    (port(0), port(2))
}

fn send(host: &Host, from: IpAddr, to: IpAddr, packet: &[u8]) {
    let domain = if to.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let protocol = Some(Protocol::from(i32::from(SCTP)));
    let socket = host.within(|| Socket::new(domain, Type::RAW, protocol)).unwrap().unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    assert_eq!(socket.send_to(packet, &SocketAddr::new(to, 0).into()).unwrap(), packet.len());
}

/// The packet with this chunk that passes a host's interface meanwhile, and the address it comes from.
fn passes(host: &Host, meanwhile: &dyn Fn(), chunk: u8) -> (Vec<u8>, IpAddr) {
    let capture = host.capture(ETH0, "ip proto 132 or ip6 proto 132").unwrap();
    meanwhile();
    let frames = capture.stop().unwrap();
    let packet = |frame: &Frame| {
        let (from, packet) = match frame.0[12..14] {
            [8, 0] => (IpAddr::from(<[u8; 4]>::try_from(&frame.0[26..30]).unwrap()), frame.0[34..].to_vec()),
            _ => (IpAddr::from(<[u8; 16]>::try_from(&frame.0[22..38]).unwrap()), frame.0[54..].to_vec()),
        };
        (packet[12] == chunk).then_some((packet, from))
    };
    let (seen, from) = frames.iter().find_map(packet).unwrap_or_else(|| panic!("{frames:02x?}"));
    let mut sent = seen.clone();
    sent[8..12].fill(0);
    assert_eq!(seen[8..12], crc32c(&sent).to_le_bytes());
    (seen, from)
}
