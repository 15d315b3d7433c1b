//! The scenario on pretended worlds: it holds where all is right, and finds what is not.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::scenario::{Outcome, play};
use super::screen::{Screen, Table};
use super::setting::{BALANCER, CLIENT, GREEN, MEMBERS, Member, SERVICES, Service, VM1, VM2, VM3, document};
use super::stage::{
    Answer, Carried, FrontendStats, InterfaceStats, Knock, MemberStats, Session, Stage, Stats, Transport,
    Trouble,
};
use crate::lab::{self, Need};

#[test]
fn everything_holds_where_all_is_right() {
    check(Fault::None, Outcome::Held, &[]);
}

#[test]
fn what_is_broken_is_found_and_the_other_steps_are_played_all_the_same() {
    check(Fault::UnevenShares, Outcome::Broken, &[2]);
    check(Fault::WrongInstance, Outcome::Broken, &[1, 2, 4]);
    check(Fault::FlowsUncounted, Outcome::Broken, &[2]);
    check(Fault::SessionsStray, Outcome::Broken, &[3, 6, 7, 9]);
    check(Fault::ClientHidden, Outcome::Broken, &[4]);
    check(Fault::AnswersThroughBalancer, Outcome::Broken, &[5]);
    check(Fault::ChangeMovesSessions, Outcome::Broken, &[6, 7, 9]);
    check(Fault::NewMemberUnused, Outcome::Broken, &[6]);
    check(Fault::OldMemberUsed, Outcome::Broken, &[7]);
    check(Fault::PortsRefused, Outcome::Broken, &[8]);
    check(Fault::DropsUncounted, Outcome::Broken, &[8]);
    check(Fault::KillStopsTraffic, Outcome::Broken, &[9]);
    check(Fault::NeverReady, Outcome::Broken, &[9]);
}

#[test]
fn a_signal_ends_it_at_once() {
    check(Fault::Interrupted, Outcome::Interrupted, &[]);
}

#[test]
fn the_table_shows_shares_and_rates() {
    let mut table = Table::default();
    let stats = |packets, flows| Stats {
        members: vec![member(VM1, packets, flows), member(VM2, 0, 3)],
        ..Stats::default()
    };
    let first = table.lines(Duration::from_secs(1), &stats(100, 1));
    assert_eq!(first[1], "vm1     10.20.1.11    ready            1   25.0 %           -");
    let second = table.lines(Duration::from_secs(3), &stats(500, 9));
    assert_eq!(second[1], "vm1     10.20.1.11    ready            9   75.0 %         200");
    assert_eq!(second[2], "vm2     10.20.1.12    ready            3   25.0 %           0");
}

#[test]
fn a_table_is_redrawn_in_place_on_a_terminal_only() {
    for (terminal, wanted) in [
        (true, "\x1b[2K   a\n\x1b[2K   b\n\x1b[2A\x1b[2K   c\n\x1b[2K   d\nsaid\n\x1b[2K   e\n"),
        (false, "   a\n   b\n   c\n   d\nsaid\n   e\n"),
    ] {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, terminal);
        screen.draw(&["a".to_owned(), "b".to_owned()]);
        screen.draw(&["c".to_owned(), "d".to_owned()]);
        screen.say("said");
        screen.draw(&["e".to_owned()]);
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}

#[test]
fn the_document_has_the_members_asked_for_and_a_rule_for_each_service() {
    let document = document(&[VM1, VM3]);
    let properties = &document["properties"];
    let members = &properties["backendAddressPools"][0]["properties"]["loadBalancerBackendAddresses"];
    assert_eq!(members.as_array().unwrap().len(), 2);
    assert_eq!(members[1]["properties"]["ipAddress"], "10.20.1.13");
    assert_eq!(properties["loadBalancingRules"].as_array().unwrap().len(), SERVICES.len());
    let blue = &properties["loadBalancingRules"][2]["properties"];
    assert_eq!((&blue["frontendPort"], &blue["backendPort"]), (&8080.into(), &8000.into()));
    assert_eq!(blue["enableFloatingIP"], false);
}

#[test]
fn the_documents_of_all_steps_are_accepted() {
    for members in [&[VM1, VM2][..], &[VM1, VM2, VM3], &[VM2, VM3]] {
        let source = model::Source { name: "lb.json".to_owned(), text: document(members).to_string() };
        if let Err(problems) = model::check(&[source]) {
            panic!("{problems:#?}");
        }
    }
}

#[test]
fn the_real_stage_runs_the_ordinary_serve_and_leaves_nothing() {
    if let Err(missing) = lab::require(&[Need::Namespaces]) {
        return lab::skip_or_fail(missing);
    }
    // A `forebay` that says it is ready, follows its document and forwards nothing.
    let folder = std::env::temp_dir().join(format!("forebay-demo-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("forebay");
    let script = r#"#!/bin/sh
case "$1" in
serve)
    folder=$(sed -n 's/^documents = "\(.*\)"$/\1/p' "$3")
    seen=$(cksum < "$folder/lb.json")
    echo "ready: 3 frontends, 5 rules, 2 members"
    while :; do
        now=$(cksum < "$folder/lb.json")
        [ "$now" = "$seen" ] || { seen=$now; echo "applied: 1 changes"; }
        sleep 0.02
    done ;;
show) echo '{"name":"x","members":[{"pool":"lb/web","member":"vm1","address":"10.20.1.11","state":"ready",' \
    '"packets":1,"bytes":2,"flows":3}],"remembered":{"flows":0}}' ;;
detach) echo "$3" >> "$(dirname "$0")/detached" ;;
esac
"#;
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let mut stage = super::real::Real::set_up(&program, stop.clone()).unwrap();
    assert_eq!(stage.apply(&[VM1, VM2, VM3]).unwrap(), "applied: 1 changes");
    assert_eq!(stage.stats().unwrap().members[0].flows, 3);
    // Nobody answers for the frontends.
    assert_eq!(stage.knock(Transport::Udp, GREEN.called()).unwrap(), Knock::Silence);
    stage.kill_balancer().unwrap();
    assert!(matches!(stage.apply(&[VM1]), Err(Trouble::Failed(_))));
    stage.start_balancer().unwrap();
    while !stage.balancer_is_ready().unwrap() {
        stage.pass(Duration::from_millis(5)).unwrap();
    }
    let playing = stage.how_to_play();
    assert!(playing.contains("nsenter --net=/run/netns/forebay-demo-"), "{playing}");

    // The members themselves serve what the rules lead to: asked at their own address through a route to it.
    let name =
        playing.split("--name ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().to_owned();
    let client = lab::Host::of(&name, "client").unwrap();
    client.ip(&["route", "replace", super::setting::FRONTENDS, "via", "10.20.1.12"]).unwrap();
    for service in SERVICES.iter().filter(|service| service.floating) {
        let session = stage.open(service.transport, service.called()).unwrap();
        let answer = stage.ask(session).unwrap();
        assert_eq!((answer.member.as_str(), answer.instance.as_str()), ("vm2", service.name));
        assert_eq!((answer.client_seen, answer.destination_seen), (answer.client, service.called()));
        stage.close(session);
        assert!(stage.ask(session).is_err());
    }

    stop.store(true, Ordering::Relaxed);
    assert_eq!(stage.stats(), Err(Trouble::Interrupted));
    drop(stage);
    assert_eq!(std::fs::read_to_string(folder.join("detached")).unwrap(), format!("{name}\n"));
    assert!(lab::Host::of(&name, "client").is_none());
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Plays the scenario in a world with a fault: which steps do not hold?
fn check(fault: Fault, outcome: Outcome, broken: &[usize]) {
    let mut out = Vec::new();
    let mut screen = Screen::new(&mut out, false);
    let mut stage = Pretended::new(fault);
    let found = play(&mut stage, &mut screen);
    screen.summary(Duration::ZERO);
    let text = String::from_utf8(out).unwrap();
    let (_, summary) = text.split_once("\nSummary\n").unwrap();
    let failed: Vec<usize> = summary
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("FAIL  ")?.split('.').next()?.parse().ok())
        .collect();
    assert_eq!((found, failed.as_slice()), (outcome, broken), "{fault:?}:\n{text}");
    if outcome != Outcome::Interrupted {
        assert!(summary.contains(&format!("{} of 9 steps held", 9 - broken.len())), "{summary}");
        assert!(stage.sessions.is_empty(), "{} sessions are left open", stage.sessions.len());
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    UnevenShares,
    WrongInstance,
    FlowsUncounted,
    SessionsStray,
    ClientHidden,
    AnswersThroughBalancer,
    ChangeMovesSessions,
    NewMemberUnused,
    OldMemberUsed,
    PortsRefused,
    DropsUncounted,
    KillStopsTraffic,
    NeverReady,
    Interrupted,
}

/// A world that only remembers which member each session belongs to.
struct Pretended {
    fault: Fault,
    now: Duration,
    members: Vec<Member>,
    running: bool,
    sessions: BTreeMap<Session, (Service, Member)>,
    opened: u64,
    asked: u64,
    unmatched: u64,
    carried: Carried,
}

impl Pretended {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            now: Duration::ZERO,
            members: vec![VM1, VM2],
            running: true,
            sessions: BTreeMap::new(),
            opened: 0,
            asked: 0,
            unmatched: 0,
            carried: Carried::default(),
        }
    }

    fn choose(&self, chance: u64) -> Member {
        if self.fault == Fault::UnevenShares && !chance.is_multiple_of(5) {
            return self.members[0];
        }
        // Whole turns, so that shares are even without luck.
        self.members[usize::try_from(chance).unwrap() % self.members.len()]
    }
}

impl Stage for Pretended {
    fn made_of(&self) -> String {
        "nothing".to_owned()
    }

    fn now(&self) -> Duration {
        self.now
    }

    fn pass(&mut self, time: Duration) -> Result<(), Trouble> {
        self.now += time;
        if self.fault == Fault::Interrupted { Err(Trouble::Interrupted) } else { Ok(()) }
    }

    fn apply(&mut self, members: &[Member]) -> Result<String, Trouble> {
        let (comes, goes) = (self.members.len() < members.len(), !members.contains(&VM1));
        let ignored = (self.fault == Fault::NewMemberUnused && comes && self.members.contains(&VM1))
            || (self.fault == Fault::OldMemberUsed && goes);
        if !ignored {
            self.members = members.to_vec();
        }
        if self.fault == Fault::ChangeMovesSessions {
            for (session, (_, member)) in &mut self.sessions {
                *member = members[usize::try_from(session.0).unwrap() % members.len()];
            }
        }
        Ok("applied: 1 changes".to_owned())
    }

    fn kill_balancer(&mut self) -> Result<(), Trouble> {
        self.running = false;
        Ok(())
    }

    fn start_balancer(&mut self) -> Result<(), Trouble> {
        Ok(())
    }

    fn balancer_is_ready(&mut self) -> Result<bool, Trouble> {
        self.running = self.fault != Fault::NeverReady;
        Ok(self.running)
    }

    fn open(&mut self, transport: Transport, to: SocketAddr) -> Result<Session, Trouble> {
        let service =
            SERVICES.iter().find(|service| service.transport == transport && service.called() == to).unwrap();
        self.opened += 1;
        let session = Session(self.opened);
        self.sessions.insert(session, (*service, self.choose(self.opened)));
        Ok(session)
    }

    fn ask(&mut self, session: Session) -> Result<Answer, Trouble> {
        self.asked += 1;
        let (service, mut member) = self.sessions[&session];
        let gone = !self.members.contains(&member);
        if gone || (self.fault == Fault::KillStopsTraffic && !self.running) {
            return Err(Trouble::Silence(format!("{session:?}")));
        }
        if self.fault == Fault::SessionsStray
            && (self.asked.wrapping_mul(2_654_435_761) >> 16).is_multiple_of(5)
        {
            member = *self.members.iter().find(|other| **other != member).unwrap();
        }
        let port = 20_000 + u16::try_from(session.0).unwrap();
        let client = SocketAddr::new(IpAddr::V4(CLIENT), port);
        let hidden = SocketAddr::new(IpAddr::V4(BALANCER), port);
        let instance = if self.fault == Fault::WrongInstance { "green" } else { service.name };
        Ok(Answer {
            member: member.name.to_owned(),
            instance: instance.to_owned(),
            client,
            client_seen: if service.floating && self.fault != Fault::ClientHidden { client } else { hidden },
            destination_seen: service.seen_at(member.address),
        })
    }

    fn download(&mut self, session: Session, bytes: u64) -> Result<u64, Trouble> {
        let through = !self.sessions[&session].0.floating || self.fault == Fault::AnswersThroughBalancer;
        let more = if through { bytes + bytes / 50 } else { bytes / 50 };
        self.carried = Carried { received: self.carried.received + more, sent: self.carried.sent + more };
        Ok(bytes)
    }

    fn close(&mut self, session: Session) {
        self.sessions.remove(&session);
    }

    fn knock(&mut self, _: Transport, to: SocketAddr) -> Result<Knock, Trouble> {
        assert!(SERVICES.iter().all(|service| service.called() != to));
        self.unmatched += u64::from(self.fault != Fault::DropsUncounted);
        Ok(if self.fault == Fault::PortsRefused { Knock::Refused } else { Knock::Silence })
    }

    fn carried(&mut self) -> Result<Carried, Trouble> {
        Ok(self.carried)
    }

    fn stats(&mut self) -> Result<Stats, Trouble> {
        let flows = if self.fault == Fault::FlowsUncounted { self.opened / 2 } else { self.opened };
        Ok(Stats {
            interfaces: vec![InterfaceStats { name: "eth0".to_owned(), mode: "native".to_owned() }],
            frontends: vec![FrontendStats { address: GREEN.frontend.to_string(), unmatched: self.unmatched }],
            members: vec![member(MEMBERS[0], self.asked, flows)],
        })
    }
}

fn member(member: Member, packets: u64, flows: u64) -> MemberStats {
    MemberStats {
        member: member.name.to_owned(),
        address: member.address.to_string(),
        state: "ready".to_owned(),
        packets,
        flows,
    }
}

#[test]
fn a_program_that_is_not_there_is_a_clear_failure() {
    if let Err(missing) = lab::require(&[Need::Namespaces]) {
        return lab::skip_or_fail(missing);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let failed = super::real::Real::set_up(Path::new("/no/such/forebay"), stop).unwrap_err();
    assert!(failed.to_string().starts_with("`/no/such/forebay serve --config "), "{failed}");
}
