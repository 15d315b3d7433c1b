//! The lab itself, with real namespaces.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::*;

#[test]
fn hosts_of_a_segment_talk_over_both_families() {
    let Some(pair) = Pair::new("lab-talk") else { return };
    for to in ["10.20.1.11:80", "[fd00:20::11]:80"] {
        let to: SocketAddr = to.parse().unwrap();
        let server = HttpServer::start(&pair.member, to, "vm1", "green").unwrap();
        let mut connection = HttpConnection::open(&pair.client, None, to).unwrap();
        let whoami = connection.whoami().unwrap();
        assert_eq!((whoami.client, whoami.destination), (connection.local(), to));
        assert_eq!(connection.count("/bytes/3000000").unwrap(), 3_000_000);
        assert_eq!(server.requests(), 2);

        let echo = UdpEcho::start(&pair.member, to, "vm1", "green").unwrap();
        let from = SocketAddr::new(connection.local().ip(), 5_300);
        let socket = udp_socket(&pair.client, from).unwrap();
        assert_eq!(udp_ask(&socket, echo.address(), PATIENCE).unwrap().client, from);
    }
    let to = "10.20.1.11:81".parse().unwrap();
    let from = "10.20.1.100:4000".parse().unwrap();
    assert!(http_get(&pair.client, Some(from), to, "/").unwrap_err().is_refusal());
    let nobody = "10.20.1.99:80".parse().unwrap();
    let dialled = pair.client.within(|| dial(None, nobody, Duration::from_millis(200))).unwrap();
    assert!(dialled.unwrap_err().is_silence());
}

#[test]
fn hosts_talk_over_a_cable() {
    let Some(pair) = Pair::new("lab-cable") else { return };
    pair.client.cable("eth1", "10.20.2.1/24", (&pair.member, "eth1", "10.20.2.2/24")).unwrap();
    let to: SocketAddr = "10.20.2.2:80".parse().unwrap();
    let _server = HttpServer::start(&pair.member, to, "vm1", "green").unwrap();
    let mut connection = HttpConnection::open(&pair.client, None, to).unwrap();
    assert_eq!(connection.local().ip().to_string(), "10.20.2.1");
    assert_eq!(connection.count("/bytes/3000000").unwrap(), 3_000_000);
}

#[test]
fn frames_on_the_wire_have_complete_checksums() {
    let Some(pair) = Pair::new("lab-sums") else { return };
    if let Err(missing) = require(&[Need::Tcpdump]) {
        return skip_or_fail(missing);
    }
    let ends = [&pair.client, &pair.member].map(|host| host.capture("eth0", "tcp or udp").unwrap());
    for to in ["10.20.1.11:80", "[fd00:20::11]:80"] {
        let to: SocketAddr = to.parse().unwrap();
        let _http = HttpServer::start(&pair.member, to, "vm1", "green").unwrap();
        let echo = UdpEcho::start(&pair.member, to, "vm1", "green").unwrap();
        http_get(&pair.client, None, to, "/bytes/100000").unwrap();
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
        let socket = udp_socket(&pair.client, any).unwrap();
        udp_ask(&socket, echo.address(), PATIENCE).unwrap();
    }
    let mac = pair.member.mac("eth0").unwrap();
    for capture in ends {
        let frames = capture.stop().unwrap();
        let bytes: usize = frames.iter().map(|Frame(frame)| frame.len()).sum();
        assert!(bytes > 200_000, "{bytes} bytes in {} frames", frames.len());
        for Frame(frame) in &frames {
            assert!(frame.len() <= 1514, "a merged frame of {} bytes", frame.len());
            checksums_good(frame).unwrap();
        }
        assert!(frames.iter().any(|Frame(frame)| frame[..6] == mac));
    }
}

#[test]
fn a_floating_address_is_served_and_not_announced() {
    // GUEST-1, the state it describes.
    let Some(pair) = Pair::new("lab-float") else { return };
    pair.member.loopback_address("65.52.0.1/32").unwrap();
    pair.member.loopback_address("fd00:65::1/128").unwrap();
    for to in ["65.52.0.1:80", "[fd00:65::1]:80"] {
        let to: SocketAddr = to.parse().unwrap();
        let _server = HttpServer::start(&pair.member, to, "vm1", "green").unwrap();
        let (prefix, via) =
            if to.is_ipv4() { ("65.52.0.0/24", "10.20.1.11") } else { ("fd00:65::/64", "fd00:20::11") };
        pair.client.route(prefix, "eth0").unwrap();
        let dialled = pair.client.within(|| dial(None, to, Duration::from_millis(300))).unwrap();
        assert!(dialled.is_err(), "somebody claims {to} on the segment");
        pair.client.ip(&["route", "del", prefix]).unwrap();
        pair.client.route(prefix, via).unwrap();
        assert_eq!(http_get(&pair.client, None, to, "/whoami").unwrap().whoami().unwrap().destination, to);
    }
}

#[test]
fn a_router_joins_two_segments() {
    let Some(lab) = lab("lab-route") else { return };
    let (left, right) = (lab.segment("left").unwrap(), lab.segment("right").unwrap());
    let (client, router, member) =
        (lab.host("client").unwrap(), lab.host("router").unwrap(), lab.host("vm1").unwrap());
    client.attach(&left, "eth0", &["10.20.1.100/24", "fd00:20::100/64"]).unwrap();
    router.attach(&left, "eth0", &["10.20.1.1/24", "fd00:20::1/64"]).unwrap();
    router.attach(&right, "eth1", &["10.20.2.1/24", "fd00:21::1/64"]).unwrap();
    member.attach(&right, "eth0", &["10.20.2.11/24", "fd00:21::11/64"]).unwrap();
    router.forward().unwrap();
    for (host, v4, v6) in [(&client, "10.20.1.1", "fd00:20::1"), (&member, "10.20.2.1", "fd00:21::1")] {
        host.route("default", v4).unwrap();
        host.route("default", v6).unwrap();
    }
    let before = router.traffic("eth1").unwrap();
    for to in ["10.20.2.11:80", "[fd00:21::11]:80"] {
        let to = to.parse().unwrap();
        let _server = HttpServer::start(&member, to, "vm1", "green").unwrap();
        assert_eq!(http_get(&client, None, to, "/bytes/1000000").unwrap().body.len(), 1_000_000);
    }
    let after = router.traffic("eth1").unwrap();
    assert!(after.received_bytes - before.received_bytes > 2_000_000, "{before:?} {after:?}");
}

#[test]
fn commands_run_on_their_host_and_end_with_it() {
    let Some(pair) = Pair::new("lab-run") else { return };
    let shown = pair.member.must(&["ip", "-o", "-4", "addr", "show", "dev", "eth0"]).unwrap();
    assert!(shown.contains("10.20.1.11/24"), "{shown}");
    let failed = pair.member.run(&["sh", "-c", "echo bad >&2; exit 3"]).unwrap();
    assert_eq!((failed.status.code(), failed.stderr.as_slice()), (Some(3), b"bad\n".as_slice()));
    assert!(matches!(pair.member.must(&["false"]), Err(Error::Command { .. })));
    assert!(matches!(pair.member.run(&["no-such-command"]), Err(Error::Start { .. })));

    let script = "trap 'exit 7' TERM; echo starting; echo ready: 3; sleep 0.1; echo applied: 1; while :; do sleep 0.01; done";
    let mut process = pair.member.spawn(&["sh", "-c", script]).unwrap();
    assert_eq!(process.await_line(&["ready:"], PATIENCE).unwrap(), "ready: 3");
    assert_eq!(process.await_line(&["applied:", "refused:"], PATIENCE).unwrap(), "applied: 1");
    let silent = process.await_line(&["applied:"], Duration::from_millis(50)).unwrap_err();
    assert!(matches!(silent, Error::Silent { .. }), "{silent}");
    assert_eq!(process.stop(PATIENCE).and_then(|status| status.code()), Some(7));
    assert!(matches!(process.await_line(&["x"], PATIENCE), Err(Error::Ended { .. })));

    // A grandchild that left its process group goes with the lab.
    let orphan = pair.member.must(&["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!"]).unwrap();
    let orphan: u32 = orphan.trim().parse().unwrap();
    assert!(started(orphan).is_some());
    drop(pair);
    assert_eq!(started(orphan), None);
}

#[test]
fn a_lab_leaves_nothing_behind() {
    let Some(lab) = lab("lab-clean") else { return };
    let host = lab.host("client").unwrap();
    let (namespace, folder, name) = (host.path(), lab.folder().to_owned(), lab.name().to_owned());
    assert!(namespace.exists() && folder.exists());
    let second = Lab::new("lab-clean").unwrap();
    second.host("client").unwrap();
    assert_ne!(second.name(), name);
    drop(lab);
    assert!(!namespace.exists() && !folder.exists());
    assert!(matches!(host.run(&["true"]), Err(Error::Enter { .. })));
    assert!(second.folder().exists());
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next() {
    let Some(mut old) = lab("lab-crash") else { return };
    let host = old.host("client").unwrap();
    old.keep();
    let folder = old.folder().to_owned();
    let name = old.name().to_owned();
    drop(old);
    assert!(host.path().exists());
    // While its owner lives it is left alone, ...
    drop(Lab::new("lab-crash").unwrap());
    assert!(host.path().exists());
    assert_eq!(leftovers("lab-crash").unwrap(), [Leftover { name, owner: std::process::id() }]);
    // ... and a process that only has the same number is not the owner.
    fs::write(folder.join("owner"), "12").unwrap();
    drop(Lab::new("lab-crash").unwrap());
    assert!(!host.path().exists() && !folder.exists());
}

#[test]
fn names_that_cannot_be_are_refused() {
    assert!(matches!(Lab::new("../x"), Err(Error::Name { .. })));
    let Some(lab) = lab("lab-names") else { return };
    assert!(matches!(lab.host("a/b"), Err(Error::Name { .. })));
    let (lan, host) = (lab.segment("lan").unwrap(), lab.host("a-very-long-name").unwrap());
    assert!(matches!(host.attach(&lan, "eth0", &[]), Err(Error::Name { .. })));
    assert!(matches!(host.ip(&["link", "show", "dev", "eth9"]), Err(Error::Command { .. })));
}

#[test]
fn a_file_is_written_whole() {
    let Some(lab) = lab("lab-file") else { return };
    let path = lab.write("documents/lb.json", "{}").unwrap();
    lab.write("documents/lb.json", "{\"a\":1}").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":1}");
    let names: Vec<_> =
        fs::read_dir(path.parent().unwrap()).unwrap().flatten().map(|file| file.file_name()).collect();
    assert_eq!(names, ["lb.json"]);
    assert!(path.starts_with(Path::new(FOLDER)));
}

/// A client and a member on one segment.
struct Pair {
    client: Host,
    member: Host,
    _lab: Lab,
}

impl Pair {
    fn new(prefix: &str) -> Option<Self> {
        let lab = lab(prefix)?;
        let lan = lab.segment("lan").unwrap();
        let (client, member) = (lab.host("client").unwrap(), lab.host("vm1").unwrap());
        client.attach(&lan, "eth0", &["10.20.1.100/24", "fd00:20::100/64"]).unwrap();
        member.attach(&lan, "eth0", &["10.20.1.11/24", "fd00:20::11/64"]).unwrap();
        Some(Self { client, member, _lab: lab })
    }
}

fn lab(prefix: &str) -> Option<Lab> {
    match require(&[Need::Namespaces]) {
        Ok(()) => Some(Lab::new(prefix).unwrap()),
        Err(missing) => {
            skip_or_fail(missing);
            None
        }
    }
}
