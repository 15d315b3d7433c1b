//! Every prefix of the changes is safe, and whoever stops after one goes on from there.

use std::collections::BTreeSet;
use std::net::IpAddr;

use plane::row::{Mac, TRACK_WORDS};
use plane::{Pass, Tick, Verdict};

use super::{Change, Name};
use crate::testing::{
    ACK, CLIENT_MAC, Chance, Dice, LINK, Lab, MEMBERS, Packet, SYN, Wish, ip, link_mac, mac_of, owners,
    packets, pool, rule, tcp,
};
use crate::{Compiler, Memory, Replica, Tables};

#[test]
fn every_prefix_of_the_changes_sends_packets_where_the_old_or_the_new_tables_would() {
    let figures = prefixes(0..16);
    assert!(figures.moved > 100, "the changes must matter to many frames: {figures:?}");
}

#[test]
fn a_port_of_a_range_that_leads_to_another_member_is_safe_at_every_prefix() {
    // NAT-1: also where two members exchange their ports, and where a rule that chooses takes the place of a range.
    let mut figures = Figures::default();
    let range = rule("10.0.1.1", 500, "web", 8080).up_to(505);
    let chosen = rule("10.0.1.1", 501, "web", 8080);
    let of = |members: &[&str], rule, gateway| Wish::new(&[pool("web", gateway, members)], &[rule]);
    for (seed, gateway) in [(1, true), (2, false), (3, true), (4, false), (5, true)] {
        let as_is = |it: crate::testing::RuleWish| match seed {
            3 | 4 => it.udp(),
            5 => it.floating(),
            _ => it,
        };
        let (range, chosen) = (as_is(range), as_is(chosen));
        let wishes = [
            of(&["10.0.0.4", "10.0.0.5", "10.0.0.6"], range, gateway),
            of(&["10.0.0.5", "10.0.0.4", "10.0.0.7"], range, gateway),
            of(&["10.0.0.7", "10.0.0.8"], range, gateway),
            of(&["10.0.0.7", "10.0.0.8"], chosen, gateway),
            of(&["10.0.0.8", "10.0.0.7"], range, gateway),
        ];
        let mut compiler = Compiler::default();
        for pair in wishes.windows(2) {
            let mut dice = Dice(seed);
            let mut chance = Chance::new(&mut dice);
            chance.wish = pair[0].clone();
            let before = chance.compile(&mut compiler, &Tables::default());
            let frames = Frames::new(&mut dice, [&pair[0], &pair[1]], &before, &chance);
            chance.wish = pair[1].clone();
            let after = chance.compile(&mut compiler, &before);
            check(
                &format!("gateway {gateway}: {:?}", pair[1].pools),
                &mut dice,
                &frames,
                &[&before, &after],
                &mut figures,
            );
        }
    }
    assert!(figures.direct >= 12 && figures.moved > 50, "{figures:?}");
}

#[test]
#[ignore = "takes minutes; for figures and after larger changes"]
fn every_prefix_is_safe_in_many_worlds() {
    println!("{:?}", prefixes(1_000..1_200));
}

fn prefixes(seeds: std::ops::Range<u64>) -> Figures {
    let mut figures = Figures::default();
    for seed in seeds {
        let mut dice = Dice(seed);
        let mut compiler = Compiler::default();
        let first = Chance::new(&mut dice);
        // Some history, so that there are slots and rules that are changing already.
        let second = first.changed(&mut dice, 3);
        let third = second.changed(&mut dice, 1 + seed as usize % 5);
        let tables = first.compile(&mut compiler, &Tables::default());
        let before = second.compile(&mut compiler, &tables);
        let after = third.compile(&mut compiler, &before);
        let frames = Frames::new(&mut dice, [&second.wish, &third.wish], &before, &second);
        // Where members are found, and not only what is wanted, may differ: a packet may go to its old member by the new hop.
        let moved =
            Chance { surroundings: third.surroundings.clone(), ..second }.compile(&mut compiler, &before);
        let allowed = [&before, &moved, &after];
        check(&format!("seed {seed}"), &mut dice, &frames, &allowed, &mut figures);
        let empty = Tables::default();
        check(&format!("seed {seed} from nothing"), &mut dice, &frames, &[&empty, &before], &mut figures);
        let nothing = Chance { wish: Wish::default(), ..third }.compile(&mut compiler, &after);
        check(&format!("seed {seed} to nothing"), &mut dice, &frames, &[&after, &nothing], &mut figures);
    }
    figures
}

#[test]
fn settling_is_safe_at_every_prefix() {
    let mut figures = Figures::default();
    for seed in 100..106 {
        let mut dice = Dice(seed);
        let mut compiler = Compiler::default();
        let first = Chance::new(&mut dice);
        let second = first.changed(&mut dice, 6);
        let mut tables = first.compile(&mut compiler, &Tables::default());
        tables = second.compile(&mut compiler, &tables);
        let frames = Frames::new(&mut dice, [&first.wish, &second.wish], &tables, &second);
        let clock = second.surroundings.clock;
        let mut settling = crate::Settling::default();
        for step in 0..4 {
            let pinned = BTreeSet::new();
            let after = settling.step(&tables, &pinned, clock, clock.tick * (step * 7_000));
            check(&format!("seed {seed} step {step}"), &mut dice, &frames, &[&tables, &after], &mut figures);
            tables = after;
        }
        assert!(tables.is_steady());
    }
}

#[test]
fn whoever_stops_after_a_prefix_goes_on_from_there() {
    // FLOW-7, DIST-7
    stop_and_go_on(200..210);
}

#[test]
#[ignore = "takes minutes; for figures and after larger changes"]
fn whoever_stops_goes_on_in_many_worlds() {
    stop_and_go_on(2_000..2_100);
}

fn stop_and_go_on(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut dice = Dice(seed);
        let mut compiler = Compiler::default();
        let first = Chance::new(&mut dice);
        let second = first.changed(&mut dice, 4);
        let before = first.compile(&mut compiler, &Tables::default());
        let after = second.compile(&mut compiler, &before);
        let changes = before.changes_to(&after);
        let others: Vec<usize> = (0..changes.len()).filter(|at| !is_slot(&changes[*at])).collect();
        if others.is_empty() {
            continue;
        }
        let mut stops: Vec<usize> = (0..4).map(|_| dice.pick(&others)).collect();
        stops.push(dice.below(changes.len()));
        let owned = owners(&after);
        for stop in stops {
            let stopped = after_prefix(&before, &changes, stop);
            for ring in stopped.rings_in_use() {
                assert!(stopped.rings.contains_key(&ring), "seed {seed}: ring {ring} is named and not there");
            }
            let wanted = second.compile(&mut compiler, &stopped);
            let changes = stopped.changes_to(&wanted);
            assert_eq!(
                after_prefix(&stopped, &changes, changes.len()),
                wanted,
                "seed {seed} stopped at {stop}"
            );
            assert_eq!(second.compile(&mut compiler, &wanted), wanted, "seed {seed} stopped at {stop}");
            assert!(owners(&wanted) == owned, "seed {seed} stopped at {stop}");
            assert_distinct(&wanted);
        }
    }
}

#[test]
fn a_number_is_not_given_away_before_everything_is_forgotten_about_it() {
    // FLOW-3, FLOW-7: also when the process is killed in between.
    let wish =
        Wish::new(&[pool("web", true, &["10.0.0.4", "10.0.0.5"])], &[rule("10.0.1.1", 80, "web", 8080)]);
    let mut lab = Lab::new(wish);
    let before = lab.replica.tables().clone();
    lab.wish.pools[0].members[0] = ip("10.0.0.6");
    let after = lab.compile().unwrap();
    assert!(before.members.keys().all(|number| {
        after.members.get(number).is_none_or(|row| row.address() == before.members[number].address())
    }));
    let changes = before.changes_to(&after);
    let forgotten = changes.iter().position(|change| matches!(change, Change::Forget { .. })).unwrap();
    let Change::Forget { member } = changes[forgotten] else { unreachable!() };
    let mut stopped = before;
    for (at, change) in changes.iter().enumerate() {
        stopped.apply(change);
        let is_there = stopped.members.get(&member).is_some_and(|row| row.is_live());
        assert_eq!(is_there, at <= forgotten, "after change {at}");
    }
}

#[test]
fn nothing_changes_where_nothing_differs() {
    let mut dice = Dice(7);
    let tables = Chance::new(&mut dice).compile(&mut Compiler::default(), &Tables::default());
    assert_eq!(tables.changes_to(&tables), []);
}

#[test]
fn half_an_own_address_is_never_used() {
    let wish = Wish::new(&[pool("web", false, &["fd00::4"])], &[rule("fd00:1::1", 80, "web", 8080)]);
    let mut lab = Lab::new(wish);
    let before = lab.replica.tables().clone();
    lab.surroundings.own_v6 = "fd01::3".parse().ok();
    let after = lab.compile().unwrap();
    let changes = before.changes_to(&after);
    let mut seen = BTreeSet::new();
    for stop in 0..=changes.len() {
        seen.insert(after_prefix(&before, &changes, stop).config.own(false).map(|own| own.to_string()));
    }
    assert_eq!(seen, BTreeSet::from([None, Some("fd00::2".into()), Some("fd01::3".into())]));
}

#[test]
fn a_frontend_is_answered_for_only_when_its_rules_are_there() {
    let wish = Wish::new(&[pool("web", true, &["10.0.0.4"])], &[rule("10.0.1.1", 80, "web", 8080)]);
    let mut lab = Lab::new(wish);
    let before = lab.replica.tables().clone();
    lab.wish.rules.push(rule("10.0.1.2", 80, "web", 8081));
    let after = lab.compile().unwrap();
    let mut replica = Replica::new(before.clone(), Memory::new(lab.surroundings.sizes));
    let packet = tcp(("192.0.2.1", 5_000), ("10.0.1.2", 80), SYN);
    for change in before.changes_to(&after) {
        let verdict = replica.run(&mut packet.frame(), LINK, Tick(1));
        assert!(matches!(verdict, Verdict::Pass(_) | Verdict::Send(..)), "{verdict:?} before {change:?}");
        replica.apply(&change);
    }
    assert!(matches!(replica.run(&mut packet.frame(), LINK, Tick(1)), Verdict::Send(..)));
}

#[derive(Debug, Default)]
struct Figures {
    /// Ports of ranges that lead to another member.
    direct: usize,
    changes: usize,
    prefixes: usize,
    outcomes: usize,
    moved: usize,
    dropped: usize,
}

/// Frames, and a memory in which some of their flows are.
struct Frames {
    /// Each with the station that sends it.
    packets: Vec<(Packet, Mac)>,
    flows: Vec<[u64; 8]>,
    pieces: Vec<[u64; 8]>,
    outward: Vec<[u64; 8]>,
    inward: Vec<[u64; 8]>,
}

const NOW: Tick = Tick(5_000);

impl Frames {
    fn new(dice: &mut Dice, wishes: [&Wish; 2], tables: &Tables, chance: &Chance) -> Self {
        let mut packets = packets(dice, &wishes);
        let replica = Replica::new(tables.clone(), Memory::new(chance.surroundings.sizes));
        for packet in packets.iter().filter(|_| dice.one_in(3)) {
            let _ = replica.run(&mut packet.frame(), LINK, NOW);
        }
        let memory = replica.memory();
        let outward: Vec<_> = memory.outward_words().collect();
        let own = |v4: bool| tables.config.own(v4).map(IpAddr::from);
        for kept in outward.iter().filter_map(|words| plane::masqueraded(*words, NOW)) {
            let Some(member) = tables.members.get(&kept.member) else { continue };
            let Some(own) = own(member.address().is_v4()) else { continue };
            for port in [80, 443, 8_000, 8_001, 8_002, 8_003] {
                let packet =
                    Packet { from: (member.address().into(), port), to: (own, kept.port), flags: Some(ACK) };
                let flags = (kept.flow.protocol == 6).then_some(ACK);
                packets.push(Packet { flags, ..packet });
            }
        }
        let is_frontend =
            |address| wishes.iter().any(|wish| wish.rules.iter().any(|rule| rule.frontend == address));
        let sent = packets.into_iter().map(|packet| {
            // Floating members answer from the frontend's address, and their stations tell them apart.
            let by_member = is_frontend(packet.from.0);
            (packet, if by_member { mac_of(ip(dice.pick(&MEMBERS))) } else { CLIENT_MAC })
        });
        Self {
            packets: sent.collect(),
            pieces: memory.piece_words().collect(),
            flows: memory
                .flow_words()
                .collect::<Vec<_>>()
                .chunks(8)
                .map(|words| words.try_into().unwrap())
                .collect(),
            inward: memory.inward_words().collect(),
            outward,
        }
    }

    /// What becomes of each, with nothing that one does to the memory seen by another.
    fn outcomes(&self, tables: &Tables) -> Vec<(Verdict, Vec<u8>)> {
        let outcome = |(packet, station): &(Packet, Mac)| {
            let memory = Memory::of(
                self.flows.clone(),
                vec![[0; TRACK_WORDS]; 8 * self.flows.len()],
                self.pieces.clone(),
                self.outward.clone(),
                self.inward.clone(),
            );
            let mut frame = packet.between(*station, link_mac(LINK));
            // The host gets the same frame, whatever the reason.
            let verdict = match Replica::new(tables.clone(), memory).run(&mut frame, LINK, NOW) {
                Verdict::Pass(_) => Verdict::Pass(Pass::NotOurs),
                verdict @ (Verdict::Drop(_) | Verdict::Send(..) | Verdict::Route(_)) => verdict,
            };
            (verdict, frame)
        };
        self.packets.iter().map(outcome).collect()
    }
}

/// From the first of `allowed` to the last: whatever is on the way does with a packet what one of them does.
fn check(what: &str, dice: &mut Dice, frames: &Frames, allowed: &[&Tables], figures: &mut Figures) {
    let (Some(before), Some(after)) = (allowed.first(), allowed.last()) else { return };
    let changes = before.changes_to(after);
    let outcomes: Vec<_> = allowed.iter().map(|tables| frames.outcomes(tables)).collect();
    let (old, new) = (&outcomes[0], &outcomes[allowed.len() - 1]);
    figures.changes += changes.len();
    let rows = after.rule_rows();
    let is_led_elsewhere = |(place, row): &(_, plane::row::RuleRow)| {
        let now = rows.get(place).map(|row| row.plan());
        row.plan().direct && now.is_some_and(|now| now.direct && now.ring != row.plan().ring)
    };
    figures.direct += before.rule_rows().into_iter().filter(is_led_elsewhere).count();
    figures.moved += old.iter().zip(new).filter(|(old, new)| old != new).count();
    let slots = changes.iter().filter(|change| is_slot(change)).count();
    let mut tables = (*before).clone();
    for (at, change) in changes.iter().enumerate() {
        tables.apply(change);
        if is_slot(change) && !dice.one_in(slots / 4 + 1) {
            continue;
        }
        figures.prefixes += 1;
        for (number, outcome) in frames.outcomes(&tables).into_iter().enumerate() {
            figures.outcomes += 1;
            if matches!(outcome.0, Verdict::Drop(_)) {
                figures.dropped += 1;
                continue;
            }
            let (old, new) = (&old[number], &new[number]);
            assert!(
                outcomes.iter().any(|allowed| allowed[number] == outcome),
                "{what}, after change {at} of {} ({change:?}): {:?} became\n{outcome:02x?}, not\n{old:02x?} or\n{new:02x?}\n\
                 before\n{before}after\n{after}",
                changes.len(),
                frames.packets[number],
            );
        }
    }
    assert_eq!(tables.tidied(), **after, "{what}");
}

fn is_slot(change: &Change) -> bool {
    matches!(change, Change::Word { table: Name::Slots, .. })
}

/// What a dump shows after so many of the changes.
fn after_prefix(before: &Tables, changes: &[Change], number: usize) -> Tables {
    let mut tables = before.clone();
    changes[..number].iter().for_each(|change| tables.apply(change));
    tables.tidied()
}

fn assert_distinct(tables: &Tables) {
    let numbers: BTreeSet<u32> = tables.addresses.values().map(|row| row.number()).collect();
    assert_eq!(numbers.len(), tables.addresses.len(), "two addresses share a number\n{tables}");
    let keys: BTreeSet<_> = tables.rules.values().map(|row| row.key()).collect();
    assert_eq!(keys.len(), tables.rules.len(), "a rule is in two places\n{tables}");
}
