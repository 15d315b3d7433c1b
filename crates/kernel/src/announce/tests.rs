//! The frames byte by byte, and that stations believe them.

use super::*;

use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

const STATION: Mac = Mac::new([0x02, 0, 0, 0, 0, 0x0a]);

#[test]
fn a_gratuitous_arp_asks_for_the_address_it_comes_from() {
    let frame = gratuitous_arp(STATION, Ipv4Addr::new(203, 0, 113, 10));
    check(
        &frame,
        "ffffffffffff 02000000000a 0806
         0001 0800 06 04 0001
         02000000000a cb00710a
         000000000000 cb00710a",
    );
}

#[test]
fn an_unsolicited_advertisement_overrides_and_adds_up() {
    let frame = advertisement(STATION, "2001:db8::10".parse().unwrap());
    check(
        &frame,
        "333300000001 02000000000a 86dd
         60000000 0020 3a ff
         20010db8000000000000000000000010
         ff020000000000000000000000000001
         88 00 f903 20000000
         20010db8000000000000000000000010
         02 01 02000000000a",
    );
    assert_eq!(sum_of_all(&frame), 0xffff);
}

#[test]
fn a_link_that_is_not_there_is_an_error_with_the_address() {
    if !is_root() {
        return;
    }
    let error =
        Announcer::new().unwrap().announce(u32::MAX, STATION, "203.0.113.10".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("203.0.113.10"), "{error}");
}

#[test]
fn a_station_that_remembers_the_former_place_learns_the_new_one() {
    if !is_root() {
        return;
    }
    let addresses = ["10.9.0.1", "2001:db8::1"];
    let (to_station, announced) = mpsc::channel::<()>();
    let (to_announcer, events) = mpsc::channel();
    let station = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        to_announcer.send(gettid()).unwrap();
        announced.recv().unwrap();
        run("ip link set veth1 up");
        run("ip address add 10.9.0.2/24 dev veth1");
        run("ip address add 2001:db8::2/64 dev veth1 nodad");
        for address in addresses {
            run(&format!("ip neigh replace {address} lladdr 02:00:00:00:00:ff dev veth1 nud stale"));
        }
        to_announcer.send(gettid()).unwrap();
        announced.recv().unwrap();
        for address in addresses {
            let learned = (0..100).any(|_| {
                thread::sleep(Duration::from_millis(20));
                run(&format!("ip neigh show {address}")).contains("02:00:00:00:00:0a")
            });
            assert!(learned, "{address}");
        }
    });
    let announcer = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let station = events.recv().unwrap();
        run("ip link add veth0 type veth peer name veth1");
        run("ip link set veth0 up");
        run(&format!("ip link set veth1 netns {station}"));
        to_station.send(()).unwrap();
        events.recv().unwrap();
        let announcer = Announcer::new().unwrap();
        for address in addresses {
            announcer
                .announce(crate::link::index("veth0").unwrap(), STATION, address.parse().unwrap())
                .unwrap();
        }
        to_station.send(()).unwrap();
        // The link is there for as long as this thread is, and the station says nothing more before it ends.
        let _ended = events.recv();
    });
    station.join().unwrap();
    announcer.join().unwrap();
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        assert!(std::env::var_os("FOREBAY_TESTS_MUST_RUN").is_none_or(|v| v != "1"), "needs root");
        eprintln!("skipped: raw sockets and network namespaces need root");
    }
    is_root
}

fn run(command: &str) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a receiver adds up: pseudo header and message, the checksum among them.
fn sum_of_all(frame: &[u8]) -> u32 {
    let mut sum = u32::from(frame[20]) + u32::from(u16::from_be_bytes([frame[18], frame[19]]));
    for pair in frame[22..].chunks_exact(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    (sum & 0xffff) + (sum >> 16)
}

fn check(frame: &[u8], hex: &str) {
    let written: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    let wanted: String = hex.split_whitespace().collect();
    assert_eq!(written, wanted);
}
