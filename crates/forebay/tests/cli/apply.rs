//! What documents say becomes what is there: all of it or nothing, and only after it was said.

use crate::service::{self, READER, Service, balancer};

#[test]
fn a_folder_of_yaml_and_json_becomes_resources() {
    let service = Service::start();
    service.write("lb.d/web.yaml", &balancer("web", "203.0.113.9", 80));
    service.write("lb.d/net.yml", service::NETWORK);
    service.write("lb.d/public.json", PUBLIC);
    let out = service.did("apply -f lb.d");
    assert!(out.starts_with("create lb/web in forebay\n"), "{out}");
    assert!(out.contains("  + loadBalancingRules/http/frontendPort: 80\n"), "{out}");
    assert!(
        out.contains("create lnet/public in forebay\n") && out.contains("create vnet/net in forebay\n"),
        "{out}"
    );
    assert!(out.ends_with("applied as revision 1: 3 created\n"), "{out}");
    assert_eq!(service.did("apply -f lb.d"), "nothing to change: 3 resources as they should be\n");
    assert_eq!(service.did("diff -f lb.d"), "no difference: 3 resources as they should be\n");
}

#[test]
fn the_examples_can_be_applied_as_they_are() {
    let service = Service::start();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let out = service.did(&format!("apply -f {examples}"));
    assert!(out.ends_with("applied as revision 1: 4 created\n"), "{out}");
}

#[test]
fn only_what_differs_is_said_and_written() {
    let service = Service::with_network();
    service.write_balancer("web", "203.0.113.9", 80);
    service.write_balancer("other", "203.0.113.10", 80);
    service.did("apply -f web.yaml other.yaml");
    let before = service.json("get lb other -o json");
    service.write_balancer("web", "203.0.113.9", 81);
    let diff = service.run("diff -f web.yaml other.yaml");
    let wanted = "update lb/web in forebay\n  ~ loadBalancingRules/http/frontendPort: 80 -> 81\n";
    assert_eq!((diff.code, diff.out.as_str()), (1, wanted), "{diff:?}");
    let dry = service.did("apply --dry-run -f web.yaml other.yaml");
    assert_eq!(dry, format!("{wanted}dry run: 1 to update, 1 unchanged\n"));
    let done = service.did("apply -f web.yaml other.yaml");
    assert_eq!(done, format!("{wanted}applied as revision 3: 1 updated, 1 unchanged\n"));
    assert_eq!(service.json("get lb other -o json")["etag"], before["etag"]);
}

#[test]
fn all_problems_come_at_once_and_nothing_is_applied() {
    // API-2
    let service = Service::with_network();
    service.write_balancer("good", "203.0.113.9", 80);
    let bad = balancer("bad", "203.0.113.10", 80);
    let bad = bad.replace("Pools/app", "Pools/none").replace("Configurations/front", "Configurations/none");
    service.write("bad.yaml", &bad);
    let said = service.run("apply -f good.yaml bad.yaml");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("loadBalancingRules/http/backendAddressPool"), "{said:?}");
    assert!(said.err.contains("loadBalancingRules/http/frontendIPConfiguration"), "{said:?}");
    assert!(said.err.ends_with("2 problems; nothing was changed\n"), "{said:?}");
    assert_eq!(service.did("get lb"), "nothing is there\n");
    // What is wrong with the documents themselves needs no server.
    service.write("worse.yaml", "name: x\nproperties: { prob: 1 }\n");
    let said = service.run("apply -f worse.yaml");
    assert!(said.code == 1 && said.err.contains("prob"), "{said:?}");
    assert_eq!(service.run("diff -f worse.yaml").code, 2, "1 would say that something differs");
}

#[test]
fn two_balancers_with_one_address_and_port_are_refused_together() {
    let service = Service::with_network();
    service.write_balancer("web", "203.0.113.9", 80);
    service.write_balancer("twin", "203.0.113.9", 80);
    service.did("apply -f web.yaml");
    let said = service.run("apply -f twin.yaml");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("twin") && said.err.contains("web"), "{said:?}");
}

#[test]
fn standard_input_is_a_file_too() {
    let service = Service::with_network();
    let said = service.run_with("apply -f -", &balancer("web", "203.0.113.9", 80));
    assert!(said.code == 0 && said.out.contains("1 created"), "{said:?}");
    let said = service.run_with("diff -f -", &service.did("get lb -o yaml"));
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "no difference: 1 resource as it should be\n"),
        "{said:?}"
    );
}

#[test]
fn what_the_server_shows_can_be_applied_again() {
    let service = Service::with_network();
    service.write("public.json", PUBLIC);
    service.write_balancer("web", "203.0.113.9", 80);
    service.did("apply -f public.json web.yaml");
    for form in ["json", "yaml"] {
        service.write(&format!("shown.{form}"), &service.did(&format!("get -o {form}")));
        let out = service.did(&format!("apply -f shown.{form}"));
        assert_eq!(out, "nothing to change: 3 resources as they should be\n", "{form}");
    }
}

#[test]
fn who_may_only_read_sees_the_difference_and_cannot_apply_it() {
    // AUTH-1
    let service = Service::with_network();
    service.write_balancer("web", "203.0.113.9", 80);
    assert_eq!(service.run_as(READER, "diff -f web.yaml").code, 1);
    let said = service.run_as(READER, "apply -f web.yaml");
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("role is `write`"), "{said:?}");
    assert_eq!(service.did("get lb"), "nothing is there\n");
}

#[test]
fn another_group_is_another_place() {
    let service = Service::with_network();
    service.write_balancer("web", "203.0.113.9", 80);
    service.did("apply -f web.yaml");
    service.write_balancer("web", "203.0.113.10", 80);
    let out = service.did("apply -f web.yaml --group other");
    assert!(out.starts_with("create lb/web in other\n"), "{out}");
    assert_eq!(service.did("get lb -o name"), "lb/web\n");
    assert_eq!(service.did("get lb --all -o name"), "lb/web\nlb/other~web\n");
    assert!(service.did("get lb other~web").contains("203.0.113.10"));
}

#[test]
fn many_at_once_lose_nothing() {
    let service = Service::with_network();
    let names: Vec<String> = (20..32).map(|number| format!("web{number}")).collect();
    for (number, name) in (20..).zip(&names) {
        service.write_balancer(name, &format!("203.0.113.{number}"), 80);
    }
    let commands =
        names.iter().map(|name| service.command(service::WRITER, &format!("apply -f {name}.yaml")));
    let running: Vec<_> = commands.map(|mut command| service::spawn(&mut command)).collect();
    for process in running {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let wanted: String = names.iter().map(|name| format!("lb/{name}\n")).collect();
    assert_eq!(service.did("get lb -o name"), wanted);
    assert_eq!(service.json("status --json")["revision"], 13);
}

pub const PUBLIC: &str = r#"{
  "name": "public",
  "type": "Microsoft.Network/logicalNetworks",
  "properties": { "subnets": [{ "name": "vips", "properties": { "addressPrefix": "203.0.113.0/24", "isPublic": true,
    "ipPools": [{ "name": "all", "properties": { "startIpAddress": "203.0.113.10", "endIpAddress": "203.0.113.19" } }] } }] }
}"#;
