//! Playing stories.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use plane::row::{Distribution, protocol};
use plane::{Flow, Verdict};

use super::{Act, Action, Story};
use crate::balancer::Refused;
use crate::frame::Transport;
use crate::session::{Answer, Broken, Session};
use crate::simulation::{Event, Simulation};
use crate::town::{OWN, Town};

/// The first of the ports that many sessions come from.
const FIRST_PORT: u16 = 20_000;

/// A story that was played.
#[derive(Clone, Debug)]
pub struct Played {
    /// The story with what was really seen.
    pub text: String,
    /// Where that is not what was expected.
    pub mismatches: Vec<Mismatch>,
    /// What must never happen and did, in any story.
    pub faults: Vec<String>,
}

/// What was expected and what was seen.
#[derive(Clone, Debug)]
pub struct Mismatch {
    place: String,
    action: String,
    expected: Vec<String>,
    seen: Vec<String>,
    tables: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.place, self.action)?;
        for line in &self.expected {
            writeln!(f, "  expected → {line}")?;
        }
        for line in &self.seen {
            writeln!(f, "  seen     → {line}")?;
        }
        if self.seen.is_empty() {
            writeln!(f, "  seen nothing")?;
        }
        writeln!(f, "the tables then:")?;
        self.tables.lines().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

pub(super) fn play(story: &Story, seed: u64) -> Played {
    let mut player = Player { town: Town::new(seed), sessions: BTreeMap::new(), next_port: FIRST_PORT };
    let mut mismatches = Vec::new();
    let mut seen: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for act in &story.acts {
        let lines = player.act(&act.action);
        if words(&lines) != words(&act.expected) {
            mismatches.push(mismatch(story, act, &lines, &player.town.simulation));
        }
        seen.insert(act.line, lines);
    }
    let faults = player.town.simulation.faults().iter().map(ToString::to_string).collect();
    Played { text: rewritten(story, &seen), mismatches, faults }
}

fn words(lines: &[String]) -> Vec<Vec<&str>> {
    lines.iter().map(|line| line.split_whitespace().collect()).collect()
}

fn mismatch(story: &Story, act: &Act, seen: &[String], simulation: &Simulation) -> Mismatch {
    Mismatch {
        place: format!("{}:{}", story.file, act.line),
        action: story.lines.get(act.line - 1).cloned().unwrap_or_default(),
        expected: act.expected.clone(),
        seen: seen.to_vec(),
        tables: simulation.seen().tables().to_string(),
    }
}

fn rewritten(story: &Story, seen: &BTreeMap<usize, Vec<String>>) -> String {
    let mut text = String::new();
    for (number, line) in (1..).zip(&story.lines).filter(|(_, line)| !line.starts_with('→')) {
        text += line.trim_end();
        text.push('\n');
        for line in seen.get(&number).into_iter().flatten() {
            text += &format!("→ {line}\n");
        }
    }
    text
}

struct Player {
    town: Town,
    sessions: BTreeMap<SocketAddr, Session>,
    next_port: u16,
}

impl Player {
    /// Acts, and tells what is seen.
    fn act(&mut self, action: &Action) -> Vec<String> {
        let town = &mut self.town;
        match action {
            Action::Pool { name, members, gateway } => refusal(town.pool(name, members, *gateway)),
            Action::Frontend(address) => refusal(town.frontend(*address)),
            Action::Rule { at, transport, rule } => refusal(town.rule(*at, *transport, rule.clone())),
            Action::Distribute { at, transport, by } => refusal(town.distribute(*at, *transport, by)),
            Action::NoRule { at, transport } => refusal(town.remove_rule(*at, *transport)),
            Action::Member { pool, member, joins, killed: false } => {
                refusal(town.member(pool, *member, *joins))
            }
            Action::Member { pool, member, joins, killed: true } => {
                let planned = town.write(pool, *member, *joins);
                if let Ok(planned) = planned {
                    town.simulation.apply_changes(planned / 2);
                    town.simulation.kill();
                }
                refusal(planned.map(|_| ()))
            }
            Action::Found { pool, member, up } => {
                town.find(pool, *member, *up);
                Vec::new()
            }
            Action::Silence { host, silent } => {
                town.silence(*host, *silent);
                Vec::new()
            }
            Action::Open { from, to, transport } => vec![said(self.open(*from, *to, *transport))],
            Action::OpenMany { count, from, to, transport } => {
                vec![self.open_many(*count, *from, *to, *transport)]
            }
            Action::Ask(from) => vec![said(self.ask(*from))],
            Action::AskEveryone => vec![self.ask_everyone()],
            Action::Send { from, to, transport, flags } => self.send(*from, *to, *transport, *flags),
            Action::Wait(time) => {
                town.simulation.pass(*time);
                Vec::new()
            }
            Action::Lose(of_a_thousand) => {
                town.simulation.lose(*of_a_thousand);
                Vec::new()
            }
            Action::Kill => {
                town.simulation.kill();
                Vec::new()
            }
            Action::Start => self.start(),
            Action::CountReason(reason) => vec![packets(town.simulation.counted(reason))],
            Action::CountUnmatched(frontend) => vec![packets(town.simulation.seen().unmatched(*frontend))],
            Action::Remembered => {
                let (pinned, always) = town.simulation.seen().remembered();
                vec![format!("{pinned} because of a change, {always} because of their rule")]
            }
        }
    }

    fn start(&mut self) -> Vec<String> {
        match self.town.simulation.start() {
            Ok(planned) => {
                self.town.simulation.apply_changes(usize::MAX);
                vec![match planned {
                    0 => "nothing is changed".to_owned(),
                    _ => "the change is finished".to_owned(),
                }]
            }
            Err(refused) => refusal(Err(refused)),
        }
    }

    fn open(&mut self, from: SocketAddr, to: SocketAddr, transport: Transport) -> Result<Answer, Broken> {
        let session = self.town.open(from, to, transport)?;
        self.sessions.insert(from, session);
        self.town.simulation.ask(session)
    }

    fn open_many(&mut self, count: u16, from: IpAddr, to: SocketAddr, transport: Transport) -> String {
        let mut reached: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..count {
            let from = SocketAddr::new(from, self.next_port);
            self.next_port = self.next_port.wrapping_add(1);
            let who = match self.open(from, to, transport) {
                Ok(answer) => answer.member,
                Err(broken) => broken.to_string(),
            };
            *reached.entry(who).or_default() += 1;
        }
        listed(reached)
    }

    fn ask(&mut self, from: SocketAddr) -> Result<Answer, Broken> {
        let session = self.sessions.get(&from).copied().ok_or(Broken::Unknown)?;
        self.town.simulation.ask(session)
    }

    fn ask_everyone(&mut self) -> String {
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for session in self.sessions.values().copied().collect::<Vec<_>>() {
            let before = self.town.simulation.member_of(session).map(str::to_owned);
            let how = match self.town.simulation.ask(session) {
                Ok(answer) if Some(&answer.member) == before.as_ref() => "as before".to_owned(),
                Ok(_) => "by another member".to_owned(),
                Err(broken) => broken.to_string(),
            };
            *found.entry(how).or_default() += 1;
        }
        listed(found)
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, transport: Transport, flags: u8) -> Vec<String> {
        let slot = self.slot(from, to, transport);
        self.town.simulation.watch();
        self.town.send(Simulation::segment_of(from, to, transport, flags));
        self.town.simulation.settle();
        let events = self.town.simulation.watched();
        let mut verdicts = events.iter().filter_map(|event| match event {
            Event::Verdict(verdict) => Some(*verdict),
            Event::Heard(..) => None,
        });
        // What follows on the first packet, a reset perhaps, is not asked for.
        let heard = events.iter().find_map(|event| match event {
            Event::Heard(host, packet) if *host != from.ip().to_string() => Some((host, packet)),
            Event::Heard(..) | Event::Verdict(_) => None,
        });
        let seen = match (verdicts.next(), heard) {
            (Some(Verdict::Drop(why)), _) => format!("dropped: {why:?}"),
            (Some(Verdict::Pass(why)), _) => format!("the balancer host gets it: {why:?}"),
            (_, Some((host, packet))) => {
                format!("{host} sees {} call {}{slot}", seen_as(packet.source), packet.destination)
            }
            (Some(_), None) => "nobody hears it".to_owned(),
            (None, None) => "the balancer does not see it".to_owned(),
        };
        vec![seen]
    }

    /// The slot that the rule's distribution chooses.
    fn slot(&self, from: SocketAddr, to: SocketAddr, transport: Transport) -> String {
        let protocol = match transport {
            Transport::Tcp => protocol::TCP,
            Transport::Udp => protocol::UDP,
        };
        let flow = Flow {
            source: from.ip().into(),
            destination: to.ip().into(),
            source_port: from.port(),
            destination_port: to.port(),
            protocol,
        };
        let rules = self.town.simulation.seen().tables().rule_rows();
        let by = rules.get(&(to.ip(), protocol, to.port())).map(|row| row.plan().distribution);
        let slot = by.map(|by: Distribution| format!("  slot {}", flow.slot(by)));
        slot.unwrap_or_default()
    }
}

fn refusal(done: Result<(), Refused>) -> Vec<String> {
    match done {
        Ok(()) => Vec::new(),
        Err(Refused::Full(full)) => vec![format!("refused: {full}")],
        Err(Refused::Invalid(problems)) => {
            problems.iter().map(|problem| format!("refused: {} at {}", problem.code, problem.path)).collect()
        }
    }
}

fn said(asked: Result<Answer, Broken>) -> String {
    match asked {
        Ok(answer) => {
            format!("{} sees {} call {}", answer.member, seen_as(answer.client_seen), answer.called_seen)
        }
        Err(broken) => broken.to_string(),
    }
}

/// Where the balancer stands in, the port is of no interest.
fn seen_as(client: SocketAddr) -> String {
    if OWN.contains(&client.ip()) { "the balancer".to_owned() } else { client.to_string() }
}

fn packets(count: u64) -> String {
    if count == 1 { "1 packet".to_owned() } else { format!("{count} packets") }
}

fn listed(found: BTreeMap<String, usize>) -> String {
    if found.is_empty() {
        return "nobody".to_owned();
    }
    found.iter().map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
}
