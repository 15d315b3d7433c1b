//! Prints `docs/tables.md`: every map, its rows word by word, the limits and the reasons. Where a field lies is found out by asking
//! the rows themselves: two that differ in this field only differ in its bits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use forebay_engine::{Name, Sizes};
use plane::row::{
    ACCESS_PLACES, ADDRESS_PLACES, AccessRow, Address, AddressRow, BUCKET_WAYS, BUSY, ConfigRow, DOWN_WORDS,
    Distribution, ENTRY_WORDS, Hop, Key, LINK_PLACES, LINK_TRIES, LIVE, LinkRow, ListRow,
    MASQUERADE_FIRST_PORT, MASQUERADE_PORTS, MAX_ADDRESSES, MAX_EXTENSIONS, MAX_IDLE_TICKS, MAX_LISTS,
    MAX_MEMBERS, MAX_REPORTS, MAX_RETURNS, MAX_RULES, MAX_SECURITY_RULES, MAX_TRANSPORT, MAX_WATCHES, Mac,
    MemberRow, OUTWARD_WAYS, PIECE_BUCKETS, PIECE_TICKS, PIECE_WAYS, Path, Plan, REPORT_WORDS, RETURN_PLACES,
    RING_SLOTS, RING_WORDS, RULE_PLACES, Report, ReturnRow, Role, RuleRow, Slot, Strict, TRACK_WORDS, View,
    WATCH_WORDS, WatchRow,
};
use plane::stage::{PARCEL_WORDS, Stage};
use plane::{REASONS, RESET_CAUSES, Reason, Remembered, Tick};

fn main() {
    println!("# Tables\n");
    println!("Made by `cargo xtask tables`. The numbers are those of the code.\n");
    println!("{}", INTRODUCTION.trim());
    maps();
    println!("\n## Rows");
    config();
    links();
    addresses();
    rules();
    returns();
    slots();
    down();
    members();
    lists();
    watches();
    println!("\n## Memories");
    flows();
    tracks();
    pieces();
    masquerades();
    limits();
    reasons();
}

const INTRODUCTION: &str = "
The control plane writes tables, word by word, through shared memory; packets write memories and counters. A word has 64 bits and
changes at once. A row of several words has one that publishes it: zero while the row is empty, marked while the others change,
written last. A reader that meets a marked row drops the packet (`Changing`).

Addresses, rules and rules of the way back are looked for in two places, which their hash gives; links in a few places from their
interface index on. Everything else is found by its number.
";

fn maps() {
    let sizes = Sizes::default();
    println!("\n## Maps\n");
    println!("| map | holds | rows | bytes a row | written by |");
    println!("|---|---|---|---|---|");
    let table = |name: &str, of: Name, what: &str, rows: String| {
        println!("| `{name}` | {what} | {rows} | {} | control plane |", of.width() * 8);
    };
    table("CONFIG", Name::Config, "what holds for the whole balancer", count(1));
    table("LINKS", Name::Links, "links the balancer is attached to", count(LINK_PLACES));
    table(
        "ADDRESSES",
        Name::Addresses,
        "addresses of frontends, of members, and the own ones",
        count(ADDRESS_PLACES),
    );
    table("RULES", Name::Rules, "load-balancing rules", count(RULE_PLACES));
    table("RETURNS", Name::Returns, "rules of the way back", count(RETURN_PLACES));
    let rings = format!("{} for each ring; {} rings by default", count(RING_WORDS), sizes.rings);
    table("SLOTS", Name::Slots, "slots of all rings, two a word", rings);
    let down = format!("{} for each ring", count(DOWN_WORDS));
    table("DOWN", Name::Down, "which members are down, beside each ring", down);
    table("MEMBERS", Name::Members, "members of pools, by number", count(MAX_MEMBERS));
    table(
        "LISTS",
        Name::Lists,
        "lists of admitted sources, by number: where their entries are",
        count(MAX_LISTS),
    );
    table("ACCESS", Name::Access, "entries of lists, in the order of their addresses", count(ACCESS_PLACES));
    table("SECURITY", Name::Security, "identities of security rules, by number", count(MAX_SECURITY_RULES));
    let memory = |name: &str, what: &str, bits: u8, words: usize| {
        println!("| `{name}` | {what} | 2^{bits} by default | {} | packets |", words * 8);
    };
    memory("FLOWS", "buckets of remembered flows", sizes.flow_bits, BUCKET_WAYS);
    println!(
        "| `PIECES` | ports of packets that come in pieces, by their first one | {} | {} | packets |",
        count(PIECE_BUCKETS),
        BUCKET_WAYS * 8
    );
    println!(
        "| `TRACKS` | what is known of connections that are kept in mind | {BUCKET_WAYS} for each of those buckets | {} | packets |",
        TRACK_WORDS * 8
    );
    println!("| `RESETS` | resets that were sent, by their cause | {RESET_CAUSES} | 8 | control plane |");
    memory("OUTWARD", "masqueraded flows, by the client's side", sizes.masquerade_bits, ENTRY_WORDS);
    memory("INWARD", "masqueraded flows, by the member's side", sizes.masquerade_bits, ENTRY_WORDS);
    for (name, what, rows, words) in [
        ("RULE_COUNTS", "packets, bytes, flows begun; by rule number", MAX_RULES, 4),
        ("MEMBER_COUNTS", "packets, bytes, flows begun; by member number", MAX_MEMBERS, 4),
        (
            "UNMATCHED_COUNTS",
            "packets that reached no rule; by the number of the frontend's address",
            MAX_ADDRESSES,
            1,
        ),
        ("SECURITY_COUNTS", "packets, bytes; by number of the security rule", MAX_SECURITY_RULES, 2),
        ("REASON_COUNTS", "packets, bytes; by reason", REASONS, 2),
        ("WATCH_COUNTS", "packets told, packets left out; by who watches", MAX_WATCHES as u32, 2),
    ] {
        println!("| `{name}` | {what} | {} for each processor | {} | packets |", count(rows), words * 8);
    }
    let what = "what one stage tells the next about a packet";
    println!("| `PARCEL` | {what} | 1 for each processor | {} | packets |", PARCEL_WORDS * 8);
    println!(
        "| `DROPPED` | which stage drops a packet that is told, and why | 1 for each processor | 8 | packets |"
    );
    println!(
        "| `WATCHES` | who watches what is dropped, {MAX_WATCHES} rows in one value | 1 | {} | who watches |",
        MAX_WATCHES * WATCH_WORDS * 8
    );
    println!(
        "| `REPORTS_0` to `REPORTS_{}` | ring buffers: packets of which one who watches is told | 256 KiB | {} | packets |",
        MAX_WATCHES - 1,
        REPORT_WORDS * 8
    );
    let stages = Stage::ALL.map(|stage| format!("`{}`", stage.program())).join(", ");
    println!(
        "| `STAGES` | the programs, one a stage: {stages}; and `forebay_watch` | {} | 4 | loader |",
        Stage::ALL.len() + 1
    );
    println!(
        "\nBy default the rings take {} MiB and the memories {} MiB.",
        sizes.ring_memory() >> 20,
        sizes.memory() >> 20
    );
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));
const NOWHERE: Address = Address::v6(0, 0);

fn config() {
    let new = |flows, masquerades, shift, gateway, v4: Option<IpAddr>, v6: Option<IpAddr>| {
        ConfigRow::new(flows, masquerades, shift, gateway, v4.map(Address::from), v6.map(Address::from)).0
    };
    let zero = new(0, 0, 0, false, None, None);
    let all = u8::MAX;
    row("CONFIG", "each word stands for itself; while word 2 is zero there is no own IPv6 address");
    field("buckets of remembered flows: 2 to the power of this", &[zero, new(all, 0, 0, false, None, None)]);
    field("masqueraded flows: 2 to the power of this", &[zero, new(0, all, 0, false, None, None)]);
    field("jiffies of a tick: 2 to the power of this", &[zero, new(0, 0, all, false, None, None)]);
    field("some answers come back through this host", &[zero, new(0, 0, 0, true, None, None)]);
    field("own IPv4 address, mapped into IPv6; 0 is none", &[zero, new(0, 0, 0, false, Some(V4), None)]);
    field("own IPv6 address", &[zero, new(0, 0, 0, false, None, Some(V6))]);
}

fn links() {
    let new = |index, mac, mtu| LinkRow::new(index, Mac::from_bits(mac), mtu).0;
    row("LINKS", "published by word 1");
    field("link-layer address", &[new(0, 0, 0), new(0, u64::MAX, 0)]);
    field("bytes of the largest packet that it carries; 0: any", &[new(0, 0, 0), new(0, 0, u16::MAX)]);
    field("interface index; 0 in an empty row", &[new(0, 0, 0), new(u32::MAX, 0, 0)]);
}

fn addresses() {
    let new = |address: Address, number, role| AddressRow::new(address, number, role).0;
    let roles = [Role::Frontend, Role::Own, Role::Member, Role::Station].map(|role| new(NOWHERE, 0, role));
    row("ADDRESSES", "published by word 0, which is 0 while the row changes");
    println!("| 0 | {} | the row is there |", bits(LIVE));
    field("role: 1 frontend, 2 own, 3 member, 4 the station of one", &roles);
    let echo = |echo| AddressRow::new(NOWHERE, 0, Role::Frontend).echoing(echo).0;
    field("echo requests are answered", &[echo(false), echo(true)]);
    field("number: half of the key of rules", &[roles[0], new(NOWHERE, u32::MAX, Role::Frontend)]);
    let what = "address; IPv4 is mapped into IPv6, and a station follows `ffff:ffff:ffff:ffff::`";
    field(what, &[roles[0], new(V6.into(), 0, Role::Frontend)]);
}

const PLAN: Plan = Plan {
    backend_port: 0,
    ring: 0,
    distribution: Distribution::FiveTuple,
    former: Distribution::FiveTuple,
    settled: false,
    path: Path::Floating,
    remembers: false,
    resets: false,
    hairpin: false,
    direct: false,
    tracks: false,
    announces: false,
    strict: Strict::No,
    idle: 0,
};

fn key_fields<const N: usize>(new: impl Fn(Key) -> [u64; N]) {
    println!("| 0 | {} | the row is there |", bits(LIVE));
    println!("| 0 | {} | the row is being rewritten |", bits(BUSY));
    let zero = new(Key::new(0, 0, 0));
    field("transport protocol", &[zero, new(Key::new(0, u8::MAX, 0))]);
    field("port", &[zero, new(Key::new(0, 0, u16::MAX))]);
    field("number of the address", &[zero, new(Key::new(MAX_ADDRESSES - 1, 0, 0))]);
}

fn rules() {
    let new = |key, plan, number| RuleRow::new(key, plan, number, View::default()).0;
    let seen = |view| RuleRow::new(Key::new(0, 0, 0), PLAN, 0, view).0;
    let key = Key::new(0, 0, 0);
    let plan = |plan| new(key, plan, 0);
    let by = [Distribution::FiveTuple, Distribution::SourceIp, Distribution::SourceIpProtocol];
    let paths = [Path::Floating, Path::FloatingGateway, Path::Gateway, Path::Masquerade];
    row("RULES", "published by word 0; word 1 is the plan, which changes at once");
    key_fields(|key| new(key, PLAN, 0));
    field("backend port", &[plan(PLAN), plan(Plan { backend_port: u16::MAX, ..PLAN })]);
    field("ring", &[plan(PLAN), plan(Plan { ring: u16::MAX, ..PLAN })]);
    let what = "distribution: 0 by five fields, 1 `SourceIP`, 2 `SourceIPProtocol`";
    field(what, &by.map(|distribution| plan(Plan { distribution, ..PLAN })));
    field("distribution before, in the same way", &by.map(|former| plan(Plan { former, ..PLAN })));
    field("the change of distribution is over", &[plan(PLAN), plan(Plan { settled: true, ..PLAN })]);
    let what = "path: 0 floating, 1 floating through this gateway, 2 gateway, 3 masquerade";
    field(what, &paths.map(|path| plan(Plan { path, ..PLAN })));
    field("every flow is remembered", &[plan(PLAN), plan(Plan { remembers: true, ..PLAN })]);
    let what = "connections leave a member that is down";
    field(what, &[plan(PLAN), plan(Plan { resets: true, ..PLAN })]);
    field("a member may be led to itself", &[plan(PLAN), plan(Plan { hairpin: true, ..PLAN })]);
    let what = "there is one member only, whose number stands for the ring";
    field(what, &[plan(PLAN), plan(Plan { direct: true, ..PLAN })]);
    field("connections are kept in mind", &[plan(PLAN), plan(Plan { tracks: true, ..PLAN })]);
    let what = "both ends of a connection that was silent are reset";
    field(what, &[plan(PLAN), plan(Plan { announces: true, ..PLAN })]);
    let what = "connections that are not kept in mind: 0 chosen afresh, 1 soon dropped, 2 dropped";
    let strict = [Strict::No, Strict::Soon, Strict::Yes].map(|strict| plan(Plan { strict, ..PLAN }));
    field(what, &strict);
    field("idle time in ticks", &[plan(PLAN), plan(Plan { idle: u16::MAX, ..PLAN })]);
    field("number: its row of counters", &[plan(PLAN), new(key, PLAN, u32::MAX)]);
    let asking = |list| RuleRow::new(key, PLAN, 0, View::default()).asking(list).0;
    field("list of admitted sources; 0 is everybody", &[asking(0), asking(u32::MAX)]);
    field("identity of its probe", &[plan(PLAN), seen(View { pool: 0, probe: u32::MAX })]);
    field("identity of its pool", &[plan(PLAN), seen(View { pool: u64::MAX, probe: 0 })]);
}

fn returns() {
    let new = |key, frontend: Address, port, rule| ReturnRow::new(key, frontend, port, rule).0;
    let key = Key::new(0, 0, 0);
    let zero = new(key, NOWHERE, 0, 0);
    row("RETURNS", "published by word 0; the key is where the answers come from");
    key_fields(|key| new(key, NOWHERE, 0, 0));
    let by = |station| new(Key::of_station(station, 0, 0, 0), NOWHERE, 0, 0);
    field("number of the station that sends them, where its bit is set", &[by(0), by(MAX_ADDRESSES - 1)]);
    field("one station sends them", &[zero, by(0)]);
    field("frontend's address", &[zero, new(key, V6.into(), 0, 0)]);
    field("frontend's port", &[zero, new(key, NOWHERE, u16::MAX, 0)]);
    field("number of the rule that is counted", &[zero, new(key, NOWHERE, 0, u32::MAX)]);
}

fn slots() {
    let all = MAX_MEMBERS - 1;
    let pair = |even, odd| [Slot::pair(even, odd)];
    let zero = Slot::default();
    row("SLOTS", "each word stands for itself");
    field("even slot: current member; 0 is nobody", &[pair(zero, zero), pair(Slot::changing(all, 0), zero)]);
    let settled = Slot::settled(0, 0);
    field("even slot: its change is over", &[pair(zero, zero), pair(settled, zero)]);
    field("even slot: former member", &[pair(zero, zero), pair(Slot::changing(0, all), zero)]);
    field("odd slot, in the same way", &[pair(zero, zero), pair(zero, Slot::settled(all, all))]);
}

fn down() {
    row("DOWN", "each word stands for itself");
    field("member 64 w + bit, in word w beside a ring, is down", &[[0], [u64::MAX]]);
}

fn members() {
    let hop = Hop { link: 0, source: Mac::default(), destination: Mac::default(), adjacent: false, mtu: 0 };
    let mac = Mac::from_bits(u64::MAX);
    let at = |hop| MemberRow::new(NOWHERE, 0, 0, Some(hop)).0;
    let new = |address: Address, number, pool| MemberRow::new(address, number, pool, Some(hop)).0;
    let zero = at(hop);
    row("MEMBERS", "published by word 0");
    let live = MemberRow::new(NOWHERE, 0, 0, None).0;
    field("link-layer address of the next station", &[zero, at(Hop { destination: mac, ..hop })]);
    field("the row is there", &[[0; 8], live]);
    println!("| 0 | {} | the row is being rewritten |", bits(MemberRow::closed(0)));
    field("the member itself is that station", &[zero, at(Hop { adjacent: true, ..hop })]);
    field("the next station is known", &[live, zero]);
    field("address", &[zero, new(V6.into(), 0, 0)]);
    field("link-layer address of the link", &[zero, at(Hop { source: mac, ..hop })]);
    field(
        "bytes of the largest packet that the link carries; 0: any",
        &[zero, at(Hop { mtu: u16::MAX, ..hop })],
    );
    field("interface index of the link", &[zero, at(Hop { link: u32::MAX, ..hop })]);
    field("number of its address", &[zero, new(NOWHERE, u32::MAX, 0)]);
    field("identity of its pool", &[zero, new(NOWHERE, 0, u64::MAX)]);
    let leaving = |until| [MemberRow::new(NOWHERE, 0, 0, None).leaving(until).0];
    field(
        "the tick until which it keeps connections, having left its pool",
        &[leaving(0)[0], leaving(u32::MAX)[0]],
    );
    field("it has left its pool", &[live, leaving(0)[0]]);
}

fn lists() {
    row("LISTS", "each word stands for itself; 0 where there is no list");
    field("place of the first entry", &[ListRow::new(0, 0).0, ListRow::new(u32::MAX, 0).0]);
    field("how many entries", &[ListRow::new(0, 0).0, ListRow::new(0, u32::MAX).0]);
    row("ACCESS", "published by word 0");
    let new = |list, from, rule, allow| AccessRow::new(list, from, rule, allow).0;
    let zero = new(0, NOWHERE, 0, false);
    println!("| 0 | {} | the entry is there |", bits(LIVE));
    field("packets may pass", &[zero, new(0, NOWHERE, 0, true)]);
    field("number of the security rule that decides", &[zero, new(0, NOWHERE, u32::MAX, false)]);
    field("number of the list", &[zero, new(u32::MAX, NOWHERE, 0, false)]);
    field("first address; the next entry's ends it", &[zero, new(0, V6.into(), 0, false)]);
    row("SECURITY", "each word stands for itself");
    field("identity of the security rule", &[[0], [u64::MAX]]);
}

fn watches() {
    let all = WatchRow::everything(0);
    let until = |second| [all.until(second)];
    row("WATCHES", "published by word 0, which is 0 where nobody watches");
    field("second of the monotonic clock until which its watcher is there", &[until(0), until(u32::MAX)]);
    field("reports a second at most", &[all.0, WatchRow::everything(u32::MAX).0]);
    println!("| 1 | 0–63 | reasons of which it is told, a bit for each number |");
    let any = all.of_client(NOWHERE, 0);
    field("bits of the client's prefix", &[any.0, any.of_client(NOWHERE, 255).0]);
    let of = |frontend: Address, port| all.of_frontend(frontend, port).0;
    field("a frontend is named", &[all.0, of(NOWHERE, 0)]);
    field("a client is named", &[all.0, any.0]);
    field("the frontend's port; 0 is any", &[of(NOWHERE, 0), of(NOWHERE, u16::MAX)]);
    field("the frontend's address", &[of(NOWHERE, 0), of(V6.into(), 0)]);
    field("the client's prefix", &[any.0, all.of_client(V6.into(), 0).0]);
    println!("| 7 | 0–31 | reports in the current second |");
    println!("| 7 | 32–63 | the current second |");
    row("REPORTS", "whole from the beginning");
    let packet = |protocol, from: Address, to: Address, ports| {
        Report::new(0, 0, Reason(0), 0).of_packet(protocol, from, to, ports).0
    };
    let zero = Report::new(0, 0, Reason(0), 0);
    field("when, in nanoseconds of the monotonic clock", &[zero.0, Report::new(u64::MAX, 0, Reason(0), 0).0]);
    field("interface index of the link it came in by", &[zero.0, Report::new(0, u32::MAX, Reason(0), 0).0]);
    field("reason", &[zero.0, Report::new(0, 0, Reason(255), 0).0]);
    field("protocol", &[zero.0, packet(255, NOWHERE, NOWHERE, 0)]);
    field("it is ARP", &[zero.0, zero.of_arp(NOWHERE, NOWHERE).0]);
    field("source address", &[zero.0, packet(0, V6.into(), NOWHERE, 0)]);
    field("destination address", &[zero.0, packet(0, NOWHERE, V6.into(), 0)]);
    field("destination port", &[zero.0, packet(0, NOWHERE, NOWHERE, 0xffff)]);
    field("source port", &[zero.0, packet(0, NOWHERE, NOWHERE, 0xffff_0000)]);
    field("bytes of the frame", &[zero.0, Report::new(0, 0, Reason(0), u32::MAX).0]);
    field("number of the security rule that denied it; 0 is none", &[zero.0, zero.denied_by(u32::MAX).0]);
}

/// The bits of an entry that change an answer.
fn matter<T: PartialEq>(answer: impl Fn(Remembered) -> T) -> u64 {
    let of = |word| Remembered::of(word, Tick(0));
    // Both for an entry with all of them and for one with few.
    [1u64 << 33, u64::MAX >> 32 & !0x7fff | 1 << 33]
        .into_iter()
        .flat_map(|word| (0..63).map(move |bit| (word, word ^ 1 << bit)))
        .filter_map(|(one, other)| Some((one ^ other, of(one)?, of(other)?)))
        .filter(|(_, one, other)| answer(*one) != answer(*other))
        .fold(0, |bits, (bit, ..)| bits | bit)
}

fn flows() {
    let member = matter(Remembered::member);
    let confirmed = matter(Remembered::is_confirmed);
    let pinned = matter(Remembered::is_pinned);
    let tag = u64::MAX << 33;
    let tracked = (0..64).map(|bit| 1u64 << bit).filter(|word| Remembered::is_tracked(*word)).sum::<u64>();
    println!("\n### FLOWS: an entry is one word, {BUCKET_WAYS} of them a bucket\n");
    println!("| bits | what |\n|---|---|");
    println!(
        "| {} | the tick until which the flow is remembered, modulo its range |",
        bits(!(tag | tracked | member | confirmed | pinned))
    );
    println!("| {} | confirmed: more than one packet was seen |", bits(confirmed));
    println!("| {} | the member's number |", bits(member));
    println!("| {} | pinned: remembered because of a change |", bits(pinned));
    println!("| {} | tracked: more is known in the row of the same place |", bits(tracked));
    println!("| {} | tag: bits of the flow's identity that did not choose the bucket |", bits(tag));
}

fn tracks() {
    println!(
        "\n### TRACKS: a row is {TRACK_WORDS} words, in the place of an entry of FLOWS that is marked\n"
    );
    println!("| word | what |\n|---|---|");
    for (word, what) in [
        ("0–1", "the client's address"),
        ("2–3", "the frontend's address"),
        ("4", "the ports of both, the interface index of the link that the client's frames come in by"),
        ("5", "the station that they come from; whether the client has closed, or acknowledged anything"),
        ("6", "the client's next sequence number, and the one that it expects next"),
        ("7", "tag of the entry, the moment of the last packet"),
    ] {
        println!("| {word} | {what} |");
    }
}

fn pieces() {
    println!("\n### PIECES: an entry is two words, {PIECE_WAYS} of them a bucket, published by the first\n");
    println!("| word | what |\n|---|---|");
    println!("| 0 | tag of addresses, protocol and identification; the tick until which it is kept |");
    println!("| 1 | both ports |");
}

fn masquerades() {
    println!("\n### OUTWARD and INWARD: an entry is {ENTRY_WORDS} words, published by word 0\n");
    println!("| word | outward: found by the client's side | inward: found by the member's side |");
    println!("|---|---|---|");
    for (word, outward, inward) in [
        (
            "0",
            "tag of the flow, live or busy",
            "number of the member's address, its port, our port, the protocol, live or busy",
        ),
        ("1–2", "the client's address", "the client's address"),
        ("3–4", "the frontend's address", "the frontend's address"),
        ("5", "the ports of both, the protocol", "the ports of both, the tick until which the flow is kept"),
        (
            "6",
            "the member's number, our port, the tick until which the flow is kept",
            "the station the client's frames come from, idle ticks",
        ),
        (
            "7",
            "the place of the other side",
            "the place of the other side, the rule, the place of the client's link",
        ),
    ] {
        println!("| {word} | {outward} | {inward} |");
    }
}

fn limits() {
    println!("\n## Limits\n");
    println!(
        "A table without room refuses the document with its name, the limit and the mend, and nothing is applied. A bucket without \
         room leaves\nnew flows to their slots; a masqueraded flow without place or port is dropped (`TableFull`).\n"
    );
    println!("| what | at most |\n|---|---|");
    for (what, limit) in [
        (
            "links",
            format!("{}, and {LINK_TRIES} whose index is the same modulo {LINK_PLACES}", count(LINK_PLACES)),
        ),
        ("addresses of frontends and members, with the own ones", count(MAX_ADDRESSES - 1)),
        ("load-balancing rules", count(MAX_RULES - 1)),
        ("members of `gateway` pools, times their rules", count(MAX_RETURNS - 1)),
        ("members of pools", count(MAX_MEMBERS - 1)),
        ("slots of a ring", count(RING_SLOTS)),
        (
            "rings: pools and address families, and one more for each that is changing",
            "a setting, less one".into(),
        ),
        ("remembered flows of a bucket", BUCKET_WAYS.to_string()),
        ("packets that come in pieces, known at one time in a bucket", PIECE_WAYS.to_string()),
        ("time between a packet's first piece and another", format!("{PIECE_TICKS} ticks")),
        ("extension headers of IPv6 that are followed", MAX_EXTENSIONS.to_string()),
        ("bytes before a transport header", MAX_TRANSPORT.to_string()),
        ("who may watch what is dropped, at the same time", MAX_WATCHES.to_string()),
        ("dropped packets a second that one of them is told", count(MAX_REPORTS)),
        ("places for a masqueraded flow, by the client's side", OUTWARD_WAYS.to_string()),
        (
            "masqueraded flows towards one member, port and protocol",
            format!(
                "{}: ports {MASQUERADE_FIRST_PORT} to {} of the own address",
                count(u32::from(MASQUERADE_PORTS)),
                MASQUERADE_FIRST_PORT + MASQUERADE_PORTS - 1
            ),
        ),
        ("idle time", format!("{} ticks of about a second", count(u32::from(MAX_IDLE_TICKS)))),
    ] {
        println!("| {what} | {limit} |");
    }
}

fn reasons() {
    println!("\n## Reasons\n");
    println!("How a packet ends; each has a counter.\n");
    println!("| number | verdict | reason |\n|---|---|---|");
    for (reason, verdict, name) in Reason::ALL {
        println!("| {} | {verdict} | `{name}` |", reason.0);
    }
}

fn row(name: &str, published: &str) {
    println!("\n### {name}: {published}\n");
    println!("| word | bits | what |\n|---|---|---|");
}

/// The words and bits in which any of these rows differ.
fn field<const N: usize>(what: &str, rows: &[[u64; N]]) {
    let Some((first, others)) = rows.split_first() else { return };
    let differ: Vec<(usize, u64)> = (0..N)
        .map(|word| (word, others.iter().fold(0, |mask, row| mask | (row[word] ^ first[word]))))
        .filter(|(_, mask)| *mask != 0)
        .collect();
    match differ.as_slice() {
        [(word, mask)] => println!("| {word} | {} | {what} |", bits(*mask)),
        [(first, one), (last, other)] if last - first == 1 && one == other => {
            println!("| {first}–{last} | {} | {what} |", bits(*one));
        }
        several => {
            for (word, mask) in several {
                println!("| {word} | {} | {what} |", bits(*mask));
            }
        }
    }
}

fn bits(mask: u64) -> String {
    let (first, last) = (mask.trailing_zeros(), 63 - mask.leading_zeros());
    if first == last { first.to_string() } else { format!("{first}–{last}") }
}

/// With commas between thousands.
fn count(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
