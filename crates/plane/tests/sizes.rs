//! Packets that are larger than the link ahead carries.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use forebay_plane::row::{Hop, Path};
use forebay_plane::stage::{Step, limit};
use forebay_plane::{Drop, Frame as _, Sent, Stage, Tick, Verdict};
use world::{CLIENT_MAC, FAMILIES, LINK, MEMBER_MAC, Packet, SCTP, TCP, UDP, hop, packet};

#[allow(dead_code, reason = "not every test needs all of it")]
mod world;

const TOLD: Verdict = Verdict::Send(LINK, Sent::SizeTold);

#[test]
fn a_processor_tells_so_many_senders_at_a_moment_and_no_more() {
    // MTU-1: errors are limited (RFC 4443, 2.4 (f)).
    let family = FAMILIES[1];
    let bench =
        family.bench(Path::Floating, 80).member(family.member, 3, Some(Hop { link: LINK + 1, ..hop() }));
    let sent =
        Packet { payload: vec![7; 1_500], ..packet(UDP, (family.client, 5_000), (family.frontend, 80)) };
    let send = || bench.run(&mut sent.bytes());
    for _ in 0..1_024 {
        assert_eq!(send(), TOLD);
    }
    assert_eq!(send(), Verdict::Drop(Drop::TooBig));
    bench.moment.set(bench.moment.get() + 1);
    assert_eq!(send(), TOLD);
}

#[test]
fn an_answer_that_is_too_big_for_its_route_is_quoted_as_its_member_sent_it() {
    // MTU-1, FIP-3: the route is known when the packet already has the frontend's address.
    for family in FAMILIES {
        for (protocol, path, from) in [
            (TCP, Path::Gateway, family.member),
            (UDP, Path::Gateway, family.member),
            (SCTP, Path::Gateway, family.member),
            (TCP, Path::FloatingGateway, family.frontend),
        ] {
            let bench = family.bench(path, 8_080);
            let answer = packet(protocol, (from, 8_080), (family.client, 5_000));
            let answer = Packet { flags: 0x10, from_mac: MEMBER_MAC, payload: vec![7; 1_400], ..answer };
            let (sent, mut frame) = (answer.bytes(), answer.bytes());
            assert_eq!(bench.run(&mut frame), Verdict::Route(Sent::Returned));
            assert_ne!(frame, sent);
            limit(&bench, 1_280);
            let mut left = frame.as_mut_slice();
            assert_eq!(Stage::TooBig.run(&mut left, &bench, Tick(0)), Step::Done(TOLD));
            let head = if sent[12..14] == [8, 0] { 28 } else { 48 };
            assert_eq!(left.len(), 14 + head as u32 + 128);
            assert_eq!(left[14 + head..], sent[14..14 + 128], "{answer:?}");
            assert_eq!(left[14 + head - 2..14 + head], 1_280_u16.to_be_bytes());
            assert_eq!((&left[..6], &left[6..12]), (&MEMBER_MAC.bytes()[..], &sent[..6]));
            assert_ne!(MEMBER_MAC, CLIENT_MAC);
        }
    }
}

#[test]
fn a_frame_is_cut_where_it_is_longer() {
    let mut bytes = [1, 2, 3, 4];
    let mut frame = &mut bytes[..];
    assert_eq!((frame.cut(4), frame.cut(5)), (None, None));
    assert_eq!((frame.cut(2), &*frame), (Some(()), &[1, 2][..]));
}
