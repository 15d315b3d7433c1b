//! The balancer's host, the link to it, and who works on which processor.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};
use plane::row::Mac;

/// The ends of the link: ours, and the balancer's.
pub const NEAR: &str = "wire-near";
pub const FRONT: &str = "wire-front";
/// Where nothing arrives.
pub const IDLE: &str = "wire-idle";
/// The balancer's station.
pub const BALANCER: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
/// Ours.
pub const CLIENT: Mac = Mac::new([2, 0, 0, 0, 1, 1]);
const NAME: &str = "wire";
/// Conversations that connection tracking has to have room for.
const CONVERSATIONS: u32 = 1 << 21;
const BUCKETS: u32 = 1 << 20;
const MOST: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const HASH: &str = "/sys/module/nf_conntrack/parameters/hashsize";

/// A network namespace that is the balancer's, with its end of the link. It ends with the process, as does everything in it.
pub struct Host {
    /// Which processor is the balancer's, and which everybody else's.
    processors: (usize, usize),
    pub has_nft: bool,
    _room: Room,
}

impl Host {
    pub fn set_up() -> Result<Self> {
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if processors < 2 {
            bail!("it takes two processors: one for the balancer, and one for everything else");
        }
        // As it was when this process began, before it went to a namespace of its own, for what holds for all of them.
        let room = Room::make()?;
        for command in [
            "mount -t sysfs sysfs /sys".to_owned(),
            format!("ip netns add {NAME}"),
            format!(
                "ip link add {NEAR} address {CLIENT} type veth peer name {FRONT} address {BALANCER} netns {NAME}"
            ),
            format!("ip link add {IDLE} type veth peer name wire-idler"),
            format!("ip link set {NEAR} up"),
            format!("ip -n {NAME} link set {FRONT} up"),
            format!("ip -n {NAME} link set lo up"),
            "sysctl -qw net.ipv6.conf.all.disable_ipv6=1".to_owned(),
        ] {
            must(&command)?;
        }
        let host = Self {
            processors: (processors - 1, 0),
            has_nft: ["/usr/sbin/nft", "/sbin/nft"].iter().any(|nft| Path::new(nft).exists()),
            _room: room,
        };
        for setting in [
            "net.ipv6.conf.all.disable_ipv6=1",
            "net.ipv4.ip_forward=1",
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.all.send_redirects=0",
            "net.ipv4.conf.default.send_redirects=0",
        ] {
            host.run(&["sysctl", "-qw", setting])?;
        }
        host.run(&["sysctl", "-qw", &format!("net.ipv4.conf.{FRONT}.rp_filter=0")])?;
        host.run(&["sysctl", "-qw", &format!("net.ipv4.conf.{FRONT}.send_redirects=0")])?;
        // Whoever sends is not to wait for other programs either.
        must(&format!("taskset -pc {} {}", host.processors.1, std::process::id()))?;
        must(&format!("chrt -f -p 10 {}", std::process::id()))?;
        Ok(host)
    }

    /// Runs a command on the host.
    pub fn run(&self, command: &[&str]) -> Result<String> {
        let words = [&["ip", "netns", "exec", NAME], command].concat();
        run(&words)
    }

    /// Does something in the host's network, on a thread of its own.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let enter = || -> Result<T> {
            setns(File::open(format!("/run/netns/{NAME}"))?, CloneFlags::CLONE_NEWNET)?;
            work()
        };
        thread::scope(|scope| scope.spawn(enter).join()).map_err(|_| anyhow!("it panicked"))?
    }

    /// Has the ends of the link, which both have a program, served by threads, and gives these their processors: the balancer's its own.
    /// The others share one, and there who takes comes before who sends.
    pub fn place_threads(&self) -> Result<Thread> {
        let (own, shared) = self.processors;
        fs::write(format!("/sys/class/net/{NEAR}/threaded"), "1").context("no thread for the near end")?;
        self.run(&["sh", "-c", &format!("echo 1 > /sys/class/net/{FRONT}/threaded")])?;
        Thread::serving(NEAR)?.place(shared)?;
        let balancer = Thread::serving(FRONT)?;
        balancer.place(own)?;
        Ok(balancer)
    }
}

/// A thread of the kernel that serves a link.
#[derive(Debug)]
pub struct Thread {
    id: u32,
}

impl Thread {
    fn serving(link: &str) -> Result<Self> {
        let wanted = format!("napi/{link}-");
        for process in fs::read_dir("/proc")?.flatten() {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            if let (true, Some(Ok(id))) =
                (name.starts_with(&wanted), process.file_name().to_str().map(str::parse))
            {
                return Ok(Self { id });
            }
        }
        bail!("no thread of the kernel serves {link}: it takes Linux 5.12")
    }

    fn place(&self, processor: usize) -> Result<()> {
        must(&format!("taskset -pc {processor} {}", self.id))?;
        must(&format!("chrt -f -p 50 {}", self.id))
    }

    /// How long it has worked.
    pub fn busy(&self) -> Result<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.id))?;
        let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse().ok());
        nanoseconds.map(Duration::from_nanos).context("the kernel does not say how long a thread worked")
    }
}

/// More room for connection tracking, which is one setting for the whole machine; what it was comes back.
struct Room {
    before: Option<(String, String)>,
}

impl Room {
    fn make() -> Result<Self> {
        let (Ok(most), Ok(hash)) = (Self::read(MOST), fs::read_to_string(HASH)) else {
            return Ok(Self { before: None });
        };
        let room = Self { before: Some((most.trim().to_owned(), hash.trim().to_owned())) };
        Self::set(&CONVERSATIONS.to_string(), &BUCKETS.to_string())?;
        Ok(room)
    }

    fn read(file: &str) -> Result<String> {
        run(&["nsenter", "--net=/proc/1/ns/net", "cat", file])
    }

    /// Only the first network may change it.
    fn set(most: &str, hash: &str) -> Result<()> {
        fs::write(HASH, hash).context("connection tracking takes no other size")?;
        let write = format!("echo {most} > {MOST}");
        run(&["nsenter", "--net=/proc/1/ns/net", "sh", "-c", &write]).map(drop)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some((most, hash)) = &self.before
            && let Err(error) = Self::set(most, hash)
        {
            eprintln!("the size of connection tracking could not be put back: {error:#}");
        }
    }
}

/// Runs a command of words without spaces.
pub fn must(command: &str) -> Result<()> {
    run(&command.split(' ').collect::<Vec<_>>()).map(drop)
}

fn run(words: &[&str]) -> Result<String> {
    let [program, arguments @ ..] = words else { bail!("no command") };
    let output = Command::new(program).args(arguments).output().with_context(|| format!("no `{program}`"))?;
    if !output.status.success() {
        bail!("`{}`: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
