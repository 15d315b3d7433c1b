//! The hosts: a client, the balancer between two segments, ten members that can be lost, each on a host of its own, and a crowd of others
//! on a few hosts.

use std::net::Ipv4Addr;
use std::time::Duration;

use forebay::lab::{Host, Lab, Process, Segment};

use crate::Loss;
use crate::member::WORD;

/// Members that can be lost.
pub const VICTIMS: usize = 10;
/// What clients call.
pub const FRONTEND: Ipv4Addr = Ipv4Addr::new(65, 52, 0, 1);
/// Addresses from which the client calls: 10.64.0.0/10, all of them its own.
pub const CALLERS: (Ipv4Addr, &str) = (Ipv4Addr::new(10, 64, 0, 0), "10.64.0.0/10");
/// The balancer's address on the members' segment.
const GATEWAY: &str = "10.21.0.1";
/// How many members of the crowd are on one host.
const CROWD: usize = 250;
const DEVICE: &str = "eth0";
const START: Duration = Duration::from_secs(20);

/// Dropping it removes everything.
#[derive(Debug)]
pub struct Hosts {
    pub client: Host,
    pub balancer: Host,
    pub members: Vec<Ipv4Addr>,
    victims: Vec<(Host, Option<Process>)>,
    back: Segment,
    _crowd: Vec<Process>,
    // Last: fields are dropped in this order.
    pub lab: Lab,
}

/// The member `number`, counted from nought, of those that can be lost.
pub fn victim(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 21, 0, 11 + number as u8)
}

impl Hosts {
    pub fn set_up(members: usize) -> Self {
        let lab = Lab::new("bench-failover").unwrap();
        let (front, back) = (lab.segment("front").unwrap(), lab.segment("back").unwrap());
        let client = lab.host("client").unwrap();
        client.attach(&front, DEVICE, &["10.20.1.100/24"]).unwrap();
        client.route("65.52.0.0/24", DEVICE).unwrap();
        client.ip(&["route", "add", "local", CALLERS.1, "dev", "lo"]).unwrap();
        let balancer = lab.host("balancer").unwrap();
        balancer.attach(&front, DEVICE, &["10.20.1.2/24"]).unwrap();
        balancer.attach(&back, "eth1", &[&format!("{GATEWAY}/24")]).unwrap();
        balancer.forward().unwrap();
        balancer.route(CALLERS.1, "10.20.1.100").unwrap();
        // HAProxy calls members from ports of its own.
        balancer.sysctls(&[("net/ipv4/ip_local_port_range", "32768 60999")]).unwrap();
        let mut hosts = Self {
            client,
            balancer,
            members: Vec::new(),
            victims: Vec::new(),
            back,
            _crowd: Vec::new(),
            lab,
        };
        for number in 0..VICTIMS {
            let host = hosts.host(&format!("vm{number}"), victim(number));
            let process = start(&host, victim(number), 1);
            hosts.victims.push((host, Some(process)));
            hosts.members.push(victim(number));
        }
        for (number, first) in (VICTIMS..members).step_by(CROWD).enumerate() {
            let many = CROWD.min(members - first);
            hosts.add_crowd(number as u8, many);
        }
        hosts
    }

    fn host(&self, name: &str, address: Ipv4Addr) -> Host {
        let host = self.lab.host(name).unwrap();
        host.attach(&self.back, DEVICE, &[&format!("{address}/24")]).unwrap();
        host.route("default", GATEWAY).unwrap();
        host
    }

    /// So many addresses behind one neighbour, so that no table of neighbours fills.
    fn add_crowd(&mut self, number: u8, many: usize) {
        let router = Ipv4Addr::new(10, 21, 0, 101 + number);
        let host = self.host(&format!("crowd{number}"), router);
        let prefix = format!("10.22.{number}.0/24");
        host.ip(&["route", "add", "local", &prefix, "dev", "lo"]).unwrap();
        self.balancer.route(&prefix, &router.to_string()).unwrap();
        let first = Ipv4Addr::new(10, 22, number, 1);
        self._crowd.push(start(&host, first, many));
        self.members.extend((0..many as u32).map(|at| Ipv4Addr::from_bits(first.to_bits() + at)));
    }

    pub fn lose(&mut self, number: usize, loss: Loss) {
        let (host, process) = &mut self.victims[number];
        match loss {
            Loss::Killed => process.take().expect("it runs").kill(),
            Loss::Dead => self.back.set_plugged(host, DEVICE, false).unwrap(),
        }
    }

    pub fn bring_back(&mut self, number: usize, loss: Loss) {
        let (host, process) = &mut self.victims[number];
        match loss {
            Loss::Killed => *process = Some(start(host, victim(number), 1)),
            Loss::Dead => self.back.set_plugged(host, DEVICE, true).unwrap(),
        }
    }
}

fn start(host: &Host, first: Ipv4Addr, number: usize) -> Process {
    let program = std::env::current_exe().unwrap();
    let (first, number) = (first.to_string(), number.to_string());
    let mut process = host.spawn(&[&program.to_string_lossy(), WORD, &first, &number]).unwrap();
    process.await_line(&["listening:"], START).unwrap();
    process
}
