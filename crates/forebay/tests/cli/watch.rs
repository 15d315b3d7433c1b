//! Every change is told, when it happens, once.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::service::{READER, Service, spawn};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn changes_are_told_field_by_field() {
    let service = Service::with_network();
    service.write_balancer("web", "203.0.113.9", 80);
    service.did("apply -f web.yaml");
    let watch = Watch::start(&service, "watch");
    assert_eq!(watch.line(), "2 resources at revision 2; changes from here on:");
    service.write_balancer("web", "203.0.113.9", 81);
    service.did("apply -f web.yaml");
    assert_eq!(watch.line(), "3 update lb/web in forebay");
    assert_eq!(watch.line(), "  ~ loadBalancingRules/http/frontendPort: 80 -> 81");
    service.did("delete lb web");
    assert_eq!(watch.line(), "4 delete lb/web in forebay");
}

#[test]
fn one_kind_may_be_followed() {
    let service = Service::with_network();
    let watch = Watch::start(&service, "watch lnet");
    assert_eq!(watch.line(), "0 resources at revision 1; changes from here on:");
    service.write_balancer("web", "203.0.113.9", 80);
    service.did("apply -f web.yaml");
    service.write("public.json", crate::apply::PUBLIC);
    service.did("apply -f public.json");
    assert_eq!(watch.line(), "3 create lnet/public in forebay");
}

#[test]
fn programs_read_one_object_a_line() {
    let service = Service::with_network();
    service.write_balancer("web", "203.0.113.9", 80);
    service.did("apply -f web.yaml");
    let watch = Watch::start(&service, "watch -o json");
    let actions: Vec<String> = (0..4).map(|_| watch.json()["action"].as_str().unwrap().to_owned()).collect();
    assert_eq!(actions, ["reset", "put", "put", "synced"]);
    service.did("delete lb web");
    let line = watch.json();
    assert_eq!((&line["action"], &line["revision"]), (&"delete".into(), &3.into()));
    assert!(line["id"].as_str().unwrap().ends_with("/loadBalancers/web"));
}

#[test]
fn nothing_is_missed_while_the_server_starts_anew() {
    let mut service = Service::with_network();
    service.write_balancer("web", "203.0.113.9", 80);
    service.did("apply -f web.yaml");
    let watch = Watch::start(&service, "watch");
    assert_eq!(watch.line(), "2 resources at revision 2; changes from here on:");
    service.stop();
    service.go_on();
    service.did("delete lb web");
    assert_eq!(watch.line(), "3 delete lb/web in forebay");
}

struct Watch {
    process: Child,
    lines: Receiver<String>,
}

impl Watch {
    fn start(service: &Service, line: &str) -> Self {
        let mut process = spawn(&mut service.command(READER, line));
        let out: Lines<BufReader<ChildStdout>> = BufReader::new(process.stdout.take().unwrap()).lines();
        let (say, lines) = mpsc::channel();
        thread::spawn(move || out.map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { process, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
