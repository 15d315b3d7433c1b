//! What the filters let through: tried in the kernel, on sockets that need no privilege and no network.

use nix::sys::socket::{MsgFlags, recv, send, socketpair};

use super::*;

const COOKIE: u16 = 0x4a4a;
const OURS: u32 = 0x4a4a_0007;
const UDP: u8 = 17;
const SIX: u8 = 6;

#[test]
fn only_segments_that_acknowledge_our_numbers_are_heard() {
    let tcp = |acknowledged| segment(acknowledged);
    let heard = |packet: &[u8]| lets_through(&ipv4(COOKIE), packet);
    assert!(heard(&v4(SIX, 0, 0, &tcp(OURS))));
    assert!(heard(&v4(SIX, 0, 2, &tcp(OURS))), "behind options");
    // Whole ones say that they must not be cut; the first of several is as good.
    assert!(heard(&v4(SIX, 0x4000, 0, &tcp(OURS))) && heard(&v4(SIX, 0x2000, 0, &tcp(OURS))));
    assert!(!heard(&v4(SIX, 0x00b9, 0, &tcp(OURS))), "a later fragment has no ports");
    assert!(!heard(&v4(SIX, 0, 0, &tcp(0x4a4b_0007))));
    assert!(!heard(&v4(UDP, 0, 0, &tcp(OURS))));
    let whole = v4(SIX, 0, 0, &tcp(OURS));
    assert!((0..30).all(|end| !heard(&whole[..end])), "the number is cut off");

    let heard = |packet: &[u8]| lets_through(&ipv6(COOKIE), packet);
    assert!(heard(&v6(SIX, &tcp(OURS))));
    assert!(!heard(&v6(SIX, &tcp(0x4a4b_0007))) && !heard(&v6(UDP, &tcp(OURS))));
    let whole = v6(SIX, &tcp(OURS));
    assert!((0..50).all(|end| !heard(&whole[..end])), "the number is cut off");
}

#[test]
fn what_is_no_frame_is_not_sent() {
    let Ok(sender) = Sender::new() else {
        assert!(std::env::var_os("FOREBAY_TESTS_MUST_RUN").is_none_or(|v| v != "1"), "needs root");
        eprintln!("skipped: raw sockets need root");
        return;
    };
    assert!(sender.send(1, &[0; 13]).is_err());
    assert!(sender.send(u32::MAX, &[0; 60]).is_err());
}

fn lets_through(filter: &[libc::sock_filter], packet: &[u8]) -> bool {
    let (one, other) =
        socketpair(AddressFamily::Unix, SockType::Datagram, None, FLAGS | SockFlag::SOCK_NONBLOCK).unwrap();
    listen_for(&other, filter).unwrap();
    // What a filter lets not through the sender is told of, or it vanishes: both will do.
    let _ = send(one.as_raw_fd(), packet, MsgFlags::empty());
    recv(other.as_raw_fd(), &mut [0; 128], MsgFlags::empty()) == Ok(packet.len())
}

fn segment(acknowledged: u32) -> [u8; 20] {
    let mut segment = [0; 20];
    segment[8..12].copy_from_slice(&acknowledged.to_be_bytes());
    segment
}

/// An IPv4 packet with so many words of options.
fn v4(protocol: u8, fragment: u16, options: u8, content: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 20 + 4 * usize::from(options)];
    packet[0] = 0x45 + options;
    packet[6..8].copy_from_slice(&fragment.to_be_bytes());
    packet[9] = protocol;
    packet.extend(content);
    packet
}

fn v6(protocol: u8, content: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    packet[6] = protocol;
    packet.extend(content);
    packet
}
