//! What runs on a host: servers that say who they are, and the client's ends of sessions.
//!
//! A request is a line, `who <session> <question>` or `bytes <session> <count>`; it is sent again until its answer is complete, so
//! lost frames cost time and nothing else. A segment that belongs to no connection is reset, as every host does it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::frame::{Packet, Segment, Tcp, Transport, flag};

/// Data in a segment.
const SEGMENT: u32 = 1_448;
/// How much a server sends ahead of acknowledgements.
const WINDOW: u32 = 32 * SEGMENT;

/// Servers and sessions of a host.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    servers: BTreeMap<(Transport, SocketAddr), String>,
    connections: BTreeMap<(SocketAddr, SocketAddr), Connection>,
    pub(crate) callers: BTreeMap<(Transport, SocketAddr), Caller>,
    /// How many requests of each session were served here.
    pub(crate) served: BTreeMap<u64, u64>,
    /// Packets for a session from somebody it does not talk to (FIP-3).
    pub(crate) strangers: Vec<(SocketAddr, SocketAddr)>,
    /// Packets that reached a program, while somebody wants to know.
    pub(crate) heard: Option<Vec<Packet>>,
}

/// A server's end of a connection.
#[derive(Debug)]
struct Connection {
    instance: String,
    /// The number of the client's next byte.
    awaited: u32,
    /// The server's bytes: acknowledged up to, sent up to, and all of them.
    acknowledged: u32,
    sent: u32,
    end: u32,
    /// What is said from `text_at` on; beyond it come zeros.
    text: Vec<u8>,
    text_at: u32,
    closing: bool,
}

/// A client's end of a session.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) to: SocketAddr,
    pub(crate) phase: Phase,
    /// The number of the client's next byte.
    pub(crate) next: u32,
    /// The number of the server's next byte.
    pub(crate) awaited: u32,
    /// What came and was not read.
    pub(crate) inbox: Vec<u8>,
    /// Segments that are not acknowledged yet.
    unsaid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Opening,
    Open,
    Closed,
    Reset,
}

impl Caller {
    pub(crate) fn new(to: SocketAddr, phase: Phase, first: u32) -> Self {
        Self { to, phase, next: first, awaited: 0, inbox: Vec::new(), unsaid: 0 }
    }

    /// A segment of this session.
    pub(crate) fn segment(&self, flags: u8, data: &[u8]) -> Segment {
        Segment::Tcp(Tcp { flags, sequence: self.next, awaited: self.awaited, data: data.to_vec() })
    }

    fn hear(&mut self, tcp: &Tcp) -> Option<Segment> {
        if tcp.flags & flag::RST != 0 {
            self.phase = Phase::Reset;
            return None;
        }
        match self.phase {
            Phase::Opening if tcp.flags & flag::SYN != 0 && tcp.awaited == self.next.wrapping_add(1) => {
                self.phase = Phase::Open;
                self.next = tcp.awaited;
                self.awaited = tcp.sequence.wrapping_add(1);
                Some(self.segment(flag::ACK, &[]))
            }
            Phase::Open if tcp.flags & flag::SYN != 0 => Some(self.segment(flag::ACK, &[])),
            Phase::Open | Phase::Closed => self.hear_data(tcp),
            Phase::Opening | Phase::Reset => None,
        }
    }

    fn hear_data(&mut self, tcp: &Tcp) -> Option<Segment> {
        if tcp.sequence != self.awaited {
            return None;
        }
        self.awaited = self.awaited.wrapping_add(tcp.data.len() as u32);
        self.inbox.extend(&tcp.data);
        if tcp.flags & flag::FIN != 0 {
            self.phase = Phase::Closed;
            self.next = tcp.awaited;
            self.awaited = self.awaited.wrapping_add(1);
            return Some(self.segment(flag::ACK, &[]));
        }
        if tcp.data.is_empty() {
            return None;
        }
        // Every other full segment is acknowledged, and every short one.
        self.unsaid += 1;
        if self.unsaid < 2 && tcp.data.len() as u32 == SEGMENT {
            return None;
        }
        self.unsaid = 0;
        Some(self.segment(flag::ACK, &[]))
    }
}

impl Programs {
    pub(crate) fn serve(&mut self, transport: Transport, at: SocketAddr, instance: &str) {
        self.servers.insert((transport, at), instance.to_owned());
    }

    /// Takes a packet for this host, whose name is `host`, and gives what is answered.
    pub(crate) fn receive(&mut self, host: &str, packet: Packet) -> Vec<Packet> {
        if let Some(heard) = &mut self.heard {
            heard.push(packet.clone());
        }
        let (local, remote) = (packet.destination, packet.source);
        let transport = packet.transport();
        let answers = match (self.callers.get_mut(&(transport, local)), packet.segment) {
            (Some(caller), _) if caller.to != remote => {
                self.strangers.push((remote, local));
                Vec::new()
            }
            (Some(caller), Segment::Tcp(tcp)) => caller.hear(&tcp).into_iter().collect(),
            (Some(caller), Segment::Udp(data)) => {
                caller.inbox.extend(data);
                Vec::new()
            }
            (None, Segment::Tcp(tcp)) => self.serve_tcp(host, local, remote, &tcp),
            (None, Segment::Udp(data)) => {
                let server = self.servers.get(&(transport, local)).cloned();
                let text = String::from_utf8_lossy(&data).into_owned();
                let said = server.and_then(|instance| self.answer(host, &instance, local, remote, &text));
                said.into_iter().map(|(text, _)| Segment::Udp(text)).collect()
            }
        };
        answers.into_iter().map(|segment| Packet::new(local, remote, segment)).collect()
    }

    fn serve_tcp(&mut self, host: &str, local: SocketAddr, remote: SocketAddr, tcp: &Tcp) -> Vec<Segment> {
        let key = (local, remote);
        if tcp.flags & flag::RST != 0 {
            self.connections.remove(&key);
            return Vec::new();
        }
        if tcp.flags & (flag::SYN | flag::ACK) == flag::SYN {
            return self.accept(key, tcp);
        }
        let Some(mut connection) = self.connections.remove(&key) else { return vec![reset(tcp)] };
        if connection.closing && tcp.awaited == connection.end.wrapping_add(1) {
            return Vec::new();
        }
        let mut out = Vec::new();
        if tcp.data.is_empty() {
            connection.hear_acknowledgement(tcp.awaited);
        } else if tcp.sequence == connection.awaited {
            connection.hear_acknowledgement(tcp.awaited);
            connection.awaited = connection.awaited.wrapping_add(tcp.data.len() as u32);
            let text = String::from_utf8_lossy(&tcp.data).into_owned();
            if let Some((text, zeros)) = self.answer(host, &connection.instance, local, remote, &text) {
                connection.say(text, zeros);
            }
        } else {
            // It was sent again, so the answer was lost, or a part of it.
            connection.sent = connection.acknowledged;
        }
        if tcp.flags & flag::FIN != 0 {
            let end = tcp.sequence.wrapping_add(tcp.data.len() as u32).wrapping_add(1);
            connection.closing = true;
            connection.awaited = end;
            out.push(connection.segment(flag::FIN | flag::ACK, connection.end, Vec::new()));
        } else {
            out.extend(connection.pump());
        }
        self.connections.insert(key, connection);
        out
    }

    fn accept(&mut self, key: (SocketAddr, SocketAddr), tcp: &Tcp) -> Vec<Segment> {
        let Some(instance) = self.servers.get(&(Transport::Tcp, key.0)) else { return vec![reset(tcp)] };
        // The server's numbers begin where the client's do, turned around: any will do.
        let first = !tcp.sequence;
        let next = first.wrapping_add(1);
        let connection = Connection {
            instance: instance.clone(),
            awaited: tcp.sequence.wrapping_add(1),
            acknowledged: next,
            sent: next,
            end: next,
            text: Vec::new(),
            text_at: next,
            closing: false,
        };
        let answer = connection.segment(flag::SYN | flag::ACK, first, Vec::new());
        // A SYN that is sent again finds the connection as new as it is.
        self.connections.insert(key, connection);
        vec![answer]
    }

    /// What a server says to a request, and how many zeros follow.
    fn answer(
        &mut self,
        host: &str,
        instance: &str,
        local: SocketAddr,
        remote: SocketAddr,
        request: &str,
    ) -> Option<(Vec<u8>, u32)> {
        let mut words = request.split_whitespace();
        let (kind, session, number) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        *self.served.entry(session).or_default() += 1;
        match kind {
            "who" => Some((format!("{number} {host} {instance} {remote} {local}\n").into_bytes(), 0)),
            "bytes" => Some((Vec::new(), number.parse().ok()?)),
            _ => None,
        }
    }
}

impl Connection {
    fn segment(&self, flags: u8, sequence: u32, data: Vec<u8>) -> Segment {
        Segment::Tcp(Tcp { flags, sequence, awaited: self.awaited, data })
    }

    fn say(&mut self, text: Vec<u8>, zeros: u32) {
        self.text_at = self.end;
        self.end = self.end.wrapping_add(text.len() as u32).wrapping_add(zeros);
        self.text = text;
    }

    fn hear_acknowledgement(&mut self, awaited: u32) {
        let fresh = awaited.wrapping_sub(self.acknowledged);
        if fresh == 0 {
            // Only a client that has waited in vain repeats itself.
            self.sent = self.acknowledged;
        } else if fresh <= self.end.wrapping_sub(self.acknowledged) {
            self.acknowledged = awaited;
            if self.sent.wrapping_sub(awaited) > self.end.wrapping_sub(awaited) {
                self.sent = awaited;
            }
        }
    }

    /// As much as the window allows.
    fn pump(&mut self) -> Vec<Segment> {
        let mut out = Vec::new();
        while self.sent != self.end && self.sent.wrapping_sub(self.acknowledged) < WINDOW {
            let length = self.end.wrapping_sub(self.sent).min(SEGMENT);
            let from = self.sent.wrapping_sub(self.text_at) as usize;
            let mut data: Vec<u8> = self.text.iter().skip(from).take(length as usize).copied().collect();
            data.resize(length as usize, 0);
            out.push(self.segment(flag::ACK, self.sent, data));
            self.sent = self.sent.wrapping_add(length);
        }
        out
    }
}

/// There is no such connection.
fn reset(tcp: &Tcp) -> Segment {
    let length = tcp.data.len() as u32 + u32::from(tcp.flags & (flag::SYN | flag::FIN) != 0);
    let awaited = tcp.sequence.wrapping_add(length);
    Segment::Tcp(Tcp { flags: flag::RST | flag::ACK, sequence: tcp.awaited, awaited, data: Vec::new() })
}
