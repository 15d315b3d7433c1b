//! What has become of things, and what was counted: `configurationState` and `counters`.

use std::net::IpAddr;

use model::Document;
use serde_json::{Map, Value, json};

use super::translate::reference::Home;
use super::version::Version;
use crate::Snapshot;
use crate::catalogue::Record;
use crate::realised::{Counted, Counter, Realised, States};

/// What is known of one resource and of everything in it.
#[derive(Debug)]
pub struct Known<'a> {
    snapshot: &'a Snapshot,
    record: &'a Record,
    states: States,
    counted: Option<Counted>,
}

/// The names of counters, and what each is good for.
const COUNTERS: [(&str, &str); 7] = [
    ("TotalPackets", "Diagnostics"),
    ("DroppedPackets", "Diagnostics"),
    ("FlowEntries", "Diagnostics"),
    ("DroppedFlowEntries", "Diagnostics"),
    ("SynPackets", "Diagnostics"),
    ("AverageBandwidth", "Performance"),
    ("PacketsPerSecond", "Performance"),
];

impl<'a> Known<'a> {
    /// Of a resource.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot, record: &'a Record, realised: &Realised) -> Self {
        let states = States::of(snapshot, record, realised);
        Self { snapshot, record, states, counted: realised.counted.clone() }
    }

    /// Further properties of the resource, or of a child of it.
    #[must_use]
    pub fn properties(
        &self,
        child: &[(String, String)],
        version: Version,
        home: &Home,
    ) -> Map<String, Value> {
        let mut properties = Map::new();
        let Some(shows) = Shows::of(&self.record.document, child).filter(|shows| version >= shows.since)
        else {
            return properties;
        };
        if let Some(state) = self.states.get(child) {
            let mut state = serde_json::to_value(state).unwrap_or_default();
            retell(&mut state, home);
            properties.insert("configurationState".to_owned(), state);
        }
        if version >= Version::V2
            && let Some(counters) = self.counters(shows.counters, child)
        {
            properties.insert("counters".to_owned(), counters);
        }
        properties
    }

    fn counters(&self, counts: Counts, child: &[(String, String)]) -> Option<Value> {
        match counts {
            Counts::Nothing => None,
            Counts::Frontend => {
                let address =
                    child.last().and_then(|(_, name)| self.snapshot.frontend_address(&self.record.id, name));
                Some(self.of_address(address))
            }
            Counts::Address(address) => Some(self.of_address(address)),
            Counts::Mux => Some(self.of_mux()),
        }
    }

    fn of_address(&self, address: Option<IpAddr>) -> Value {
        let counted = self.counted.as_ref().zip(address);
        let counters = counted.map(|(counted, address)| counted.of_frontend(address)).unwrap_or_default();
        match counters.is_empty() {
            false => serde_json::to_value(counters).unwrap_or_default(),
            true => COUNTERS.iter().map(|(name, category)| counter(name, category, 0)).collect(),
        }
    }

    /// The sums over all frontends of each version of IP: there is one balancer host.
    fn of_mux(&self) -> Value {
        let mut counters = Vec::new();
        for (family, is_v4) in [("IPv4", true), ("IPv6", false)] {
            let frontends = self.counted.iter().flat_map(|counted| {
                let frontends =
                    counted.stats.frontends.iter().filter(move |it| it.address.is_ipv4() == is_v4);
                frontends.flat_map(|frontend| counted.of_frontend(frontend.address))
            });
            let all: Vec<Counter> = frontends.collect();
            for (name, category) in COUNTERS {
                let sum = all
                    .iter()
                    .filter(|counter| counter.name == name)
                    .map(|counter| counter.current_value)
                    .sum();
                counters.push(counter(&format!("{name}{family}"), category, sum));
            }
        }
        counters.into()
    }
}

/// What of it is shown, and since when.
struct Shows {
    since: Version,
    counters: Counts,
}

#[derive(Clone, Copy)]
enum Counts {
    Nothing,
    Frontend,
    Address(Option<IpAddr>),
    Mux,
}

impl Shows {
    fn of(document: &Document, child: &[(String, String)]) -> Option<Self> {
        let shows = |since, counters| Some(Self { since, counters });
        match (document, child.last()) {
            (Document::LoadBalancer(_), Some((collection, _)))
                if collection == "frontendIPConfigurations" =>
            {
                shows(Version::V2, Counts::Frontend)
            }
            (Document::LoadBalancer(_), _) => shows(Version::V2, Counts::Nothing),
            (Document::PublicIpAddress(address), None) => {
                shows(Version::V2, Counts::Address(address.ip_address))
            }
            (Document::LoadBalancerMux(_), None) => shows(Version::V1, Counts::Mux),
            (Document::NetworkInterface(_) | Document::VirtualNetwork(_), None) => {
                shows(Version::V1, Counts::Nothing)
            }
            _ => None,
        }
    }
}

fn counter(name: &str, category: &str, value: u64) -> Value {
    json!({
        "name": name,
        "unit": "Decimal",
        "currentValue": value,
        "context": { "source": "SoftwareLoadBalancer", "category": category },
    })
}

/// Messages with pointers where canonical ids are.
fn retell(value: &mut Value, home: &Home) {
    match value {
        Value::String(text) if text.contains("/subscriptions/") => *text = home.retell(text),
        Value::Array(values) => values.iter_mut().for_each(|value| retell(value, home)),
        Value::Object(object) => object.values_mut().for_each(|value| retell(value, home)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
