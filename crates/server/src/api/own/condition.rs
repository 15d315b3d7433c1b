//! How the server is, in a few numbers.

use engine::health::State as Found;
use model::Kind;
use serde_json::{Map, Value, json};

use crate::api::State;
use crate::auth::Caller;
use crate::settings::Role;
use crate::stamp::rfc3339;

/// What is accepted and what is realised, and who asks.
pub(super) fn of(state: &State, caller: Option<&Caller>) -> Value {
    let snapshot = state.catalogue.snapshot();
    let realised = state.realised.borrow();
    let overall = realised.overall(&snapshot);
    let message = overall.detailed_info.first().map_or("", |info| info.message.as_str());
    let counts: Map<String, Value> = Kind::ALL
        .into_iter()
        .map(|kind| (kind.segment().to_owned(), snapshot.of_kind(kind).count().into()))
        .collect();
    let found = |state| realised.vitals.ward.pulses().filter(|(_, _, pulse)| pulse.state() == state).count();
    let role = caller.map(|caller| match caller.role {
        Role::Read => "read",
        Role::Write => "write",
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "name": &*state.name,
        "revision": snapshot.revision,
        "realised": {
            "revision": realised.done,
            "state": overall.status.as_str(),
            "message": message,
            "since": rfc3339(realised.since),
        },
        "health": {
            "up": found(Found::Up),
            "down": found(Found::Down),
            "unknown": found(Found::Unknown),
        },
        "counts": counts,
        "shortfalls": snapshot.shortfalls.len(),
        "subscription": state.settings.subscription,
        "resourceGroup": state.settings.resource_group,
        "role": role,
    })
}
