//! Connections that are over: both ends hear of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use forebay::lab::{PATIENCE, dial};

use crate::balancer::{Balancer, Settings};
use crate::document::{Document, Rule, Wire, floating, plain};
use crate::net::{Net, Shape};
use crate::session::{Knock, LATE, eventually, knock, open};

/// Four minutes pass in less than four seconds.
const HURRY: u8 = 6;
const IDLE: Duration = Duration::from_millis(240_000 >> HURRY);

#[test]
fn both_ends_of_a_silent_connection_are_reset() {
    // FLOW-5: floating IP and masquerading.
    let Some(net) = Net::flat("idle-reset", 2) else { return };
    let rules: Vec<Rule> = of_tcp([floating(), plain()].concat()).map(Rule::announcing).collect();
    check_resets(&net, &rules, |document| document);
}

#[test]
fn both_ends_of_a_silent_connection_through_a_gateway_are_reset() {
    // FLOW-5
    let Some(net) = Net::new("idle-reset-gateway", Shape::TwoSided, 2) else { return };
    let rules: Vec<Rule> = of_tcp(plain()).map(Rule::announcing).collect();
    check_resets(&net, &rules, |mut document| {
        document.pools[0].gateway = true;
        document
    });
}

fn check_resets(net: &Net, rules: &[Rule], edit: fn(Document) -> Document) {
    let ears = Ears::of(net, rules);
    let document = edit(Document::new(rules, net.everybody()));
    let balancer = Balancer::start_with(net, &document, Settings { hurry: HURRY, ..Settings::default() });
    let mut busy: Vec<Connection> = rules.iter().map(|rule| ears.connect(net, rule)).collect();
    let mut quiet: Vec<Connection> = Vec::new();
    for rule in rules {
        for _ in 0..4 {
            let mut connection = ears.connect(net, rule);
            connection.talk();
            quiet.push(connection);
        }
    }
    assert!(balancer.stats().remembered("tracked") >= quiet.len() as u64);
    let shown = balancer.flows()["tracked"].as_array().unwrap().clone();
    assert!(shown.iter().any(|row| row["state"] == "open"), "{shown:?}");
    thread::scope(|scope| {
        let ends: Vec<_> = quiet
            .iter()
            .flat_map(|it| [(&it.client, it.spoke), (&it.server, it.spoke)])
            .map(|(end, spoke)| scope.spawn(move || (reset_after(end, spoke), spoke)))
            .collect();
        while ends.iter().any(|end| !end.is_finished()) {
            busy.iter_mut().for_each(Connection::talk);
            thread::sleep(Duration::from_millis(200));
        }
        let mut latest = Duration::ZERO;
        for end in ends {
            let (after, _) = end.join().unwrap();
            assert!(after >= IDLE, "reset {after:?} after the last packet");
            assert!(after <= IDLE + Duration::from_secs(1) + LATE, "reset {after:?} after the last packet");
            latest = latest.max(after);
        }
        eprintln!(
            "{} ends heard at most {:?} after the idle time",
            2 * quiet.len(),
            latest.saturating_sub(IDLE)
        );
    });
    busy.iter_mut().for_each(Connection::talk);
    await_resets(&balancer, "Idle", 2 * quiet.len());
}

#[test]
fn strictly_a_silent_connection_is_dropped_and_else_it_lives_on() {
    // FLOW-5
    let Some(net) = Net::flat("idle-strict", 2) else { return };
    let strict: Vec<Rule> = of_tcp([floating(), plain()].concat()).map(Rule::strict).collect();
    let ears = Ears::of(&net, &strict);
    let document = Document::new(&strict, net.everybody());
    let balancer = Balancer::start_with(&net, &document, Settings { hurry: HURRY, ..Settings::default() });
    // Connections from before the rule was there are not known: for one idle time nobody is turned away.
    eventually(IDLE * 4, || {
        let tables = balancer.tables();
        if tables.contains(" strict idle") && !tables.contains("strict soon") { Ok(()) } else { Err(tables) }
    });
    let mut connections: Vec<Connection> = strict.iter().map(|rule| ears.connect(&net, rule)).collect();
    connections.iter_mut().for_each(Connection::talk);
    thread::sleep(IDLE / 2);
    connections.iter_mut().for_each(Connection::talk);
    eventually(IDLE * 3, || match balancer.stats().remembered("tracked") {
        0 => Ok(()),
        left => Err(left),
    });
    let before = balancer.stats().verdict("Forgotten");
    for connection in &mut connections {
        connection.client.write_all(b"hello?").unwrap();
        assert_eq!(heard(&connection.server, Duration::from_millis(300)), None, "nothing reaches the member");
        assert_eq!(heard(&connection.client, Duration::from_millis(300)), None, "and nobody is reset");
    }
    assert!(balancer.stats().verdict("Forgotten") >= before + connections.len() as u64);
    assert_eq!(balancer.stats().resets("Idle"), 0);
    // Whoever asks for a connection gets one.
    strict.iter().for_each(|rule| ears.connect(&net, rule).talk());
}

#[test]
fn a_member_that_leaves_keeps_its_connections_for_the_drain_period() {
    // FLOW-3: floating IP and masquerading.
    let Some(net) = Net::flat("drain", 2) else { return };
    let rules: Vec<Rule> = of_tcp([floating(), plain()].concat()).collect();
    check_drain(&net, &rules, |document| document);
}

#[test]
fn a_member_behind_a_gateway_that_leaves_keeps_its_connections_for_the_drain_period() {
    // FLOW-3
    let Some(net) = Net::new("drain-gateway", Shape::TwoSided, 2) else { return };
    let rules: Vec<Rule> = of_tcp(plain()).collect();
    check_drain(&net, &rules, |mut document| {
        document.pools[0].gateway = true;
        document
    });
}

fn check_drain(net: &Net, rules: &[Rule], edit: fn(Document) -> Document) {
    const DRAIN: u32 = 4;
    let ears = Ears::of(net, rules);
    let document = edit(Document { drain: DRAIN, ..Document::new(rules, net.everybody()) });
    let mut balancer = Balancer::start(net, &document);
    let mut connections: Vec<Connection> =
        rules.iter().flat_map(|rule| ears.connect_all(net, rule)).collect();
    connections.iter_mut().for_each(Connection::talk);
    let left = Instant::now();
    balancer.apply(&document.with(net.addresses(&[2])));
    connections.iter_mut().for_each(Connection::talk);
    let state = |balancer: &Balancer<'_>| balancer.stats().0["members"].to_string();
    assert!(state(&balancer).contains("draining"), "{}", state(&balancer));
    for rule in rules {
        for _ in 0..6 {
            assert_eq!(ears.connect(net, rule).member, 1, "{}: new connections avoid it", rule.name);
        }
    }
    let (gone, mut others): (Vec<_>, Vec<_>) = connections.into_iter().partition(|it| it.member == 0);
    for after in both_reset_after(&gone, left) {
        assert!(after >= Duration::from_secs(DRAIN.into()), "reset after {after:?}");
        assert!(after <= Duration::from_secs(u64::from(DRAIN) + 3) + LATE, "reset after {after:?}");
    }
    others.iter_mut().for_each(Connection::talk);
    await_resets(&balancer, "Drained", 2 * gone.len());
    eventually(LATE, || match state(&balancer) {
        members if members.contains("draining") => Err(members),
        _ => Ok(()),
    });
}

#[test]
fn whoever_had_a_port_of_a_range_keeps_its_connections_for_the_drain_period() {
    // FLOW-3, NAT-1
    const DRAIN: u32 = 8;
    const FIRST: u16 = 50_000;
    for (name, shape) in [("drain-range", Shape::Flat), ("drain-range-gate", Shape::TwoSided)] {
        let Some(net) = Net::new(name, shape, 3) else { return };
        let range = |name: &str, address: &str, floating| {
            let rule = Rule::plain(name, Wire::Tcp, &format!("{address}:{FIRST}"), 2022);
            Rule { floating, ..rule }
        };
        let mut ranges = vec![range("four", "65.52.0.3", false), range("six", "[fd00:65::3]", false)];
        let gateway = matches!(shape, Shape::TwoSided);
        if gateway {
            ranges.extend([range("floats-4", "65.52.0.4", true), range("floats-6", "[fd00:65::4]", true)]);
        }
        let ears = Ears::of(&net, &ranges);
        let mut document = Document { drain: DRAIN, ..Document::new(&[], net.addresses(&[1, 2])) };
        document.pools[0].gateway = gateway;
        document.ranges = ranges.iter().map(|range| (range.clone(), FIRST + 2)).collect();
        let mut balancer = Balancer::start(&net, &document);
        let at = |range: &Rule, port: u16| {
            let mut rule = range.clone();
            rule.frontend.set_port(port);
            rule
        };
        let connect = |port: u16, member: usize| -> Vec<Connection> {
            let rules = ranges.iter().map(|range| at(range, port));
            let connections: Vec<_> = rules.map(|rule| ears.connect(&net, &rule)).collect();
            assert!(connections.iter().all(|it| it.member == member), "{name}: port {port}");
            connections
        };
        let (mut gone, mut others) = (connect(FIRST, 0), connect(FIRST + 1, 1));
        let left = Instant::now();
        balancer.apply(&document.with(net.addresses(&[2])));
        gone.iter_mut().chain(&mut others).for_each(Connection::talk);
        let heard = knock(net.client(), Wire::Tcp, ranges[0].frontend);
        assert_eq!(heard, Knock::Silence, "nobody takes what is new at its port");
        let stats = balancer.stats().0["rules"].to_string();
        assert_eq!(
            stats.matches("lb/inboundNatRules/four").count(),
            2,
            "the port still has its name: {stats}"
        );
        balancer.apply(&document.with(net.addresses(&[2, 3])));
        others.extend(connect(FIRST, 2));
        gone.iter_mut().chain(&mut others).for_each(Connection::talk);
        balancer.kill();
        balancer.serve();
        gone.iter_mut().chain(&mut others).for_each(Connection::talk);
        for after in both_reset_after(&gone, left) {
            assert!(after >= Duration::from_secs(DRAIN.into()), "{name}: reset after {after:?}");
        }
        others.iter_mut().for_each(Connection::talk);
        await_resets(&balancer, "Drained", 2 * gone.len());
    }
}

#[test]
fn what_was_silent_for_too_long_while_the_process_was_away_is_reset_when_it_is_back() {
    // FLOW-5, FLOW-7
    let Some(net) = Net::flat("idle-away", 2) else { return };
    let rules: Vec<Rule> = of_tcp([floating(), plain()].concat()).map(Rule::announcing).collect();
    let ears = Ears::of(&net, &rules);
    let document = Document::new(&rules, net.everybody());
    let mut balancer =
        Balancer::start_with(&net, &document, Settings { hurry: HURRY, ..Settings::default() });
    let mut quiet: Vec<Connection> = rules.iter().map(|rule| ears.connect(&net, rule)).collect();
    quiet.iter_mut().for_each(Connection::talk);
    balancer.kill();
    thread::sleep(IDLE + Duration::from_secs(2));
    for connection in &quiet {
        assert_eq!(heard(&connection.client, Duration::from_millis(10)), None, "nobody is there to reset it");
    }
    balancer.serve();
    let back = Instant::now();
    for connection in &quiet {
        for end in [&connection.client, &connection.server] {
            assert!(reset_after(end, back) <= Duration::from_secs(1) + LATE);
        }
    }
    rules.iter().for_each(|rule| drop(ears.connect(&net, rule)));
}

#[test]
fn without_a_drain_period_and_resets_nothing_is_kept_in_mind() {
    // FLOW-3, FLOW-5: who does not ask for it does not pay for it.
    let Some(net) = Net::flat("no-tracks", 2) else { return };
    let rules: Vec<Rule> = of_tcp([floating(), plain()].concat()).collect();
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let _sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, 4)).collect();
    let stats = balancer.stats();
    assert_eq!((stats.remembered("tracked"), balancer.stats().resets("Idle")), (0, 0));
}

fn of_tcp(rules: Vec<Rule>) -> impl Iterator<Item = Rule> {
    rules.into_iter().filter(|rule| rule.wire == Wire::Tcp)
}

/// Listening sockets of all members, by rule.
struct Ears(Vec<(String, Vec<TcpListener>)>);

/// Both ends of a connection.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// The member, counted from nought.
    member: usize,
    /// When its ends spoke last.
    spoke: Instant,
}

impl Ears {
    fn of(net: &Net, rules: &[Rule]) -> Self {
        let listen = |rule: &Rule| {
            let ears = net.members.iter().map(|member| {
                let frontend = rule.frontend.ip();
                let shown = member.host.ip(&["addr", "show", "dev", "lo"]).unwrap();
                if rule.floating && !shown.contains(&format!(" {frontend}/")) {
                    let length = if frontend.is_ipv4() { 32 } else { 128 };
                    member.host.loopback_address(&format!("{frontend}/{length}")).unwrap();
                }
                let at = rule.seen_at(member.address(rule.v4()));
                let ear = member.host.within(|| TcpListener::bind(at)).unwrap().unwrap();
                ear.set_nonblocking(true).unwrap();
                ear
            });
            (rule.name.clone(), ears.collect())
        };
        Self(rules.iter().map(listen).collect())
    }

    fn connect(&self, net: &Net, rule: &Rule) -> Connection {
        let from = net.client_address(0, rule.v4());
        let client = net.client().within(|| dial(Some(from), rule.frontend, PATIENCE)).unwrap().unwrap();
        let (_, ears) = self.0.iter().find(|(name, _)| *name == rule.name).unwrap();
        let end = Instant::now() + PATIENCE;
        let (member, server) = loop {
            let mut taken = ears.iter().enumerate().filter_map(|(at, ear)| Some((at, ear.accept().ok()?.0)));
            if let Some(taken) = taken.next() {
                break taken;
            }
            assert!(Instant::now() < end, "{}: no member has the connection", rule.name);
            thread::sleep(Duration::from_millis(5));
        };
        for end in [&client, &server] {
            end.set_nonblocking(false).unwrap();
            end.set_nodelay(true).unwrap();
            end.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let mut connection = Connection { client, server, member, spoke: Instant::now() };
        connection.talk();
        connection
    }

    /// Connects until each member has two connections of a rule at least. Of 64 connections to two members, chance denies one of them
    /// its two once in 10^17 runs.
    fn connect_all(&self, net: &Net, rule: &Rule) -> Vec<Connection> {
        let mut connections: Vec<Connection> = Vec::new();
        while !(0..net.members.len()).all(|of| connections.iter().filter(|it| it.member == of).count() >= 2) {
            assert!(connections.len() < 64, "{}: a member has no two of 64 connections", rule.name);
            connections.push(self.connect(net, rule));
        }
        connections
    }
}

impl Connection {
    /// Both ends speak, and hear each other.
    fn talk(&mut self) {
        let mut buffer = [0; 16];
        self.client.write_all(b"hello").unwrap();
        self.server.read_exact(&mut buffer[..5]).unwrap();
        self.server.write_all(b"good day").unwrap();
        self.client.read_exact(&mut buffer[..8]).unwrap();
        self.spoke = Instant::now();
    }
}

/// How long after this moment an end was reset.
fn reset_after(end: &TcpStream, since: Instant) -> Duration {
    let kind = heard(end, IDLE * 4 + LATE);
    assert_eq!(kind, Some(ErrorKind::ConnectionReset));
    since.elapsed()
}

/// How long after this moment both ends of these connections were reset.
fn both_reset_after(connections: &[Connection], since: Instant) -> Vec<Duration> {
    thread::scope(|scope| {
        let ends = connections.iter().flat_map(|it| [&it.client, &it.server]);
        let ends: Vec<_> = ends.map(|end| scope.spawn(move || reset_after(end, since))).collect();
        ends.into_iter().map(|end| end.join().unwrap()).collect()
    })
}

/// So many resets are counted for a cause. They are heard of before they are counted.
fn await_resets(balancer: &Balancer<'_>, cause: &str, number: usize) {
    let counted = || balancer.stats().resets(cause) as usize;
    eventually(LATE, || if counted() >= number { Ok(()) } else { Err(counted()) });
    assert_eq!(counted(), number, "{cause}");
}

/// What an end hears that nobody speaks to; `None` is silence.
fn heard(mut end: &TcpStream, patience: Duration) -> Option<ErrorKind> {
    end.set_read_timeout(Some(patience)).unwrap();
    match end.read(&mut [0; 16]) {
        Ok(bytes) => panic!("{bytes} bytes"),
        Err(cause) if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(cause) => Some(cause.kind()),
    }
}
