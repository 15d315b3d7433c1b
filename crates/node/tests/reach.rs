//! How frames reach members, seen in network namespaces with real links, routers and members.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::IpAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use forebay_node::reach::{Reach, WatchError, Watcher, ephemeral_ports, forwarding};
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use plane::row::Mac;

const HOST: Mac = Mac::new([2, 0, 0, 0, 0, 0x01]);
const MEMBER: Mac = Mac::new([2, 0, 0, 0, 0, 0x04]);
const ROUTER: Mac = Mac::new([2, 0, 0, 0, 0, 0x0f]);

#[test]
fn a_member_that_answers_is_resolved() {
    on_a_segment("answers", async |net| {
        net.address("member", "10.0.0.4/24");
        net.address("member", "2001:db8::4/64");
        let mut watcher = watch(&["10.0.0.4", "2001:db8::4"]).await;
        for address in ["10.0.0.4", "2001:db8::4"] {
            until(&mut watcher, address, &format!("is at {MEMBER}")).await;
            let Some(Reach::Resolved(hop)) = watcher.reaches().get(&ip(address)) else { panic!("{address}") };
            assert_eq!((hop.source, hop.destination, hop.adjacent), (HOST, MEMBER, true));
            assert_eq!(watcher.links()[&hop.link].name, "eth0");
        }
        let link = watcher.links().values().next().unwrap();
        assert!(link.up && link.mac == HOST);
        assert!(link.addresses.contains(&ip("10.0.0.1")) && link.addresses.contains(&ip("2001:db8::1")));
    });
}

#[test]
fn a_member_behind_a_router_has_the_routers_link_layer_address() {
    on_a_segment("router", async |net| {
        net.namespace("far");
        net.veth("member", "eth1", ROUTER, "far", "eth0", MEMBER);
        net.address("member", "10.0.0.254/24");
        net.address("member", "fe80::fe/64");
        net.address("host", "fe80::1/64");
        net.ip("host", "route add 10.9.0.0/24 via 10.0.0.254");
        net.ip("host", "route add 2001:db8:9::/64 via fe80::fe dev eth0");
        net.ip("host", "route add 10.8.0.0/24 via inet6 fe80::fe dev eth0");
        let addresses = ["10.9.0.4", "2001:db8:9::4", "10.8.0.4"];
        let mut watcher = watch(&addresses).await;
        for address in addresses {
            until(&mut watcher, address, &format!("is behind the router at {MEMBER}")).await;
        }
        // Another router takes over: the way is looked up again.
        net.ip("host", "route replace 10.9.0.0/24 via 10.0.0.253");
        until(
            &mut watcher,
            "10.9.0.4",
            "is behind the router 10.0.0.253, which does not answer ARP on eth0: ",
        )
        .await;
    });
}

#[test]
fn an_absent_member_is_unanswered_until_it_appears() {
    on_a_segment("absent", async |net| {
        let mut watcher = watch(&["10.0.0.4", "2001:db8::4"]).await;
        until(&mut watcher, "10.0.0.4", "does not answer ARP on eth0: ").await;
        until(&mut watcher, "2001:db8::4", "does not answer neighbour solicitations on eth0: ").await;
        // Long enough for the kernel to give up.
        pass(&mut watcher, Duration::from_secs(4)).await;
        until(&mut watcher, "10.0.0.4", "does not answer ARP on eth0: ").await;
        until(&mut watcher, "2001:db8::4", "does not answer neighbour solicitations on eth0: ").await;
        net.address("member", "10.0.0.4/24");
        net.address("member", "2001:db8::4/64");
        until(&mut watcher, "10.0.0.4", &format!("is at {MEMBER}")).await;
        until(&mut watcher, "2001:db8::4", &format!("is at {MEMBER}")).await;
    });
}

#[test]
fn a_new_link_layer_address_is_followed() {
    on_a_segment("moves", async |net| {
        net.address("member", "10.0.0.4/24");
        net.address("member", "2001:db8::4/64");
        net.write("member", "net/ipv4/conf/eth0/arp_notify", "1");
        net.write("member", "net/ipv6/conf/eth0/ndisc_notify", "1");
        let mut watcher = watch(&["10.0.0.4", "2001:db8::4"]).await;
        until(&mut watcher, "10.0.0.4", &format!("is at {MEMBER}")).await;
        until(&mut watcher, "2001:db8::4", &format!("is at {MEMBER}")).await;
        net.ip("member", "link set eth0 address 02:00:00:00:00:44");
        until(&mut watcher, "10.0.0.4", "is at 02:00:00:00:00:44").await;
        until(&mut watcher, "2001:db8::4", "is at 02:00:00:00:00:44").await;
        // The balancer host's own address changes.
        net.ip("host", "link set eth0 address 02:00:00:00:00:11");
        let moved = Mac::new([2, 0, 0, 0, 0, 0x11]);
        settle(&mut watcher, |watcher| {
            let reach = watcher.reaches().get(&ip("10.0.0.4"));
            matches!(reach, Some(Reach::Resolved(hop)) if hop.source == moved)
        })
        .await;
    });
}

#[test]
fn a_link_that_goes_down_takes_its_members_along() {
    on_a_segment("down", async |net| {
        net.address("member", "10.0.0.4/24");
        net.address("member", "2001:db8::4/64");
        let addresses = ["10.0.0.4", "2001:db8::4"];
        let mut watcher = watch(&addresses).await;
        for address in addresses {
            until(&mut watcher, address, &format!("is at {MEMBER}")).await;
        }
        // The other end goes down: no carrier, but the route stays.
        net.ip("member", "link set eth0 down");
        settle(&mut watcher, |watcher| watcher.links().values().all(|link| !link.up)).await;
        until(&mut watcher, "10.0.0.4", "does not answer ARP on eth0: ").await;
        net.ip("member", "link set eth0 up");
        net.address("member", "2001:db8::4/64");
        for address in addresses {
            until(&mut watcher, address, &format!("is at {MEMBER}")).await;
        }
        net.ip("host", "link set eth0 down");
        settle(&mut watcher, |watcher| watcher.links().values().all(|link| !link.up)).await;
        for address in addresses {
            until(&mut watcher, address, "has no route: ").await;
        }
        net.ip("host", "link set eth0 up");
        net.address("host", "2001:db8::1/64");
        for address in addresses {
            until(&mut watcher, address, &format!("is at {MEMBER}")).await;
        }
    });
}

#[test]
fn a_link_that_is_made_anew_is_found_again() {
    on_a_segment("anew", async |net| {
        net.address("member", "10.0.0.4/24");
        let mut watcher = watch(&["10.0.0.4"]).await;
        until(&mut watcher, "10.0.0.4", &format!("is at {MEMBER}")).await;
        net.ip("host", "link delete eth0");
        settle(&mut watcher, |watcher| watcher.links().is_empty()).await;
        until(&mut watcher, "10.0.0.4", "has no route: ").await;
        net.veth("host", "eth0", HOST, "member", "eth0", ROUTER);
        net.address("host", "10.0.0.1/24");
        net.address("member", "10.0.0.4/24");
        until(&mut watcher, "10.0.0.4", &format!("is at {ROUTER}")).await;
        assert_eq!(watcher.links().len(), 1);
    });
}

#[test]
fn addresses_that_no_frame_reaches_say_why() {
    on_a_segment("elsewhere", async |net| {
        net.namespace("far");
        net.veth("host", "eth1", ROUTER, "far", "eth0", MEMBER);
        net.address_on("host", "eth1", "10.5.0.1/24");
        let mut watcher = watch(&["10.0.0.1", "2001:db8::1", "10.5.0.4", "192.0.2.1", "2001:db8:9::1"]).await;
        until(&mut watcher, "10.0.0.1", "is an address of this host: ").await;
        until(&mut watcher, "2001:db8::1", "is an address of this host: ").await;
        until(&mut watcher, "10.5.0.4", "is reached by eth1, which the balancer is not attached to: ").await;
        until(&mut watcher, "192.0.2.1", "has no route: ").await;
        until(&mut watcher, "2001:db8:9::1", "has no route: ").await;
        net.ip("host", "route add blackhole 192.0.2.0/24");
        net.ip("host", "-6 route add unreachable 2001:db8:9::/64");
        net.ip("host", "route add 10.5.0.4/32 dev eth0");
        until(&mut watcher, "10.5.0.4", "does not answer ARP on eth0: ").await;
        until(&mut watcher, "192.0.2.1", "has no route: ").await;
        until(&mut watcher, "2001:db8:9::1", "has no route: ").await;
    });
}

#[test]
fn a_neighbour_that_is_written_down_is_believed_and_left_alone() {
    on_a_segment("permanent", async |net| {
        net.ip("host", &format!("neigh add 10.0.0.4 lladdr {ROUTER} dev eth0 nud permanent"));
        let mut watcher = watch(&["10.0.0.4"]).await;
        until(&mut watcher, "10.0.0.4", &format!("is at {ROUTER}")).await;
        pass(&mut watcher, Duration::from_secs(1)).await;
        until(&mut watcher, "10.0.0.4", &format!("is at {ROUTER}")).await;
        assert!(net.ip("host", "neigh show 10.0.0.4").contains("PERMANENT"));
    });
}

#[test]
fn what_is_no_longer_wanted_is_no_longer_known() {
    on_a_segment("unwanted", async |net| {
        net.address("member", "10.0.0.4/24");
        let mut watcher = watch(&["10.0.0.4", "10.0.0.5"]).await;
        assert_eq!(watcher.reaches().len(), 2);
        until(&mut watcher, "10.0.0.4", &format!("is at {MEMBER}")).await;
        watcher.want(&BTreeSet::from([ip("10.0.0.4")])).await;
        until(&mut watcher, "10.0.0.4", &format!("is at {MEMBER}")).await;
        assert_eq!(watcher.reaches().len(), 1);
        // What the kernel knows already is known at once, and told by `changed` too.
        watcher.want(&BTreeSet::new()).await;
        watcher.want(&BTreeSet::from([ip("10.0.0.4")])).await;
        assert_eq!(watcher.reaches()[&ip("10.0.0.4")].to_string(), format!("is at {MEMBER}"));
        tokio::time::timeout(Duration::from_millis(100), watcher.changed()).await.unwrap().unwrap();
    });
}

#[test]
fn thousands_of_members_are_looked_up_in_no_time() {
    on_a_segment("thousands", async |net| {
        net.address("member", "10.0.0.254/24");
        net.ip("host", "route add 10.9.0.0/16 via 10.0.0.254");
        let addresses: BTreeSet<IpAddr> =
            (0..5_000u16).map(|n| [10, 9, (n >> 8) as u8, n as u8].into()).collect();
        let mut watcher = Watcher::start(&["eth0".to_owned()], None).await.unwrap();
        // All of it is done on this thread. What the machine does besides does not count.
        let busy = || {
            let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
            usage.user_time() + usage.system_time()
        };
        let (start, busy_before) = (Instant::now(), busy());
        watcher.want(&addresses).await;
        settle(&mut watcher, |watcher| {
            watcher.reaches().len() == 5_000
                && watcher.reaches().values().all(|reach| matches!(reach, Reach::Resolved(_)))
        })
        .await;
        let took = busy() - busy_before;
        println!("5,000 members took {took} of {:?}", start.elapsed());
        assert!(took < TimeVal::seconds(1), "{took}");
    });
}

#[test]
fn interfaces_that_cannot_be_watched_are_named() {
    on_a_segment("unknown", async |_| {
        let names = ["eth7", "eth0", "eth8"].map(str::to_owned);
        let error = Watcher::start(&names, None).await.unwrap_err();
        assert!(matches!(error, WatchError::UnknownInterface { .. }));
        assert_eq!(error.to_string(), "there is no interface `eth7`, `eth8`; this host has eth0, lo");
        let error = Watcher::start(&["lo".to_owned()], None).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "interface `lo` does not carry Ethernet frames: the balancer needs one that does"
        );
    });
}

#[test]
fn settings_of_the_host_are_read() {
    on_a_segment("settings", async |net| {
        net.write("host", "net/ipv4/conf/eth0/forwarding", "0");
        net.write("host", "net/ipv6/conf/eth0/forwarding", "1");
        assert_eq!((forwarding("eth0", true), forwarding("eth0", false)), (false, true));
        assert!(!forwarding("eth7", true));
        net.write("host", "net/ipv4/ip_local_port_range", "20000 30000");
        assert_eq!(ephemeral_ports(), (20_000, 30_000));
    });
}

/// Waits until what is said of the address begins with these words.
async fn until(watcher: &mut Watcher, address: &str, words: &str) {
    let address = ip(address);
    settle(watcher, |watcher| {
        watcher.reaches().get(&address).is_some_and(|reach| reach.to_string().starts_with(words))
    })
    .await;
}

/// Lets time pass, and takes what changes meanwhile.
async fn pass(watcher: &mut Watcher, time: Duration) {
    let end = tokio::time::Instant::now() + time;
    while let Ok(changed) = tokio::time::timeout_at(end, watcher.changed()).await {
        changed.unwrap();
    }
}

async fn settle(watcher: &mut Watcher, settled: impl Fn(&Watcher) -> bool) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(9);
    while !settled(watcher) {
        match tokio::time::timeout_at(patience, watcher.changed()).await {
            Ok(changed) => changed.unwrap(),
            Err(_) => panic!("still: {:?} {:?}", watcher.links(), watcher.reaches()),
        }
    }
}

async fn watch(addresses: &[&str]) -> Watcher {
    let mut watcher = Watcher::start(&["eth0".to_owned()], None).await.unwrap();
    watcher.want(&addresses.iter().map(|address| ip(address)).collect()).await;
    watcher
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Runs `story` in the namespace of a balancer host whose `eth0` is on one segment with a member's.
fn on_a_segment(name: &str, story: impl AsyncFn(&Net) + Sync) {
    const LONGEST: Duration = Duration::from_secs(15);
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("FOREBAY_TESTS_MUST_RUN").is_none_or(|v| v != "1"), "needs root");
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let net = Net::new(name);
    net.namespace("host");
    net.namespace("member");
    net.veth("host", "eth0", HOST, "member", "eth0", MEMBER);
    net.address("host", "10.0.0.1/24");
    net.address("host", "2001:db8::1/64");
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let namespace = File::open(format!("/run/netns/{}", net.name("host"))).unwrap();
            setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { tokio::time::timeout(LONGEST, story(&net)).await }).unwrap();
        });
        if let Err(panic) = inside.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Network namespaces; they are gone when it is dropped, and those of killed runs when the next is made.
struct Net {
    prefix: String,
}

impl Net {
    fn new(name: &str) -> Self {
        const KIND: &str = "forebay-reach-";
        for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
            let namespace = entry.file_name().to_string_lossy().into_owned();
            let owner = namespace.strip_prefix(KIND).and_then(|rest| rest.split('-').next()?.parse().ok());
            if owner.is_some_and(|pid: u32| !fs::exists(format!("/proc/{pid}")).unwrap()) {
                let _another_was_faster = Command::new("ip").args(["netns", "delete", &namespace]).status();
            }
        }
        Self { prefix: format!("{KIND}{}-{name}-", std::process::id()) }
    }

    fn name(&self, host: &str) -> String {
        format!("{}{host}", self.prefix)
    }

    fn namespace(&self, host: &str) {
        run(&["netns", "add", &self.name(host)]);
        self.ip(host, "link set lo up");
    }

    fn veth(&self, one: &str, link: &str, mac: Mac, other: &str, other_link: &str, other_mac: Mac) {
        let far = self.name(other);
        self.ip(
            one,
            &format!("link add {link} address {mac} type veth peer name {other_link} address {other_mac} netns {far}"),
        );
        self.ip(one, &format!("link set {link} up"));
        self.ip(other, &format!("link set {other_link} up"));
    }

    fn address(&self, host: &str, address: &str) {
        self.address_on(host, "eth0", address);
    }

    fn address_on(&self, host: &str, link: &str, address: &str) {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        self.ip(host, &format!("address replace {address} dev {link}{nodad}"));
    }

    /// `ip` with these words in the host's namespace.
    fn ip(&self, host: &str, words: &str) -> String {
        let name = self.name(host);
        let mut arguments = vec!["-n", name.as_str()];
        arguments.extend(words.split(' '));
        run(&arguments)
    }

    /// Sets what `/proc/sys` has of the host.
    fn write(&self, host: &str, path: &str, value: &str) {
        let command = format!("echo {value} > /proc/sys/{path}");
        run(&["netns", "exec", &self.name(host), "sh", "-c", &command]);
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
            let namespace = entry.file_name().to_string_lossy().into_owned();
            if namespace.starts_with(&self.prefix) {
                let _nothing_more_can_be_done =
                    Command::new("ip").args(["netns", "delete", &namespace]).status();
            }
        }
    }
}

fn run(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
