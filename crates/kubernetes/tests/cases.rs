//! The case table of the translation: see cases/README.md.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use forebay_kubernetes::event::{Event, EventType};
use forebay_kubernetes::plan::{Scenario, run};
use forebay_kubernetes::service::Key;
use serde_json::{Map, Value, json};

const NOT_LOOKED_AT: &str = "…";
const PREFIX: &str = "service.beta.kubernetes.io/";

#[test]
fn every_case_is_as_the_table_says() {
    // K8S-1 K8S-2 K8S-4
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|it| it == "txt"));
    files.sort();
    let (mut count, mut wrong) = (0, String::new());
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let table = Table::read(&text);
        count += table.rows.len();
        if std::env::var("FOREBAY_CASES").is_ok_and(|it| it == "write") {
            std::fs::write(file, table.written()).unwrap();
        } else {
            wrong += &table.wrong(&file.file_name().unwrap().to_string_lossy());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 200, "only {count} cases");
}

#[test]
fn whatever_was_ensured_is_ensured_again_without_a_write() {
    // K8S-3
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    for file in std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
        if file.extension().is_none_or(|it| it != "txt") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let table = Table::read(&text);
        for row in &table.rows {
            let mut scenario = row.scenario(&table.given);
            let Value::Array(steps) = &mut scenario["steps"] else { unreachable!() };
            let last = steps.last().unwrap().clone();
            let key = &last["service"]["metadata"];
            let name = format!("{}/{}", key["namespace"].as_str().unwrap(), key["name"].as_str().unwrap());
            // An address that went in the last step is known to security rules until the next (see the status).
            for _ in 0..2 {
                steps.push(json!({ "op": "ensure", "serviceRef": name }));
            }
            let report = run(&Scenario::of(&scenario).unwrap());
            let (former, last) = (&report.steps[report.steps.len() - 2], report.steps.last().unwrap());
            if former.error.is_none() {
                assert_eq!(last.writes, Vec::<String>::new(), "{}: {}", file.display(), row.cell("name"));
                assert_eq!(last.state, former.state);
            }
        }
    }
}

struct Table<'a> {
    head: Vec<&'a str>,
    given: BTreeMap<&'a str, Value>,
    rows: Vec<Row<'a>>,
    lines: Vec<Line<'a>>,
}

enum Line<'a> {
    Text(&'a str),
    Row(usize),
}

struct Row<'a> {
    cells: BTreeMap<&'a str, &'a str>,
}

impl<'a> Table<'a> {
    fn read(text: &'a str) -> Self {
        let mut table =
            Self { head: Vec::new(), given: BTreeMap::new(), rows: Vec::new(), lines: Vec::new() };
        for line in text.lines() {
            table.lines.push(Line::Text(line));
            if line.is_empty() || line.starts_with('#') {
            } else if let Some((name, value)) =
                line.strip_prefix("given ").and_then(|it| it.split_once(" = "))
            {
                let value = serde_saphyr::from_str(value).unwrap_or_else(|error| panic!("{name}: {error}"));
                table.given.insert(name, value);
            } else if table.head.is_empty() {
                table.head = line.split('|').map(str::trim).collect();
            } else {
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                assert!(cells.len() <= table.head.len(), "too many cells: {line}");
                let cells = table.head.iter().copied().zip(cells).collect();
                *table.lines.last_mut().unwrap() = Line::Row(table.rows.len());
                table.rows.push(Row { cells });
            }
        }
        table
    }

    fn wrong(&self, file: &str) -> String {
        let mut wrong = String::new();
        for row in &self.rows {
            let found = row.found(&self.given);
            for column in self.columns() {
                let (wanted, found) = (row.cell(column), &found[column]);
                if wanted != NOT_LOOKED_AT && wanted != found {
                    let name = row.cell("name");
                    let _ = writeln!(wrong, "{file}: {name}: {column}\n  wanted {wanted}\n  found  {found}");
                }
            }
        }
        wrong
    }

    fn columns(&self) -> impl Iterator<Item = &'a str> {
        self.head.iter().copied().filter(|column| !["name", "given", "service"].contains(column))
    }

    /// The same table with what came out.
    fn written(&self) -> String {
        let found: Vec<_> = self.rows.iter().map(|row| row.found(&self.given)).collect();
        let cell = |index: usize, column: &str| match self.rows[index].cell(column) {
            NOT_LOOKED_AT => NOT_LOOKED_AT.to_owned(),
            cell => found[index].get(column).cloned().unwrap_or_else(|| cell.to_owned()),
        };
        let mut text = String::new();
        for line in &self.lines {
            let line = match line {
                Line::Text(line) => (*line).to_owned(),
                Line::Row(index) => {
                    let cells: Vec<String> = self.head.iter().map(|column| cell(*index, column)).collect();
                    cells.join(" | ")
                }
            };
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

impl Row<'_> {
    fn cell(&self, column: &str) -> &str {
        self.cells.get(column).copied().unwrap_or_default()
    }

    fn scenario(&self, given: &BTreeMap<&str, Value>) -> Value {
        let mut scenario = json!({ "config": {}, "nodes": [node("node-0", 4), node("node-1", 5)] });
        let named = self.cell("given");
        if named.starts_with('{') {
            merge(&mut scenario, &serde_saphyr::from_str(named).unwrap());
        } else {
            for name in named.split_whitespace() {
                merge(&mut scenario, given.get(name).unwrap_or_else(|| panic!("nothing is given as {name}")));
            }
        }
        let mut keys = Vec::new();
        let steps: Vec<Value> =
            self.cell("service").split(">>").map(|text| step(text, &mut keys, given)).collect();
        scenario["steps"] = steps.into();
        scenario
    }

    fn found(&self, given: &BTreeMap<&str, Value>) -> BTreeMap<&'static str, String> {
        let scenario = self.scenario(given);
        let report =
            run(&Scenario::of(&scenario).unwrap_or_else(|error| panic!("{}: {error}", self.cell("name"))));
        let last = report.steps.last().unwrap();
        let state = &last.state;
        let all = |path: &str, show: &dyn Fn(&Value) -> String| -> String {
            let mut found: Vec<String> = Vec::new();
            match path.split_once('/') {
                None => found.extend(list(&state[path]).iter().map(show)),
                Some((outer, inner)) => {
                    for it in list(&state[outer]) {
                        found.extend(list(&it[inner]).iter().map(show));
                    }
                }
            }
            found.join("; ")
        };
        let error = last.error.as_ref().map(|it| format!("{}: {}", it.class, it.message)).unwrap_or_default();
        let events = |wanted: &dyn Fn(&Event) -> Option<String>| {
            last.events.iter().filter_map(|(event, _)| wanted(event)).collect::<Vec<_>>().join("; ")
        };
        let is_warning =
            |event: &Event| event.kind == EventType::Warning && event.reason != "SyncLoadBalancerFailed";
        let columns = [
            ("error", error),
            ("ingress", last.ingress.join(" ")),
            ("exists", last.exists.to_string()),
            ("balancers", all("loadBalancers", &|it| format!("{} {}", text(&it["name"]), text(&it["sku"])))),
            ("tags", all("loadBalancers", &|it| text(&it["tags"]))),
            ("frontends", all("loadBalancers/frontends", &frontend)),
            ("pools", all("loadBalancers/backendPools", &pool)),
            ("probes", all("loadBalancers/probes", &probe)),
            ("rules", all("loadBalancers/rules", &rule)),
            ("publicIPs", all("publicIPs", &public_ip)),
            ("labels", all("publicIPs", &|it| format!("{} {}", text(&it["name"]), text(&it["dnsLabel"])))),
            ("public tags", all("publicIPs", &|it| format!("{} {}", text(&it["name"]), text(&it["tags"])))),
            ("security", all("securityRules", &security)),
            ("security names", all("securityRules", &|it| text(&it["name"]))),
            ("placement", last.placement.as_ref().map(text).unwrap_or_default()),
            ("writes", last.writes.join(", ")),
            ("warnings", events(&|event| is_warning(event).then(|| event.reason.to_owned()))),
            (
                "messages",
                events(&|event| is_warning(event).then(|| format!("{}: {}", event.reason, event.message))),
            ),
            ("events", events(&|event| Some(event.reason.to_owned()))),
        ];
        let shorten = |text: String| {
            let mut text = text.replace('|', "/").replace(PREFIX, "");
            for (index, key) in keys_of(&scenario).iter().enumerate() {
                let short = if index == 0 { "$".to_owned() } else { format!("${}", key.name) };
                text = text.replace(&base(index), &short);
            }
            text
        };
        columns.into_iter().map(|(name, text)| (name, shorten(text).trim().to_owned())).collect()
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
            format!("({})", fields.join(" "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn frontend(it: &Value) -> String {
    let name = text(&it["name"]);
    match it.get("publicIP") {
        Some(public) => format!("{name} {}", text(public)),
        None => format!(
            "{name} {} {} {} {}",
            text(&it["subnet"]),
            text(&it["privateIP"]),
            text(&it["allocation"]),
            text(&it["version"])
        ),
    }
}

fn pool(it: &Value) -> String {
    let members = list(&it["addresses"]).iter();
    let members: Vec<_> = members.map(|it| format!("{}={}", text(&it["name"]), text(&it["ip"]))).collect();
    format!("{} [{}]", text(&it["name"]), members.join(" "))
}

fn probe(it: &Value) -> String {
    let path = it["path"].as_str().map(|path| format!(" {path}")).unwrap_or_default();
    let pace = format!("{}s x{}", it["intervalSeconds"], it["threshold"]);
    format!("{} {} {}{path} {pace}", text(&it["name"]), text(&it["protocol"]), it["port"])
}

fn rule(it: &Value) -> String {
    let mut words = vec![
        text(&it["name"]),
        text(&it["protocol"]),
        format!("{}->{}", it["frontendPort"], it["backendPort"]),
        format!("{}=>{}", text(&it["frontend"]), text(&it["backendPool"])),
    ];
    if it["floatingIP"] == true {
        words.push("floating".to_owned());
    }
    match it["tcpReset"].as_bool() {
        Some(true) => words.push("reset".to_owned()),
        Some(false) => words.push("no-reset".to_owned()),
        None => {}
    }
    words.push(format!("{}m", it["idleTimeoutMinutes"]));
    if it["distribution"] != "Default" {
        words.push(text(&it["distribution"]));
    }
    if it["disableOutboundSnat"] == true {
        words.push("no-snat".to_owned());
    }
    words.push(format!("probe {}", text(&it["probe"])));
    words.join(" ")
}

fn public_ip(it: &Value) -> String {
    let mut words: Vec<String> = ["name", "resourceGroup", "ip", "version", "sku", "allocation"]
        .map(|field| text(&it[field]))
        .to_vec();
    for field in ["prefix", "dnsLabel"] {
        if let Some(value) = it[field].as_str() {
            words.push(format!("{field}={value}"));
        }
    }
    if it["ipTags"] != json!({}) {
        words.push(text(&it["ipTags"]));
    }
    words.push(format!("for {}", text(&it["tags"]["k8s-azure-service"])));
    words.join(" ")
}

fn security(it: &Value) -> String {
    let words = ["priority", "access", "protocol", "sources"].map(|field| text(&it[field]));
    format!("{} to {}:{}", words.join(" "), text(&it["destinations"]), text(&it["destinationPorts"]))
}

fn node(name: &str, last: u8) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "agentpool": "pool0" } },
        "status": { "addresses": [
            { "type": "InternalIP", "address": format!("10.240.0.{last}") },
            { "type": "InternalIP", "address": format!("fd00:240::{last}") },
        ] },
    })
}

/// The UID of the Service that comes first, second and so on.
fn uid(index: usize) -> String {
    format!("{:08x}-1111-2222-3333-444444444444", 0xc0de_0000_u32 + u32::try_from(index).unwrap())
}

fn base(index: usize) -> String {
    format!("a{}", uid(index).replace('-', "")).chars().take(32).collect()
}

fn keys_of(scenario: &Value) -> Vec<Key> {
    let mut keys = Vec::new();
    for step in list(&scenario["steps"]) {
        let meta = &step["service"]["metadata"];
        let key = Key { namespace: text(&meta["namespace"]), name: text(&meta["name"]) };
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

fn step(words: &str, keys: &mut Vec<Key>, given: &BTreeMap<&str, Value>) -> Value {
    let mut key = Key::read("default/web");
    let (mut spec, mut annotations, mut labels) = (Map::new(), Map::new(), Map::new());
    let (mut ports, mut has_ports) = (Vec::new(), true);
    let mut step = json!({ "op": "ensure" });
    spec.insert("type".to_owned(), "LoadBalancer".into());
    for word in split(words) {
        let (name, value) = word.split_once('=').unwrap_or((&word, ""));
        let listed = || value.split(',').filter(|it| !it.is_empty()).collect::<Vec<_>>();
        match name {
            _ if word.starts_with('@') => {
                let value = if word.contains('=') { value } else { "true" };
                annotations.insert(format!("{PREFIX}{}", &name[1..]), value.into());
            }
            _ if word.starts_with("label:") => {
                labels.insert(name["label:".len()..].to_owned(), value.into());
            }
            "internal" => {
                annotations.insert(format!("{PREFIX}azure-load-balancer-internal"), "true".into());
            }
            "noports" => has_ports = false,
            "sticky" => {
                spec.insert("sessionAffinity".to_owned(), "ClientIP".into());
            }
            "dual" => families(&mut spec, &["IPv4", "IPv6"]),
            "dual64" => families(&mut spec, &["IPv6", "IPv4"]),
            "ipv4" => families(&mut spec, &["IPv4"]),
            "ipv6" => families(&mut spec, &["IPv6"]),
            "ip" => {
                spec.insert("loadBalancerIP".to_owned(), value.into());
            }
            "class" => {
                spec.insert("loadBalancerClass".to_owned(), value.into());
            }
            "type" => {
                spec.insert("type".to_owned(), value.into());
            }
            "ranges" => {
                spec.insert("loadBalancerSourceRanges".to_owned(), listed().into());
            }
            "name" => key = Key::read(value),
            "op" => step["op"] = value.into(),
            "endpoints" => step["endpointNodes"] = listed().into(),
            "nodes" => step["nodes"] = given[value]["nodes"].clone(),
            _ if word.starts_with("Local:") => {
                spec.insert("externalTrafficPolicy".to_owned(), "Local".into());
                spec.insert(
                    "healthCheckNodePort".to_owned(),
                    word["Local:".len()..].parse::<u32>().unwrap().into(),
                );
            }
            _ => ports.push(port(&word)),
        }
    }
    if ports.is_empty() && has_ports {
        ports.push(port("80/TCP:30080"));
    }
    if !keys.contains(&key) {
        keys.push(key.clone());
    }
    let index = keys.iter().position(|it| *it == key).unwrap();
    spec.insert("ports".to_owned(), ports.into());
    step["service"] = json!({
        "metadata": {
            "namespace": key.namespace, "name": key.name, "uid": uid(index),
            "annotations": annotations, "labels": labels,
        },
        "spec": spec,
    });
    step
}

fn families(spec: &mut Map<String, Value>, families: &[&str]) {
    spec.insert("ipFamilies".to_owned(), families.into());
}

fn port(word: &str) -> Value {
    let mut parts = word.split(',');
    let first = parts.next().unwrap();
    let (number, rest) = first.split_once('/').unwrap_or_else(|| panic!("`{word}` is no word of a step"));
    let (protocol, node_port) = rest.split_once(':').unwrap_or((rest, ""));
    let mut port = json!({ "port": number.parse::<u16>().unwrap(), "protocol": protocol });
    if !node_port.is_empty() {
        port["nodePort"] = node_port.parse::<u16>().unwrap().into();
    }
    for part in parts {
        match part.strip_prefix("app=") {
            Some(app) => port["appProtocol"] = app.into(),
            None => port["name"] = part.into(),
        }
    }
    port
}

/// Words between blanks; blanks within quotes belong to a word.
fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                words.extend(Some(std::mem::take(&mut word)).filter(|it| !it.is_empty()))
            }
            c => word.push(c),
        }
    }
    words.extend(Some(word).filter(|it| !it.is_empty()));
    words
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}
