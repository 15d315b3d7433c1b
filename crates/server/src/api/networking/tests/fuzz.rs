//! Whatever is sent is answered, and never with a failure of the server.

use proptest::prelude::*;

use super::*;
use crate::api::networking::translate::dictionary::Entry;
use crate::api::networking::translate::sample::Sample;
use crate::api::networking::version::Version;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_body_breaks_the_server(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(throw(seed));
    }
}

async fn throw(seed: u64) {
    let client = Client::with_balancer().await;
    let mut dice = Sample::new(Version::NEWEST, seed);
    for round in 0..8 {
        let entry = Entry::ALL[dice.roll(Entry::ALL.len() as u64) as usize];
        let version = Version::ALL[dice.roll(Version::ALL.len() as u64) as usize];
        let name = if entry.is_single() { "config" } else { ["lb", "pip", "n1"][dice.roll(3) as usize] };
        let mut body = Sample::new(version, seed.wrapping_add(round)).resource(entry, name);
        for _ in 0..dice.roll(4) {
            spoil(&mut body, &mut dice);
        }
        if body.is_null() {
            body = json!([]);
        }
        let path = format!("/{version}/{}/{name}", entry.name);
        for got in [
            client.put(&path, body.clone()).await,
            client.get(&path).await,
            client.get(&format!("/{version}/{}", entry.name)).await,
            client.delete(&path).await,
        ] {
            assert!(got.status < 500, "{path} {body} {got:?}");
        }
    }
}

/// Replaces a value somewhere by one that does not belong there.
fn spoil(value: &mut Value, dice: &mut Sample) {
    let inner: Vec<&mut Value> = match value {
        Value::Object(object) => object.values_mut().collect(),
        Value::Array(values) => values.iter_mut().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let count = inner.len() as u64;
    if count > 0 && dice.roll(8) > 0 {
        let at = dice.roll(count) as usize;
        if let Some(inner) = inner.into_iter().nth(at) {
            return spoil(inner, dice);
        }
    }
    let strange = [
        json!(null),
        json!(-1),
        json!(1e300),
        json!(""),
        json!("\u{0}~/\u{1f411}"),
        json!([[]]),
        json!({}),
        json!({ "resourceRef": 7 }),
        json!({ "resourceRef": "/loadBalancers/lb" }),
        json!([{ "resourceId": "n", "properties": [] }, { "resourceId": "N" }]),
        json!("65.52.0.20"),
        json!(true),
    ];
    *value = strange[dice.roll(strange.len() as u64) as usize].clone();
}
