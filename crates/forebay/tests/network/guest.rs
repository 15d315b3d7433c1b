//! `forebay guest`: a member's host becomes one, by what the command does and nothing else, and real packets flow through it.
//!
//! Each mistake is made, named by `check`, mended by `apply`, and taken back by `undo`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use forebay::lab::{Host, HttpServer, Need, UdpEcho, require, skip_or_fail};
use serde_json::Value;

use crate::balancer::{Balancer, FOREBAY, Said, said};
use crate::document::{Document, Rule, Wire, floating};
use crate::net::{ETH0, Net};
use crate::session::{Knock, Session, knock, knock_until, open};

const OWN: &str = "10.20.1.11";
const OWN_6: &str = "fd00:20::11";

#[test]
fn a_fresh_host_becomes_a_member_once_and_is_as_before_when_it_is_undone() {
    // GUEST-1
    let Some(net) = net("guest-fresh") else { return };
    let rules = floating();
    let guest = Guest::of(&net, &rules);
    let _services = guest.serve_everywhere();
    let _balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let before = guest.state();
    assert_eq!(guest.mistakes(), ["AddressMissing", "AddressMissing", "ArpAnswers", "ArpAnnounces"]);

    // What is printed changes nothing, and is what is done.
    let planned = guest.run("plan", &[]);
    assert_eq!((planned.code, guest.state()), (Some(1), before.clone()), "{planned:?}");
    let printed = guest.run("plan", &["--print", "linux"]);
    let applied = guest.run("apply", &[]);
    assert_eq!((printed.code, applied.code), (Some(0), Some(0)), "{applied:?}");
    assert!(applied.out.starts_with(&printed.out), "{}\nand not\n{}", applied.out, printed.out);
    let plan: Value = serde_json::from_str(&guest.run("plan", &["--json"]).out).unwrap();
    assert_eq!(plan, serde_json::json!([]));

    guest.is_a_member(&net, &rules);
    let member = guest.state();
    let again = guest.run("apply", &[]);
    let nothing = "nothing to change: this host is as it should be\n";
    assert_eq!((again.code, again.out.as_str(), guest.state()), (Some(0), nothing, member));

    let undone = guest.run("undo", &[]);
    assert_eq!((undone.code, guest.state()), (Some(0), before), "{undone:?}");
    assert_eq!(guest.files(), Vec::<String>::new());
    assert_eq!(
        guest.run("undo", &[]).out,
        "nothing to undo: `forebay guest apply` has changed nothing here\n"
    );
}

#[test]
fn a_member_is_silent_about_the_frontend_on_its_segment() {
    // GUEST-1, GUEST-2
    let Some(net) = net("guest-arp") else { return };
    let [rule4, rule6] = [web("65.52.0.1:80"), web("[fd00:65::1]:80")];
    for (rule, make, mistakes) in [
        (&rule4, "ip addr add 65.52.0.1/32 dev lo", &["ArpAnswers", "ArpAnnounces"][..]),
        (&rule4, "ip addr add 65.52.0.1/32 dev eth0", &["AddressOnInterface", "ArpAnswers", "ArpAnnounces"]),
        (&rule6, "ip addr add fd00:65::1/128 dev eth0 nodad", &["AddressOnInterface"]),
    ] {
        let guest = Guest::of(&net, std::slice::from_ref(rule));
        let _services = guest.serve_everywhere();
        let before = guest.state();
        guest.sh(make);
        let made = guest.state();
        assert_eq!(guest.mistakes(), mistakes, "{make}");
        Guest::forget_neighbours(&net);
        // Nobody balances, and yet there is an answer.
        assert_eq!(knock(net.client(), Wire::Tcp, rule.frontend), Knock::Answered, "{make}");
        guest.apply();
        Guest::forget_neighbours(&net);
        assert_ne!(knock(net.client(), Wire::Tcp, rule.frontend), Knock::Answered, "{make}");
        let balancer = Balancer::start(&net, &Document::new(std::slice::from_ref(rule), net.everybody()));
        guest.is_a_member(&net, std::slice::from_ref(rule));
        drop(balancer);
        guest.undo_to(&made);
        let [address, device] = [make.split(' ').nth(3).unwrap(), make.split(' ').nth(5).unwrap()];
        guest.sh(&format!("ip addr del {address} dev {device}"));
        assert_eq!(guest.state(), before);
    }
}

#[test]
fn a_prefix_on_the_loopback_interface_takes_no_other_address() {
    // GUEST-1, GUEST-2
    let Some(net) = net("guest-mask") else { return };
    for (frontend, wrong, neighbour) in
        [("65.52.0.1:80", "65.52.0.1/24", "65.52.0.77"), ("[fd00:65::1]:80", "fd00:65::1/64", "fd00:65::77")]
    {
        let rule = web(frontend);
        let guest = Guest::of(&net, std::slice::from_ref(&rule));
        let _services = guest.serve_everywhere();
        let _balancer = Balancer::start(&net, &Document::new(std::slice::from_ref(&rule), net.everybody()));
        let is_own =
            || guest.host.must(&["ip", "route", "get", neighbour]).is_ok_and(|it| it.contains("dev lo"));
        guest.sh(&format!("sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2; ip addr add {wrong} dev lo"));
        let made = guest.state();
        assert_eq!(guest.mistakes(), ["WrongMask"]);
        assert!(is_own(), "{wrong}");
        guest.apply();
        assert!(!is_own(), "{wrong}");
        guest.is_a_member(&net, &[rule]);
        guest.undo_to(&made);
        guest.sh(&format!("ip addr del {wrong} dev lo"));
    }
}

#[test]
fn clients_whose_answers_leave_by_another_interface_are_heard() {
    // GUEST-1, GUEST-2
    let Some(net) = net("guest-strict") else { return };
    let rule = web("65.52.0.1:80");
    let guest = Guest::of(&net, std::slice::from_ref(&rule));
    let _services = guest.serve_everywhere();
    let _balancer = Balancer::start(&net, &Document::new(std::slice::from_ref(&rule), net.everybody()));
    let other = net.lab.segment("other").unwrap();
    net.client().attach(&other, "eth1", &["10.20.9.100/24"]).unwrap();
    guest.host.attach(&other, "eth1", &["10.20.9.11/24"]).unwrap();
    guest.host.route("10.20.1.100/32", "10.20.9.100").unwrap();
    guest.apply();
    knock_until(net.client(), &rule, Knock::Answered);
    guest.sh("sysctl -qw net.ipv4.conf.all.rp_filter=1");
    assert_eq!(guest.mistakes(), ["StrictReversePath"]);
    assert_eq!(knock(net.client(), Wire::Tcp, rule.frontend), Knock::Silence);
    guest.apply();
    guest.is_a_member(&net, &[rule]);
    guest.run("undo", &[]);
    assert_eq!(guest.host.must(&["sysctl", "-n", "net.ipv4.conf.eth0.rp_filter"]).unwrap(), "0\n");
}

#[test]
fn a_firewall_of_nftables_lets_the_frontends_in_and_nothing_else() {
    // GUEST-1, GUEST-2
    let Some(net) = net("guest-nft") else { return };
    let rules = floating();
    let guest = Guest::of(&net, &rules);
    let _services = guest.serve_everywhere();
    let _balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    guest.apply();
    guest.is_a_member(&net, &rules);
    let open = guest.state();
    guest.write("/etc/nftables.conf", FIREWALL);
    guest.sh(&format!("nft -f {}/etc/nftables.conf", guest.root.display()));
    let closed = guest.state();
    assert_eq!(guest.mistakes(), ["FirewallDrops"; 4]);
    for rule in &rules {
        assert_eq!(knock(net.client(), rule.wire, rule.frontend), Knock::Silence, "{}", rule.name);
    }
    let before = guest.read("/etc/nftables.conf");
    guest.apply();
    guest.is_a_member(&net, &rules);
    // Another port of the frontend stays closed.
    let other = SocketAddr::new(rules[0].frontend.ip(), 81);
    let _service = HttpServer::start(&guest.host, "[::]:81".parse().unwrap(), "vm1", "other").unwrap();
    let direct = format!("{OWN}:81").parse().unwrap();
    assert_eq!(knock(net.client(), Wire::Tcp, direct), Knock::Silence);
    assert_eq!(knock(net.client(), Wire::Tcp, other), Knock::Silence);
    // The host loads its rules again, as it does when it starts.
    guest.sh(&format!("nft -f {}/etc/nftables.conf", guest.root.display()));
    guest.is_a_member(&net, &rules);
    // Somebody goes on writing the file, and loses nothing.
    let edited = guest.read("/etc/nftables.conf") + "# a line of somebody else's\n";
    guest.write("/etc/nftables.conf", &edited);
    let undone = guest.run("undo", &[]);
    assert_eq!(undone.code, Some(0), "{undone:?}");
    assert_eq!(guest.read("/etc/nftables.conf"), before + "# a line of somebody else's\n");
    let rules_of = |state: &str| state.split("table").skip(1).collect::<String>();
    assert_eq!(rules_of(&guest.state()), rules_of(&closed));
    assert_ne!(closed, open);
}

#[test]
fn ufw_lets_the_frontends_in() {
    // GUEST-1, GUEST-2
    if let Err(missing) = require(&[Need::Ufw]) {
        return skip_or_fail(missing);
    }
    let Some(net) = net("guest-ufw") else { return };
    let rules = floating();
    let mut guest = Guest::of(&net, &rules);
    guest.ufw = true;
    let _services = guest.serve_everywhere();
    let _balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    guest.apply();
    guest.is_a_member(&net, &rules);
    guest.sh("ufw --force enable; ufw allow 22/tcp");
    let status = |guest: &Guest| guest.sh("ufw status verbose");
    let before = status(&guest);
    assert_eq!(guest.mistakes(), ["FirewallDrops"; 4]);
    assert_eq!(knock(net.client(), Wire::Tcp, rules[0].frontend), Knock::Silence);
    guest.apply();
    guest.is_a_member(&net, &rules);
    let undone = guest.run("undo", &[]);
    assert_eq!((undone.code, status(&guest)), (Some(0), before), "{undone:?}");
}

#[test]
fn services_that_listen_elsewhere_are_named() {
    // GUEST-2
    let Some(net) = net("guest-services") else { return };
    let rule = web("65.52.0.1:80");
    let guest = Guest::of(&net, std::slice::from_ref(&rule));
    let _balancer = Balancer::start(&net, &Document::new(std::slice::from_ref(&rule), net.everybody()));
    guest.apply();
    let start = |at: &str| HttpServer::start(&guest.host, at.parse().unwrap(), "vm1", &rule.name).unwrap();
    let check = |arguments: &[&str]| guest.run("check", arguments);

    let nothing = check(&[]);
    assert_eq!(nothing.code, Some(1));
    let wanted = "65.52.0.1:80/tcp: nothing listens there, so clients are refused; start the service, at 65.52.0.1:80 or 0.0.0.0:80 \
        (NothingListens)\n1 mistake\n";
    assert_eq!(nothing.out, wanted);
    assert_eq!(knock(net.client(), Wire::Tcp, rule.frontend), Knock::Refused);

    let elsewhere = start("10.20.1.11:80");
    assert_eq!(guest.mistakes(), ["ListensElsewhere"]);
    assert_eq!(knock(net.client(), Wire::Tcp, rule.frontend), Knock::Refused);
    drop(elsewhere);

    // It serves, and no probe ever learns of it.
    let alone = start("65.52.0.1:80");
    let probed = check(&["--probe", "80"]);
    assert_eq!((check(&[]).code, probed.code), (Some(0), Some(1)));
    assert!(
        probed
            .out
            .starts_with("10.20.1.11:80/tcp: probes ask here, and the service listens at 65.52.0.1:80 alone"),
        "{}",
        probed.out
    );
    let _own = start("10.20.1.11:80");
    let probed = check(&["--probe", "80"]);
    assert_eq!(probed.out, "1 frontend: nothing is wrong\n");
    guest.is_a_member(&net, std::slice::from_ref(&rule));
    drop(alone);
}

#[test]
fn a_member_that_was_started_again_is_one() {
    // GUEST-1
    for (name, marks, starts) in [
        (
            "systemd",
            &["/run/systemd/system/.keep"][..],
            "sysctl -q -p $root/etc/sysctl.d/60-forebay-guest.conf; nft -f $root/rules.nft; sh $root/etc/forebay/guest.sh; sh \
                $root/etc/forebay/guest.sh",
        ),
        (
            "ifupdown",
            &["/usr/sbin/ifup", "/etc/network/interfaces"],
            "sysctl -q -p $root/etc/sysctl.d/60-forebay-guest.conf; nft -f $root/rules.nft; \
             sed -n 's/^    up //p' $root/etc/network/interfaces.d/forebay > $root/up.sh; sh -e $root/up.sh",
        ),
        (
            "networkd",
            &["/run/systemd/netif/state"],
            "sysctl -q -p $root/etc/sysctl.d/60-forebay-guest.conf; nft -f $root/rules.nft; sh $root/etc/forebay/guest.sh; \
             root=$root unshare -m sh -ec \"$NETWORKD\"",
        ),
    ] {
        let Some(net) = net(&format!("guest-{name}")) else { return };
        let rules = floating();
        let mut guest = Guest::of(&net, &rules);
        for mark in marks {
            guest.write(mark, "source /etc/network/interfaces.d/*\n");
        }
        if name == "networkd" && !Path::new(NETWORKD).exists() {
            eprintln!("skipped: there is no {NETWORKD} (apt-get install systemd)");
            continue;
        }
        if name == "ifupdown" {
            fs::remove_dir_all(guest.root.join("run")).unwrap();
        }
        guest.write("/rules.nft", FIREWALL);
        guest.sh(&format!("nft -f {}/rules.nft", guest.root.display()));
        guest.apply();
        assert_eq!(guest.enabled(), name != "ifupdown");

        // The host is gone, and another one with its files starts.
        guest.host.ip(&["link", "del", ETH0]).unwrap();
        guest.host = net.lab.host("vm1-again").unwrap();
        guest.host.attach(&net.front, ETH0, &[&format!("{OWN}/24"), &format!("{OWN_6}/64")]).unwrap();
        guest.sh(&format!("root={}; NETWORKD='{RUN_NETWORKD}'; {starts}", guest.root.display()));
        let _services = guest.serve_everywhere();
        let _balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
        guest.is_a_member(&net, &rules);
        let again = guest.run("apply", &[]);
        assert_eq!(again.out, "nothing to change: this host is as it should be\n", "{name}");
    }
}

#[test]
fn a_step_that_fails_is_named_and_those_before_it_can_be_undone() {
    // GUEST-1
    let Some(net) = net("guest-fails") else { return };
    let rules = [web("65.52.0.1:80")];
    let guest = Guest::of(&net, &rules);
    let before = guest.state();
    // A file where a folder is needed.
    guest.write("/etc/sysctl.d", "");
    let failed = guest.run("apply", &[]);
    assert_eq!(failed.code, Some(2), "{failed:?}");
    assert!(
        failed.err.contains("sysctl.d") && failed.err.contains("`forebay guest undo` takes them back\n"),
        "{}",
        failed.err
    );
    assert_ne!(guest.state(), before);
    guest.undo_to(&before);
}

#[test]
fn the_balancer_says_which_frontends_lead_to_this_host() {
    // GUEST-1, GUEST-2
    let Some(net) = net("guest-server") else { return };
    let balancer = Balancer::controlled(&net);
    let rules = [
        web("65.52.0.10:80"),
        Rule::floating("web6", Wire::Tcp, "[fd00:65::10]:80"),
        Rule::plain("plain", Wire::Tcp, "65.52.0.13:80", 8080),
    ];
    let network = serde_json::json!({
        "name": "net", "type": "Microsoft.Network/virtualNetworks",
        "properties": {
            "addressSpace": { "addressPrefixes": ["65.52.0.0/24", "fd00:65::/64"] },
            "subnets": [{ "name": "front", "properties": { "addressPrefixes": ["65.52.0.0/24", "fd00:65::/64"] } }],
        },
    });
    let document = Document::new(&rules, net.everybody()).text().replace(
        "00000000-0000-0000-0000-000000000000/resourceGroups/tests",
        "00000000-0000-0000-0000-000000000000/resourceGroups/forebay",
    );
    let lb = net.lab.write("lb.json", &document).unwrap().display().to_string();
    let vnet = net.lab.write("vnet.json", &network.to_string()).unwrap().display().to_string();
    let ca = net.lab.folder().join("store/ca.pem").display().to_string();
    let ask = |arguments: &[&str]| said(&net.balancer, &[&[FOREBAY], arguments, &["--ca", &ca]].concat());
    let applied = ask(&["apply", "-f", &vnet, &lb]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    let windows = ask(&["guest", "apply", "--print", "windows", "--member", OWN]);
    assert!(windows.out.contains("add addr \"Loopback\" 65.52.0.10 255.255.255.255\n"), "{windows:?}");
    assert!(!windows.out.contains("65.52.0.13") && !windows.out.contains("fd00:65::10"), "{windows:?}");
    let both = ask(&["guest", "apply", "--print", "windows", "--member", OWN, "--member", OWN_6]);
    assert!(both.out.contains("add addr \"Loopback\" fd00:65::10/128\n"), "{both:?}");
    let nobody = ask(&["guest", "check"]);
    assert_eq!(nobody.code, Some(1));
    let wanted = "forebay: no floating rule of the balancer leads to 10.20.1.2, fd00:20::2: ";
    assert!(nobody.err.starts_with(wanted), "{nobody:?}");
    drop(balancer);
}

const NETWORKD: &str = "/lib/systemd/systemd-networkd";
/// systemd-networkd itself reads what was written for it. Where `/sys` cannot be written it does not wait for udev.
const RUN_NETWORKD: &str = "mount --make-rprivate /; cp -r $root/etc/systemd/network /dev/shm/$$; mount -t tmpfs none /run; \
     mkdir -p /run/systemd/netif; mv /dev/shm/$$ /run/systemd/network; mount --bind /sys /sys; mount -o remount,ro,bind /sys; \
     /lib/systemd/systemd-networkd & for i in $(seq 100); do sleep 0.1; \
     test $(ip addr show dev lo | grep -c forebay) = 1 && break; done; \
     sleep 0.5; kill $!; wait";

/// What a server's firewall usually is.
const FIREWALL: &str = "flush ruleset\ntable inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\
     \t\tct state established,related accept\n\t\tiif lo accept\n\t\tmeta l4proto ipv6-icmp accept\n\t\ttcp dport 22 accept\n\t}\n}\n";

fn web(frontend: &str) -> Rule {
    Rule::floating("web", Wire::Tcp, frontend)
}

fn net(name: &str) -> Option<Net> {
    if let Err(missing) = require(&[Need::Nft]) {
        skip_or_fail(missing);
        return None;
    }
    Net::flat(name, 1)
}

/// The first member's host, of which nothing is prepared, and its files.
struct Guest {
    host: Host,
    root: PathBuf,
    frontends: Vec<String>,
    rules: Vec<Rule>,
    folder: PathBuf,
    /// Whether ufw is active. Its files are the lab's, and not this machine's.
    ufw: bool,
}

impl Guest {
    fn of(net: &Net, rules: &[Rule]) -> Self {
        let root = net.lab.folder().join("root");
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("run/systemd/system")).unwrap();
        let frontends = rules.iter().map(|rule| {
            let protocol = if rule.wire == Wire::Tcp { "tcp" } else { "udp" };
            format!("{}/{protocol}", rule.frontend)
        });
        Self {
            host: net.members[0].host.clone(),
            root,
            frontends: frontends.collect(),
            rules: rules.to_vec(),
            folder: net.lab.folder().to_owned(),
            ufw: false,
        }
    }

    fn run(&self, what: &str, arguments: &[&str]) -> Said {
        let root = self.root.display().to_string();
        let mut command = vec![FOREBAY, "guest", what, "--root", &root];
        if what != "undo" {
            command.extend(["--member", OWN, "--member", OWN_6]);
            command.extend(self.frontends.iter().flat_map(|it| ["--frontend", it]));
        }
        command.extend(arguments);
        self.with_own_files(&command)
    }

    /// Clients ask anew who has an address.
    fn forget_neighbours(net: &Net) {
        for family in ["-4", "-6"] {
            net.client().ip(&[family, "neigh", "flush", "dev", ETH0]).unwrap();
        }
    }

    /// The mistakes that `check` names, in order.
    fn mistakes(&self) -> Vec<String> {
        let said = self.run("check", &["--json"]);
        let found: Vec<Value> = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
        let mistakes = found.iter().filter(|it| it["note"] == false);
        let mistakes: Vec<String> = mistakes.map(|it| it["mistake"].as_str().unwrap().to_owned()).collect();
        assert_eq!(said.code, Some(i32::from(!mistakes.is_empty())), "{said:?}");
        mistakes
    }

    fn apply(&self) {
        let applied = self.run("apply", &[]);
        assert_eq!(applied.code, Some(0), "{applied:?}");
    }

    fn undo_to(&self, state: &str) {
        let undone = self.run("undo", &[]);
        assert_eq!(undone.code, Some(0), "{undone:?}");
        assert_eq!(self.state(), state);
    }

    /// Nothing is wrong, and clients of each rule get answers.
    fn is_a_member(&self, net: &Net, rules: &[Rule]) {
        assert_eq!(self.mistakes(), Vec::<String>::new());
        for rule in rules {
            knock_until(net.client(), rule, Knock::Answered);
            for (session, _) in &mut open(net, rule, 3) {
                let whoami = Session::ask(session).unwrap();
                assert_eq!(whoami.destination.ip().to_canonical(), rule.frontend.ip());
                assert_eq!(whoami.client.ip().to_canonical(), session.local().ip());
            }
        }
    }

    /// The services of all rules. A UDP service must answer from where it was asked, so it is bound to it.
    fn serve_everywhere(&self) -> (Vec<HttpServer>, Vec<UdpEcho>) {
        let (mut http, mut udp) = (Vec::new(), Vec::new());
        self.sh("sysctl -qw net.ipv4.ip_nonlocal_bind=1 net.ipv6.ip_nonlocal_bind=1");
        for rule in &self.rules {
            match rule.wire {
                Wire::Tcp if !http.is_empty() => {}
                Wire::Tcp => {
                    let at = SocketAddr::new("::".parse().unwrap(), rule.backend_port);
                    http.push(HttpServer::start(&self.host, at, "vm1", &rule.name).unwrap());
                }
                Wire::Udp => {
                    udp.push(UdpEcho::start(&self.host, rule.frontend, "vm1", &rule.name).unwrap());
                }
            }
        }
        (http, udp)
    }

    /// Addresses, variables and rules of the firewall.
    fn state(&self) -> String {
        let addresses = self.host.ip(&["-j", "-d", "addr"]).unwrap();
        let mut addresses: Value = serde_json::from_str(&addresses).unwrap();
        for link in addresses.as_array_mut().unwrap() {
            link["addr_info"].as_array_mut().unwrap().sort_by_key(Value::to_string);
        }
        let variables =
            self.host.must(&["sh", "-c", "sysctl -a 2>&1 | grep -E 'net.ipv[46].conf' | sort"]).unwrap();
        let rules = self.host.must(&["nft", "list", "ruleset"]).unwrap();
        format!("{addresses:#}\n{variables}\n{rules}")
    }

    /// Its files, without folders.
    fn files(&self) -> Vec<String> {
        let found =
            self.host.must(&["find", &self.root.display().to_string(), "-not", "-type", "d"]).unwrap();
        found.lines().map(str::to_owned).collect()
    }

    fn enabled(&self) -> bool {
        let link = "etc/systemd/system/multi-user.target.wants/forebay-guest.service";
        fs::symlink_metadata(self.root.join(link)).is_ok()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path.trim_start_matches('/'))).unwrap()
    }

    fn sh(&self, script: &str) -> String {
        let said = self.with_own_files(&["sh", "-ec", script]);
        assert_eq!(said.code, Some(0), "{script}: {said:?}");
        said.out
    }

    /// Runs a command where ufw's files are copies of this machine's.
    fn with_own_files(&self, command: &[&str]) -> Said {
        if !self.ufw {
            return said(&self.host, command);
        }
        let folder = self.folder.join("ufw");
        if !folder.exists() {
            copy(Path::new("/etc/ufw"), &folder.join("ufw"));
            copy(Path::new("/etc/default"), &folder.join("default"));
        }
        let script = "mount --make-rprivate /; mount --bind $0/ufw /etc/ufw; mount --bind $0/default /etc/default; \
                      mkdir -p $0/lock; mount --bind $0/lock /run/lock; exec \"$@\"";
        let folder = folder.display().to_string();
        said(&self.host, &[&["unshare", "-m", "sh", "-ec", script, &folder], command].concat())
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}
