//! Members that do not answer probes as servers should, or answer them well and serve nobody.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use crate::balancer::{Balancer, Settings};
use crate::document::{Document, Interval, Pool, Probe, Rule, Wire};
use crate::health::{await_state, pulse};
use crate::liar::{Liar, Lie};
use crate::net::{ETH0, Net, Servers};
use crate::patient::{Crowded, GOOD, Patient, how_often};
use crate::session::{Knock, Session, eventually};

const ASKED: u16 = 9000;
const INTERVAL: Interval = Interval::Milliseconds(400);
/// So many KiB more the balancer may use for members that say things without end.
const MORE_MEMORY: u64 = 32 * 1024;

/// Within TLS, or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Tcp,
    Http,
    Https,
    /// Over HTTPS, and there is no TLS, or none that is good.
    NoTls,
}

const fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

const GOOD_ONE: &str = "answers well";
const NO_WHOLE: &str = "connected, but no whole answer in 400 ms";
const OK: &str = "HTTP/1.1 200 OK\r\n";

/// How each one lies, and what is found.
fn cases() -> Vec<(Asked, Lie, &'static str)> {
    use Asked::{Http, Https, NoTls, Tcp};
    use Lie::{Blurts, Endless, Resets, ResetsWhenAsked, Says, SaysAndStays, Trickles};
    vec![
        // A status line of 200 is what is asked for; nothing after it is read.
        (Http, SaysAndStays("HTTP/1.1 200 OK\r\n\r\n"), GOOD_ONE),
        (Http, Says("HTTP/1.1 200\r\n\r\n"), GOOD_ONE),
        (Http, Says("HTTP/1.1 200 OK\r\n\0\x01 this is no header\r\n"), GOOD_ONE),
        (Http, Endless(OK, "More: and more\r\n"), GOOD_ONE),
        (Http, Endless("HTTP/1.1 200 OK\r\n\r\n", "body "), GOOD_ONE),
        (Http, Endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nmore\r\n"), GOOD_ONE),
        (Http, Says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), GOOD_ONE),
        (Http, Says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nmore than two"), GOOD_ONE),
        (Http, Says("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 503 Busy\r\n\r\n"), GOOD_ONE),
        (Http, Says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), GOOD_ONE),
        (Http, Blurts(b"HTTP/1.1 200 OK\r\n\r\n"), GOOD_ONE),
        (Http, Trickles(OK, millis(1)), GOOD_ONE),
        // Anything else is not.
        (Http, Trickles(OK, millis(60)), NO_WHOLE),
        (Http, SaysAndStays("HTTP/1.1 20"), NO_WHOLE),
        (Http, SaysAndStays("HTTP/1.1 100 Continue\r\n\r\n"), NO_WHOLE),
        (Http, Says("HTTP/1.1 503 Busy\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "HTTP 503"),
        (Http, Says("HTTP/1.1 204 No Content\r\n\r\n"), "HTTP 204 (only 200 counts)"),
        (Http, Says("HTTP/1.1 206 Partial Content\r\n\r\n"), "HTTP 206 (only 200 counts)"),
        (Http, Says("HTTP/1.1 301 Moved\r\nLocation: /good\r\n\r\n"), "HTTP 301 (only 200 counts)"),
        (Http, Says("HTTP/1.1 302 Found\r\nLocation: /good\r\n\r\n"), "HTTP 302 (only 200 counts)"),
        (Http, Says("HTTP/1.1 101 Switching Protocols\r\n\r\n"), "HTTP 101 (only 200 counts)"),
        (Http, Says("HTTP/1.1 2000 OK\r\n\r\n"), "not HTTP: it began with `HTTP/1.1 2000 OK`"),
        (Http, Says("<html>well</html>"), "not HTTP: it began with `<html>well</html>`"),
        (Http, Blurts(b"SSH-2.0-OpenSSH_9.6\r\n"), "not HTTP: it began with `SSH-2.0-OpenSSH_9.6`"),
        (Http, Endless("HTTP/1.1 200 ", "OK "), "not HTTP: no status in 8192 bytes"),
        // Where it is cut decides about the words.
        (Http, Endless("", "HTTP/1.1 103 Early Hints\r\n\r\n"), "not HTTP: "),
        (Http, Says(""), "closed without an answer"),
        (Http, Resets, "closed without an answer"),
        (Http, ResetsWhenAsked, "closed without an answer"),
        // Whoever is in the kernel's queue has completed the handshake.
        (Tcp, Resets, GOOD_ONE),
        (Tcp, SaysAndStays(""), GOOD_ONE),
        // An expired certificate will do; TLS that is none will not.
        (Https, Says("HTTP/1.1 200 OK\r\n\r\n"), GOOD_ONE),
        (Https, Endless("HTTP/1.1 200 OK\r\n\r\n", "body "), GOOD_ONE),
        (Https, Says("HTTP/1.1 503 Busy\r\n\r\n"), "HTTP 503"),
        (Https, SaysAndStays("HTTP/1.1 20"), NO_WHOLE),
        (Https, Says(""), "closed without an answer"),
        // HTTP/2 settings, from who speaks nothing else.
        (Https, Blurts(b"\0\0\0\x04\0\0\0\0\0"), "not HTTP: it began with `\\x00\\x00\\x00\\x04"),
        (NoTls, Resets, "closed without an answer"),
        (NoTls, Blurts(b""), "connected, but no TLS handshake in 400 ms"),
        (NoTls, Blurts(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "no TLS: what answers is not TLS"),
        // Half a record; an alert of who knows only old versions; a handshake message without end.
        (NoTls, Blurts(b"\x16\x03\x03\x01\x00\x02"), "connected, but no TLS handshake in 400 ms"),
        (NoTls, Blurts(b"\x15\x03\x01\x00\x02\x02\x46"), "no TLS: the member refuses it (ProtocolVersion)"),
        (NoTls, Blurts(b"\x16\x03\x03\x00\x05\x0b\xff\xff\xff\x00"), "no TLS: what answers is not TLS"),
    ]
}

#[test]
fn whatever_a_member_says_ends_in_a_state_with_its_reason_and_disturbs_nobody() {
    // PROBE-1, PROBE-6, PROBE-7
    let Some(net) = Net::flat("lies", 2) else { return };
    let [honest, liars] = [&net.members[0], &net.members[1]];
    let names = [("tcp", "Tcp"), ("http", "Http"), ("https", "Https")];
    let port = |protocol: usize| ASKED + u16::try_from(protocol).unwrap();
    let protocol = |asked: Asked| match asked {
        Asked::Tcp => 0,
        Asked::Http => 1,
        Asked::Https | Asked::NoTls => 2,
    };
    let patients: Vec<Patient> = (0..3)
        .map(|number| {
            let at = SocketAddr::new(honest.v4.into(), port(number));
            let patient = if number == 2 { Patient::expired } else { Patient::start };
            patient(honest, at, GOOD)
        })
        .collect();
    let mut pools = names.map(|(name, _)| Pool { name, members: vec![honest.v4.into()], gateway: false });
    let (mut lying, mut found) = (Vec::new(), Vec::new());
    for (number, (asked, lie, why)) in (30..).zip(cases()) {
        let address = Ipv4Addr::new(10, 20, 1, number);
        liars.host.ip(&["addr", "add", &format!("{address}/24"), "dev", ETH0]).unwrap();
        let at = SocketAddr::new(address.into(), port(protocol(asked)));
        let start = if asked == Asked::Https { Liar::secret } else { Liar::start };
        lying.push(start(&liars.host, at, lie));
        pools[protocol(asked)].members.push(address.into());
        found.push((names[protocol(asked)].0, IpAddr::from(address), why, lie));
    }
    // Two of whom nobody takes a connection, and one where nobody listens.
    let crowded = SocketAddr::new(Ipv4Addr::new(10, 20, 1, 20).into(), port(0));
    liars.host.ip(&["addr", "add", "10.20.1.20/24", "dev", ETH0]).unwrap();
    let _crowded = Crowded::start(liars, crowded);
    pools[0].members.push(crowded.ip());
    found.push((names[0].0, crowded.ip(), "no answer in 400 ms: firewall?", Lie::Resets));

    let rules: Vec<Rule> = (1..)
        .zip(names)
        .map(|(number, (name, _))| {
            let rule =
                Rule::plain(name, Wire::Tcp, &format!("65.52.0.{number}:80"), 8000 + number).probed_by(name);
            Rule { pool: name, ..rule }
        })
        .collect();
    let probes: Vec<Probe> = names
        .iter()
        .enumerate()
        .map(|(number, (name, protocol))| Probe {
            interval: INTERVAL,
            ..Probe::new(name, protocol, port(number))
        })
        .collect();
    let document = Document { pools: pools.to_vec(), ..Document::new(&rules, Vec::new()) }.probed(&probes);
    let mut balancer = Balancer::start_with(&net, &document, Settings { pools: 8, ..Settings::default() });
    names.iter().for_each(|(probe, _)| drop(await_state(&balancer, probe, honest.v4.into(), "up")));
    let (mut wrong, memory) = (Vec::new(), balancer.process().resident().unwrap());
    for (probe, member, why, lie) in &found {
        let state = if *why == GOOD_ONE { "up" } else { "down" };
        let shown = await_state(&balancer, probe, *member, state);
        if !shown["last"].as_str().is_some_and(|last| last.starts_with(why)) {
            wrong.push(format!("{lie:?} is {}, not {why}", shown["last"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // All of them go on, and who is honest is asked at its pace, found well, and was never thought anything else of.
    let before = how_often(&patients);
    let began = Instant::now();
    thread::sleep(Duration::from_secs(3));
    let now = how_often(&patients);
    let passed = began.elapsed().as_secs_f64() / 0.4;
    for ((now, before), (probe, _)) in now.iter().zip(before).zip(names) {
        let more = (now - before) as f64;
        assert!(more >= passed / 2.0 && more <= passed + 3.0, "{more} probes in {passed} intervals");
        let shown = pulse(&balancer, probe, honest.v4.into());
        assert_eq!((&shown["state"], shown["history"].as_array().map(Vec::len)), (&"up".into(), Some(1)));
    }
    let now = balancer.process().resident().unwrap();
    assert!(now < memory + MORE_MEMORY, "{memory} KiB became {now} KiB");
    assert!(balancer.process().is_running());
}

#[test]
fn a_probe_is_believed_so_who_asks_something_else_than_the_service_learns_nothing_of_it() {
    // PROBE-1, FLOW-1
    let Some(net) = Net::flat("believed", 2) else { return };
    let rule = Rule::plain("web", Wire::Tcp, "65.52.0.3:8080", 8000).probed_by("beside");
    let everybody: Vec<IpAddr> = net.members.iter().map(|member| member.v4.into()).collect();
    // Both say that they are well; vm1 resets whoever wants something of it.
    let _patients: Vec<Patient> = net
        .members
        .iter()
        .map(|member| Patient::start(member, SocketAddr::new(member.v4.into(), ASKED), GOOD))
        .collect();
    let serves = SocketAddr::new(everybody[0], 8000);
    let _liar = Liar::start(&net.members[0].host, serves, Lie::ResetsWhenAsked);
    let mut servers = Servers::default();
    servers.add(&net.members[1], std::slice::from_ref(&rule));
    let document = Document::new(std::slice::from_ref(&rule), everybody.clone());
    let mut balancer =
        Balancer::start(&net, &document.clone().probed(&[Probe::new("beside", "Http", ASKED)]));
    everybody.iter().for_each(|member| drop(await_state(&balancer, "beside", *member, "up")));
    let failed = || (0..24).filter(|_| Session::new(&net, &rule).ask().is_err()).count();
    let lost = failed();
    assert!(lost > 0 && lost < 24, "{lost} of 24 are with the one that resets");
    assert_eq!(pulse(&balancer, "beside", everybody[0])["takesNewFlows"], true);
    // The same probe at the service itself finds it out.
    let served = Probe { path: "/whoami", ..Probe::new("beside", "Http", 8000) };
    balancer.apply(&document.probed(&[served]));
    let shown = await_state(&balancer, "beside", everybody[0], "down");
    assert_eq!(shown["last"], "closed without an answer");
    eventually(Duration::from_secs(5), || match failed() {
        0 => Ok(()),
        lost => Err(lost),
    });
    assert_eq!(crate::session::knock(net.client(), Wire::Tcp, rule.frontend), Knock::Answered);
}
