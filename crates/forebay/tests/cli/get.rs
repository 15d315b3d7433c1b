//! What is there, for people and for programs.

use crate::apply::PUBLIC;
use crate::service::{READER, Service};

#[test]
fn a_table_says_what_a_balancer_does() {
    let service = service();
    let said = service.run_as(READER, "get lb");
    assert_eq!(said.code, 0, "{said:?}");
    let lines: Vec<Vec<&str>> = said.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "FRONTENDS", "RULES", "POOLS", "STATE"], "{}", said.out);
    let wanted = [
        "web",
        "front",
        "203.0.113.9",
        "http",
        "80/tcp",
        "->",
        "app:8080",
        "app",
        "(2",
        "members)",
        "Succeeded",
    ];
    assert_eq!(lines[1][..wanted.len()], wanted, "{}", said.out);
}

#[test]
fn everything_is_a_table_a_kind() {
    let service = service();
    let out = service.did("get");
    assert!(out.contains("lb/web ") && out.contains("lnet/public "), "{out}");
    assert!(out.contains("vips/all 203.0.113.10-203.0.113.19"), "{out}");
    assert_eq!(service.did("get -o name"), "lb/web\nlnet/public\nvnet/net\n");
}

#[test]
fn one_resource_is_named_in_several_ways() {
    let service = service();
    let id = service.json("get lb web -o json")["id"].as_str().unwrap().to_owned();
    assert_eq!(
        id,
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/forebay/providers/Microsoft.Network/loadBalancers/web"
    );
    for words in ["lb/web", "loadBalancers web", "loadbalancer/WEB", "lb forebay~web", &id] {
        assert_eq!(service.did(&format!("get {words} -o name")), "lb/web\n", "{words}");
    }
}

#[test]
fn flags_that_would_do_nothing_are_refused() {
    let service = service();
    for words in ["get lb web --all", "get lb/web --all", "get lb/web/probes --all"] {
        let said = service.run(words);
        assert!(said.code == 2 && said.err.contains("--all"), "{words}: {said:?}");
    }
    for command in ["watch", "status", "backup copy"] {
        for flag in ["--group", "--subscription"] {
            let said = service.run(&format!("{command} {flag} other"));
            assert!(
                said.code == 2 && said.err.contains(&format!("unexpected argument '{flag}'")),
                "{said:?}"
            );
        }
    }
}

#[test]
fn wide_says_etags() {
    let service = service();
    let etag = service.json("get lb/web -o json")["etag"].as_str().unwrap().to_owned();
    assert!(service.did("get lb -o wide").contains(&etag));
}

#[test]
fn children_are_shown_by_their_path() {
    let service = service();
    let out = service.did("get lb/web/loadBalancingRules");
    assert!(out.contains("http") && out.contains("frontendPort: 80"), "{out}");
    assert_eq!(service.json("get lb/web/loadBalancingRules/http -o json")["properties"]["backendPort"], 8080);
    assert!(service.did("get lnet/public/subnets/vips/ipPools").contains("startIpAddress: 203.0.113.10"));
    assert!(
        service
            .did("get lb/web/backendAddressPools -o name")
            .ends_with("/loadBalancers/web/backendAddressPools/app\n")
    );
}

#[test]
fn what_is_not_there_is_a_no() {
    let service = service();
    let said = service.run("get lb none");
    assert_eq!((said.code, said.err.as_str()), (1, "forebay: lb/none is not there\n"));
    assert_eq!(service.run("get lb/web/probes/none").code, 1);
    assert_eq!(service.did("get pip"), "nothing is there\n");
    assert_eq!(service.did("get pip -o json"), "[]\n");
    let said = service.run("get balancers");
    assert!(said.code == 2 && said.err.contains("lb (loadBalancers)"), "{said:?}");
}

#[test]
fn the_state_of_the_server_is_told() {
    let service = service();
    let out = service.did("status");
    assert!(out.contains("balancer    cli\n") && out.contains("revision    2\n"), "{out}");
    assert!(
        out.contains("loadBalancers 1, logicalNetworks 1, virtualNetworks 1\n")
            && out.contains("you         may write\n"),
        "{out}"
    );
    assert!(service.run_as(READER, "status").out.contains("may read\n"));
    assert_eq!(service.json("status --json")["resourceGroup"], "forebay");
}

fn service() -> Service {
    let service = Service::with_network();
    service.write("public.json", PUBLIC);
    service.write_balancer("web", "203.0.113.9", 80);
    service.did("apply -f public.json web.yaml");
    service
}
