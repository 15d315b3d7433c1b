//! Flows over time: what stays with its member, what is forgotten, what a flood can and cannot do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use plane::row::Mac;
use plane::{Drop, Pass, Sent, Tick, Verdict};

use crate::testing::{
    ACK, CLIENT_MAC, Dice, LINK, Lab, OTHER_LINK, Packet, RuleWish, SYN, SYN_ACK, Wish, ip, link, link_mac,
    mac_of, pool, rule, station, surroundings, tcp, udp,
};
use crate::{Change, Memory, Replica, Sizes};

const FRONTEND: (&str, u16) = ("10.0.1.1", 80);
const OWN: (&str, u16) = ("10.0.0.2", 0);
/// The shortest idle time, in ticks.
const IDLE: u32 = 236;

#[test]
fn flows_keep_their_member_whatever_changes() {
    // DIST-2, DIST-8, FLOW-1: against a model in which only a member that leaves its pool loses its connections.
    for seed in 0..8 {
        Story::new(seed, true).run(26);
    }
}

#[test]
fn masqueraded_flows_keep_their_member_whatever_changes() {
    // DIST-2, FLOW-1
    for seed in 10..16 {
        Story::new(seed, false).run(22);
    }
}

#[test]
fn an_established_connection_survives_two_changes_in_a_row() {
    // DIST-2: of which a slot knows the last one only.
    let mut lab = three();
    let flows = connections(&lab, 60);
    lab.wish.pools[0].members.push(ip("10.0.0.7"));
    lab.apply();
    let later = connections_from(&lab, 7_000, 60);
    lab.wish.pools[0].members.push(ip("10.0.0.8"));
    lab.apply();
    // The member that the slots changed from leaves: others must be found all the same.
    lab.wish.pools[0].members.remove(0);
    lab.apply();
    for (flow, member) in flows.iter().chain(&later).filter(|(_, member)| *member != ip("10.0.0.4")) {
        assert_eq!(lab.member(flow.with(ACK)), Ok(*member), "{flow:?}");
    }
}

#[test]
fn changing_the_distribution_moves_no_established_connection() {
    // DIST-8
    let mut lab = three();
    let flows = connections(&lab, 100);
    for by in ["SourceIP", "SourceIPProtocol", "Default"] {
        lab.wish.rules[0] = lab.wish.rules[0].by(by);
        lab.apply();
        for (flow, member) in &flows {
            assert_eq!(lab.member(flow.with(ACK)), Ok(*member), "{by}");
        }
    }
    // New ones follow the new distribution at once.
    lab.wish.rules[0] = lab.wish.rules[0].by("SourceIP");
    lab.apply();
    let reached: BTreeSet<_> =
        (1..50).map(|port| lab.member(tcp(("192.0.2.99", port), FRONTEND, SYN)).unwrap()).collect();
    assert_eq!(reached.len(), 1);
}

#[test]
fn one_client_reaches_one_member_over_rules_that_share_frontend_and_pool() {
    // DIST-3
    for (by, protocols_agree) in [("SourceIP", true), ("SourceIPProtocol", false)] {
        let lab = Lab::new(Wish::new(
            &[pool("web", true, &["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7"])],
            &[
                rule(FRONTEND.0, 80, "web", 8080).by(by),
                rule(FRONTEND.0, 443, "web", 8443).by(by),
                rule(FRONTEND.0, 443, "web", 8443).udp().by(by),
                rule(FRONTEND.0, 8081, "web", 8081).floating().by(by),
            ],
        ));
        let mut differ = 0;
        for client in 1..100 {
            let client = format!("192.0.2.{client}");
            let by_tcp = [(1_000, 80), (2_000, 443), (3_000, 8081)]
                .map(|(from, to)| lab.member(tcp((&client, from), (FRONTEND.0, to), SYN)).unwrap());
            let by_udp = lab.member(udp((&client, 1_000), (FRONTEND.0, 443))).unwrap();
            assert!(by_tcp.iter().all(|member| *member == by_tcp[0]), "{by}: {client} reached {by_tcp:?}");
            assert!(
                !protocols_agree || by_udp == by_tcp[0],
                "{by}: {client} reached {by_tcp:?} and {by_udp}"
            );
            differ += usize::from(by_udp != by_tcp[0]);
        }
        assert!(protocols_agree || differ > 30, "with {by} the protocol is free to lead elsewhere");
    }
}

#[test]
fn new_flows_avoid_a_member_that_is_down_and_established_ones_stay() {
    // FLOW-1
    let mut lab = three();
    let flows = connections(&lab, 60);
    lab.down("10.0.0.4");
    for (flow, member) in &flows {
        assert_eq!(lab.member(flow.with(ACK)), Ok(*member));
        let again = tcp((&flow.from.0.to_string(), flow.from.1 + 10_000), FRONTEND, SYN);
        assert_ne!(lab.member(again), Ok(ip("10.0.0.4")));
    }
}

#[test]
fn sessions_without_connection_leave_a_member_that_is_down() {
    // FLOW-1
    for gateway in [true, false] {
        let mut lab = Lab::new(Wish::new(
            &[pool("web", gateway, &["10.0.0.4", "10.0.0.5", "10.0.0.6"])],
            &[rule(FRONTEND.0, 53, "web", 5353).udp()],
        ));
        let sessions: Vec<_> = (1..60)
            .map(|port| udp(("192.0.2.1", 4_000 + port), (FRONTEND.0, 53)))
            .map(|packet| (packet, lab.member(packet).unwrap()))
            .collect();
        lab.down("10.0.0.4");
        for (packet, member) in &sessions {
            let now = lab.member(*packet).unwrap();
            if *member == ip("10.0.0.4") {
                assert_ne!(now, *member);
                assert_eq!(lab.member(*packet), Ok(now), "and stay where they went");
            } else {
                assert_eq!(now, *member);
            }
        }
    }
}

#[test]
fn sessions_stay_when_members_come() {
    // DIST-2
    let mut lab = Lab::new(Wish::new(
        &[pool("web", true, &["10.0.0.4", "10.0.0.5"])],
        &[rule(FRONTEND.0, 53, "web", 53).udp().floating()],
    ));
    let sessions: Vec<_> = (1..60)
        .map(|port| udp(("192.0.2.1", 4_000 + port), (FRONTEND.0, 53)))
        .map(|packet| (packet, lab.member(packet).unwrap()))
        .collect();
    lab.wish.pools[0].members.extend(["10.0.0.6", "10.0.0.7"].map(ip));
    lab.apply();
    for (packet, member) in sessions {
        assert_eq!(lab.member(packet), Ok(member));
    }
}

#[test]
fn nobody_up_takes_no_new_flow_and_keeps_established_ones() {
    // FLOW-2, RULE-3
    let mut lab = three();
    let flows = connections(&lab, 30);
    for member in ["10.0.0.4", "10.0.0.5", "10.0.0.6"] {
        lab.down(member);
    }
    for (flow, member) in flows {
        assert_eq!(lab.member(flow.with(ACK)), Ok(member));
        assert_eq!(lab.member(tcp(("192.0.2.77", flow.from.1), FRONTEND, SYN)), Err(Drop::NoMember));
    }
}

#[test]
fn a_flow_that_was_silent_for_the_idle_time_is_chosen_afresh() {
    // FLOW-5
    let mut lab = three();
    let session = Wish::new(&lab.wish.pools, &[rule(FRONTEND.0, 53, "web", 53).udp()]);
    lab.wish = session;
    lab.apply();
    let packet = udp(("192.0.2.1", 4_000), (FRONTEND.0, 53));
    let member = lab.member(packet).unwrap();
    let others: Vec<IpAddr> =
        ["10.0.0.4", "10.0.0.5", "10.0.0.6"].map(ip).into_iter().filter(|at| *at != member).collect();
    // The slot goes to another member, but the session stays as long as it speaks.
    lab.down(&member.to_string());
    let moved = lab.member(packet).unwrap();
    lab.up(&member.to_string());
    lab.now += IDLE;
    assert_eq!(lab.member(packet), Ok(moved));
    lab.now += IDLE + 1;
    assert_eq!(lab.member(packet), Ok(member), "chosen afresh");
    assert!(others.contains(&moved));
}

#[test]
fn a_flood_in_steady_state_writes_nothing() {
    // FLOW-6
    let lab = three();
    for port in 0..5_000 {
        let _ = lab.member(tcp(("192.0.2.1", port), FRONTEND, SYN)).unwrap();
    }
    assert!(lab.replica.memory().flow_words().all(|word| word == 0));
    assert!(lab.replica.memory().outward_words().all(|words| words == [0; 8]));
}

#[test]
fn a_flood_while_changing_takes_no_place_of_an_established_flow() {
    // FLOW-6
    let mut lab = small(3);
    let flows = connections(&lab, 30);
    lab.down("10.0.0.4");
    let kept: Vec<_> =
        flows.into_iter().filter(|(flow, member)| lab.member(flow.with(ACK)) == Ok(*member)).collect();
    let remembered = confirmed(&lab);
    assert!(!remembered.is_empty());
    for port in 0..20_000 {
        let _ = lab.member(tcp(("203.0.113.9", port), FRONTEND, SYN)).unwrap();
    }
    assert_eq!(confirmed(&lab), remembered);
    for (flow, member) in kept {
        assert_eq!(lab.member(flow.with(ACK)), Ok(member));
    }
}

#[test]
fn a_full_memory_leaves_flows_to_their_slots() {
    // FLOW-6
    let mut lab = small(0);
    lab.wish.pools[0].members.push(ip("10.0.0.7"));
    lab.apply();
    // Packets under way fill the one bucket with confirmed entries.
    for port in 0..200 {
        let _ = lab.member(tcp(("203.0.113.9", port), FRONTEND, ACK)).unwrap();
    }
    let full = confirmed(&lab);
    assert_eq!(full.len(), 8);
    for port in 1_000..1_200 {
        let packet = tcp(("192.0.2.1", port), FRONTEND, SYN);
        let member = lab.member(packet).unwrap();
        assert_eq!(lab.member(packet.with(ACK)), Ok(member), "all packets of a flow go by one rule");
    }
    assert_eq!(confirmed(&lab), full);
    let before = Replica::new(lab.replica.tables().clone(), Memory::new(lab.surroundings.sizes));
    let sessions = tcp(("192.0.2.1", 999), FRONTEND, SYN);
    assert!(matches!(before.run(&mut sessions.frame(), LINK, Tick(lab.now)), Verdict::Send(..)));
}

#[test]
fn a_million_remembered_flows_fit_in_the_memory_that_was_promised() {
    // FLOW-6
    let sizes = Sizes { flow_bits: 18, ..Sizes::default() };
    assert!(sizes.memory() <= 256 << 20, "{} bytes", sizes.memory());
    let wish = Wish::new(
        &[pool("web", true, &["10.0.0.4", "10.0.0.5"])],
        &[rule(FRONTEND.0, 53, "web", 53).udp().floating()],
    );
    let around = crate::Surroundings {
        sizes: Sizes { flow_bits: 12, masquerade_bits: 3, ..sizes },
        ..surroundings([])
    };
    let lab = Lab::within(around, wish);
    // A 64th of it: the load of a bucket is what matters.
    let mut kept = 0;
    for number in 0..1_000_000u32 >> 6 {
        let client = std::net::Ipv4Addr::from_bits(0xc600_0000 + number / 7).to_string();
        let _ = lab.member(udp((&client, 1_000 + (number % 7) as u16), (FRONTEND.0, 53))).unwrap();
        kept += 1;
    }
    let words = lab.replica.memory().flow_words().filter(|word| *word != 0).count();
    // Chance makes some buckets fuller than others: eight places, at four flows for each bucket.
    assert!(words * 1_000 >= kept * 990, "{words} of {kept} flows are remembered");
}

#[test]
#[ignore = "prints figures for the documentation"]
fn figures_of_the_memories() {
    let room = 1 << 17;
    for percent in [12, 20, 25, 48, 95] {
        let around = crate::Surroundings {
            sizes: Sizes { flow_bits: 14, masquerade_bits: 17, rings: 16 },
            ..surroundings([])
        };
        let rules = [rule(FRONTEND.0, 53, "web", 53).udp().floating(), rule(FRONTEND.0, 54, "db", 54).udp()];
        let members: Vec<String> = (1..=50).map(|at| format!("10.0.0.{}", 3 + at)).collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let lab = Lab::within(
            around,
            Wish::new(&[pool("web", false, &members), pool("db", false, &members)], &rules),
        );
        let send = |number: u32, port: u16| {
            let client = std::net::Ipv4Addr::from_bits(0xc600_0000 + number / 7).to_string();
            lab.send(udp((&client, 1_000 + (number % 7) as u16), (FRONTEND.0, port)))
        };
        let flows = room * percent / 100;
        // Heard of once only, a masqueraded flow would yield its place.
        let is_refused = |number: &u32| send(*number, 54).and_then(|_| send(*number, 54)).is_err();
        for number in 0..flows {
            let _ = send(number, 53);
            let _ = is_refused(&number);
        }
        let kept = lab.replica.memory().flow_words().filter(|word| *word != 0).count();
        let more = room / 50;
        let refused = (flows..flows + more).filter(is_refused).count();
        println!(
            "{flows} flows, {percent} % of the room: {:.4} not remembered; of new masqueraded ones {:.4} refused",
            1.0 - kept as f64 / f64::from(flows),
            refused as f64 / f64::from(more)
        );
    }
}

#[test]
fn members_of_a_floating_range_answer_from_one_port_and_clients_see_the_one_that_they_called() {
    // FIP-3, NAT-1
    for [frontend, other, one, two, client] in [
        ["10.0.1.1", "10.0.1.2", "10.0.0.4", "10.0.0.5", "192.0.2.1"],
        ["fd00:1::1", "fd00:1::2", "fd00::4", "fd00::5", "2001:db8::1"],
    ] {
        let range = |frontend, first| rule(frontend, first, "web", 22).floating().up_to(first + 3);
        let lab = Lab::new(Wish::new(
            &[pool("web", true, &[one, two])],
            &[range(frontend, 5_001), range(other, 6_001)],
        ));
        for (frontend, port, member) in
            [(frontend, 5_001, one), (frontend, 5_002, two), (other, 6_001, one), (other, 6_002, two)]
        {
            let (there, station) = lab.send(tcp((client, 40_000), (frontend, port), SYN)).unwrap();
            assert_eq!((there, station), (tcp((client, 40_000), (frontend, 22), SYN), mac_of(ip(member))));
            let answer = tcp((frontend, 22), (client, 40_000), SYN_ACK);
            let back = |from: Mac| {
                let mut frame = answer.between(from, link_mac(LINK));
                (lab.run(&mut frame), Packet::read(&frame))
            };
            let returned = Verdict::Route(Sent::Returned);
            let seen = tcp((frontend, port), (client, 40_000), SYN_ACK);
            assert_eq!(back(mac_of(ip(member))), (returned, seen));
            // Nobody else speaks for the frontend.
            assert_eq!(back(mac_of(ip("10.0.0.99"))), (Verdict::Pass(Pass::NotOurs), answer));
        }
        assert_eq!(lab.member(tcp((client, 40_000), (frontend, 5_003), SYN)), Err(Drop::NoRule));
    }
}

#[test]
fn a_members_flows_stop_when_it_leaves_its_pool() {
    // FLOW-3
    let mut lab = three();
    let flows = connections(&lab, 60);
    lab.down("10.0.0.4");
    // Remembered, by a packet under way.
    for (flow, member) in &flows {
        assert_eq!(lab.member(flow.with(ACK)), Ok(*member));
    }
    let number = *lab
        .replica
        .tables()
        .members
        .iter()
        .find(|(_, row)| row.address() == ip("10.0.0.4").into())
        .unwrap()
        .0;
    lab.wish.pools[0].members[0] = ip("10.0.0.7");
    let changes = lab.apply();
    assert!(changes.contains(&Change::Forget { member: number }));
    assert!(!lab.replica.tables().members.contains_key(&number), "its number is not given away at once");
    for (flow, member) in &flows {
        let now = lab.member(flow.with(ACK)).unwrap();
        assert!(if *member == ip("10.0.0.4") { now != *member } else { now == *member });
    }
    assert!(lab.replica.memory().flow_words().all(|word| (word >> 16) as u32 & 0x7fff != number));
    lab.wish.pools[0].members.push(ip("10.0.0.8"));
    lab.apply();
    assert!(lab.replica.tables().members.contains_key(&number), "but later");
}

#[test]
fn a_member_whose_row_is_being_rewritten_keeps_its_flows() {
    // DIST-2: its packets are dropped for that moment, and nobody else gets them.
    for gateway in [true, false] {
        let mut lab = Lab::new(Wish::new(
            &[pool("web", gateway, &["10.0.0.4", "10.0.0.5", "10.0.0.6"])],
            &[rule(FRONTEND.0, FRONTEND.1, "web", 8080)],
        ));
        let flows = connections(&lab, 40);
        lab.down("10.0.0.4");
        for (flow, member) in &flows {
            assert_eq!(lab.member(flow.with(ACK)), Ok(*member));
        }
        let moved = crate::testing::hop(ip("10.0.0.4"));
        let moved = plane::row::Hop { link: OTHER_LINK, source: link_mac(OTHER_LINK), ..moved };
        lab.surroundings.hops.insert(ip("10.0.0.4"), moved);
        let wanted = lab.compile().unwrap();
        let mut dropped = 0;
        for change in lab.replica.tables().changes_to(&wanted) {
            lab.replica.apply(&change);
            for (flow, member) in &flows {
                match lab.member(flow.with(ACK)) {
                    Err(Drop::Changing) if *member == ip("10.0.0.4") => dropped += 1,
                    reached => assert_eq!(reached, Ok(*member)),
                }
            }
        }
        assert!(dropped > 0);
    }
}

#[test]
fn the_own_address_stands_in_for_the_client_both_ways() {
    // FIP-3
    for (frontend, client, own, member) in [
        ("10.0.1.1", "192.0.2.1", "10.0.0.2", "10.0.0.4"),
        ("fd00:1::1", "2001:db8::1", "fd00::2", "fd00::4"),
    ] {
        let lab = Lab::new(Wish::new(
            &[pool("web", false, &[member])],
            &[rule(frontend, 80, "web", 8080), rule(frontend, 53, "web", 5353).udp()],
        ));
        for (there, answer_flags) in [
            (tcp((client, 5_000), (frontend, 80), SYN), Some(SYN_ACK)),
            (udp((client, 5_000), (frontend, 53)), None),
        ] {
            let (seen, to) = lab.send(there).unwrap();
            assert_eq!((seen.from.0, seen.to.0, to), (ip(own), ip(member), mac_of(ip(member))));
            assert_eq!(seen.to.1, if there.flags.is_some() { 8080 } else { 5353 });
            let answer = Packet { from: seen.to, to: seen.from, flags: answer_flags };
            let mut frame = answer.between(mac_of(ip(member)), link_mac(LINK));
            assert!(matches!(lab.run(&mut frame), Verdict::Send(LINK, plane::Sent::Returned)));
            assert_eq!(Packet::read(&frame), Packet { from: there.to, to: there.from, flags: answer_flags });
            assert_eq!(station(&frame), CLIENT_MAC);
        }
    }
}

#[test]
fn an_answer_leaves_by_the_link_and_to_the_station_that_the_client_was_last_seen_at() {
    let mut lab = masquerading(&["10.0.0.4"]);
    let there = tcp(("192.0.2.1", 5_000), FRONTEND, SYN);
    let (seen, _) = lab.send(there).unwrap();
    let answer = Packet { from: seen.to, to: seen.from, flags: Some(SYN_ACK) };
    let answered = |lab: &Lab| {
        let mut frame = answer.between(mac_of(ip("10.0.0.4")), link_mac(LINK));
        let Verdict::Send(link, _) = lab.run(&mut frame) else { panic!("{frame:02x?}") };
        (link, station(&frame), frame[6..12].to_vec())
    };
    assert_eq!(answered(&lab), (LINK, CLIENT_MAC, link_mac(LINK).bytes().to_vec()));
    lab.now += 1;
    let elsewhere = plane::row::Mac::new([2, 0xd, 0, 0, 0, 9]);
    let mut frame = there.with(ACK).between(elsewhere, link_mac(OTHER_LINK));
    assert!(matches!(lab.replica.run(&mut frame, OTHER_LINK, Tick(lab.now)), Verdict::Send(LINK, _)));
    assert_eq!(answered(&lab), (OTHER_LINK, elsewhere, link_mac(OTHER_LINK).bytes().to_vec()));
    // A link that is not attached any more.
    lab.surroundings.links.remove(&OTHER_LINK);
    lab.apply();
    let mut frame = answer.between(mac_of(ip("10.0.0.4")), link_mac(LINK));
    assert_eq!(lab.run(&mut frame), Verdict::Drop(Drop::UnknownLink));
}

#[test]
fn links_keep_their_places_while_others_go() {
    let mut lab = masquerading(&["10.0.0.4"]);
    lab.surroundings.links = [3, 67, 131].map(|index| (index, link(index))).into();
    lab.apply();
    let places = |lab: &Lab| -> BTreeMap<u32, u32> {
        lab.replica.tables().links.iter().map(|(place, row)| (row.index(), *place)).collect()
    };
    let before = places(&lab);
    lab.surroundings.links.remove(&3);
    lab.apply();
    assert_eq!(places(&lab), BTreeMap::from([(67, before[&67]), (131, before[&131])]));
}

#[test]
fn no_two_clients_share_a_port_towards_a_member() {
    let lab = sized(Sizes { flow_bits: 3, masquerade_bits: 14, rings: 16 }, &["10.0.0.4", "10.0.0.5"]);
    let mut ports = BTreeSet::new();
    let mut flows = Vec::new();
    for number in 0..2_000 {
        let there = tcp((&format!("192.0.2.{}", number % 200), 5_000 + number), FRONTEND, SYN);
        match lab.send(there) {
            Ok((seen, _)) => {
                assert!(ports.insert((seen.to, seen.from.1)), "{seen:?} is taken");
                assert!((1_024..32_768).contains(&seen.from.1));
                assert_eq!(lab.send(there.with(ACK)).unwrap().0.from, seen.from);
                flows.push((there, seen));
            }
            Err(why) => assert_eq!(why, Drop::TableFull),
        }
    }
    assert!(flows.len() > 1_990, "{} of 2000", flows.len());
    for (there, seen) in flows {
        let (back, _) = lab.send(Packet { from: seen.to, to: seen.from, flags: Some(SYN_ACK) }).unwrap();
        assert_eq!((back.from, back.to), (there.to, there.from));
        assert_eq!(lab.send(there.with(ACK)).unwrap().0.from, seen.from, "and keeps its port");
    }
}

#[test]
fn a_full_table_of_masqueraded_flows_refuses_new_ones_and_keeps_the_old() {
    // FLOW-6
    let mut lab = sized(Sizes { flow_bits: 3, masquerade_bits: 6, rings: 16 }, &["10.0.0.4"]);
    let mut kept = Vec::new();
    for port in 0..2_000 {
        let there = tcp(("192.0.2.1", 5_000 + port), FRONTEND, SYN);
        match lab.send(there) {
            Ok((seen, _)) => {
                assert_eq!(lab.send(there.with(ACK)).unwrap().0.from, seen.from);
                kept.push((there, seen));
            }
            Err(why) => assert_eq!(why, Drop::TableFull),
        }
    }
    assert!((40..=64).contains(&kept.len()), "{}", kept.len());
    for (there, seen) in &kept {
        assert_eq!(lab.send(there.with(ACK)).unwrap().0.from, seen.from);
    }
    // FLOW-5: what ran out makes room.
    lab.now += IDLE + 1;
    let anew = (0..200).filter(|port| lab.send(tcp(("192.0.2.2", 5_000 + port), FRONTEND, SYN)).is_ok());
    assert!(anew.count() >= 40);
}

#[test]
fn half_open_masqueraded_flows_are_kept_for_seconds_only() {
    // FLOW-5
    let mut lab = sized(Sizes { flow_bits: 3, masquerade_bits: 6, rings: 16 }, &["10.0.0.4"]);
    let kept = |lab: &Lab| {
        let kept = lab.replica.memory().outward_words();
        kept.filter(|words| plane::masqueraded(*words, Tick(lab.now)).is_some()).count()
    };
    for port in 0..10 {
        let there = tcp(("192.0.2.3", port), FRONTEND, SYN);
        lab.send(there).unwrap();
        if port % 2 == 0 {
            lab.send(there.with(ACK)).unwrap();
        }
    }
    assert_eq!(kept(&lab), 10);
    lab.now += 21;
    assert_eq!(kept(&lab), 5);
}

#[test]
fn a_flood_of_masqueraded_flows_takes_places_from_itself_only() {
    // FLOW-6
    for is_tcp in [true, false] {
        let start = |from| if is_tcp { tcp(from, FRONTEND, SYN) } else { udp(from, FRONTEND) };
        let lab = sized_wish(
            Sizes { flow_bits: 3, masquerade_bits: 10, rings: 16 },
            Wish::new(
                &[pool("web", false, &["10.0.0.4"])],
                &[
                    rule(FRONTEND.0, FRONTEND.1, "web", 8_080),
                    rule(FRONTEND.0, FRONTEND.1, "web", 8_080).udp(),
                ],
            ),
        );
        let flood = |from: u16| {
            for port in 0..4_000 {
                let _ = lab.send(start(("203.0.113.1", from + port)));
            }
        };
        let established: Vec<_> = (0..40)
            .filter_map(|port| {
                let there = start(("192.0.2.1", 5_000 + port));
                let (seen, _) = lab.send(there).ok()?;
                assert_eq!(lab.send(there.with(ACK)).unwrap().0.from, seen.from);
                Some((there, seen))
            })
            .collect();
        assert!(established.len() > 35, "{}", established.len());
        flood(1_000);
        // Who is new gets through, and keeps what it got once it has answered.
        let served: Vec<_> = (0..40)
            .filter_map(|port| {
                let there = start(("192.0.2.2", 5_000 + port));
                let (seen, _) = lab.send(there).ok()?;
                let (again, _) = lab.send(there.with(ACK)).unwrap();
                (again.from == seen.from).then_some((there, seen))
            })
            .collect();
        assert!(served.len() >= 36, "only {} of 40 were served", served.len());
        flood(20_000);
        for (there, seen) in established.iter().chain(&served) {
            assert_eq!(lab.send(there.with(ACK)).unwrap().0.from, seen.from);
        }
        // No port is two flows'.
        let ports: BTreeSet<u16> = established.iter().chain(&served).map(|(_, seen)| seen.from.1).collect();
        assert_eq!(ports.len(), established.len() + served.len());
    }
}

#[test]
fn a_masqueraded_flow_that_ran_out_is_chosen_afresh() {
    // FLOW-5, FLOW-1: it may not go on to a member that is down.
    let mut lab = masquerading(&["10.0.0.4", "10.0.0.5"]);
    let flow = (5_000..)
        .map(|port| tcp(("192.0.2.1", port), FRONTEND, SYN))
        .find(|packet| lab.member(*packet) == Ok(ip("10.0.0.4")))
        .unwrap();
    assert_eq!(lab.member(flow.with(ACK)), Ok(ip("10.0.0.4")));
    lab.down("10.0.0.4");
    lab.now += IDLE;
    assert_eq!(lab.member(flow.with(ACK)), Ok(ip("10.0.0.4")));
    lab.now += IDLE + 1;
    assert_eq!(lab.member(flow.with(ACK)), Ok(ip("10.0.0.5")));
}

#[test]
fn a_connection_that_starts_again_avoids_a_member_that_is_down() {
    // FLOW-1
    for gateway in [true, false] {
        let mut lab = Lab::new(Wish::new(
            &[pool("web", gateway, &["10.0.0.4", "10.0.0.5"])],
            &[rule(FRONTEND.0, FRONTEND.1, "web", 8080)],
        ));
        let flows = connections(&lab, 40);
        lab.down("10.0.0.4");
        for (flow, member) in flows {
            assert_eq!(lab.member(flow.with(ACK)), Ok(member));
            assert_eq!(lab.member(flow), Ok(ip("10.0.0.5")));
            assert_eq!(lab.member(flow.with(ACK)), Ok(ip("10.0.0.5")));
        }
    }
}

#[test]
fn flows_of_a_member_that_is_gone_are_forgotten_on_both_sides() {
    // FLOW-3
    let mut lab = masquerading(&["10.0.0.4", "10.0.0.5"]);
    let flows = connections(&lab, 40);
    let seen =
        lab.send(flows.iter().find(|(_, member)| *member == ip("10.0.0.4")).unwrap().0.with(ACK)).unwrap().0;
    lab.wish.pools[0].members.remove(0);
    lab.apply();
    for (flow, _) in flows {
        assert_eq!(lab.member(flow.with(ACK)), Ok(ip("10.0.0.5")));
    }
    let mut frame = Packet { from: seen.to, to: seen.from, flags: Some(ACK) }.frame();
    assert!(matches!(lab.run(&mut frame), Verdict::Pass(_)));
}

#[test]
fn packets_bytes_and_flows_are_counted() {
    // RULE-2
    let lab = three();
    let flow = tcp(("192.0.2.1", 5_000), FRONTEND, SYN);
    let bytes = flow.frame().len() as u64;
    let member = lab.member(flow).unwrap();
    assert_eq!(lab.member(flow.with(ACK)), Ok(member));
    assert_eq!(lab.member(tcp(("192.0.2.1", 5_000), (FRONTEND.0, 81), SYN)), Err(Drop::NoRule));
    assert_eq!(lab.member(udp(("192.0.2.1", 5_000), FRONTEND)), Err(Drop::NoRule));
    let expected = super::Counts { packets: 2, bytes: 2 * bytes, flows: 1 };
    assert_eq!(lab.replica.rule_counts().into_values().collect::<Vec<_>>(), [expected]);
    assert_eq!(lab.replica.member_counts().into_values().collect::<Vec<_>>(), [expected]);
    assert_eq!(lab.replica.unmatched_counts().into_values().collect::<Vec<_>>(), [2]);
}

#[test]
fn one_frontend_does_not_affect_another() {
    // FIP-6, FIP-4
    let mut lab = Lab::new(Wish::new(
        &[pool("web", false, &["10.0.0.4", "10.0.0.5"])],
        &[
            rule("10.0.1.1", 80, "web", 80).floating(),
            rule("10.0.1.2", 80, "web", 80).floating().probed(Some("ready")),
        ],
    ));
    let reached = |lab: &Lab, frontend: &str| -> BTreeSet<IpAddr> {
        (1..60).map(|port| lab.member(tcp(("192.0.2.1", port), (frontend, 80), SYN)).unwrap()).collect()
    };
    lab.down("10.0.0.4");
    assert_eq!(reached(&lab, "10.0.1.1"), BTreeSet::from([ip("10.0.0.5")]));
    assert_eq!(reached(&lab, "10.0.1.2"), BTreeSet::from([ip("10.0.0.4"), ip("10.0.0.5")]));
}

#[test]
fn what_ran_out_long_ago_is_swept_and_nothing_else() {
    // FLOW-5
    let mut lab =
        Lab::new(Wish::new(&[pool("web", true, &["10.0.0.4"])], &[rule(FRONTEND.0, 53, "web", 53).udp()]));
    lab.member(udp(("192.0.2.1", 1), (FRONTEND.0, 53))).unwrap();
    lab.now += IDLE / 2;
    lab.member(udp(("192.0.2.1", 2), (FRONTEND.0, 53))).unwrap();
    lab.now += IDLE / 2 + 1;
    let now = lab.now;
    lab.replica.apply(&Change::Sweep { now });
    assert_eq!(lab.replica.memory().flow_words().filter(|word| *word != 0).count(), 1);
}

/// Established connections, and what chance does to pool, health and rules around them.
struct Story {
    lab: Lab,
    dice: Dice,
    flows: Vec<(Packet, IpAddr)>,
    next_port: u16,
}

const CANDIDATES: [&str; 6] = ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8", "10.0.0.9"];

impl Story {
    fn new(seed: u64, gateway: bool) -> Self {
        let rules = [
            rule("10.0.1.1", 80, "web", 8080),
            rule("10.0.1.1", 443, "web", 443).floating().by("SourceIP"),
            rule("10.0.1.2", 53, "web", 5353).udp(),
        ];
        let lab = sized_wish(
            Sizes { flow_bits: 9, masquerade_bits: 13, rings: 16 },
            Wish::new(&[pool("web", gateway, &CANDIDATES[..3])], &rules),
        );
        Self { lab, dice: Dice(seed), flows: Vec::new(), next_port: 10_000 }
    }

    fn run(mut self, rounds: usize) {
        for round in 0..rounds {
            self.begin_flows();
            let what = self.happen();
            self.check(&format!("seed of {:?}, round {round}: {what}", self.dice));
        }
    }

    fn begin_flows(&mut self) {
        for _ in 0..8 {
            self.next_port += 1;
            let client = (format!("192.0.2.{}", 1 + self.dice.below(20)), self.next_port);
            let from = (client.0.as_str(), client.1);
            let packet = match self.dice.below(3) {
                0 => tcp(from, ("10.0.1.1", 80), SYN),
                1 => tcp(from, ("10.0.1.1", 443), SYN),
                _ => udp(from, ("10.0.1.2", 53)),
            };
            if let Ok(member) = self.lab.member(packet) {
                assert!(self.is_up(member), "{packet:?} began with {member}, which is down");
                assert_eq!(self.lab.member(packet.with(ACK)), Ok(member));
                self.flows.push((packet, member));
            }
        }
    }

    fn happen(&mut self) -> String {
        let candidate = ip(self.dice.pick(&CANDIDATES));
        let members = &mut self.lab.wish.pools[0].members;
        let place = members.iter().position(|member| *member == candidate);
        match self.dice.below(11) {
            0..=2 => match place {
                Some(at) if members.len() > 1 => {
                    members.remove(at);
                    self.flows.retain(|(_, member)| *member != candidate);
                    self.lab.apply();
                    format!("{candidate} leaves")
                }
                Some(_) => "nothing".into(),
                None => {
                    members.push(candidate);
                    self.lab.apply();
                    format!("{candidate} joins")
                }
            },
            3..=5 if self.is_up(candidate) => {
                self.lab.down(&candidate.to_string());
                format!("{candidate} goes down")
            }
            3..=5 => {
                self.lab.up(&candidate.to_string());
                format!("{candidate} comes up")
            }
            6 => {
                let by = self.dice.pick(&["Default", "SourceIP", "SourceIPProtocol"]);
                let at = self.dice.below(2);
                self.lab.wish.rules[at] = self.lab.wish.rules[at].by(by);
                self.lab.apply();
                format!("rule {at} distributes by {by}")
            }
            7 => {
                let weight = 1 + self.dice.below(9) as u32;
                self.lab.wish.weights.insert(candidate, weight);
                self.lab.apply();
                format!("{candidate} weighs {weight}")
            }
            8 => {
                self.lab.restart();
                self.lab.apply();
                "restart".into()
            }
            _ => {
                for _ in 0..4 {
                    self.lab.settle();
                    self.lab.now += 80;
                    self.check("while time passes");
                }
                self.lab.settle();
                "time passes".into()
            }
        }
    }

    fn is_up(&self, member: IpAddr) -> bool {
        !self.lab.health.is_down("b/alive", member)
    }

    fn check(&mut self, what: &str) {
        for at in 0..self.flows.len() {
            let (packet, member) = self.flows[at];
            let now = self.lab.member(packet.with(ACK));
            if packet.flags.is_none() && !self.is_up(member) {
                // FLOW-1: a session moves to a member that is up, if there is one.
                if let Ok(now) = now {
                    assert!(self.is_up(now), "{what}: {packet:?} of {member} is with {now}");
                    self.flows[at].1 = now;
                }
            } else {
                assert_eq!(now, Ok(member), "{what}: {packet:?}\n{}", self.lab.replica.tables());
            }
        }
    }
}

fn three() -> Lab {
    Lab::new(Wish::new(
        &[pool("web", true, &["10.0.0.4", "10.0.0.5", "10.0.0.6"])],
        &[rule(FRONTEND.0, FRONTEND.1, "web", 8080)],
    ))
}

/// With a memory of `2^flow_bits` buckets.
fn small(flow_bits: u8) -> Lab {
    sized_wish(Sizes { flow_bits, masquerade_bits: 3, rings: 16 }, three().wish)
}

fn masquerading(members: &[&str]) -> Lab {
    sized(Sizes { flow_bits: 3, masquerade_bits: 10, rings: 16 }, members)
}

fn sized(sizes: Sizes, members: &[&str]) -> Lab {
    sized_wish(sizes, Wish::new(&[pool("web", false, members)], &[rule(FRONTEND.0, FRONTEND.1, "web", 8080)]))
}

fn sized_wish(sizes: Sizes, wish: Wish) -> Lab {
    let around = crate::Surroundings { sizes, ..surroundings([]) };
    assert_eq!(around.own_v4, OWN.0.parse().ok());
    Lab::within(around, wish)
}

/// Established connections with their members.
fn connections(lab: &Lab, number: u16) -> Vec<(Packet, IpAddr)> {
    connections_from(lab, 5_000, number)
}

fn connections_from(lab: &Lab, first_port: u16, number: u16) -> Vec<(Packet, IpAddr)> {
    (first_port..first_port + number)
        .map(|port| {
            let packet = tcp(("192.0.2.1", port), FRONTEND, SYN);
            let member = lab.member(packet).unwrap();
            assert_eq!(lab.member(packet.with(ACK)), Ok(member));
            (packet, member)
        })
        .collect()
}

/// Entries of flows that nobody may push out: their tags and members.
fn confirmed(lab: &Lab) -> Vec<u64> {
    let living =
        |word: u64| plane::Remembered::of(word, Tick(lab.now)).is_some_and(|flow| flow.is_confirmed());
    lab.replica.memory().flow_words().filter(|word| living(*word)).map(|word| word >> 16).collect()
}

/// Two members behind one frontend, edited.
fn pair(gateway: bool, edit: impl Fn(&mut Wish)) -> Lab {
    let mut wish =
        Wish::new(&[pool("web", gateway, &["10.0.0.4", "10.0.0.5"])], &[rule("10.0.1.1", 80, "web", 80)]);
    edit(&mut wish);
    Lab::new(wish)
}

fn called(port: u16, flags: u8) -> Packet {
    tcp(("192.0.2.1", port), ("10.0.1.1", 80), flags)
}

/// Who has each of some connections.
fn owners(lab: &Lab, flags: u8) -> Vec<Result<IpAddr, Drop>> {
    (5_000..5_040).map(|port| lab.member(called(port, flags))).collect()
}

#[test]
fn connections_to_a_member_that_is_down_are_reset_where_that_is_wished() {
    // CLUS-1
    for gateway in [true, false] {
        let mut lab = pair(gateway, |wish| wish.rules[0].resets = true);
        lab.down("10.0.0.5");
        assert!(owners(&lab, SYN).iter().all(|owner| *owner == Ok(ip("10.0.0.4"))));
        lab.up("10.0.0.5");
        lab.down("10.0.0.4");
        // The other one does not know them, and says so.
        assert!(owners(&lab, ACK).iter().all(|owner| *owner == Ok(ip("10.0.0.5"))), "gateway {gateway}");
        lab.down("10.0.0.5");
        assert!(owners(&lab, SYN).iter().all(|owner| *owner == Err(Drop::NoMember)));
    }
}

#[test]
fn with_all_members_down_connections_end_on_a_basic_balancer() {
    // FLOW-2
    for (gateway, basic) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut lab = pair(gateway, |wish| wish.basic = basic);
        let before = owners(&lab, SYN);
        assert_eq!(owners(&lab, ACK), before);
        lab.down("10.0.0.4");
        assert_eq!(owners(&lab, ACK), before, "one is left");
        lab.down("10.0.0.5");
        let none = vec![Err(Drop::NoMember); before.len()];
        assert_eq!(owners(&lab, ACK), if basic { none } else { before }, "gateway {gateway} basic {basic}");
        assert_eq!(lab.member(called(6_000, SYN)), Err(Drop::NoMember));
        lab.up("10.0.0.5");
        assert_eq!(lab.member(called(6_001, SYN)), Ok(ip("10.0.0.5")));
    }
}

#[test]
fn with_all_members_down_all_may_be_taken_as_up() {
    // FLOW-2
    let mut lab = pair(true, |wish| wish.all_up = true);
    let before = owners(&lab, SYN);
    lab.down("10.0.0.4");
    lab.down("10.0.0.5");
    assert_eq!(owners(&lab, SYN), before);
    assert_eq!(owners(&lab, ACK), before);
}

#[test]
fn who_is_down_by_order_keeps_connections_and_takes_no_new_ones() {
    // FLOW-4
    let mut lab = pair(true, |wish| wish.rules.push(rule("10.0.1.1", 53, "web", 53).udp()));
    let before = owners(&lab, SYN);
    let asked = |lab: &Lab| -> BTreeSet<_> {
        (7_000..7_040).map(|port| lab.member(udp(("192.0.2.1", port), ("10.0.1.1", 53))).unwrap()).collect()
    };
    assert_eq!(asked(&lab), BTreeSet::from([ip("10.0.0.4"), ip("10.0.0.5")]));
    lab.wish.ordered.insert(ip("10.0.0.4"), "Down");
    lab.apply();
    assert_eq!(owners(&lab, ACK), before);
    assert_eq!(asked(&lab), BTreeSet::from([ip("10.0.0.5")]), "sessions without connection move");
    assert!((8_000..8_040).all(|port| lab.member(called(port, SYN)) == Ok(ip("10.0.0.5"))));
    lab.wish.ordered.insert(ip("10.0.0.4"), "Up");
    lab.down("10.0.0.4");
    lab.down("10.0.0.5");
    assert!((9_000..9_040).all(|port| lab.member(called(port, SYN)) == Ok(ip("10.0.0.4"))));
}

#[test]
fn a_member_that_is_chosen_for_its_own_call_gets_no_answer_unless_that_is_wished() {
    // HAIR-1
    let calls = |lab: &Lab| -> BTreeSet<Result<IpAddr, Drop>> {
        let call = |port| lab.member(tcp(("10.0.0.4", port), ("10.0.1.1", 80), SYN));
        (5_000..5_040).map(call).collect()
    };
    let (itself, other) = (ip("10.0.0.4"), ip("10.0.0.5"));
    for gateway in [true, false] {
        let lab = pair(gateway, |_| ());
        assert_eq!(calls(&lab), BTreeSet::from([Ok(other), Err(Drop::Hairpin)]), "gateway {gateway}");
        let lab = pair(gateway, |wish| wish.rules[0].hairpin = true);
        assert_eq!(calls(&lab), BTreeSet::from([Ok(itself), Ok(other)]), "gateway {gateway}");
        // Everybody is called from the balancer's own address, so that answers pass it.
        for port in 5_000..5_010 {
            let call = tcp(("10.0.0.4", port), ("10.0.1.1", 80), SYN);
            let (inside, _) = lab.send(call).unwrap();
            assert_eq!(inside.from.0, ip("10.0.0.2"));
            let answer = Packet { from: inside.to, to: inside.from, flags: Some(SYN_ACK) };
            let (outside, _) = lab.send(answer).unwrap();
            assert_eq!((outside.from, outside.to), (call.to, call.from));
        }
        // Clients from elsewhere are seen as themselves by members whose gateway this is.
        let (inside, _) = lab.send(called(5_000, SYN)).unwrap();
        assert_eq!(inside.from.0 == ip("192.0.2.1"), gateway);
    }
    let lab = pair(false, |wish| wish.rules[0].floating = true);
    assert_eq!(calls(&lab), BTreeSet::from([Ok(other), Err(Drop::Hairpin)]));
    // Whose port of a range it is is no choice (NAT-1).
    for gateway in [true, false] {
        let owner = |hairpin| {
            let lab = pair(gateway, |wish| {
                wish.rules[0] = RuleWish { hairpin, ..rule("10.0.1.1", 80, "web", 22).up_to(81) };
            });
            lab.member(tcp(("10.0.0.4", 5_000), ("10.0.1.1", 80), SYN))
        };
        assert_eq!([owner(false), owner(true)], [Err(Drop::Hairpin), Ok(itself)], "gateway {gateway}");
    }
}

#[test]
fn another_probe_moves_no_connection() {
    // DIST-2
    let mut lab = pair(true, |_| ());
    let before = owners(&lab, SYN);
    lab.down("10.0.0.4");
    assert_eq!(owners(&lab, ACK), before);
    // Members that the new probe finds up take new connections again, and those that are under way stay.
    lab.wish.rules[0].probe = Some("ready");
    lab.apply();
    assert_eq!(owners(&lab, ACK), before);
    lab.wish.rules[0].probe = None;
    lab.apply();
    assert_eq!(owners(&lab, ACK), before);
}
