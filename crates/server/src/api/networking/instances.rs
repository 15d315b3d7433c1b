//! `/internalResourceInstances`: from instance ids to resources.

use serde_json::{Value, json};

use super::Service;
use super::answer::Answer;
use super::refusal::Refusal;
use super::show::place_of;
use crate::api::status;
use crate::catalogue::{Record, Refused};

impl Service {
    /// All instances of resources.
    pub(super) fn show_instances(&self) -> Answer {
        let snapshot = self.state.catalogue.snapshot();
        let all = snapshot.records.values().map(|record| self.instance(record));
        Answer::list(status::ANSWERED, all)
    }

    /// One of them.
    pub(super) fn show_instance(&self, id: &str) -> Result<Answer, Refusal> {
        let snapshot = self.state.catalogue.snapshot();
        let is_it =
            |record: &&std::sync::Arc<Record>| record.instance(&[]).to_string().eq_ignore_ascii_case(id);
        let absent = || Refused::NotFound { id: format!("/internalResourceInstances/{id}") };
        let record = snapshot.records.values().find(is_it).ok_or_else(absent)?;
        Ok(Answer::json(status::ANSWERED, &self.instance(record)))
    }

    fn instance(&self, record: &Record) -> Value {
        let id = record.instance(&[]).to_string();
        json!({
            "resourceRef": format!("/internalResourceInstances/{id}"),
            "resourceId": id,
            "instanceId": id,
            "properties": {
                "provisioningState": "Succeeded",
                "resourceReference": place_of(&self.home, record).pointer,
            },
        })
    }
}
