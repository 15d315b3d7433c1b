//! The server against its own description: schemathesis makes requests from `/openapi.json`, good ones and bad ones.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use forebay::lab::skip_or_fail;

use crate::case::File;
use crate::server::Server;

/// Where schemathesis is, unless it is on the path.
const PROGRAM: &str = "FOREBAY_SCHEMATHESIS";
/// No operation is asked more often in one phase.
const EXAMPLES: &str = "5";
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

#[test]
fn nothing_that_can_be_asked_is_answered_otherwise_than_described() {
    // API-5
    let program = env::var_os(PROGRAM).map_or_else(|| PathBuf::from("st"), PathBuf::from);
    let there = Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        return skip_or_fail(format!("`st` is missing: pip install schemathesis, or name it with {PROGRAM}"));
    }
    let settings = ["requests_per_second = 1000000", "max_body = 262144"].map(str::to_owned).to_vec();
    let server = Server::start(&File { settings, cases: Vec::new() });
    let output = Command::new(program)
        .args(["run", &format!("{}/openapi.json", server.base()), "--checks", CHECKS])
        .args(["--max-examples", EXAMPLES, "--seed", "1", "--generation-deterministic", "--no-shrink"])
        .args(["--phases", "examples,coverage,fuzzing", "--workers", "1", "--continue-on-failure"])
        .args(["--request-timeout", "10", "--suppress-health-check", "all", "--warnings", "off"])
        .args(["--exclude-path", "/forebay/v1/watch"])
        .arg("--tls-verify")
        .arg(server.ca())
        .env("NO_COLOR", "1")
        .env("NO_PROXY", "*")
        .current_dir(server.folder())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
