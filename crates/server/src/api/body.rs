//! Bodies: JSON, of a length, a depth and a patience that have bounds (API-5).

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use model::Code;
use serde_json::{Map, Value};

use super::Refusal;
use crate::catalogue::{Fault, Refused};
use crate::settings::Settings;

/// How long a body may take from its first byte to its last.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The JSON of a request's body. Its content type is not looked at: clients send all sorts, and nothing else is spoken here.
///
/// # Errors
/// It is too long, too slow, too deep, or no JSON.
pub async fn read(request: Request, settings: &Settings) -> Result<Value, Refusal> {
    let limit = settings.max_body;
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > limit as u64) {
        return Err(Refusal::BodyTooLarge { limit });
    }
    let bytes = collect(request.into_body(), limit, PATIENCE).await?;
    parse(&bytes, settings.max_depth)
}

/// The same, where nothing but an object makes sense.
///
/// # Errors
/// As [`read`], or it is something else.
pub async fn read_object(request: Request, settings: &Settings) -> Result<Map<String, Value>, Refusal> {
    match read(request, settings).await? {
        Value::Object(object) => Ok(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            let message = "the body is no object: write `{ … }`";
            Err(Refused::Wrong(Fault::new(Code::InvalidRequestFormat.as_str(), message)).into())
        }
    }
}

async fn collect(body: Body, limit: usize, within: Duration) -> Result<Vec<u8>, Refusal> {
    let whole = tokio::time::timeout(within, Limited::new(body, limit).collect()).await;
    match whole {
        Err(_) => Err(Refusal::BodyTooSlow { within }),
        Ok(Ok(body)) => Ok(body.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge { limit }),
        Ok(Err(_)) => Err(Refusal::BodyBroken),
    }
}

fn parse(bytes: &[u8], max_depth: usize) -> Result<Value, Refusal> {
    let wrong = |words: String| Refusal::NotJson(format!("the body is not JSON that can be read: {words}"));
    let text = std::str::from_utf8(bytes)
        .map_err(|error| wrong(format!("it is not UTF-8 at {}", place(bytes, error.valid_up_to()))))?;
    // Windows writes a byte order mark before redirected output.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(wrong("it is empty".to_owned()));
    }
    if let Some(at) = too_deep(text.as_bytes(), max_depth) {
        let at = place(text.as_bytes(), at);
        return Err(wrong(format!("it is nested deeper than {max_depth} levels at {at}")));
    }
    model::document::json_of(text).map_err(|words| Refusal::NotJson(format!("the body is {words}")))
}

/// Where the first value begins that is nested too deep. The reader would find it as well, but on a stack of its own size.
fn too_deep(text: &[u8], max_depth: usize) -> Option<usize> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > max_depth {
                    return Some(at);
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

fn place(bytes: &[u8], at: usize) -> String {
    let before = &bytes[..at.min(bytes.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    format!("line {line} column {column}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    // API-5
    #[test]
    fn what_is_no_json_is_said_with_its_place() {
        check("", "it is empty");
        check(" \n", "it is empty");
        check("{\"a\":\n  1,}", "line 2 column 5");
        check("{\"a\": tru}", "line 1 column");
        check("{\"a\": 1,\n\"a\": 2}", "the field `a` is given twice: keep one at line 2 column");
        check("[[[[[[[[[", "deeper than 8 levels at line 1 column 9");
        check("{\n\"a\":[[[[[[[[1]]]]]]]]}", "deeper than 8 levels at line 2 column 12");

        fn check(text: &str, wanted: &str) {
            let error = parse(text.as_bytes(), 8).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_no_text_is_said_with_its_place() {
        let error = parse(b"{\n\"\xff\"}", 8).unwrap_err().to_string();
        assert!(error.contains("not UTF-8 at line 2 column 2"), "{error}");
    }

    #[test]
    fn brackets_within_texts_are_not_depth() {
        let text = r#"{"a": "[[[[[[[[[[\"[[[[[", "b": [[[[[[[1]]]]]]]}"#;
        assert!(parse(text.as_bytes(), 8).is_ok());
        assert!(parse("\u{feff}{}".as_bytes(), 8).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_a_length_and_a_time() {
        let endless = Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>("0123456789")));
        assert!(matches!(collect(endless, 100, PATIENCE).await, Err(Refusal::BodyTooLarge { limit: 100 })));
        let silent = Body::from_stream(stream::pending::<Result<&'static str, std::io::Error>>());
        assert!(matches!(collect(silent, 100, PATIENCE).await, Err(Refusal::BodyTooSlow { .. })));
        let broken = Body::from_stream(stream::iter([Ok("{"), Err(std::io::Error::other("gone"))]));
        assert!(matches!(collect(broken, 100, PATIENCE).await, Err(Refusal::BodyBroken)));
        assert_eq!(collect(Body::from("{}"), 2, PATIENCE).await.unwrap(), b"{}");
    }
}
