//! When connections are over, and what their ends hear of it.

use plane::row::{MAX_IDLE_TICKS, Mac};
use plane::{Drop, Remembered, Sent, Tick, Tracked, Verdict, masquerade_places, masqueraded};

use super::{Endings, Fate, Holder, Outgoing, may_be_over};
use crate::testing::{
    ACK, CLIENT_MAC, LINK, Lab, Packet, RuleWish, SYN, Wish, ip, link_mac, mac_of, pool, rule, surroundings,
    tcp,
};
use crate::{Clock, Sizes, Surroundings};

const FAMILIES: [Family; 2] = [
    Family { client: "192.0.2.1", frontend: "10.0.1.1", members: ["10.0.0.4", "10.0.0.5"] },
    Family { client: "2001:db8::1", frontend: "fd00:1::1", members: ["fd00::4", "fd00::5"] },
];
/// The shortest idle time, in ticks.
const IDLE: u32 = 236;
const FIN_ACK: u8 = 0x11;
const RST: u8 = 0x04;

#[derive(Clone, Copy)]
struct Family {
    client: &'static str,
    frontend: &'static str,
    members: [&'static str; 2],
}

impl Family {
    /// Floating IP, a gateway, and masquerading.
    fn labs(self, edit: fn(RuleWish) -> RuleWish) -> [Lab; 3] {
        let rule = rule(self.frontend, 80, "web", 8_080);
        let floating = RuleWish { backend_port: 80, ..rule }.floating();
        [(false, floating), (true, rule), (false, rule)]
            .map(|(gateway, rule)| small(Wish::new(&[pool("web", gateway, &self.members)], &[edit(rule)])))
    }

    fn client(self, port: u16) -> Packet {
        tcp((self.client, port), (self.frontend, 80), SYN)
    }
}

fn small(wish: Wish) -> Lab {
    let members: Vec<_> = wish.pools.iter().flat_map(|pool| pool.members.clone()).collect();
    let sizes = Sizes { flow_bits: 6, masquerade_bits: 8, rings: 8 };
    Lab::within(Surroundings { sizes, ..surroundings(members) }, wish)
}

#[test]
fn both_ends_of_a_silent_connection_get_a_reset_that_they_accept() {
    // FLOW-5
    for family in FAMILIES {
        for lab in &mut family.labs(RuleWish::resetting) {
            let client = family.client(5_000);
            began(lab, client);
            let (sent, station) = send(lab, client, ACK, 1_006, 300);
            lab.now += IDLE - 3;
            assert_eq!(sweep(lab), [], "not yet");
            lab.now += 2;
            let resets = sweep(lab);
            let [(to_client, client_frame), (to_member, member_frame)] = &resets[..] else {
                panic!("{resets:?}")
            };
            assert_eq!((*to_client, *to_member), (LINK, LINK));
            // The client hears it from the frontend, by the station that its own frames came from.
            let heard = Packet::read(client_frame);
            assert_eq!((heard.from, heard.to), (client.to, client.from));
            assert_eq!(macs(client_frame), (CLIENT_MAC, link_mac(LINK)));
            assert_eq!(numbers(client_frame), (300, 1_011), "the client expects 300");
            // The member hears what looks like the client's next packet.
            let heard = Packet::read(member_frame);
            assert_eq!((heard.from, heard.to), (sent.from, sent.to));
            assert_eq!(macs(member_frame), (station, link_mac(LINK)));
            assert_eq!(numbers(member_frame), (1_011, 300), "the member expects 1011");
            assert_eq!(sweep(lab), [], "it is forgotten");
        }
    }
}

#[test]
fn a_connection_that_speaks_is_not_over() {
    // FLOW-5
    for family in FAMILIES {
        for lab in &mut family.labs(RuleWish::resetting) {
            let client = family.client(5_000);
            began(lab, client);
            for _ in 0..8 {
                lab.now += IDLE / 2;
                assert_eq!(sweep(lab), []);
                // A probe of its keep-alive: one number too low, and nothing new.
                send(lab, client, ACK, 1_000, 300);
            }
            lab.now += IDLE - 1;
            let resets = sweep(lab);
            assert_eq!(numbers(&resets[0].1), (300, 1_006));
        }
    }
}

#[test]
fn who_has_closed_or_never_answered_hears_nothing() {
    // FLOW-5
    for family in FAMILIES {
        for lab in &mut family.labs(RuleWish::resetting) {
            let [half_open, finished, broken] = [5_000, 5_001, 5_002].map(|port| family.client(port));
            send(lab, half_open, SYN, 1_000, 0);
            began(lab, finished);
            send(lab, finished, FIN_ACK, 1_006, 300);
            began(lab, broken);
            send(lab, broken, RST, 1_006, 0);
            lab.now += IDLE + 10;
            assert_eq!(sweep(lab), []);
            assert!(lab.replica.memory().flow_words().all(|word| word == 0), "nothing is left of them");
        }
    }
}

#[test]
fn a_reset_out_of_nowhere_ends_nothing() {
    // FLOW-5: somebody else may have sent it.
    for family in FAMILIES {
        let [lab, ..] = &mut family.labs(RuleWish::resetting);
        let client = family.client(5_000);
        began(lab, client);
        send(lab, client, RST, 2_000_077_777, 0);
        send(lab, client, SYN, 99_999, 0);
        lab.now += IDLE - 1;
        assert_eq!(sweep(lab).len(), 2);
    }
}

#[test]
fn numbers_that_wrap_and_packets_that_overtake_leave_the_newest() {
    // FLOW-5
    for family in FAMILIES {
        let [lab, ..] = &mut family.labs(RuleWish::resetting);
        let client = family.client(5_000);
        send(lab, client, SYN, u32::MAX - 9, 0);
        send(lab, client, ACK, u32::MAX - 3, u32::MAX);
        send(lab, client, ACK, 11, 5);
        send(lab, client, ACK, u32::MAX - 3, u32::MAX);
        lab.now += IDLE - 1;
        assert_eq!(numbers(&sweep(lab)[0].1), (5, 16));
    }
}

#[test]
fn strictly_a_connection_that_was_silent_is_dropped() {
    // FLOW-5
    for family in FAMILIES {
        for lab in &mut family.labs(RuleWish::strict) {
            let early = family.client(5_000);
            // Whoever began before the rule kept connections in mind is not turned away.
            lab.send(early.with(ACK)).unwrap();
            assert!(!lab.settle());
            lab.now += IDLE / 2;
            lab.send(early.with(ACK)).unwrap();
            lab.now += IDLE / 2 + 3;
            assert!(lab.settle());
            lab.send(early.with(ACK)).unwrap();
            let late = family.client(5_001);
            assert_eq!(lab.send(late.with(ACK)), Err(Drop::Forgotten));
            lab.send(late).unwrap();
            lab.send(late.with(ACK)).unwrap();
            lab.now += IDLE + 1;
            assert_eq!(lab.send(late.with(ACK)), Err(Drop::Forgotten));
            assert_eq!(sweep(lab), [], "nobody asked for resets");
            lab.send(late).unwrap();
            assert!(!lab.apply().iter().any(|_| true), "compiled again it is strict still");
        }
    }
}

#[test]
fn a_member_that_leaves_keeps_its_connections_until_its_time_is_over() {
    // FLOW-3
    for family in FAMILIES {
        for lab in &mut family.labs(|rule| rule) {
            lab.wish.drain = 60;
            lab.apply();
            let clients: Vec<Packet> = (5_000..5_040).map(|port| family.client(port)).collect();
            let first = ip(family.members[0]);
            let mut there = Vec::new();
            for client in &clients {
                began(lab, *client);
                if lab.member(client.with(ACK)) == Ok(first) {
                    there.push(*client);
                }
            }
            assert!(there.len() >= 8, "{}", there.len());
            lab.wish.pools[0].members.remove(0);
            lab.apply();
            for client in &there {
                assert_eq!(lab.member(client.with(ACK)), Ok(first), "it keeps its connections");
                assert_ne!(
                    lab.member(family.client(client.from.1 + 1_000)),
                    Ok(first),
                    "and gets no new ones"
                );
            }
            lab.now += 50;
            lab.apply();
            assert_eq!(lab.member(there[0].with(ACK)), Ok(first));
            lab.now += 12;
            lab.apply();
            for client in &there {
                assert_ne!(lab.member(client.with(ACK)), Ok(first), "its time is over");
            }
            assert!(lab.replica.tables().members.values().all(|row| !row.is_leaving()));
        }
    }
}

#[test]
fn the_last_member_that_leaves_keeps_its_connections_as_well() {
    // FLOW-3
    for family in FAMILIES {
        for lab in &mut family.labs(|rule| rule) {
            lab.wish.drain = 60;
            lab.wish.pools[0].members.truncate(1);
            lab.apply();
            let client = family.client(5_000);
            began(lab, client);
            lab.wish.pools[0].members.clear();
            lab.apply();
            assert!(lab.send(client.with(ACK)).is_ok());
            assert_eq!(lab.send(family.client(5_001)), Err(Drop::NoMember));
        }
    }
}

#[test]
fn whoever_had_a_port_of_a_range_keeps_its_connections_whoever_has_the_port_now() {
    // FLOW-3, NAT-1
    for family in FAMILIES {
        let [one, two] = family.members;
        let three = if one == "10.0.0.4" { "10.0.0.6" } else { "fd00::6" };
        let range = rule(family.frontend, 500, "web", 8_080).up_to(503);
        for (gateway, range) in [(true, range), (true, range.floating()), (false, range)] {
            let mut lab = small(Wish::new(&[pool("web", gateway, &[one, two])], &[range]));
            let lab = &mut lab;
            lab.wish.drain = 60;
            lab.apply();
            let to = |port: u16, at: u16| tcp((family.client, port), (family.frontend, at), SYN);
            let [old, other] = [to(5_000, 500), to(5_000, 501)];
            for client in [old, other] {
                began(lab, client);
            }
            assert_eq!([old, other].map(|it| lab.member(it.with(ACK))), [Ok(ip(one)), Ok(ip(two))]);
            let answers = |lab: &Lab, from: &str, client: Packet| {
                if !gateway {
                    return;
                }
                let source = if range.floating { family.frontend } else { from };
                let answer = Packet { from: (ip(source), 8_080), to: client.from, flags: Some(ACK) };
                let mut frame = answer.between(mac_of(ip(from)), link_mac(LINK));
                assert_eq!(lab.run(&mut frame), Verdict::Route(Sent::Returned), "{from}");
                assert_eq!(Packet::read(&frame).from, client.to, "{from}");
            };

            lab.wish.pools[0].members.remove(0);
            lab.apply();
            assert_eq!(lab.member(old.with(ACK)), Ok(ip(one)), "it keeps its connections");
            assert_eq!(lab.member(to(5_001, 500)), Err(Drop::NoMember), "and gets no new ones");
            answers(lab, one, old);
            answers(lab, two, other);
            lab.wish.pools[0].members.push(ip(three));
            lab.apply();
            let new = to(5_002, 500);
            began(lab, new);
            for _ in 0..2 {
                // Also after a start.
                assert_eq!(
                    [old, other, new].map(|it| lab.member(it.with(ACK))),
                    [Ok(ip(one)), Ok(ip(two)), Ok(ip(three))]
                );
                answers(lab, one, old);
                answers(lab, two, other);
                answers(lab, three, new);
                lab.restart();
                assert_eq!(lab.apply(), []);
            }
            lab.now += 62;
            lab.apply();
            assert_eq!(lab.member(old.with(ACK)), Ok(ip(three)), "its time is over");
            answers(lab, two, other);
            answers(lab, three, new);
            assert!(lab.replica.tables().members.values().all(|row| !row.is_leaving()));
            let ports: Vec<u16> =
                lab.replica.tables().rule_rows().into_keys().map(|(.., port)| port).collect();
            assert_eq!(ports, [500, 501]);
        }
    }
}

#[test]
fn a_reset_is_due_within_three_moments_of_the_idle_time() {
    // FLOW-5: and never before it.
    for hz in [100, 250, 300, 1_000] {
        for hurry in [0, 3, 6] {
            let clock = Clock::of_jiffies(hz).hurried(hurry);
            let moment = clock.tick.as_secs_f64() / f64::from(1 << clock.shift.min(3));
            for minutes in 4..=100u32 {
                let idle = std::time::Duration::from_secs(u64::from(minutes) * 60);
                let ticks = clock.ticks(idle);
                let due = f64::from(clock.silence(ticks)) * moment;
                let wanted = idle.as_secs_f64() / f64::from(1 << hurry);
                // The last packet came at some time within its moment.
                assert!(due - moment >= wanted, "{hz} {hurry} {minutes}: {due} after {wanted}");
                assert!(due <= wanted + 2.0 * moment + 1e-6, "{hz} {hurry} {minutes}: {due} after {wanted}");
                // By then the sweep looks at it.
                let left = f64::from(ticks) - due / clock.tick.as_secs_f64();
                assert!(left <= 2.0, "{hz} {hurry} {minutes}: {left}");
                assert!(ticks <= MAX_IDLE_TICKS);
            }
        }
    }
}

/// A connection whose client sends 1,006 next and expects 300.
fn began(lab: &Lab, client: Packet) {
    // Its five bytes count as well.
    send(lab, client, SYN, 995, 0);
    send(lab, client, ACK, 1_001, 300);
}

/// Sends a packet of five bytes with these numbers.
fn send(lab: &Lab, client: Packet, flags: u8, sequence: u32, ack: u32) -> (Packet, Mac) {
    let mut frame = client.with(flags).frame();
    let tcp = if client.from.0.is_ipv4() { 34 } else { 54 };
    let sum = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
    };
    let before = sum(&frame[tcp + 4..tcp + 12]);
    frame[tcp + 4..tcp + 8].copy_from_slice(&sequence.to_be_bytes());
    frame[tcp + 8..tcp + 12].copy_from_slice(&ack.to_be_bytes());
    let checksum = u16::from_be_bytes([frame[tcp + 16], frame[tcp + 17]]);
    let all = u32::from(!checksum) + sum(&frame[tcp + 4..tcp + 12]) + 0xffff * 8 - before;
    let folded = (all & 0xffff) + (all >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    frame[tcp + 16..tcp + 18].copy_from_slice(&checksum.to_be_bytes());
    let verdict = lab.run(&mut frame);
    assert!(matches!(verdict, Verdict::Send(..)), "{verdict:?}");
    (Packet::read(&frame), crate::testing::station(&frame))
}

/// Sequence and acknowledgement number of a frame.
fn numbers(frame: &[u8]) -> (u32, u32) {
    let tcp = frame.len() - 20;
    let word = |at: usize| u32::from_be_bytes(frame[tcp + at..tcp + at + 4].try_into().unwrap());
    assert_eq!(frame[tcp + 13], 0x14, "RST and ACK");
    (word(4), word(8))
}

fn macs(frame: &[u8]) -> (Mac, Mac) {
    let mac = |at: usize| Mac::new(frame[at..at + 6].try_into().unwrap());
    (mac(0), mac(6))
}

/// What the node does, on tables and memory in ordinary memory.
fn sweep(lab: &mut Lab) -> Vec<Outgoing> {
    let (now, moment) = (Tick(lab.now), lab.now << 3);
    let endings = Endings::new(lab.replica.tables(), lab.surroundings.clock);
    assert!(endings.are_possible());
    let memory = lab.replica.memory();
    let outward: Vec<_> = memory.outward_words().collect();
    let entries: Vec<_> = memory.flow_words().zip(memory.track_words()).enumerate().collect();
    let (mut resets, mut gone) = (Vec::new(), Vec::new());
    for (at, (word, row)) in entries {
        let Some(known) = Tracked::of(word, row).filter(|_| may_be_over(word, now)) else { continue };
        match endings.fate(word, &known, now, moment) {
            Fate::Stays => {}
            Fate::Forgotten => gone.push(at),
            Fate::Reset => {
                gone.push(at);
                let places = masquerade_places(&known.flow, lab.replica.tables().config);
                let mut kept = places.filter_map(|place| masqueraded(outward[place as usize], now));
                let stand_in = kept.find(|kept| kept.flow == known.flow);
                let holder = match stand_in {
                    Some(kept) => Holder { member: kept.member, port: kept.port },
                    None => Holder { member: Remembered::whenever(word).member(), port: 0 },
                };
                resets.extend(endings.resets(&known, Some(holder)));
            }
        }
    }
    for at in gone {
        lab.replica.memory().forget_at(at);
    }
    resets
}
