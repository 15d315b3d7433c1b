//! What is counted, for Prometheus: one reading of everything, made when it is asked for. docs/metrics.md says what each number means.

use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use engine::health::State;
use model::{Member, Probe, Protocol, Rule};
use node::inspect::Stats;
use node::{Available, MemberSeen, Outcome};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::{Realised, Snapshot};

#[cfg(test)]
mod tests;

/// Everything as of now, as text.
#[must_use]
pub fn text(snapshot: &Snapshot, realised: &Realised) -> String {
    let mut page = Page::default();
    process(&mut page, snapshot, realised);
    health(&mut page, snapshot, realised);
    availability(&mut page, &realised.vitals.available);
    reached(&mut page, realised);
    if let Some(counted) = &realised.counted {
        traffic(&mut page, &counted.stats);
        resets(&mut page, &counted.stats);
        memory(&mut page, &counted.stats);
        page.number("counters_read_timestamp_seconds", "When packets were last counted", seconds(counted.at));
    }
    let mut text = String::new();
    // Only a writer that fails makes this fail, and text never does.
    if encode(&mut text, &page.registry).is_err() {
        tracing::error!("metrics could not be written");
    }
    text
}

/// Names and values that tell rows apart.
type Labels = Vec<(&'static str, String)>;
/// One number of a metric.
type Row = (Labels, u64);

struct Page {
    registry: Registry,
}

impl Default for Page {
    fn default() -> Self {
        Self { registry: Registry::with_prefix("forebay") }
    }
}

impl Page {
    /// One number that goes up and down.
    fn number(&mut self, name: &str, help: &str, value: u64) {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        self.registry.register(name, help, gauge);
    }

    /// Something that goes up and down.
    fn gauge(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = Row>) {
        let family = Family::<Labels, Gauge>::default();
        for (labels, value) in rows {
            family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.registry.register(name, help, family);
    }

    /// Something between 0 and 1.
    fn share(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Labels, f64)>) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in rows {
            family.get_or_create(&labels).set(value);
        }
        self.registry.register(name, help, family);
    }

    /// Something that only grows; `_total` is added to its name.
    fn counter(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = Row>) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in rows {
            family.get_or_create(&labels).inc_by(value);
        }
        self.registry.register(name, help, family);
    }
}

/// What is accepted, and whether the data path follows.
fn process(page: &mut Page, snapshot: &Snapshot, realised: &Realised) {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    page.gauge("build_info", "The version that runs", [(version, 1)]);
    page.number("revision_accepted", "The newest revision that was accepted", snapshot.revision);
    page.number("revision_realised", "The newest revision that the data path has done", realised.done);
    let follows = u64::from(realised.outcome == Outcome::Done);
    page.number(
        "data_path_follows",
        "1: the data path did what it was told last; 0: it does not run, or could not",
        follows,
    );
    let short = snapshot.shortfalls.len() as u64;
    page.number("shortfalls", "What was accepted and cannot be done yet", short);
}

/// What probes find, by rule and member.
fn health(page: &mut Page, snapshot: &Snapshot, realised: &Realised) {
    let (mut found, mut takes, mut cautions) = (Vec::new(), Vec::new(), Vec::new());
    let vitals = &realised.vitals;
    for rule in snapshot.desired.rules() {
        let Some(probe) = snapshot.desired.probe_of(rule) else { continue };
        for (member, standing) in vitals.health.of_rule(&snapshot.desired, rule) {
            let Some(pulse) = vitals.ward.pulse(probe.name(), member.address()) else { continue };
            let labels = of_member(rule, probe, member);
            if pulse.state() != State::Unknown {
                found.push((labels.clone(), u64::from(pulse.state() == State::Up)));
            }
            takes.push((labels, u64::from(standing)));
        }
    }
    for (probe, member, pulse) in vitals.ward.pulses() {
        let labels = vec![("probe", probe.to_owned()), ("backend_ip_address", member.to_string())];
        cautions.push((labels, u64::from(pulse.caution(vitals.now))));
    }
    page.gauge("health_probe_status", "1: the probe finds the member up; 0: down", found);
    page.gauge("member_takes_new_flows", "1: new flows of the rule may go to the member; 0: none do", takes);
    page.gauge(
        "health_probe_caution",
        "By how much the threshold is multiplied before the member counts as up again: more than 1 while it flaps",
        cautions,
    );
}

fn of_member(rule: &Rule, probe: &Probe, member: &Member) -> Labels {
    let protocol = match rule.protocol() {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
        Protocol::All => "all",
    };
    let mut labels = of_rule(rule.name(), rule.frontend(), rule.frontend_port(), protocol);
    labels.extend([
        ("backend_ip_address", member.address().to_string()),
        ("backend_port", rule.backend_port().to_string()),
        ("probe", probe.name().to_owned()),
    ]);
    labels
}

fn of_rule(rule: &str, frontend: IpAddr, port: u16, protocol: &str) -> Labels {
    vec![
        ("rule", rule.to_owned()),
        ("frontend_ip_address", frontend.to_string()),
        ("frontend_port", port.to_string()),
        ("protocol_type", protocol.to_owned()),
    ]
}

/// What calls to the frontends came to. Nothing is said of rules that were not called.
fn availability(page: &mut Page, available: &[Available]) {
    let labels = |it: &Available| of_rule(&it.rule, it.frontend.ip(), it.frontend.port(), "tcp");
    page.share(
        "data_path_availability",
        "The share of the last calls to a rule's frontend that were answered",
        available.iter().map(|it| (labels(it), it.ratio())),
    );
    let rows: Vec<(Labels, [u64; 2])> =
        available.iter().map(|it| (labels(it), [it.calls, it.answers])).collect();
    page.counter("data_path_calls", "Calls to a rule's frontend", column(&rows, 0));
    page.counter("data_path_answers", "Those of them that were answered", column(&rows, 1));
}

/// Whether frames reach members.
fn reached(page: &mut Page, realised: &Realised) {
    let row = |(address, seen): (&IpAddr, &MemberSeen)| {
        (vec![("backend_ip_address", address.to_string())], u64::from(seen.ready))
    };
    page.gauge(
        "member_reachable",
        "1: it is known how frames reach the member",
        realised.members.iter().map(row),
    );
}

/// Packets, bytes and flows.
fn traffic(page: &mut Page, stats: &Stats) {
    let rows = stats.frontends.iter().map(|it| {
        let labels = vec![("frontend", it.frontend.clone()), ("frontend_ip_address", it.address.to_string())];
        (labels, [it.packets, it.bytes, it.flows, it.unmatched])
    });
    let frontends: Vec<(Labels, [u64; 4])> = rows.collect();
    page.counter("frontend_packets", "Packets of a frontend's rules", column(&frontends, 0));
    page.counter("frontend_bytes", "Their bytes", column(&frontends, 1));
    page.counter("frontend_flows", "Flows that began", column(&frontends, 2));
    page.counter(
        "frontend_unmatched_packets",
        "Packets to a frontend that no rule takes",
        column(&frontends, 3),
    );

    let rows = stats
        .rules
        .iter()
        .map(|it| (of_rule(&it.rule, it.frontend, it.port, &it.protocol), [it.packets, it.bytes, it.flows]));
    let rules: Vec<(Labels, [u64; 3])> = rows.collect();
    page.counter("rule_packets", "Packets of a rule", column(&rules, 0));
    page.counter("rule_bytes", "Their bytes", column(&rules, 1));
    page.counter("rule_flows", "Flows that began: of TCP, connections", column(&rules, 2));

    let rows = stats.members.iter().map(|it| {
        let labels = vec![
            ("pool", it.pool.clone()),
            ("member", it.member.clone()),
            ("backend_ip_address", it.address.to_string()),
        ];
        (labels, [it.packets, it.bytes, it.flows])
    });
    let members: Vec<(Labels, [u64; 3])> = rows.collect();
    page.counter("member_packets", "Packets to a member of a pool", column(&members, 0));
    page.counter("member_bytes", "Their bytes", column(&members, 1));
    page.counter("member_flows", "Flows that began", column(&members, 2));

    let rows = stats.security.iter();
    let rows: Vec<(Labels, [u64; 2])> =
        rows.map(|it| (vec![("security_rule", it.rule.clone())], [it.packets, it.bytes])).collect();
    page.counter("security_rule_packets", "Packets by the security rule that decided", column(&rows, 0));
    page.counter("security_rule_bytes", "Their bytes", column(&rows, 1));
    let rows = stats.verdicts.iter().map(|it| {
        let labels = vec![("verdict", it.verdict.clone()), ("reason", it.reason.clone())];
        (labels, [it.packets, it.bytes])
    });
    let verdicts: Vec<(Labels, [u64; 2])> = rows.collect();
    page.counter("verdict_packets", "Packets by what became of them, and why", column(&verdicts, 0));
    page.counter("verdict_bytes", "Their bytes", column(&verdicts, 1));
}

fn column<const N: usize>(rows: &[(Labels, [u64; N])], at: usize) -> impl Iterator<Item = Row> {
    rows.iter().map(move |(labels, numbers)| (labels.clone(), numbers[at]))
}

/// Connections that were reset, and why.
fn resets(page: &mut Page, stats: &Stats) {
    let rows = stats.resets.iter().map(|it| (vec![("cause", it.cause.clone())], it.resets));
    page.counter("resets", "Resets that were sent to ends of connections, by their cause", rows);
}

/// How much is remembered, and how much could be.
fn memory(page: &mut Page, stats: &Stats) {
    let it = &stats.remembered;
    page.number("flows_remembered", "Flows that are remembered", it.flows);
    page.number("flows_limit", "Flows for which there is room", it.flows_limit);
    page.number(
        "connections_tracked",
        "Connections that are kept in mind to be reset when they are over",
        it.tracked,
    );
    page.number("masquerades_remembered", "Masqueraded flows that are remembered", it.masquerades);
    page.number("masquerades_limit", "Masqueraded flows for which there is room", it.masquerades_limit);
    page.number("changing_slots", "Slots whose change is not over", it.changing_slots);
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |past| past.as_secs())
}
