//! `/monitoring/networkControllerStatistics`: how much there is, how it is, and how much of it is used.

use std::collections::BTreeSet;

use model::{Document, Kind};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Service;
use super::answer::Answer;
use crate::Snapshot;
use crate::api::status;
use crate::realised::{Realised, States, Status};

impl Service {
    /// The statistics of this moment.
    pub(super) fn show_statistics(&self) -> Answer {
        let snapshot = self.state.catalogue.snapshot();
        let realised = self.state.realised.borrow();
        let health = [("VirtualNetwork", Kind::VirtualNetwork), ("LoadBalancerMux", Kind::LoadBalancerMux)];
        let health: Vec<Value> =
            health.into_iter().map(|(name, kind)| health_of(name, kind, &snapshot, &realised)).collect();
        let value = json!({
            "resourceRef": "/monitoring/networkControllerStatistics",
            "resourceId": "networkControllerStatistics",
            "instanceId": Uuid::nil().to_string(),
            "properties": {
                "provisioningState": "Succeeded",
                "healthStatistics": health,
                "usageStatistics": usage(&snapshot),
            },
        });
        Answer::json(status::ANSWERED, &value)
    }
}

fn health_of(name: &str, kind: Kind, snapshot: &Snapshot, realised: &Realised) -> Value {
    let states: Vec<Option<Status>> = snapshot
        .of_kind(kind)
        .map(|record| States::of(snapshot, record, realised).get(&[]).map(|state| state.status))
        .collect();
    let count = |wanted: fn(Option<Status>) -> bool| states.iter().filter(|status| wanted(**status)).count();
    json!({
        "resourceType": name,
        "totalResourceCount": states.len(),
        "healthyResourceCount": count(|status| status == Some(Status::Success)),
        "errorResourceCount": count(|status| status == Some(Status::Failure)),
        "warningResourceCount": count(|status| status == Some(Status::Warning)),
        "healthUnknownCount":
            count(|status| matches!(status, None | Some(Status::Uninitialized | Status::InProgress))),
    })
}

fn usage(snapshot: &Snapshot) -> Value {
    let documents = || snapshot.records.values().map(|record| &*record.document);
    let referred: BTreeSet<String> = documents()
        .filter(|document| matches!(document, Document::LoadBalancer(_) | Document::NetworkInterface(_)))
        .flat_map(|document| document.references().into_iter().map(|(_, id)| id.to_lowercase()))
        .collect();
    let addresses: Vec<&str> =
        snapshot.of_kind(Kind::PublicIpAddress).map(|record| record.id.key()).collect();
    let interfaces: Vec<_> = snapshot
        .of_kind(Kind::NetworkInterface)
        .filter_map(|record| {
            let Document::NetworkInterface(interface) = &*record.document else { return None };
            Some(interface)
        })
        .collect();
    let configurations: Vec<_> =
        interfaces.iter().flat_map(|interface| &interface.ip_configurations).collect();
    let serving = configurations.iter().filter(|it| {
        !(it.load_balancer_backend_address_pools.is_empty() && it.load_balancer_inbound_nat_rules.is_empty())
    });
    let used = addresses.iter().filter(|id| referred.contains(**id)).count();
    let with_mac = interfaces.iter().filter(|interface| interface.mac_address.is_some()).count();
    json!([
        utilization("PublicIPUtilization", addresses.len(), used),
        utilization("BackendIPUtilization", configurations.len(), serving.count()),
        utilization("MacPoolUtilization", interfaces.len(), with_mac),
    ])
}

fn utilization(name: &str, total: usize, used: usize) -> Value {
    json!({ "resourceType": name, "totalResourceCount": total, "inUseResourceCount": used })
}
