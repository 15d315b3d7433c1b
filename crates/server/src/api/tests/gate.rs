//! Who is let in, and what is written down of it.

use std::time::Instant;

use axum::http::HeaderValue;

use super::{Answer, Rig, furnished, network, versioned};
use crate::auth::sha256;
use crate::hex;
use crate::settings::{Role, Settings, Token};

const NET: &str = "virtualNetworks/net";

fn token(name: &str, role: Role) -> Token {
    let sha256 = Some(hex::encode(&sha256(format!("secret of {name}").as_bytes())));
    Token { name: name.to_owned(), role, sha256, file: None }
}

async fn guarded() -> Rig {
    let tokens = vec![token("ops", Role::Write), token("eyes", Role::Read)];
    Rig::with(Settings { tokens, ..Settings::default() }).await
}

// AUTH-1
#[tokio::test]
async fn a_role_says_what_somebody_may_do() {
    let rig = guarded().await;
    check(&rig, "GET", &[], 401, "AuthenticationFailed").await;
    check(&rig, "GET", &["authorization: Bearer wrong"], 401, "AuthenticationFailed").await;
    check(&rig, "GET", &["authorization: Basic c2VjcmV0"], 401, "AuthenticationFailed").await;
    check(&rig, "PUT", &["authorization: Bearer secret of eyes"], 403, "AuthorizationFailed").await;
    check(&rig, "DELETE", &["authorization: Bearer secret of eyes"], 403, "AuthorizationFailed").await;
    check(&rig, "GET", &["authorization: Bearer secret of eyes"], 404, "ResourceNotFound").await;
    check(&rig, "PUT", &["authorization: Bearer secret of ops"], 201, "").await;
    check(&rig, "GET", &["authorization: Bearer secret of eyes"], 200, "").await;
    let asked = rig.ask("GET", &versioned(NET), &[], "").await;
    assert!(asked.header("www-authenticate").starts_with("Bearer"), "{asked:?}");

    async fn check(rig: &Rig, method: &str, headers: &[&str], status: u16, code: &str) {
        let answer = rig.ask(method, &versioned(NET), headers, network().to_string()).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{method} {headers:?}");
    }
}

// AUTH-1
#[tokio::test]
async fn who_may_read_may_ask_for_the_health_of_a_rule() {
    let rig = guarded().await;
    let rule = versioned("loadBalancers/web/loadBalancingRules/http");
    let health = rule.replace("http?", "http/health?");
    let eyes = &["authorization: Bearer secret of eyes"];
    assert_eq!(rig.ask("POST", &health, eyes, "").await.status, 404);
    assert_eq!(rig.ask("POST", &rule, eyes, "").await.status, 403);
    assert_eq!(rig.ask("PUT", &health, eyes, "{}").await.status, 403);
    assert_eq!(rig.ask("POST", &health, &[], "").await.status, 401);
    assert_eq!(rig.ask("GET", "/metrics", &[], "").await.status, 401);
    assert_eq!(rig.ask("GET", "/metrics", eyes, "").await.status, 200);
}

#[tokio::test]
async fn nothing_but_health_is_told_to_strangers() {
    let rig = guarded().await;
    for path in [
        "/",
        "/openapi.json",
        "/forebay/v1/status",
        "/forebay/v1/watch",
        "/forebay/v1/health",
        "/metrics",
        "/networking/v1/loadBalancers",
        "/x",
    ] {
        assert_eq!(rig.ask("GET", path, &[], "").await.status, 401, "{path}");
    }
    assert_eq!(rig.ask("POST", "/forebay/v1/transaction", &[], "{}").await.status, 401);
    assert_eq!(rig.ask("GET", "/healthz", &[], "").await.status, 200);
    assert_eq!(rig.ask("PUT", "/healthz", &[], "").await.status, 403);
}

// API-5
#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let rig = Rig::with(Settings { requests_per_second: 3, ..Settings::default() }).await;
    let last = too_often(3, 200, async |_| rig.ask("GET", "/healthz", &[], "").await).await;
    assert_eq!((last.status, last.code(), last.header("retry-after")), (429, "TooManyRequests", "1"));
}

#[tokio::test]
async fn guesses_are_counted_apart_from_who_is_known() {
    let tokens = vec![token("ops", Role::Write)];
    let rig = Rig::with(Settings { tokens, requests_per_second: 5, ..Settings::default() }).await;
    too_often(5, 401, async |guess| {
        let guess = format!("authorization: Bearer guess{guess}");
        rig.ask("GET", &versioned(NET), &[&guess], "").await
    })
    .await;
    let known = rig.ask("GET", &versioned(NET), &["authorization: Bearer secret of ops"], "").await;
    assert_eq!(known.status, 404);
}

#[tokio::test]
async fn who_asks_for_health_too_often_keeps_nobody_else_from_it() {
    let tokens = vec![token("ops", Role::Write)];
    let rig = Rig::with(Settings { tokens, requests_per_second: 3, ..Settings::default() }).await;
    too_often(3, 200, async |_| rig.ask_from("192.0.2.1", "/healthz").await).await;
    assert_eq!(rig.ask_from("192.0.2.2", "/healthz").await.status, 200);
}

// AUTH-1
#[tokio::test]
async fn a_page_from_elsewhere_does_not_get_in_by_a_browser_of_this_machine() {
    let rig = furnished().await;
    check(&rig, &["host: 127.0.0.1:8443"], 200).await;
    check(&rig, &["host: [::1]:8443"], 200).await;
    check(&rig, &["host: localhost"], 200).await;
    check(&rig, &["host: localhost:8443", "origin: https://localhost:8443"], 200).await;
    check(&rig, &["host: localhost:8443", "origin: https://evil.example"], 403).await;
    check(&rig, &["host: localhost:8443", "origin: null"], 403).await;
    check(&rig, &["host: evil.example:8443"], 403).await;
    // Who is asked for a credential that browsers do not have need not be asked for this.
    let headers = ["host: lb.example", "authorization: Bearer secret of eyes"];
    assert_eq!(guarded().await.ask("GET", &versioned(NET), &headers, "").await.status, 404);

    async fn check(rig: &Rig, headers: &[&str], wanted: u16) {
        let answer = rig.ask("GET", &versioned(NET), headers, "").await;
        assert_eq!(answer.status, wanted, "{headers:?}");
    }
}

#[tokio::test]
async fn every_answer_has_a_number_and_the_client_s_when_it_wants_it() {
    let rig = furnished().await;
    let plain = rig.get(NET).await;
    assert_eq!(plain.header("x-ms-request-id").len(), 36);
    assert_eq!(plain.header("x-ms-correlation-request-id"), plain.header("x-ms-request-id"));
    let headers = ["x-ms-client-request-id: mine", "x-ms-return-client-request-id: True"];
    let asked = rig.ask("GET", &versioned(NET), &headers, "").await;
    assert_eq!(asked.header("x-ms-client-request-id"), "mine");
    assert_eq!(rig.ask("GET", &versioned(NET), &headers[..1], "").await.header("x-ms-client-request-id"), "");
}

#[tokio::test]
async fn strange_headers_break_nothing() {
    let rig = furnished().await;
    let strange = HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    for name in ["authorization", "origin", "if-match", "x-ms-client-request-id", "content-length"] {
        let mut request = axum::extract::Request::new(axum::body::Body::from("{}"));
        *request.method_mut() = axum::http::Method::PUT;
        *request.uri_mut() = versioned(NET).parse().unwrap();
        request.headers_mut().insert(name, strange.clone());
        let answer = tower::ServiceExt::oneshot(rig.router.clone(), request).await.unwrap();
        assert!(answer.status().as_u16() < 500, "{name}");
    }
}

/// Asks until it is told that this is too often, and gives that answer; those before have this status. They are as many as may be asked
/// at once at least, and at most as many as may be asked in all this time: a busy machine may let some pass between two of them.
async fn too_often(per_second: u32, status: u16, ask: impl AsyncFn(u32) -> Answer) -> Answer {
    let began = Instant::now();
    for number in 0..100 {
        let answer = ask(number).await;
        let most = f64::from(per_second) * (1.0 + began.elapsed().as_secs_f64());
        if answer.status == 429 {
            assert!(number >= per_second, "refused after {number}");
            return answer;
        }
        assert_eq!(answer.status, status);
        assert!(f64::from(number) < most, "{number} were let in, and {most} may be");
    }
    panic!("a hundred were let in");
}
