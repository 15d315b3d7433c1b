//! Equal shares, little that moves, the same answer everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use plane::Flow;
use plane::row::{Address, Distribution, RING_SLOTS, protocol};
use proptest::prelude::*;

use model::Weight;

use super::{Candidate, Part, Player, by_time, fill, in_rounds, quotas};

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
        members[number / 2].2 = false;
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
            members[down].2 = false;
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
        one_down[1].2 = false;
        let mut two_down = one_down.clone();
        two_down[3].2 = false;
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
    for number in [10, 100, 500] {
        for to in [2, 10, 100] {
            let mut after = vec![1; number];
            after[1] = to;
            let (moved, spare) = moved_and_spare(&weighted(&vec![1; number]), &weighted(&after));
            let [moved, spare] = [moved, spare].map(|slots| slots as f64 / f64::from(RING_SLOTS));
            println!(
                "{number} members, a weight becomes {to}: {moved:.4} moved, {spare:.4} of them need not have"
            );
        }
    }
    for number in [5usize, 10, 33, 100] {
        for already in [1, 2, number / 3] {
            let mut before = pool(Ipv4Addr::new(10, 0, 0, 4).into(), number);
            before.iter_mut().take(already).for_each(|member| member.2 = false);
            let mut after = before.clone();
            after[number - 1].2 = false;
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
    let part = |(at, (address, ..)): (usize, Part)| (address, weight(1 + at as u32 % 7), at % 5 != 2);
    let mut members: Vec<Part> = members.into_iter().enumerate().map(part).collect();
    let owner_addresses = |members: &[Part]| -> Vec<IpAddr> {
        fill(members).iter().map(|owner| members[usize::from(owner.unwrap())].0).collect()
    };
    let before = owner_addresses(&members);
    members.reverse();
    assert_eq!(owner_addresses(&members), before);
    members.sort_by_key(|(address, ..)| Address::from(*address).low.wrapping_mul(0x9e37_79b9));
    assert_eq!(owner_addresses(&members), before);
}

#[test]
fn one_ring_is_written_down_for_all_versions() {
    // DIST-7: a balancer of another version must choose alike, or a change of version moves flows.
    let mut members = pool(Ipv4Addr::new(10, 0, 0, 4).into(), 5);
    let up = digest(&fill(&members));
    members[2].2 = false;
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
fn one_ring_of_several_weights_is_written_down_for_all_versions() {
    // DIST-7, DIST-9
    let mut members = weighted(&[1, 2, 5, 100, 7]);
    let up = digest(&fill(&members));
    members[2].2 = false;
    assert_eq!([up, digest(&fill(&members))], GOLDEN_WEIGHTED);
}

#[test]
fn what_counts_is_how_weights_stand_to_each_other() {
    // DIST-9
    for number in [1, 3, 10, 64] {
        let one = pool(Ipv4Addr::new(10, 0, 0, 4).into(), number);
        assert_eq!(fill(&weighted(&vec![100; number])), fill(&one), "{number} members of one weight");
    }
    assert_eq!(fill(&weighted(&[3, 6, 9, 90])), fill(&weighted(&[1, 2, 3, 30])));
}

#[test]
fn members_of_one_weight_take_turns_alike_in_rounds_and_by_time() {
    // DIST-7
    for number in [1, 2, 7, 100] {
        let members = pool(Ipv4Addr::new(10, 0, 0, 4).into(), number);
        let candidates: Vec<_> = members.iter().map(Candidate::of).collect();
        let taken = |take: fn(&mut [Player], &mut [Option<u16>])| {
            let quotas = quotas(&candidates, |_| true, &vec![0; number]);
            let mut players: Vec<_> = candidates.iter().zip(quotas).zip(0..).map(Player::of).collect();
            players.sort_unstable_by_key(|player| player.identity);
            let mut owners = vec![None; RING_SLOTS as usize];
            take(&mut players, &mut owners);
            owners
        };
        assert_eq!(taken(in_rounds), taken(by_time), "{number} members");
    }
}

#[test]
fn a_changed_weight_moves_little_beside_its_share() {
    // DIST-9, DIST-6
    let (mut worst, mut chance) = (0, 0_u64);
    for number in [2, 3, 5, 10, 33, 100] {
        for most in [1, 4, 100] {
            let weights: Vec<u32> = (0..number).map(|_| dice(&mut chance, most)).collect();
            for to in [1, 2, 10, 100] {
                let mut after = weights.clone();
                after[1] = to;
                let (_, spare) = moved_and_spare(&weighted(&weights), &weighted(&after));
                worst = worst.max(spare);
            }
        }
    }
    assert!(worst as f64 <= 0.015 * f64::from(RING_SLOTS), "{worst} slots moved that need not have");
}

#[test]
fn a_member_of_any_weight_that_leaves_or_joins_moves_little_beside_its_share() {
    // DIST-9, DIST-6
    let (mut worst, mut chance) = (0, 0_u64);
    for number in [2, 3, 5, 10, 33, 100] {
        for most in [4, 100] {
            let mut weights: Vec<u32> = (0..number).map(|_| dice(&mut chance, most)).collect();
            weights[0] = 100;
            let whole = weighted(&weights);
            for leaves in [0, number - 1] {
                let mut rest = whole.clone();
                rest.remove(leaves);
                worst = worst.max(moved_and_spare(&whole, &rest).1).max(moved_and_spare(&rest, &whole).1);
            }
        }
    }
    assert!(worst as f64 <= 0.015 * f64::from(RING_SLOTS), "{worst} slots moved that need not have");
}

#[test]
fn nobody_up_is_nobody() {
    let mut members = pool(Ipv4Addr::new(10, 0, 0, 4).into(), 3);
    members.iter_mut().for_each(|member| member.2 = false);
    assert!(fill(&members).iter().all(Option::is_none));
    assert!(fill(&[]).iter().all(Option::is_none));
}

#[test]
fn one_left_takes_everything() {
    let mut members = pool(Ipv4Addr::new(10, 0, 0, 4).into(), 40);
    members.iter_mut().skip(1).for_each(|member| member.2 = false);
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
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn shares_are_exact_to_one_slot(members in prop::collection::vec((1..=100_u32, prop::bool::weighted(0.8)), 1..120)) {
        // DIST-9, DIST-5
        let weights: Vec<u32> = members.iter().map(|(weight, _)| *weight).collect();
        let mut pool = weighted(&weights);
        exact(&pool);
        for (member, (_, up)) in pool.iter_mut().zip(&members) {
            member.2 = *up;
        }
        exact(&pool);
    }

    #[test]
    fn whoever_is_down_leaves_others_their_slots_whatever_they_weigh(
        weights in prop::collection::vec(1..=100_u32, 2..100), chosen: prop::sample::Index
    ) {
        // DIST-9, DIST-6: but for one slot each, where rounding differs.
        let healthy = weighted(&weights);
        let mut members = healthy.clone();
        let down = chosen.index(members.len());
        members[down].2 = false;
        let (before, after) = (fill(&healthy), fill(&members));
        let mut lost = vec![0; members.len()];
        for (old, new) in before.iter().zip(&after).filter(|(old, new)| old != new) {
            prop_assert_ne!(*new, Some(down as u16));
            lost[usize::from(old.unwrap())] += 1;
        }
        prop_assert!(lost.iter().enumerate().all(|(at, slots)| at == down || *slots <= 1), "{:?}", lost);
    }
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

const GOLDEN_WEIGHTED: [u64; 2] = [7_943_235_728_598_732_871, 17_658_456_272_177_786_215];

fn digest(owners: &[Option<u16>]) -> u64 {
    owners.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, owner| {
        (hash ^ owner.map_or(u64::MAX, u64::from)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A number from 1 to the most that is wished.
fn dice(state: &mut u64, most: u32) -> u32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    1 + (*state >> 33) as u32 % most
}

/// Members with addresses in a row, all up and of one weight.
fn pool(first: IpAddr, number: usize) -> Vec<Part> {
    (0..number).map(|at| (next(first, at as u32), Weight::default(), true)).collect()
}

/// Members with addresses in a row, of these weights, all up.
fn weighted(weights: &[u32]) -> Vec<Part> {
    let members = pool(Ipv4Addr::new(10, 0, 0, 4).into(), weights.len());
    members.into_iter().zip(weights).map(|((address, ..), it)| (address, weight(*it), true)).collect()
}

fn weight(number: u32) -> Weight {
    Weight::new(number).unwrap()
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
        moved((&whole, &before), (&rest, &after))
    });
    moved.max().unwrap() as f64 / f64::from(RING_SLOTS)
}

/// How many slots have another owner afterwards.
fn moved(before: (&[Part], &[Option<u16>]), after: (&[Part], &[Option<u16>])) -> usize {
    let owner = |(members, owners): (&[Part], &[Option<u16>]), slot: usize| {
        owners[slot].map(|owner| members[usize::from(owner)].0)
    };
    (0..RING_SLOTS as usize).filter(|slot| owner(before, *slot) != owner(after, *slot)).count()
}

/// How many slots move from one pool to the other, and how many of these would not have to: beside what those gain who gain.
fn moved_and_spare(before: &[Part], after: &[Part]) -> (usize, usize) {
    let (old, new) = (fill(before), fill(after));
    let count = |members: &[Part], owners: &[Option<u16>]| -> BTreeMap<IpAddr, usize> {
        shares(owners).into_iter().map(|(at, slots)| (members[usize::from(at)].0, slots as usize)).collect()
    };
    let had = count(before, &old);
    let gained = |(address, slots): (IpAddr, usize)| {
        slots.saturating_sub(had.get(&address).copied().unwrap_or_default())
    };
    let least: usize = count(after, &new).into_iter().map(gained).sum();
    let moved = moved((before, &old), (after, &new));
    (moved, moved - least)
}

/// The shares of those that are up are exact to less than one slot; nobody else has any.
fn exact(members: &[Part]) {
    let owned = shares(&fill(members));
    let whole: u32 = members.iter().filter(|(.., up)| *up).map(|(_, weight, _)| weight.get()).sum();
    for (at, (address, weight, up)) in members.iter().enumerate() {
        let slots = owned.get(&(at as u16)).copied().unwrap_or_default();
        let wanted = if *up { RING_SLOTS * weight.get() } else { 0 };
        assert!(
            whole == 0 || (slots * whole).abs_diff(wanted) < whole,
            "{address} of weight {} has {slots} slots, {} would be exact",
            weight.get(),
            f64::from(wanted) / f64::from(whole)
        );
    }
}
