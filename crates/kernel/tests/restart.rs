//! FLOW-7: what the process leaves goes on without it, and the next one takes it over. Real programs on real links, in a network
//! namespace of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use aya::maps::MapData;
use aya::programs::Xdp;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpMode;
use aya::{EbpfLoader, include_bytes_aligned};
use common::{World, dropped_by, in_a_world, received_by, run, wait_until};
use engine::{Changes, Compiler, Health, Sizes, Surroundings, Tables};
use forebay_kernel::{
    Kernel, KernelError, Mode, Options, Place, Watch, detach, instances, link, pass::Passing,
};
use model::{Desired, Source};
use plane::Reason;
use plane::row::{Address, Hop, MAX_WATCHES, Mac, WATCH_WORDS, WatchRow};

const BALANCER: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const NEIGHBOUR: Mac = Mac::new([2, 0, 0, 0, 0, 2]);
const SIZES: Sizes = Sizes { flow_bits: 8, masquerade_bits: 8, rings: 4 };
const FORWARDED: Reason = Reason(32);
const CLIENT: Address = Address::v4(0x0a00_0009);
const XDP_DROP: u32 = 1;
/// For packets that are on their way.
const PATIENCE: Duration = Duration::from_secs(5);
/// Tells a process of these tests that it is the one to be killed, and where.
const DOOMED: &str = "FOREBAY_KERNEL_DOOMED";

/// A frontend that keeps its address, and one whose flows get the balancer's.
const DOCUMENT: &str = r#"{"name": "b", "properties": {
    "frontendIPConfigurations": [{"name": "front", "properties": {"privateIPAddress": "10.0.0.100",
        "privateIPAllocationMethod": "Static", "subnet": {"id": "/subscriptions/s/n"}}}],
    "backendAddressPools": [{"name": "web", "properties": {"loadBalancerBackendAddresses": [
        {"name": "a", "properties": {"ipAddress": "10.0.0.4"}}, {"name": "b", "properties": {"ipAddress": "10.0.0.5"}}]}}],
    "loadBalancingRules": [
        {"name": "kept", "properties": {"frontendIPConfiguration": {"id": "frontendIPConfigurations/front"},
            "backendAddressPool": {"id": "backendAddressPools/web"}, "protocol": "Udp", "frontendPort": 80, "backendPort": 80,
            "enableFloatingIP": true}},
        {"name": "replaced", "properties": {"frontendIPConfiguration": {"id": "frontendIPConfigurations/front"},
            "backendAddressPool": {"id": "backendAddressPools/web"}, "protocol": "Udp", "frontendPort": 81, "backendPort": 8081}}]}}"#;

#[test]
fn the_next_process_takes_over() {
    // FLOW-7
    in_a_world(|world| {
        segment();
        let mut first = open(world).unwrap();
        assert!(!first.taken_over());
        let tables = serve(&mut first);
        assert_eq!(first.attach("balancer").unwrap().mode, Mode::Native);
        let before = pinned_link(world, "balancer", "native");
        let sender = Sender::start();
        thread::sleep(Duration::from_millis(50));
        drop(first);

        thread::sleep(Duration::from_millis(50));
        let look = Kernel::look(&place(world)).unwrap();
        assert_eq!(look.dump().unwrap(), tables);
        assert_eq!(pinned_link(world, "balancer", "native"), before);
        drop(look);

        let mut second = open(world).unwrap();
        assert!(second.taken_over());
        assert_eq!(second.sizes(), SIZES);
        assert_eq!(second.dump().unwrap(), tables);
        assert_eq!(second.dump().unwrap().changes_to(&compile(&second)), Changes::new());
        let there: Vec<String> =
            second.attached().unwrap().into_iter().map(|attached| attached.interface).collect();
        assert_eq!(there, ["balancer"]);
        let renewed = second.attach("balancer").unwrap();
        assert_eq!((renewed.interface.as_str(), renewed.mode), ("balancer", Mode::Native));
        let after = pinned_link(world, "balancer", "native");
        assert_eq!(
            after.0, before.0,
            "the link must be renewed, not replaced: in between there would be no program"
        );
        assert_ne!(after.1, before.1, "the program must be the new process's");
        thread::sleep(Duration::from_millis(50));
        sender.stop_and_count(&second);
    });
}

#[test]
fn what_is_remembered_is_taken_over() {
    // FLOW-7, DIST-2
    in_a_world(|world| {
        segment();
        let mut first = open(world).unwrap();
        serve(&mut first);
        first.attach("balancer").unwrap();
        let client = UdpSocket::bind("10.0.0.9:5000").unwrap();
        for port in [80, 81] {
            client.send_to(b"?", ("10.0.0.100", port)).unwrap();
        }
        wait_until(PATIENCE, || forwarded(&first) == 2);
        let memory = words(&first);
        assert_eq!(
            (
                memory.0.iter().filter(|word| **word != 0).count(),
                memory.1.iter().filter(|words| words[0] != 0).count()
            ),
            (1, 1)
        );
        drop(first);
        assert_eq!(words(&Kernel::look(&place(world)).unwrap()), memory);
        assert_eq!(words(&open(world).unwrap()), memory);
    });
}

#[test]
fn a_process_that_is_killed_leaves_the_data_path() {
    // FLOW-7
    if let Some(state) = env::var_os(DOOMED) {
        let place = Place::new(state, "main").unwrap();
        let mut kernel = Kernel::open(&Options { place, sizes: SIZES }).unwrap();
        serve(&mut kernel);
        kernel.attach("balancer").unwrap();
        println!("\nserving");
        loop {
            thread::park();
        }
    }
    in_a_world(|world| {
        segment();
        let mut doomed = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "a_process_that_is_killed_leaves_the_data_path"])
            .env(DOOMED, world.state())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(doomed.stdout.take().unwrap());
        assert!(out.lines().map_while(Result::ok).any(|line| line == "serving"));
        assert!(matches!(open(world), Err(KernelError::Served { .. })));
        let sender = Sender::start();
        thread::sleep(Duration::from_millis(50));
        doomed.kill().unwrap();
        doomed.wait().unwrap();
        thread::sleep(Duration::from_millis(50));
        let mut kernel = open(world).unwrap();
        assert!(kernel.taken_over());
        kernel.attach("balancer").unwrap();
        thread::sleep(Duration::from_millis(50));
        sender.stop_and_count(&kernel);
    });
}

#[test]
fn a_process_that_was_killed_while_loading_is_no_obstacle() {
    // FLOW-7
    in_a_world(|world| {
        drop(open(world).unwrap());
        for pin in ["SLOTS", "FLOWS", "INWARD", "MEMBER_COUNTS", "now"] {
            fs::remove_file(world.pins("main").join(pin)).unwrap();
            assert!(open(world).unwrap().taken_over(), "without {pin}");
        }
        fs::remove_file(world.pins("main").join("CONFIG")).unwrap();
        let sizes = Sizes { flow_bits: 9, ..SIZES };
        let refused = Kernel::open(&Options { place: place(world), sizes }).unwrap_err();
        assert!(matches!(&refused, KernelError::OtherSize { map: "FLOWS", .. }), "{refused:?}");
        assert!(!open(world).unwrap().taken_over());
    });
}

#[test]
fn one_process_serves() {
    in_a_world(|world| {
        let first = open(world).unwrap();
        let refused = open(world).unwrap_err();
        assert!(matches!(&refused, KernelError::Served { name } if name == "main"), "{refused:?}");
        assert!(refused.to_string().contains("another `name`"), "{refused}");
        assert!(matches!(detach(&place(world)), Err(KernelError::Served { .. })));
        let other = Options { place: world.place("other"), sizes: SIZES };
        let other = Kernel::open(&other).unwrap();
        assert_eq!(instances(world.state()), ["main", "other"]);
        let nobody = Kernel::look(&world.place("nobody")).unwrap_err();
        assert!(
            matches!(&nobody, KernelError::NotLoaded { others, .. } if *others == ["main", "other"]),
            "{nobody:?}"
        );
        drop((first, other));
        assert!(open(world).unwrap().taken_over());
    });
}

#[test]
fn what_a_later_version_left_is_refused_and_goes_on() {
    // FLOW-7
    static OBJECT: &[u8] = include_bytes_aligned!("../bpf/forebay.bpf.o");
    in_a_world(|world| {
        drop(open(world).unwrap());
        // Rules that are longer than ours: a later version's.
        let pin = world.pins("main").join("RULES");
        fs::remove_file(&pin).unwrap();
        EbpfLoader::new().load(OBJECT).unwrap().map_mut("FLOWS").unwrap().pin(&pin).unwrap();
        let before: Vec<_> = fs::read_dir(world.pins("main")).unwrap().map(|it| it.unwrap().path()).collect();
        for refused in [open(world).unwrap_err(), Kernel::look(&place(world)).unwrap_err()] {
            assert!(
                matches!(refused, KernelError::OtherLayout { map: "RULES", found: 64, wanted: 32, .. }),
                "{refused:?}"
            );
            assert!(refused.to_string().contains("detach --name main"), "{refused}");
        }
        let after: Vec<_> = fs::read_dir(world.pins("main")).unwrap().map(|it| it.unwrap().path()).collect();
        assert_eq!(after, before);
        detach(&place(world)).unwrap();
        assert!(!open(world).unwrap().taken_over());
    });
}

#[test]
fn who_watches_is_told_what_it_wants_and_no_more_than_it_wants() {
    // WATCH-1
    in_a_world(|world| {
        segment();
        let mut kernel = open(world).unwrap();
        serve(&mut kernel);
        let everything = WatchRow::everything(5);
        let mut all = Watch::begin(&place(world), everything).unwrap();
        let mut other_port =
            Watch::begin(&place(world), everything.of_frontend(Address::v4(0x0a00_0064), 8_000)).unwrap();
        let mut one_client =
            Watch::begin(&place(world), WatchRow::everything(1_000).of_client(CLIENT, 128)).unwrap();
        // Nothing is told of what is forwarded.
        let link = link::index("balancer").unwrap();
        kernel.run(&datagram(80), link).unwrap();
        for _ in 0..100 {
            assert_eq!(kernel.run(&datagram(9_000), link).unwrap().0, XDP_DROP);
        }
        let told = |watch: &mut Watch| std::iter::from_fn(|| watch.next_report()).collect::<Vec<_>>();
        let (some, every) = (told(&mut all), told(&mut one_client));
        // The hundred may fall into several seconds, of which each has its five, if there were as many in it.
        let mut seconds = BTreeMap::new();
        for report in &every {
            *seconds.entry(report.nanoseconds() / 1_000_000_000).or_insert(0) += 1;
        }
        assert_eq!(some.len(), seconds.values().map(|packets: &usize| 5.min(*packets)).sum::<usize>());
        assert_eq!(all.left_out().unwrap(), 100 - some.len() as u64);
        assert_eq!(told(&mut other_port), []);
        assert_eq!(other_port.left_out().unwrap(), 0);
        assert_eq!((every.len(), one_client.left_out().unwrap()), (100, 0));
        for report in every {
            assert_eq!((report.link(), report.reason(), report.protocol()), (link, Reason(20), 17));
            assert_eq!((report.source(), report.source_port()), (CLIENT, 5_000));
            assert_eq!((report.destination(), report.destination_port()), (Address::v4(0x0a00_0064), 9_000));
            assert_eq!((report.bytes(), report.security_rule()), (60, 0));
        }
        // Four may watch; a place is free again as soon as somebody goes.
        let fourth = Watch::begin(&place(world), everything).unwrap();
        let fifth = Watch::begin(&place(world), everything).unwrap_err();
        assert!(matches!(fifth, KernelError::Watched { most: 4 }), "{fifth:?}");
        drop(fourth);
        drop(Watch::begin(&place(world), everything).unwrap());
        // What a predecessor left in its buffer is not told to the next.
        kernel.run(&datagram(9_000), link).unwrap();
        drop(one_client);
        let mut next = Watch::begin(&place(world), WatchRow::everything(1_000)).unwrap();
        assert_eq!((told(&mut next), next.left_out().unwrap()), (Vec::new(), 0));
        drop(kernel);
        // Who watches goes on when the process is another one, and learns of the end.
        let mut second = open(world).unwrap();
        // To open may take longer than he is waited for who says nothing.
        next.stay().unwrap();
        second.run(&datagram(9_001), link).unwrap();
        assert_eq!(told(&mut next).len(), 1);
        drop(second);
        detach(&place(world)).unwrap();
        assert!(matches!(next.stay(), Err(KernelError::Gone { .. })));
        assert!(matches!(Watch::begin(&place(world), everything), Err(KernelError::NotLoaded { .. })));
        // Another one by the same name is not what was watched.
        drop(open(world).unwrap());
        assert!(matches!(next.stay(), Err(KernelError::Gone { .. })));
        detach(&place(world)).unwrap();
        let left: Vec<_> = fs::read_dir(world.state()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, ["bpf"], "nothing is left beside the pins");
    });
}

#[test]
fn nobody_is_told_anything_who_was_killed() {
    // WATCH-1
    in_a_world(|world| {
        segment();
        let mut kernel = open(world).unwrap();
        serve(&mut kernel);
        let link = link::index("balancer").unwrap();
        let mut watch = Watch::begin(&place(world), WatchRow::everything(1_000)).unwrap();
        let rows = MapData::from_pin(world.pins("main").join("WATCHES")).unwrap();
        let rows: aya::maps::Array<_, [u64; WATCH_WORDS * MAX_WATCHES]> =
            aya::maps::Map::Array(rows).try_into().unwrap();
        let is_there = || rows.get(&0, 0).unwrap()[0] != 0;
        // As if it were killed: it never says again that it is there.
        let end = Instant::now() + Duration::from_secs(20);
        while is_there() {
            assert!(Instant::now() < end, "the data path still tells somebody who is not there");
            kernel.run(&datagram(9_000), link).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        let told = std::iter::from_fn(|| watch.next_report()).count();
        assert!(told > 0);
        kernel.run(&datagram(9_000), link).unwrap();
        assert_eq!(watch.next_report(), None);
        // Whoever was only stopped for a while is told again.
        watch.stay().unwrap();
        kernel.run(&datagram(9_000), link).unwrap();
        assert!(watch.next_report().is_some());
    });
}

#[test]
fn other_sizes_are_refused_and_nothing_is_lost() {
    in_a_world(|world| {
        segment();
        let mut first = open(world).unwrap();
        let tables = serve(&mut first);
        first.attach("balancer").unwrap();
        let link = pinned_link(world, "balancer", "native");
        drop(first);
        let others = [
            ("FLOWS", Sizes { flow_bits: 9, ..SIZES }),
            ("OUTWARD", Sizes { masquerade_bits: 7, ..SIZES }),
            ("SLOTS", Sizes { rings: 8, ..SIZES }),
        ];
        for (map, sizes) in others {
            let refused = Kernel::open(&Options { place: place(world), sizes }).unwrap_err();
            assert!(
                matches!(&refused, KernelError::OtherSize { map: other, .. } if *other == map),
                "{refused:?}"
            );
            assert!(
                refused.to_string().contains("[limits]")
                    && refused.to_string().contains("detach --name main"),
                "{refused}"
            );
            assert_eq!(Kernel::look(&place(world)).unwrap().dump().unwrap(), tables);
            assert_eq!(pinned_link(world, "balancer", "native"), link);
        }
        assert_eq!(open(world).unwrap().dump().unwrap(), tables);
    });
}

#[test]
fn who_looks_changes_nothing() {
    in_a_world(|world| {
        segment();
        drop(open(world).unwrap());
        let mut look = Kernel::look(&place(world)).unwrap();
        look.now().unwrap();
        assert!(matches!(look.attach("balancer"), Err(KernelError::LookingOnly)));
        assert!(matches!(look.run(&[0; 64], 1), Err(KernelError::LookingOnly)));
    });
}

#[test]
fn an_unknown_interface_is_named_with_those_there_are() {
    in_a_world(|world| {
        segment();
        let refused = open(world).unwrap().attach("eth9").unwrap_err();
        assert!(matches!(&refused, KernelError::NoInterface { .. }), "{refused:?}");
        assert_eq!(
            refused.to_string(),
            "there is no interface `eth9` here (there is balancer, lo, neighbour)"
        );
    });
}

#[test]
fn a_foreign_program_stays_where_it_is() {
    in_a_world(|world| {
        for mode in [XdpMode::Driver, XdpMode::Skb] {
            segment();
            let mut object = EbpfLoader::new().load(OBJECT).unwrap();
            let foreign: &mut Xdp = object.program_mut("forebay_now").unwrap().try_into().unwrap();
            forebay_kernel::load_program(foreign).unwrap();
            foreign.attach("balancer", mode).unwrap();
            let shown = show("balancer");
            let mut kernel = open(world).unwrap();
            let refused = kernel.attach("balancer").unwrap_err();
            assert!(matches!(&refused, KernelError::Occupied { .. }), "{mode:?}: {refused:?}");
            assert!(refused.to_string().contains("ip link set dev balancer xdp off"), "{refused}");
            assert_eq!(show("balancer"), shown);
            assert!(kernel.attached().unwrap().is_empty());
            drop((kernel, object));
            run("ip link del balancer");
        }
    });
}

#[test]
fn detaching_leaves_nothing() {
    in_a_world(|world| {
        segment();
        let mut kernel = open(world).unwrap();
        serve(&mut kernel);
        kernel.attach("balancer").unwrap();
        assert!(show("balancer").contains("prog/xdp"), "{}", show("balancer"));
        drop(kernel);
        assert!(show("balancer").contains("prog/xdp"), "{}", show("balancer"));
        fs::write(place(world).file("json"), "{}").unwrap();
        fs::write(place(world).file("health"), "{}").unwrap();
        detach(&place(world)).unwrap();
        without_program("balancer");
        assert!(instances(world.state()).is_empty() && !world.pins("main").exists());
        assert_eq!(fs::read_dir(world.state()).unwrap().count(), 1);
        assert!(matches!(detach(&place(world)), Err(KernelError::NotLoaded { .. })));
        assert!(matches!(Kernel::look(&place(world)), Err(KernelError::NotLoaded { .. })));
        assert!(!open(world).unwrap().taken_over());
    });
}

#[test]
fn only_the_wanted_interfaces_keep_the_data_path() {
    in_a_world(|world| {
        segment();
        let mut kernel = open(world).unwrap();
        let balancer = kernel.attach("balancer").unwrap();
        let neighbour = kernel.attach("neighbour").unwrap();
        let mut both = vec![balancer.clone(), neighbour.clone()];
        both.sort_by_key(|attached| attached.index);
        assert_eq!(kernel.attached().unwrap(), both);
        kernel.keep_only(&[balancer.index, neighbour.index]).unwrap();
        assert_eq!(kernel.attached().unwrap(), both);
        kernel.keep_only(&[neighbour.index]).unwrap();
        assert_eq!(kernel.attached().unwrap(), [neighbour]);
        without_program("balancer");
        assert!(show("neighbour").contains("prog/xdp"), "{}", show("neighbour"));
    });
}

#[test]
fn an_interface_that_comes_back_gets_the_data_path_again() {
    in_a_world(|world| {
        segment();
        let mut kernel = open(world).unwrap();
        let index = kernel.attach("balancer").unwrap().index;
        drop(kernel);
        run("ip link del balancer");
        run(&format!("ip link add balancer index {index} type veth peer name neighbour"));
        let mut kernel = open(world).unwrap();
        assert_eq!(kernel.attach("balancer").unwrap().index, index);
        assert!(show("balancer").contains("prog/xdp"), "{}", show("balancer"));
    });
}

#[test]
fn a_driver_without_xdp_gets_it_from_the_network_stack() {
    // FLOW-7: generic links are renewed like native ones.
    in_a_world(|world| {
        run("ip link add balancer type bridge");
        let mut first = open(world).unwrap();
        assert_eq!(first.attach("balancer").unwrap().mode, Mode::Generic);
        assert!(show("balancer").contains("xdpgeneric"), "{}", show("balancer"));
        let before = pinned_link(world, "balancer", "generic");
        drop(first);
        let mut second = open(world).unwrap();
        assert_eq!(second.attach("balancer").unwrap().mode, Mode::Generic);
        let after = pinned_link(world, "balancer", "generic");
        assert!(after.0 == before.0 && after.1 != before.1, "{before:?} {after:?}");
    });
}

#[test]
fn a_balancers_name_is_a_folders() {
    let long = "n".repeat(65);
    for name in ["", "a/b", "..", "a b", "ä", &long] {
        let refused = Place::new("/run/forebay", name).unwrap_err();
        assert!(matches!(&refused, KernelError::BadName { name: other } if other == name), "{refused:?}");
    }
    for name in ["a", "Front-1_b", &long[1..]] {
        assert_eq!(Place::new("/run/forebay", name).unwrap().name(), name);
    }
}

static OBJECT: &[u8] = include_bytes_aligned!("../bpf/forebay.bpf.o");

fn place(world: &World) -> Place {
    world.place("main")
}

fn open(world: &World) -> Result<Kernel, KernelError> {
    Kernel::open(&Options { place: place(world), sizes: SIZES })
}

/// The balancer's link and its neighbour's, who is client and members.
fn segment() {
    run(&format!(
        "ip link add balancer address {BALANCER} type veth peer name neighbour address {NEIGHBOUR}"
    ));
    for setting in
        ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1", "net.ipv4.ip_forward=0"]
    {
        run(&format!("sysctl -qw {setting}"));
    }
    link::set_checksum_offload("neighbour", false).unwrap();
    run("ip link set balancer up");
    run("ip link set neighbour up");
    run("ip addr add 10.0.0.9/24 dev neighbour");
    run(&format!("ip neigh add 10.0.0.100 lladdr {BALANCER} dev neighbour"));
}

/// Puts the tables of [`DOCUMENT`] in force.
fn serve(kernel: &mut Kernel) -> Tables {
    let tables = compile(kernel);
    let changes = kernel.dump().unwrap().changes_to(&tables);
    kernel.apply(&changes).unwrap();
    tables
}

fn compile(kernel: &Kernel) -> Tables {
    let desired: Desired = model::check(&[Source { name: "b.json".into(), text: DOCUMENT.into() }]).unwrap();
    let link = link::index("balancer").unwrap_or(7);
    let hop = Hop { link, source: BALANCER, destination: NEIGHBOUR, adjacent: true, mtu: 1_500 };
    let surroundings = Surroundings {
        links: [(link, engine::Link { mac: BALANCER, mtu: 1_500 })].into(),
        own_v4: Some([10, 0, 0, 1].into()),
        hops: [([10, 0, 0, 4].into(), hop), ([10, 0, 0, 5].into(), hop)].into(),
        sizes: SIZES,
        clock: forebay_kernel::clock(),
        ..Surroundings::default()
    };
    Compiler::default().compile(&desired, &Health::default(), &surroundings, &kernel.dump().unwrap()).unwrap()
}

/// A client's datagram to the frontend, without a checksum.
fn datagram(port: u16) -> [u8; 60] {
    let mut frame = [0; 60];
    frame[..6].copy_from_slice(&BALANCER.bytes());
    frame[6..12].copy_from_slice(&NEIGHBOUR.bytes());
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14..24].copy_from_slice(&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17]);
    frame[26..30].copy_from_slice(&[10, 0, 0, 9]);
    frame[30..34].copy_from_slice(&[10, 0, 0, 100]);
    frame[34..36].copy_from_slice(&5_000u16.to_be_bytes());
    frame[36..38].copy_from_slice(&port.to_be_bytes());
    frame[38..40].copy_from_slice(&8u16.to_be_bytes());
    frame
}

fn words(kernel: &Kernel) -> (Vec<u64>, Vec<[u64; 8]>) {
    (kernel.flow_words().collect(), kernel.outward_words().collect())
}

/// The identities of a pinned link and of its program.
fn pinned_link(world: &World, interface: &str, mode: &str) -> (u32, u32) {
    let index = link::index(interface).unwrap();
    let link = PinnedLink::from_pin(world.pins("main").join(format!("link-{index}-{mode}"))).unwrap();
    let info = FdLink::from(link).info().unwrap();
    (info.id(), info.program_id())
}

fn show(interface: &str) -> String {
    run(&format!("ip -d link show dev {interface}"))
}

/// The kernel takes a program off some milliseconds after the link's pin is gone.
fn without_program(interface: &str) {
    for _ in 0..200 {
        if !show(interface).contains("xdp") {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{}", show(interface));
}

/// A client that sends without a pause.
struct Sender {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
    back_before: u64,
    /// What is sent back is received only this way.
    _passing: Passing,
}

impl Sender {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let passing = Passing::on("neighbour").unwrap();
        let (stopped, back_before) = (stop.clone(), back_or_lost());
        let thread = thread::spawn(move || {
            let sockets: Vec<UdpSocket> =
                (0..8).map(|port| UdpSocket::bind(("10.0.0.9", 6_000 + port)).unwrap()).collect();
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                sockets[sent as usize % sockets.len()].send_to(b"?", "10.0.0.100:80").unwrap();
                sent += 1;
                // The queue of a veth is short.
                thread::sleep(Duration::from_micros(100));
            }
            sent
        });
        Self { stop, thread, back_before, _passing: passing }
    }

    /// Every packet met a program, and reached a member; but for those that the link lost while a processor was busy with something else.
    fn stop_and_count(self, kernel: &Kernel) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.thread.join().unwrap();
        let counted = || (forwarded(kernel) + dropped_by("neighbour"), back_or_lost() - self.back_before);
        // The last ones are still on their way.
        wait_until(PATIENCE, || counted() == (sent, sent));
        assert_eq!(counted(), (sent, sent));
        assert!(forwarded(kernel) > 500, "only {} of {sent} packets were forwarded", forwarded(kernel));
    }
}

/// Packets that the neighbour got, and those that were lost on the way to the balancer or back.
fn back_or_lost() -> u64 {
    received_by("neighbour") + dropped_by("neighbour") + dropped_by("balancer")
}

fn forwarded(kernel: &Kernel) -> u64 {
    kernel.reason_counts().unwrap()[&FORWARDED].0
}
