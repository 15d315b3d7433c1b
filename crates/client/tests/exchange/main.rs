//! What the client asks, and what it makes of the answers.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

mod scripted;

use std::io::{Read, Write};
use std::time::Duration;

use forebay_client::{Action, Client, Error, Event, Precondition, Scope, Settings, Token, Transaction};
use model::{Document, Kind, ResourceId};
use scripted::{Say, Scripted};
use serde_json::json;

const WEB: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/loadBalancers/web";

#[tokio::test]
async fn one_resource_is_asked_for_at_its_arm_path_with_the_token() {
    let server = Scripted::start(|_, _| {
        Say::Whole(
            200,
            "etag: W/\"1\"\r\n",
            json!({ "id": WEB, "name": "web", "etag": "W/\"1\"" }).to_string(),
        )
    });
    let client = client(&server, Some("forebay_abc"));
    let found = client.get(&id(WEB)).await.expect("an answer").expect("a resource");
    assert_eq!((found.id, found.etag.as_str()), (id(WEB), "W/\"1\""));
    let asked = &server.asked()[0];
    assert_eq!(asked.path, format!("{WEB}?api-version=2025-05-01"));
    assert_eq!(asked.header("authorization"), Some("Bearer forebay_abc"));
}

#[tokio::test]
async fn what_is_not_there_is_no_error() {
    let server = Scripted::start(|_, asked| match asked.method.as_str() {
        "DELETE" => Say::Whole(204, "", String::new()),
        _ => Say::Whole(
            404,
            "",
            json!({ "error": { "code": "ResourceNotFound", "message": "no" } }).to_string(),
        ),
    });
    let client = client(&server, None);
    assert_eq!(client.get(&id(WEB)).await.expect("an answer"), None);
    assert!(!client.delete(WEB, &Precondition::None).await.expect("an answer"));
    assert_eq!(server.asked()[0].header("authorization"), None);
}

#[tokio::test]
async fn preconditions_are_headers() {
    let server = Scripted::start(|_, _| {
        Say::Whole(412, "", json!({ "error": { "code": "PreconditionFailed", "message": "no" } }).to_string())
    });
    let client = client(&server, None);
    let document = document("web");
    let precondition = Precondition::Is("W/\"1\"".into());
    let error = client.put(&document, &precondition).await.expect_err("no");
    assert!(error.refusal().is_some_and(forebay_client::Refusal::is_precondition));
    let _ = client.put(&document, &Precondition::Absent).await;
    let _ = client.delete(WEB, &Precondition::Exists).await;
    let asked = server.asked();
    assert_eq!(asked[0].header("if-match"), Some("W/\"1\""));
    assert_eq!(asked[1].header("if-none-match"), Some("*"));
    assert_eq!(asked[2].header("if-match"), Some("*"));
    assert!(asked[0].body.contains("\"id\":\"/subscriptions/s/"));
}

#[tokio::test]
async fn a_list_is_of_a_group_or_of_a_subscription() {
    let server =
        Scripted::start(|_, _| Say::ok(json!({ "value": [{ "id": WEB, "name": "web" }] }).to_string()));
    let client = client(&server, None);
    let scope = Scope::Group("s".into(), "g".into());
    assert_eq!(client.list(Kind::LoadBalancer, &scope).await.expect("a list").len(), 1);
    let _ = client.list(Kind::LoadBalancer, &Scope::Subscription("s".into())).await;
    let wanted = |group: &str| {
        format!(
            "GET /subscriptions/s{group}/providers/Microsoft.Network/loadBalancers?api-version=2025-05-01"
        )
    };
    assert_eq!(server.lines(), [wanted("/resourceGroups/g"), wanted("")]);
}

#[tokio::test]
async fn a_transaction_brings_all_problems_or_all_changes() {
    // API-2
    let server = Scripted::start(|number, _| match number {
        0 => Say::ok(
            json!({ "revision": 8, "dryRun": false, "changes": [{ "id": WEB, "action": "create" }] })
                .to_string(),
        ),
        _ => {
            let details =
                json!([{ "code": "MissingField", "target": "web: probes/alive", "message": "write a port" }]);
            Say::Whole(
                400,
                "",
                json!({ "error": { "code": "Invalid", "message": "no", "details": details } }).to_string(),
            )
        }
    });
    let client = client(&server, None);
    let transaction =
        Transaction { put: vec![document("web")], if_revision: Some(7), ..Transaction::default() };
    let outcome = client.transaction(&transaction).await.expect("done");
    assert_eq!((outcome.revision, outcome.changes[0].action), (8, Action::Create));
    let asked: serde_json::Value = serde_json::from_str(&server.asked()[0].body).expect("JSON");
    assert_eq!(
        (&asked["dryRun"], &asked["ifRevision"], &asked["delete"]),
        (&json!(false), &json!(7), &json!([]))
    );
    let error = client.transaction(&transaction).await.expect_err("refused");
    assert_eq!(error.refusal().expect("a refusal").details[0].target.as_deref(), Some("web: probes/alive"));
}

#[tokio::test]
async fn a_server_that_has_no_time_is_asked_again() {
    let server = Scripted::start(|number, _| match number {
        0 => Say::Whole(429, "retry-after: 0\r\n", String::new()),
        _ => Say::ok(json!({ "id": WEB, "name": "web" }).to_string()),
    });
    assert!(client(&server, None).get(&id(WEB)).await.expect("an answer").is_some());
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn nobody_there_is_said_with_what_to_do() {
    // It is bound and does not listen, so that nobody else comes to listen there.
    let held = tokio::net::TcpSocket::new_v4().expect("a socket");
    held.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = held.local_addr().expect("an address");
    let settings = Settings { server: format!("https://{address}"), ..settings("x") };
    let error = Client::new(&settings).expect("a client").status().await.expect_err("nobody");
    let text = error.to_string();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(text.contains("is it running") && text.contains("--server"), "{text}");
}

#[tokio::test]
async fn a_plain_server_is_told_from_one_with_tls() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let settings = Settings {
        server: format!("https://{}", listener.local_addr().expect("an address")),
        ..settings("x")
    };
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let error = Client::new(&settings).expect("a client").status().await.expect_err("no TLS");
    assert!(error.to_string().contains("does not speak TLS"), "{error:?}");
}

#[tokio::test]
async fn something_else_that_answers_is_not_taken_for_forebay() {
    let server = Scripted::start(|_, _| Say::ok("<html>It works!</html>"));
    let error = client(&server, None).status().await.expect_err("not Forebay");
    assert!(error.to_string().contains("does not seem to be Forebay"), "{error}");
}

#[tokio::test]
async fn a_token_does_not_travel_in_the_open_and_is_in_no_error() {
    let secret = Settings { token: Token::new("forebay_secret"), ..settings("http://192.0.2.1:8080") };
    let error = Client::new(&secret).expect_err("in the open");
    assert!(error.to_string().contains("https://"), "{error}");
    assert!(Client::new(&settings("http://192.0.2.1:8080")).is_ok());

    let server = Scripted::start(|_, _| Say::Nothing);
    let client = client(&server, Some("forebay_secret"));
    let error = client.status().await.expect_err("nothing");
    let said = format!("{client:?} {error:?} {error} {secret:?}");
    assert!(!said.contains("forebay_secret"), "{said}");
}

#[tokio::test]
async fn what_is_no_server_is_said() {
    for wrong in ["ftp://x", "https://", "https://x/path", "https://x y"] {
        assert!(matches!(Client::new(&settings(wrong)), Err(Error::NoServer { .. })), "{wrong}");
    }
}

#[tokio::test]
async fn everything_is_read_up_to_synced() {
    let lines = [
        json!({ "action": "reset", "revision": 5 }),
        json!({ "action": "put", "revision": 2, "id": WEB, "etag": "e", "document": { "id": WEB, "name": "web" } }),
        json!({ "action": "synced", "revision": 5 }),
    ];
    let server = Scripted::start(move |_, _| Say::Part(said(&lines), Duration::from_secs(5)));
    let everything = client(&server, None).everything().await.expect("everything");
    assert_eq!((everything.revision, everything.resources.len()), (5, 1));
    assert_eq!(everything.resources[0].etag, "e");
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_interrupted() {
    let server = Scripted::start(|number, _| match number {
        0 => Say::Part(said(&[change("reset", 5), change("synced", 5), put(6), put(7)]), Duration::ZERO),
        1 => Say::Nothing,
        _ => Say::Part(said(&[put(7), put(8)]), Duration::from_secs(5)),
    });
    let mut watch = client(&server, None).watch(None);
    let mut seen = Vec::new();
    while seen.len() < 8 {
        seen.push(match watch.next().await.expect("an event").expect("no end") {
            Event::Put { revision, .. } => format!("put {revision}"),
            Event::Delete { revision, .. } => format!("delete {revision}"),
            Event::Reset { revision } => format!("reset {revision}"),
            Event::Synced { revision } => format!("synced {revision}"),
            Event::Alive { revision } => format!("alive {revision}"),
            Event::Happened(happened) => format!("event {}", happened.event),
            Event::Interrupted { .. } => "interrupted".into(),
        });
    }
    let wanted = ["reset 5", "synced 5", "put 6", "put 7", "interrupted", "interrupted", "put 7", "put 8"];
    assert_eq!(seen, wanted);
    let wanted = ["GET /forebay/v1/watch", "GET /forebay/v1/watch?from=6", "GET /forebay/v1/watch?from=6"];
    assert_eq!(server.lines(), wanted);
}

#[tokio::test]
async fn a_watch_ends_when_asking_again_is_of_no_use() {
    let server = Scripted::start(|_, _| {
        Say::Whole(401, "", json!({ "error": { "code": "Unauthorized", "message": "who?" } }).to_string())
    });
    let mut watch = client(&server, None).watch(Some(3));
    assert!(watch.next().await.is_some_and(|event| event.is_err()));
    assert!(watch.next().await.is_none());
}

fn said(lines: &[serde_json::Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn change(action: &str, revision: u64) -> serde_json::Value {
    json!({ "action": action, "revision": revision })
}

fn put(revision: u64) -> serde_json::Value {
    let document = json!({ "id": WEB, "name": "web" });
    json!({ "action": "put", "revision": revision, "id": WEB, "etag": "e", "document": document })
}

fn document(name: &str) -> Document {
    let id = WEB.replace("/web", &format!("/{name}"));
    Document::read(&json!({ "id": id, "name": name }), name).expect("a document")
}

fn id(text: &str) -> ResourceId {
    ResourceId::parse(text).expect("an id").0
}

fn client(server: &Scripted, token: Option<&str>) -> Client {
    let settings = Settings { token: token.and_then(Token::new), ..settings(&server.url) };
    Client::new(&settings).expect("a client")
}

fn settings(server: &str) -> Settings {
    Settings {
        server: server.into(),
        token: None,
        ca: None,
        identity: None,
        subscription: None,
        resource_group: None,
    }
}
