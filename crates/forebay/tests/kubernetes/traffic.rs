//! Real packets: clients, a balancer and three nodes in network namespaces, with a stand-in for kube-proxy's rules on each node.

mod site;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use forebay::lab::{Frame, Host};
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use crate::cluster::Cluster as _;
use crate::world::{becomes, eventually};
use site::{FAR, Health, Site, names, nobody};

#[test]
fn clients_reach_the_pods_of_a_service_whatever_becomes_of_the_nodes() {
    // K8S-1 K8S-2
    let Some(site) = Site::new("kubernetes", &json!({})) else { return };
    let web = site.serve("web", 1, &json!({}));
    site.proxy(&[&web]);
    becomes(&names([0, 1, 2]), || site.met(0, web.at(80)));
    let seen = site.answer(0, web.at(80));
    assert_eq!(seen.client.ip(), IpAddr::from(Ipv4Addr::new(10, 20, 1, 100)), "the client's own address");

    // Who may call is kube-proxy's business too, because the packet still has the frontend's address.
    let guarded =
        site.serve("guarded", 1, &json!({ "spec": { "loadBalancerSourceRanges": ["10.20.1.100/32"] } }));
    site.proxy(&[&web, &guarded]);
    becomes(&names([0, 1, 2]), || site.met(0, guarded.at(80)));
    assert_eq!(site.met(1, guarded.at(80)), nobody(), "somebody else is not let in");
    assert_eq!(site.all_met(1, web.at(80)), names([0, 1, 2]));

    // Only the nodes that have a pod say that they have one, until they are drained.
    let [_, first, second] = [0, 1, 2].map(|number| Health::on(&site.nodes[number]));
    let local = json!({ "spec": { "externalTrafficPolicy": "Local", "healthCheckNodePort": Health::PORT } });
    let local = site.serve("local", 1, &local);
    site.proxy(&[&web, &guarded, &local]);
    becomes(&names([0, 1, 2]), || site.met(0, local.at(80)));
    site.api.merge("nodes", "", "node-1", &json!({ "spec": { "unschedulable": true } }));
    first.drain();
    becomes(&names([0, 2]), || site.met(0, local.at(80)));
    assert_eq!(
        site.all_met(0, web.at(80)),
        names([0, 1, 2]),
        "kube-proxy of a drained node leads to pods elsewhere"
    );
    second.drain();
    becomes(&names([0]), || site.met(0, local.at(80)));

    // Without floating IP the node is called at its own address and node port.
    let off = "service.beta.kubernetes.io/azure-disable-load-balancer-floating-ip";
    let plain = site.serve("plain", 1, &json!({ "metadata": { "annotations": { off: "true" } } }));
    site.proxy(&[&web, &guarded, &local, &plain]);
    becomes(&names([0, 1, 2]), || site.met(0, plain.at(80)));
    let seen = site.answer(0, plain.at(80));
    assert_eq!(
        seen.client.ip(),
        IpAddr::from(Ipv4Addr::new(10, 20, 1, 2)),
        "the balancer stands in for the client"
    );

    // A node is taken out, and another one is lost: nobody says that it is not ready before its probes fail.
    let out = json!({ "metadata": { "labels": { "node.kubernetes.io/exclude-from-external-load-balancers": "" } } });
    site.api.merge("nodes", "", "node-0", &out);
    becomes(&names([1, 2]), || site.met(0, web.at(80)));
    assert_eq!(site.all_met(0, plain.at(80)), names([1, 2]));
    site.lan.set_plugged(&site.nodes[1].host, "eth0", false).unwrap();
    becomes(&names([2]), || site.met(0, web.at(80)));
    let lost = json!({ "status": { "conditions": [{ "type": "Ready", "status": "Unknown" }] } });
    site.api.merge("nodes", "", "node-1", &lost);
    becomes(&names([2]), || site.met(0, plain.at(80)));
    // It comes back.
    site.lan.set_plugged(&site.nodes[1].host, "eth0", true).unwrap();
    becomes(&names([1, 2]), || site.met(0, web.at(80)));

    site.api.delete("services", "default", "web");
    eventually("it is gone", || site.api.get("services", "default", "web").is_none().then_some(()));
    becomes(&nobody(), || site.met(0, web.at(80)));
    assert_eq!(site.all_met(0, guarded.at(80)), names([1, 2]), "the others are not touched");
}

#[test]
fn who_may_call_a_service_is_decided_before_a_node_is_reached() {
    // ACL-2 K8S-1: on the nodes everybody is let in.
    let settings = json!({ "forebay": { "serviceTags": { "Office": ["10.20.1.100/32"] } } });
    let Some(mut site) = Site::new("kubernetes-acl", &settings) else { return };
    let internal = "azure-load-balancer-internal";
    let ranges = json!({ "loadBalancerSourceRanges": ["10.20.1.100/32"] });
    let with = |spec: &Value, annotations: &[(&str, &str)]| {
        let prefixed = annotations
            .iter()
            .map(|(name, value)| (format!("service.beta.kubernetes.io/{name}"), Value::from(*value)));
        json!({ "metadata": { "annotations": Value::Object(prefixed.collect()) }, "spec": spec })
    };
    let none = json!({});
    let guarded = [
        ("public", with(&ranges, &[])),
        ("allowed", with(&none, &[("azure-allowed-ip-ranges", "10.20.1.100/32")])),
        ("tagged", with(&none, &[("azure-allowed-service-tags", "Office")])),
        ("plain", with(&ranges, &[("azure-disable-load-balancer-floating-ip", "true")])),
        ("inner", with(&ranges, &[(internal, "true")])),
        ("inner-allowed", with(&none, &[(internal, "true"), ("azure-allowed-ip-ranges", "10.20.1.100/32")])),
        (
            "inner-plain",
            with(&ranges, &[(internal, "true"), ("azure-disable-load-balancer-floating-ip", "true")]),
        ),
        (
            "inner-denying",
            with(
                &ranges,
                &[(internal, "true"), ("azure-deny-all-except-load-balancer-source-ranges", "true")],
            ),
        ),
    ];
    let guarded = guarded.map(|(name, more)| (name, site.serve(name, 1, &more)));
    let open = [("open", with(&none, &[])), ("inner-open", with(&none, &[(internal, "true")]))];
    let open = open.map(|(name, more)| (name, site.serve(name, 1, &more)));
    site.proxy_for_everybody(&guarded.iter().chain(&open).map(|(_, served)| served).collect::<Vec<_>>());
    let is_so = |site: &Site| {
        for (name, served) in &guarded {
            eventually(&format!("{name} lets in whom it names"), || site.call(0, served.at(80)));
            assert!(site.call(1, served.at(80)).is_none(), "{name} lets in somebody else");
        }
        // Whoever gets there may call a Service that says nothing, wherever they are.
        let far: IpAddr = FAR.parse().unwrap();
        for (name, served) in &open {
            for (client, from) in [(0, None), (1, None), (1, Some(far))] {
                eventually(&format!("{name} lets in everybody"), || {
                    site.call_from(client, from, served.at(80))
                });
            }
        }
    };
    is_so(&site);
    site.stop_controller();
    is_so(&site);
    site.start_controller();
    // It has looked at everything once it has seen to a change.
    let ranges = json!({ "spec": { "loadBalancerSourceRanges": ["10.20.1.101/32"] } });
    site.api.merge("services", "default", "public", &ranges);
    let public = guarded[0].1.at(80);
    eventually("it follows a change", || site.call(1, public));
    assert!(site.call(0, public).is_none(), "who was let in before is not any more");
    site.api.merge(
        "services",
        "default",
        "public",
        &json!({ "spec": { "loadBalancerSourceRanges": ["10.20.1.100/32"] } }),
    );
    eventually("it follows another one", || site.call(0, public));
    is_so(&site);
}

#[test]
fn services_of_every_kind_reach_their_pods() {
    // K8S-1 K8S-2
    let Some(site) = Site::new("kubernetes-all", &json!({})) else { return };
    let all = names([0, 1, 2]);
    let annotated = |names: &[(&str, &str)], spec: Value| {
        let annotations = names
            .iter()
            .map(|(name, value)| (format!("service.beta.kubernetes.io/{name}"), Value::from(*value)));
        json!({ "metadata": { "annotations": Value::Object(annotations.collect()) }, "spec": spec })
    };
    let internal = ("azure-load-balancer-internal", "true");
    let both = json!({ "ipFamilies": ["IPv4", "IPv6"] });
    let dual = site.serve("dual", 2, &annotated(&[], both.clone()));
    let inner_dual = site.serve("inner-dual", 2, &annotated(&[internal], both));
    let names_of = json!({ "ports": [{ "port": 53, "protocol": "UDP" }, { "port": 53, "protocol": "TCP" }] });
    let dns = site.serve("dns", 1, &annotated(&[], names_of.clone()));
    let off = ("azure-disable-load-balancer-floating-ip", "true");
    let plain_dns = site.serve("plain-dns", 1, &annotated(&[off], names_of));
    // Two Services at one address.
    let host = site.serve("host", 1, &json!({}));
    let pin = ("azure-load-balancer-ipv4", host.vips[0].to_string());
    let guest = json!({ "ports": [{ "port": 8080, "protocol": "TCP" }] });
    let guest = site.serve("guest", 1, &annotated(&[(pin.0, &pin.1)], guest));
    assert_eq!(guest.vips, host.vips);
    site.proxy(&[&dual, &inner_dual, &dns, &plain_dns, &host, &guest]);
    for served in [&dual, &inner_dual] {
        for vip in &served.vips {
            becomes(&all, || site.met(0, SocketAddr::new(*vip, 80)));
        }
    }
    for served in [&dns, &plain_dns] {
        becomes(&all, || site.met(0, served.at(53)));
        becomes(&all, || site.met_by_datagrams(0, served.at(53)));
    }
    becomes(&all, || site.met(0, host.at(80)));
    becomes(&all, || site.met(0, guest.at(8080)));
    site.api.delete("services", "default", "host");
    eventually("it is gone", || site.api.get("services", "default", "host").is_none().then_some(()));
    becomes(&nobody(), || site.met(0, host.at(80)));
    assert_eq!(site.all_met(0, guest.at(8080)), all, "the guest stays at the address");

    // This kernel need not know SCTP: the packet is made here, and looked at on the nodes.
    let signal = json!({ "ports": [{ "port": 3868, "protocol": "SCTP" }] });
    let signal = site.serve("signal", 1, &annotated(&[internal], signal));
    let own: IpAddr = Ipv4Addr::new(10, 20, 1, 100).into();
    let seen = eventually("an association reaches one node", || {
        let captures: Vec<_> =
            site.nodes.iter().map(|node| node.host.capture("eth0", "ip proto 132").unwrap()).collect();
        send_init(&site.clients[0], own, signal.vips[0]);
        let seen = captures.into_iter().flat_map(|capture| capture.stop().unwrap());
        Some(seen.collect::<Vec<_>>()).filter(|it| !it.is_empty())
    });
    let [Frame(frame)] = &seen[..] else { panic!("one node is enough: {}", seen.len()) };
    let port = u16::from_be_bytes([frame[36], frame[37]]);
    let to = IpAddr::from(<[u8; 4]>::try_from(&frame[30..34]).unwrap());
    assert_eq!((to, port), (signal.vips[0], 3868), "the frontend's own address and port");
}

#[test]
fn all_ports_of_an_internal_service_lead_to_its_pods() {
    // ACL-2 K8S-1: with a rule for all ports, whoever may call one of them may call all.
    let Some(site) = Site::new("kubernetes-ha", &json!({})) else { return };
    let annotations = json!({
        "service.beta.kubernetes.io/azure-load-balancer-internal": "true",
        "service.beta.kubernetes.io/azure-load-balancer-enable-high-availability-ports": "true",
    });
    let ports = json!([{ "name": "a", "port": 80, "protocol": "TCP" }, { "name": "b", "port": 8000, "protocol": "TCP" },
        { "name": "c", "port": 53, "protocol": "UDP" }]);
    let open = json!({ "metadata": { "annotations": annotations }, "spec": { "ports": ports } });
    let mut guarded = open.clone();
    guarded["spec"]["loadBalancerSourceRanges"] = json!(["10.20.1.100/32"]);
    let (open, guarded) = (site.serve("open", 1, &open), site.serve("guarded", 1, &guarded));
    site.proxy_for_everybody(&[&open, &guarded]);
    for served in [&open, &guarded] {
        for port in [80, 8000] {
            becomes(&names([0, 1, 2]), || site.met(0, served.at(port)));
        }
        becomes(&names([0, 1, 2]), || site.met_by_datagrams(0, served.at(53)));
    }
    assert_eq!(site.all_met(1, open.at(80)), names([0, 1, 2]));
    for port in [80, 8000] {
        assert!(site.call(1, guarded.at(port)).is_none(), "somebody else is let in");
    }
    assert_eq!(site.met_by_datagrams(1, guarded.at(53)), nobody());
}

#[test]
fn a_service_of_the_local_policy_follows_its_endpoints() {
    // K8S-2: with several load balancers it has a pool of its own.
    let several = json!({
        "loadBalancerBackendPoolUpdateIntervalInSeconds": 1,
        "multipleStandardLoadBalancerConfigurations": [{ "name": "kubernetes", "primaryVMSet": "pool0" }],
    });
    let Some(site) = Site::new("kubernetes-ends", &several) else { return };
    let endpoints = |nodes: &[u8]| {
        let endpoints = nodes.iter().map(
            |node| json!({ "addresses": [format!("10.244.{node}.2")], "nodeName": format!("node-{node}") }),
        );
        json!({
            "metadata": { "name": "web-1", "labels": { "kubernetes.io/service-name": "web" } },
            "addressType": "IPv4",
            "endpoints": endpoints.collect::<Vec<_>>(),
            "ports": [],
        })
    };
    site.api.create("endpointslices", "default", &endpoints(&[0, 1]));
    let _health = [0, 1, 2].map(|number| Health::on(&site.nodes[number]));
    let local = json!({ "spec": { "externalTrafficPolicy": "Local", "healthCheckNodePort": Health::PORT } });
    let web = site.serve("web", 1, &local);
    site.proxy(&[&web]);
    becomes(&names([0, 1]), || site.met(0, web.at(80)));
    // The first node is drained: its pod is elsewhere now.
    site.api.merge("nodes", "", "node-0", &json!({ "spec": { "unschedulable": true } }));
    site.api.merge("endpointslices", "default", "web-1", &endpoints(&[1, 2]));
    becomes(&names([1, 2]), || site.met(0, web.at(80)));
    site.api.delete("nodes", "", "node-1");
    becomes(&names([2]), || site.met(0, web.at(80)));
}

const SCTP: i32 = 132;

/// The first packet of an association.
fn send_init(host: &Host, from: IpAddr, to: IpAddr) {
    let mut packet = [5_000_u16.to_be_bytes(), 3_868_u16.to_be_bytes()].concat();
    packet.extend([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20]);
    packet.extend([0; 16]);
    let checksum = crc32c(&packet);
    packet[8..12].copy_from_slice(&checksum.to_le_bytes());
    let protocol = Some(Protocol::from(SCTP));
    let socket = host.within(|| Socket::new(Domain::IPV4, Type::RAW, protocol)).unwrap().unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    assert_eq!(socket.send_to(&packet, &SocketAddr::new(to, 0).into()).unwrap(), packet.len());
}

/// Bit by bit (RFC 9260, appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0x82f6_3b78 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}
