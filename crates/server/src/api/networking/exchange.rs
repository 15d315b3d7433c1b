//! What a request says beside its path and body, and what each answer carries.

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use uuid::Uuid;

use super::answer::Answer;
use super::sent::Key;
use crate::catalogue::Condition;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const CLIENT_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
const RETURN_CLIENT_ID: HeaderName = HeaderName::from_static("x-ms-return-client-request-id");

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The id of it, which is that of the operation if it is a write.
    pub id: Uuid,
    /// What is done.
    pub method: Method,
    /// What must be so before a write.
    pub condition: Condition,
    /// What the client calls it.
    pub client_id: Option<HeaderValue>,
    /// Whether the body is said to be JSON.
    pub is_json: bool,
    returns_client_id: bool,
}

impl Exchange {
    /// What a request says.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let headers = request.headers();
        let text = |name: &HeaderName| headers.get(name)?.to_str().ok().map(str::to_owned);
        Self {
            id: Uuid::new_v4(),
            method: request.method().clone(),
            condition: Condition { if_match: text(&IF_MATCH), if_none_match: text(&IF_NONE_MATCH) },
            client_id: headers.get(&CLIENT_ID).cloned(),
            is_json: is_json(headers),
            returns_client_id: text(&RETURN_CLIENT_ID).is_none_or(|wish| !wish.eq_ignore_ascii_case("false")),
        }
    }

    /// The answer with what belongs to the exchange. One that was given before keeps the id it had.
    #[must_use]
    pub fn finish(&self, mut answer: Answer) -> Answer {
        if !answer.headers.contains_key(&REQUEST_ID) {
            answer = self.identify(answer);
        }
        if let Some(id) = self.client_id.clone().filter(|_| self.returns_client_id) {
            answer.headers.insert(CLIENT_ID, id);
        }
        answer
    }

    /// What makes a write the same as one before; `None` when the client gives no id.
    #[must_use]
    pub fn key(&self, path: &str, body: &Value) -> Option<Key> {
        let id = self.client_id.as_ref()?.as_bytes().to_vec();
        let Condition { if_match, if_none_match } = &self.condition;
        let conditions = format!("{if_match:?} {if_none_match:?}");
        let request = format!("{} {path} {conditions} {body}", self.method);
        Some(Key {
            id,
            request: ring::digest::digest(&ring::digest::SHA256, request.as_bytes()).as_ref().to_vec(),
        })
    }

    /// The answer with the id of the request, which is that of its operation. There is no header that leads to that:
    /// every write is finished when it is answered.
    #[must_use]
    pub fn identify(&self, answer: Answer) -> Answer {
        answer.with(REQUEST_ID, &self.id.to_string())
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    ["application/json", "text/json"].iter().any(|json| kind.eq_ignore_ascii_case(json))
}
