//! Files of JSON and YAML, whole folders, and what is wrong with them.

use super::*;

const HOME: (&str, &str) = ("s", "g");

#[test]
fn json_and_yaml_say_the_same() {
    let json = r#"{ "name": "web", "properties": { "probes": [{ "name": "alive", "properties": { "protocol": "Tcp", "port": 80 } }] } }"#;
    let yaml =
        "name: web\nproperties:\n  probes:\n  - name: alive\n    properties: { protocol: Tcp, port: 80 }\n";
    let one = read(&[("a.json", json)]).unwrap();
    assert_eq!(one, read(&[("a.yaml", yaml)]).unwrap());
    assert_eq!(one, read(&[("-", json)]).unwrap());
    assert_eq!(one, read(&[("-", yaml)]).unwrap());
    let id = one.keys().next().unwrap().to_string();
    assert_eq!(id, "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/loadBalancers/web");
}

#[test]
fn a_file_may_hold_several_documents() {
    let several = "---\nname: a\n---\nname: b\n---\n- name: c\n- name: d\n";
    assert_eq!(read(&[("a.yaml", several)]).unwrap().len(), 4);
    assert_eq!(read(&[("a.json", r#"[{ "name": "a" }, { "name": "b" }]"#)]).unwrap().len(), 2);
}

#[test]
fn a_name_or_an_address_in_yaml_stays_a_text() {
    let yaml = "
name: web
properties:
  backendAddressPools:
  - name: app
    properties:
      loadBalancerBackendAddresses:
      - { name: w1, properties: { ipAddress: 10.1.0.4 } }
";
    let documents = read(&[("a.yaml", yaml)]).unwrap();
    let value = serde_json::to_value(documents.values().next().unwrap()).unwrap();
    let pool = &value["properties"]["backendAddressPools"][0]["properties"];
    assert_eq!(pool["loadBalancerBackendAddresses"][0]["properties"]["ipAddress"], "10.1.0.4");
}

#[test]
fn every_problem_of_every_file_is_told_at_once() {
    // API-2
    let problems = read(&[
        ("a.json", r#"{ "name": "a", "properties": { "prob": 1 } }"#),
        ("b.yaml", "name: b\n  oops: {\n"),
        ("c.yaml", "name: c\nid: /no/id\n"),
        ("d.yaml", "name: d\n"),
        ("e.yaml", "name: D\n"),
    ])
    .unwrap_err();
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(text.len(), 4, "{text:#?}");
    assert!(text[1].contains("line 2"), "{text:#?}");
    assert!(
        text[2].contains(
            "write /subscriptions/ID/resourceGroups/NAME/providers/Microsoft.Network/loadBalancers/c"
        ),
        "{text:#?}"
    );
    assert!(text[3].contains("two documents"), "{text:#?}");
}

#[test]
fn a_folder_is_its_visible_files_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.yaml", "a.json", ".hidden.json", "notes.txt", "c.yml"] {
        std::fs::write(folder.path().join(name), "{}").unwrap();
    }
    let found = sources(&[folder.path().to_owned()]).unwrap();
    let names: Vec<&str> = found.iter().map(|source| source.name.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["a.json", "b.yaml", "c.yml"]);
    let empty = tempfile::tempdir().unwrap();
    assert!(sources(&[empty.path().to_owned()]).unwrap_err().to_string().contains("*.yaml"));
}

fn read(files: &[(&str, &str)]) -> Result<BTreeMap<ResourceId, Document>, Vec<Problem>> {
    let source = |(name, text): &(&str, &str)| Source { name: (*name).into(), text: (*text).into() };
    documents(&files.iter().map(source).collect::<Vec<_>>(), HOME)
}
