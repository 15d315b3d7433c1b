//! What is on the wire: checksums, sizes, and every byte of long transfers, over each path.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use forebay::lab::{Frame, PATIENCE, TcpEcho, checksums_good, dial};

use crate::balancer::Balancer;
use crate::document::{Document, Rule, Wire, floating, floating_and_plain, plain};
use crate::net::{ETH0, Net, Servers, Shape};
use crate::session::Session;

#[test]
fn every_frame_of_every_path_has_right_checksums() {
    // RULE-1, FIP-1, FIP-2, FIP-3
    let Some(net) = Net::flat("sums", 2) else { return };
    let rules = floating_and_plain();
    frames_are_good(&net, &rules, &Document::new(&rules, net.everybody()));
}

#[test]
fn every_frame_through_a_gateway_has_right_checksums() {
    // RULE-1, FIP-1, FIP-2, FIP-3
    let Some(net) = Net::new("sums-gateway", Shape::TwoSided, 2) else { return };
    let rules = gateway_rules();
    frames_are_good(&net, &rules, &Document::through_gateway(&rules, net.everybody()));
}

#[test]
fn every_frame_to_members_behind_a_router_has_right_checksums() {
    // RULE-1, FIP-1
    let Some(net) = Net::new("sums-routed", Shape::Routed, 2) else { return };
    let rules = plain();
    frames_are_good(&net, &rules, &Document::new(&rules, net.everybody()));
}

#[test]
fn long_transfers_arrive_byte_by_byte() {
    // DIST-2, FIP-3
    let Some(net) = Net::flat("bytes", 1) else { return };
    let rules = tcp_of(floating_and_plain());
    transfers_are_whole(&net, &rules, &Document::new(&rules, net.everybody()));
}

#[test]
fn long_transfers_through_a_gateway_arrive_byte_by_byte() {
    // DIST-2, FIP-3
    let Some(net) = Net::new("bytes-gateway", Shape::TwoSided, 1) else { return };
    let rules = tcp_of(gateway_rules());
    transfers_are_whole(&net, &rules, &Document::through_gateway(&rules, net.everybody()));
}

/// Rules with and without floating IP, all of which change the port.
fn gateway_rules() -> Vec<Rule> {
    let other =
        |rule: Rule| if rule.wire == Wire::Tcp { rule.leading_to(8080) } else { rule.leading_to(5399) };
    floating().into_iter().map(other).chain(plain()).collect()
}

fn tcp_of(rules: Vec<Rule>) -> Vec<Rule> {
    rules.into_iter().filter(|rule| rule.wire == Wire::Tcp).collect()
}

/// So many sessions there are of each family and protocol, over all their rules together: by chance one of two members gets none of
/// them in one of eight million runs, and there are four such pairs.
const ALIKE: usize = 24;

fn frames_are_good(net: &Net, rules: &[Rule], document: &Document) {
    const LENGTH: u64 = 50_000;
    let servers: Servers = net.serve(rules);
    let _balancer = Balancer::start(net, document);
    let hosts = net.members.iter().map(|member| &member.host).chain([net.client()]);
    let captures: Vec<_> = hosts.map(|host| (host, host.capture(ETH0, "").unwrap())).collect();
    for rule in rules {
        let alike = rules.iter().filter(|other| (other.v4(), other.wire) == (rule.v4(), rule.wire)).count();
        for _ in 0..ALIKE.div_ceil(alike) {
            let mut session = Session::new(net, rule);
            session.ask().unwrap();
            match &mut session {
                Session::Tcp(connection) => {
                    assert_eq!(connection.count(&format!("/bytes/{LENGTH}")).unwrap(), LENGTH);
                }
                Session::Udp(socket, to) => {
                    socket.set_read_timeout(Some(PATIENCE)).unwrap();
                    // Odd lengths, none at all, and as much as a frame takes.
                    for length in [0, 1, 2, 13, 512, if rule.v4() { 1_472 } else { 1_452 }] {
                        socket.send_to(&vec![0xa5; length], *to).unwrap();
                        let (_, from) = socket.recv_from(&mut [0; 2048]).unwrap();
                        assert_eq!(from, *to);
                    }
                }
            }
        }
    }
    for (host, capture) in captures {
        let frames = capture.stop().unwrap();
        for Frame(frame) in &frames {
            assert!(frame.len() <= 1_514, "{}: a merged frame of {} bytes", host.name(), frame.len());
            if let Err(wrong) = checksums_good(frame) {
                panic!("{}: {wrong}: {frame:02x?}", host.name());
            }
        }
        for rule in rules {
            let of_rule = frames.iter().filter(|frame| is_of(&frame.0, rule)).count();
            assert!(of_rule > 10, "{} saw {of_rule} frames like those of {}", host.name(), rule.name);
        }
    }
    drop(servers);
}

/// Is the frame of the rule's family and protocol?
fn is_of(frame: &[u8], rule: &Rule) -> bool {
    let (kind, protocol) = if rule.v4() { ([0x08, 0x00], 23) } else { ([0x86, 0xdd], 20) };
    let wanted = match rule.wire {
        Wire::Tcp => 6,
        Wire::Udp => 17,
    };
    frame[12..14] == kind && frame[protocol] == wanted
}

fn transfers_are_whole(net: &Net, rules: &[Rule], document: &Document) {
    const LENGTH: usize = 20 << 20;
    // The addresses first; then echoes in the places of the servers.
    drop(net.serve(rules));
    let echoes: Vec<TcpEcho> = rules
        .iter()
        .map(|rule| {
            let member = &net.members[0];
            TcpEcho::start(&member.host, rule.seen_at(member.address(rule.v4()))).unwrap()
        })
        .collect();
    let _balancer = Balancer::start(net, document);
    for rule in rules {
        let stream = net.client().within(|| dial(None, rule.frontend, PATIENCE)).unwrap().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        thread::scope(|scope| {
            let mut sending: TcpStream = stream.try_clone().unwrap();
            scope.spawn(move || {
                let mut noise = Noise(1);
                let mut block = [0; BLOCK];
                for _ in 0..LENGTH / BLOCK {
                    noise.fill(&mut block);
                    sending.write_all(&block).unwrap();
                }
            });
            let (mut receiving, mut noise) = (&stream, Noise(1));
            let (mut wanted, mut block) = ([0; BLOCK], [0; BLOCK]);
            for at in 0..LENGTH / BLOCK {
                receiving.read_exact(&mut block).unwrap();
                noise.fill(&mut wanted);
                assert!(block == wanted, "{}: block {at} is another one", rule.name);
            }
        });
    }
    assert!(echoes.iter().all(|echo| echo.connections() == 1));
}

const BLOCK: usize = 64 << 10;

/// Bytes that look like chance and are the same each time (xorshift).
struct Noise(u64);

impl Noise {
    fn fill(&mut self, block: &mut [u8]) {
        for word in block.chunks_exact_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_le_bytes());
        }
    }
}
