//! Members and NAT targets: written at the network interface, or at the load balancer.

use super::*;

const POOL: &str = "/v1/loadBalancers/lb/backendAddressPools/web";

/// A network, two interfaces in it, and a load balancer with a pool and a NAT rule.
async fn client() -> Client {
    let client = Client::with_balancer().await;
    for (path, body) in [
        ("/v1/logicalNetworks/provider", json!({ "properties": { "networkVirtualizationEnabled": true } })),
        (
            "/v1/virtualNetworks/tenant",
            json!({ "properties": {
                "logicalNetwork": { "resourceRef": "/logicalNetworks/provider" },
                "addressSpace": { "addressPrefixes": ["10.20.0.0/16"] },
                "subnets": [{ "resourceId": "web", "properties": { "addressPrefix": "10.20.1.0/24" } }] } }),
        ),
        ("/v1/networkInterfaces/vm1", interface(11, &[], &[])),
        ("/v1/networkInterfaces/vm2", interface(12, &[], &[])),
        (POOL, json!({})),
        ("/v1/loadBalancers/lb/inboundNatRules/ssh", nat_rule(None)),
    ] {
        let got = client.put(path, body).await;
        assert_eq!(got.status, 201, "{path} {got:?}");
    }
    client
}

fn interface(last: u8, pools: &[&str], rules: &[&str]) -> Value {
    let pools: Vec<Value> =
        pools.iter().map(|name| of_balancer(&format!("backendAddressPools/{name}"))).collect();
    let rules: Vec<Value> =
        rules.iter().map(|name| of_balancer(&format!("inboundNatRules/{name}"))).collect();
    json!({ "properties": { "privateMacAllocationMethod": "Dynamic", "ipConfigurations": [{ "resourceId": "ip", "properties": {
        "privateIPAddress": format!("10.20.1.{last}"), "privateIPAllocationMethod": "Static",
        "subnet": { "resourceRef": "/virtualNetworks/tenant/subnets/web" },
        "loadBalancerBackendAddressPools": pools, "loadBalancerInboundNatRules": rules } }] } })
}

fn nat_rule(target: Option<&str>) -> Value {
    let target = target.map(ip_configuration);
    json!({ "properties": { "frontendIPConfigurations": [of_balancer("frontendIPConfigurations/fe")], "protocol": "Tcp",
        "frontendPort": 2222, "backendPort": 22, "backendIPConfiguration": target } })
}

fn ip_configuration(interface: &str) -> Value {
    json!({ "resourceRef": format!("/networkInterfaces/{interface}/ipConfigurations/ip") })
}

impl Client {
    async fn members(&self) -> Value {
        self.get(POOL).await.properties()["backendIPConfigurations"].clone()
    }

    async fn target(&self) -> Option<Value> {
        self.get("/v1/loadBalancers/lb/inboundNatRules/ssh")
            .await
            .properties()
            .get("backendIPConfiguration")
            .cloned()
    }
}

#[tokio::test]
async fn membership_is_written_at_the_interface_and_shown_at_the_pool() {
    let client = client().await;
    assert_eq!(client.put("/v1/networkInterfaces/vm1", interface(11, &["web"], &["ssh"])).await.status, 200);
    assert_eq!(client.members().await, json!([ip_configuration("vm1")]));
    assert_eq!(client.target().await, Some(ip_configuration("vm1")));
    let taken = client.put("/v1/networkInterfaces/vm2", interface(12, &[], &["ssh"])).await;
    assert_eq!((taken.status, taken.code()), (400, "InboundNatRuleInUse"));
    assert_eq!(client.put("/v1/networkInterfaces/vm1", interface(11, &[], &[])).await.status, 200);
    assert_eq!((client.members().await, client.target().await), (json!([]), None));
}

#[tokio::test]
async fn a_pool_gets_members_only_when_the_balancer_says_so() {
    let client = client().await;
    client.put("/v1/networkInterfaces/vm1", interface(11, &["web"], &[])).await;
    let with = |members: Value, flag: Value| {
        balancer(json!({ "updateBackendAddressPools": flag, "backendAddressPools":
            [{ "resourceId": "web", "properties": { "backendIPConfigurations": members } }] }))
    };
    for version in ["v1", "v7.1"] {
        let path = format!("/{version}/loadBalancers/lb");
        assert_eq!(client.put(&path, with(json!([]), json!(false))).await.status, 200);
        assert_eq!(client.members().await, json!([ip_configuration("vm1")]), "{version}");
    }
    let former = client.get("/v1/networkInterfaces/vm2").await;
    let got = client.put("/v7/loadBalancers/lb", with(json!([ip_configuration("VM2")]), json!("true"))).await;
    assert_eq!((got.status, &got.properties()["updateBackendAddressPools"]), (200, &json!(false)));
    assert_eq!(client.members().await, json!([ip_configuration("vm2")]));
    let interface = client.get("/v1/networkInterfaces/vm2").await;
    assert_ne!(interface.etag(), former.etag());
    let pools =
        interface.body.pointer("/properties/ipConfigurations/0/properties/loadBalancerBackendAddressPools");
    assert_eq!(pools, Some(&json!([of_balancer("backendAddressPools/web")])));
    let nobody =
        client.put("/v7/loadBalancers/lb", with(json!([ip_configuration("vm3")]), json!(true))).await;
    assert_eq!((nobody.status, nobody.code()), (400, "InvalidResourceReference"));
    assert_eq!(client.members().await, json!([ip_configuration("vm2")]));
}

#[tokio::test]
async fn a_nat_rule_may_name_its_target_and_another_one_later() {
    let client = client().await;
    let path = "/v1/loadBalancers/lb/inboundNatRules/ssh";
    for target in ["vm1", "vm2"] {
        assert_eq!(client.put(path, nat_rule(Some(target))).await.status, 200);
        assert_eq!(client.target().await, Some(ip_configuration(target)));
    }
    // Clients that bind at the interface do not say it here.
    assert_eq!(client.put(path, nat_rule(None)).await.status, 200);
    assert_eq!(client.target().await, Some(ip_configuration("vm2")));
    let rules = client.get("/v1/networkInterfaces/vm1/ipConfigurations/ip").await;
    assert_eq!(rules.properties()["loadBalancerInboundNatRules"], json!([]));
}

#[tokio::test]
async fn interfaces_leave_what_is_removed() {
    let client = client().await;
    client.put("/v1/networkInterfaces/vm1", interface(11, &["web"], &["ssh"])).await;
    assert_eq!(client.delete(POOL).await.status, 200);
    assert_eq!(client.delete("/v1/loadBalancers/lb").await.status, 200);
    let left = client.get("/v1/networkInterfaces/vm1/ipConfigurations/ip").await;
    assert_eq!(left.properties()["loadBalancerBackendAddressPools"], json!([]));
    assert_eq!(left.properties()["loadBalancerInboundNatRules"], json!([]));
}

#[tokio::test]
async fn pools_that_go_and_members_that_move_are_one_write() {
    let client = client().await;
    client.put("/v1/loadBalancers/lb/backendAddressPools/old", json!({})).await;
    client.put("/v1/networkInterfaces/vm1", interface(11, &["old"], &["ssh"])).await;
    let pool = json!({ "resourceId": "web", "properties": { "backendIPConfigurations": [ip_configuration("vm1")] } });
    let body = balancer(json!({ "updateBackendAddressPools": true, "backendAddressPools": [pool] }));
    let got = client.put("/v7/loadBalancers/lb", body).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(client.members().await, json!([ip_configuration("vm1")]));
    let left = client.get("/v1/networkInterfaces/vm1/ipConfigurations/ip").await;
    assert_eq!(left.properties()["loadBalancerInboundNatRules"], json!([]));
}

#[tokio::test]
async fn the_last_frontend_stays() {
    let client = client().await;
    let path = "/v1/loadBalancers/lb/frontendIPConfigurations/fe";
    let got = client.delete(path).await;
    assert_eq!((got.status, got.code()), (409, "InUseFrontendIpConfigurationCannotBeDeleted"));
    client.delete("/v1/loadBalancers/lb/inboundNatRules/ssh").await;
    let got = client.delete(path).await;
    assert_eq!((got.status, got.code()), (400, "InvalidFrontendIPCount"));
}
