//! Equal shares, little that moves, the same answer everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use plane::Flow;
use plane::row::{Address, Distribution, RING_SLOTS, protocol};
use proptest::prelude::*;

use super::fill;

#[test]
fn members_have_equal_shares_of_the_slots() {
    // DIST-5
    for number in [1, 2, 3, 5, 7, 10, 33, 64, 100] {
        for first in [Ipv4Addr::new(10, 0, 0, 4).into(), Ipv6Addr::from((0xfd00_u128 << 112) | 4).into()] {
            even(&shares(&fill(&pool(first, number))), number);
        }
    }
}

#[test]
fn members_have_equal_shares_while_one_is_down() {
    // DIST-5
    for number in [2, 3, 5, 10, 33, 100] {
        let mut members = pool(Ipv4Addr::new(10, 0, 0, 4).into(), number);
        members[number / 2].1 = false;
        even(&shares(&fill(&members)), number - 1);
    }
}

#[test]
fn a_million_flows_are_shared_equally() {
    // DIST-5
    for frontend in
        [IpAddr::from(Ipv4Addr::new(203, 0, 113, 10)), Ipv6Addr::from((0x2001_0db8 << 96) | 0x10).into()]
    {
        even_flows(frontend, 64, &[1, 2, 3, 5, 7, 10, 33]);
    }
}

#[test]
fn four_million_flows_are_shared_equally_by_a_hundred_members() {
    // DIST-5: of a million flows, a hundredth part is off by 1 % by chance alone, and the worst of a hundred parts by 2.5 %.
    even_flows(Ipv4Addr::new(203, 0, 113, 10).into(), 256, &[64, 100]);
}

#[test]
fn a_member_that_is_down_leaves_everybody_elses_slots_alone() {
    // DIST-6
    for number in [2, 3, 5, 10, 33, 100] {
        let healthy = pool(Ipv4Addr::new(10, 0, 0, 4).into(), number);
        let before = fill(&healthy);
        for down in [0, number / 2, number - 1] {
            let mut members = healthy.clone();
            members[down].1 = false;
            let after = fill(&members);
            for (old, new) in before.iter().zip(&after) {
                assert_ne!(*new, Some(down as u16));
                assert!(old == new || *old == Some(down as u16), "a slot of another member moved");
            }
            // Coming back is the same way back.
            assert_eq!(fill(&healthy), before);
        }
    }
}

#[test]
fn a_member_that_leaves_or_joins_moves_little_beside_its_share() {
    // DIST-6
    for number in [2, 3, 5, 7, 10, 20, 33, 50, 64, 80, 100] {
        let moved = most_moved_by_leaving(number, &[0, number / 3, number / 2, number - 1]);
        let allowed = 1.0 / number as f64 + 0.01;
        assert!(moved <= allowed, "{number} members: {moved:.4} of the slots moved, {allowed:.4} may");
    }
}

#[test]
fn health_moves_little_while_others_are_down_too() {
    // DIST-6
    for number in [5usize, 10, 33, 100] {
        let mut one_down = pool(Ipv4Addr::new(10, 0, 0, 4).into(), number);
        one_down[1].1 = false;
        let mut two_down = one_down.clone();
        two_down[3].1 = false;
        let (before, after) = (fill(&one_down), fill(&two_down));
        let moved = before.iter().zip(&after).filter(|(old, new)| old != new).count();
        let allowed = 1.0 / (number - 1) as f64 + 0.01;
        assert!(moved as f64 / f64::from(RING_SLOTS) <= allowed, "{number} members: {moved} slots moved");
    }
}

#[test]
#[ignore = "prints figures for the documentation"]
fn figures_of_what_moves() {
    for number in [2, 3, 5, 10, 33, 64, 100, 200, 500, 1_000] {
        let moved = most_moved_by_leaving(number, &[0, number / 3, number / 2, number - 1]);
        let share = 1.0 / number as f64;
        println!("{number} members: {moved:.4} moved, {:.4} beside the share", moved - share);
    }
    for number in [5usize, 10, 33, 100] {
        for already in [1, 2, number / 3] {
            let mut before = pool(Ipv4Addr::new(10, 0, 0, 4).into(), number);
            before.iter_mut().take(already).for_each(|member| member.1 = false);
            let mut after = before.clone();
            after[number - 1].1 = false;
            let moved = fill(&before).iter().zip(&fill(&after)).filter(|(old, new)| old != new).count();
            let moved = moved as f64 / f64::from(RING_SLOTS);
            println!(
                "{number} members, {already} down, one more goes down: {moved:.4} moved, share {:.4}",
                1.0 / (number - already) as f64
            );
        }
    }
}

#[test]
fn the_order_of_members_does_not_matter() {
    // DIST-7
    let members = pool(Ipv4Addr::new(10, 0, 0, 4).into(), 33);
    let mut members: Vec<(IpAddr, bool)> =
        members.into_iter().enumerate().map(|(at, (address, _))| (address, at % 5 != 2)).collect();
    let owner_addresses = |members: &[(IpAddr, bool)]| -> Vec<IpAddr> {
        fill(members).iter().map(|owner| members[usize::from(owner.unwrap())].0).collect()
    };
    let before = owner_addresses(&members);
    members.reverse();
    assert_eq!(owner_addresses(&members), before);
    members.sort_by_key(|(address, _)| Address::from(*address).low.wrapping_mul(0x9e37_79b9));
    assert_eq!(owner_addresses(&members), before);
}

#[test]
fn one_ring_is_written_down_for_all_versions() {
    // DIST-7: a balancer of another version must choose alike, or a change of version moves flows.
    let mut members = pool(Ipv4Addr::new(10, 0, 0, 4).into(), 5);
    let up = digest(&fill(&members));
    members[2].1 = false;
    let down = digest(&fill(&members));
    let v6 = digest(&fill(&pool(Ipv6Addr::from((0xfd00_u128 << 112) | 4).into(), 3)));
    assert_eq!([up, down, v6], GOLDEN_RINGS);
}

#[test]
fn some_flows_and_their_slots_are_written_down_for_all_versions() {
    // DIST-7, DIST-1
    let flow = |source: &str, destination: &str, source_port, protocol| Flow {
        source: source.parse::<IpAddr>().unwrap().into(),
        destination: destination.parse::<IpAddr>().unwrap().into(),
        source_port,
        destination_port: 443,
        protocol,
    };
    let v4 = flow("198.51.100.7", "203.0.113.10", 5_000, protocol::TCP);
    let v6 = flow("2001:db8::7", "2001:db8::10", 5_000, protocol::UDP);
    let slots = |flow: Flow| {
        [Distribution::FiveTuple, Distribution::SourceIp, Distribution::SourceIpProtocol]
            .map(|by| flow.slot(by))
    };
    assert_eq!([slots(v4), slots(v6)], GOLDEN_SLOTS);
}

#[test]
fn nobody_up_is_nobody() {
    let mut members = pool(Ipv4Addr::new(10, 0, 0, 4).into(), 3);
    members.iter_mut().for_each(|member| member.1 = false);
    assert!(fill(&members).iter().all(Option::is_none));
    assert!(fill(&[]).iter().all(Option::is_none));
}

#[test]
fn one_left_takes_everything() {
    let mut members = pool(Ipv4Addr::new(10, 0, 0, 4).into(), 40);
    members.iter_mut().skip(1).for_each(|member| member.1 = false);
    assert!(fill(&members).iter().all(|owner| *owner == Some(0)));
}

fn flows() -> impl Strategy<Value = Flow> {
    let address = |v4: bool, high: u64, low: u64| {
        if v4 { Address::v4(low as u32) } else { Address::v6(high | 0x2000 << 48, low) }
    };
    (any::<bool>(), any::<[u64; 4]>(), any::<(u16, u16)>(), any::<bool>()).prop_map(
        move |(v4, [a, b, c, d], (source_port, destination_port), tcp)| Flow {
            source: address(v4, a, b),
            destination: address(v4, c, d),
            source_port,
            destination_port,
            protocol: if tcp { protocol::TCP } else { protocol::UDP },
        },
    )
}

proptest! {
    #[test]
    fn ports_do_not_matter_to_source_ip_nor_does_the_protocol(flow in flows(), ports: (u16, u16)) {
        // DIST-1, DIST-3
        let other = Flow { source_port: ports.0, destination_port: ports.1, ..flow };
        let other_protocol = Flow { protocol: protocol::TCP + protocol::UDP - flow.protocol, ..other };
        let slot = |flow: Flow, by| flow.slot(by);
        prop_assert_eq!(slot(flow, Distribution::SourceIp), slot(other, Distribution::SourceIp));
        prop_assert_eq!(slot(flow, Distribution::SourceIp), slot(other_protocol, Distribution::SourceIp));
        let by = Distribution::SourceIpProtocol;
        prop_assert_eq!(slot(flow, by), slot(other, by));
    }

    #[test]
    fn every_field_that_is_hashed_matters(flow in flows(), seed: u64) {
        // DIST-1, DIST-4: over 64 other values of a field, some other slot is chosen (all the same: 2^-16 to the 64th).
        let addresses = [
            |flow: Flow, number: u64| Flow { source: Address { low: flow.source.low ^ number, ..flow.source }, ..flow },
            |flow: Flow, number: u64| {
                Flow { destination: Address { low: flow.destination.low ^ number, ..flow.destination }, ..flow }
            },
        ];
        let ports = [
            |flow: Flow, number: u64| Flow { source_port: flow.source_port ^ number as u16, ..flow },
            |flow: Flow, number: u64| Flow { destination_port: flow.destination_port ^ number as u16, ..flow },
        ];
        let matters = |by, change: fn(Flow, u64) -> Flow| {
            (1..=64).any(|step| change(flow, (seed % 1_000 + step) & 0xffff).slot(by) != flow.slot(by))
        };
        for change in addresses {
            for by in [Distribution::FiveTuple, Distribution::SourceIp, Distribution::SourceIpProtocol] {
                prop_assert!(matters(by, change));
            }
        }
        for change in ports {
            prop_assert!(matters(Distribution::FiveTuple, change));
        }
    }

    #[test]
    fn a_flow_is_told_from_its_neighbours(flow in flows(), port: u16) {
        // DIST-2: what is remembered of one flow is not believed of another.
        prop_assume!(port != flow.source_port);
        prop_assert_ne!(flow.identity(), Flow { source_port: port, ..flow }.identity());
        let protocol = protocol::TCP + protocol::UDP - flow.protocol;
        prop_assert_ne!(flow.identity(), Flow { protocol, ..flow }.identity());
    }
}

#[test]
fn the_protocol_matters_to_source_ip_protocol_and_to_default() {
    // DIST-1, DIST-3
    for by in [Distribution::SourceIpProtocol, Distribution::FiveTuple] {
        let differ = (0..1_000u32).filter(|client| {
            let flow = |protocol| Flow {
                source: Address::v4(0x0a01_0000 + client),
                destination: Address::v4(0xcb00_710a),
                source_port: 5_000,
                destination_port: 443,
                protocol,
            };
            flow(protocol::TCP).slot(by) != flow(protocol::UDP).slot(by)
        });
        assert!(differ.count() > 990);
    }
}

#[test]
fn another_source_port_is_free_to_go_elsewhere() {
    // DIST-4
    let owners = fill(&pool(Ipv4Addr::new(10, 0, 0, 4).into(), 3));
    let reached: BTreeSet<_> = (5_000..5_020)
        .map(|source_port| {
            let flow = Flow {
                source: Address::v4(0xc633_6407),
                destination: Address::v4(0xcb00_710a),
                source_port,
                destination_port: 443,
                protocol: protocol::TCP,
            };
            owners[flow.slot(Distribution::FiveTuple) as usize]
        })
        .collect();
    assert_eq!(reached.len(), 3);
}

const GOLDEN_RINGS: [u64; 3] =
    [1_313_096_948_310_007_661, 9_878_499_346_170_180_627, 4_423_803_940_842_685_121];
const GOLDEN_SLOTS: [[u32; 3]; 2] = [[45_689, 15_698, 58_944], [36_837, 65_013, 15_511]];

fn digest(owners: &[Option<u16>]) -> u64 {
    owners.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, owner| {
        (hash ^ owner.map_or(u64::MAX, u64::from)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Members with addresses in a row, all up.
fn pool(first: IpAddr, number: usize) -> Vec<(IpAddr, bool)> {
    (0..number).map(|at| (next(first, at as u32), true)).collect()
}

fn next(first: IpAddr, by: u32) -> IpAddr {
    match first {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() + by).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() + u128::from(by)).into(),
    }
}

fn shares(owners: &[Option<u16>]) -> BTreeMap<u16, u32> {
    let mut shares = BTreeMap::new();
    for owner in owners.iter().flatten() {
        *shares.entry(*owner).or_insert(0) += 1;
    }
    shares
}

/// Within 2 % of the same for each of `number`.
fn even(shares: &BTreeMap<u16, u32>, number: usize) {
    assert_eq!(shares.len(), number);
    let fair = f64::from(shares.values().sum::<u32>()) / number as f64;
    for (member, share) in shares {
        let off = (f64::from(*share) / fair - 1.0).abs();
        assert!(off <= 0.02, "member {member} of {number} is off by {:.2} %", off * 100.0);
    }
}

/// Many clients, each with 15,625 ports in a row.
fn even_flows(frontend: IpAddr, clients: u32, numbers: &[usize]) {
    let mut by_slot = vec![0u32; RING_SLOTS as usize];
    for client in 0..clients {
        for port in 0..15_625u16 {
            let flow = Flow {
                source: next(frontend, 100 + client * 7).into(),
                destination: frontend.into(),
                source_port: 20_000 + port,
                destination_port: 443,
                protocol: protocol::TCP,
            };
            by_slot[flow.slot(Distribution::FiveTuple) as usize] += 1;
        }
    }
    for number in numbers {
        let mut shares = BTreeMap::new();
        for (owner, flows) in fill(&pool(Ipv4Addr::new(10, 0, 0, 4).into(), *number)).iter().zip(&by_slot) {
            *shares.entry(owner.unwrap()).or_insert(0) += flows;
        }
        even(&shares, *number);
    }
}

/// The largest part of the slots that moves when one of these members leaves.
fn most_moved_by_leaving(number: usize, leaving: &[usize]) -> f64 {
    let whole = pool(Ipv4Addr::new(10, 0, 0, 4).into(), number);
    let before = fill(&whole);
    let moved = leaving.iter().map(|leaves| {
        let mut rest = whole.clone();
        rest.remove(*leaves);
        let after = fill(&rest);
        let address = |members: &[(IpAddr, bool)], owner: Option<u16>| members[usize::from(owner.unwrap())].0;
        before.iter().zip(&after).filter(|(old, new)| address(&whole, **old) != address(&rest, **new)).count()
    });
    moved.max().unwrap() as f64 / f64::from(RING_SLOTS)
}
