//! Many at once, slow ones, huge ones and malformed ones.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{ETAG, IF_MATCH};
use serde_json::{Value, json};

use crate::case::File;
use crate::server::Server;

const WRITERS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(120);

fn server() -> Server {
    let settings = ["requests_per_second = 1000000"].map(str::to_owned).to_vec();
    Server::start(&File { settings, cases: Vec::new() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixty_four_writers_on_one_balancer_nobody_loses_an_update() {
    // API-1, API-3
    let server = server();
    let client = server.client();
    let path = |path: &str| format!("{}/networking/v1/{path}", server.base());
    let put = async |path: String, body: Value| {
        let answer = client.put(path).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    };
    put(
        path("publicIPAddresses/pip"),
        json!({"properties": {"publicIPAllocationMethod": "Static", "ipAddress": "65.52.0.20"}}),
    )
    .await;
    put(
        path("loadBalancers/lb"),
        json!({"properties": {
            "frontendIPConfigurations": [{"resourceId": "fe", "properties": {
                "publicIPAddress": {"resourceRef": "/publicIPAddresses/pip"},
            }}],
            "backendAddressPools": [{"resourceId": "web"}],
        }}),
    )
    .await;
    let rule = |number: usize| {
        json!({"resourceId": format!("r{number}"), "properties": {
            "frontendIPConfigurations": [{"resourceRef": "/loadBalancers/lb/frontendIPConfigurations/fe"}],
            "backendAddressPool": {"resourceRef": "/loadBalancers/lb/backendAddressPools/web"},
            "protocol": "Tcp", "frontendPort": 1_000 + number, "backendPort": 2_000 + number,
        }})
    };
    let balancer = path("loadBalancers/lb");
    let began = Instant::now();
    let writers = (0..WRITERS).map(|number| {
        let (client, balancer, rule) = (client.clone(), balancer.clone(), rule(number));
        tokio::spawn(async move {
            if number % 2 == 0 {
                // A child of its own.
                let path = format!("{balancer}/loadBalancingRules/r{number}");
                let answer = client.put(path).json(&rule).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::CREATED, "{}", answer.text().await.unwrap());
                return;
            }
            // The whole balancer, read and written back with one rule more, again until nobody came in between.
            loop {
                assert!(began.elapsed() < PATIENCE, "writer {number} never gets through");
                let answer = client.get(&balancer).send().await.unwrap();
                let etag = answer.headers()[ETAG].clone();
                let mut whole: Value = answer.json().await.unwrap();
                whole["properties"]["loadBalancingRules"].as_array_mut().unwrap().push(rule.clone());
                let answer = client.put(&balancer).header(IF_MATCH, etag).json(&whole).send().await.unwrap();
                match answer.status() {
                    StatusCode::OK => return,
                    StatusCode::PRECONDITION_FAILED => {}
                    other => panic!("{other}: {}", answer.text().await.unwrap()),
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    // Whatever is read in the meantime is whole: each rule is also a back-reference of the frontend.
    let reader = {
        let (client, balancer) = (client.clone(), balancer.clone());
        tokio::spawn(async move {
            loop {
                let shown: Value = client.get(&balancer).send().await.unwrap().json().await.unwrap();
                let rules = shown["properties"]["loadBalancingRules"].as_array().unwrap();
                let own: BTreeSet<_> =
                    rules.iter().map(|rule| rule["resourceRef"].as_str().unwrap()).collect();
                let frontend = &shown["properties"]["frontendIPConfigurations"][0]["properties"];
                let back = frontend["loadBalancingRules"].as_array().unwrap();
                let back: BTreeSet<_> =
                    back.iter().map(|rule| rule["resourceRef"].as_str().unwrap()).collect();
                assert_eq!(own, back);
                if rules.len() == WRITERS {
                    return;
                }
                assert!(began.elapsed() < PATIENCE, "only {} rules are there", rules.len());
            }
        })
    };
    for writer in writers {
        writer.await.unwrap();
    }
    reader.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_silent_and_senseless_callers_hold_nobody_up() {
    // API-5
    let server = server();
    let client = server.client();
    let address = server.base().strip_prefix("https://").unwrap().to_owned();
    // Some never begin the handshake, some talk nonsense, some speak without TLS.
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&address).unwrap()).collect();
    for nonsense in [&b"\x16\x03\x01\xff\xff"[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[0; 4096]] {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(nonsense).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let _ = stream.read(&mut [0; 1024]);
    }
    for path in [
        "",
        "/",
        "//",
        "/%ff",
        "/networking/%00/x",
        &"/a".repeat(4_000),
        "/networking/v1/loadBalancers/%2e%2e",
    ] {
        let answer = client.get(format!("{}{path}", server.base())).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{path}: {}", answer.status());
    }
    for body in
        ["", "null", "true", "\"text\"", "{", "{\"properties\": 1}", "[[[[", "{\"a\": 1e999}", "\u{0}"]
    {
        let path = format!("{}/networking/v1/publicIPAddresses/x", server.base());
        let request = client.put(path).header("Content-Type", "application/json").body(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}: {}", answer.text().await.unwrap());
    }
    let began = Instant::now();
    let answer = client.get(format!("{}/networking/v1/loadBalancers", server.base())).send().await.unwrap();
    assert!(answer.status().is_success() && began.elapsed() < Duration::from_secs(5));
    drop(silent);
}
