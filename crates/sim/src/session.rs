//! The client's sessions: open, ask, download, close. Each waits in simulated time and sends again what got lost.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::frame::{Packet, Segment, Tcp, Transport, flag};
use crate::programs::{Caller, Phase};
use crate::simulation::{Fault, HostId, Simulation};

/// How long the first attempt waits; each further one twice as long.
const FIRST: Duration = Duration::from_millis(250);
/// Attempts: together about half a minute.
const ATTEMPTS: u32 = 7;

/// A session of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session(pub(crate) u64);

#[derive(Debug)]
pub(crate) struct Open {
    host: HostId,
    transport: Transport,
    local: SocketAddr,
    questions: u64,
    /// Whoever answered last.
    pub(crate) member: Option<String>,
    pub(crate) last: Duration,
}

/// Who answered, and how the request looked there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The host's name.
    pub member: String,
    /// The server's name on that host.
    pub instance: String,
    /// The client's side of the session.
    pub client: SocketAddr,
    /// The client as the server saw it.
    pub client_seen: SocketAddr,
    /// What the client called, as the server saw it.
    pub called_seen: SocketAddr,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Nobody answers.
    Silence,
    /// The connection was reset.
    Reset,
    /// There is no such session.
    Unknown,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silence => "silence",
            Self::Reset => "reset",
            Self::Unknown => "no such session",
        })
    }
}

/// What came back after a first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knock {
    /// Nothing.
    Silence,
    /// A reset.
    Refused,
    /// An answer.
    Answered,
}

impl Simulation {
    /// Opens a session: a TCP connection, or a UDP socket, of which nobody hears yet.
    ///
    /// # Errors
    /// The connection is not accepted.
    pub fn open(
        &mut self,
        host: HostId,
        transport: Transport,
        local: SocketAddr,
        to: SocketAddr,
    ) -> Result<Session, Broken> {
        self.opened += 1;
        let session = Session(self.opened);
        let last = self.now();
        let open = Open { host, transport, local, questions: 0, member: None, last };
        self.sessions.insert(session, open);
        let first = self.chance.draw() as u32;
        let phase = if transport == Transport::Tcp { Phase::Opening } else { Phase::Open };
        if let Some(host) = self.hosts.get_mut(host.0) {
            host.programs.callers.insert((transport, local), Caller::new(to, phase, first));
        }
        if transport == Transport::Udp {
            return Ok(session);
        }
        let opened = self.attempt(session, flag::SYN, &[], |caller| caller.phase == Phase::Open);
        if opened.is_err() {
            self.forget(session);
        }
        opened.map(|()| session)
    }

    /// Asks who answers.
    ///
    /// # Errors
    /// Nobody does.
    pub fn ask(&mut self, session: Session) -> Result<Answer, Broken> {
        let open = self.sessions.get_mut(&session).ok_or(Broken::Unknown)?;
        open.questions += 1;
        let (number, client) = (open.questions.to_string(), open.local);
        let request = format!("who {} {number}\n", session.0);
        let wanted = format!("{number} ");
        let is_answer = |caller: &Caller| {
            // An answer to an earlier question may come late over UDP.
            let mut lines = caller.inbox.split_inclusive(|byte| *byte == b'\n');
            lines.any(|line| line.starts_with(wanted.as_bytes()) && line.ends_with(b"\n"))
        };
        self.attempt(session, flag::ACK, request.as_bytes(), is_answer)?;
        let inbox = self.caller(session).map(|caller| std::mem::take(&mut caller.inbox)).unwrap_or_default();
        let text = String::from_utf8_lossy(&inbox).into_owned();
        let line = text.lines().find(|line| line.starts_with(&wanted)).unwrap_or_default();
        let answer = read(line, client).ok_or(Broken::Silence)?;
        if let Some(open) = self.sessions.get_mut(&session) {
            open.member = Some(answer.member.clone());
        }
        Ok(answer)
    }

    /// Downloads over a TCP session and gives the number of bytes that came.
    ///
    /// # Errors
    /// Not all came.
    pub fn download(&mut self, session: Session, bytes: u32) -> Result<u64, Broken> {
        let request = format!("bytes {} {bytes}\n", session.0);
        let all = |caller: &Caller| caller.inbox.len() as u64 >= u64::from(bytes);
        self.attempt(session, flag::ACK, request.as_bytes(), all)?;
        Ok(self
            .caller(session)
            .map(|caller| std::mem::take(&mut caller.inbox).len() as u64)
            .unwrap_or_default())
    }

    /// Closes a session, as far as the other side lets it.
    pub fn close(&mut self, session: Session) {
        let is_open = self.caller(session).is_some_and(|caller| caller.phase == Phase::Open);
        let transport = self.sessions.get(&session).map(|open| open.transport);
        if is_open && transport == Some(Transport::Tcp) {
            // If nobody answers the session ends all the same.
            let _ = self.attempt(session, flag::FIN | flag::ACK, &[], |caller| caller.phase == Phase::Closed);
            self.settle();
        }
        self.forget(session);
    }

    /// Sends a first packet and listens for as long as `patience`.
    pub fn knock(
        &mut self,
        host: HostId,
        transport: Transport,
        local: SocketAddr,
        to: SocketAddr,
        patience: Duration,
    ) -> Knock {
        let first = self.chance.draw() as u32;
        let phase = if transport == Transport::Tcp { Phase::Opening } else { Phase::Open };
        let caller = Caller::new(to, phase, first);
        let segment = match transport {
            Transport::Tcp => caller.segment(flag::SYN, &[]),
            Transport::Udp => Segment::Udp(b"who 0 0\n".to_vec()),
        };
        let Some(at) = self.hosts.get_mut(host.0) else { return Knock::Silence };
        at.programs.callers.insert((transport, local), caller);
        self.send(host, Packet::new(local, to, segment));
        self.pass(patience);
        let caller =
            self.hosts.get_mut(host.0).and_then(|host| host.programs.callers.remove(&(transport, local)));
        match caller {
            Some(caller) if caller.phase == Phase::Reset => Knock::Refused,
            Some(caller) if !caller.inbox.is_empty() => Knock::Answered,
            Some(caller) if transport == Transport::Tcp && caller.phase == Phase::Open => Knock::Answered,
            Some(_) | None => Knock::Silence,
        }
    }

    /// A packet of a session without its client's doing: a TCP segment with these flags that no server answers.
    pub fn segment_of(local: SocketAddr, to: SocketAddr, transport: Transport, flags: u8) -> Packet {
        let segment = match transport {
            Transport::Tcp => Segment::Tcp(Tcp { flags, sequence: 1, awaited: 1, data: Vec::new() }),
            Transport::Udp => Segment::Udp(b"\n".to_vec()),
        };
        Packet::new(local, to, segment)
    }

    /// Notes that a session whose member is there was answered by another one.
    pub fn accuse(&mut self, session: Session, from: &str, to: &str) {
        self.faults.push(Fault::Moved { session, from: from.to_owned(), to: to.to_owned() });
    }

    /// Who answered a session last.
    pub fn member_of(&self, session: Session) -> Option<&str> {
        self.sessions.get(&session)?.member.as_deref()
    }

    /// How long a session has been silent.
    pub fn idle(&self, session: Session) -> Duration {
        self.sessions.get(&session).map_or(Duration::ZERO, |open| self.now().saturating_sub(open.last))
    }

    /// Ends a session without a word, as when the client's power is cut.
    pub fn forget(&mut self, session: Session) {
        let Some(open) = self.sessions.remove(&session) else { return };
        if let Some(host) = self.hosts.get_mut(open.host.0) {
            host.programs.callers.remove(&(open.transport, open.local));
        }
    }

    fn caller(&mut self, session: Session) -> Option<&mut Caller> {
        let open = self.sessions.get(&session)?;
        self.hosts.get_mut(open.host.0)?.programs.callers.get_mut(&(open.transport, open.local))
    }

    /// Sends a segment, again and again, until `done`. A download that has begun only says again how far it has come.
    fn attempt(
        &mut self,
        session: Session,
        flags: u8,
        data: &[u8],
        done: impl Fn(&Caller) -> bool,
    ) -> Result<(), Broken> {
        let begun = self.caller(session).ok_or(Broken::Unknown)?.inbox.len();
        let first = self.caller(session).ok_or(Broken::Unknown)?.next;
        let mut came = begun;
        let mut attempt = 0;
        while attempt < ATTEMPTS {
            let (host, packet) = self.packet(session, first, flags, data, came > begun)?;
            self.send(host, packet);
            let next = first.wrapping_add(data.len() as u32);
            if let Some(caller) = self.caller(session).filter(|_| !data.is_empty()) {
                caller.next = next;
            }
            self.settle();
            let caller = self.caller(session).ok_or(Broken::Unknown)?;
            let (is_done, reset, length) = (done(caller), caller.phase == Phase::Reset, caller.inbox.len());
            if is_done || reset {
                let now = self.now();
                if let Some(open) = self.sessions.get_mut(&session) {
                    open.last = now;
                }
                return if is_done { Ok(()) } else { Err(Broken::Reset) };
            }
            if length > came {
                // Something moves: begin to wait anew.
                (came, attempt) = (length, 0);
            }
            self.pass(FIRST * (1 << attempt));
            attempt += 1;
        }
        Err(Broken::Silence)
    }

    fn packet(
        &mut self,
        session: Session,
        first: u32,
        flags: u8,
        data: &[u8],
        begun: bool,
    ) -> Result<(HostId, Packet), Broken> {
        let open = self.sessions.get(&session).ok_or(Broken::Unknown)?;
        let (host, transport, local) = (open.host, open.transport, open.local);
        let caller = self.caller(session).ok_or(Broken::Unknown)?;
        let segment = match transport {
            Transport::Udp => Segment::Udp(data.to_vec()),
            Transport::Tcp if begun => caller.segment(flag::ACK, &[]),
            Transport::Tcp => Segment::Tcp(Tcp {
                flags,
                sequence: first,
                awaited: if flags == flag::SYN { 0 } else { caller.awaited },
                data: data.to_vec(),
            }),
        };
        Ok((host, Packet::new(local, caller.to, segment)))
    }
}

fn read(line: &str, client: SocketAddr) -> Option<Answer> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, member, instance, client_seen, called_seen] = words.as_slice() else { return None };
    Some(Answer {
        member: (*member).to_owned(),
        instance: (*instance).to_owned(),
        client,
        client_seen: client_seen.parse().ok()?,
        called_seen: called_seen.parse().ok()?,
    })
}
