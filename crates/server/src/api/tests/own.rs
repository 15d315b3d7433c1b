//! What is ours.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::Request;
use engine::health::{Outcome, Reason};
use http_body_util::BodyExt;
use node::health::{Events, Happening};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt;

use super::{Rig, at, balancer, furnished, network};

const TRANSACTION: &str = "/forebay/v1/transaction";

fn with_id(mut document: Value, place: &str) -> Value {
    document["id"] = json!(at(place));
    document["name"] = json!(place.rsplit('/').next());
    document["type"] = json!(format!("Microsoft.Network/{}", place.split('/').next().unwrap()));
    document
}

async fn transact(rig: &Rig, body: Value) -> (u16, Value) {
    let answer = rig.ask("POST", TRANSACTION, &[], body.to_string()).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn many_writes_are_one() {
    let rig = Rig::new().await;
    let put = json!([
        with_id(balancer("10.0.0.10"), "loadBalancers/web"),
        with_id(network(), "virtualNetworks/net")
    ]);
    let (status, tried) = transact(&rig, json!({ "dryRun": true, "put": put })).await;
    assert_eq!((status, &tried["revision"], &tried["dryRun"]), (200, &json!(0), &json!(true)), "{tried:#}");
    assert_eq!(rig.get("loadBalancers/web").await.status, 404);
    let (_, done) = transact(&rig, json!({ "dryRun": false, "put": put, "delete": [] })).await;
    assert_eq!((&done["revision"], &done["dryRun"]), (&json!(1), &json!(false)));
    let web = at("loadBalancers/web");
    assert_eq!(done["changes"][0], json!({ "id": web, "action": "create" }));
    let (_, again) = transact(&rig, json!({ "put": put })).await;
    assert_eq!(again["changes"][1]["action"], "unchanged");
    assert_eq!(again["revision"], 1);
    let (_, gone) = transact(&rig, json!({ "delete": [web] })).await;
    assert_eq!(gone["changes"], json!([{ "id": web, "action": "delete" }]));
    let (_, gone) = transact(&rig, json!({ "delete": [web] })).await;
    assert_eq!(gone["changes"], json!([{ "id": web, "action": "unchanged" }]));
}

#[tokio::test]
async fn a_transaction_is_made_for_a_revision() {
    let rig = furnished().await;
    let (status, answer) = transact(&rig, json!({ "put": [], "ifRevision": 1 })).await;
    assert_eq!((status, &answer["error"]["code"]), (412, &json!("PreconditionFailed")), "{answer:#}");
    assert_eq!(transact(&rig, json!({ "put": [], "ifRevision": 2 })).await.0, 200);
}

// API-2
#[tokio::test]
async fn every_problem_of_every_document_is_said() {
    let rig = furnished().await;
    let mut nameless = balancer("10.0.0.11");
    nameless["properties"]["colour"] = json!("blue");
    let body = json!({
        "put": [nameless, { "name": "b", "type": "Microsoft.Network/loadBalancers" }, with_id(json!({ "x": 1 }), "loadBalancers/c"), 7],
        "delete": [3, "web", at("loadBalancers/web/probes/a")],
        "dryrun": true,
    });
    let (status, answer) = transact(&rig, body).await;
    assert_eq!(status, 400);
    let targets: Vec<&str> = answer["error"]["details"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["target"].as_str())
        .collect();
    for wanted in [
        "put/0: colour",
        "b: id",
        "loadBalancers/c: x",
        "put/3",
        "delete/0",
        "delete/1",
        "delete/2",
        "dryrun",
    ] {
        assert!(targets.iter().any(|target| target.contains(wanted)), "{wanted}: {targets:#?}");
    }
    assert_eq!(rig.state.catalogue.snapshot().revision, 2);
}

#[tokio::test]
async fn one_resource_is_written_once() {
    let rig = Rig::new().await;
    let one = with_id(network(), "virtualNetworks/net");
    let (status, answer) = transact(&rig, json!({ "put": [one, one] })).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("InvalidRequestContent")), "{answer:#}");
}

#[tokio::test]
async fn the_server_says_how_it_is() {
    let rig = furnished().await;
    let status = rig.ask("GET", "/forebay/v1/status", &[], "").await.body;
    assert_eq!(
        (&status["name"], &status["revision"], &status["role"]),
        (&json!("default"), &json!(2), &json!("write"))
    );
    assert_eq!(
        (&status["counts"]["loadBalancers"], &status["counts"]["virtualServers"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(status["realised"]["state"], "Uninitialized");
    assert_eq!(status["resourceGroup"], "forebay");
    assert!(
        status["realised"]["message"].is_string() && status["realised"]["since"].is_string(),
        "{status:#}"
    );
    let refused = rig.ask("DELETE", "/forebay/v1/status", &[], "").await;
    assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD"));
}

#[tokio::test]
async fn who_watches_sees_everything_and_then_every_change() {
    let rig = furnished().await;
    let mut lines = Lines::open(&rig, "/forebay/v1/watch").await;
    let seen = [lines.next().await, lines.next().await, lines.next().await, lines.next().await];
    let words: Vec<String> = seen.iter().map(short).collect();
    assert_eq!(words, ["reset 2 ", "put 2 web", "put 2 net", "synced 2 "]);
    assert_eq!(seen[1]["etag"], seen[1]["document"]["etag"]);
    assert_eq!(seen[1]["document"]["id"], seen[1]["id"]);
    rig.put("loadBalancers/web", &balancer("10.0.0.12")).await;
    let changed = lines.next().await;
    assert_eq!(short(&changed), "put 3 web");
    let front = &changed["document"]["properties"]["frontendIPConfigurations"][0]["properties"];
    assert_eq!(front["privateIPAddress"], "10.0.0.12");
    assert_eq!(short(&lines.next().await), "alive 3 ", "there is no more of this revision");
    rig.delete("loadBalancers/WEB").await;
    let gone = lines.next().await;
    assert_eq!((short(&gone), &gone["id"]), ("delete 4 web".to_owned(), &json!(at("loadBalancers/web"))));
}

#[tokio::test]
async fn a_watch_goes_on_after_a_revision() {
    let rig = furnished().await;
    rig.put("loadBalancers/web", &balancer("10.0.0.12")).await;
    let mut lines = Lines::open(&rig, "/forebay/v1/watch?from=1").await;
    assert_eq!(short(&lines.next().await), "put 3 web");
    let mut lines = Lines::open(&rig, "/forebay/v1/watch?from=99").await;
    assert_eq!(short(&lines.next().await), "reset 3 ");
    let refused = rig.ask("GET", "/forebay/v1/watch?from=now", &[], "").await;
    assert_eq!((refused.status, refused.code()), (400, "InvalidRequestContent"));
}

#[tokio::test(start_paused = true)]
async fn who_watches_hears_that_the_server_is_there() {
    let rig = Rig::new().await;
    let mut lines = Lines::open(&rig, "/forebay/v1/watch?from=0").await;
    assert_eq!(short(&lines.next().await), "alive 0 ");
    assert_eq!(short(&lines.next().await), "alive 0 ");
}

#[tokio::test]
async fn who_asks_for_events_hears_what_happens_to_members() {
    let rig = furnished().await;
    let mut lines = Lines::open(&rig, "/forebay/v1/watch?from=2&events=true").await;
    let mut quiet = Lines::open(&rig, "/forebay/v1/watch?from=2").await;
    let mut events = Events::default();
    let (probe, member, at) = ("web/alive".to_owned(), [10, 0, 0, 4].into(), SystemTime::UNIX_EPOCH);
    events.add(at, Happening::MemberDown { probe, member, why: "HTTP 503".to_owned() });
    events.add(at, Happening::NobodyUp { rule: "web/http".to_owned() });
    rig.realised.send_modify(|realised| realised.events = Arc::new(events));
    assert_eq!(
        lines.next().await,
        json!({
            "action": "event",
            "revision": 2,
            "event": "memberDown",
            "number": 1,
            "at": "1970-01-01T00:00:00.000Z",
            "message": "member 10.0.0.4 is down for probe web/alive: HTTP 503",
            "probe": "web/alive",
            "member": "10.0.0.4",
            "because": "HTTP 503",
        })
    );
    let second = lines.next().await;
    assert_eq!((&second["event"], &second["rule"]), (&json!("noHealthyMembers"), &json!("web/http")));
    rig.put("loadBalancers/web", &balancer("10.0.0.12")).await;
    assert_eq!(
        (short(&lines.next().await), short(&quiet.next().await)),
        ("put 3 web".into(), "put 3 web".into())
    );
    let refused = rig.ask("GET", "/forebay/v1/watch?events=all", &[], "").await;
    assert_eq!((refused.status, refused.code()), (400, "InvalidRequestContent"));
}

// PROBE-7
#[tokio::test]
async fn the_health_of_all_members_is_shown_and_counted() {
    let rig = super::health::probed(json!({ "protocol": "Tcp", "port": 8080 })).await;
    let refused = Outcome::Bad(Reason::Refused);
    super::health::hear(&rig, &[("10.0.0.4", vec![Outcome::Good]), ("10.0.0.5", vec![refused])]);
    let health = rig.ask("GET", "/forebay/v1/health", &[], "").await.body;
    let group = &health["groups"][0];
    assert_eq!((&group["probe"], &group["rules"]), (&json!("web/alive"), &json!(["web/http"])), "{health:#}");
    assert_eq!(
        (&group["members"][1]["state"], &group["members"][1]["last"]),
        (&json!("down"), &json!("connection refused"))
    );
    let status = rig.ask("GET", "/forebay/v1/status", &[], "").await.body;
    assert_eq!(status["health"], json!({ "up": 1, "down": 1, "unknown": 0 }));
}

fn short(line: &Value) -> String {
    let name = line["id"].as_str().and_then(|id| id.rsplit('/').next()).unwrap_or_default();
    format!("{} {} {name}", line["action"].as_str().unwrap(), line["revision"])
}

/// A watch, line by line.
struct Lines {
    body: Body,
    rest: Vec<u8>,
}

impl Lines {
    async fn open(rig: &Rig, path: &str) -> Self {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = rig.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        Self { body: response.into_body(), rest: Vec::new() }
    }

    async fn next(&mut self) -> Value {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let frame =
                timeout(Duration::from_secs(20), self.body.frame()).await.expect("a line").unwrap().unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}
