//! Packets of other kinds than plain TCP and UDP: SCTP, rules for everything, pieces, extension headers, echoes, and ICMP errors.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::net::IpAddr;

use forebay_plane::row::{Key, MAX_EXTENSIONS, PIECE_TICKS, Path, Plan, Role, Slot};
use forebay_plane::{Drop, Pass, Sent, Verdict};
use world::{
    Bench, CLIENT_MAC, FAMILIES, Family, LINK, LINK_MAC, MEMBER_MAC, NOW, Packet, SCTP, TCP, UDP, crc32c,
    ends, internet_checksum, ip, packet, plan, transport_checksum,
};

mod world;

const PATHS: [Path; 4] = [Path::Floating, Path::FloatingGateway, Path::Gateway, Path::Masquerade];
/// Routers between clients and the frontend.
const ROUTER_V4: &str = "198.51.100.9";
const ROUTER_V6: &str = "2001:db8:9::9";

#[test]
fn the_oracle_knows_the_checksum_of_sctp() {
    // The check value of CRC-32C.
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn an_association_is_balanced_and_its_checksum_stays_true() {
    // RULE-1
    for (family, path) in everywhere() {
        for length in (0..70).chain([255, 1_024, 1_441]) {
            let bench = family.bench(path, at_member(path));
            let sent = Packet {
                payload: vec![0x5a; length],
                flags: 1,
                ..packet(SCTP, (family.client, 5_000), (family.frontend, 80))
            };
            let mut frame = sent.bytes();
            assert_eq!(bench.run(&mut frame), Verdict::Send(LINK, Sent::Forwarded), "{path:?}");
            assert_eq!(frame, seen(family, path, &sent, port_of(&frame)).bytes(), "{path:?} {length}");
        }
    }
}

#[test]
fn an_association_that_begins_goes_to_who_takes_new_ones() {
    // DIST-2, RULE-1
    let v4 = FAMILIES[0];
    let init = Packet { flags: 1, ..packet(SCTP, (v4.client, 5_000), (v4.frontend, 80)) };
    let data = Packet { flags: 0, ..init.clone() };
    // Member 1 takes new ones, and member 2, who had them before, is not there any more.
    let bench = || Bench { slot: Slot::changing(1, 2), ..v4.bench(Path::Floating, 80) };
    ends(&bench(), &data.bytes(), Verdict::Drop(Drop::NoMember));
    let bench = bench();
    for packet in [&init, &data] {
        assert_eq!(bench.run(&mut packet.bytes()), Verdict::Send(LINK, Sent::Forwarded));
    }
}

#[test]
fn a_rule_for_everything_takes_what_no_other_takes_and_keeps_the_port() {
    // HA-1
    for family in FAMILIES {
        for path in [Path::Floating, Path::Gateway, Path::Masquerade] {
            for (protocol, port) in [(TCP, 1), (TCP, 65_535), (UDP, 53), (SCTP, 36_412)] {
                let bench = for_everything(family, path);
                let sent = packet(protocol, (family.client, 5_000), (family.frontend, port));
                let mut frame = sent.bytes();
                assert_eq!(bench.run(&mut frame), Verdict::Send(LINK, Sent::Forwarded));
                let stand_in = port_of(&frame);
                let seen = seen(family, path, &sent, stand_in);
                assert_eq!(frame, Packet { to: (seen.to.0, port), ..seen }.bytes(), "{path:?}");
            }
            // A rule for a port stands before it.
            let other = Plan { ring: 0, ..plan(path, 22) };
            let bench = for_everything(family, path).rule(Key::new(2, TCP, 22), other);
            let sent = packet(TCP, (family.client, 5_000), (family.frontend, 22));
            ends(&bench, &sent.bytes(), Verdict::Drop(Drop::NoMember));
        }
    }
}

#[test]
fn answers_under_a_rule_for_everything_are_those_of_flows_that_are_known() {
    // HA-1, FIP-3
    for family in FAMILIES {
        let bench = for_everything(family, Path::Gateway).way_back(Key::all(3), family.frontend, 0);
        let answer = packet(UDP, (family.member, 53), (family.client, 5_000));
        ends(&bench, &answer.bytes(), Verdict::Pass(Pass::NotOurs));
        let asked = packet(UDP, (family.client, 5_000), (family.frontend, 53));
        assert_eq!(bench.run(&mut asked.bytes()), Verdict::Send(LINK, Sent::Forwarded));
        let mut frame = answer.bytes();
        assert_eq!(bench.run(&mut frame), Verdict::Route(Sent::Returned));
        let returned = Packet { from: (ip(family.frontend), 53), hop_limit: 63, ..answer };
        assert_eq!(frame, returned.bytes());
    }
}

#[test]
fn pieces_follow_their_first_one() {
    // HA-1
    for (family, path) in everywhere() {
        for protocol in [TCP, UDP] {
            let bench = family.bench(path, at_member(path));
            let sent = Packet {
                payload: (0..1_000).map(|at| at as u8).collect(),
                ..packet(protocol, (family.client, 5_000), (family.frontend, 80))
            };
            let mut pieces = cut(&sent.bytes(), 77);
            // A later piece that overtakes the first one is not known yet.
            ends(&bench, &pieces[1], Verdict::Drop(Drop::Fragment));
            for piece in &mut pieces {
                assert_eq!(bench.run(piece), Verdict::Send(LINK, Sent::Forwarded), "{path:?}");
            }
            let stand_in = port_of(&pieces[0]);
            // In any order.
            pieces[1..].reverse();
            let seen = seen(family, path, &sent, stand_in);
            assert_eq!(joined(&pieces), seen.bytes(), "{path:?} {protocol}");

            if path == Path::Floating {
                continue;
            }
            // And so do those of answers.
            let (from, to) = (seen.to, seen.from);
            let answer = Packet { from_mac: MEMBER_MAC, to_mac: LINK_MAC, from, to, flags: 0x12, ..seen };
            let mut pieces = cut(&answer.bytes(), 78);
            for piece in &mut pieces {
                let verdict = bench.run(piece);
                assert!(
                    matches!(verdict, Verdict::Send(_, Sent::Returned) | Verdict::Route(Sent::Returned)),
                    "{verdict:?}"
                );
            }
            let joined = joined(&pieces);
            let (to_mac, from_mac) = match path {
                Path::Masquerade => (CLIENT_MAC, LINK_MAC),
                Path::Floating | Path::FloatingGateway | Path::Gateway => (answer.to_mac, answer.from_mac),
            };
            let back = Packet { from: sent.to, to: sent.from, to_mac, from_mac, ..answer };
            assert_eq!(joined, Packet { hop_limit: back.hop_limit - 1, ..back }.bytes());
        }
    }
}

#[test]
fn a_piece_goes_nowhere_without_a_first_one_of_its_own() {
    for family in FAMILIES {
        let sent =
            Packet { payload: vec![7; 600], ..packet(UDP, (family.client, 5_000), (family.frontend, 80)) };
        let (pieces, others) = (cut(&sent.bytes(), 7), cut(&sent.bytes(), 8));
        let to_another = Packet { to: (ip(family.router()), 80), ..sent.clone() };
        let bench = family.bench(Path::Floating, 80);
        assert_eq!(bench.run(&mut pieces[0].clone()), Verdict::Send(LINK, Sent::Forwarded));
        ends(&bench, &others[1], Verdict::Drop(Drop::Fragment));
        // What others send to each other through this host is the host's, and not kept.
        for piece in cut(&to_another.bytes(), 9) {
            ends(&bench, &piece, Verdict::Pass(Pass::NotOurs));
        }
        bench.now.set(NOW.0 + u32::from(PIECE_TICKS));
        assert_eq!(bench.run(&mut pieces[1].clone()), Verdict::Send(LINK, Sent::Forwarded));
        bench.now.set(NOW.0 + u32::from(PIECE_TICKS) + 1);
        ends(&bench, &pieces[1], Verdict::Drop(Drop::Fragment));
    }
}

#[test]
fn an_association_in_pieces_passes_where_no_port_changes() {
    let v4 = FAMILIES[0];
    let sent =
        Packet { payload: vec![7; 600], flags: 0, ..packet(SCTP, (v4.client, 5_000), (v4.frontend, 80)) };
    let mut pieces = cut(&sent.bytes(), 7);
    let bench = v4.bench(Path::Floating, 80);
    for piece in &mut pieces {
        assert_eq!(bench.run(piece), Verdict::Send(LINK, Sent::Forwarded));
    }
    assert_eq!(joined(&pieces), seen(v4, Path::Floating, &sent, 0).bytes());
    // How much a changed byte counts depends on all that follow.
    let bench = v4.bench(Path::FloatingGateway, 8_080);
    ends(&bench, &cut(&sent.bytes(), 7)[0], Verdict::Drop(Drop::Fragment));
}

#[test]
fn extension_headers_are_followed_and_left_as_they_are() {
    let v6 = FAMILIES[1];
    let padding =
        |length: usize| [&[(length / 8 - 1) as u8, 1, (length - 4) as u8][..], &vec![0; length - 4]].concat();
    let routed = |left: u8| vec![0, 253, left, 0, 0, 0, 0];
    let atom = vec![0, 0, 0, 0, 0, 0, 9];
    let several =
        vec![(0, padding(16)), (60, padding(8)), (43, routed(0)), (44, atom.clone()), (60, padding(40))];
    for path in PATHS {
        for protocol in [TCP, UDP, SCTP] {
            for count in 1..=several.len() {
                let bench = v6.bench(path, at_member(path));
                let extensions = several[..count].to_vec();
                let plain = packet(protocol, (v6.client, 5_000), (v6.frontend, 80));
                let sent = Packet { extensions, ..plain };
                let mut frame = sent.bytes();
                assert_eq!(bench.run(&mut frame), Verdict::Send(LINK, Sent::Forwarded), "{path:?} {count}");
                let at = frame.len() - sent.segment().len();
                let stand_in = u16::from_be_bytes([frame[at], frame[at + 1]]);
                assert_eq!(frame, seen(v6, path, &sent, stand_in).bytes(), "{path:?} {count}");
            }
        }
    }
    let bench = v6.bench(Path::Gateway, 8_080);
    let with = |extensions: Vec<(u8, Vec<u8>)>| {
        let plain = packet(TCP, (v6.client, 5_000), (v6.frontend, 80));
        Packet { extensions, ..plain }.bytes()
    };
    let most = MAX_EXTENSIONS as usize;
    assert!(matches!(bench.run(&mut with(vec![(60, padding(8)); most])), Verdict::Send(..)));
    ends(&bench, &with(vec![(60, padding(8)); most + 1]), Verdict::Drop(Drop::Extensions));
    // Too long, and one that wants to be somewhere else first.
    ends(&bench, &with(vec![(60, padding(480))]), Verdict::Drop(Drop::Extensions));
    ends(&bench, &with(vec![(43, routed(1))]), Verdict::Drop(Drop::Extensions));
    // It says that it is longer than the packet.
    let mut lies = with(vec![(60, padding(8))]);
    lies[55] = 30;
    ends(&bench, &lies, Verdict::Drop(Drop::Malformed));
    let whole = with(several);
    for length in 0..whole.len() {
        let frame = whole[..length].to_vec();
        let verdict = bench.run(&mut frame.clone());
        assert!(matches!(verdict, Verdict::Pass(_) | Verdict::Drop(_)), "{length}: {verdict:?}");
        ends(&bench, &frame, verdict);
    }
}

#[test]
fn an_echo_request_becomes_its_answer() {
    // ICMP-2
    for family in FAMILIES {
        for length in [0, 1, 8, 56, 1_400] {
            let asked = echo(family, true, length);
            let mut frame = asked.clone();
            assert_eq!(
                echoing(family.bench(Path::Floating, 80)).run(&mut frame),
                Verdict::Send(LINK, Sent::Echoed)
            );
            assert_eq!(frame, echo(family, false, length), "{length}");
        }
        // Switched off, or nobody is there to serve.
        ends(&family.bench(Path::Floating, 80), &echo(family, true, 56), Verdict::Drop(Drop::Icmp));
        // An answer is nobody's question.
        let bench = echoing(family.bench(Path::Floating, 80));
        let mut answer = echo(family, true, 56);
        let at = if family.is_v4() { 34 } else { 54 };
        answer[at] = if family.is_v4() { 0 } else { 129 };
        ends(&bench, &answer, Verdict::Drop(Drop::Icmp));
        // It does not go round by a station that is everybody.
        let mut from_all = echo(family, true, 56);
        from_all[6..12].fill(0xff);
        ends(&bench, &from_all, Verdict::Drop(Drop::Icmp));
        ends(&bench, &cut(&echo(family, true, 600), 7)[0], Verdict::Drop(Drop::Fragment));
    }
}

#[test]
fn an_error_about_an_answer_reaches_the_member_as_it_knows_the_flow() {
    // ICMP-1
    for (family, path) in everywhere() {
        let router = family.router();
        for protocol in [TCP, UDP, SCTP] {
            let bench = family.bench(path, at_member(path));
            let asked = packet(protocol, (family.client, 5_000), (family.frontend, 80));
            let mut frame = Packet { flags: if protocol == SCTP { 1 } else { 2 }, ..asked.clone() }.bytes();
            assert_eq!(bench.run(&mut frame), Verdict::Send(LINK, Sent::Forwarded));
            let inside = seen(family, path, &asked, port_of(&frame));
            for length in [8, 20, 500] {
                // The answer as the client was to see it, cut off by a router on the way.
                let answer = Packet {
                    from: asked.to,
                    to: asked.from,
                    flags: 0x12,
                    payload: vec![3; 512],
                    ..asked.clone()
                };
                let told = error(family, router, family.frontend, &answer, length);
                let mut frame = told.bytes();
                assert_eq!(bench.run(&mut frame), Verdict::Send(LINK, Sent::Reported), "{path:?}");
                let quoted = Packet { from: inside.to, to: inside.from, ..answer };
                let to = if is_floating(path) { family.frontend } else { family.member };
                let hop_limit = if is_floating(path) { 64 } else { 63 };
                let expected = Told { hop_limit, ..error(family, router, to, &quoted, length) };
                same_report(
                    &frame,
                    &Told { to_mac: MEMBER_MAC.bytes(), from_mac: LINK_MAC.bytes(), ..expected },
                    length,
                );
            }
        }
    }
}

#[test]
fn an_error_of_a_member_or_a_router_reaches_the_client_as_it_knows_the_flow() {
    // ICMP-1
    for family in FAMILIES {
        let router = family.router();
        for path in [Path::Gateway, Path::Masquerade] {
            for protocol in [TCP, UDP] {
                let bench = family.bench(path, 8_080);
                let plain = packet(protocol, (family.client, 5_000), (family.frontend, 80));
                let asked = Packet { payload: vec![3; 64], ..plain };
                let mut frame = asked.bytes();
                assert_eq!(bench.run(&mut frame), Verdict::Send(LINK, Sent::Forwarded));
                let inside = seen(family, path, &asked, port_of(&frame));
                let own = inside.from.0.to_string();
                // What is quoted was on its way for a hop.
                let quoted = Packet { hop_limit: inside.hop_limit, ..asked };
                // A member's own word is the frontend's; a router's stays its own.
                for (from, becomes) in [(family.member, family.frontend), (router, router)] {
                    let told = error(family, from, &own, &inside, 28);
                    let mut frame = told.bytes();
                    let verdict = bench.run(&mut frame);
                    let expected =
                        Told { hop_limit: 63, ..error(family, becomes, family.client, &quoted, 28) };
                    let expected = match path {
                        Path::Masquerade => {
                            assert_eq!(verdict, Verdict::Send(LINK, Sent::Reported));
                            Told { to_mac: CLIENT_MAC.bytes(), from_mac: LINK_MAC.bytes(), ..expected }
                        }
                        Path::Floating | Path::FloatingGateway | Path::Gateway => {
                            assert_eq!(verdict, Verdict::Route(Sent::Reported));
                            Told { to_mac: told.to_mac, from_mac: told.from_mac, ..expected }
                        }
                    };
                    same_report(&frame, &expected, 28);
                }
            }
        }
    }
}

#[test]
fn errors_about_nothing_that_is_known_go_no_further() {
    // ICMP-1
    for family in FAMILIES {
        let router = family.router();
        let masquerade = family.bench(Path::Masquerade, 8_080);
        let answer = packet(TCP, (family.frontend, 80), (family.client, 5_000));
        let told = |answer: &Packet| error(family, router, family.frontend, answer, 20).bytes();
        // Nobody stands in for this client.
        ends(&masquerade, &told(&answer), Verdict::Drop(Drop::Icmp));
        let floating = family.bench(Path::Floating, 80);
        // No rule; not the frontend's answer; a protocol without ports; too little of it.
        let elsewhere = Packet { from: (ip(family.frontend), 81), ..answer.clone() };
        ends(&floating, &told(&elsewhere), Verdict::Drop(Drop::NoRule));
        let foreign = Packet { from: (ip(router), 80), ..answer.clone() };
        ends(&floating, &told(&foreign), Verdict::Drop(Drop::Icmp));
        ends(&floating, &told(&Packet { protocol: 47, ..answer.clone() }), Verdict::Drop(Drop::Icmp));
        ends(
            &floating,
            &error(family, router, family.frontend, &answer, 3).bytes(),
            Verdict::Drop(Drop::Icmp),
        );
        // Also the host has errors of its own, and forwards those of others.
        let own = packet(TCP, (family.own, 33_000), (family.member, 22));
        let to_own = error(family, router, family.own, &own, 20).bytes();
        ends(&floating, &to_own, Verdict::Pass(Pass::OwnAddress));
        let others = packet(TCP, (family.client, 33_000), (router, 22));
        let to_other = error(family, router, family.client, &others, 20).bytes();
        ends(&family.bench(Path::Gateway, 80), &to_other, Verdict::Pass(Pass::NotOurs));
        for length in 0..to_own.len() {
            let frame = told(&answer)[..length.min(told(&answer).len())].to_vec();
            let verdict = masquerade.run(&mut frame.clone());
            assert!(matches!(verdict, Verdict::Pass(_) | Verdict::Drop(_)), "{length}: {verdict:?}");
            ends(&masquerade, &frame, verdict);
        }
    }
}

/// All frontends answer echo requests.
fn echoing(mut bench: Bench) -> Bench {
    let frontends = bench.addresses.values_mut().filter(|row| row.role() == Some(Role::Frontend));
    frontends.for_each(|row| *row = row.echoing(true));
    bench
}

fn everywhere() -> impl Iterator<Item = (Family, Path)> {
    FAMILIES.into_iter().flat_map(|family| PATHS.into_iter().map(move |path| (family, path)))
}

const fn is_floating(path: Path) -> bool {
    matches!(path, Path::Floating | Path::FloatingGateway)
}

const fn at_member(path: Path) -> u16 {
    if matches!(path, Path::Floating) { 80 } else { 8_080 }
}

fn for_everything(family: Family, path: Path) -> Bench {
    let plan = Plan { remembers: path == Path::Gateway, ..plan(path, 0) };
    let bench = family.bench(path, 0);
    let rules = std::collections::BTreeMap::new();
    Bench { rules, ..bench }.rule(Key::all(2), plan)
}

/// The source port of a frame without options and extension headers.
fn port_of(frame: &[u8]) -> u16 {
    let at = if frame[12..14] == [8, 0] { 34 } else { 54 };
    // A piece has a header more.
    let at = if at == 54 && frame[20] == 44 { 62 } else { at };
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// What the member gets.
fn seen(family: Family, path: Path, sent: &Packet, stand_in: u16) -> Packet {
    let seen = Packet { to_mac: MEMBER_MAC, from_mac: LINK_MAC, ..sent.clone() };
    let port = at_member(path);
    match path {
        Path::Floating => seen,
        Path::FloatingGateway => Packet { to: (sent.to.0, port), ..seen },
        Path::Gateway => Packet { to: (ip(family.member), port), hop_limit: 63, ..seen },
        Path::Masquerade => {
            Packet { from: (ip(family.own), stand_in), to: (ip(family.member), port), hop_limit: 63, ..seen }
        }
    }
}

/// Cuts a frame into pieces that carry 200 bytes, and the last one the rest.
fn cut(frame: &[u8], id: u8) -> Vec<Vec<u8>> {
    let v4 = frame[12..14] == [8, 0];
    let (headers, rest) = frame.split_at(if v4 { 34 } else { 54 });
    let last = rest.len().div_ceil(200) - 1;
    let piece = |(number, part): (usize, &[u8])| {
        let more = number < last;
        let mut piece = headers.to_vec();
        if v4 {
            piece[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            piece[18..20].copy_from_slice(&[0, id]);
            let offset = (number as u16 * 25) | (u16::from(more) << 13);
            piece[20..22].copy_from_slice(&offset.to_be_bytes());
            piece[24..26].fill(0);
            let checksum = internet_checksum(&piece[14..34]);
            piece[24..26].copy_from_slice(&checksum.to_be_bytes());
        } else {
            let protocol = std::mem::replace(&mut piece[20], 44);
            piece[18..20].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
            let [high, low] = (((number as u16 * 25) << 3) | u16::from(more)).to_be_bytes();
            piece.extend([protocol, 0, high, low, 0, 0, 0, id]);
        }
        piece.extend(part);
        piece
    };
    rest.chunks(200).enumerate().map(piece).collect()
}

/// The whole of pieces that are there in any order.
fn joined(pieces: &[Vec<u8>]) -> Vec<u8> {
    let v4 = pieces[0][12..14] == [8, 0];
    let offset = |piece: &[u8]| match v4 {
        true => usize::from(u16::from_be_bytes([piece[20], piece[21]]) & 0x1fff) * 8,
        false => usize::from(u16::from_be_bytes([piece[56], piece[57]]) >> 3) * 8,
    };
    let mut parts: Vec<(usize, &[u8])> =
        pieces.iter().map(|piece| (offset(piece), &piece[if v4 { 34 } else { 62 }..])).collect();
    parts.sort();
    let mut whole = pieces[0][..if v4 { 34 } else { 54 }].to_vec();
    for piece in pieces {
        assert_eq!(piece[..12], pieces[0][..12]);
        if v4 {
            assert_eq!(internet_checksum(&piece[14..34]), 0);
            assert_eq!(piece[22..24], pieces[0][22..24]);
            assert_eq!(piece[26..34], pieces[0][26..34]);
        } else {
            assert_eq!(piece[20..54], pieces[0][20..54]);
        }
    }
    for (offset, part) in &parts {
        assert_eq!(whole.len() - if v4 { 34 } else { 54 }, *offset);
        whole.extend(*part);
    }
    if v4 {
        let length = (whole.len() - 14) as u16;
        whole[16..18].copy_from_slice(&length.to_be_bytes());
        whole[18..20].copy_from_slice(&[0, 7]);
        whole[20..22].copy_from_slice(&[0x40, 0]);
        whole[24..26].fill(0);
        let checksum = internet_checksum(&whole[14..34]);
        whole[24..26].copy_from_slice(&checksum.to_be_bytes());
    } else {
        whole[20] = pieces[0][54];
        let length = (whole.len() - 54) as u16;
        whole[18..20].copy_from_slice(&length.to_be_bytes());
    }
    whole
}

/// An echo request to the frontend, or its answer.
fn echo(family: Family, asks: bool, length: usize) -> Vec<u8> {
    let mut message = match (family.is_v4(), asks) {
        (true, true) => vec![8],
        (true, false) => vec![0],
        (false, true) => vec![128],
        (false, false) => vec![129],
    };
    message.extend([0, 0, 0, 0x12, 0x34, 0, 1]);
    message.extend((0..length).map(|at| at as u8));
    let (from, to) = if asks { (family.client, family.frontend) } else { (family.frontend, family.client) };
    let (to_mac, from_mac) = if asks { (LINK_MAC, CLIENT_MAC) } else { (CLIENT_MAC, LINK_MAC) };
    let told = Told {
        to_mac: to_mac.bytes(),
        from_mac: from_mac.bytes(),
        from: ip(from),
        to: ip(to),
        hop_limit: 64,
        message,
    };
    told.bytes()
}

/// An ICMP message, as it is before it is written; its checksum is computed then.
#[derive(Clone, Debug)]
struct Told {
    to_mac: [u8; 6],
    from_mac: [u8; 6],
    from: IpAddr,
    to: IpAddr,
    hop_limit: u8,
    message: Vec<u8>,
}

/// That a packet is too big for a link of 1,280 bytes; it quotes this many bytes of its transport layer.
fn error(family: Family, from: &str, to: &str, about: &Packet, length: usize) -> Told {
    let quoted = about.bytes()[14..].to_vec();
    let header = if family.is_v4() { 20 } else { 40 };
    let kind: [u8; 2] = if family.is_v4() { [3, 4] } else { [2, 0] };
    let mut message = [&kind[..], &[0, 0, 0, 0, 5, 0]].concat();
    message.extend(&quoted[..header + length]);
    Told {
        to_mac: LINK_MAC.bytes(),
        from_mac: CLIENT_MAC.bytes(),
        from: ip(from),
        to: ip(to),
        hop_limit: 64,
        message,
    }
}

impl Told {
    fn bytes(&self) -> Vec<u8> {
        let mut message = self.message.clone();
        message[2..4].fill(0);
        let v4 = self.from.is_ipv4();
        let checksum = if v4 {
            internet_checksum(&message)
        } else {
            transport_checksum(self.from, self.to, 58, &message)
        };
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        let (from, to) = (self.from.to_string(), self.to.to_string());
        let plain =
            Packet { hop_limit: self.hop_limit, ..packet(if v4 { 1 } else { 58 }, (&from, 0), (&to, 0)) };
        let mut frame = plain.bytes()[..if v4 { 34 } else { 54 }].to_vec();
        frame[..6].copy_from_slice(&self.to_mac);
        frame[6..12].copy_from_slice(&self.from_mac);
        if v4 {
            frame[16..18].copy_from_slice(&(20 + message.len() as u16).to_be_bytes());
            frame[24..26].fill(0);
            let checksum = internet_checksum(&frame[14..34]);
            frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        } else {
            frame[18..20].copy_from_slice(&(message.len() as u16).to_be_bytes());
        }
        frame.extend(message);
        frame
    }
}

/// Is this the report? Of the quoted transport header only the ports are looked at: its checksum is the one that was sent, and nobody
/// looks at it.
fn same_report(frame: &[u8], expected: &Told, length: usize) {
    let header = if expected.from.is_ipv4() { 20 } else { 40 };
    let mut expected = expected.clone();
    let ports = 8 + header + 4;
    assert!(expected.message.len() == 8 + header + length);
    let start = frame.len() - expected.message.len();
    expected.message[ports..].copy_from_slice(&frame[start + ports..]);
    assert_eq!(frame, expected.bytes(), "\n{frame:02x?}\nis not {expected:?}");
}

impl Family {
    fn is_v4(self) -> bool {
        ip(self.client).is_ipv4()
    }

    fn router(self) -> &'static str {
        if self.is_v4() { ROUTER_V4 } else { ROUTER_V6 }
    }
}
