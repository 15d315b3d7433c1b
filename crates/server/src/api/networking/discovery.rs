//! Which versions there are: the one thing that is found without a version.

use serde_json::json;
use uuid::Uuid;

use super::answer::Answer;
use super::version::Version;
use crate::api::status;

/// The answer to `GET /discovery`.
#[must_use]
pub fn show() -> Answer {
    let tokens: Vec<String> = Version::ALL.iter().map(|version| version.as_str().to_uppercase()).collect();
    let value = json!({
        "resourceRef": "/discovery/discovery",
        "resourceId": "discovery",
        "instanceId": Uuid::nil().to_string(),
        "properties": {
            "provisioningState": "Succeeded",
            "networkControllerVersion": env!("CARGO_PKG_VERSION"),
            "currentRestVersion": Version::NEWEST.as_str().to_uppercase(),
            "supportedRestVersions": tokens,
        },
    });
    Answer::json(status::ANSWERED, &value)
}
