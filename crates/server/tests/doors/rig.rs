//! A server on a port of its own, and clients that trust it, or do not.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use forebay_server::Server;
use forebay_server::settings::Settings;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::certificate::Identity;

pub struct Rig {
    address: SocketAddr,
    url: String,
    folder: TempDir,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

/// Who asks.
pub struct Credentials {
    pub trusts: bool,
    pub identity: Option<Identity>,
}

impl Default for Credentials {
    fn default() -> Self {
        Self { trusts: true, identity: None }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Rig {
    pub async fn open(settings: Settings) -> Self {
        Self::reopen(tempfile::tempdir().unwrap(), settings).await
    }

    pub async fn reopen(folder: TempDir, settings: Settings) -> Self {
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let settings = Settings { listen, store: Some(folder.path().to_owned()), ..settings };
        let server = Server::open("test", settings).await.unwrap();
        let url = server.addresses().remove(0);
        let address = url.split_once("://").unwrap().1.parse().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        Self { address, url, folder, stop, served }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Asks over TLS, with bytes as they are.
    pub async fn ask(&self, who: &Credentials, request: &str) -> io::Result<Answer> {
        let mut stream = self.secure(who, b"http/1.1").await?;
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(Answer { status, body: serde_json::from_str(body).unwrap_or(Value::Null) })
    }

    pub async fn http2(&self) -> SendRequest<Empty<Bytes>> {
        let stream = self.secure(&Credentials::default(), b"h2").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    pub async fn ask_http2(&self, path: &str, token: Option<&str>) -> (u16, Value) {
        self.ask_on(&mut self.http2().await, path, token).await
    }

    /// Asks on a connection that there is.
    pub async fn ask_on(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
        path: &str,
        token: Option<&str>,
    ) -> (u16, Value) {
        let mut request = hyper::Request::get(format!("https://localhost:{}{path}", self.address.port()));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Empty::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Tells it to stop. What comes back is its folder, when it has.
    pub fn stop(self) -> JoinHandle<TempDir> {
        tokio::spawn(async move {
            let _ = self.stop.send(());
            self.served.await.unwrap();
            self.folder
        })
    }

    async fn secure(&self, who: &Credentials, protocol: &[u8]) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        if who.trusts {
            let pem = std::fs::read(self.folder.path().join("ca.pem")).unwrap();
            roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &who.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_auth_cert(identity.chain(), identity.key()).unwrap(),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, self.connect().await).await
    }
}

/// The head of a request.
pub fn head(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")
}
