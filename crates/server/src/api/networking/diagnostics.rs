//! `/diagnostics/slbState`: everything that is known of the load balancers, dumped for people.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use model::{Document, Kind, Rule};
use serde_json::{Value, json};

use super::Service;
use super::answer::Answer;
use super::exchange::Exchange;
use super::refusal::Refusal;
use super::show::place_of;
use crate::Snapshot;
use crate::api::status;
use crate::catalogue::Refused;
use crate::realised::Realised;
use crate::stamp::rfc3339;

/// How many dumps are kept.
const MAX_DUMPS: usize = 16;

/// The newest dumps, by the ids of their operations.
#[derive(Debug, Default)]
pub struct Dumps(Mutex<VecDeque<(String, Value)>>);

impl Dumps {
    fn keep(&self, id: String, output: Value) {
        let mut dumps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if dumps.len() >= MAX_DUMPS {
            dumps.pop_front();
        }
        dumps.push_back((id, output));
    }

    fn get(&self, id: &str) -> Option<Value> {
        let dumps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        dumps.iter().find(|(one, _)| one.eq_ignore_ascii_case(id)).map(|(_, output)| output.clone())
    }
}

impl Service {
    /// Makes a dump. It is finished at once, and looked up as if it were not.
    pub(super) fn dump(&self, exchange: &Exchange) -> Answer {
        let snapshot = self.state.catalogue.snapshot();
        let id = exchange.id.to_string();
        let output = json!({ "dataGroups": [self.fabric(&snapshot), self.tenant(&snapshot)] });
        self.dumps.keep(id.clone(), output);
        let value = json!({
            "resourceRef": "/diagnostics/slbState/Action",
            "resourceId": "Action",
            "instanceId": id,
            "properties": {
                "provisioningState": "Succeeded",
                "operationId": id,
                "slbStateResult": { "resourceRef": format!("/diagnostics/slbStateResults/{id}") },
                "submitTime": rfc3339(SystemTime::now()),
            },
        });
        Answer::json(status::ANSWERED, &value)
    }

    /// A dump that was made.
    pub(super) fn show_dump(&self, id: &str) -> Result<Answer, Refusal> {
        let pointer = format!("/diagnostics/slbStateResults/{id}");
        let output = self.dumps.get(id).ok_or_else(|| Refused::NotFound { id: pointer.clone() })?;
        let value = json!({
            "resourceRef": pointer,
            "resourceId": id,
            "instanceId": id,
            "properties": { "provisioningState": "Succeeded", "status": "Success", "output": output },
        });
        Ok(Answer::json(status::ANSWERED, &value))
    }

    fn fabric(&self, snapshot: &Snapshot) -> Value {
        let realised = self.state.realised.borrow();
        let mut manager = Vec::new();
        let mut ranges = Vec::new();
        let mut routers = Vec::new();
        for record in snapshot.of_kind(Kind::LoadBalancerManager) {
            let Document::LoadBalancerManager(it) = &*record.document else { continue };
            let pointer = place_of(&self.home, record).pointer;
            let address = it.load_balancer_manager_ip_address;
            manager.extend(address.map(|address| unit(&pointer, address.to_string())));
            let pools = it.vip_ip_pools.iter().map(|pool| self.home.pointer(&pool.id, ""));
            ranges.extend(pools.map(|pool| unit(&pool, format!("a pool of {pointer}"))));
        }
        for record in snapshot.of_kind(Kind::LoadBalancerMux) {
            let routing = &record.value()["properties"]["routerConfiguration"];
            routers.push(unit(&place_of(&self.home, record).pointer, routing.to_string()));
        }
        let overall = realised.overall(snapshot);
        let words: Vec<String> =
            overall.detailed_info.iter().map(|info| self.home.retell(&info.message)).collect();
        let state = format!(
            "{}: revision {} is wanted, {} in force. {}",
            overall.status.as_str(),
            snapshot.revision,
            realised.done,
            words.join("; ")
        );
        let hosts =
            realised.members.iter().map(|(address, member)| unit(&address.to_string(), &member.words));
        let routes = snapshot.desired.frontends().iter().map(|frontend| {
            let address = frontend.address();
            let prefix = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
            unit(&prefix, frontend.name())
        });
        group(
            "Fabric",
            "what carries the load balancers",
            vec![
                section("SlbmVips", "the addresses of the manager", manager),
                section("MuxState", "the state of the balancer host", vec![unit(&self.state.name, state)]),
                section("RouterConfiguration", "the routers of each balancer host", routers),
                section("ConnectedHostInfo", "how members are reached", hosts.collect()),
                section("VipRanges", "the pools that addresses come from", ranges),
                section("MuxRoutes", "the addresses that are answered for", routes.collect()),
            ],
        )
    }

    fn tenant(&self, snapshot: &Snapshot) -> Value {
        let realised = self.state.realised.borrow();
        let vips = snapshot.desired.frontends().iter().map(|frontend| {
            let address = frontend.address();
            let rules = snapshot.desired.rules_at(address);
            let report = report(snapshot, &realised, frontend.name(), address, rules);
            unit(&address.to_string(), report)
        });
        let section = section("VipConsolidatedState", "all that is known of each address", vips.collect());
        group("Tenant", "what tenants asked for", vec![section])
    }
}

/// All that is known of an address, for people.
fn report(
    snapshot: &Snapshot,
    realised: &Realised,
    name: &str,
    address: std::net::IpAddr,
    rules: &[Rule],
) -> String {
    let wanted = snapshot.wanted_since(address);
    let achieved = if wanted <= realised.done { "achieved" } else { "not achieved" };
    let mut text = format!(
        "{address}, frontend {name}\nGoal state: of revision {wanted}, {achieved} (revision {} is in force)\n",
        realised.done
    );
    // Writing to a text does not fail.
    for rule in rules {
        let pool = snapshot.desired.pool(rule.pool());
        let _ = writeln!(
            text,
            "Endpoint {:?} {}:{}, rule {}, pool {}",
            rule.protocol(),
            address,
            rule.frontend_port(),
            rule.name(),
            pool.name()
        );
        for member in pool.members() {
            let seen = realised.members.get(&member.address());
            let state =
                seen.map_or("not looked at yet", |seen| if seen.ready { "reached" } else { &seen.words });
            let _ = writeln!(
                text,
                "  DIP {}:{} ({}) DipHealthProbeEnabled=False DipMonitoredState={state}",
                member.address(),
                rule.backend_port(),
                member.name()
            );
        }
    }
    for counter in realised.counted.iter().flat_map(|counted| counted.of_frontend(address)) {
        let _ = writeln!(text, "{}: {}", counter.name, counter.current_value);
    }
    text
}

fn group(name: &str, description: &str, sections: Vec<Value>) -> Value {
    json!({ "name": name, "description": description, "dataSections": sections })
}

fn section(name: &str, description: &str, units: Vec<Value>) -> Value {
    json!({ "name": name, "description": description, "dataRetrievalFailed": false, "dataUnits": units })
}

fn unit(name: &str, value: impl AsRef<str>) -> Value {
    json!({ "name": name, "value": [value.as_ref()] })
}
