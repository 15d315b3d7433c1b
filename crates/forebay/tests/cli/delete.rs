//! What goes, and what may not go yet.

use crate::apply::PUBLIC;
use crate::service::{READER, Service};

#[test]
fn one_is_deleted_once() {
    let service = service();
    assert_eq!(service.did("delete lb web"), "deleted lb/web\n");
    let said = service.run("delete lb web");
    assert_eq!((said.code, said.err.as_str()), (1, "forebay: lb/web is not there; nothing was deleted\n"));
}

#[test]
fn what_is_in_use_stays_and_its_users_are_named() {
    let service = service();
    let said = service.run("delete vnet inner");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.starts_with("nic/n1: ipConfigurations/ip/subnet: "), "{said:?}");
    let said = service.run("delete lb/web/backendAddressPools/app");
    assert!(said.code == 1 && said.err.contains("loadBalancingRules/http"), "{said:?}");
    // Who uses it may go with it.
    assert!(service.did("delete -f inner.yaml nic.yaml").contains("2 deleted"));
}

#[test]
fn several_go_together_or_not_at_all() {
    let service = service();
    let said = service.run("delete lb web none");
    assert_eq!((said.code, said.err.as_str()), (1, "forebay: lb/none is not there; nothing was deleted\n"));
    assert_eq!(service.did("get lb -o name"), "lb/web\n");
    service.write_balancer("two", "203.0.113.30", 80);
    service.did("apply -f two.yaml");
    let out = service.did("delete lb two web");
    assert!(
        out.starts_with("deleted lb/two in forebay\ndeleted lb/web in forebay\n")
            && out.ends_with(": 2 deleted\n"),
        "{out}"
    );
}

#[test]
fn a_file_says_what_goes() {
    let service = service();
    service.write("public.json", PUBLIC);
    let out = service.did("delete -f web.yaml public.json");
    assert!(out.starts_with("deleted lb/web in forebay\n"), "{out}");
    assert_eq!(service.did("delete -f web.yaml"), "nothing to delete: none of them is there\n");
}

#[test]
fn a_child_goes_alone() {
    let service = service();
    service.did("delete lb/web/loadBalancingRules/http");
    assert_eq!(service.did("get lb/web/loadBalancingRules"), "nothing is there\n");
    service.did("delete lb/web/backendAddressPools/app");
}

#[test]
fn only_the_state_that_was_seen_is_deleted() {
    let service = service();
    let etag = service.json("get lb/web -o json")["etag"].as_str().unwrap().to_owned();
    service.write_balancer("web", "203.0.113.9", 81);
    service.did("apply -f web.yaml");
    let said = service.run(&format!("delete lb web --if-match {etag}"));
    assert!(said.code == 1 && said.err.contains("(PreconditionFailedEtagMismatch)"), "{said:?}");
    assert_eq!(service.did("get lb -o name"), "lb/web\n");
    let etag = service.json("get lb/web -o json")["etag"].as_str().unwrap().to_owned();
    service.did(&format!("delete lb web --if-match {etag}"));
}

#[test]
fn too_much_is_not_deleted() {
    let service = service();
    for words in ["delete lb", "delete lb/web/probes"] {
        let said = service.run(words);
        assert!(said.code == 2 && said.err.contains("say which by name"), "{said:?}");
    }
    let said = service.run_as(READER, "delete lb web");
    assert!(said.code == 2 && said.err.contains("role is `write`"), "{said:?}");
    assert_eq!(service.did("get lb -o name"), "lb/web\n");
}

fn service() -> Service {
    let service = Service::with_network();
    service.write("inner.yaml", INNER);
    service.write("nic.yaml", NIC);
    service.write_balancer("web", "203.0.113.9", 80);
    service.did("apply -f inner.yaml nic.yaml web.yaml");
    service
}

const INNER: &str = "
name: inner
type: Microsoft.Network/virtualNetworks
properties:
  addressSpace: { addressPrefixes: [10.2.0.0/16] }
  subnets:
  - { name: a, properties: { addressPrefix: 10.2.0.0/24 } }
";
const NIC: &str = "
name: n1
type: Microsoft.Network/networkInterfaces
properties:
  ipConfigurations:
  - name: ip
    properties:
      privateIPAddress: 10.2.0.9
      privateIPAllocationMethod: Static
      subnet:
        id: \"/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/forebay/providers\
             /Microsoft.Network/virtualNetworks/inner/subnets/a\"
";
