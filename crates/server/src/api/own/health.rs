//! Who is well, as every probe sees it, with what was heard and since when (PROBE-7).

use std::sync::Arc;

use node::health::HealthView;
use serde_json::Value;

use crate::api::State;

/// Everything that is known.
pub(super) fn of(state: &State) -> Value {
    let vitals = Arc::clone(&state.realised.borrow().vitals);
    let view = HealthView::of(&state.catalogue.snapshot().desired, &vitals);
    serde_json::to_value(view).unwrap_or_default()
}
