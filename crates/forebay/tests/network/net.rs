//! The hosts a test plays on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use forebay::lab::{Host, HttpServer, Lab, Need, Segment, UdpEcho, install, require, skip_or_fail};

use crate::document::{Rule, Wire};

/// Every host's first interface.
pub const ETH0: &str = "eth0";
/// The prefixes of frontends, to which clients have a route.
pub const FRONTENDS: [&str; 2] = ["65.52.0.0/24", "fd00:65::/64"];

/// How client, balancer and members are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// All on one segment.
    Flat,
    /// Clients on the balancer's `eth0`, members on its `eth1`; it is their default route and forwards.
    TwoSided,
    /// Like `Flat`, but the members are behind a router.
    Routed,
}

/// Clients, a balancer and members. Dropping it removes all of them.
#[derive(Debug)]
pub struct Net {
    pub clients: Vec<Host>,
    pub balancer: Host,
    pub members: Vec<Member>,
    pub front: Segment,
    /// The members' segment; the same as `front` where it is flat.
    pub back: Segment,
    pub shape: Shape,
    // Last: fields are dropped in this order.
    pub lab: Lab,
}

/// A host that can be in a pool.
#[derive(Clone, Debug)]
pub struct Member {
    pub host: Host,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
}

impl Member {
    pub fn address(&self, v4: bool) -> IpAddr {
        if v4 { self.v4.into() } else { self.v6.into() }
    }

    pub fn name(&self) -> &str {
        self.host.name()
    }
}

/// Instances on members; they end when this is dropped.
#[derive(Debug, Default)]
pub struct Servers {
    pub http: Vec<HttpServer>,
    pub udp: Vec<UdpEcho>,
}

impl Net {
    /// One client and so many members; `None` where the machine does not allow it and may skip.
    pub fn new(name: &str, shape: Shape, members: u8) -> Option<Self> {
        if let Err(missing) = require(&[Need::Namespaces, Need::Bpf, Need::Tcpdump]) {
            skip_or_fail(missing);
            return None;
        }
        let lab = Lab::new(&format!("net-{name}")).unwrap();
        let front = lab.segment("front").unwrap();
        let back = if shape == Shape::Flat { front.clone() } else { lab.segment("back").unwrap() };
        let balancer = lab.host("balancer").unwrap();
        balancer.attach(&front, ETH0, &["10.20.1.2/24", "fd00:20::2/64"]).unwrap();
        let mut net = Self { clients: Vec::new(), balancer, members: Vec::new(), front, back, shape, lab };
        let gateway = match shape {
            Shape::Flat => None,
            Shape::TwoSided => {
                net.balancer.attach(&net.back, "eth1", &["10.20.2.1/24", "fd00:21::1/64"]).unwrap();
                net.balancer.forward().unwrap();
                Some(())
            }
            Shape::Routed => {
                let router = net.lab.host("router").unwrap();
                router.attach(&net.front, ETH0, &["10.20.1.1/24", "fd00:20::1/64"]).unwrap();
                router.attach(&net.back, "eth1", &["10.20.2.1/24", "fd00:21::1/64"]).unwrap();
                router.forward().unwrap();
                net.balancer.route("10.20.2.0/24", "10.20.1.1").unwrap();
                net.balancer.route("fd00:21::/64", "fd00:20::1").unwrap();
                Some(())
            }
        };
        net.add_client();
        for number in 1..=members {
            let member = net.add_member(number);
            if gateway.is_some() {
                member.host.route("default", "10.20.2.1").unwrap();
                member.host.route("default", "fd00:21::1").unwrap();
            }
        }
        Some(net)
    }

    pub fn flat(name: &str, members: u8) -> Option<Self> {
        Self::new(name, Shape::Flat, members)
    }

    pub fn client(&self) -> &Host {
        &self.clients[0]
    }

    /// The address of client `number`, counted from nought, and any port.
    pub fn client_address(&self, number: usize, v4: bool) -> SocketAddr {
        let last = 100 + u8::try_from(number).unwrap();
        match v4 {
            true => ([10, 20, 1, last], 0).into(),
            false => format!("[fd00:20::{last}]:0").parse().unwrap(),
        }
    }

    /// Another client on the clients' segment.
    pub fn add_client(&mut self) -> &Host {
        let number = self.clients.len();
        let client = self.lab.host(&format!("client{number}")).unwrap();
        let [v4, v6] = [true, false].map(|v4| self.client_address(number, v4).ip());
        client.attach(&self.front, ETH0, &[&format!("{v4}/24"), &format!("{v6}/64")]).unwrap();
        for frontends in FRONTENDS {
            client.route(frontends, ETH0).unwrap();
        }
        self.clients.push(client);
        self.clients.last().unwrap()
    }

    /// The host vm`number`, with two addresses.
    pub fn add_member(&mut self, number: u8) -> &Member {
        let (net, last) = (if self.shape == Shape::Flat { 1 } else { 2 }, 10 + number);
        let v4 = Ipv4Addr::new(10, 20, net, last);
        let v6: Ipv6Addr = format!("fd00:{}::{last}", 19 + net).parse().unwrap();
        let host = self.lab.host(&format!("vm{number}")).unwrap();
        host.attach(&self.back, ETH0, &[&format!("{v4}/24"), &format!("{v6}/64")]).unwrap();
        self.members.push(Member { host, v4, v6 });
        self.members.last().unwrap()
    }

    /// A flat net with so many members, where these programs are installed.
    pub fn with(name: &str, commands: &[&str], members: u8) -> Option<Self> {
        if let Some(missing) = commands.iter().find(|command| !installed(command)) {
            skip_or_fail(install(missing));
            return None;
        }
        Self::flat(name, members)
    }

    /// The addresses of these members, counted from one, both families.
    pub fn addresses(&self, numbers: &[usize]) -> Vec<IpAddr> {
        let member = |number: &usize| &self.members[number - 1];
        numbers.iter().map(member).flat_map(|member| [member.v4.into(), member.v6.into()]).collect()
    }

    /// The addresses of all members.
    pub fn everybody(&self) -> Vec<IpAddr> {
        self.addresses(&(1..=self.members.len()).collect::<Vec<_>>())
    }

    /// Starts an instance for each of these rules on every member.
    pub fn serve(&self, rules: &[Rule]) -> Servers {
        let mut servers = Servers::default();
        for member in &self.members {
            servers.add(member, rules);
        }
        servers
    }
}

impl Servers {
    /// Starts an instance for each of these rules on one member. The instance is called as the rule is.
    pub fn add(&mut self, member: &Member, rules: &[Rule]) {
        let mut own: Vec<IpAddr> = Vec::new();
        for rule in rules {
            let frontend = rule.frontend.ip();
            if rule.floating && !own.contains(&frontend) {
                own.push(frontend);
                let length = if frontend.is_ipv4() { 32 } else { 128 };
                let shown = member.host.ip(&["addr", "show", "dev", "lo"]).unwrap();
                if !shown.contains(&format!(" {frontend}/")) {
                    member.host.loopback_address(&format!("{frontend}/{length}")).unwrap();
                }
            }
            let at = rule.seen_at(member.address(rule.v4()));
            match rule.wire {
                Wire::Tcp => {
                    self.http.push(HttpServer::start(&member.host, at, member.name(), &rule.name).unwrap());
                }
                Wire::Udp => {
                    self.udp.push(UdpEcho::start(&member.host, at, member.name(), &rule.name).unwrap());
                }
            }
        }
    }
}

/// Is this command installed?
pub fn installed(command: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(command).exists());
    found || Path::new("/usr/sbin").join(command).exists()
}
