//! What becomes of single frames, byte by byte.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use forebay_plane::row::{
    BUSY, ConfigRow, Distribution, Hop, LinkRow, MAX_IDLE_TICKS, MemberRow, Path, Plan, Slot, Strict,
};
use forebay_plane::{Drop, Pass, Reason, Remembered, Sent, Tick, Verdict};
use world::{
    Bench, CLIENT_MAC, FAMILIES, LINK, LINK_MAC, MEMBER_MAC, Packet, SCTP, TCP, UDP, checksum_at, ends, hop,
    internet_checksum, ip, packet, transport_checksum,
};

mod world;

#[test]
fn a_floating_packet_changes_its_stations_only() {
    // FIP-2
    for family in FAMILIES {
        for protocol in [TCP, UDP] {
            let sent = packet(protocol, (family.client, 5_000), (family.frontend, 80));
            let seen = Packet { to_mac: MEMBER_MAC, from_mac: LINK_MAC, ..sent.clone() };
            forwarded(&family.bench(Path::Floating, 80), &sent, &seen);
        }
    }
}

#[test]
fn a_floating_packet_may_get_another_port() {
    // FIP-2
    for family in FAMILIES {
        for protocol in [TCP, UDP] {
            let sent = packet(protocol, (family.client, 5_000), (family.frontend, 80));
            let to = (ip(family.frontend), 8_080);
            let seen = Packet { to_mac: MEMBER_MAC, from_mac: LINK_MAC, to, ..sent.clone() };
            forwarded(&family.bench(Path::FloatingGateway, 8_080), &sent, &seen);
        }
    }
}

#[test]
fn a_gateways_packet_gets_the_members_address_and_port() {
    // FIP-1
    for family in FAMILIES {
        for protocol in [TCP, UDP] {
            let sent = packet(protocol, (family.client, 5_000), (family.frontend, 80));
            let to = (ip(family.member), 8_080);
            let seen = Packet { to_mac: MEMBER_MAC, from_mac: LINK_MAC, to, hop_limit: 63, ..sent.clone() };
            forwarded(&family.bench(Path::Gateway, 8_080), &sent, &seen);
        }
    }
}

#[test]
fn answers_through_the_gateway_get_the_frontends_address_and_port_back() {
    // FIP-3
    for family in FAMILIES {
        for protocol in [TCP, UDP] {
            for (path, from) in [(Path::Gateway, family.member), (Path::FloatingGateway, family.frontend)] {
                let answer =
                    Packet { flags: 0x12, ..packet(protocol, (from, 8_080), (family.client, 5_000)) };
                let mut frame = answer.bytes();
                let verdict = family.bench(path, 8_080).run(&mut frame);
                assert_eq!(verdict, Verdict::Route(Sent::Returned), "{answer:?}");
                let from = (ip(family.frontend), 80);
                assert_frame(&frame, &Packet { from, hop_limit: 63, ..answer });
            }
        }
    }
}

#[test]
fn a_masqueraded_packet_comes_from_the_own_address_and_its_answer_from_the_frontend() {
    // FIP-3
    for family in FAMILIES {
        for protocol in [TCP, UDP] {
            let bench = family.bench(Path::Masquerade, 8_080);
            let sent = packet(protocol, (family.client, 5_000), (family.frontend, 80));
            let mut frame = sent.bytes();
            assert_eq!(bench.run(&mut frame), Verdict::Send(LINK, Sent::Forwarded));
            let segment = if family.client.contains(':') { 54 } else { 34 };
            let port = u16::from_be_bytes([frame[segment], frame[segment + 1]]);
            assert!((1_024..32_768).contains(&port));
            let (from, to) = ((ip(family.own), port), (ip(family.member), 8_080));
            let seen =
                Packet { to_mac: MEMBER_MAC, from_mac: LINK_MAC, from, to, hop_limit: 63, ..sent.clone() };
            assert_frame(&frame, &seen);

            let answer = Packet {
                from_mac: MEMBER_MAC,
                to_mac: LINK_MAC,
                from: to,
                to: from,
                flags: 0x12,
                ..sent.clone()
            };
            let mut frame = answer.bytes();
            assert_eq!(bench.run(&mut frame), Verdict::Send(LINK, Sent::Returned));
            let returned =
                Packet { from_mac: LINK_MAC, to_mac: CLIENT_MAC, from: sent.to, to: sent.from, ..answer };
            assert_frame(&frame, &Packet { hop_limit: 63, ..returned });
        }
    }
}

#[test]
fn ipv4_options_are_stepped_over_and_left_as_they_are() {
    for path in [Path::Floating, Path::Gateway, Path::Masquerade] {
        let options = vec![0x94, 4, 0, 0, 1, 1, 1, 0];
        let sent = Packet { options, ..packet(TCP, ("192.0.2.1", 5_000), ("10.0.1.1", 80)) };
        let mut frame = sent.bytes();
        assert_eq!(FAMILIES[0].bench(path, 80).run(&mut frame), Verdict::Send(LINK, Sent::Forwarded));
        assert_eq!(internet_checksum(&frame[14..42]), 0);
        assert_eq!(frame[34..42], sent.options);
        assert_transport(&frame, 42);
    }
}

#[test]
fn a_datagram_without_checksum_stays_without() {
    for (path, at) in [(Path::FloatingGateway, 40), (Path::Gateway, 40), (Path::Masquerade, 40)] {
        let mut frame = packet(UDP, ("192.0.2.1", 5_000), ("10.0.1.1", 80)).bytes();
        frame[at..at + 2].copy_from_slice(&[0, 0]);
        assert!(matches!(FAMILIES[0].bench(path, 8_080).run(&mut frame), Verdict::Send(..)));
        assert_eq!(frame[at..at + 2], [0, 0]);
        assert_eq!(internet_checksum(&frame[14..34]), 0);
    }
}

#[test]
fn a_datagram_whose_checksum_becomes_zero_is_written_as_all_ones() {
    for family in FAMILIES {
        let bench = family.bench(Path::Gateway, 8_080);
        let mut met = 0;
        for port in 1..=u16::MAX {
            let sent =
                Packet { payload: Vec::new(), ..packet(UDP, (family.client, port), (family.frontend, 80)) };
            let to = (ip(family.member), 8_080);
            let seen = Packet { to_mac: MEMBER_MAC, from_mac: LINK_MAC, to, hop_limit: 63, ..sent.clone() };
            let at = if family.client.contains(':') { 60 } else { 40 };
            let seen = seen.bytes();
            if seen[at..at + 2] != [0xff, 0xff] {
                continue;
            }
            let mut frame = sent.bytes();
            assert!(matches!(bench.run(&mut frame), Verdict::Send(..)));
            assert_eq!(frame, seen);
            met += 1;
        }
        assert!(met > 0);
    }
}

#[test]
fn a_damaged_packet_stays_recognisable_as_such() {
    for protocol in [TCP, UDP] {
        let mut frame = packet(protocol, ("192.0.2.1", 5_000), ("10.0.1.1", 80)).bytes();
        *frame.last_mut().unwrap() ^= 0x40;
        assert!(matches!(FAMILIES[0].bench(Path::Gateway, 8_080).run(&mut frame), Verdict::Send(..)));
        let (from, to) = (ip("192.0.2.1"), ip("10.0.0.4"));
        assert_ne!(transport_checksum(from, to, protocol, &frame[34..]), 0);
    }
}

#[test]
fn padding_behind_a_packet_is_carried_along() {
    let sent = Packet { payload: Vec::new(), ..packet(TCP, ("192.0.2.1", 5_000), ("10.0.1.1", 80)) };
    let mut frame = sent.bytes();
    frame.resize(60, 0xaa);
    assert!(matches!(FAMILIES[0].bench(Path::Gateway, 8_080).run(&mut frame), Verdict::Send(..)));
    assert_eq!(frame[54..], [0xaa; 6]);
    assert_eq!(transport_checksum(ip("192.0.2.1"), ip("10.0.0.4"), TCP, &frame[34..54]), 0);
}

#[test]
fn every_other_packet_ends_for_its_reason_and_unchanged() {
    // RULE-1, RULE-2, RULE-3
    let v4 = FAMILIES[0];
    let sent = packet(TCP, (v4.client, 5_000), (v4.frontend, 80));
    let gateway = || v4.bench(Path::Gateway, 8_080);
    let masquerade = || v4.bench(Path::Masquerade, 8_080);
    let floating = || v4.bench(Path::Floating, 80);
    let drop = |why| Verdict::Drop(why);
    let pass = |why| Verdict::Pass(why);
    let check = |bench: Bench, packet: &Packet, verdict| ends(&bench, &packet.bytes(), verdict);

    check(gateway(), &Packet { to: (ip(v4.frontend), 81), ..sent.clone() }, drop(Drop::NoRule));
    check(gateway(), &Packet { to: (ip("10.0.1.9"), 80), ..sent.clone() }, pass(Pass::NotOurs));
    check(gateway(), &Packet { to_mac: MEMBER_MAC, ..sent.clone() }, pass(Pass::OtherHost));
    check(gateway(), &Packet { to: (ip(v4.own), 22), ..sent.clone() }, pass(Pass::OwnAddress));
    check(gateway(), &Packet { to: (ip(v4.member), 8_080), ..sent.clone() }, pass(Pass::NotOurs));
    for protocol in [2, 41, 47, 50, 58] {
        check(gateway(), &Packet { protocol, ..sent.clone() }, drop(Drop::Protocol));
    }
    check(gateway(), &Packet { protocol: 1, ..sent.clone() }, drop(Drop::Icmp));
    check(
        gateway(),
        &Packet { protocol: SCTP, to: (ip(v4.frontend), 81), ..sent.clone() },
        drop(Drop::NoRule),
    );
    // A piece whose first one was not seen.
    for fragment in [0x2010, 0x0010] {
        check(gateway(), &Packet { fragment, ..sent.clone() }, drop(Drop::Fragment));
    }
    for hop_limit in [0, 1] {
        check(gateway(), &Packet { hop_limit, ..sent.clone() }, drop(Drop::HopLimit));
        check(masquerade(), &Packet { hop_limit, ..sent.clone() }, drop(Drop::HopLimit));
        // Floating IP does not route.
        let mut frame = Packet { hop_limit, ..sent.clone() }.bytes();
        assert_eq!(floating().run(&mut frame), Verdict::Send(LINK, Sent::Forwarded));
    }
    for bench in [gateway(), masquerade(), floating()] {
        check(Bench { slot: Slot::steady(0), ..bench }, &sent, drop(Drop::NoMember));
    }
    for bench in [gateway(), masquerade(), floating()] {
        check(Bench { slot: Slot::steady(2), ..bench }, &sent, drop(Drop::NoMember));
    }
    for bench in [gateway(), masquerade(), floating()] {
        check(bench.member(v4.member, 3, None), &sent, drop(Drop::Unresolved));
    }
    let routed = Hop { adjacent: false, ..hop() };
    check(floating().member(v4.member, 3, Some(routed)), &sent, drop(Drop::NotAdjacent));
    assert!(matches!(gateway().member(v4.member, 3, Some(routed)).run(&mut sent.bytes()), Verdict::Send(..)));
    for mut bench in [gateway(), masquerade(), floating()] {
        bench.rules.values_mut().for_each(|row| row.0[0] |= BUSY);
        check(bench, &sent, drop(Drop::Changing));
    }
    for mut bench in [gateway(), masquerade(), floating()] {
        bench.members.values_mut().for_each(|row| row.0[0] = MemberRow::closed(row.0[0]));
        check(bench, &sent, drop(Drop::Changing));
    }
    let nobody = ConfigRow::new(3, 6, 8, false, None, None);
    check(Bench { config: nobody, ..masquerade() }, &sent, drop(Drop::NoOwnAddress));
    let bench = gateway();
    bench.ingress.set(9);
    check(bench, &sent, drop(Drop::UnknownLink));
}

#[test]
fn answers_that_are_none_are_the_hosts() {
    let v4 = FAMILIES[0];
    let answer = Packet { flags: 0x12, ..packet(TCP, (v4.member, 8_080), (v4.client, 5_000)) };
    let gateway = || v4.bench(Path::Gateway, 8_080);
    let check = |bench: Bench, packet: &Packet, verdict| ends(&bench, &packet.bytes(), verdict);
    check(gateway(), &Packet { from: (ip(v4.member), 22), ..answer.clone() }, Verdict::Pass(Pass::NotOurs));
    check(
        gateway(),
        &Packet { from: (ip("10.0.0.9"), 8_080), ..answer.clone() },
        Verdict::Pass(Pass::NotOurs),
    );
    check(gateway(), &Packet { fragment: 0x0010, ..answer.clone() }, Verdict::Pass(Pass::NotOurs));
    check(gateway(), &Packet { protocol: 1, ..answer.clone() }, Verdict::Pass(Pass::NotOurs));
    check(gateway(), &Packet { to_mac: MEMBER_MAC, ..answer.clone() }, Verdict::Pass(Pass::OtherHost));
    check(gateway(), &Packet { hop_limit: 1, ..answer.clone() }, Verdict::Drop(Drop::HopLimit));
    let closed = ConfigRow::new(3, 6, 8, false, None, None);
    check(Bench { config: closed, ..gateway() }, &answer, Verdict::Pass(Pass::NotOurs));
    let mut busy = gateway();
    busy.returns.values_mut().for_each(|row| row.0[0] |= BUSY);
    check(busy, &answer, Verdict::Drop(Drop::Changing));
    // To the own address, from a port that no flow has; or from nobody we know.
    let to_own = Packet { to: (ip(v4.own), 20_000), ..answer.clone() };
    check(v4.bench(Path::Masquerade, 8_080), &to_own, Verdict::Pass(Pass::OwnAddress));
    let stranger = Packet { from: (ip("10.0.0.9"), 8_080), ..to_own };
    check(v4.bench(Path::Masquerade, 8_080), &stranger, Verdict::Pass(Pass::OwnAddress));
}

#[test]
fn frames_that_are_not_plain_ip_end_for_their_reason_and_unchanged() {
    let v4 = FAMILIES[0].bench(Path::Gateway, 8_080);
    let v6 = FAMILIES[1].bench(Path::Gateway, 8_080);
    let sent = packet(TCP, ("192.0.2.1", 5_000), ("10.0.1.1", 80)).bytes();
    let vlan = [&sent[..12], &[0x81, 0, 0, 5], &sent[12..]].concat();
    ends(&v4, &vlan, Verdict::Pass(Pass::NotIp));
    ends(&v4, &[&sent[..12], &[0x88, 0xcc, 0, 0]].concat(), Verdict::Pass(Pass::NotIp));
    let changed = |frame: &[u8], at: usize, byte: u8| {
        let mut frame = frame.to_vec();
        frame[at] = byte;
        frame
    };
    // Version, header length and total length that contradict the frame.
    for (at, byte) in [(14, 0x65), (14, 0x44), (14, 0x4f), (16, 0xff), (17, 19)] {
        let verdict = v4.run(&mut changed(&sent, at, byte));
        assert!(
            matches!(verdict, Verdict::Pass(Pass::NotOurs) | Verdict::Drop(Drop::Malformed)),
            "{at} {byte:x}: {verdict:?}"
        );
    }
    let sent = packet(TCP, ("2001:db8::1", 5_000), ("fd00:1::1", 80)).bytes();
    // Authentication, encryption, mobility, and nothing at all.
    for header in [51, 50, 135, 59] {
        ends(&v6, &changed(&sent, 20, header), Verdict::Drop(Drop::Protocol));
    }
    ends(&v6, &changed(&sent, 20, 44), Verdict::Drop(Drop::Fragment));
    ends(&v6, &changed(&sent, 20, 58), Verdict::Drop(Drop::Icmp));
    ends(&v6, &changed(&sent, 14, 0x40), Verdict::Pass(Pass::NotOurs));
    // An IPv4 address in IPv6 clothes is not that IPv4 address.
    let mapped = packet(TCP, ("2001:db8::1", 5_000), ("::ffff:10.0.1.1", 80)).bytes();
    ends(&v4, &mapped, Verdict::Pass(Pass::NotOurs));
}

#[test]
fn packets_to_a_frontend_that_no_rule_takes_are_counted() {
    // RULE-2
    let v4 = FAMILIES[0];
    let bench = v4.bench(Path::Gateway, 8_080);
    let sent = packet(TCP, (v4.client, 5_000), (v4.frontend, 80));
    let others = [
        Packet { to: (ip(v4.frontend), 81), ..sent.clone() },
        Packet { protocol: 1, ..sent.clone() },
        Packet { protocol: SCTP, to: (ip(v4.frontend), 81), ..sent.clone() },
        Packet { fragment: 0x0010, ..sent.clone() },
    ];
    for other in &others {
        assert!(matches!(bench.run(&mut other.bytes()), Verdict::Drop(_)));
    }
    assert_eq!(*bench.unmatched.borrow(), [2; 4]);
}

#[test]
fn a_frame_cut_off_anywhere_goes_nowhere_and_stays_as_it_is() {
    for family in FAMILIES {
        for path in [Path::Floating, Path::FloatingGateway, Path::Gateway, Path::Masquerade] {
            for protocol in [TCP, UDP] {
                let there = packet(protocol, (family.client, 5_000), (family.frontend, 80)).bytes();
                let back = packet(protocol, (family.member, 8_080), (family.client, 5_000)).bytes();
                for whole in [there, back] {
                    for length in 0..whole.len() {
                        let mut frame = whole[..length].to_vec();
                        let verdict = family.bench(path, 8_080).run(&mut frame);
                        assert!(
                            matches!(verdict, Verdict::Pass(_) | Verdict::Drop(_)),
                            "{length}: {verdict:?}"
                        );
                        assert_eq!(frame, whole[..length], "{length}");
                    }
                }
            }
        }
    }
    let bench = FAMILIES[0].bench(Path::Gateway, 8_080);
    let request = arp(1, CLIENT_MAC.bytes(), [192, 0, 2, 1], [10, 0, 1, 1]);
    // Behind the 42 bytes of the request there is padding.
    for length in 0..42 {
        ends_somehow(&bench, &request[..length]);
    }
    let bench = FAMILIES[1].bench(Path::Gateway, 8_080);
    let asked = solicitation("2001:db8::1", true);
    for length in 0..asked.len() {
        ends_somehow(&bench, &asked[..length]);
    }
}

#[test]
fn no_bytes_whatever_are_sent_with_wrong_checksums_or_passed_on_changed() {
    let mut dice = Dice(42);
    let mut sent = 0;
    for _ in 0..60_000 {
        let family = FAMILIES[dice.below(2)];
        let path = [Path::Floating, Path::FloatingGateway, Path::Gateway, Path::Masquerade][dice.below(4)];
        let protocol = [TCP, UDP][dice.below(2)];
        let mut packet = packet(protocol, (family.client, dice.below(65_536) as u16), (family.frontend, 80));
        packet.payload = (0..dice.below(40)).map(|_| dice.below(256) as u8).collect();
        let mut frame = packet.bytes();
        for _ in 0..dice.below(3) {
            let at = dice.below(frame.len());
            frame[at] = dice.below(256) as u8;
        }
        if dice.below(8) == 0 {
            frame.truncate(dice.below(frame.len()));
        }
        let before = frame.clone();
        match family.bench(path, 8_080).run(&mut frame) {
            Verdict::Pass(_) | Verdict::Drop(_) => assert_eq!(frame, before),
            Verdict::Send(..) | Verdict::Route(_) => {
                // As right or wrong as they were, in the same way.
                assert_eq!(errors(&frame), errors(&before), "\n{before:02x?}\n{frame:02x?}");
                sent += 1;
            }
        }
    }
    assert!(sent > 20_000, "{sent}");
}

#[test]
fn who_asks_for_a_frontend_by_arp_is_answered() {
    let bench = FAMILIES[0].bench(Path::Gateway, 8_080);
    let (asker, us) = (CLIENT_MAC.bytes(), LINK_MAC.bytes());
    // A station that asks, and one that makes sure nobody has the address before it takes it.
    for sender in [[192, 0, 2, 1], [0; 4]] {
        let mut frame = arp(1, asker, sender, [10, 0, 1, 1]);
        assert_eq!(bench.run(&mut frame), Verdict::Send(LINK, Sent::Answered));
        let mut answer = Vec::new();
        answer.extend(asker);
        answer.extend(us);
        answer.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        answer.extend(us);
        answer.extend([10, 0, 1, 1]);
        answer.extend(asker);
        answer.extend(sender);
        answer.resize(60, 0);
        assert_eq!(frame, answer);
    }
}

#[test]
fn other_arp_is_the_hosts() {
    let bench = || FAMILIES[0].bench(Path::Gateway, 8_080);
    let (asker, sender) = (CLIENT_MAC.bytes(), [192, 0, 2, 1]);
    ends(&bench(), &arp(1, asker, sender, [10, 0, 1, 9]), Verdict::Pass(Pass::NotOurs));
    // The own address and the members answer for themselves.
    ends(&bench(), &arp(1, asker, sender, [10, 0, 0, 2]), Verdict::Pass(Pass::NotOurs));
    ends(&bench(), &arp(1, asker, sender, [10, 0, 0, 4]), Verdict::Pass(Pass::NotOurs));
    ends(&bench(), &arp(2, asker, sender, [10, 0, 1, 1]), Verdict::Pass(Pass::NotOurs));
    // Somebody else says that the frontend is his: asking, answering, or to all.
    for (kind, target) in [(1, [10, 0, 0, 2]), (2, [192, 0, 2, 1]), (1, [10, 0, 1, 1]), (2, [10, 0, 1, 1])] {
        ends(&bench(), &arp(kind, asker, [10, 0, 1, 1], target), Verdict::Pass(Pass::AddressTaken));
    }
    let mut token_ring = arp(1, asker, sender, [10, 0, 1, 1]);
    token_ring[15] = 6;
    ends(&bench(), &token_ring, Verdict::Pass(Pass::NotOurs));
    let unknown = bench();
    unknown.ingress.set(9);
    ends(&unknown, &arp(1, asker, sender, [10, 0, 1, 1]), Verdict::Drop(Drop::UnknownLink));
}

#[test]
fn who_solicits_a_frontend_gets_its_advertisement() {
    let bench = FAMILIES[1].bench(Path::Gateway, 8_080);
    for (asker, option) in [("2001:db8::1", true), ("2001:db8::1", false), ("::", false), ("::", true)] {
        let mut frame = solicitation(asker, option);
        assert_eq!(bench.run(&mut frame), Verdict::Send(LINK, Sent::Answered));
        let unnamed = asker == "::";
        let (to_mac, to, flags) = if unnamed {
            ([0x33, 0x33, 0, 0, 0, 1], "ff02::1", 0x20)
        } else {
            (CLIENT_MAC.bytes(), asker, 0x60)
        };
        let mut message = vec![136, 0, 0, 0, flags, 0, 0, 0];
        message.extend(octets("fd00:1::1"));
        if option {
            message.extend([2, 1]);
            message.extend(LINK_MAC.bytes());
        }
        let checksum = transport_checksum(ip("fd00:1::1"), ip(to), 58, &message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        let advertisement = icmpv6(to_mac, LINK_MAC.bytes(), "fd00:1::1", to, &message);
        assert_eq!(frame, advertisement, "for {asker}");
    }
}

#[test]
fn other_solicitations_are_not_answered() {
    // RULE-2
    let bench = FAMILIES[1].bench(Path::Gateway, 8_080);
    let asked = solicitation("2001:db8::1", true);
    let changed = |at: usize, byte: u8| {
        let mut frame = asked.clone();
        frame[at] = byte;
        frame
    };
    // Routed here (hop limit), of another kind or code, for another address.
    for (at, byte) in [(21, 254), (54, 136), (55, 1), (77, 9)] {
        ends(&bench, &changed(at, byte), Verdict::Pass(Pass::NotOurs));
    }
    let mut unicast = asked.clone();
    unicast[..6].copy_from_slice(&LINK_MAC.bytes());
    unicast[38..54].copy_from_slice(&octets("fd00:1::1"));
    unicast[54] = 128;
    ends(&bench, &unicast, Verdict::Drop(Drop::Icmp));
}

#[test]
fn the_longest_idle_time_can_be_told_from_having_run_out() {
    // FLOW-5
    let word = |until: u32| 1 << 32 | 7 << 16 | u64::from(until & 0x7fff);
    for now in [0, 1, 0x7ffe, 0x7fff, 0x8000, u32::MAX - 5, u32::MAX] {
        for left in [0, 1, u32::from(MAX_IDLE_TICKS)] {
            let remembered = Remembered::of(word(now.wrapping_add(left)), Tick(now)).unwrap();
            assert_eq!((remembered.member(), remembered.remaining(Tick(now))), (7, u64::from(left)));
        }
        for since in [1, 100, 20_000] {
            assert_eq!(Remembered::of(word(now.wrapping_sub(since)), Tick(now)), None, "{since} after {now}");
        }
    }
    assert_eq!(Remembered::of(0, Tick(0)), None);
}

#[test]
fn a_plan_is_the_same_after_it_was_a_word() {
    for path in [Path::Floating, Path::FloatingGateway, Path::Gateway, Path::Masquerade] {
        for by in [Distribution::FiveTuple, Distribution::SourceIp, Distribution::SourceIpProtocol] {
            for flags in 0..128 {
                let plan = Plan {
                    backend_port: 65_535,
                    ring: 4_095,
                    distribution: by,
                    former: Distribution::SourceIp,
                    settled: flags & 1 != 0,
                    path,
                    remembers: flags & 2 != 0,
                    resets: flags & 4 != 0,
                    hairpin: flags & 8 != 0,
                    direct: flags & 16 != 0,
                    tracks: flags & 32 != 0,
                    announces: flags & 64 != 0,
                    strict: [Strict::No, Strict::Soon, Strict::Yes][flags % 3],
                    idle: MAX_IDLE_TICKS,
                };
                assert_eq!(Plan::from_word(plan.word()), plan);
            }
        }
    }
}

#[test]
fn every_reason_has_its_name_and_number() {
    let verdicts = [
        Verdict::Pass(Pass::NotIp),
        Verdict::Pass(Pass::AddressTaken),
        Verdict::Drop(Drop::Malformed),
        Verdict::Drop(Drop::UnknownLink),
        Verdict::Send(1, Sent::Forwarded),
        Verdict::Route(Sent::Returned),
        Verdict::Send(1, Sent::Answered),
    ];
    for verdict in verdicts {
        let (_, kind, name) =
            Reason::ALL.into_iter().find(|(reason, ..)| *reason == verdict.reason()).unwrap();
        let text = format!("{verdict:?}").to_lowercase().replace("route", "send");
        assert!(text.starts_with(kind) && text.contains(&name.to_lowercase()), "{text}: {kind} {name}");
    }
    let numbers: Vec<u8> = Reason::ALL.iter().map(|(reason, ..)| reason.0).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next));
}

fn forwarded(bench: &Bench, sent: &Packet, seen: &Packet) {
    let mut frame = sent.bytes();
    assert_eq!(bench.run(&mut frame), Verdict::Send(LINK, Sent::Forwarded), "{sent:?}");
    assert_frame(&frame, seen);
}

/// Byte by byte; the expected packet's checksums are computed in full.
fn assert_frame(frame: &[u8], expected: &Packet) {
    assert_eq!(frame, expected.bytes(), "\n{frame:02x?}\nis not {expected:?}");
}

fn assert_transport(frame: &[u8], at: usize) {
    let address = |at: usize| std::net::IpAddr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap());
    assert_eq!(transport_checksum(address(26), address(30), frame[23], &frame[at..]), 0);
}

/// What is left over of the sums of header and transport; zero where they are right.
fn errors(frame: &[u8]) -> Option<(u16, u16)> {
    let v4 = frame[12..14] == [8, 0];
    let (start, end, protocol) = if v4 {
        let header = usize::from(frame[14] & 0xf) * 4;
        (14 + header, 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]])), frame[23])
    } else {
        (54, 54 + usize::from(u16::from_be_bytes([frame[18], frame[19]])), frame[20])
    };
    let address = |at: usize| -> std::net::IpAddr {
        if v4 {
            <[u8; 4]>::try_from(&frame[at..at + 4]).unwrap().into()
        } else {
            <[u8; 16]>::try_from(&frame[at..at + 16]).unwrap().into()
        }
    };
    let (from, to) = if v4 { (address(26), address(30)) } else { (address(22), address(38)) };
    let header = if v4 { internet_checksum(&frame[14..start]) } else { 0 };
    let at = start + checksum_at(protocol)?;
    // Without a checksum nothing can be wrong with it.
    if protocol == UDP && frame[at..at + 2] == [0, 0] {
        return None;
    }
    Some((header, transport_checksum(from, to, protocol, &frame[start..end])))
}

fn ends_somehow(bench: &Bench, bytes: &[u8]) {
    let mut frame = bytes.to_vec();
    let verdict = bench.run(&mut frame);
    assert!(matches!(verdict, Verdict::Pass(_) | Verdict::Drop(_)), "{verdict:?}");
    assert_eq!(frame, bytes);
}

/// Padded, as drivers do.
fn arp(kind: u8, sender_mac: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(sender_mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, kind]);
    frame.extend(sender_mac);
    frame.extend(sender);
    frame.extend([0; 6]);
    frame.extend(target);
    if kind == 1 && sender != [10, 0, 1, 1] {
        frame.resize(60, 0);
    }
    frame
}

/// For the frontend, to its solicited-node address.
fn solicitation(asker: &str, option: bool) -> Vec<u8> {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(octets("fd00:1::1"));
    if option {
        message.extend([1, 1]);
        message.extend(CLIENT_MAC.bytes());
    }
    let checksum = transport_checksum(ip(asker), ip("ff02::1:ff00:1"), 58, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    icmpv6([0x33, 0x33, 0xff, 0, 0, 1], CLIENT_MAC.bytes(), asker, "ff02::1:ff00:1", &message)
}

fn icmpv6(to_mac: [u8; 6], from_mac: [u8; 6], from: &str, to: &str, message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(to_mac);
    frame.extend(from_mac);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, message.len() as u8, 58, 255]);
    frame.extend(octets(from));
    frame.extend(octets(to));
    frame.extend(message);
    frame
}

fn octets(address: &str) -> [u8; 16] {
    address.parse::<std::net::Ipv6Addr>().unwrap().octets()
}

#[test]
fn a_link_is_found_beside_its_own_place() {
    let mut bench = FAMILIES[0].bench(Path::Gateway, 8_080);
    bench.links.clear();
    bench.links.insert(3, LinkRow::new(67, MEMBER_MAC, 1_500));
    bench.links.insert(4, LinkRow::new(LINK, LINK_MAC, 1_500));
    let sent = packet(TCP, ("192.0.2.1", 5_000), ("10.0.1.1", 80));
    assert!(matches!(bench.run(&mut sent.bytes()), Verdict::Send(..)));
}

/// Numbers that look like chance and are the same each time.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        ((self.0 >> 33) as usize) % limit
    }
}
