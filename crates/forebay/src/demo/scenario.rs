//! The scenario: nine steps, each of which says what it does, what was seen, and whether it held.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::screen::{Screen, Table, ratio};
use super::setting::{
    BALANCER, BLUE, GREEN, MEMBERS, Member, PICTURE, SERVICES, Service, UNUSED_PORT, VM1, VM2, VM3,
};
use super::stage::{Answer, Knock, Session, Stage, Stats, Transport, Trouble};

/// How the scenario ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Held,
    Broken,
    Interrupted,
}

/// Rounds of traffic in the step about shares, the pause after each, and the sessions per service in each.
const ROUNDS: usize = 24;
const PAUSE: Duration = Duration::from_millis(200);
const SESSIONS_A_ROUND: usize = 12;
/// Sessions per service that stay open from the third step to the end, and questions asked on each.
const KEPT: usize = 6;
const QUESTIONS: usize = 20;
/// New sessions per service after each change of the pool.
const NEW_SESSIONS: usize = 12;
/// What is downloaded.
const DOWNLOAD: u64 = 16 * 1024 * 1024;
/// The part of a download that may pass the balancer on the way there: the request and the acknowledgements.
const REQUESTS_SHARE: f64 = 0.10;
/// Packets to a port without a rule, of each transport.
const KNOCKS: usize = 3;
/// How far shares may be off, in standard deviations of a fair draw: once in a million demos by chance.
const DEVIATIONS: f64 = 5.0;
/// How long a balancer may take to start.
const START: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// Plays all steps. A step that does not hold is shown, and the next ones are played all the same.
pub fn play<S: Stage, W: Write>(stage: &mut S, screen: &mut Screen<W>) -> Outcome {
    Play { stage, screen, kept: Vec::new(), members: vec![VM1, VM2] }.all()
}

struct Play<'a, S, W> {
    stage: &'a mut S,
    screen: &'a mut Screen<W>,
    kept: Vec<Kept>,
    members: Vec<Member>,
}

/// A session that stays open, and the member it belongs to.
#[derive(Clone, Debug)]
struct Kept {
    service: Service,
    session: Session,
    member: String,
}

/// Something to show; it says itself what held.
type Step<P> = fn(&mut P) -> Result<(), Trouble>;

impl<S: Stage, W: Write> Play<'_, S, W> {
    const STEPS: [(&'static str, Step<Self>); 9] = [
        ("The set-up", Self::set_up),
        ("New sessions are shared out evenly (DIST-5)", Self::shares),
        ("A session stays with its member (DIST-2)", Self::stickiness),
        ("What the members see of the client (FIP-1, FIP-2)", Self::addresses),
        ("Direct server return: answers of a floating rule pass the balancer by", Self::direct_return),
        ("A member is added while sessions stay alive (DIST-6)", Self::member_added),
        ("A member is removed while sessions stay alive (DIST-6, FLOW-3)", Self::member_removed),
        ("Packets that match no rule are dropped silently (RULE-2)", Self::unmatched),
        ("The balancer's process is killed, and traffic goes on (FLOW-7)", Self::killed),
    ];

    fn all(mut self) -> Outcome {
        for (title, step) in Self::STEPS {
            self.screen.step(title);
            match step(&mut self) {
                Ok(()) => {}
                Err(Trouble::Interrupted) => return Outcome::Interrupted,
                Err(trouble) => self.screen.check(false, &trouble.to_string()),
            }
        }
        for kept in std::mem::take(&mut self.kept) {
            self.stage.close(kept.session);
        }
        if self.screen.all_held() { Outcome::Held } else { Outcome::Broken }
    }

    fn set_up(&mut self) -> Result<(), Trouble> {
        self.screen.say(PICTURE);
        self.screen.say("");
        self.screen.note(&format!("made of: {}", self.stage.made_of()));
        for interface in &self.stage.stats()?.interfaces {
            self.screen
                .note(&format!("data path on the balancer's {}: {} XDP", interface.name, interface.mode));
        }
        for service in SERVICES {
            let asked = self.ask_once(service);
            let called = called(service);
            match asked {
                Ok(answer) => {
                    let right = answer.instance == service.name;
                    self.screen
                        .check(right, &format!("{called}: {} on {} answers", answer.instance, answer.member));
                }
                Err(Trouble::Interrupted) => return Err(Trouble::Interrupted),
                Err(trouble) => self.screen.check(false, &format!("{called}: {trouble}")),
            }
        }
        Ok(())
    }

    fn shares(&mut self) -> Result<(), Trouble> {
        let sessions = ROUNDS * SESSIONS_A_ROUND;
        self.screen.note(&format!(
            "{sessions} new sessions to each frontend and transport, each from a client port of its own:"
        ));
        let before = self.stage.stats()?;
        let mut answers: BTreeMap<Transport, BTreeMap<String, u64>> = BTreeMap::new();
        let mut wrong = Vec::new();
        let mut table = Table::default();
        for round in 0..ROUNDS {
            for service in SERVICES {
                for _ in 0..SESSIONS_A_ROUND {
                    let answer = self.ask_once(service)?;
                    if answer.instance != service.name {
                        wrong.push(format!("{} answered as {}", called(service), answer.instance));
                    }
                    *answers.entry(service.transport).or_default().entry(answer.member).or_default() += 1;
                }
            }
            self.stage.pass(PAUSE)?;
            // The rates need a look in each round, drawn or not.
            let lines = table.lines(self.stage.now(), &self.stage.stats()?);
            if self.screen.is_due(round, ROUNDS) {
                self.screen.draw(&lines);
            }
        }
        let after = self.stage.stats()?;
        self.screen.check(
            wrong.is_empty(),
            &match wrong.first() {
                None => "each frontend reached its own instance, though both use port 80 of the same members"
                    .to_owned(),
                Some(first) => format!("{} sessions reached another instance: {first}", wrong.len()),
            },
        );
        for (transport, found) in &answers {
            self.check_shares(*transport, found);
        }
        let answered: u64 = answers.values().flat_map(BTreeMap::values).sum();
        let counted = flows(&after).saturating_sub(flows(&before));
        // A first packet that was sent again may have been counted again; and a socket for datagrams may be given a port that an
        // earlier one had, which continues that session.
        let slack = answered / 100;
        let right = (answered - slack..=answered + slack).contains(&counted);
        self.screen
            .check(right, &format!("the balancer counted {counted} new flows for {answered} sessions"));
        Ok(())
    }

    fn check_shares(&mut self, transport: Transport, found: &BTreeMap<String, u64>) {
        let total: u64 = found.values().sum();
        let fair = 1.0 / self.members.len() as f64;
        let bound = DEVIATIONS * (fair * (1.0 - fair) / total.max(1) as f64).sqrt();
        let shares: Vec<(&str, f64)> = self
            .members
            .iter()
            .map(|member| (member.name, ratio(found.get(member.name).copied().unwrap_or(0), total.max(1))))
            .collect();
        let fits = shares.iter().all(|(_, share)| (share - fair).abs() <= bound);
        let strangers = found.keys().any(|name| self.members.iter().all(|member| member.name != name));
        let shown: Vec<String> =
            shares.iter().map(|(member, share)| format!("{member} {:.1} %", share * 100.0)).collect();
        self.screen.check(
            fits && !strangers,
            &format!(
                "{}: {} of {total} sessions; {:.1} ± {:.1} % is within {DEVIATIONS} standard deviations of fair draws",
                name(transport),
                shown.join(", "),
                fair * 100.0,
                bound * 100.0,
            ),
        );
    }

    fn stickiness(&mut self) -> Result<(), Trouble> {
        for service in SERVICES {
            for _ in 0..KEPT {
                let session = self.stage.open(service.transport, service.called())?;
                let member = self.stage.ask(session)?.member;
                self.kept.push(Kept { service, session, member });
            }
        }
        let (connections, sockets): (Vec<&Kept>, Vec<&Kept>) =
            self.kept.iter().partition(|kept| kept.service.transport == Transport::Tcp);
        self.screen.note(&format!(
            "{} TCP connections and {} UDP sessions stay open from here on; {QUESTIONS} questions on each:",
            connections.len(),
            sockets.len(),
        ));
        let mut strayed = Strayed::default();
        for _ in 0..QUESTIONS {
            strayed.add(self.ask_kept()?);
        }
        self.check_kept(&strayed, "was answered by the member that answered first");
        Ok(())
    }

    fn addresses(&mut self) -> Result<(), Trouble> {
        let mut all = true;
        for service in SERVICES {
            let kept: Vec<Kept> = self.kept.iter().filter(|kept| kept.service == service).cloned().collect();
            let mut shown = None;
            let mut right = !kept.is_empty();
            for kept in kept {
                let answer = self.stage.ask(kept.session)?;
                right &= sees_what_it_should(service, &answer);
                shown = Some(answer);
            }
            let text = shown.as_ref().map_or_else(
                || format!("{}: no session to ask", called(service)),
                |Answer { member, client, client_seen, destination_seen, .. }| {
                    let who = if service.floating { "the client itself" } else { "the balancer's address" };
                    let what = if service.floating { "the frontend" } else { "its own address" };
                    format!(
                        "{}: the client is {client}; {member} sees {client_seen} ({who}) calling {destination_seen} ({what})",
                        called(service)
                    )
                },
            );
            all &= shown.is_some();
            self.screen.check(right, &text);
        }
        self.screen.check(all, "each answer came from the address and port that was called (FIP-3)");
        Ok(())
    }

    fn direct_return(&mut self) -> Result<(), Trouble> {
        for service in [GREEN, BLUE] {
            let session = self.stage.open(service.transport, service.called())?;
            let before = self.stage.carried()?;
            let came = self.stage.download(session, DOWNLOAD)?;
            let after = self.stage.carried()?;
            self.stage.close(session);
            let (received, sent) = (after.received - before.received, after.sent - before.sent);
            let by_the_way = ratio(received + sent, DOWNLOAD);
            // Without floating IP every byte goes in and out again, which also shows that the counter counts.
            let held = came == DOWNLOAD
                && if service.floating {
                    by_the_way < REQUESTS_SHARE
                } else {
                    received >= DOWNLOAD && sent >= DOWNLOAD
                };
            self.screen.check(
                held,
                &format!(
                    "{} of {}: the balancer's interface received {} and sent {} ({})",
                    size(came),
                    service.name,
                    size(received),
                    size(sent),
                    if service.floating {
                        "requests and acknowledgements only"
                    } else {
                        "all of it, there and back"
                    },
                ),
            );
        }
        Ok(())
    }

    fn member_added(&mut self) -> Result<(), Trouble> {
        self.change(&[VM1, VM2, VM3])?;
        let strayed = self.ask_kept()?;
        self.check_kept(&strayed, "is answered by its member as before");
        let reached = self.ask_new()?;
        self.screen.check(
            reached.get(VM3.name).is_some_and(|sessions| *sessions > 0),
            &format!("new sessions reach {}: {}", VM3.name, list(&reached)),
        );
        Ok(())
    }

    fn member_removed(&mut self) -> Result<(), Trouble> {
        self.change(&[VM2, VM3])?;
        let (gone, stay): (Vec<Kept>, Vec<Kept>) =
            self.kept.drain(..).partition(|kept| kept.member == VM1.name);
        self.kept = stay;
        let strayed = self.ask_kept()?;
        self.check_kept(&strayed, "on another member is answered as before");
        let reached = self.ask_new()?;
        self.screen.check(
            !reached.contains_key(VM1.name) && !reached.is_empty(),
            &format!("new sessions go to the others only: {}", list(&reached)),
        );
        let connection = gone.iter().find(|kept| kept.service.transport == Transport::Tcp);
        if let Some(kept) = connection {
            let text = match self.stage.ask(kept.session) {
                Ok(answer) => {
                    Err(format!("a connection to {} is answered by {} still", VM1.name, answer.member))
                }
                Err(Trouble::Interrupted) => return Err(Trouble::Interrupted),
                Err(_) => Ok(format!("nobody carries on a connection that {} had", VM1.name)),
            };
            self.screen.check(text.is_ok(), &text.unwrap_or_else(|text| text));
        }
        for kept in gone {
            self.stage.close(kept.session);
        }
        Ok(())
    }

    fn unmatched(&mut self) -> Result<(), Trouble> {
        let to = SocketAddr::new(IpAddr::V4(GREEN.frontend), UNUSED_PORT);
        let before = unmatched(&self.stage.stats()?);
        for transport in [Transport::Tcp, Transport::Udp] {
            let mut heard = Vec::new();
            for _ in 0..KNOCKS {
                heard.push(self.stage.knock(transport, to)?);
            }
            let silent = heard.iter().all(|knock| *knock == Knock::Silence);
            let found =
                if silent { "silence, no reset and no ICMP error".to_owned() } else { format!("{heard:?}") };
            self.screen.check(silent, &format!("{KNOCKS} × {to}/{}: {found}", word(transport)));
        }
        let counted = unmatched(&self.stage.stats()?).saturating_sub(before);
        let sent = KNOCKS as u64 * 2;
        self.screen.check(
            counted >= sent,
            &format!("counted at the frontend: {counted} of at least {sent} packets"),
        );
        Ok(())
    }

    fn killed(&mut self) -> Result<(), Trouble> {
        self.stage.kill_balancer()?;
        self.screen.note("kill -9. Nothing of forebay runs now but its data path in the kernel:");
        let strayed = self.ask_kept()?;
        self.check_kept(&strayed, "is answered by its member as before");
        let reached = self.ask_new()?;
        self.screen
            .check(!reached.is_empty(), &format!("new sessions are shared out too: {}", list(&reached)));

        self.screen.note("The balancer is started again; questions are asked all the time:");
        self.stage.start_balancer()?;
        let deadline = self.stage.now() + START;
        let mut strayed = Strayed::default();
        while !self.stage.balancer_is_ready()? {
            strayed.add(self.ask_kept()?);
            if self.stage.now() > deadline {
                return Err(Trouble::Failed(format!(
                    "the balancer was not ready within {} s",
                    START.as_secs()
                )));
            }
            self.stage.pass(LOOK)?;
        }
        strayed.add(self.ask_kept()?);
        self.check_kept(&strayed, "was answered by its member while the new process took over");
        self.change(&[VM1, VM2, VM3])?;
        let reached = self.ask_new()?;
        self.screen.check(
            reached.contains_key(VM1.name),
            &format!("the new process is in charge, {} is back: {}", VM1.name, list(&reached)),
        );
        Ok(())
    }

    /// Changes the pool in the document.
    fn change(&mut self, members: &[Member]) -> Result<(), Trouble> {
        let names: Vec<&str> = members.iter().map(|member| member.name).collect();
        let began = self.stage.now();
        let said = self.stage.apply(members)?;
        let took = self.stage.now().saturating_sub(began);
        self.members = members.to_vec();
        self.screen.note(&format!(
            "the document now has {}; `{said}` after {} ms",
            names.join(", "),
            took.as_millis()
        ));
        Ok(())
    }

    /// A session of one question.
    fn ask_once(&mut self, service: Service) -> Result<Answer, Trouble> {
        let session = self.stage.open(service.transport, service.called())?;
        let answer = self.stage.ask(session);
        self.stage.close(session);
        answer
    }

    /// New sessions to every service, and how many of them each member got.
    fn ask_new(&mut self) -> Result<BTreeMap<String, u64>, Trouble> {
        let mut reached = BTreeMap::new();
        for service in SERVICES {
            for _ in 0..NEW_SESSIONS {
                *reached.entry(self.ask_once(service)?.member).or_default() += 1;
            }
        }
        Ok(reached)
    }

    /// Asks once on every session that is kept.
    fn ask_kept(&mut self) -> Result<Strayed, Trouble> {
        let mut strayed = Strayed::default();
        for kept in &self.kept {
            strayed.asked += 1;
            let called = called(kept.service);
            match self.stage.ask(kept.session) {
                Ok(answer) if answer.member == kept.member => {}
                Ok(answer) => {
                    strayed.how.insert(format!("{called}: from {} to {}", kept.member, answer.member));
                }
                Err(Trouble::Interrupted) => return Err(Trouble::Interrupted),
                Err(trouble) => {
                    strayed.how.insert(format!("{called} at {}: {trouble}", kept.member));
                }
            }
        }
        Ok(strayed)
    }

    fn check_kept(&mut self, strayed: &Strayed, what: &str) {
        let sessions = self.kept.len();
        let text = if strayed.asked == 0 {
            "there is no open session to ask".to_owned()
        } else if strayed.how.is_empty() {
            format!("each of {sessions} open sessions {what} ({} questions)", strayed.asked)
        } else {
            // A few tell what is wrong.
            let how: Vec<&str> = strayed.how.iter().take(3).map(String::as_str).collect();
            format!("not each of {sessions} open sessions {what}: {}", how.join("; "))
        };
        self.screen.check(strayed.how.is_empty() && strayed.asked > 0, &text);
    }
}

/// Questions on open sessions that another member answered, or nobody.
#[derive(Debug, Default)]
struct Strayed {
    asked: usize,
    how: BTreeSet<String>,
}

impl Strayed {
    fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.how.extend(other.how);
    }
}

fn sees_what_it_should(service: Service, answer: &Answer) -> bool {
    let Some(member) = MEMBERS.iter().find(|member| member.name == answer.member) else { return false };
    let client = if service.floating {
        answer.client_seen == answer.client
    } else {
        answer.client_seen.ip() == IpAddr::V4(BALANCER)
    };
    client && answer.destination_seen == service.seen_at(member.address) && answer.instance == service.name
}

fn flows(stats: &Stats) -> u64 {
    stats.members.iter().map(|member| member.flows).sum()
}

fn unmatched(stats: &Stats) -> u64 {
    let green = GREEN.frontend.to_string();
    stats
        .frontends
        .iter()
        .filter(|frontend| frontend.address == green)
        .map(|frontend| frontend.unmatched)
        .sum()
}

fn called(service: Service) -> String {
    format!("{} {}/{}", service.name, service.called(), word(service.transport))
}

fn name(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "HTTP",
        Transport::Udp => "UDP",
    }
}

fn word(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

fn list(reached: &BTreeMap<String, u64>) -> String {
    reached.iter().map(|(member, sessions)| format!("{member} {sessions}")).collect::<Vec<_>>().join(", ")
}

fn size(bytes: u64) -> String {
    if bytes < 1024 * 1024 {
        format!("{} KiB", bytes / 1024)
    } else {
        format!("{:.1} MiB", ratio(bytes, 1024 * 1024))
    }
}
