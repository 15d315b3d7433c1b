//! Bad input and hostile surroundings: what is said, word for word, and that nothing is half done.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::balancer::{Balancer, FOREBAY, Said, Settings, forebay, said};
use crate::document::{Document, Pool, Rule, Wire, floating_and_plain};
use crate::net::Net;
use crate::session::{Knock, all_stay, knock, knock_until, open};

#[test]
fn an_interface_that_is_not_there_is_named_beside_those_that_are() {
    let Some(net) = Net::flat("no-interface", 1) else { return };
    let settings = Settings { interfaces: &["eth9"], ..Settings::default() };
    let balancer = Balancer::prepare(&net, &least(&net), settings);
    refuses(&balancer, "forebay: there is no interface `eth9`; this host has eth0, lo\n");
    let settings = Settings { interfaces: &["eth0", "eth8", "eth9"], ..Settings::default() };
    let balancer = Balancer::prepare(&net, &least(&net), settings);
    refuses(&balancer, "forebay: there is no interface `eth8`, `eth9`; this host has eth0, lo\n");
    let settings = Settings { interfaces: &["lo"], ..Settings::default() };
    let balancer = Balancer::prepare(&net, &least(&net), settings);
    refuses(
        &balancer,
        "forebay: interface `lo` does not carry Ethernet frames: the balancer needs one that does\n",
    );
}

#[test]
fn without_privileges_it_says_which_are_missing() {
    let Some(net) = Net::flat("nobody", 1) else { return };
    let balancer = Balancer::prepare(&net, &least(&net), Settings::default());
    // The program and its files, where nobody can read them. Another process writes it: while a file is open for writing in this one, the
    // children of other tests have it open as well, and it cannot be run.
    let program = net.lab.folder().join("forebay");
    let copied = Command::new("install").args(["-m", "755", FOREBAY]).arg(&program).status().unwrap();
    assert!(copied.success(), "{copied}");
    let (program, config) = (program.display().to_string(), balancer.config.display().to_string());
    let nobody = |arguments: &[&str]| {
        let mut command = vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", &program];
        command.extend(arguments);
        said(&net.balancer, &command)
    };
    let serve = nobody(&["serve", "--config", &config]);
    assert_eq!(serve.code, Some(2), "{serve:?}");
    let wanted = "forebay: writing under the state folder needs root, or the capabilities CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON \
                  and (for mounting) CAP_SYS_ADMIN\n";
    assert_eq!(serve.err, wanted);
    let show = nobody(&["show", "stats"]);
    assert_eq!(show.code, Some(2));
    let wanted = "forebay: no data path is loaded on this host, or it takes root to see it; start one with `forebay serve`\n";
    assert_eq!(show.err, wanted);
    // What needs no privileges works.
    let check = nobody(&["check", &balancer.documents().display().to_string()]);
    assert_eq!((check.code, check.out.as_str()), (Some(0), "1 document file: nothing is wrong\n"));
    nothing_is_left(&balancer);
}

#[test]
fn a_second_process_under_the_same_name_is_refused() {
    // FLOW-7
    let Some(net) = Net::flat("twice", 1) else { return };
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let mut sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, 2)).collect();
    let second = serve(&net, &balancer.config);
    let wanted = format!(
        "forebay: another `forebay serve` is running as `{}`; stop it first, or give this one another `name`\n",
        balancer.name
    );
    assert_eq!((second.code, second.err), (Some(2), wanted));
    all_stay(&mut sessions, "a second process was refused");
}

#[test]
fn a_second_balancer_on_the_same_interface_is_refused_and_leaves_nothing() {
    // FLOW-7
    let Some(net) = Net::flat("occupied", 1) else { return };
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let mut balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let mut sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, 2)).collect();
    let other = format!("{}-other", balancer.name);
    let text = fs::read_to_string(&balancer.config).unwrap().replace(&balancer.name, &other);
    // The documents are in a folder with the balancer's name.
    let text = text.replace(&format!("lab/{other}/"), &format!("lab/{}/", net.lab.name()));
    let config = net.lab.write("other.toml", &text).unwrap();
    let second = serve(&net, &config);
    assert_eq!(second.code, Some(2), "{second:?}");
    let wanted = "forebay: another XDP program is on `eth0`: another balancer (`forebay detach` takes it off) or another \
                  tool (`ip link set dev eth0 xdp off`)\n";
    assert!(second.err.ends_with(wanted), "{}", second.err);
    assert!(!node::instances(Path::new("/run/forebay")).contains(&other), "`{other}` is left in the kernel");
    all_stay(&mut sessions, "a second balancer was refused");
    balancer.apply(&Document::new(&rules, net.everybody()).with(net.everybody()));
}

#[test]
fn twenty_mistakes_are_all_named_at_the_start_and_nothing_begins() {
    // API-2
    let Some(net) = Net::flat("twenty", 1) else { return };
    let balancer = Balancer::prepare(&net, &least(&net), Settings::default());
    net.lab.write("documents/lb.json", &twenty_mistakes().to_string()).unwrap();
    let serve = serve(&net, &balancer.config);
    assert_eq!((serve.code, serve.out.as_str()), (Some(1), ""));
    all_are_named(&serve.err);
    nothing_is_left(&balancer);
    let link = net.balancer.ip(&["link", "show", "dev", "eth0"]).unwrap();
    assert!(!link.contains("xdp"), "{link}");
}

#[test]
fn twenty_mistakes_in_a_changed_document_change_nothing() {
    // API-2, DIST-2
    let Some(net) = Net::flat("twenty-more", 2) else { return };
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let document = Document::new(&rules, net.everybody());
    let mut balancer = Balancer::start(&net, &document);
    let mut sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, 3)).collect();
    let tables = balancer.forebay(&["show", "tables"]).out;
    let wrong = twenty_mistakes().to_string();
    for (text, problems) in [(wrong.as_str(), 20), ("{", 1), ("[7]", 1), ("", 1)] {
        let said = balancer.submit(text);
        let counted = if problems == 1 { "1 problem".to_owned() } else { format!("{problems} problems") };
        assert_eq!(
            said,
            format!("refused: {counted}; what was in force still is"),
            "{}",
            balancer.process().stderr()
        );
        assert_eq!(balancer.forebay(&["show", "tables"]).out, tables);
        all_stay(&mut sessions, text);
        for rule in &rules {
            assert_eq!(open(&net, rule, 1).len(), 1);
        }
    }
    all_are_named(&balancer.process().stderr());
    // The next good one is taken, also when it is what is in force already.
    assert_eq!(balancer.submit(&document.text()), "applied: 0 changes");
    balancer.apply(&document.with(net.addresses(&[1])));
}

#[test]
fn documents_that_cannot_be_read_are_named_with_the_reason() {
    let Some(net) = Net::flat("unreadable", 1) else { return };
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let document = Document::new(&rules, net.everybody());
    let mut balancer = Balancer::prepare(&net, &document, Settings::default());
    let folder = balancer.documents();
    let moved = folder.with_extension("away");
    fs::rename(&folder, &moved).unwrap();
    let wanted = format!(
        "forebay: could not read the documents at {}\n  because: No such file or directory (os error 2)\n",
        folder.display()
    );
    refuses(&balancer, &wanted);
    fs::rename(&moved, &folder).unwrap();
    balancer.serve();
    balancer.await_members();
    let mut sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, 2)).collect();
    fs::rename(&folder, &moved).unwrap();
    let wanted = format!(
        "refused: could not read the documents at {}: No such file or directory (os error 2); what was in force still is",
        folder.display()
    );
    assert_eq!(balancer.answer(), wanted);
    all_stay(&mut sessions, "the documents are away");
    fs::rename(&moved, &folder).unwrap();
    assert_eq!(balancer.answer(), "applied: 0 changes");
    // A folder without documents is a balancer without rules; it is no mistake, and said as any other change.
    fs::remove_file(folder.join("lb.json")).unwrap();
    let said = balancer.answer();
    assert!(said.starts_with("applied:"), "{said}");
    assert_ne!(knock(net.client(), Wire::Tcp, rules[0].frontend), Knock::Answered);
    balancer.apply(&document);
    knock_until(net.client(), &rules[0], Knock::Answered);
}

#[test]
fn a_hangup_makes_it_read_again() {
    // API-2
    let Some(net) = Net::flat("hangup", 1) else { return };
    let mut balancer = Balancer::start(&net, &least(&net));
    balancer.process().signal(nix::sys::signal::Signal::SIGHUP).unwrap();
    assert_eq!(balancer.answer(), "applied: 0 changes");
}

#[test]
fn mistakes_in_the_settings_are_named_with_their_place() {
    let Some(net) = Net::flat("settings", 1) else { return };
    let balancer = Balancer::prepare(&net, &least(&net), Settings::default());
    let path = balancer.config.display().to_string();
    let good = fs::read_to_string(&balancer.config).unwrap();
    let toml = |text: String| net.lab.write("forebay.toml", &text).unwrap();
    toml(good.replace("documents =", "document ="));
    let serve = serve(&net, &balancer.config);
    assert_eq!(serve.code, Some(2));
    let starts =
        format!("forebay: {path} is not what `forebay serve` reads:\nTOML parse error at line 3, column 1\n");
    assert!(
        serve.err.starts_with(&starts) && serve.err.contains("unknown field `document`"),
        "{}",
        serve.err
    );

    let empty = good.replace("[\"eth0\"]", "[]");
    toml(empty);
    let mend = "name the ones that clients' and members' frames come in by, as [\"eth0\"]";
    refuses(&balancer, &format!("forebay: {path}: `interfaces` is empty; {mend}\n"));
    toml(good.replace("pools = 7", "pools = 7000"));
    refuses(&balancer, &format!("forebay: {path}: `limits.pools` is 7000; it can be 1 to 4095\n"));
    toml(format!("address = [\"10.20.1.2\", \"10.20.1.3\"]\n{good}"));
    let mend = "name one IPv4 and one IPv6 address at most";
    refuses(&balancer, &format!("forebay: {path}: `address` has two addresses of one family; {mend}\n"));
    toml(good.replace(&format!("name = \"{}\"", balancer.name), "name = \"a/b\""));
    let mend = "use letters, digits, `-` and `_`, 1 to 64 of them";
    refuses(&balancer, &format!("forebay: `a/b` cannot name a balancer: {mend}\n"));
    let nowhere = net.lab.folder().join("nowhere.toml");
    let said = forebay(&net.balancer, &["serve", "--config", &nowhere.display().to_string()]);
    let wanted = format!(
        "forebay: could not read {}\n  because: No such file or directory (os error 2)\n",
        nowhere.display()
    );
    assert_eq!((said.code, said.err), (Some(2), wanted));
}

#[test]
fn more_pools_than_there_is_room_for_at_the_start_leave_nothing() {
    let Some(net) = Net::flat("no-room", 1) else { return };
    let mut document = least(&net);
    document.pools.push(Pool { name: "more", members: net.everybody(), gateway: false });
    document.rules.push(Rule { pool: "more", ..Rule::floating("more", Wire::Tcp, "65.52.0.1:443") });
    let balancer = Balancer::prepare(&net, &document, Settings { pools: 1, ..Settings::default() });
    let serve = serve(&net, &balancer.config);
    assert_eq!(serve.code, Some(2), "{serve:?}");
    let wanted = "forebay: table `rings` is full: it has room for 1 rings (pools, address families and probes, and one more for each \
                  that is changing), and more are wanted; raise `pools` under [limits], detach, and start again\n";
    assert!(serve.err.ends_with(wanted), "{}", serve.err);
    nothing_is_left(&balancer);
    // With more room it starts at once: nothing of the other size is in the way.
    drop(balancer);
    Balancer::start(&net, &document);
}

#[test]
fn other_limits_than_those_of_the_loaded_data_path_are_refused() {
    // FLOW-7
    let Some(net) = Net::flat("resized", 1) else { return };
    let rules = floating_and_plain();
    let _servers = net.serve(&rules);
    let mut balancer = Balancer::start(&net, &Document::new(&rules, net.everybody()));
    let mut sessions: Vec<_> = rules.iter().flat_map(|rule| open(&net, rule, 2)).collect();
    balancer.stop();
    let good = fs::read_to_string(&balancer.config).unwrap();
    net.lab.write("forebay.toml", &good.replace("masquerades = 65536", "masquerades = 131072")).unwrap();
    let serve = serve(&net, &balancer.config);
    assert_eq!(serve.code, Some(2), "{serve:?}");
    let mend = format!(
        "put the former [limits] back, or run `forebay detach --name {}` (its flows end) and start again\n",
        balancer.name
    );
    assert!(serve.err.ends_with(&mend), "{}", serve.err);
    all_stay(&mut sessions, "other limits were refused");
    net.lab.write("forebay.toml", &good).unwrap();
    balancer.serve();
    all_stay(&mut sessions, "taken over after all");
}

/// One rule and the members there are.
fn least(net: &Net) -> Document {
    Document::new(&[Rule::floating("web", Wire::Tcp, "65.52.0.1:80")], net.everybody())
}

fn serve(net: &Net, config: &Path) -> Said {
    let config: PathBuf = config.to_owned();
    forebay(&net.balancer, &["serve", "--config", &config.display().to_string()])
}

/// `forebay serve` ends with these last words, and leaves nothing behind.
fn refuses(balancer: &Balancer<'_>, wanted: &str) {
    let said = forebay(balancer.host(), &["serve", "--config", &balancer.config.display().to_string()]);
    assert_eq!((said.code, said.err.as_str()), (Some(2), wanted));
    nothing_is_left(balancer);
}

fn nothing_is_left(balancer: &Balancer<'_>) {
    let left = node::instances(Path::new("/run/forebay"));
    assert!(!left.contains(&balancer.name), "`{}` is left in the kernel", balancer.name);
}

/// Where the twenty mistakes are, and their codes.
fn mistakes() -> Vec<(String, &'static str)> {
    let mut wanted = Vec::new();
    for number in 0..5 {
        wanted.push((
            format!("loadBalancingRules/lost-{number}/backendAddressPool"),
            "InvalidResourceReference",
        ));
        wanted.push((format!("loadBalancingRules/port-{number}/frontendPort"), "OutOfRange"));
        wanted.push((
            format!("backendAddressPools/web/loadBalancerBackendAddresses/none-{number}/ipAddress"),
            "AddressNotUsable",
        ));
        wanted.push((format!("loadBalancingRules/idle-{number}/idleTimeoutInMinutes"), "OutOfRange"));
    }
    wanted
}

fn twenty_mistakes() -> Value {
    let rule = |name: String, pool: &str, port: u32, idle: u32| {
        json!({
            "name": name,
            "properties": {
                "frontendIPConfiguration": { "id": "frontendIPConfigurations/front" },
                "backendAddressPool": { "id": format!("backendAddressPools/{pool}") },
                "protocol": "Tcp", "frontendPort": port, "backendPort": port % 65_536,
                "enableFloatingIP": true, "idleTimeoutInMinutes": idle,
            },
        })
    };
    let rules: Vec<Value> = (0..5)
        .flat_map(|number| {
            [
                rule(format!("lost-{number}"), "nowhere", 1_000 + number, 4),
                rule(format!("port-{number}"), "web", 70_000 + number, 4),
                rule(format!("idle-{number}"), "web", 2_000 + number, 101 + number),
            ]
        })
        .collect();
    let mut members = vec![json!({ "name": "vm1", "properties": { "ipAddress": "10.20.1.11" } })];
    members.extend((0..5).map(|number| {
        json!({ "name": format!("none-{number}"), "properties": { "ipAddress": format!("127.0.0.{number}") } })
    }));
    json!({
        "name": "lb",
        "sku": { "name": "Standard" },
        "properties": {
            "frontendIPConfigurations": [{
                "name": "front",
                "properties": { "privateIPAddress": "65.52.0.1", "subnet": { "id": "subnets/front" } },
            }],
            "backendAddressPools": [{ "name": "web", "properties": { "loadBalancerBackendAddresses": members } }],
            "loadBalancingRules": rules,
        },
    })
}

/// Each of the twenty has its line, with path and code, and there are no others.
fn all_are_named(text: &str) {
    for (path, code) in mistakes() {
        let named = text
            .lines()
            .any(|line| line.contains(&format!("lb: {path}: ")) && line.ends_with(&format!(" ({code})")));
        assert!(named, "{path} ({code}) is not in:\n{text}");
    }
    assert!(text.contains("\n20 problems; nothing was applied\n"), "{text}");
}
