//! What documents leave open, the server chooses once, and it stays.

use crate::apply::PUBLIC;
use crate::service::Service;

#[test]
fn a_chosen_address_is_shown_and_stays() {
    let service = Service::with_network();
    service.write("public.json", PUBLIC);
    service.write("all.yaml", &all());
    let said = service.run("apply -f public.json all.yaml");
    assert!(said.code == 0 && said.out.ends_with("applied as revision 2: 5 created\n"), "{said:?}");
    let addresses = || {
        let pip = service.json("get pip web -o json")["properties"]["ipAddress"].clone();
        let nic = service.json("get nic n1 -o json");
        let ip = nic["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"].clone();
        (pip, ip, nic["properties"]["macAddress"].clone())
    };
    let chosen = addresses();
    assert_eq!(chosen.0, "203.0.113.10");
    assert!(chosen.1.is_string() && chosen.2.is_string(), "{chosen:?}");
    assert_eq!(
        service.did("apply -f public.json all.yaml"),
        "nothing to change: 5 resources as they should be\n"
    );
    service.write("all.yaml", &all().replace("frontendPort: 80", "frontendPort: 81"));
    let out = service.did("apply -f all.yaml");
    assert!(
        out.contains("  ~ loadBalancingRules/http/frontendPort: 80 -> 81\n") && out.lines().count() == 3,
        "{out}"
    );
    assert_eq!(addresses(), chosen);
    assert!(service.did("get pip").contains("loadBalancers/web/frontendIPConfigurations/outside"));
    assert!(service.did("get nic").contains("loadBalancers/web/backendAddressPools/app"));
    // The member is the interface's.
    assert!(service.did("get lb").contains("app (1 member)"));
    let said = service.run("delete pip web");
    assert!(
        said.code == 1 && said.err.starts_with("lb/web: frontendIPConfigurations/outside/publicIPAddress: "),
        "{said:?}"
    );
}

/// Ids are long.
fn all() -> String {
    let home = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/forebay";
    ALL.replace("NETWORK/", &format!("{home}/providers/Microsoft.Network/"))
}

const ALL: &str = "
name: web
type: Microsoft.Network/publicIPAddresses
sku: { name: Standard }
properties: { publicIPAllocationMethod: Static, publicIPAddressVersion: IPv4 }
---
name: inner
type: Microsoft.Network/virtualNetworks
properties:
  addressSpace: { addressPrefixes: [10.2.0.0/16] }
  subnets:
  - { name: a, properties: { addressPrefix: 10.2.0.0/24 } }
---
name: n1
type: Microsoft.Network/networkInterfaces
properties:
  ipConfigurations:
  - name: ip
    properties:
      privateIPAllocationMethod: Dynamic
      subnet: { id: NETWORK/virtualNetworks/inner/subnets/a }
      loadBalancerBackendAddressPools:
      - { id: NETWORK/loadBalancers/web/backendAddressPools/app }
---
name: web
type: Microsoft.Network/loadBalancers
sku: { name: Standard }
properties:
  frontendIPConfigurations:
  - name: outside
    properties:
      publicIPAddress: { id: NETWORK/publicIPAddresses/web }
  backendAddressPools:
  - { name: app, properties: {} }
  loadBalancingRules:
  - name: http
    properties:
      frontendIPConfiguration: { id: frontendIPConfigurations/outside }
      backendAddressPool: { id: backendAddressPools/app }
      protocol: Tcp
      frontendPort: 80
      backendPort: 8080
";
