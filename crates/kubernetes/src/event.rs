//! Events: what people see with `kubectl describe service`.

use serde::Serialize;

/// Something to tell about a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Event {
    /// `type`
    #[serde(rename = "type")]
    pub kind: EventType,
    /// One word for programs.
    pub reason: &'static str,
    /// What is the matter.
    pub message: String,
}

/// Whether somebody should do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum EventType {
    /// It is as it should be.
    Normal,
    /// It is not.
    Warning,
}

impl Event {
    /// Something that went as it should.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind: EventType::Normal, reason, message: message.into() }
    }

    /// Something that somebody should look at.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind: EventType::Warning, reason, message: message.into() }
    }
}
