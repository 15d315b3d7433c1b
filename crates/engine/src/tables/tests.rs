//! The text of the tables.

use plane::row::Slot;

use super::ring_words;
use crate::Tables;
use crate::testing::{Lab, OTHER_LINK, Wish, hop, ip, link, pool, rule};

#[test]
fn tables_are_shown_sorted_with_everything_that_matters() {
    let mut lab = Lab::new(Wish::new(
        &[pool("web", true, &["10.0.0.4", "10.0.0.5", "fd00::4"]), pool("db", false, &["10.0.0.6"])],
        &[
            rule("10.0.1.1", 80, "web", 8080),
            rule("fd00:1::1", 443, "web", 443).floating().by("SourceIP"),
            rule("10.0.1.1", 53, "db", 53).udp(),
        ],
    ));
    lab.surroundings.hops.insert(ip("10.0.0.5"), plane::row::Hop { adjacent: false, ..hop(ip("10.0.0.5")) });
    lab.surroundings.links.insert(OTHER_LINK, link(OTHER_LINK));
    lab.wish.rules[0] = lab.wish.rules[0].by("SourceIPProtocol");
    lab.down("10.0.0.4");
    assert_eq!(lab.replica.tables().to_string(), GOLDEN);
}

const GOLDEN: &str = "\
config own 10.0.0.2 fd00::2 flows 2^9x8 masquerades 2^10 tick 2^8 jiffies gateway on
link 3 02:0b:00:00:00:03
link 67 02:0b:00:00:00:43
address 10.0.0.2 own @1
address 10.0.0.4 member @2
address 10.0.0.5 member @3
address 10.0.0.6 member @4
address 10.0.1.1 frontend @5 echoes
address fd00::2 own @6
address fd00::4 member @7
address fd00:1::1 frontend @8 echoes
rule 10.0.1.1 tcp/80 -> ring 4 of pool beaeaf9a73b23a58 probe 334359c2 port 8080 \
Gateway by SourceIpProtocol from FiveTuple idle 236 counted 1
rule 10.0.1.1 udp/53 -> ring 1 of pool a13c9c9a8b58ba24 probe 334359c2 port 53 Masquerade by FiveTuple remembers idle 236 counted 2
rule fd00:1::1 tcp/443 -> ring 2 of pool beaeaf9a73b23a58 probe 334359c2 port 443 Floating by SourceIp idle 236 counted 3
return 10.0.0.4 tcp/8080 as 10.0.1.1 port 80 counted 1
return 10.0.0.5 tcp/8080 as 10.0.1.1 port 80 counted 1
member #1 10.0.0.6 @4 pool a13c9c9a8b58ba24 via 02:04:0a:00:00:06 link 3
member #2 10.0.0.4 @2 pool beaeaf9a73b23a58 via 02:04:0a:00:00:04 link 3
member #3 10.0.0.5 @3 pool beaeaf9a73b23a58 via 02:04:0a:00:00:05 link 3 routed
member #4 fd00::4 @7 pool beaeaf9a73b23a58 via 02:06:00:00:00:04 link 3
ring 1 #1:65536 changing 0 settled 0 digest 4a7f5304e3852325
ring 2 #4:65536 changing 0 settled 0 digest 25f236ebdc3a2325
ring 4 #3:65536 down #2 changing 32768 settled 0 digest c1f40aa89caf2325
";

#[test]
fn rings_keep_two_slots_a_word() {
    let slots = [Slot::steady(1), Slot::changing(2, 3), Slot::settled(4, 5), Slot::default()];
    let mut tables = Tables::default();
    tables.rings.insert(7, ring_words(slots));
    assert_eq!([0, 1, 2, 3].map(|slot| tables.slot(7, slot)), slots);
    assert_eq!(tables.slot(8, 0), Slot::steady(0));
    assert!(!tables.is_steady());
}
