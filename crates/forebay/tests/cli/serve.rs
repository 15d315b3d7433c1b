//! The binary that serves, asked by the binary that asks.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::service::{NETWORK, Said, balancer, ended, plain};

#[test]
fn on_this_machine_nothing_needs_to_be_said_but_where() {
    // AUTH-1
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("forebay.toml"), SETTINGS).unwrap();
    let served = Served::start(folder.path());
    let said = served.run("status");
    assert!(said.code == 0 && said.out.contains("balancer    default\n"), "{said:?}");
    assert!(said.out.contains("may write"), "{said:?}");
    // Without interfaces there is no data path, and that is said.
    fs::write(folder.path().join("net.yaml"), NETWORK).unwrap();
    let said = served.run("apply -f net.yaml");
    assert!(said.code == 0 && said.err.contains("the data path does not run yet"), "{said:?}");
}

#[test]
fn what_was_applied_survives_the_death_of_the_server() {
    // API-3
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("forebay.toml"), SETTINGS).unwrap();
    fs::write(folder.path().join("net.yaml"), NETWORK).unwrap();
    fs::write(folder.path().join("web.yaml"), balancer("web", "203.0.113.9", 80)).unwrap();
    let served = Served::start(folder.path());
    assert_eq!(served.run("apply -f net.yaml web.yaml").code, 0);
    drop(served);
    let served = Served::start(folder.path());
    let said = served.run("diff -f net.yaml web.yaml");
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "no difference: 2 resources as they should be\n"),
        "{said:?}"
    );
}

#[test]
fn a_token_from_the_command_line_goes_into_the_settings_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let made = ended(plain(folder.path(), "token new --name eyes --role read"), "").out;
    fs::write(
        folder.path().join("forebay.toml"),
        format!("{SETTINGS}{}", made.replace("forebay_", "# forebay_")),
    )
    .unwrap();
    let served = Served::start(folder.path());
    assert_eq!(served.run("status").code, 2);
    let token = made.lines().find(|line| line.starts_with("forebay_")).unwrap();
    let mut command = served.command("status");
    command.env("FOREBAY_TOKEN", token);
    let said = ended(command, "");
    assert!(said.code == 0 && said.out.contains("may read"), "{said:?}");
}

const SETTINGS: &str = "[server]\nlisten = [\"127.0.0.1:0\"]\nstore = \"store\"\n";

/// `forebay serve`, which is killed when it is dropped.
struct Served<'a> {
    folder: &'a Path,
    process: Child,
    server: String,
}

impl<'a> Served<'a> {
    fn start(folder: &'a Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(["serve", "--config"])
            .arg(folder.join("forebay.toml"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let server =
            lines.find_map(|line| line.strip_prefix("listening: ").map(str::to_owned)).expect("an address");
        lines.find(|line| line.starts_with("ready: ")).expect("it is ready");
        Self { folder, process, server }
    }

    fn run(&self, line: &str) -> Said {
        ended(self.command(line), "")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = plain(self.folder, line);
        command.env("FOREBAY_SERVER", &self.server).env("FOREBAY_CA", self.folder.join("store/ca.pem"));
        command
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
