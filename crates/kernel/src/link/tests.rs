//! Links: names that nobody has, and settings of a veth in a network namespace of its own.

use super::*;

use std::fs;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

#[test]
fn the_solicited_node_group_ends_like_the_address() {
    let address: Ipv6Addr = "2001:db8::12:3456:789a".parse().unwrap();
    assert_eq!(solicited_node(address).to_string(), "33:33:ff:56:78:9a");
}

#[test]
fn an_unknown_interface_is_named_with_the_mend() {
    for name in ["forebay-none", "a-name-that-is-far-too-long", "a\0b"] {
        let errors = [
            index(name).err(),
            set_gro(name, true).err(),
            set_checksum_offload(name, false).err(),
            join(name, Mac::new([0x33, 0x33, 0xff, 0, 0, 1])).err(),
        ];
        for error in errors {
            let text = error.unwrap().to_string();
            // Without the privilege the kernel says so before it looks for the interface.
            assert!(text.contains(name) && (text.contains("`ip link`") || text.contains("root")), "{text}");
        }
    }
}

#[test]
fn loopback_has_index_one() {
    assert_eq!(index("lo").unwrap(), 1);
}

#[test]
fn offloads_are_set() {
    in_a_namespace(|| {
        for on in [false, true, false] {
            set_checksum_offload("veth0", on).unwrap();
            set_gro("veth0", on).unwrap();
            let shown = run(&["ethtool", "-k", "veth0"]);
            let word = if on { "on" } else { "off" };
            assert!(shown.contains(&format!("tx-checksumming: {word}")), "{shown}");
            assert!(shown.contains(&format!("generic-receive-offload: {word}")), "{shown}");
        }
    });
}

#[test]
fn a_driver_that_cannot_is_named() {
    in_a_namespace(|| {
        let text = set_checksum_offload("lo", false).unwrap_err().to_string();
        assert!(text.contains("its driver cannot"), "{text}");
    });
}

#[test]
fn a_membership_begins_once_and_ends_once() {
    in_a_namespace(|| {
        let group = Mac::new([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        join("veth0", group).unwrap();
        join("veth0", group).unwrap();
        assert!(groups().contains("3333ff123456"), "{}", groups());
        leave("veth0", group).unwrap();
        assert!(!groups().contains("3333ff123456"), "{}", groups());
        leave("veth0", group).unwrap();
    });
}

/// The groups that links take frames of, as the kernel lists them for this thread.
fn groups() -> String {
    fs::read_to_string("/proc/thread-self/net/dev_mcast").unwrap()
}

/// Runs `story` on a thread of a new network namespace, which has a `veth0` and goes away with the thread.
fn in_a_namespace(story: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("FOREBAY_TESTS_MUST_RUN").is_none_or(|v| v != "1"), "needs root");
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        run(&["ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"]);
        run(&["ip", "link", "set", "veth0", "up"]);
        story();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn run(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
