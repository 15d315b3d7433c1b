//! What ten thousand members cost: the share of a core that the prober's thread takes, over TCP, HTTP and HTTPS, and how regular attempts
//! are. Shown by `cargo test --release -p forebay-node probe::measure -- --ignored --nocapture`.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use super::*;

const MEMBERS: u16 = 10_000;
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
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || serve(listener));
    let mut prober = Prober::start(None).unwrap();
    prober.want((0..members).map(|last| task(&ask, port, last)).collect());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    listen(&runtime, &mut prober, INTERVAL * 2);
    let ((before, _), start) = (cpu_time(), Instant::now());
    let heard = listen(&runtime, &mut prober, LENGTH);
    let ((after, outside), passed) = (cpu_time(), start.elapsed());
    let used = after - before;
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
         most irregular {off:?}, {outcomes:?}",
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
        member: Ipv4Addr::new(127, 10, high, low).into(),
        source: Some(Ipv4Addr::new(127, 9, 0, 1).into()),
        interval: INTERVAL,
        timeout: INTERVAL,
    }
}

/// Answers every request with 200, on four threads of its own.
fn serve(listener: TcpListener) {
    let serve_one = |mut stream: std::net::TcpStream| {
        let mut request = [0; 1_024];
        if stream.read(&mut request).is_ok_and(|length| length > 0) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok();
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                listener.incoming().flatten().for_each(serve_one);
            });
        }
    });
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
