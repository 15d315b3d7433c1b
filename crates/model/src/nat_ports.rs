//! Which port of an inbound NAT rule's range leads to which member (NAT-1).
//!
//! A member keeps its port for as long as it is in the pool, whoever comes and goes beside it, so what is given depends on what was
//! given: whoever judges documents hands in the ports of last time and keeps those that come out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// The ports of all ranges, by rule and member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatPorts(BTreeMap<String, BTreeMap<IpAddr, u16>>);

impl NatPorts {
    /// From what [`Self::to_json`] made; `None` if it is something else.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let port = |(member, port): (&String, &Value)| {
            Some((member.parse().ok()?, u16::try_from(port.as_u64()?).ok()?))
        };
        let rule = |(rule, ports): (&String, &Value)| {
            let ports = ports.as_object()?.iter().map(port).collect::<Option<_>>()?;
            Some((rule.clone(), ports))
        };
        value.as_object()?.iter().map(rule).collect::<Option<_>>().map(Self)
    }

    /// To be kept.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let ports = |ports: &BTreeMap<IpAddr, u16>| -> Map<String, Value> {
            ports.iter().map(|(member, port)| (member.to_string(), Value::from(*port))).collect()
        };
        self.0.iter().map(|(rule, of_rule)| (rule.clone(), Value::from(ports(of_rule)))).collect()
    }

    /// The name by which a rule's ports are kept: what its load balancer goes by, and its own.
    pub(crate) fn name(balancer: &str, rule: &str) -> String {
        format!("{balancer}/{}", rule.to_ascii_lowercase())
    }

    /// The port of a member, in the range of the rule that is kept by this name.
    pub(crate) fn port(&self, rule: &str, member: IpAddr) -> Option<u16> {
        self.0.get(rule)?.get(&member).copied()
    }

    /// Each member's port: the one it had, or else the first that is free, in the order of the members. Where there are not enough, the
    /// last ones go without.
    pub(crate) fn allot(
        &self,
        rule: &str,
        range: RangeInclusive<u16>,
        members: &[IpAddr],
    ) -> BTreeMap<IpAddr, u16> {
        let present: BTreeSet<IpAddr> = members.iter().copied().collect();
        let mut taken = BTreeSet::new();
        let formers = self.0.get(rule).into_iter().flatten();
        let mut ports: BTreeMap<IpAddr, u16> = formers
            .filter(|(member, port)| present.contains(member) && range.contains(port) && taken.insert(**port))
            .map(|(member, port)| (*member, *port))
            .collect();
        let mut free = range.filter(|port| !taken.contains(port));
        for member in members {
            if !ports.contains_key(member)
                && let Some(port) = free.next()
            {
                ports.insert(*member, port);
            }
        }
        ports
    }

    pub(crate) fn keep(&mut self, rule: String, ports: BTreeMap<IpAddr, u16>) {
        self.0.insert(rule, ports);
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn members_have_the_ports_in_their_order() {
        // NAT-1
        let ports = NatPorts::default().allot("r", 500..=509, &[ip(7), ip(3), ip(5)]);
        assert_eq!(ports, BTreeMap::from([(ip(7), 500), (ip(3), 501), (ip(5), 502)]));
    }

    #[test]
    fn a_freed_port_goes_to_the_next_who_comes_and_nobody_else_moves() {
        // NAT-1
        let mut ports = NatPorts::default();
        for (members, wanted) in [
            (vec![1, 2, 3], vec![(1, 500), (2, 501), (3, 502)]),
            (vec![1, 3], vec![(1, 500), (3, 502)]),
            (vec![4, 5, 3, 1], vec![(1, 500), (4, 501), (3, 502), (5, 503)]),
            (vec![2, 5], vec![(2, 500), (5, 503)]),
        ] {
            let members: Vec<_> = members.into_iter().map(ip).collect();
            let of_rule = ports.allot("r", 500..=503, &members);
            assert_eq!(of_rule, wanted.into_iter().map(|(member, port)| (ip(member), port)).collect());
            ports.keep("r".to_owned(), of_rule);
        }
        // Another range is another rule.
        assert_eq!(ports.allot("r", 503..=504, &[ip(2), ip(5)])[&ip(2)], 504);
    }

    #[test]
    fn what_is_kept_is_read_again_and_anything_else_is_not() {
        let mut ports = NatPorts::default();
        ports.keep(NatPorts::name("lb", "SSH"), ports.allot("", 1..=9, &[ip(1), "fd00::1".parse().unwrap()]));
        assert_eq!(ports.to_json(), json!({ "lb/ssh": { "10.0.0.1": 1, "fd00::1": 2 } }));
        assert_eq!(NatPorts::from_json(&ports.to_json()), Some(ports));
        for other in
            [json!(5), json!({ "r": 5 }), json!({ "r": { "m": 5 } }), json!({ "r": { "10.0.0.1": 65_536 } })]
        {
            assert_eq!(NatPorts::from_json(&other), None);
        }
    }

    proptest! {
        #[test]
        fn whoever_stays_keeps_its_port(steps in prop::collection::vec(prop::collection::vec(0..40_u8, 0..20), 1..12)) {
            // NAT-1
            let mut ports = NatPorts::default();
            for mut members in steps {
                let mut seen = BTreeSet::new();
                members.retain(|member| seen.insert(*member));
                let members: Vec<_> = members.into_iter().map(ip).collect();
                let of_rule = ports.allot("r", 500..=519, &members);
                prop_assert_eq!(of_rule.len(), members.len());
                prop_assert_eq!(of_rule.values().collect::<BTreeSet<_>>().len(), members.len());
                for (member, port) in &of_rule {
                    prop_assert!((500..=519).contains(port));
                    prop_assert!(ports.port("r", *member).is_none_or(|former| former == *port));
                }
                ports.keep("r".to_owned(), of_rule);
            }
        }
    }

    fn ip(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }
}
