//! Clocks that are set while the balancer runs, and processes that stand still: neither is a member's fault.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use forebay::lab::skip_or_fail;
use nix::sys::signal::Signal;
use node::stamp::rfc3339;
use serde_json::Value;

use crate::balancer::{Balancer, FOREBAY};
use crate::document::{Document, Interval, Probe, Rule, Wire};
use crate::health::{await_state, pulse};
use crate::net::Net;
use crate::patient::{BUSY, Manner, Patient, how_often};
use crate::session::{all_stay, eventually, open};

const ASKED: u16 = 9000;
const HOUR: i64 = 3_600;
const TEN_YEARS: i64 = 315_360_000;
/// How exact a time has to be that is shown, on a machine that does many things at once.
const CLOSE: Duration = Duration::from_secs(10);

#[test]
fn a_clock_that_is_set_turns_nobody_and_breaks_nothing() {
    // PROBE-9, PROBE-2, API-3
    let Some(library) = faketime() else {
        skip_or_fail("the library that tells a process another time is missing: apt-get install faketime");
        return;
    };
    let Some(net) = Net::flat("clock", 2) else { return };
    let rules = [Rule::floating("web", Wire::Tcp, "65.52.0.10:80").probed_by("alive4")];
    let _servers = net.serve(&rules);
    let everybody: Vec<IpAddr> = net.members.iter().map(|member| member.v4.into()).collect();
    let patients = Patient::of_all(&net, ASKED);
    let clock = |ahead: i64| net.lab.write("clock", &format!("{ahead:+}\n")).unwrap();
    let mut balancer = Balancer::prepare_controlled(&net);
    balancer.under = [
        "env".to_owned(),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", clock(0).display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        "NO_FAKE_STAT=1".to_owned(),
    ]
    .to_vec();
    balancer.serve();
    let document = Document::new(&rules, everybody.clone()).probed(&[Probe::new("alive4", "Http", ASKED)]);
    let file = net.lab.write("lb.json", &document.with_network()).unwrap().display().to_string();
    let said = balancer.client(&["apply", "-f", &file]);
    assert_eq!(said.code, Some(0), "{said:?}");
    everybody.iter().for_each(|address| drop(await_state(&balancer, "alive4", *address, "up")));
    let born = Instant::now();
    let (etag, mut sessions) = (etag(&balancer), open(&net, &rules[0], 16));
    for ahead in [HOUR, -HOUR, TEN_YEARS, 0, -TEN_YEARS] {
        clock(ahead);
        let asked = how_often(&patients);
        let began = Instant::now();
        thread::sleep(Duration::from_millis(1_600));
        let now = how_often(&patients);
        let (passed, shown) = (began.elapsed().as_secs_f64() / 0.2, balancer.json(&["show", "health"]));
        is_close(&shown["at"], ahead, Duration::ZERO);
        for (address, (now, before)) in everybody.iter().zip(now.iter().zip(asked)) {
            let more = (now - before) as f64;
            assert!(more >= passed / 2.0 && more <= passed + 4.0, "{more} probes in {passed} intervals");
            let found = pulse(&balancer, "alive4", *address);
            assert_eq!(found["history"].as_array().map(Vec::len), Some(1), "{ahead}: {found}");
            assert_eq!(found["state"], "up", "{ahead}: {found}");
            // What is shown counts from the clock as it is now: how long ago something was stays true.
            is_close(&found["since"], ahead, born.elapsed());
            is_close(&found["history"][0]["at"], ahead, born.elapsed());
            is_close(&found["lastAt"], ahead, Duration::ZERO);
        }
        assert_eq!(self::etag(&balancer), etag, "{ahead}");
        all_stay(&mut sessions, "the clock was set");
        open(&net, &rules[0], 8);
    }
    // An event carries the time that the clock told when it happened.
    let interfaces = balancer.interfaces();
    let interfaces: Vec<&str> = interfaces.iter().map(String::as_str).collect();
    let watch = net.balancer.spawn(&[&[FOREBAY, "watch"], interfaces.as_slice()].concat()).unwrap();
    thread::sleep(Duration::from_secs(1));
    patients[1].set(BUSY);
    eventually(Duration::from_secs(10), || {
        let said = watch.stdout();
        let line = said.lines().find(|line| line.contains(" memberDown: ")).map(str::to_owned);
        line.ok_or(said).map(|line| is_close(&line.split(' ').next().into(), -TEN_YEARS, Duration::ZERO))
    });
    // It writes, is killed, and starts again, all of it ten years ago.
    let changed = document.clone().with(everybody[..1].to_vec());
    net.lab.write("lb.json", &changed.with_network()).unwrap();
    let said = balancer.client(&["apply", "-f", &file]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let etag = self::etag(&balancer);
    balancer.kill();
    clock(0);
    balancer.serve();
    assert_eq!(self::etag(&balancer), etag);
    await_state(&balancer, "alive4", everybody[0], "up");
}

#[test]
fn members_are_not_down_because_the_balancer_stood_still() {
    // PROBE-9
    let Some(net) = Net::flat("asleep", 2) else { return };
    let rules = [
        Rule::floating("plain", Wire::Tcp, "65.52.0.1:80").probed_by("plain"),
        Rule::floating("secret", Wire::Tcp, "65.52.0.2:80").probed_by("secret"),
    ];
    let _servers = net.serve(&rules);
    let everybody: Vec<IpAddr> = net.members.iter().map(|member| member.v4.into()).collect();
    // Most of the time an attempt is under way, and who is asked lets go of who says nothing for a second.
    let late = Manner::Late(Duration::from_millis(300));
    let (mut plain, mut secret) = (Vec::new(), Vec::new());
    for member in &net.members {
        plain.push(Patient::start(member, SocketAddr::new(member.v4.into(), ASKED), late));
        secret.push(Patient::expired(member, SocketAddr::new(member.v4.into(), ASKED + 1), late));
    }
    let probe = |name, protocol, port| Probe {
        interval: Interval::Milliseconds(600),
        threshold: 1,
        ..Probe::new(name, protocol, port)
    };
    let probes = [probe("plain", "Http", ASKED), probe("secret", "Https", ASKED + 1)];
    let balancer = Balancer::start(&net, &Document::new(&rules, everybody.clone()).probed(&probes));
    let watched: Vec<(&str, IpAddr)> =
        ["plain", "secret"].iter().flat_map(|probe| everybody.iter().map(move |it| (*probe, *it))).collect();
    watched.iter().for_each(|(probe, member)| drop(await_state(&balancer, probe, *member, "up")));
    let turns = || -> Vec<usize> {
        let turns = |(probe, member): &(&str, IpAddr)| {
            pulse(&balancer, probe, *member)["history"].as_array().map_or(0, Vec::len)
        };
        watched.iter().map(turns).collect()
    };
    // A machine that is too busy may have found somebody down before.
    let before = turns();
    let id = balancer.id();
    for _ in 0..3 {
        send(id, Signal::SIGSTOP);
        thread::sleep(Duration::from_millis(2_300));
        send(id, Signal::SIGCONT);
        thread::sleep(Duration::from_millis(1_100));
        assert_eq!(turns(), before, "{}", balancer.forebay(&["show", "health"]).out);
    }
    // Who went while nobody looked is found out afterwards.
    send(id, Signal::SIGSTOP);
    plain[0].set(BUSY);
    thread::sleep(Duration::from_millis(1_000));
    send(id, Signal::SIGCONT);
    let found = await_state(&balancer, "plain", everybody[0], "down");
    assert_eq!(found["last"], "HTTP 503");
    assert_eq!(pulse(&balancer, "plain", everybody[1])["state"], "up");
}

/// As the interface shows it for the load balancer.
fn etag(balancer: &Balancer<'_>) -> Value {
    let said = balancer.client(&["get", "lb", "-o", "json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let shown: Value = serde_json::from_str(&said.out).unwrap();
    assert!(shown[0]["etag"].is_string(), "{said:?}");
    shown[0]["etag"].clone()
}

fn send(id: u32, signal: Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(id.cast_signed()), signal).unwrap();
}

/// A time that is shown is the one of a clock that is so many seconds ahead, so long ago.
fn is_close(shown: &Value, ahead: i64, ago: Duration) {
    let now = SystemTime::now() - ago;
    let shift = Duration::from_secs(ahead.unsigned_abs());
    let wanted = if ahead < 0 { now - shift } else { now + shift };
    let (from, to) = (rfc3339(wanted - CLOSE), rfc3339(wanted + CLOSE));
    let shown = shown.as_str().unwrap_or_default();
    assert!(from.as_str() <= shown && shown <= to.as_str(), "{shown} is not in {from} to {to}");
}

/// Debian has it in a folder that is called after the machine.
fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}
