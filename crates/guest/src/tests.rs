//! The two deciding functions together, on hosts of all kinds.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use proptest::prelude::*;

use crate::act;
use crate::firewall::{Ruleset, Ufw, UfwRule};
use crate::host::{Address, Host, Interface, Kind, Listener, Networkd};
use crate::{Mistake, Step, Wanted, check, path, plan};

#[test]
fn a_fresh_host_becomes_a_member() {
    // GUEST-1
    let steps: Vec<String> =
        plan(&wanted(), &fresh()).iter().map(|it| it.step.command(Path::new("/"))).collect();
    let runtime: Vec<&str> = steps.iter().take_while(|it| !it.contains("<<")).map(String::as_str).collect();
    assert_eq!(
        runtime,
        [
            "sysctl -q -w net.ipv4.conf.all.arp_ignore=1",
            "sysctl -q -w net.ipv4.conf.all.arp_announce=2",
            "sysctl -q -w net.ipv4.conf.eth0.arp_ignore=1",
            "sysctl -q -w net.ipv4.conf.eth0.arp_announce=2",
            "ip addr replace 203.0.113.10/32 dev lo scope host label lo:forebay",
            "ip addr replace 2001:db8::10/128 dev lo scope global nodad noprefixroute preferred_lft 0",
        ]
    );
    assert_eq!(mistakes(&wanted(), &after(&wanted(), fresh())), []);
}

#[test]
fn each_mistake_is_named_and_mended() {
    // GUEST-1, GUEST-2
    use Mistake::*;
    check("nothing was done", &[AddressMissing, AddressMissing, ArpAnswers, ArpAnnounces], |_| {});
    let member = || after(&wanted(), fresh());
    check_on(member(), "a /24 on lo", &[WrongMask], |host| put(host, "lo", "203.0.113.10", 24));
    check_on(member(), "a /64 on lo", &[WrongMask], |host| put(host, "lo", "2001:db8::10", 64));
    check_on(member(), "on eth0", &[AddressOnInterface], |host| put(host, "eth0", "203.0.113.10", 32));
    check_on(member(), "IPv6 on eth0", &[AddressOnInterface], |host| put(host, "eth0", "2001:db8::10", 128));
    check_on(member(), "on another segment", &[], |host| {
        put(host, "eth1", "203.0.113.10", 32);
        host.journal.clear();
    });
    check_on(member(), "ARP", &[ArpAnswers], |host| {
        set(host, "all", "arp_ignore", 0);
        set(host, "eth0", "arp_ignore", 0);
    });
    check_on(member(), "ARP of eth0 by its own value", &[], |host| set(host, "all", "arp_ignore", 0));
    check_on(member(), "ARP requests", &[ArpAnnounces], |host| {
        set(host, "all", "arp_announce", 0);
        set(host, "eth0", "arp_announce", 1);
    });
    check_on(member(), "strict", &[StrictReversePath], |host| set(host, "all", "rp_filter", 1));
    check_on(member(), "loose in spite of all", &[], |host| {
        set(host, "all", "rp_filter", 1);
        set(host, "eth0", "rp_filter", 2);
    });
    check_on(member(), "another interface is strict", &[], |host| set(host, "eth1", "rp_filter", 1));
    check_on(member(), "nftables", &[FirewallDrops, FirewallDrops], |host| host.nft = dropping("inet"));
    check_on(member(), "nftables of IPv4", &[FirewallDrops], |host| host.nft = dropping("ip"));
    check_on(member(), "ufw", &[FirewallDrops, FirewallDrops], |host| host.ufw = Some(Ufw::default()));
    check_on(member(), "ufw, from somewhere", &[FirewallMayDrop, FirewallDrops], |host| {
        let rule =
            UfwRule { to: "443/tcp".into(), action: "ALLOW".into(), from: "10.0.0.0/8".into(), v6: false };
        host.ufw = Some(Ufw { allows: false, rules: vec![rule] });
    });
    check_on(member(), "files", &[Forgotten], |host| {
        host.journal.push(Step::Disable);
        host.files.remove(path::SYSCTL);
    });

    fn check(what: &str, wanted: &[Mistake], mistake: impl FnOnce(&mut Host)) {
        check_on(fresh(), what, wanted, mistake);
    }

    fn check_on(mut host: Host, what: &str, expected: &[Mistake], mistake: impl FnOnce(&mut Host)) {
        mistake(&mut host);
        assert_eq!(mistakes(&wanted(), &host), expected, "{what}");
        let mended = after(&wanted(), host);
        assert_eq!(mistakes(&wanted(), &mended), [], "{what}, mended");
        assert_eq!(plan(&wanted(), &mended), [], "{what}, again");
    }
}

#[test]
fn services_must_listen_where_packets_and_probes_arrive() {
    // GUEST-2
    use Mistake::*;
    for (listening, expected) in [
        (&["0.0.0.0:443", "[::]:443"][..], &[][..]),
        (&["*:443"], &[]),
        (&["203.0.113.10:443", "[2001:db8::10]:443", "10.0.0.4:443"], &[]),
        (&["203.0.113.10:443", "[2001:db8::10]:443"], &[ProbeUnanswered]),
        (&["203.0.113.10:443", "10.0.0.4:443"], &[ListensElsewhere]),
        (&["[::]:443"], &[ListensElsewhere, ProbeUnanswered]),
        (&["10.0.0.4:443"], &[ListensElsewhere, ListensElsewhere]),
        (&["127.0.0.1:443"], &[ListensElsewhere, ListensElsewhere, ProbeUnanswered]),
        (&["*:80"], &[NothingListens, NothingListens, ProbeUnanswered]),
        (&[], &[NothingListens, NothingListens, ProbeUnanswered]),
    ] {
        let host = Host { listeners: listeners(listening), ..after(&wanted(), fresh()) };
        assert_eq!(mistakes(&wanted(), &host), expected, "{listening:?}");
    }
}

#[test]
fn what_cannot_be_seen_is_said_and_is_no_mistake() {
    let mut host = after(&wanted(), fresh());
    host.firewall_unread = Some("no rights".to_owned());
    host.systemd = false;
    let findings = check(&wanted(), &host);
    assert!(findings.iter().all(|it| it.note), "{findings:?}");
    assert_eq!(
        findings.iter().map(|it| it.mistake).collect::<Vec<_>>(),
        [Mistake::FirewallUnread, Mistake::Forgotten]
    );
}

#[test]
fn a_member_address_that_nobody_has_is_named() {
    let elsewhere =
        Wanted::new(["203.0.113.10:443/tcp".parse().unwrap()], ["10.0.0.9".parse().unwrap()], []).unwrap();
    let found = check(&elsewhere, &after(&elsewhere, fresh()));
    assert_eq!(found[0].mistake, Mistake::MemberMissing);
    assert!(found[0].says.contains("it has 10.0.0.4, 10.1.0.4"), "{}", found[0].says);
}

#[test]
fn the_other_addresses_of_an_interface_stay() {
    let mut host = fresh();
    let addresses = &mut host.interfaces.get_mut("eth0").unwrap().addresses;
    addresses.insert(0, address("203.0.113.10", 24));
    addresses.push(Address { secondary: true, ..address("203.0.113.4", 24) });
    let mended = after(&wanted(), host);
    let left: Vec<IpAddr> = mended.interfaces["eth0"].addresses.iter().map(|it| it.address).collect();
    assert_eq!(left, ["10.0.0.4".parse::<IpAddr>().unwrap(), "203.0.113.4".parse().unwrap()]);
    assert_eq!(mistakes(&wanted(), &mended), []);
}

#[test]
fn a_host_comes_back_by_what_brings_its_network_up() {
    // GUEST-1
    let files = |change: &dyn Fn(&mut Host)| {
        let mut host = fresh();
        change(&mut host);
        let mended = after(&wanted(), host);
        (mended.files.into_keys().collect::<Vec<_>>(), mended.enabled)
    };
    let networkd = |lo: Option<&str>| Some(Networkd { lo: lo.map(str::to_owned) });
    assert_eq!(files(&|_| {}), (paths(&[path::SCRIPT, path::SYSCTL, path::UNIT]), true));
    assert_eq!(files(&|host| host.networkd = networkd(None)), (paths(&[path::SYSCTL, path::NETWORK]), false));
    let drop_in = "/etc/systemd/network/90-lo.network.d/60-forebay-guest.conf";
    assert_eq!(
        files(&|host| host.networkd = networkd(Some("90-lo.network"))),
        (paths(&[path::SYSCTL, drop_in]), false)
    );
    assert_eq!(files(&|host| host.ifupdown = true), (paths(&[path::INTERFACES, path::SYSCTL]), false));
    assert_eq!(files(&|host| host.systemd = false), (paths(&[path::SYSCTL]), false));
    // Rules of nftables are in the host's own file where that makes the chain, else made by the service.
    let with_rules = |host: &mut Host| {
        host.networkd = networkd(None);
        host.nft = dropping("inet");
    };
    assert_eq!(files(&with_rules), (paths(&[path::SCRIPT, path::SYSCTL, path::NETWORK, path::UNIT]), true));
    let with_conf = |host: &mut Host| {
        with_rules(host);
        host.files.insert(path::NFTABLES_CONF.into(), "flush ruleset\ntable inet filter {\n}".into());
    };
    assert_eq!(files(&with_conf), (paths(&[path::NFTABLES_CONF, path::SYSCTL, path::NETWORK]), false));

    fn paths(paths: &[&str]) -> Vec<String> {
        let mut paths: Vec<String> = paths.iter().map(|&it| it.to_owned()).collect();
        paths.sort();
        paths
    }
}

#[test]
fn a_ruleset_of_somebody_else_keeps_its_other_lines() {
    let conf = "flush ruleset\ntable inet filter {\n\tchain input { type filter hook input priority 0; policy drop; }\n}\n";
    let mut host = fresh();
    host.nft = dropping("inet");
    host.files.insert(path::NFTABLES_CONF.into(), conf.to_owned());
    let mended = after(&wanted(), host);
    let text = &mended.files[path::NFTABLES_CONF];
    assert!(text.starts_with(conf), "{text}");
    let rule = "insert rule inet filter input ip daddr 203.0.113.10 tcp dport 443 accept comment \"forebay-guest \
        203.0.113.10:443/tcp\"\n";
    assert!(text.contains(rule), "{text}");
    assert_eq!(crate::persist::without_block(text), conf);
    assert_eq!(crate::persist::without_block(&format!("{text}# more\n")), format!("{conf}# more\n"));
}

#[test]
fn what_is_not_wanted_any_more_is_taken_back() {
    let both = Wanted::new(
        ["203.0.113.10:443/tcp".parse().unwrap(), "203.0.113.11:443/tcp".parse().unwrap()],
        ["10.0.0.4".parse().unwrap()],
        [],
    )
    .unwrap();
    let one =
        Wanted::new(["203.0.113.11:443/tcp".parse().unwrap()], ["10.0.0.4".parse().unwrap()], []).unwrap();
    let mut host = fresh();
    host.nft = dropping("inet");
    host.listeners = listeners(&["*:443"]);
    assert_eq!(after(&one, after(&both, host.clone())), after(&one, host));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// GUEST-1, GUEST-2: whatever a host is like, what the plan does makes it a member, of which nothing is left to do or to say.
    #[test]
    fn a_planned_host_has_nothing_left_to_do(wanted in any_wanted(), host in any_host()) {
        let member = after(&wanted, host);
        prop_assert_eq!(plan(&wanted, &member), []);
        let about_services = [Mistake::NothingListens, Mistake::ListensElsewhere, Mistake::ProbeUnanswered, Mistake::MemberMissing];
        let findings = check(&wanted, &member);
        let left: Vec<_> = findings.iter().filter(|it| !it.note && !about_services.contains(&it.mistake)).collect();
        prop_assert!(left.is_empty(), "{:?}", left);
    }

    /// GUEST-1: undone, in whatever order it was wanted, the host is as it was.
    #[test]
    fn an_undone_host_is_as_it_was(first in any_wanted(), second in any_wanted(), host in any_host()) {
        let mut member = after(&second, after(&first, host.clone()));
        while let Some(step) = member.journal.pop() {
            member = member.after(&step);
        }
        prop_assert_eq!(sorted(member), sorted(host));
    }

    /// A host on which the plan finds nothing to do has no mistake that the plan could mend.
    #[test]
    fn mistakes_and_plans_agree(wanted in any_wanted(), host in any_host()) {
        let runtime = plan(&wanted, &host).iter().any(|it| is_of_packets(&it.step));
        let found = check(&wanted, &host).iter().any(|it| OF_PACKETS.contains(&it.mistake));
        prop_assert_eq!(runtime, found);
    }
}

/// Mistakes that addresses and firewalls mend.
const OF_PACKETS: [Mistake; 5] = [
    Mistake::AddressMissing,
    Mistake::WrongMask,
    Mistake::AddressOnInterface,
    Mistake::FirewallDrops,
    Mistake::FirewallMayDrop,
];

fn is_of_packets(step: &Step) -> bool {
    matches!(
        step,
        Step::AddAddress { .. } | Step::RemoveAddress { .. } | Step::UfwAllow { .. } | Step::NftAccept { .. }
    )
}

/// Applies the plan, as [`act::apply`] does, to the model.
fn after(wanted: &Wanted, host: Host) -> Host {
    plan(wanted, &host).iter().fold(host, |host, change| act::next(&host, &change.step))
}

fn mistakes(wanted: &Wanted, host: &Host) -> Vec<Mistake> {
    check(wanted, host).into_iter().filter(|it| !it.note).map(|it| it.mistake).collect()
}

fn wanted() -> Wanted {
    let destinations = ["203.0.113.10:443/tcp", "[2001:db8::10]:443/tcp"].map(|it| it.parse().unwrap());
    Wanted::new(destinations, ["10.0.0.4".parse().unwrap()], [443]).unwrap()
}

/// A host with two interfaces, on which everything listens everywhere.
fn fresh() -> Host {
    let real = |own: &str| Interface { kind: Kind::Real, addresses: vec![address(own, 24)] };
    let lo =
        Interface { kind: Kind::Loopback, addresses: vec![address("127.0.0.1", 8), address("::1", 128)] };
    let interfaces = [("lo", lo), ("eth0", real("10.0.0.4")), ("eth1", real("10.1.0.4"))];
    let scopes = ["all", "eth0", "eth1", "lo"];
    let names = ["arp_ignore", "arp_announce", "rp_filter", "promote_secondaries"];
    let sysctls =
        scopes.iter().flat_map(|scope| names.map(|name| (format!("net/ipv4/conf/{scope}/{name}"), 0)));
    Host {
        interfaces: interfaces.map(|(name, it)| (name.to_owned(), it)).into(),
        sysctls: sysctls.collect(),
        listeners: listeners(&["*:443"]),
        systemd: true,
        ..Host::default()
    }
}

fn address(address: &str, length: u8) -> Address {
    let address: IpAddr = address.parse().unwrap();
    let full = Address::of_frontend(address);
    Address {
        length,
        label: None,
        scope: "global".into(),
        nodad: false,
        noprefixroute: false,
        deprecated: false,
        ..full
    }
}

/// Moves an address to an interface.
fn put(host: &mut Host, interface: &str, which: &str, length: u8) {
    let new = address(which, length);
    for it in host.interfaces.values_mut() {
        it.addresses.retain(|it| it.address != new.address);
    }
    host.interfaces.get_mut(interface).unwrap().addresses.push(new);
}

fn set(host: &mut Host, scope: &str, name: &str, value: i64) {
    host.sysctls.insert(format!("net/ipv4/conf/{scope}/{name}"), value);
}

fn listeners(addresses: &[&str]) -> Vec<Listener> {
    addresses
        .iter()
        .map(|it| crate::observe::listener(&format!("tcp LISTEN 0 128 {it} *:*")).unwrap())
        .collect()
}

fn dropping(family: &str) -> Ruleset {
    let text = format!(
        r#"{{"nftables": [{{"chain": {{"family": "{family}", "table": "filter", "name": "input", "type": "filter",
        "hook": "input", "policy": "drop"}}}},
           {{"rule": {{"family": "{family}", "table": "filter", "chain": "input", "expr": [{{"match": {{"op": "==",
           "left": {{"payload": {{"protocol": "tcp", "field": "dport"}}}}, "right": 22}}}}, {{"accept": null}}]}}}}]}}"#
    );
    Ruleset::parse(&text).unwrap()
}

fn sorted(mut host: Host) -> Host {
    for interface in host.interfaces.values_mut() {
        interface.addresses.sort_by_key(|it| (it.address, it.length));
    }
    host
}

fn any_wanted() -> impl Strategy<Value = Wanted> {
    let destinations = [
        "203.0.113.10:443/tcp",
        "203.0.113.10:53/udp",
        "203.0.113.11:80/tcp",
        "[2001:db8::10]:443/tcp",
        "[2001:db8::11]:22/tcp",
    ];
    let destinations = proptest::sample::subsequence(destinations.to_vec(), 1..=destinations.len());
    let members = proptest::sample::subsequence(vec!["10.0.0.4", "10.1.0.4", "10.9.0.9"], 0..=2);
    (destinations, members).prop_map(|(destinations, members)| {
        let destinations: BTreeSet<_> = destinations.iter().map(|it| it.parse().unwrap()).collect();
        Wanted::new(destinations, members.iter().map(|it| it.parse().unwrap()), [443]).unwrap()
    })
}

fn any_host() -> impl Strategy<Value = Host> {
    let places = proptest::sample::subsequence(
        vec![
            ("lo", "203.0.113.10", 24),
            ("lo", "203.0.113.10", 32),
            ("lo", "203.0.113.11", 32),
            ("lo", "2001:db8::10", 64),
            ("eth0", "203.0.113.10", 24),
            ("eth0", "203.0.113.11", 32),
            ("eth0", "2001:db8::11", 128),
            ("eth1", "203.0.113.11", 32),
            ("eth1", "2001:db8::10", 64),
        ],
        0..=4,
    );
    let sysctls = proptest::collection::btree_map(
        (
            prop_oneof![Just("all"), Just("eth0"), Just("eth1")],
            prop_oneof![
                Just("arp_ignore"),
                Just("arp_announce"),
                Just("rp_filter"),
                Just("promote_secondaries")
            ],
        ),
        0_i64..=2,
        0..8,
    );
    let firewall = (
        proptest::option::of(prop_oneof![Just("inet"), Just("ip"), Just("ip6")]),
        proptest::option::of(any::<bool>()),
        any::<bool>(),
    );
    let manager = (
        proptest::option::of(proptest::option::of(Just("90-lo.network".to_owned()))),
        any::<bool>(),
        any::<bool>(),
    );
    (places, sysctls, firewall, manager).prop_map(
        |(places, sysctls, (nft, ufw, has_conf), (networkd, ifupdown, systemd))| {
            let mut host = fresh();
            for (interface, which, length) in places {
                host.interfaces.get_mut(interface).unwrap().addresses.push(address(which, length));
            }
            for ((scope, name), value) in sysctls {
                set(&mut host, scope, name, value);
            }
            host.nft = nft.map(dropping).unwrap_or_default();
            host.ufw = ufw.map(|allows| Ufw { allows, rules: Vec::new() });
            if has_conf {
                host.files.insert(path::NFTABLES_CONF.to_owned(), "table inet filter {\n".to_owned());
            }
            host.systemd = systemd || networkd.is_some();
            host.networkd = networkd.map(|lo| Networkd { lo });
            host.ifupdown = ifupdown;
            host
        },
    )
}
