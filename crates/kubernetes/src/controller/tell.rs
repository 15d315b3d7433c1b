//! Events in the cluster. What is told again within a while is counted on the event that is there.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::patch::{ANSWER, said};
use crate::event::{Event, EventType};

/// Who tells.
pub(super) const COMPONENT: &str = "forebay-kubernetes";
/// A cluster keeps events for an hour; one that is told again sooner is counted.
const KEPT: Duration = Duration::from_secs(45 * 60);
/// What a cluster takes as a message.
const LONGEST: usize = 1_024;

/// Tells events, and remembers what was told.
pub(super) struct Teller {
    client: Client,
    instance: String,
    told: BTreeMap<(String, Event), Told>,
    /// Tells apart the events of this process.
    number: u64,
    began: i64,
}

struct Told {
    name: String,
    count: i32,
    until: Instant,
}

impl Teller {
    pub fn new(client: Client, instance: String) -> Self {
        let began = Timestamp::now().as_microsecond();
        Self { client, instance, told: BTreeMap::new(), number: 0, began }
    }

    /// Tells an event of a Service. That nobody hears it is no reason to stop.
    pub async fn tell(&mut self, service: &core::Service, event: &Event) {
        let meta = &service.metadata;
        let key = (meta.uid.clone().unwrap_or_default(), event.clone());
        let now = Instant::now();
        self.told.retain(|_, told| told.until > now);
        let api: Api<core::Event> =
            Api::namespaced(self.client.clone(), meta.namespace.as_deref().unwrap_or("default"));
        let result = match self.told.get_mut(&key) {
            Some(told) => {
                told.count = told.count.saturating_add(1);
                let again = json!({ "count": told.count, "lastTimestamp": Time(Timestamp::now()) });
                within(api.patch(&told.name, &PatchParams::default(), &Patch::Merge(again))).await
            }
            None => {
                let told = self.event(service, event);
                let name = told.metadata.name.clone().unwrap_or_default();
                let result = within(api.create(&PostParams::default(), &told)).await;
                if result.is_ok() {
                    self.told.insert(key.clone(), Told { name, count: 1, until: now + KEPT });
                }
                result
            }
        };
        if let Err(error) = result {
            // It may be that the cluster has forgotten it: next time it is told anew.
            self.told.remove(&key);
            tracing::warn!("event {} was not told: {error}", event.reason);
        }
    }

    fn event(&mut self, service: &core::Service, event: &Event) -> core::Event {
        self.number += 1;
        let meta = &service.metadata;
        let now = Timestamp::now();
        let name = meta.name.clone().unwrap_or_default();
        core::Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}.{:x}", self.began, self.number)),
                namespace: meta.namespace.clone(),
                ..ObjectMeta::default()
            },
            involved_object: core::ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Service".to_owned()),
                name: meta.name.clone(),
                namespace: meta.namespace.clone(),
                resource_version: meta.resource_version.clone(),
                uid: meta.uid.clone(),
                ..core::ObjectReference::default()
            },
            type_: Some(match event.kind {
                EventType::Normal => "Normal".to_owned(),
                EventType::Warning => "Warning".to_owned(),
            }),
            reason: Some(event.reason.to_owned()),
            message: Some(cut(&event.message)),
            source: Some(core::EventSource {
                component: Some(COMPONENT.to_owned()),
                ..core::EventSource::default()
            }),
            reporting_component: Some(COMPONENT.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            ..core::Event::default()
        }
    }
}

/// An answer, or why there is none.
async fn within<T>(answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    match timeout(ANSWER, answer).await {
        Ok(answer) => answer.map_err(|error| said(&error)),
        Err(_) => Err(format!("no answer in {} s", ANSWER.as_secs())),
    }
}

/// As much of a message as a cluster takes.
fn cut(message: &str) -> String {
    if message.len() <= LONGEST {
        return message.to_owned();
    }
    let mut end = LONGEST - '…'.len_utf8();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_at_a_letter() {
        assert_eq!(cut("short"), "short");
        let long = "ä".repeat(LONGEST);
        assert!(cut(&long).len() <= LONGEST);
        assert!(cut(&long).ends_with("ä…"));
    }
}
