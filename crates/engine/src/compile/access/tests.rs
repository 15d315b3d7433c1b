//! Whom rules admit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use plane::Drop;
use plane::row::{ACCESS_PLACES, MAX_LISTS};

use crate::testing::{Dice, Lab, SYN, Wish, pool, rule, tcp};

#[test]
fn who_is_admitted_is_what_the_security_rules_say() {
    // ACL-1
    let mut dice = Dice(7);
    let mut lab = lab(Some(Vec::new()));
    for round in 0..60 {
        let rules: Vec<(String, bool)> = (0..dice.below(30)).map(|_| random_rule(&mut dice)).collect();
        lab.wish.security = Some(rules.clone());
        lab.apply();
        if round % 7 == 0 {
            // Compiling again what was compiled changes nothing, also for who knows nothing of it.
            lab.restart();
            assert_eq!(lab.apply(), []);
        }
        for _ in 0..200 {
            let source = random_source(&mut dice);
            let to = if source.is_ipv4() { ("10.0.1.1", 80) } else { ("fd00:1::1", 80) };
            let sent = lab.send(tcp((&source.to_string(), 5_000), to, SYN));
            assert_eq!(sent.err(), (!admits(&rules, source)).then_some(Drop::Denied), "{source}: {rules:?}");
        }
    }
    let (packets, _) = lab.replica.security_counts().values().fold((0, 0), |all, one| (all.0 + one.0, 0));
    assert_eq!(packets, 60 * 200);
    // Without a group everybody is admitted, and nothing is left of the lists.
    lab.wish.security = None;
    lab.apply();
    assert!(lab.send(tcp(("203.0.113.7", 5_000), ("10.0.1.1", 80), SYN)).is_ok());
    let tables = lab.replica.tables();
    assert!(tables.lists.is_empty() && tables.access.is_empty() && tables.security.is_empty());
}

#[test]
fn no_packet_meets_a_list_between_two() {
    // ACL-1: every step of the way leads through the one list or the other.
    let mut dice = Dice(3);
    let mut lab = lab(Some(Vec::new()));
    let before: Vec<(String, bool)> = (0..20).map(|_| random_rule(&mut dice)).collect();
    let after: Vec<(String, bool)> = (0..20).map(|_| random_rule(&mut dice)).collect();
    lab.wish.security = Some(before.clone());
    lab.apply();
    let sources: Vec<IpAddr> = (0..100).map(|_| random_source(&mut dice)).collect();
    lab.wish.security = Some(after.clone());
    let wanted = lab.compile().unwrap();
    for change in lab.replica.tables().changes_to(&wanted) {
        lab.replica.apply(&change);
        for source in &sources {
            let to = if source.is_ipv4() { ("10.0.1.1", 80) } else { ("fd00:1::1", 80) };
            let may = lab.send(tcp((&source.to_string(), 5_000), to, SYN)).is_ok();
            assert!([&before, &after].iter().any(|rules| admits(rules, *source) == may), "{source}");
        }
    }
}

#[test]
fn a_security_rule_keeps_its_number_and_a_list_its_place() {
    let keep = [("198.51.100.0/24".to_owned(), true), ("203.0.113.0/24".to_owned(), false)];
    let mut lab = lab(Some(keep.to_vec()));
    let before = lab.replica.tables().clone();
    assert_eq!(lab.replica.tables().lists.len(), 2, "one for each family");
    lab.wish.security.as_mut().unwrap().push(("192.0.2.0/24".into(), true));
    lab.apply();
    let after = lab.replica.tables();
    for (number, identity) in &before.security {
        assert_eq!(after.security.get(number), Some(identity));
    }
    // The other family's list says the same as before.
    let same = after.lists.iter().filter(|(list, row)| before.lists.get(list) == Some(row)).count();
    assert_eq!(same, 1);
}

#[test]
fn thousands_of_prefixes_are_told_apart() {
    // ACL-1
    let even = |bits: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + 2 * bits));
    let rules: Vec<(String, bool)> = (0..1_000).map(|bits| (format!("{}/32", even(bits)), true)).collect();
    let lab = lab(Some(rules));
    for bits in 0..1_000 {
        let IpAddr::V4(v4) = even(bits) else { unreachable!() };
        let next = Ipv4Addr::from_bits(v4.to_bits() + 1);
        assert!(lab.send(tcp((&v4.to_string(), 5_000), ("10.0.1.1", 80), SYN)).is_ok());
        let denied = lab.send(tcp((&next.to_string(), 5_000), ("10.0.1.1", 80), SYN));
        assert_eq!(denied.err(), Some(Drop::Denied));
    }
    const { assert!(ACCESS_PLACES > 2 * 4_000 && MAX_LISTS > 600) };
}

fn lab(security: Option<Vec<(String, bool)>>) -> Lab {
    let wish = Wish::new(
        &[pool("web", true, &["10.0.0.4", "10.0.0.5", "fd00::4"])],
        &[rule("10.0.1.1", 80, "web", 8080), rule("fd00:1::1", 80, "web", 8080)],
    );
    Lab::new(Wish { security, ..wish })
}

/// Few enough addresses that rules overlap.
fn random_source(dice: &mut Dice) -> IpAddr {
    let bits = dice.below(1 << 10) as u32;
    if dice.below(2) == 0 {
        Ipv4Addr::from_bits(0xc633_6000 + bits).into()
    } else {
        Ipv6Addr::from_bits(0x2001_0db8_0000_0000_0000_0000_0000_0000 + u128::from(bits) * (1 << 62)).into()
    }
}

fn random_rule(dice: &mut Dice) -> (String, bool) {
    let source = random_source(dice);
    let prefix = match (dice.below(12), source) {
        (0, _) => "*".to_owned(),
        (_, IpAddr::V4(v4)) => {
            let length = 22 + dice.below(11) as u32;
            let first = v4.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0);
            format!("{}/{length}", Ipv4Addr::from_bits(first))
        }
        (_, IpAddr::V6(v6)) => {
            let length = 56 + dice.below(73) as u32;
            let first = v6.to_bits() & u128::MAX.checked_shl(128 - length).unwrap_or(0);
            format!("{}/{length}", Ipv6Addr::from_bits(first))
        }
    };
    (prefix, dice.below(2) == 0)
}

/// As the words say it: the first rule that speaks of the source decides, and in the end everybody is denied.
fn admits(rules: &[(String, bool)], source: IpAddr) -> bool {
    let speaks = |prefix: &str| {
        prefix == "*" || prefix.parse::<model::Prefix>().is_ok_and(|prefix| prefix.contains(source))
    };
    rules.iter().find(|(prefix, _)| speaks(prefix)).is_some_and(|(_, allow)| *allow)
}
