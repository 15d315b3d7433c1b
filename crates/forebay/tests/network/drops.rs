//! What the data path drops is told to those who watch, and to nobody else.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use forebay::lab::{Host, Process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use crate::balancer::{Balancer, FOREBAY};
use crate::document::{Document, Rule, Wire, floating_and_plain};
use crate::net::{ETH0, Net};
use crate::session::{Knock, Session, knock};

const PATIENCE: Duration = Duration::from_secs(10);
/// No rule has it.
const CLOSED: u16 = 9_999;

#[test]
fn every_drop_is_told_with_its_reason_to_who_wants_to_know() {
    // WATCH-1
    let Some(mut net) = Net::flat("drops", 2) else { return };
    net.add_client();
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let document = Document::new(&rules, net.everybody());
    let mut balancer = Balancer::start(&net, &document);
    let mut everything = Watch::start(&balancer, &["-o", "json", "--rate", "1000"]);
    let second = net.client_address(1, true).ip();
    let mut of_second = Watch::start(&balancer, &["-o", "json", "--client", &format!("{second}/32")]);
    let mut for_people = Watch::start(&balancer, &["--reason", "NoMember,TableFull"]);
    let frontend = rules[0].frontend.ip();

    // Nothing is told of what is forwarded.
    for rule in &rules {
        Session::new(&net, rule).ask().unwrap();
    }
    // NoRule, of both families and protocols.
    for rule in &rules {
        let to = SocketAddr::new(rule.frontend.ip(), CLOSED);
        assert_eq!(knock(&net.clients[0], rule.wire, to), Knock::Silence);
        let drop = everything.until(|drop| drop["reason"] == "NoRule" && drop["to"] == to.to_string());
        let wire = if rule.wire == Wire::Tcp { "tcp" } else { "udp" };
        assert_eq!((&drop["protocol"], &drop["interface"]), (&wire.into(), &ETH0.into()), "{drop}");
        let from: SocketAddr = drop["from"].as_str().unwrap().parse().unwrap();
        assert_eq!(from.ip(), net.client_address(0, rule.v4()).ip());
        assert!(from.port() > 0 && drop["bytes"].as_u64().unwrap() >= 42, "{drop}");
        assert!(drop["frontend"].as_str().unwrap().starts_with("lb/"), "{drop}");
        assert!(drop.get("rule").is_none() && drop.get("security_rule").is_none(), "{drop}");
        assert!(drop["why"].as_str().unwrap().starts_with("no rule has this"), "{drop}");
        assert!(drop["at"].as_str().unwrap().starts_with("20"), "{drop}");
    }
    // Of the second client alone its own are told.
    assert_eq!(knock(&net.clients[1], Wire::Udp, (frontend, CLOSED).into()), Knock::Silence);
    let drop = of_second.next();
    assert!(drop["from"].as_str().unwrap().starts_with(&second.to_string()), "{drop}");

    // HopLimit: the packet would have to be routed once more.
    let masqueraded =
        rules.iter().find(|rule| !rule.floating && rule.wire == Wire::Udp && rule.v4()).unwrap();
    send(&net.clients[0], masqueraded.frontend, Some(1));
    let drop = everything.until(|drop| drop["reason"] == "HopLimit");
    assert_eq!(
        (&drop["to"], &drop["rule"]),
        (&masqueraded.frontend.to_string().into(), &format!("lb/{}", masqueraded.name).into())
    );
    // Protocol, which has no ports; Malformed, a TCP header of four bytes.
    raw(&net.clients[0], frontend, 47, &[0; 8]);
    let drop = everything.until(|drop| drop["reason"] == "Protocol");
    assert_eq!((&drop["protocol"], &drop["to"]), (&"ip47".into(), &frontend.to_string().into()));
    raw(&net.clients[0], frontend, 6, &[0; 4]);
    let drop = everything.until(|drop| drop["reason"] == "Malformed");
    assert_eq!(drop["protocol"], "tcp");

    // NoMember, as people read it.
    balancer.apply(&document.with(Vec::new()));
    assert_eq!(knock(&net.clients[0], rules[0].wire, rules[0].frontend), Knock::Silence);
    let line = for_people.line(" NoMember ");
    let wanted = format!("-> {} by rule lb/{}, ", rules[0].frontend, rules[0].name);
    assert!(line.contains(&wanted) && line.ends_with("has no member that takes new flows"), "{line}");

    // Denied, by which rule.
    let said = balancer.submit(&guarded(&document, second));
    assert!(said.starts_with("applied:"), "{said}");
    assert_eq!(knock(&net.clients[1], rules[0].wire, rules[0].frontend), Knock::Silence);
    let drop = of_second.until(|drop| drop["reason"] == "Denied");
    assert_eq!(drop["security_rule"], "guards/not-you", "{drop}");
    let why = drop["why"].as_str().unwrap();
    assert!(why.contains("security rule `guards/not-you` denies"), "{why}");

    // Told to stop, it ends well, and was told of nobody else.
    for (watch, signal) in [(&mut of_second, Signal::SIGINT), (&mut for_people, Signal::SIGTERM)] {
        watch.process.signal(signal).unwrap();
        let status = watch.process.wait(PATIENCE).expect("it ends");
        assert!(status.success(), "{status}");
    }
    let all = of_second.process.stdout();
    let others = all.lines().filter(|line| line.contains("\"drop\"") && !line.contains(&second.to_string()));
    assert_eq!(others.count(), 0, "{all}");
    let all = for_people.process.stdout();
    assert!(all.lines().skip(1).all(|line| line.contains(" NoMember ")), "{all}");
}

#[test]
fn a_flood_is_told_as_far_as_was_wanted_and_counted_beyond() {
    // WATCH-1
    const FLOOD: usize = 3_000;
    let Some(net) = Net::flat("drops-flood", 1) else { return };
    let rules = vec![Rule::floating("web", Wire::Udp, "65.52.0.1:80")];
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let frontend = rules[0].frontend.ip();
    let closed = SocketAddr::new(frontend, CLOSED);
    let port = closed.to_string();
    let mut watch = Watch::start(&balancer, &["-o", "json", "--rate", "20", "--frontend", &port]);
    let began = Instant::now();
    net.client()
        .within(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            for _ in 0..FLOOD {
                socket.send_to(b"?", closed).unwrap();
                // Another port's drops are not counted against it.
                socket.send_to(b"?", (frontend, CLOSED + 1)).unwrap();
            }
        })
        .unwrap();
    let seconds = began.elapsed().as_secs() + 2;
    let dropped = balancer.stats().verdict("NoRule");
    // The queue of a veth is short: not all of them have arrived.
    assert!(dropped > 200, "{dropped}");
    watch.process.signal(Signal::SIGINT).unwrap();
    assert!(watch.process.wait(PATIENCE).expect("it ends").success());
    let lines = watch.rest();
    let told = lines.iter().filter(|line| line["action"] == "drop").count() as u64;
    let left_out: u64 = lines
        .iter()
        .filter(|line| line["action"] == "leftOut")
        .map(|line| line["packets"].as_u64().unwrap())
        .sum();
    assert!((20..=20 * seconds).contains(&told), "{told} in {seconds} s");
    assert!(lines.iter().filter(|line| line["action"] == "drop").all(|line| line["to"] == port));
    assert!(
        left_out > 0 && told + left_out <= dropped,
        "{told} told, {left_out} left out, {dropped} dropped"
    );
    let others = dropped - told - left_out;
    assert!(told + left_out >= others / 4, "{told} told, {left_out} left out, {others} others");
}

#[test]
fn four_may_watch_and_a_place_is_free_as_soon_as_its_process_is_gone() {
    // WATCH-1
    let Some(net) = Net::flat("drops-places", 1) else { return };
    let rules = vec![Rule::floating("web", Wire::Udp, "65.52.0.1:80")];
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let mut four: Vec<Watch> = (0..4).map(|_| Watch::start(&balancer, &[])).collect();
    let refused = balancer.forebay(&["watch", "--drops", "--for", "1s"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("4 watch already"), "{refused:?}");
    four[2].process.kill();
    let of_time = balancer.forebay(&["watch", "--drops", "--for", "100ms"]);
    assert_eq!((of_time.code, of_time.out.lines().count()), (Some(0), 1), "{of_time:?}");
    let mut counted = Watch::start(&balancer, &["--count", "2"]);
    for _ in 0..3 {
        send(net.client(), SocketAddr::new(rules[0].frontend.ip(), CLOSED), None);
    }
    assert!(counted.process.wait(PATIENCE).expect("it ends").success());
    assert_eq!(counted.process.stdout().lines().count(), 3, "{}", counted.process.stdout());
    // What makes no sense is said.
    for (arguments, why) in [
        (vec!["watch", "--drops", "lb"], "cannot be used with"),
        (vec!["watch", "--rate", "5"], "--drops"),
        (vec!["watch", "--drops", "--reason", "Forwarded"], "there are Malformed"),
        (vec!["watch", "--drops", "--client", "10.0.0.0/33"], "198.51.100.0/24"),
        (vec!["watch", "--drops", "--rate", "10001"], "10000"),
    ] {
        let said = crate::balancer::forebay(&net.balancer, &arguments);
        assert!(said.code == Some(2) && said.err.contains(why), "{arguments:?}: {said:?}");
    }
}

/// The document with a group for each frontend, in which one rule is against this client.
fn guarded(document: &Document, client: IpAddr) -> String {
    const GROUP: &str =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/guards";
    let rule = |name: &str, priority: u32, access: &str, from: Value| {
        json!({ "name": name, "properties": {
            "priority": priority, "direction": "Inbound", "access": access, "protocol": "*", "sourceAddressPrefix": from,
        } })
    };
    let group = json!({
        "name": "guards", "type": "Microsoft.Network/networkSecurityGroups", "id": GROUP,
        "properties": { "securityRules": [
            rule("not-you", 200, "Deny", client.to_string().into()),
            rule("everybody", 300, "Allow", "*".into()),
        ] },
    });
    let mut guarded = document.json();
    for frontend in guarded["properties"]["frontendIPConfigurations"].as_array_mut().unwrap() {
        frontend["properties"]["forebay"]["networkSecurityGroup"]["id"] = GROUP.into();
    }
    json!([group, guarded]).to_string()
}

fn send(host: &Host, to: SocketAddr, hop_limit: Option<u32>) {
    host.within(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if let Some(hop_limit) = hop_limit {
            socket.set_ttl(hop_limit).unwrap();
        }
        socket.send_to(b"?", to).unwrap();
    })
    .unwrap();
}

/// A packet of this protocol, with whatever follows the IP header.
fn raw(host: &Host, to: IpAddr, protocol: i32, bytes: &[u8]) {
    let sent = host.within(|| -> io::Result<usize> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(protocol)))?;
        socket.send_to(bytes, &SocketAddr::new(to, 0).into())
    });
    assert_eq!(sent.unwrap().unwrap(), bytes.len());
}

/// A running `forebay watch --drops`.
struct Watch {
    process: Process,
}

impl Watch {
    fn start(balancer: &Balancer<'_>, arguments: &[&str]) -> Self {
        let command = [&[FOREBAY, "watch", "--drops", "--name", &balancer.name], arguments].concat();
        let mut process = balancer.host().spawn(&command).unwrap();
        process.await_line(&["what `", "{\"action\":\"watching\""], PATIENCE).unwrap();
        Self { process }
    }

    /// The next drop.
    fn next(&mut self) -> Value {
        self.until(|_| true)
    }

    /// The next drop that is as it should be.
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.process.await_line(&["{"], PATIENCE).unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["action"] == "drop" && wanted(&line) {
                return line;
            }
        }
    }

    /// The next line with this in it.
    fn line(&mut self, wanted: &str) -> String {
        loop {
            let line = self.process.await_line(&[""], PATIENCE).unwrap();
            if line.contains(wanted) {
                return line;
            }
        }
    }

    /// All lines from the first one on.
    fn rest(&self) -> Vec<Value> {
        self.process.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
