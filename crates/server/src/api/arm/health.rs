//! The health of a rule's members, in the words of azure-arm.md 1.10.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::Response;
use engine::health::{Outcome, Pulse, Reason, Stage, State};
use model::document::LoadBalancingRule;
use model::{AdminState, Ask, ChildPath, Document, Member, Probe, ResourceId, Rule};
use node::health::{MemberView, Vitals};
use serde_json::{Value, json};

use crate::Snapshot;
use crate::api::{self, Refusal, answer, status};
use crate::catalogue::{Fault, Refused};

/// Who of a rule's members is well, and why.
pub(super) fn of_rule(state: &api::State, id: &ResourceId, path: &ChildPath) -> Result<Response, Refusal> {
    let (snapshot, vitals) = (state.catalogue.snapshot(), Arc::clone(&state.realised.borrow().vitals));
    let name = probed(&snapshot, id, path)?;
    let found = found(&snapshot, &vitals, &snapshot.rules(id, &name));
    Ok(answer::json(status::ANSWERED, HeaderMap::new(), &told(&found, &interfaces(&snapshot))))
}

/// The name of the rule, as its balancer spells it.
fn probed(snapshot: &Snapshot, id: &ResourceId, path: &ChildPath) -> Result<String, Refusal> {
    let parent = || Refused::ParentNotFound { id: id.to_string() };
    let Document::LoadBalancer(balancer) = &*snapshot.get(id).ok_or_else(parent)?.document else {
        return Err(parent().into());
    };
    let is_it = |rule: &&LoadBalancingRule| {
        path.last().is_some_and(|(_, name)| name.eq_ignore_ascii_case(&rule.name))
    };
    let rule = balancer.load_balancing_rules.iter().find(is_it);
    let rule = rule.ok_or_else(|| Refused::NotFound { id: id.child(path) })?;
    match rule.probe {
        Some(_) => Ok(rule.name.clone()),
        None => {
            let name = &rule.name;
            let message = format!(
                "the rule `{name}` has no probe, so nobody asks how its members are, and all of them count as up: add `probe` to it"
            );
            Err(Refused::Wrong(Fault::new("LoadBalancingRuleHasNoProbe", message).at(id.child(path))).into())
        }
    }
}

/// A member, as one rule sees it.
struct Found {
    up: bool,
    reason: &'static str,
    view: MemberView,
}

/// A rule with several frontends is several where things are wanted; a member counts once.
fn found(snapshot: &Snapshot, vitals: &Vitals, rules: &[&Rule]) -> BTreeMap<IpAddr, Found> {
    let desired = &snapshot.desired;
    let mut all = BTreeMap::new();
    for rule in rules {
        let Some(probe) = desired.probe_of(rule) else { continue };
        for (member, takes) in vitals.health.of_rule(desired, rule) {
            let (up, reason) = judge(vitals, probe, member, takes);
            let view = MemberView::of(vitals, probe, member, up);
            all.insert(member.address(), Found { up, reason, view });
        }
    }
    all
}

/// Whether a member takes new flows, and Azure's word for why.
fn judge(vitals: &Vitals, probe: &Probe, member: &Member, takes: bool) -> (bool, &'static str) {
    let Some(pulse) = vitals.ward.pulse(probe.name(), member.address()) else { return (false, "NA") };
    let last = pulse.last().and_then(|(outcome, _)| outcome.says());
    match (member.admin(), pulse.state(), takes) {
        (AdminState::Up, _, _) => (true, "Up_Admin"),
        (AdminState::Down, _, _) => (false, "Down_Admin"),
        (AdminState::None, State::Unknown, false) => (false, "NA"),
        (AdminState::None, State::Unknown | State::Down, true) => (true, "Up_Probe_AllDownIsUp"),
        (AdminState::None, State::Up, true) if last == Some(State::Down) => {
            (true, "Up_Probe_ApproachingUnhealthyThreshold")
        }
        (AdminState::None, State::Up, true) => (true, "Up_Probe_Success"),
        (AdminState::None, State::Down, false) if last == Some(State::Up) => {
            (false, "Down_Probe_ApproachingHealthyThreshold")
        }
        (AdminState::None, State::Down, false) => (false, why_down(probe.ask(), decisive(pulse))),
        // It cannot be reached just now, and the probe has not found out yet.
        (AdminState::None, State::Up, false) => (false, unreached(probe.ask())),
    }
}

/// The newest result that says something about the member.
fn decisive(pulse: &Pulse) -> Option<&Outcome> {
    let newest = pulse.last().map(|(outcome, _)| outcome);
    newest
        .filter(|outcome| outcome.says().is_some())
        .or_else(|| pulse.history().next().map(|turn| &turn.outcome))
}

fn why_down(ask: &Ask, outcome: Option<&Outcome>) -> &'static str {
    match (ask, outcome) {
        // Down since before a restart, and not asked since.
        (_, None | Some(Outcome::Good)) => "NA",
        (Ask::Tcp, Some(Outcome::Bad(_))) => "Down_Probe_TcpProbeTimeout",
        (Ask::Http(_) | Ask::Https(_), Some(Outcome::Bad(reason))) => match reason {
            Reason::Status(_) => "Down_Probe_HttpStatusCodeError",
            Reason::Refused
            | Reason::Unreachable(_)
            | Reason::Prohibited
            | Reason::TimedOut { stage: Stage::Connect, .. }
            | Reason::NoAddress
            | Reason::StoodStill
            | Reason::Local(_) => "Down_Probe_HttpEndpointUnreachable",
            Reason::TimedOut { stage: Stage::Tls | Stage::Answer, .. }
            | Reason::Reset
            | Reason::NotHttp(_)
            | Reason::Tls(_) => "Down_Probe_HttpNoResponse",
        },
    }
}

const fn unreached(ask: &Ask) -> &'static str {
    match ask {
        Ask::Tcp => "Down_Probe_TcpProbeTimeout",
        Ask::Http(_) | Ask::Https(_) => "Down_Probe_HttpEndpointUnreachable",
    }
}

fn told(found: &BTreeMap<IpAddr, Found>, interfaces: &BTreeMap<IpAddr, String>) -> Value {
    let up = found.values().filter(|found| found.up).count();
    let one = |(address, found): (&IpAddr, &Found)| {
        json!({
            "ipAddress": address,
            "networkInterfaceIPConfigurationId": interfaces.get(address).map_or("", String::as_str),
            "state": if found.up { "Up" } else { "Down" },
            "reason": found.reason,
            "forebay": found.view,
        })
    };
    let addresses: Vec<Value> = found.iter().map(one).collect();
    json!({ "up": up, "down": found.len() - up, "loadBalancerBackendAddresses": addresses })
}

/// The configurations of network interfaces, by their addresses.
fn interfaces(snapshot: &Snapshot) -> BTreeMap<IpAddr, String> {
    let mut all = BTreeMap::new();
    for record in snapshot.of_kind(model::Kind::NetworkInterface) {
        let Document::NetworkInterface(interface) = &*record.document else { continue };
        for configuration in &interface.ip_configurations {
            if let Some(address) = configuration.private_ip_address {
                let path = vec![("ipConfigurations".to_owned(), configuration.name.clone())];
                all.insert(address, record.id.child(&path));
            }
        }
    }
    all
}
