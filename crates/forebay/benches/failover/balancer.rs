//! Who balances: Forebay, HAProxy, or for what it decides keepalived.

use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay::lab::{Host, Process, udp_socket};
use nix::sys::stat::Mode;
use serde_json::{Value, json};

use crate::Loss;
use crate::figures::Case;
use crate::hosts::{FRONTEND, Hosts, VICTIMS, victim};
use crate::member::PORT;

const FOREBAY: &str = env!("CARGO_BIN_EXE_forebay");
const START: Duration = Duration::from_secs(60);
/// Where HAProxy logs to, on its own host.
const LOG: &str = "127.0.0.1:1514";
/// What a balancer reports of itself may be so late.
const LATE: Duration = Duration::from_millis(1_500);
const DAY: u128 = 24 * 60 * 60 * 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    Forebay,
    Haproxy,
    Keepalived,
}

/// So often, and so many bad results in a row.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    pub interval: Duration,
    pub threshold: u32,
}

impl Check {
    /// What the settings imply at most: one time-out more where nobody answers.
    pub fn implied(self, loss: Loss) -> Duration {
        self.interval * (self.threshold + u32::from(loss == Loss::Dead))
    }
}

impl fmt::Display for Check {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} × {} ms", self.threshold, self.interval.as_millis())
    }
}

/// One that runs. Dropping it ends it and takes its data path out of the kernel.
#[derive(Debug)]
pub struct Balancer {
    product: Product,
    host: Host,
    name: String,
    process: Process,
    heard: Heard,
}

/// What was reported, and when.
type Heard = Arc<Mutex<Vec<(Instant, String)>>>;

impl Balancer {
    pub fn start(case: &Case, hosts: &Hosts) -> Self {
        let heard = Heard::default();
        let name = hosts.lab.name().replace('.', "_");
        let process = match case.product {
            Product::Forebay => start_forebay(&name, hosts, case.check),
            Product::Haproxy => start_haproxy(hosts, case.check, &heard),
            Product::Keepalived => start_keepalived(hosts, case.check, &heard),
        };
        Self { product: case.product, host: hosts.balancer.clone(), name, process, heard }
    }

    /// Does it lead connections anywhere?
    pub fn balances(&self) -> bool {
        self.product != Product::Keepalived
    }

    /// From the loss to the result by which it took the member for down, as the balancer says itself.
    pub fn decided(
        &mut self,
        hosts: &Hosts,
        number: usize,
        lost: Instant,
        clock: SystemTime,
    ) -> Option<Duration> {
        thread::sleep(LATE);
        let wanted = match self.product {
            Product::Forebay => return turned(&shown(hosts, &self.name), number, clock),
            Product::Haproxy => format!("members/v{number} is DOWN"),
            Product::Keepalived => format!("\"v{number}\" FAULT"),
        };
        let heard = self.heard.lock().unwrap();
        let (at, _) = heard.iter().find(|(at, said)| *at >= lost && said.contains(&wanted))?;
        Some(*at - lost)
    }

    /// Waits until it says that a member came back.
    pub fn until_back(&self, number: usize, patience: Duration) {
        let (began, wanted) = (Instant::now(), format!("\"v{number}\" "));
        while began.elapsed() < patience {
            let heard = self.heard.lock().unwrap().iter().rfind(|(_, said)| said.contains(&wanted)).cloned();
            if heard.is_some_and(|(_, said)| !said.contains("FAULT")) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("member {number} is not taken up after {patience:?}");
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.process.stop(Duration::from_secs(10));
        match self.product {
            Product::Forebay => drop(self.host.run(&[FOREBAY, "detach", "--name", &self.name])),
            Product::Haproxy => {
                drop(self.host.ip(&["addr", "del", &format!("{FRONTEND}/32"), "dev", "eth0"]))
            }
            Product::Keepalived => {}
        }
    }
}

fn start_forebay(name: &str, hosts: &Hosts, check: Check) -> Process {
    let documents = hosts.lab.write("documents/lb.json", &format!("{:#}\n", document(hosts, check))).unwrap();
    let text = format!(
        "name = \"{name}\"\ninterfaces = [\"eth0\", \"eth1\"]\ndocuments = \"{}\"\n[limits]\nmasquerades = 65536\npools = 7\n",
        documents.parent().unwrap().display()
    );
    let config = hosts.lab.write("forebay.toml", &text).unwrap();
    let mut serve = hosts.balancer.spawn(&[FOREBAY, "serve", "--config", &config.to_string_lossy()]).unwrap();
    serve.await_line(&["ready:"], START).unwrap();
    let began = Instant::now();
    loop {
        let shown = shown(hosts, name);
        let members = shown["groups"][0]["members"].as_array().cloned().unwrap_or_default();
        if members.len() == hosts.members.len() && members.iter().all(|it| it["state"] == "up") {
            return serve;
        }
        assert!(began.elapsed() < START, "not all members come up: {shown}");
        thread::sleep(Duration::from_millis(200));
    }
}

fn document(hosts: &Hosts, check: Check) -> Value {
    let members = hosts.members.iter().map(|address| {
        json!({"name": format!("vm-{address}").replace('.', "-"), "properties": {"ipAddress": address}})
    });
    let subnet = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/bench\
                  /providers/Microsoft.Network/virtualNetworks/net/subnets/front";
    json!({
        "name": "lb",
        "type": "Microsoft.Network/loadBalancers",
        "sku": {"name": "Standard"},
        "properties": {
            "frontendIPConfigurations": [{"name": "fe", "properties": {
                "privateIPAddress": FRONTEND, "privateIPAllocationMethod": "Static", "subnet": {"id": subnet},
            }}],
            "backendAddressPools": [{"name": "web", "properties": {
                "loadBalancerBackendAddresses": members.collect::<Vec<_>>(), "forebay": {"returnPath": "gateway"},
            }}],
            "probes": [{"name": "alive", "properties": {
                "protocol": "Tcp", "port": PORT, "probeThreshold": check.threshold,
                "forebay": {"intervalInMilliseconds": check.interval.as_millis() as u64},
            }}],
            "loadBalancingRules": [{"name": "web", "properties": {
                "frontendIPConfiguration": {"id": "frontendIPConfigurations/fe"},
                "backendAddressPool": {"id": "backendAddressPools/web"},
                "probe": {"id": "probes/alive"},
                "protocol": "Tcp", "frontendPort": PORT, "backendPort": PORT, "loadDistribution": "SourceIP",
            }}],
        },
    })
}

fn shown(hosts: &Hosts, name: &str) -> Value {
    let text = hosts.balancer.must(&[FOREBAY, "show", "health", "--json", "--name", name]).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// When the newest turn of a member was, which is when its deciding result came: after `clock`, to the millisecond.
fn turned(shown: &Value, number: usize, clock: SystemTime) -> Option<Duration> {
    let members = shown["groups"][0]["members"].as_array()?;
    let member = members.iter().find(|it| it["address"] == victim(number).to_string())?;
    let turn = member["history"].as_array()?.iter().find(|it| it["to"] == "down")?;
    let at = since_midnight(turn["at"].as_str()?)?;
    let lost = clock.duration_since(UNIX_EPOCH).ok()?.as_millis() % DAY;
    let passed = (at + DAY - lost) % DAY;
    (passed < 60_000).then(|| Duration::from_millis(passed as u64))
}

/// Milliseconds of the day of `2026-11-21T11:06:45.969Z`.
fn since_midnight(time: &str) -> Option<u128> {
    let (hours, rest) = time.split_once('T')?.1.trim_end_matches('Z').split_once(':')?;
    let (minutes, seconds) = rest.split_once(':')?;
    let (hours, minutes): (u128, u128) = (hours.parse().ok()?, minutes.parse().ok()?);
    Some((hours * 60 + minutes) * 60_000 + (seconds.parse::<f64>().ok()? * 1_000.0).round() as u128)
}

fn start_haproxy(hosts: &Hosts, check: Check, heard: &Heard) -> Process {
    hosts.balancer.ip(&["addr", "add", &format!("{FRONTEND}/32"), "dev", "eth0"]).unwrap();
    listen(udp_socket(&hosts.balancer, LOG.parse::<SocketAddr>().unwrap()).unwrap(), heard);
    let (interval, threshold) = (check.interval.as_millis(), check.threshold);
    let mut text = format!(
        "global\n  maxconn 8000\n  log {LOG} local0 notice\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  log global\n\
         frontend web\n  bind {FRONTEND}:{PORT}\n  default_backend members\n\
         backend members\n  balance source\n  hash-type consistent\n  \
         default-server check inter {interval}ms fall {threshold} rise {threshold}\n"
    );
    for (number, address) in hosts.members.iter().enumerate() {
        writeln!(text, "  server v{number} {address}:{PORT}").unwrap();
    }
    let config = hosts.lab.write("haproxy.cfg", &text).unwrap();
    let mut process =
        hosts.balancer.spawn(&["/usr/sbin/haproxy", "-db", "-f", &config.to_string_lossy()]).unwrap();
    // Every server was checked by then.
    thread::sleep(check.interval + Duration::from_secs(1));
    assert!(process.is_running(), "{}", process.stderr());
    process
}

/// Takes down when each line of a log came.
fn listen(socket: UdpSocket, heard: &Heard) {
    let heard = Arc::downgrade(heard);
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Some(heard) = heard.upgrade() {
            if let Ok(length) = socket.recv(&mut buffer) {
                let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
                heard.lock().unwrap().push((Instant::now(), line));
            }
        }
    });
}

/// keepalived ends its checkers where there is no IPVS. Its VRRP process runs scripts with the same settings instead, one for each member
/// that can be lost, and says so when one has failed often enough.
fn start_keepalived(hosts: &Hosts, check: Check, heard: &Heard) -> Process {
    let folder = hosts.lab.folder();
    let script = hosts.lab.write("check.sh", "exec 3<>/dev/tcp/$1/80\n").unwrap();
    let fifo = folder.join("keepalived.fifo");
    let _ = fs::remove_file(&fifo);
    nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let (seconds, fall) = (check.interval.as_secs(), check.threshold);
    let mut text = format!("global_defs {{\n  script_user root\n  vrrp_notify_fifo {}\n}}\n", fifo.display());
    for number in 0..VICTIMS {
        write!(
            text,
            "vrrp_script c{number} {{\n  script \"/bin/bash {} {}\"\n  interval {seconds}\n  \
             timeout {seconds}\n  fall {fall}\n  rise {fall}\n}}\n\
             vrrp_instance v{number} {{\n  interface eth1\n  virtual_router_id {}\n  priority 100\n  advert_int 1\n  \
             virtual_ipaddress {{\n    10.21.0.{}/32\n  }}\n  track_script {{\n    c{number}\n  }}\n}}\n",
            script.display(),
            victim(number),
            number + 1,
            201 + number,
        )
        .unwrap();
    }
    let config = hosts.lab.write("keepalived.conf", &text).unwrap();
    let own = Arc::downgrade(heard);
    let path = fifo.clone();
    thread::spawn(move || {
        // Opening waits for who writes.
        let lines = BufReader::new(File::open(path).unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            let Some(heard) = own.upgrade() else { return };
            heard.lock().unwrap().push((Instant::now(), line));
        }
    });
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (config, main, vrrp) = (config.to_string_lossy().into_owned(), file("ka.pid"), file("vrrp.pid"));
    let command = ["/usr/sbin/keepalived", "-n", "-l", "-P", "-f", &config, "-p", &main, "-r", &vrrp];
    let mut process = hosts.balancer.spawn(&command).unwrap();
    // All are masters by then.
    thread::sleep(Duration::from_secs(6));
    assert!(process.is_running(), "{}{}", process.stdout(), process.stderr());
    process
}
