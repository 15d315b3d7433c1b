//! Rules of nftables, as it prints them, and what becomes of a packet.

use super::*;

/// What nftables 1.0.6 printed of a usual firewall of a server.
const USUAL: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
{"table": {"family": "inet", "name": "filter", "handle": 1}},
{"chain": {"family": "inet", "table": "filter", "name": "input", "handle": 1, "type": "filter", "hook": "input", "prio": 0,
"policy": "drop"}},
{"chain": {"family": "inet", "table": "filter", "name": "web", "handle": 2}},
{"rule": {"family": "inet", "table": "filter", "chain": "input", "handle": 3, "expr": [{"vmap": {"key": {"ct": {"key": "state"}},
"data": {"set": [["invalid", {"drop": null}], ["established", {"accept": null}]]}}}]}},
{"rule": {"family": "inet", "table": "filter", "chain": "input", "handle": 4, "expr": [{"match": {"op": "==",
"left": {"meta": {"key": "iif"}}, "right": "lo"}}, {"accept": null}]}},
{"rule": {"family": "inet", "table": "filter", "chain": "input", "handle": 6, "comment": "x y", "expr": [{"match": {"op": "==",
"left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": {"set": [22, {"range": [80, 90]}]}}}, {"accept": null}]}},
{"rule": {"family": "inet", "table": "filter", "chain": "input", "handle": 7, "expr": [{"match": {"op": "!=",
"left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 9}}, {"jump": {"target": "web"}}]}},
{"rule": {"family": "inet", "table": "filter", "chain": "web", "handle": 9, "expr": [{"match": {"op": "==",
"left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": {"prefix": {"addr": "203.0.113.0", "len": 24}}}},
{"match": {"op": "==", "left": {"payload": {"protocol": "th", "field": "dport"}}, "right": 5300}}, {"accept": null}]}},
{"rule": {"family": "inet", "table": "filter", "chain": "input", "handle": 8, "expr": [{"match": {"op": "==",
"left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": {"prefix": {"addr": "10.0.0.0", "len": 8}}}},
{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": {"set": ["tcp", "udp"]}}}, {"match": {"op": "==",
"left": {"payload": {"protocol": "th", "field": "dport"}}, "right": 53}}, {"counter": {"packets": 0, "bytes": 0}},
{"limit": {"rate": 5, "burst": 5, "per": "second"}}, {"accept": null}]}}]}"#;

#[test]
fn rules_are_followed_as_far_as_the_packet_is_known() {
    use Opinion::{Accepts, Drops, MayDrop};
    let usual = Ruleset::parse(USUAL).unwrap();
    for (to, wanted) in [
        ("203.0.113.10:22/tcp", Accepts),
        ("203.0.113.10:85/tcp", Accepts),
        ("[fd00::1]:85/tcp", Accepts),
        ("203.0.113.10:85/udp", Drops),
        ("203.0.113.10:91/tcp", Drops),
        ("203.0.113.10:5300/udp", Accepts),
        ("203.0.114.10:5300/udp", Drops),
        // Its comparison of UDP's port is not about TCP.
        ("203.0.113.10:5300/tcp", Drops),
        ("203.0.113.10:53/udp", MayDrop),
        ("[fd00::1]:53/udp", Drops),
    ] {
        assert_eq!(opinion(&usual, to), [wanted], "{to}");
    }
}

#[test]
fn what_cannot_be_known_is_a_matter_of_opinion() {
    use Opinion::{Accepts, Drops, MayDrop};
    for (policy, rules, wanted) in [
        ("accept", r#"[{"drop": null}]"#, Drops),
        ("accept", r#"[{"xt": null}, {"drop": null}]"#, MayDrop),
        ("accept", r#"[{"xt": null}, {"accept": null}]"#, Accepts),
        ("drop", r#"[{"xt": null}, {"accept": null}]"#, MayDrop),
        ("drop", r#"[{"xt": null}, {"counter": null}]"#, Drops),
        (
            "drop",
            r#"[{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": "@open"}},
            {"accept": null}]"#,
            MayDrop,
        ),
        (
            "drop",
            r#"[{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}]"#,
            Drops,
        ),
        (
            "drop",
            r#"[{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "new"]}}, {"accept": null}]"#,
            Accepts,
        ),
        (
            "drop",
            r#"[{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth*"}}, {"accept": null}]"#,
            Accepts,
        ),
        (
            "drop",
            r#"[{"match": {"op": "!=", "left": {"meta": {"key": "iifname"}}, "right": "eth0"}}, {"accept": null}]"#,
            Drops,
        ),
        (
            "drop",
            r#"[{"match": {"op": "==", "left": {"payload": {"protocol": "icmp", "field": "type"}}, "right": "echo-request"}},
            {"accept": null}]"#,
            Drops,
        ),
        (
            "drop",
            r#"[{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": {"set": [["lo", {"accept": null}], ["*", {"drop": null}]]}}}]"#,
            Drops,
        ),
        ("drop", r#"[{"jump": {"target": "nowhere"}}]"#, Drops),
        ("drop", r#"[{"jump": {"target": "input"}}]"#, MayDrop),
        ("accept", r#"[{"reject": {"type": "tcp reset"}}]"#, Drops),
        ("drop", r#"[{"return": null}]"#, Drops),
    ] {
        let text = format!(
            r#"{{"nftables": [{{"chain": {{"family": "ip", "table": "t", "name": "input", "type": "filter", "hook": "input",
            "policy": "{policy}"}}}},
               {{"rule": {{"family": "ip", "table": "t", "chain": "input", "expr": {rules}}}}}]}}"#
        );
        let ruleset = Ruleset::parse(&text).unwrap();
        assert_eq!(opinion(&ruleset, "203.0.113.10:80/tcp"), [wanted], "{policy} {rules}");
        assert_eq!(opinion(&ruleset, "[fd00::1]:80/tcp"), [], "another family");
    }
}

#[test]
fn our_rule_lets_in_what_it_is_for_and_goes_without_a_trace() {
    let usual = Ruleset::parse(USUAL).unwrap();
    let chain = Chain { family: "inet".into(), table: "filter".into(), name: "input".into() };
    for to in ["203.0.113.10:8443/tcp", "[fd00::1]:53/udp"] {
        let destination = to.parse().unwrap();
        let mut open = usual.clone();
        open.accept(&chain, destination);
        assert_eq!(opinion(&open, to), [Opinion::Accepts]);
        assert_eq!(opinion(&open, "203.0.113.10:91/tcp"), [Opinion::Drops]);
        assert_eq!(open.ours(), [(chain.clone(), destination)]);
        open.forget(&chain, destination);
        assert_eq!(open, usual);
    }
}

fn opinion(ruleset: &Ruleset, to: &str) -> Vec<Opinion> {
    let packet = Packet { destination: to.parse().unwrap(), interfaces: &["eth0"] };
    ruleset.opinions(&packet).into_iter().map(|(_, opinion)| opinion).collect()
}
