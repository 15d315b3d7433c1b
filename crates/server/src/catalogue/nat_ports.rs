//! The ports that members have in the ranges of inbound NAT rules: no document says them, and members keep them (NAT-1).

use model::NatPorts;

use crate::store::{StoreError, Stored};

/// Where they are kept in the store. No resource has such a key.
pub(super) const KEY: &str = "nat ports";

pub(super) fn read(stored: &Stored) -> Result<NatPorts, StoreError> {
    let unread = |cause| StoreError::Record { key: stored.key.clone(), cause };
    let value = serde_json::from_str(&stored.value).map_err(|cause| unread(cause.into()))?;
    NatPorts::from_json(&value).ok_or_else(|| unread("these are no ports of members".into()))
}

/// To be written when they differ from what was.
pub(super) fn stored(ports: &NatPorts, before: &NatPorts) -> Option<Stored> {
    (ports != before).then(|| Stored { key: KEY.to_owned(), value: ports.to_json().to_string().into() })
}
