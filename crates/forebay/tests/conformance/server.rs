//! The server of a file of cases: the ordinary `forebay serve`, without a data path, on a port of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use reqwest::{Certificate, Client, Method};
use serde_json::Value;
use tempfile::TempDir;

use crate::case::{Case, Exchange, File};
use crate::matching::{glob, missing};

const START: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(20);

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Child,
    base: String,
    folder: TempDir,
}

impl Server {
    pub fn start(file: &File) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = format!(
            "name = \"conformance\"\n[server]\nlisten = [\"127.0.0.1:0\"]\nstore = \"store\"\n{}\n",
            file.settings.join("\n")
        );
        let config = folder.path().join("forebay.toml");
        fs::write(&config, settings).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(["serve", "--config"])
            .arg(&config)
            .env("FOREBAY_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (say, said) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| say.send(line)));
        let mut base = String::new();
        loop {
            let line = said.recv_timeout(START).expect("the server says that it is ready");
            match line.split_once(": ") {
                Some(("listening", address)) => base = address.to_owned(),
                Some(("ready", _)) => break,
                _ => {}
            }
        }
        Self { process, base, folder }
    }

    /// `https://`, address and port.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Its folder, which is gone when it is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The certificate that its own is signed with.
    pub fn ca(&self) -> PathBuf {
        self.folder().join("store/ca.pem")
    }

    /// A client that trusts this server and no other.
    pub fn client(&self) -> Client {
        // One of the tests is the first to say it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = fs::read(self.ca()).unwrap();
        Client::builder()
            .no_proxy()
            .tls_certs_only([Certificate::from_pem(&ca).unwrap()])
            .timeout(ANSWER)
            .build()
            .unwrap()
    }

    /// What went otherwise than a case says; a case ends with its first failure.
    pub async fn play(&self, file: &File) -> Vec<String> {
        let client = self.client();
        let mut kept = BTreeMap::new();
        let mut failures = Vec::new();
        for case in &file.cases {
            if let Err(failure) = self.play_case(&client, case, &mut kept).await {
                failures.push(format!("{}: {}\n  {failure}", case.line, case.fact));
            }
        }
        failures
    }

    async fn play_case(
        &self,
        client: &Client,
        case: &Case,
        kept: &mut BTreeMap<String, String>,
    ) -> Result<(), String> {
        for exchange in &case.exchanges {
            self.play_exchange(client, exchange, kept)
                .await
                .map_err(|it| format!("line {}: {it}", exchange.line))?;
        }
        Ok(())
    }

    async fn play_exchange(
        &self,
        client: &Client,
        exchange: &Exchange,
        kept: &mut BTreeMap<String, String>,
    ) -> Result<(), String> {
        let fill = |text: &str| fill(text, kept);
        let path = match fill(&exchange.path) {
            path if path.starts_with('/') => format!("{}{path}", self.base),
            path => format!("{}/networking/{path}", self.base),
        };
        let method = Method::from_bytes(exchange.method.as_bytes()).unwrap();
        let mut request = client.request(method, &path);
        for (name, value) in &exchange.headers {
            request = request.header(name, fill(value));
        }
        if !exchange.body.is_empty() {
            if !exchange.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                request = request.header("Content-Type", "application/json; charset=UTF-8");
            }
            request = request.body(body(&fill(&exchange.body)));
        }
        let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if status != exchange.status {
            return Err(format!("{} is wanted, {status} came: {text}", exchange.status));
        }
        for (name, wanted) in &exchange.answer_headers {
            let found = headers.get(name).and_then(|value| value.to_str().ok());
            let fits = match (wanted.as_str(), found) {
                ("-", found) => found.is_none(),
                (wanted, Some(found)) => glob(&fill(wanted), found),
                (_, None) => false,
            };
            if !fits {
                return Err(format!("{name}: {wanted} is wanted, {found:?} came"));
            }
        }
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if !exchange.answer.is_empty() {
            let wanted = fill(&exchange.answer);
            let wanted: Value = serde_json::from_str(&wanted)
                .map_err(|error| format!("the case itself: {error}: {wanted}"))?;
            if let Some(difference) = missing(&wanted, &body) {
                return Err(format!("{difference}\n  in {text}"));
            }
        }
        for (name, pointer) in &exchange.keep {
            let found = body.pointer(pointer).ok_or_else(|| format!("nothing is at {pointer}: {text}"))?;
            kept.insert(name.clone(), found.as_str().map_or_else(|| found.to_string(), str::to_owned));
        }
        Ok(())
    }
}

/// The body that is written as `@fill N` is a good one of about N bytes.
fn body(text: &str) -> String {
    match text.trim().strip_prefix("@fill ").map(|size| size.parse::<usize>().unwrap()) {
        Some(size) => format!("{{\"tags\": {{\"filling\": \"{}\"}}}}", "x".repeat(size)),
        None => text.to_owned(),
    }
}

/// Puts what was kept where its name is, quotes escaped where it stands in JSON.
fn fill(text: &str, kept: &BTreeMap<String, String>) -> String {
    let in_json = text.trim_start().starts_with(['{', '[']);
    kept.iter().rev().fold(text.to_owned(), |text, (name, value)| {
        let value = if in_json { value.replace('"', "\\\"") } else { value.clone() };
        text.replace(&format!("${name}"), &value)
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
