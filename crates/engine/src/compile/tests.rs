//! The same question gets the same answer; numbers stay; what does not fit is said.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use model::Desired;
use plane::row::{Hop, MAX_ADDRESSES, MAX_MEMBERS, MAX_RULES, Path, Slot};

use super::{Compiler, successor};
use crate::testing::{Chance, Dice, Lab, Wish, ip, mac_of, owners, pool, rule, surroundings};
use crate::{Health, Settling, Tables};

#[test]
fn compiling_again_what_was_compiled_changes_nothing() {
    // FLOW-7
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let mut chance = Chance::new(&mut dice);
        let mut compiler = Compiler::default();
        let mut settling = Settling::default();
        let mut tables = Tables::default();
        for step in 0..5u32 {
            let before = tables.clone();
            tables = chance.compile(&mut compiler, &before);
            assert!(chance.compile(&mut compiler, &tables) == tables, "seed {seed} step {step}");
            assert!(
                chance.compile(&mut Compiler::default(), &tables) == tables,
                "seed {seed} step {step}, restarted"
            );
            let mut applied = before.clone();
            before.changes_to(&tables).iter().for_each(|change| applied.apply(change));
            assert!(applied.tidied() == tables, "seed {seed} step {step}: changes lead elsewhere");
            assert_eq!(tables.changes_to(&tables), []);
            numbers_stay(&before, &tables);
            // In between something is over.
            let clock = chance.surroundings.clock;
            tables = settling.step(&tables, &BTreeSet::new(), clock, clock.tick * (step * 7_000));
            assert!(chance.compile(&mut compiler, &tables) == tables, "seed {seed} step {step}, settled");
            chance = chance.changed(&mut dice, 3);
        }
    }
}

#[test]
fn who_takes_new_flows_does_not_depend_on_what_was_before() {
    // DIST-7
    for seed in 50..56 {
        let mut dice = Dice(seed);
        let mut compiler = Compiler::default();
        let first = Chance::new(&mut dice);
        let last = first.changed(&mut dice, 6);
        let before = first.compile(&mut compiler, &Tables::default());
        let by_way = last.compile(&mut compiler, &before);
        let at_once = last.compile(&mut Compiler::default(), &Tables::default());
        assert!(owners(&by_way) == owners(&at_once), "seed {seed}");
    }
}

#[test]
fn the_order_in_documents_does_not_matter() {
    // DIST-7
    let mut wish = Wish::new(
        &[
            pool("api", true, &["10.0.0.4", "10.0.0.5"]),
            pool("web", false, &["10.0.0.6", "10.0.0.7", "fd00::4"]),
        ],
        &[
            rule("10.0.1.1", 80, "web", 8080),
            rule("10.0.1.2", 80, "api", 8081),
            rule("10.0.1.1", 53, "api", 53).udp(),
            rule("fd00:1::1", 80, "web", 8080),
        ],
    );
    let one = Lab::new(wish.clone());
    wish.pools.reverse();
    wish.rules.reverse();
    wish.pools.iter_mut().for_each(|pool| pool.members.reverse());
    let other = Lab::new(wish);
    assert!(one.replica.tables() == other.replica.tables());
}

#[test]
fn a_slot_remembers_who_had_it_as_long_as_that_matters() {
    // DIST-2
    let members = BTreeSet::from([1, 2, 3, 4]);
    let (steady, changing, settled) = (Slot::steady, Slot::changing, Slot::settled);
    let check =
        |old, current, new| assert_eq!(successor(old, current, &members), new, "{old:?} goes to {current}");
    check(steady(1), 1, steady(1));
    check(steady(1), 2, changing(2, 1));
    // Its flows are gone with member 9.
    check(steady(9), 2, steady(2));
    check(changing(2, 1), 2, changing(2, 1));
    check(changing(2, 1), 3, changing(3, 1));
    // Back: what began with 2 is remembered.
    check(changing(2, 1), 1, settled(1, 2));
    // The flows of 9 are gone; some of the others may be remembered with anybody.
    check(changing(2, 9), 2, settled(2, 1));
    check(changing(2, 9), 3, settled(3, 2));
    check(changing(8, 9), 3, settled(3, 1));
    check(settled(2, 1), 2, settled(2, 1));
    check(settled(2, 1), 3, changing(3, 2));
    check(settled(2, 9), 2, settled(2, 1));
    check(settled(9, 1), 2, settled(2, 1));
    // Nobody is up: flows under way stay.
    check(steady(1), 0, changing(0, 1));
    check(changing(0, 1), 1, settled(1, 2));
    check(steady(0), 1, steady(1));
    assert_eq!(successor(changing(2, 9), 2, &BTreeSet::from([2])), steady(2));
}

#[test]
fn each_kind_of_rule_takes_its_path() {
    // FIP-1, FIP-2, FIP-3
    let path = |gateway, floating, backend_port| {
        let rule = rule("10.0.1.1", 80, "web", backend_port);
        let rule = if floating { rule.floating() } else { rule };
        let lab = Lab::new(Wish::new(&[pool("web", gateway, &["10.0.0.4"])], &[rule]));
        let tables = lab.replica.tables().clone();
        let plan = tables.rules.values().next().unwrap().plan();
        (plan.path, plan.remembers, tables.returns.len(), tables.config.gateway())
    };
    assert_eq!(path(false, false, 8080), (Path::Masquerade, true, 0, false));
    assert_eq!(path(true, false, 8080), (Path::Gateway, false, 1, true));
    assert_eq!(path(false, true, 80), (Path::Floating, false, 0, false));
    assert_eq!(path(true, true, 80), (Path::Floating, false, 0, false));
    assert_eq!(path(true, true, 8080), (Path::FloatingGateway, false, 1, true));
}

#[test]
fn stations_tell_whose_answers_come_from_one_port_of_a_frontend() {
    // FIP-3, NAT-1
    let returns = |lab: &Lab| -> Vec<String> {
        let text = lab.replica.tables().to_string();
        text.lines().filter_map(|line| Some(line.strip_prefix("return ")?.to_owned())).collect()
    };
    let range = rule("10.0.1.1", 5_001, "web", 22).floating().up_to(5_004);
    let mut lab = Lab::new(Wish::new(&[pool("web", true, &["10.0.0.4"])], &[range]));
    assert_eq!(returns(&lab), ["10.0.1.1 tcp/22 as 10.0.1.1 port 5001 counted 1"], "nobody else answers");
    lab.wish.pools[0].members.push(ip("10.0.0.5"));
    lab.apply();
    let two = [
        "10.0.1.1 tcp/22 by 02:04:0a:00:00:04 as 10.0.1.1 port 5001 counted 1",
        "10.0.1.1 tcp/22 by 02:04:0a:00:00:05 as 10.0.1.1 port 5002 counted 2",
    ];
    assert_eq!(returns(&lab), two);
    // Where a station is not known, its answers are not either; and whoever is behind a router gets nothing.
    let hop = lab.surroundings.hops[&ip("10.0.0.5")];
    lab.surroundings.hops.insert(ip("10.0.0.5"), Hop { adjacent: false, ..hop });
    lab.apply();
    assert_eq!(returns(&lab), two[..1]);
    lab.surroundings.hops.insert(ip("10.0.0.5"), Hop { destination: mac_of(ip("10.0.0.9")), ..hop });
    lab.apply();
    assert_eq!(
        returns(&lab),
        [two[0], "10.0.1.1 tcp/22 by 02:04:0a:00:00:09 as 10.0.1.1 port 5002 counted 2"]
    );
    // A rule that does not change the port leaves answers as they are, and those of others must not take them with them.
    lab.wish = Wish::new(
        &[pool("db", true, &["10.0.0.6"]), pool("web", true, &["10.0.0.4"])],
        &[rule("10.0.1.1", 22, "db", 22).floating(), rule("10.0.1.1", 80, "web", 22).floating()],
    );
    lab.apply();
    assert_eq!(returns(&lab), ["10.0.1.1 tcp/22 by 02:04:0a:00:00:04 as 10.0.1.1 port 80 counted 4"]);
}

#[test]
fn a_pool_without_members_of_the_family_has_nobody() {
    // RULE-3
    let lab = Lab::new(Wish::new(&[pool("web", true, &[])], &[rule("10.0.1.1", 80, "web", 8080)]));
    let tables = lab.replica.tables();
    assert_eq!(tables.rules.values().map(|row| row.plan().ring).collect::<Vec<_>>(), [0]);
    assert!(tables.rings.is_empty());
}

#[test]
fn too_many_rings_are_refused_with_table_limit_and_mend() {
    let pools = ["a", "b", "c", "d"].map(|name| pool(name, true, &["10.0.0.4"]));
    let rules: Vec<_> =
        (0..4).map(|at| rule("10.0.1.1", 80 + at, ["a", "b", "c", "d"][at as usize], 8_000 + at)).collect();
    let mut around = surroundings([]);
    around.sizes.rings = 5;
    // As many as there is room for.
    let mut lab = Lab::within(around.clone(), Wish::new(&pools, &rules));
    assert_eq!(lab.replica.tables().rings.len(), 4);
    // A change of slots and plan at once needs one more.
    let before = lab.replica.tables().clone();
    lab.wish.rules[0] = lab.wish.rules[0].by("SourceIP");
    lab.wish.pools[0].members.push(ip("10.0.0.5"));
    let full = lab.compile().unwrap_err().to_string();
    assert!(full.starts_with("table `rings` is full: it has room for 4 rings"), "{full}");
    assert!(full.ends_with("raise `pools` under [limits], detach, and start again"), "{full}");
    assert!(*lab.replica.tables() == before, "nothing is half applied");
    // One at a time is possible.
    lab.wish.pools[0].members.pop();
    lab.apply();
    around.sizes.rings = 4;
    let full = Compiler::default()
        .compile(&Wish::new(&pools, &rules).desired(), &Health::default(), &around, &Tables::default())
        .unwrap_err();
    assert!(full.to_string().contains("room for 3 rings"), "{full}");
}

#[test]
fn too_many_members_are_refused_with_table_limit_and_mend() {
    // Twice four pools of 4,096 members each: one number more than there is.
    let wish = |frontend: &str| {
        let mut wish = Wish::new(&[], &[rule(frontend, 80, "a", 80)]);
        for name in ["a", "b", "c", "d"] {
            let members =
                (0..4_096).map(|at| std::net::Ipv4Addr::from_bits(0x0a10_0000 + at).into()).collect();
            wish.pools.push(crate::testing::PoolWish { name, gateway: true, members });
        }
        wish
    };
    // One balancer may not have so many.
    let refused = |one: &Wish, other: &Wish| {
        let text = other.text().replacen("\"name\":\"b\"", "\"name\":\"other\"", 1);
        let sources = [one.text(), text].map(|text| model::Source { name: "b.json".into(), text });
        let desired = model::check(&sources).unwrap();
        Compiler::default()
            .compile(&desired, &Health::default(), &surroundings([]), &Tables::default())
            .map(|tables| tables.members.len())
            .map_err(|full| full.to_string())
    };
    let (one, mut other) = (wish("10.0.1.1"), wish("10.0.1.2"));
    other.rules[0].backend_port = 81;
    let full = refused(&one, &other).unwrap_err();
    assert!(
        full.starts_with(&format!("table `members` is full: it has room for {} members", MAX_MEMBERS - 1)),
        "{full}"
    );
    assert!(full.ends_with("spread the pools over more balancers"), "{full}");
    other.pools[3].members.pop();
    assert_eq!(refused(&one, &other), Ok(MAX_MEMBERS as usize - 1));
}

#[test]
fn too_many_addresses_are_refused_with_table_limit_and_mend() {
    let mut wish = Wish::new(&[], &[rule("10.0.1.1", 80, "a", 80)]);
    for (name, first) in [("a", 0x0a10_0000), ("b", 0x0a20_0000), ("c", 0x0a30_0000), ("d", 0x0a40_0000)] {
        let members = (0..4_096).map(|at| std::net::Ipv4Addr::from_bits(first + at).into()).collect();
        wish.pools.push(crate::testing::PoolWish { name, gateway: true, members });
    }
    // The two own addresses and the frontend count as well.
    let refused = |wish: &Wish| {
        Compiler::default()
            .compile(&wish.desired(), &Health::default(), &surroundings([]), &Tables::default())
            .map(|tables| tables.addresses.len())
            .map_err(|full| full.to_string())
    };
    let full = refused(&wish).unwrap_err();
    assert!(
        full.starts_with(&format!(
            "table `addresses` is full: it has room for {} addresses",
            MAX_ADDRESSES - 1
        )),
        "{full}"
    );
    assert!(full.ends_with("spread them over more balancers"), "{full}");
    wish.pools[3].members.truncate(4_092);
    assert_eq!(refused(&wish), Ok(MAX_ADDRESSES as usize - 1));
}

#[test]
fn ports_of_a_range_lead_to_members_without_a_ring_and_stay_theirs() {
    // NAT-1
    let compile = |last: &[u8], former: &Desired, before: &Tables| {
        let members: Vec<IpAddr> = last.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect();
        let text = ranges(&members, &[500]);
        let sources = [model::Source { name: "b.json".into(), text }];
        let desired =
            model::check_after(&sources, &model::ServiceTags::default(), former.nat_ports()).unwrap();
        let around = surroundings(members);
        let tables = Compiler::default().compile(&desired, &Health::default(), &around, before).unwrap();
        let again = Compiler::default().compile(&desired, &Health::default(), &around, &tables).unwrap();
        assert_eq!(again, tables);
        (desired, tables)
    };
    let leads = |tables: &Tables| -> BTreeMap<u16, IpAddr> {
        assert!(tables.rings.is_empty());
        let member = |row: &plane::row::RuleRow| tables.members[&row.plan().ring.into()].address().into();
        let rows = tables.rule_rows().into_iter();
        rows.inspect(|(_, row)| assert!(row.plan().direct))
            .map(|((.., port), row)| (port, member(&row)))
            .collect()
    };
    let (first, tables) = compile(&[4, 5, 6], &Desired::default(), &Tables::default());
    let address = |last| IpAddr::from([10, 0, 0, last]);
    assert_eq!(leads(&tables), [(500, address(4)), (501, address(5)), (502, address(6))].into());
    let (second, without) = compile(&[6, 4], &first, &tables);
    assert_eq!(leads(&without), [(500, address(4)), (502, address(6))].into());
    let rows = |tables: &Tables| tables.rules.clone();
    assert!(
        rows(&without).iter().all(|(place, row)| rows(&tables)[place] == *row),
        "a row of another changed"
    );
    let (_, more) = compile(&[7, 6, 4, 5], &second, &without);
    assert_eq!(leads(&more)[&501], address(7));
    assert!(rows(&without).iter().all(|(place, row)| rows(&more)[place] == *row), "a row of another changed");
}

#[test]
fn too_many_ports_of_ranges_are_refused_with_table_limit_and_mend() {
    // Each port that leads to somebody is a row.
    let members: Vec<IpAddr> =
        (0..4_095).map(|at| std::net::Ipv4Addr::from_bits(0x0a10_0000 + at).into()).collect();
    let refused = |members: &[IpAddr], firsts: &[u16]| {
        let sources = [model::Source { name: "b.json".into(), text: ranges(members, firsts) }];
        Compiler::default()
            .compile(
                &model::check(&sources).unwrap(),
                &Health::default(),
                &surroundings([]),
                &Tables::default(),
            )
            .map(|tables| tables.rules.len())
            .map_err(|full| full.to_string())
    };
    let firsts = [1, 6_000, 12_000, 18_000, 24_000];
    let full = refused(&members, &firsts).unwrap_err();
    assert!(
        full.starts_with(&format!(
            "table `rules` is full: it has room for {} load-balancing rules",
            MAX_RULES - 1
        )),
        "{full}"
    );
    assert_eq!(refused(&members, &firsts[..4]), Ok(4 * 4_095));
}

#[test]
fn too_many_links_are_refused_with_table_limit_and_mend() {
    let mut around = surroundings([]);
    around.links = (0..5).map(|at| (3 + 64 * at, crate::testing::link(at))).collect();
    let full = Compiler::default()
        .compile(&Wish::default().desired(), &Health::default(), &around, &Tables::default())
        .unwrap_err();
    assert!(full.to_string().ends_with("attach to fewer interfaces"), "{full}");
}

/// A balancer whose inbound NAT rules have ranges of ports for a pool: as many as there are members, from each of these on.
fn ranges(members: &[IpAddr], firsts: &[u16]) -> String {
    let member = |(at, address): (usize, &IpAddr)| {
        format!(r#"{{"name":"m{at}","properties":{{"ipAddress":"{address}"}}}}"#)
    };
    let members: Vec<String> = members.iter().enumerate().map(member).collect();
    let rule = |first: &u16| {
        format!(
            r#"{{"name":"r{first}","properties":{{"frontendIPConfiguration":{{"id":"frontendIPConfigurations/f"}},
            "backendAddressPool":{{"id":"backendAddressPools/p"}},"protocol":"Tcp","frontendPortRangeStart":{first},
            "frontendPortRangeEnd":{},"backendPort":{}}}}}"#,
            usize::from(*first) + members.len().max(10) - 1,
            30_000 + first
        )
    };
    let rules: Vec<String> = firsts.iter().map(rule).collect();
    format!(
        r#"{{"name":"b","sku":{{"name":"Standard"}},"properties":{{"frontendIPConfigurations":[{{"name":"f","properties":{{
        "privateIPAddress":"10.0.1.1","privateIPAllocationMethod":"Static","subnet":{{"id":"/s/n"}}}}}}],
        "backendAddressPools":[{{"name":"p","properties":{{"loadBalancerBackendAddresses":[{}]}}}}],
        "inboundNatRules":[{}]}}}}"#,
        members.join(","),
        rules.join(",")
    )
}

/// Numbers of what stays stay, and no number goes from one to another.
fn numbers_stay(before: &Tables, after: &Tables) {
    for (number, row) in &before.members {
        if let Some(now) = after.members.get(number) {
            assert_eq!((now.address(), now.pool()), (row.address(), row.pool()), "member #{number}");
        }
        let same = |other: &&u32| {
            after.members[other].address() == row.address() && after.members[other].pool() == row.pool()
        };
        assert!(after.members.keys().filter(same).all(|other| other == number), "#{number} is another now");
    }
    let known: BTreeMap<_, _> =
        before.addresses.values().map(|row| ((row.address(), row.role()), row.number())).collect();
    let by_number: BTreeMap<_, _> =
        before.addresses.values().map(|row| (row.number(), row.address())).collect();
    for row in after.addresses.values() {
        match known.get(&(row.address(), row.role())) {
            Some(number) => assert_eq!(row.number(), *number, "{}", row.address()),
            None => {
                assert!(!by_number.contains_key(&row.number()), "@{} is {} now", row.number(), row.address())
            }
        }
    }
    let rules: BTreeMap<_, _> = before.rules.values().map(|row| (row.key(), row.number())).collect();
    for row in after.rules.values() {
        assert!(rules.get(&row.key()).is_none_or(|number| *number == row.number()));
    }
}
