//! FLOW-7 under load: hundreds of thousands of packets a second of more than ten thousand established connections, while the process
//! ends, is killed, starts again, and is replaced by a version whose rows are longer. Real programs on real links.
//!
//! The far end counts every packet, and knows of every connection which member it is led to. A veth drops what does not fit into its
//! short queue, before any program sees it; that is counted apart. `FOREBAY_SECONDS` says how long there is traffic before and after each
//! step, and `FOREBAY_RATE` how many packets a second at most: how many there were the test says, for that depends on the machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use common::{World, dropped_by, in_a_world, run, wait_until};
use engine::packet::{ACK, SYN, Way};
use engine::{Compiler, Health, Sizes, Surroundings, Tables};
use forebay_kernel::wire::{Crowd, FarEnd, NearEnd, Pace, Sent, Taken};
use forebay_kernel::{Kernel, KernelError, Options, Place, clock, link};
use model::{Desired, Source};
use plane::Reason;
use plane::row::{Hop, Mac};

const BALANCER: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const NEIGHBOUR: Mac = Mac::new([2, 0, 0, 0, 0, 2]);
const SIZES: Sizes = Sizes { flow_bits: 13, masquerade_bits: 10, rings: 8 };
const FORWARDED: Reason = Reason(32);
const CONNECTIONS: u32 = 1 << 14;
/// Packets a second, unless something else is asked for.
const RATE: f64 = 400_000.0;
/// Members before, and those who came while the connections were established: the slots that changed ask the memory.
const FEW: u8 = 8;
const MANY: u8 = 9;
/// Tells a process of these tests that it is the one to be killed, and where.
const DOOMED: &str = "FOREBAY_KERNEL_DOOMED";

#[test]
fn killing_and_replacing_the_process_under_load_breaks_nothing() {
    // FLOW-7, DIST-2
    if let Some(state) = env::var_os(DOOMED) {
        let place = Place::new(state, "main").unwrap();
        let mut kernel = Kernel::open(&Options { place, sizes: SIZES }).unwrap();
        kernel.attach("balancer").unwrap();
        kernel.keep_only(&[link::index("balancer").unwrap()]).unwrap();
        println!("\nserving");
        loop {
            thread::park();
        }
    }
    in_a_world(|world| {
        segment();
        let index = link::index("balancer").unwrap();
        let mut kernel = open(world);
        serve(&mut kernel, FEW);
        kernel.attach("balancer").unwrap();
        kernel.keep_only(&[index]).unwrap();
        let members: BTreeMap<u32, Mac> =
            (0..CONNECTIONS).map(|number| (number, member_of(&mut kernel, number, SYN).unwrap())).collect();
        // While some of them are remembered, and others are not.
        serve(&mut kernel, MANY);
        same_members(&mut kernel, &members, "a member came");
        let remembered = kernel.flow_words().filter(|word| *word != 0).count();
        assert!(remembered > 500, "only {remembered} are remembered: nothing is proved about them");

        let before = counted(&kernel);
        let mut load = Load::start();
        pause();
        load.during("nothing happens");
        drop(kernel);
        pause();
        load.during("the process ends");
        let mut doomed = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "killing_and_replacing_the_process_under_load_breaks_nothing"])
            .env(DOOMED, world.state())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(doomed.stdout.take().unwrap());
        assert!(out.lines().map_while(Result::ok).any(|line| line == "serving"));
        pause();
        load.during("another starts");
        doomed.kill().unwrap();
        doomed.wait().unwrap();
        pause();
        load.during("that is killed (kill -9)");
        let mut kernel = open(world);
        assert!(kernel.taken_over());
        kernel.attach("balancer").unwrap();
        kernel.keep_only(&[index]).unwrap();
        pause();
        load.during("the same version starts");
        drop(kernel);
        let rows = row_sizes(world);
        let longer = longer(&[("RULES", 48), ("MEMBERS", 72), ("FLOWS", 128), ("OUTWARD", 128)]);
        let mut kernel = Kernel::open_object(&options(world), &longer).unwrap();
        assert!(kernel.taken_over());
        kernel.attach("balancer").unwrap();
        pause();
        kernel.keep_only(&[index]).unwrap();
        pause();
        load.during("a version with longer rows takes over");
        let (sent, taken, lost_by_link) = load.stop();
        let after = row_sizes(world);
        assert_eq!((rows["RULES"], rows["FLOWS"], rows["OUTWARD"]), (32, 64, 64));
        assert_eq!((after["RULES"], after["FLOWS"], after["OUTWARD"]), (48, 128, 128));
        assert!(!after.keys().any(|map| map.starts_with("next-")), "{after:?}");

        println!("{} packets at {:.0} a second, {lost_by_link} lost by the link", sent.frames, sent.rate());
        assert_eq!(taken.frames + lost_by_link, sent.frames, "packets were lost");
        assert_eq!(taken.astray, 0, "packets were led to another member than those before");
        same_members(&mut kernel, &members, "after all that");
        assert_eq!(kernel.flow_words().filter(|word| *word != 0).count(), remembered);
        let counts = kernel.reason_counts().unwrap();
        let others: Vec<_> = counts
            .iter()
            .filter(|(reason, counts)| reason.0 >= 16 && **reason != FORWARDED && counts.0 > 0)
            .collect();
        assert!(others.is_empty(), "{others:?}");
        // Those that were asked about above did not come by the link. What the link lost it may have lost on the way back.
        let through = counted(&kernel) - before - u64::from(CONNECTIONS);
        assert!((taken.frames..=sent.frames).contains(&through), "{through} were forwarded");
    });
}

#[test]
fn a_start_that_ended_halfway_is_no_obstacle() {
    // FLOW-7
    in_a_world(|world| {
        segment();
        let mut kernel = open(world);
        let tables = serve(&mut kernel, FEW);
        kernel.attach("balancer").unwrap();
        let member = member_of(&mut kernel, 1, SYN).unwrap();
        drop(kernel);
        let longer = longer(&[("LINKS", 32), ("FLOWS", 128)]);
        // One that never came to exchange the programs, and one that did not come to rename the maps.
        for attach in [false, true] {
            let mut kernel = Kernel::open_object(&options(world), &longer).unwrap();
            assert_eq!(kernel.dump().unwrap(), tables);
            if attach {
                kernel.attach("balancer").unwrap();
            }
            drop(kernel);
            assert!(row_sizes(world).keys().any(|map| map.starts_with("next-")));
        }
        let mut kernel = Kernel::open_object(&options(world), &longer).unwrap();
        kernel.attach("balancer").unwrap();
        kernel.keep_only(&[link::index("balancer").unwrap()]).unwrap();
        assert_eq!(kernel.dump().unwrap(), tables);
        assert_eq!(member_of(&mut kernel, 1, ACK), Some(member));
        assert!(!row_sizes(world).keys().any(|map| map.starts_with("next-")));
        drop(kernel);
        // The version before does not know what the rows say now.
        let refused = Kernel::open(&options(world)).unwrap_err();
        assert!(
            matches!(refused, KernelError::OtherLayout { map: "LINKS", found: 32, wanted: 16, .. }),
            "{refused:?}"
        );
    });
}

static OBJECT: &[u8] = aya::include_bytes_aligned!("../bpf/forebay.bpf.o");

/// The object as a version would have it whose rows of these maps have so many bytes.
fn longer(rows: &[(&str, u32)]) -> Vec<u8> {
    let mut object = OBJECT.to_vec();
    let parsed = aya_obj::Object::parse(OBJECT).unwrap();
    for (name, bytes) in rows {
        let aya_obj::Map::Legacy(map) = &parsed.maps[*name] else { panic!("{name} is described otherwise") };
        let words = [map.def.map_type, map.def.key_size, map.def.value_size, map.def.max_entries];
        let old: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        // Several maps may look alike: each is found by its symbol.
        let at = place_of(name);
        assert_eq!(object[at..at + 16], old, "{name}");
        object[at + 8..at + 12].copy_from_slice(&bytes.to_ne_bytes());
    }
    object
}

/// Where a map is described in the object: 28 bytes in the section `maps`.
fn place_of(name: &str) -> usize {
    let object = concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/forebay.bpf.o");
    let text = run(&format!("readelf -sW {object}"));
    let line = text.lines().find(|line| line.split_whitespace().last() == Some(name)).unwrap();
    let symbol = usize::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    let text = run(&format!("readelf -SW {object}"));
    let line = text.lines().find(|line| line.contains("] maps ")).unwrap();
    let words: Vec<&str> = line.split("] ").nth(1).unwrap().split_whitespace().collect();
    usize::from_str_radix(words[3], 16).unwrap() + symbol
}

fn options(world: &World) -> Options {
    Options { place: world.place("main"), sizes: SIZES }
}

fn open(world: &World) -> Kernel {
    Kernel::open(&options(world)).unwrap()
}

/// Bytes of a row of every map that is pinned.
fn row_sizes(world: &World) -> BTreeMap<String, u32> {
    let pins = fs::read_dir(world.pins("main")).unwrap().map(|pin| pin.unwrap());
    pins.filter_map(|pin| {
        let map = aya::maps::MapData::from_pin(pin.path()).ok()?;
        Some((pin.file_name().into_string().unwrap(), map.info().ok()?.value_size()))
    })
    .collect()
}

fn counted(kernel: &Kernel) -> u64 {
    kernel.reason_counts().unwrap()[&FORWARDED].0
}

fn same_members(kernel: &mut Kernel, members: &BTreeMap<u32, Mac>, when: &str) {
    let others =
        members.iter().filter(|(number, member)| member_of(kernel, **number, ACK) != Some(**member)).count();
    assert_eq!(others, 0, "{when}: so many connections are led elsewhere");
}

/// Whose station a packet of a connection is sent to.
fn member_of(kernel: &mut Kernel, number: u32, flags: u8) -> Option<Mac> {
    const TX: u32 = 3;
    let (action, out) = kernel.run(&packet(number, flags), link::index("balancer").unwrap()).unwrap();
    let [a, b, c, d, e, f, ..] = out[..] else { return None };
    (action == TX).then(|| Mac::new([a, b, c, d, e, f]))
}

fn packet(number: u32, flags: u8) -> Vec<u8> {
    crowd(flags).frame(number)
}

fn crowd(flags: u8) -> Crowd {
    let (from, to) = ("10.9.0.0:1024".parse().unwrap(), "10.0.0.100:80".parse().unwrap());
    Crowd::new(Way { destination: BALANCER, source: NEIGHBOUR, from, to }, flags, CONNECTIONS - 1)
}

/// The balancer's link and its neighbour's, who is client and members.
fn segment() {
    run(&format!(
        "ip link add balancer address {BALANCER} type veth peer name neighbour address {NEIGHBOUR}"
    ));
    for setting in ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"] {
        run(&format!("sysctl -qw {setting}"));
    }
    run("ip link add idle type veth peer name idler");
    run("ip link set balancer up");
    run("ip link set neighbour up");
}

fn serve(kernel: &mut Kernel, members: u8) -> Tables {
    let of = |member: u8| format!(r#"{{"name":"m{member}","properties":{{"ipAddress":"10.0.1.{member}"}}}}"#);
    let list: Vec<String> = (1..=members).map(of).collect();
    let text = format!(
        r#"{{"name": "b", "properties": {{
        "frontendIPConfigurations": [{{"name": "front", "properties": {{"privateIPAddress": "10.0.0.100",
            "privateIPAllocationMethod": "Static", "subnet": {{"id": "/subscriptions/s/n"}}}}}}],
        "backendAddressPools": [{{"name": "web", "properties": {{"loadBalancerBackendAddresses": [{}]}}}}],
        "loadBalancingRules": [{{"name": "kept", "properties": {{
            "frontendIPConfiguration": {{"id": "frontendIPConfigurations/front"}},
            "backendAddressPool": {{"id": "backendAddressPools/web"}}, "protocol": "Tcp", "frontendPort": 80,
            "backendPort": 80, "enableFloatingIP": true}}}}]}}}}"#,
        list.join(",")
    );
    let desired: Desired = model::check(&[Source { name: "b.json".into(), text }]).unwrap();
    let index = link::index("balancer").unwrap();
    let hop = |member: u8| {
        let address: IpAddr = Ipv4Addr::new(10, 0, 1, member).into();
        (
            address,
            Hop {
                link: index,
                source: BALANCER,
                destination: Mac::new([2, 0, 0, 1, 0, member]),
                adjacent: true,
                mtu: 1_500,
            },
        )
    };
    let surroundings = Surroundings {
        links: [(index, engine::Link { mac: BALANCER, mtu: 1_500 })].into(),
        hops: (1..=members).map(hop).collect(),
        sizes: SIZES,
        clock: clock(),
        ..Surroundings::default()
    };
    let before = kernel.dump().unwrap();
    let tables = Compiler::default().compile(&desired, &Health::default(), &surroundings, &before).unwrap();
    kernel.apply(&before.changes_to(&tables)).unwrap();
    tables
}

fn pause() {
    let seconds = env::var("FOREBAY_SECONDS").map_or(0.2, |text| text.parse().expect("seconds"));
    thread::sleep(Duration::from_secs_f64(seconds));
}

/// Packets of the connections, one after another.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Sent>,
    last: (u64, Instant),
    far: FarEnd,
    lost_before: u64,
}

impl Load {
    fn start() -> Self {
        let far = FarEnd::take("neighbour", Some(&crowd(ACK))).unwrap();
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (stop.clone(), sent.clone());
        let rate = env::var("FOREBAY_RATE").map_or(RATE, |text| text.parse().expect("packets a second"));
        let pace = Pace { rate, portion: 2_000 };
        let lost_before = lost_by_link();
        let thread = thread::spawn(move || {
            let mut near = NearEnd::new("idle").unwrap();
            near.play(&crowd(ACK)).unwrap();
            let go_on = |sent| {
                count.store(sent, Ordering::Relaxed);
                !stopped.load(Ordering::Relaxed)
            };
            near.pace(link::index("neighbour").unwrap(), pace, go_on).unwrap()
        });
        while sent.load(Ordering::Relaxed) == 0 {
            assert!(!thread.is_finished(), "the near end does not send");
            thread::sleep(Duration::from_millis(1));
        }
        Self { stop, last: (sent.load(Ordering::Relaxed), Instant::now()), sent, thread, far, lost_before }
    }

    /// What there was since the last time. It lasts until there was something: whoever sends may stand still for a moment.
    fn during(&mut self, what: &str) {
        wait_until(Duration::from_secs(10), || self.sent.load(Ordering::Relaxed) > self.last.0);
        let now = (self.sent.load(Ordering::Relaxed), Instant::now());
        let (frames, took) = (now.0 - self.last.0, now.1 - self.last.1);
        println!(
            "while {what}: {frames} packets in {took:.2?}, {:.0} a second",
            frames as f64 / took.as_secs_f64()
        );
        assert!(frames > 0, "nothing was sent while {what}");
        self.last = now;
    }

    /// What was sent, what arrived, and what did not fit into the queues of the link.
    fn stop(self) -> (Sent, Taken, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.thread.join().unwrap();
        let lost = || lost_by_link() - self.lost_before;
        // The last ones are still on their way.
        wait_until(Duration::from_secs(5), || self.far.taken().unwrap().frames + lost() == sent.frames);
        (sent, self.far.taken().unwrap(), lost())
    }
}

/// Packets that the link has dropped while they were sent, at both of its ends.
fn lost_by_link() -> u64 {
    dropped_by("neighbour") + dropped_by("balancer")
}
