//! The states of one thing, in the words of networking-rest.md 2.1.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::stamp::rfc3339;

/// Whether the data path does what is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Status {
    /// Nobody has tried yet.
    Uninitialized,
    /// What was written last is on its way.
    InProgress,
    /// It does.
    Success,
    /// In part.
    Warning,
    /// It does not.
    Failure,
}

impl Status {
    /// As interfaces write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uninitialized => "Uninitialized",
            Self::InProgress => "InProgress",
            Self::Success => "Success",
            Self::Warning => "Warning",
            Self::Failure => "Failure",
        }
    }

    /// Of several things that are one: a failure only when all of them failed.
    #[must_use]
    pub fn together(parts: impl IntoIterator<Item = Self>) -> Self {
        let parts: Vec<Self> = parts.into_iter().collect();
        let any = |status| parts.contains(&status);
        match () {
            () if parts.is_empty() => Self::Success,
            () if parts.iter().all(|part| *part == Self::Failure) => Self::Failure,
            () if any(Self::InProgress) || any(Self::Uninitialized) => Self::InProgress,
            () if any(Self::Failure) || any(Self::Warning) => Self::Warning,
            () => Self::Success,
        }
    }
}

/// Who says something about a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Source {
    /// What concerns the resource as a whole.
    ResourceGlobal,
    /// What balances.
    SoftwareLoadBalancerManager,
}

/// Why a state is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Info {
    /// Who says it.
    pub source: Source,
    /// What is so, and how to mend it.
    pub message: String,
    /// The same for programs.
    pub code: String,
}

/// What has become of a resource or child.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationState {
    /// In one word.
    pub status: Status,
    /// Why.
    pub detailed_info: Vec<Info>,
    /// When it was last looked at.
    #[serde(serialize_with = "stamp")]
    pub last_updated_time: SystemTime,
    /// The instance of the resource or child. Empty where it has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Of a frontend or a public address: what listens there. `None`: it is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vip_endpoint_states: Option<Vec<VipEndpointState>>,
}

/// What has become of one protocol and port of a frontend.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VipEndpointState {
    /// In one word.
    pub status: Status,
    /// When it was last looked at.
    #[serde(serialize_with = "stamp")]
    pub last_updated_time: SystemTime,
    /// `Tcp:203.0.113.10:443`
    pub vip_endpoint: String,
    /// Where it leads.
    pub dip_endpoint_states: Vec<DipEndpointState>,
}

/// What has become of one member of one protocol and port.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DipEndpointState {
    /// In one word.
    pub status: Status,
    /// Why.
    pub detailed_info: Vec<Info>,
    /// Since when it is so.
    #[serde(serialize_with = "stamp")]
    pub last_updated_time: SystemTime,
    /// `10.0.0.4:8443`
    pub dip_endpoint: String,
    /// The address of the member's host, as far as it is known.
    #[serde(rename = "hostIPAddress")]
    pub host_ip_address: String,
    /// The member's host, as far as it is known.
    pub host_id: String,
    /// The instance of the member's network interface; empty for one that is known by its address only.
    pub adapter_id: String,
    /// The probe that fails.
    pub probe_rule: String,
}

impl ConfigurationState {
    /// A state with nothing to explain.
    #[must_use]
    pub const fn new(status: Status, at: SystemTime) -> Self {
        Self {
            status,
            detailed_info: Vec::new(),
            last_updated_time: at,
            id: String::new(),
            vip_endpoint_states: None,
        }
    }

    /// The same, of this instance.
    #[must_use]
    pub fn of(self, instance: impl ToString) -> Self {
        Self { id: instance.to_string(), ..self }
    }

    /// Takes over that a part of it, or something it needs, is so.
    pub(super) fn join(&mut self, status: Status, info: impl IntoIterator<Item = Info>) {
        self.status = match (self.status, status) {
            (Status::Failure, _) | (_, Status::Failure) => Status::Failure,
            (own, other) => Status::together([own, other]),
        };
        for one in info {
            if !self.detailed_info.contains(&one) {
                self.detailed_info.push(one);
            }
        }
    }
}

fn stamp<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&rfc3339(*at))
}
