//! Ten thousand connections at once, all of them alive: each says something, and hears who has it, after everything that happens.
//!
//! `FOREBAY_CONNECTIONS` says another number of them.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use forebay::lab::Process;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::balancer::{Balancer, Settings};
use crate::document::{Document, Rule, Wire};
use crate::net::{Member, Net};

const CONNECTIONS: usize = 10_000;
/// Who speak at the same time.
const AT_ONCE: usize = 200;
/// Tells a process of this test that it is a member's servers, and where.
const CHOIR: &str = "FOREBAY_TEST_CHOIR";
/// How long an answer may take on a busy machine, all the others asked before.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn ten_thousand_connections_notice_nothing() {
    // DIST-2, FLOW-1, FLOW-4, FLOW-7
    if let Ok(places) = env::var(CHOIR) {
        return sing(&places);
    }
    let Some(net) = Net::flat("crowd", 5) else { return };
    let number = env::var("FOREBAY_CONNECTIONS").map_or(CONNECTIONS, |text| text.parse().expect("a number"));
    allow_files(number + 2_000);
    let rules = [
        Rule::floating("kept", Wire::Tcp, "65.52.0.1:80"),
        Rule::plain("replaced", Wire::Tcp, "65.52.0.3:80", 8_000),
    ];
    drop(net.serve(&rules));
    let _choirs: Vec<Process> =
        net.members.iter().enumerate().map(|(at, member)| choir(member, at as u8 + 1, &rules)).collect();
    let document = Document::new(&rules, net.addresses(&[1, 2, 3]));
    // Sets of four places: with fewer, chance might put five connections into one.
    let mut balancer =
        Balancer::start_with(&net, &document, Settings { masquerades: 1 << 18, ..Settings::default() });

    let began = Instant::now();
    let mut crowd: Vec<Caller> = Vec::new();
    for rule in &rules {
        let connect = || -> Vec<TcpStream> {
            (0..number / rules.len())
                .map(|_| TcpStream::connect_timeout(&rule.frontend, PATIENCE).expect("a connection"))
                .collect()
        };
        let streams = net.client().within(connect).unwrap();
        crowd.extend(streams.into_iter().map(|stream| {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            Caller { stream, frontend: rule.frontend, member: 0 }
        }));
    }
    ask_all(&mut crowd, "at first");
    println!("{} connections in {:.1} s", crowd.len(), began.elapsed().as_secs_f64());

    let [_, _, vm3] = [1, 2, 3].map(|number| net.addresses(&[number]));
    let mut weighed = document.clone();
    weighed.weights.extend(vm3.iter().map(|address| (*address, 4)));
    let mut drained = document.clone();
    drained.orders.extend(vm3.iter().map(|address| (*address, "Down")));
    let with_all = document.with(net.everybody());
    let steps: [(&str, &[&Document]); 6] = [
        ("a member came", &[&document.with(net.addresses(&[1, 2, 3, 4]))]),
        ("one weighs more", &[&weighed]),
        ("one takes no new flows", &[&drained]),
        ("it takes them again, and two came", &[&document, &with_all]),
        ("two left again, at once", &[&document]),
        ("three changes in a row", &[&with_all, &weighed, &drained]),
    ];
    for (what, documents) in steps {
        let began = Instant::now();
        documents.iter().for_each(|document| drop(balancer.apply(document)));
        ask_all(&mut crowd, what);
        println!("{what}: all answered after {:.1} s", began.elapsed().as_secs_f64());
    }
    // FLOW-7
    balancer.kill();
    ask_all(&mut crowd, "the process was killed");
    balancer.serve();
    ask_all(&mut crowd, "the process is there again");
    balancer.stop();
    ask_all(&mut crowd, "the process has ended");
    balancer.serve();
    ask_all(&mut crowd, "and is there once more");
    // FLOW-3: who leaves takes its own along, and nobody else's.
    balancer.apply(&document.with(net.addresses(&[1, 2])));
    crowd.retain(|caller| caller.member != 3);
    ask_all(&mut crowd, "a member left");
}

/// A client's connection, and who has it.
struct Caller {
    stream: TcpStream,
    frontend: SocketAddr,
    member: u8,
}

/// Everybody says something, and hears from the same member as before. Some at a time: the queues of a lab's links are short.
fn ask_all(crowd: &mut [Caller], when: &str) {
    let mut broken: BTreeMap<String, usize> = BTreeMap::new();
    for callers in crowd.chunks_mut(AT_ONCE) {
        let said: Vec<io::Result<()>> =
            callers.iter_mut().map(|caller| caller.stream.write_all(b"?")).collect();
        for (caller, said) in callers.iter_mut().zip(said) {
            let mut answer = [0];
            let wrong = match said.and_then(|()| caller.stream.read_exact(&mut answer)) {
                Ok(()) if caller.member == 0 || caller.member == answer[0] => None,
                Ok(()) => Some(format!("member {} answers, not {}", answer[0], caller.member)),
                Err(cause) => Some(format!("with member {}: {}", caller.member, cause.kind())),
            };
            if let Some(wrong) = wrong {
                *broken.entry(format!("to {} {wrong}", caller.frontend)).or_default() += 1;
            }
            caller.member = answer[0];
        }
    }
    assert!(broken.is_empty(), "{when}: of {} connections broke {broken:#?}", crowd.len());
}

/// Starts the servers of a member, in a process of their own: a process may not have that many files open. Whatever they hear, they say
/// who they are.
fn choir(member: &Member, number: u8, rules: &[Rule]) -> Process {
    let at = rules.iter().map(|rule| rule.seen_at(member.address(rule.v4())).to_string());
    let places = format!("{CHOIR}={number} {}", at.collect::<Vec<_>>().join(" "));
    let program = env::current_exe().unwrap();
    let own = "crowd::ten_thousand_connections_notice_nothing";
    let command = ["env", &places, &program.to_string_lossy(), "--exact", "--nocapture", own];
    let mut process = member.host.spawn(&command).unwrap();
    process.await_line(&["listening"], PATIENCE).unwrap();
    process
}

/// Is such a process, to its end.
fn sing(places: &str) {
    let mut words = places.split(' ');
    let number: u8 = words.next().unwrap().parse().unwrap();
    let listeners: Vec<std::net::TcpListener> = words.map(|at| listener(at.parse().unwrap())).collect();
    println!("\nlistening");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        for listener in listeners {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(answer(stream, number));
                }
            });
        }
        std::future::pending::<()>().await;
    });
}

/// With room for all who call at once.
fn listener(at: SocketAddr) -> std::net::TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::for_address(at), socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&at.into()).unwrap();
    socket.listen(4_096).unwrap();
    socket.into()
}

async fn answer(mut stream: tokio::net::TcpStream, number: u8) {
    let mut heard = [0; 64];
    while let Ok(length @ 1..) = stream.read(&mut heard).await {
        if stream.write_all(&vec![number; length]).await.is_err() {
            return;
        }
    }
}

/// So many files may be open in this process and in those that it starts.
fn allow_files(number: usize) {
    let (process, limit) = (std::process::id().to_string(), format!("--nofile={number}:"));
    let done = Command::new("prlimit").args(["--pid", &process, &limit]).status().unwrap();
    assert!(done.success(), "prlimit {limit}: `ulimit -Hn` says how many there may be");
}
