//! What ten thousand members cost: the share of a core that the prober's thread takes, over TCP, HTTP and HTTPS, and how regular attempts
//! are. Shown by `cargo test --release -p forebay-node probe::measure -- --ignored --nocapture --test-threads=1`, as root: balancer and
//! members are in two network namespaces joined by a veth, the prober on the first processor, the members and soft interrupts on the
//! second.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, setns};
use nix::unistd::Pid;
use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

const MEMBERS: u16 = 10_000;
/// As many as the members' one processor has handshakes for.
const WITH_TLS: u16 = 2_500;
/// Where both ends keep their sockets, so that 20,000 open files are enough.
const FEWER: u16 = 6_000;
const INTERVAL: Duration = Duration::from_secs(5);
/// How long is measured, after the first interval.
const LENGTH: Duration = Duration::from_secs(20);

#[test]
#[ignore = "a measurement: takes half a minute, and wants the machine for itself"]
fn tcp() {
    measure("TCP", MEMBERS, Ask::Tcp, serve);
}

#[test]
#[ignore = "a measurement: takes half a minute, and wants the machine for itself"]
fn http() {
    measure("HTTP", MEMBERS, Ask::Http("/health".to_owned()), serve);
}

#[test]
#[ignore = "a measurement: takes half a minute, and wants the machine for itself"]
fn refused() {
    measure("refused", MEMBERS, Ask::Tcp, drop);
}

#[test]
#[ignore = "a measurement: takes half a minute, and wants the machine for itself"]
fn https() {
    let tls = Arc::new(tls());
    let serve_one = move |stream: std::net::TcpStream| {
        let Ok(connection) = ServerConnection::new(Arc::clone(&tls)) else { return };
        answer(StreamOwned::new(connection, stream));
    };
    measure("HTTPS", WITH_TLS, Ask::Https("/health".to_owned()), move |listener| {
        on_threads(&listener, &serve_one)
    });
}

#[test]
#[ignore = "a measurement: takes half a minute, and wants the machine for itself"]
fn silent() {
    measure("silent", FEWER, Ask::Http("/health".to_owned()), |listener| {
        let mut kept = VecDeque::new();
        for stream in listener.incoming().flatten() {
            kept.push_back(stream);
            kept.drain(..kept.len().saturating_sub(usize::from(FEWER) * 5 / 4));
        }
    });
}

fn measure(what: &str, members: u16, ask: Ask, serve: impl FnOnce(TcpListener) + Send + 'static) {
    let lab = Lab::new();
    let (tell, port) = std::sync::mpsc::channel();
    let of_members = lab.enter("members");
    thread::spawn(move || {
        of_members();
        on_processor(1);
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        tell.send(listener.local_addr().unwrap().port()).unwrap();
        serve(listener);
    });
    let port = port.recv().unwrap();
    // Threads that are started from here on are there too.
    lab.enter("balancer")();
    on_processor(0);
    let mut prober = Prober::start(None).unwrap();
    prober.want((0..members).map(|last| task(&ask, port, last)).collect());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    on_processor(1);
    listen(&runtime, &mut prober, INTERVAL * 2);
    let soft = soft_interrupts();
    let ((before, _), start) = (cpu_time(), Instant::now());
    let heard = listen(&runtime, &mut prober, LENGTH);
    let ((after, outside), passed) = (cpu_time(), start.elapsed());
    let used = after - before;
    let soft = (soft_interrupts() - soft) / passed.as_secs_f64() * 100.0;
    let mut outcomes = BTreeMap::<String, usize>::new();
    let mut times = BTreeMap::<IpAddr, Vec<Instant>>::new();
    for one in &heard {
        *outcomes.entry(one.outcome.to_string()).or_default() += 1;
        times.entry(one.member).or_default().push(one.at);
    }
    let gaps = times.values().flat_map(|times| times.windows(2)).map(|pair| pair[1] - pair[0]);
    let off = gaps.map(|gap| gap.abs_diff(INTERVAL)).max().unwrap_or_default();
    println!(
        "{what}: {:.0} attempts/s, {:.1} % of a core, {:.1} µs each ({outside:.0} % outside the kernel), \
         most irregular {off:?}, {outcomes:?}; \
         soft interrupts of both ends, on the other processor: {soft:.1} %",
        heard.len() as f64 / passed.as_secs_f64(),
        used.as_secs_f64() / passed.as_secs_f64() * 100.0,
        used.as_secs_f64() * 1e6 / heard.len().max(1) as f64,
    );
}

fn listen(runtime: &tokio::runtime::Runtime, prober: &mut Prober, time: Duration) -> Vec<Heard> {
    let end = Instant::now() + time;
    let mut all = Vec::new();
    runtime.block_on(async {
        while let Ok(heard) = tokio::time::timeout_at(end.into(), prober.heard()).await {
            all.extend(heard.unwrap());
        }
    });
    all
}

fn task(ask: &Ask, port: u16, last: u16) -> Task {
    let [high, low] = last.to_be_bytes();
    Task {
        probe: "lb/probe".into(),
        ask: ask.clone(),
        port,
        member: Ipv4Addr::new(10, 77, high, low).into(),
        source: Some(Ipv4Addr::new(10, 76, 0, 1).into()),
        interval: INTERVAL,
        timeout: INTERVAL,
    }
}

/// Answers every request with 200.
fn serve(listener: TcpListener) {
    on_threads(&listener, &answer);
}

fn answer(mut stream: impl Read + Write) {
    let mut request = [0; 1_024];
    if stream.read(&mut request).is_ok_and(|length| length > 0) {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok();
    }
}

fn on_threads(listener: &TcpListener, serve_one: &(impl Fn(std::net::TcpStream) + Sync)) {
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for stream in listener.incoming().flatten() {
                    // One connection that goes nowhere is not to keep others waiting for ever.
                    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                    serve_one(stream);
                }
            });
        }
    });
}

fn tls() -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["member".to_owned()]).unwrap().self_signed(&key).unwrap();
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap()
}

/// Two hosts, gone when it is dropped.
struct Lab(String);

impl Lab {
    fn new() -> Self {
        let lab = Self(format!("forebay-measure-{}", std::process::id()));
        let (balancer, members) = (lab.namespace("balancer"), lab.namespace("members"));
        for command in [
            format!("netns add {balancer}"),
            format!("netns add {members}"),
            format!("link add eth0 netns {balancer} type veth peer name eth0 netns {members}"),
            format!("-n {balancer} addr add 10.76.0.1/24 dev eth0"),
            format!("-n {members} addr add 10.76.0.2/24 dev eth0"),
            format!("-n {balancer} link set eth0 up"),
            format!("-n {members} link set eth0 up"),
            format!("-n {members} link set lo up"),
            format!("-n {members} route add local 10.77.0.0/16 dev lo"),
            format!("-n {balancer} route add 10.77.0.0/16 via 10.76.0.2"),
        ] {
            ip(&command.split(' ').collect::<Vec<_>>());
        }
        // What comes in at either end is taken in on the second processor, as by a network card that interrupts another one than ours.
        for namespace in [balancer, members] {
            let write = "echo 2 > /sys/class/net/eth0/queues/rx-0/rps_cpus";
            ip(&["netns", "exec", &namespace, "sh", "-c", write]);
        }
        lab
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.0)
    }

    /// Takes the thread that calls it to a host.
    fn enter(&self, host: &str) -> impl FnOnce() + Send + 'static {
        let namespace = fs::File::open(format!("/run/netns/{}", self.namespace(host))).unwrap();
        move || setns(namespace, CloneFlags::CLONE_NEWNET).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in ["balancer", "members"] {
            ip(&["netns", "del", &self.namespace(host)]);
        }
    }
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "{arguments:?}");
}

/// Keeps this thread, and those that it starts, on one processor.
fn on_processor(number: usize) {
    let mut only = CpuSet::new();
    only.set(number).unwrap();
    sched_setaffinity(Pid::from_raw(0), &only).unwrap();
}

/// Seconds that the second processor has spent in soft interrupts.
fn soft_interrupts() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap();
    let second = text.lines().find(|line| line.starts_with("cpu1 ")).unwrap();
    second.split_whitespace().nth(7).unwrap().parse::<f64>().unwrap() / 100.0
}

/// What the prober's thread has used so far: of the processor in all, and how many of 100 parts of that outside the kernel.
fn cpu_time() -> (Duration, f64) {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten().map(|task| task.path());
    let of_prober = |path: &std::path::PathBuf| {
        fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == THREAD)
    };
    let path = tasks.filter(of_prober).last().unwrap();
    let numbers = |name: &str| -> Vec<u64> {
        let text = fs::read_to_string(path.join(name)).unwrap();
        text.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect()
    };
    let stat = numbers("stat");
    let (user, system) = (stat[13] as f64, stat[14] as f64);
    (Duration::from_nanos(numbers("schedstat")[0]), user / (user + system).max(1.0) * 100.0)
}
