//! Reading and writing documents.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::shape::Shape;
use super::*;
use crate::Code::{self, *};

#[test]
fn both_shapes_of_one_balancer_are_one_document() {
    let nested = json!({
        "name": "b", "id": balancer(), "etag": "e", "type": "Microsoft.Network/loadBalancers",
        "sku": { "name": "Standard" },
        "properties": {
            "provisioningState": "Succeeded",
            "frontendIPConfigurations": [{ "name": "f", "properties": {
                "privateIPAddress": "10.0.0.9", "privateIPAllocationMethod": "Static",
                "subnet": { "id": "/subscriptions/s/n" },
                "loadBalancingRules": [{ "id": child("loadBalancingRules/r") }] } }],
            "backendAddressPools": [{ "name": "p", "properties": {
                "loadBalancerBackendAddresses": [{ "name": "m", "properties": { "ipAddress": "10.0.0.4" } }],
                "forebay": { "returnPath": "gateway" } } }],
            "loadBalancingRules": [{ "name": "r", "properties": {
                "frontendIPConfiguration": { "id": child("frontendIPConfigurations/f") },
                "backendAddressPool": { "id": child("backendAddressPools/p") },
                "protocol": "Tcp", "frontendPort": 80, "backendPort": 80, "enableFloatingIP": true } }],
            "probes": []
        }
    });
    let flat = json!({
        "name": "b", "id": balancer(), "etag": "e", "resourceGroup": "g", "location": null, "tags": null,
        "sku": { "name": "Standard", "tier": null },
        "provisioningState": "Succeeded",
        "frontendIPConfigurations": [{ "name": "f", "resourceGroup": "g", "zones": null,
            "privateIPAddress": "10.0.0.9", "privateIPAllocationMethod": "Static",
            "publicIPAddress": null, "inboundNatRules": null,
            "subnet": { "id": "/subscriptions/s/n", "resourceGroup": "g" },
            "loadBalancingRules": [{ "id": child("loadBalancingRules/r"), "resourceGroup": "g" }] }],
        "backendAddressPools": [{ "name": "p", "resourceGroup": "g",
            "loadBalancerBackendAddresses": [{ "name": "m", "ipAddress": "10.0.0.4", "subnet": null }],
            "forebay": { "returnPath": "gateway" } }],
        "loadBalancingRules": [{ "name": "r",
            "frontendIPConfiguration": { "id": child("frontendIPConfigurations/f"), "resourceGroup": "g" },
            "backendAddressPools": [{ "id": child("backendAddressPools/p"), "resourceGroup": "g" }],
            "protocol": "Tcp", "frontendPort": 80, "backendPort": 80, "enableFloatingIP": true }],
        "inboundNatPools": [], "outboundRules": null
    });
    let older = flat
        .to_string()
        .replace("IPConfiguration\"", "IpConfiguration\"")
        .replace("IPConfigurations\"", "IpConfigurations\"")
        .replace("IPAddress\"", "IpAddress\"")
        .replace("IPAllocationMethod", "IpAllocationMethod")
        .replace("enableFloatingIP", "enableFloatingIp")
        .replace("\"Tcp\"", "\"tcp\"");
    let documents = parsed(&nested.to_string());
    assert_eq!(documents.len(), 1);
    assert_eq!(parsed(&flat.to_string()), documents);
    assert_eq!(parsed(&older), documents);
}

#[test]
fn a_source_holds_one_document_or_many() {
    let names = |text: &str| parsed(text).iter().map(|it| it.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(r#"{"name":"a"}"#), ["a"]);
    assert_eq!(names("\u{feff}[]"), [""; 0]);
    assert_eq!(
        names(r#"[{"name":"a"},{"name":"b","type":"microsoft.network/PUBLICIPADDRESSES"}]"#),
        ["a", "b"]
    );
    assert_eq!(names(r#"{"value":[{"id":"/subscriptions/s/loadBalancers/a"}],"nextLink":null}"#), ["a"]);
    check(r#"{"value":[],"next":1}"#, &[("f.json", "", UnknownField)]);
    check(r#"[{},5,{"name":"c","x":1}]"#, &[("f.json#2", "", WrongType), ("c", "x", UnknownField)]);
    check(r#"{"name":"a","type":"Microsoft.Network/natGateways"}"#, &[("a", "type", UnknownValue)]);
    check(r#"{"name":"a","type":5}"#, &[("a", "type", WrongType)]);
    check("5", &[("f.json", "", WrongType)]);
}

#[test]
fn what_is_not_json_is_refused_with_line_and_column() {
    says("{\n  \"name\": }", "line 2 column 11");
    says("", "line 1 column 0");
    says("{\"name\":\"a\",\n\"name\":\"b\"}", "`name` is given twice: keep one at line 2 column 11");
    says(&"[".repeat(10_000), "recursion limit");

    fn says(text: &str, wanted: &str) {
        let problems = parse(&source(text)).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].code, InvalidRequestFormat);
        assert!(problems[0].message.contains(wanted), "{}", problems[0]);
    }
}

#[test]
fn values_of_other_types_are_refused_where_they_stand() {
    let rule = |field: &str| format!(r#"{{"name":"b","loadBalancingRules":[{{"name":"r",{field}}}]}}"#);
    check(r#"{"name":5}"#, &[("f.json", "name", WrongType)]);
    check(r#"{"name":"b","properties":[]}"#, &[("b", "properties", WrongType)]);
    check(r#"{"name":"b","probes":{}}"#, &[("b", "probes", WrongType)]);
    check(r#"{"name":"b","probes":[5]}"#, &[("b", "probes/0", WrongType)]);
    check(r#"{"name":"b","tags":["x"]}"#, &[("b", "tags", WrongType)]);
    check(r#"{"name":"b","tags":{"x":5,"y":null}}"#, &[("b", "tags/x", WrongType)]);
    check(&rule(r#""frontendPort":"80""#), &[("b", "loadBalancingRules/r/frontendPort", WrongType)]);
    check(&rule(r#""frontendPort":80.5"#), &[("b", "loadBalancingRules/r/frontendPort", WrongType)]);
    check(&rule(r#""frontendPort":-1"#), &[("b", "loadBalancingRules/r/frontendPort", OutOfRange)]);
    check(&rule(r#""frontendPort":1e300"#), &[("b", "loadBalancingRules/r/frontendPort", WrongType)]);
    check(&rule(r#""backendPort":99999999999"#), &[("b", "loadBalancingRules/r/backendPort", OutOfRange)]);
    check(
        &rule(r#""enableFloatingIP":"true""#),
        &[("b", "loadBalancingRules/r/enableFloatingIP", WrongType)],
    );
    check(&rule(r#""protocol":"Dccp""#), &[("b", "loadBalancingRules/r/protocol", UnknownValue)]);
    check(&rule(r#""protocol":6"#), &[("b", "loadBalancingRules/r/protocol", WrongType)]);
    check(&rule(r#""probe":"probes/p""#), &[("b", "loadBalancingRules/r/probe", WrongType)]);
    check(&rule(r#""probe":{}"#), &[("b", "loadBalancingRules/r/probe/id", MissingField)]);
    check(
        r#"{"name":"b","frontendIPConfigurations":[{"name":"f","privateIPAddress":"10.0.0"}]}"#,
        &[("b", "frontendIPConfigurations/f/privateIPAddress", WrongType)],
    );
}

#[test]
fn no_field_is_dropped_in_silence() {
    let rule = |field: &str| format!(r#"{{"name":"b","loadBalancingRules":[{{"name":"r",{field}}}]}}"#);
    let at = "loadBalancingRules/r";
    check(&rule(r#""enableFloatinIP":true"#), &[("b", &format!("{at}/enableFloatinIP"), UnknownField)]);
    check(&rule(r#""properties":{"floating":true}"#), &[("b", &format!("{at}/floating"), UnknownField)]);
    check(&rule(r#""probe":{"id":"probes/p","x":1}"#), &[("b", &format!("{at}/probe/x"), UnknownField)]);
    check(
        &rule(r#""enableFloatingIP":true,"enableFloatingIp":false"#),
        &[("b", &format!("{at}/enableFloatingIP"), InvalidRequestFormat)],
    );
    check(
        &rule(r#""enableFloatingIP":true,"properties":{"enableFloatingIP":false}"#),
        &[("b", &format!("{at}/enableFloatingIP"), InvalidRequestFormat)],
    );
    check(r#"{"name":"b","sku":{"name":"Standard","size":1}}"#, &[("b", "sku/size", UnknownField)]);
    // A null says nothing, so nothing is lost.
    check(&rule(r#""somethingNewer":null"#), &[]);
}

#[test]
fn the_word_that_was_meant_is_suggested() {
    says(r#"{"name":"b","probs":[]}"#, "did you mean `probes`?");
    says(r#"{"name":"b","loadBalancerRules":[]}"#, "did you mean `loadBalancingRules`?");
    says(r#"{"name":"b","colour":1}"#, "there is no field `colour`: remove it");
    says(r#"{"name":"b","sku":{"name":"Standart"}}"#, "did you mean `Standard`?");
    says(r#"{"name":"b","sku":{"name":"Premium"}}"#, "write one of Basic, Standard, Gateway, Service");
    says(r#"{"name":"b","probes":[{"name":"p","port":"80"}]}"#, "write it without quotes");

    fn says(text: &str, wanted: &str) {
        let problems = parse(&source(text)).unwrap_err();
        assert!(problems[0].message.contains(wanted), "{}", problems[0]);
    }
}

#[test]
fn the_pool_of_a_rule_may_stand_in_either_field() {
    check(r#""backendAddressPool":{"id":"backendAddressPools/a"}"#, &["a"]);
    check(r#""backendAddressPools":[{"id":"backendAddressPools/a"}]"#, &["a"]);
    check(
        r#""backendAddressPool":{"id":"backendAddressPools/a"},"backendAddressPools":[{"id":"backendAddressPools/b"}]"#,
        &["b"],
    );
    check(r#""backendAddressPools":[]"#, &[]);

    fn check(fields: &str, wanted: &[&str]) {
        let documents = parsed(&format!(r#"{{"name":"b","loadBalancingRules":[{{"name":"r",{fields}}}]}}"#));
        let Document::LoadBalancer(balancer) = &documents[0] else { panic!("{documents:?}") };
        let wanted: Vec<_> =
            wanted.iter().map(|it| Reference::to(format!("backendAddressPools/{it}"))).collect();
        assert_eq!(balancer.load_balancing_rules[0].backend_address_pools, wanted);
        assert_eq!(balancer.load_balancing_rules[0].backend_address_pool.as_ref(), wanted.first());
    }
}

#[test]
fn all_seven_arrays_are_written_even_when_empty() {
    let written =
        serde_json::to_value(LoadBalancer { name: "b".to_owned(), ..LoadBalancer::default() }).unwrap();
    assert_eq!(
        written,
        json!({ "name": "b", "type": "Microsoft.Network/loadBalancers", "properties": {
            "frontendIPConfigurations": [], "backendAddressPools": [], "loadBalancingRules": [], "probes": [],
            "inboundNatRules": [], "outboundRules": [], "inboundNatPools": [] } })
    );
}

#[test]
fn a_reference_to_a_public_address_is_written_as_a_reference() {
    let text = r#"{"name":"b","frontendIPConfigurations":[{"name":"f","publicIPAddress":{"id":"/subscriptions/s/publicIPAddresses/a"}}]}"#;
    let written = serde_json::to_value(&parsed(text)[0]).unwrap();
    let address = &written["properties"]["frontendIPConfigurations"][0]["properties"]["publicIPAddress"];
    assert_eq!(*address, json!({ "id": "/subscriptions/s/publicIPAddresses/a" }));
}

#[test]
fn references_are_found_wherever_they_stand() {
    let document = json!({ "name": "n", "type": "Microsoft.Network/networkInterfaces", "properties": {
        "networkSecurityGroup": { "id": "/g" },
        "ipConfigurations": [{ "name": "ip", "properties": {
            "subnet": { "id": "/s" }, "publicIPAddress": { "id": "/a", "properties": { "publicIPPrefix": { "id": "/x" } } },
            "loadBalancerBackendAddressPools": [{ "id": "/p" }, { "id": "/q" }],
            "forebay": { "networkSecurityGroup": { "id": "/h" } } } }] } });
    assert_eq!(
        references(&document),
        [
            "ipConfigurations/ip/subnet=/s",
            "ipConfigurations/ip/publicIPAddress=/a",
            "ipConfigurations/ip/loadBalancerBackendAddressPools/0=/p",
            "ipConfigurations/ip/loadBalancerBackendAddressPools/1=/q",
            "ipConfigurations/ip/forebay/networkSecurityGroup=/h",
            "networkSecurityGroup=/g",
        ]
    );
    let shown = json!({ "name": "b", "properties": { "probes": [{ "name": "p", "properties": {
        "loadBalancingRules": [{ "id": "/r" }] } }] } });
    assert_eq!(references(&shown), [""; 0]);

    fn references(document: &Value) -> Vec<String> {
        let document = Document::read(document, "n").unwrap();
        document.references().iter().map(|(path, id)| format!("{path}={id}")).collect()
    }
}

#[test]
fn what_the_server_gives_is_never_a_mistake_and_never_kept() {
    let sent = json!({ "name": "b", "etag": "e", "id": balancer(), "properties": {
        "provisioningState": "Updating", "resourceGuid": 5, "configurationState": { "status": "Success" }, "counters": [],
        "backendAddressPools": [{ "name": "p", "id": child("backendAddressPools/p"), "etag": "e", "properties": {
            "backendIPConfigurations": "strange", "loadBalancingRules": [{ "id": "/r", "more": 1 }],
            "loadBalancerBackendAddresses": [
                { "name": "nic_ip", "properties": { "ipAddress": "10.0.0.4", "networkInterfaceIPConfiguration": { "id": "/n" } } },
                { "name": "nic_ip2", "properties": { "adminState": "Down", "networkInterfaceIPConfiguration": { "id": "/n" } } },
                { "name": "m", "properties": { "ipAddress": "10.0.0.5" } }] } }] } });
    let mut document = Document::read(&sent, "b").unwrap();
    document.strip_read_only();
    let kept = json!({ "name": "b", "id": balancer(), "properties": { "backendAddressPools": [{ "name": "p",
        "properties": { "loadBalancerBackendAddresses": [
            { "name": "nic_ip2", "properties": { "adminState": "Down" } },
            { "name": "m", "properties": { "ipAddress": "10.0.0.5" } }] } }] } });
    assert_eq!(document, Document::read(&kept, "b").unwrap());
}

#[test]
fn the_kind_is_said_by_type_or_id() {
    let kind = |text: &str| parsed(text)[0].kind();
    assert_eq!(kind(r#"{"name":"a"}"#), Kind::LoadBalancer);
    for wanted in Kind::ALL {
        assert_eq!(
            kind(&format!(r#"{{"name":"a","type":"{}"}}"#, wanted.type_name().to_lowercase())),
            wanted
        );
        assert_eq!(kind(&format!(r#"{{"id":"/subscriptions/s/{}/a"}}"#, wanted.segment())), wanted);
    }
}

#[test]
fn the_schema_has_every_field_of_what_is_written() {
    for seed in 1..200 {
        for document in samples(seed) {
            conforms(&serde_json::to_value(&document).unwrap(), &Document::schema(document.kind()), "");
        }
    }

    fn conforms(value: &Value, schema: &Value, at: &str) {
        match (value, schema["type"].as_str()) {
            (Value::Object(object), Some("object")) => {
                for (name, value) in object {
                    let field = schema["properties"].get(name).or(schema.get("additionalProperties"));
                    let field = field.filter(|field| !field.is_boolean() || *field == true);
                    conforms(value, field.unwrap_or_else(|| panic!("{at}/{name}")), &format!("{at}/{name}"));
                }
            }
            (Value::Array(list), Some("array")) => {
                list.iter().for_each(|it| conforms(it, &schema["items"], &format!("{at}/0")));
            }
            (Value::String(text), Some("string")) => {
                let words = schema["enum"].as_array();
                assert!(words.is_none_or(|words| words.contains(value)), "{at}: {text}");
            }
            (Value::Number(_), Some("integer")) | (Value::Bool(_), Some("boolean")) => {}
            (_, None) => {}
            (value, wanted) => panic!("{at}: {value} is no {wanted:?}"),
        }
    }
}

#[test]
fn what_interfaces_show_of_every_resource_is_passed_over() {
    let given = json!({ "configurationState": { "status": "Success" }, "counters": [], "resourceGuid": "0" });
    for kind in Kind::ALL {
        let read = |properties: &Value| {
            let value = json!({ "name": "n", "type": kind.type_name(), "properties": properties });
            Document::read(&value, "n").unwrap()
        };
        let (mut shown, mut plain) = (read(&given), read(&json!({})));
        shown.strip_read_only();
        plain.strip_read_only();
        assert_eq!(shown, plain);
    }
    let probes = json!({ "probes": [{ "name": "p", "properties": given }] });
    assert!(Document::read(&json!({ "name": "n", "properties": probes }), "n").is_ok());
}

proptest! {
    #[test]
    fn a_document_written_and_read_again_is_the_same(seed: u64) {
        let documents = samples(seed);
        let text = serde_json::to_string(&documents).unwrap();
        prop_assert_eq!(parse(&source(&text)), Ok(documents));
    }

    #[test]
    fn what_was_shown_and_is_sent_back_is_what_was_stored(seed: u64) {
        for mut stored in samples(seed) {
            let id = ResourceId::new("s", "g", stored.kind(), "n").unwrap();
            stored.identify(&id);
            stored.strip_read_only();
            let mut shown = stored.clone();
            shown.identify(&id);
            let mut back = Document::read(&serde_json::to_value(&shown).unwrap(), "n").unwrap();
            prop_assert_eq!(back.resource_id(), Some(id));
            back.strip_read_only();
            prop_assert_eq!(without_id(back), without_id(stored));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        let _ = parse(&source(&text));
        let _ = crate::check(&[source(&text)]);
    }

    #[test]
    fn any_json_is_read_or_refused(value in any_json()) {
        let _ = crate::check(&[source(&value.to_string())]);
    }
}

/// One document of each kind, by the dice.
pub(crate) fn samples(seed: u64) -> Vec<Document> {
    let mut dice = Dice::new(seed);
    let mut balancer = LoadBalancer::sample(&mut dice);
    balancer.settle_rules();
    vec![
        balancer.into(),
        PublicIpAddress::sample(&mut dice).into(),
        PublicIpPrefix::sample(&mut dice).into(),
        VirtualNetwork::sample(&mut dice).into(),
        NetworkInterface::sample(&mut dice).into(),
        NetworkSecurityGroup::sample(&mut dice).into(),
        LogicalNetwork::sample(&mut dice).into(),
        LoadBalancerManager::sample(&mut dice).into(),
        LoadBalancerMux::sample(&mut dice).into(),
        VirtualServer::sample(&mut dice).into(),
    ]
}

fn without_id(document: Document) -> Value {
    let mut value = serde_json::to_value(document).unwrap();
    value.as_object_mut().unwrap().shift_remove("id");
    value
}

/// JSON of any shape, made of fields that are known, so that much of it is looked into.
fn any_json() -> impl Strategy<Value = Value> {
    const FIELDS: [&str; 22] = [
        "name",
        "id",
        "type",
        "properties",
        "value",
        "tags",
        "sku",
        "frontendIPConfigurations",
        "ipAddress",
        "backendAddressPools",
        "loadBalancerBackendAddresses",
        "loadBalancingRules",
        "probes",
        "inboundNatRules",
        "outboundRules",
        "frontendPort",
        "backendPort",
        "protocol",
        "subnet",
        "publicIPAddress",
        "strange",
        "allocatedOutboundPorts",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0u16..100).prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["Tcp", "10.0.0.4", "probes/a", "a", "Microsoft.Network/publicIPAddresses"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 128, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(FIELDS.to_vec()), inner, 0..8)
                .prop_map(|map| map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

/// Chance with a seed.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        from[usize::try_from(self.0 >> 33).unwrap() % from.len()].clone()
    }
}

fn check(text: &str, wanted: &[(&str, &str, Code)]) {
    let problems = parse(&source(text)).err().unwrap_or_default();
    let found: Vec<_> = problems.iter().map(|it| (it.document.as_str(), it.path.as_str(), it.code)).collect();
    assert_eq!(found, wanted, "{text}");
}

fn parsed(text: &str) -> Vec<Document> {
    parse(&source(text)).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn source(text: &str) -> Source {
    Source { name: "f.json".to_owned(), text: text.to_owned() }
}

fn balancer() -> String {
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/loadBalancers/b".to_owned()
}

fn child(id: &str) -> String {
    format!("{}/{id}", balancer())
}
