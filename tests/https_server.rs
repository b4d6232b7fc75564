//! An HTTPS server on this machine that answers as a test tells it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the server does for one request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These bytes, head included, and the end.
    Whole(Vec<u8>),
    /// The first, then the second again and again with this pause.
    Endless(Vec<u8>, Vec<u8>, Duration),
}

impl Answer {
    /// A success with this body.
    pub fn body(body: &[u8]) -> Self {
        Self::with("200 OK", "", body)
    }

    /// Any status, with more headers, each ending in a line break.
    pub fn with(status: &str, headers: &str, body: &[u8]) -> Self {
        let length = body.len();
        let mut bytes =
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n")
                .into_bytes();
        bytes.extend_from_slice(body);
        Self::Whole(bytes)
    }

    pub fn redirect(to: &str) -> Self {
        Self::with("302 Found", &format!("location: {to}\r\n"), b"")
    }
}

/// A running server; it ends with its runtime.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    /// The requests so far, heads only.
    pub requests: Arc<Mutex<Vec<String>>>,
}

/// The folder with its certificate.
pub fn tls_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls"))
}

impl Server {
    /// Starts a server; `answers` gets the path of each request.
    pub async fn start(answers: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        ourvidz::net::prepare_tls();
        let file = |name: &str| std::fs::read(tls_folder().join(name)).unwrap();
        let chain = CertificateDer::pem_slice_iter(&file("server.pem"))
            .map(|one| one.unwrap())
            .collect();
        let key = PrivateKeyDer::from_pem_slice(&file("server.key")).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
        };
        let answers = Arc::new(answers);
        let this = server.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, answers, this) = (acceptor.clone(), answers.clone(), this.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        let _ = this.serve(stream, &*answers).await;
                    }
                });
            }
        });
        server
    }

    async fn serve(
        &self,
        mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
        answers: &(dyn Fn(&str) -> Answer + Send + Sync),
    ) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_string();
        self.requests.lock().unwrap().push(head);
        match answers(&path) {
            Answer::Whole(bytes) => stream.write_all(&bytes).await?,
            Answer::Endless(first, again, pause) => {
                stream.write_all(&first).await?;
                loop {
                    stream.write_all(&again).await?;
                    stream.flush().await?;
                    tokio::time::sleep(pause).await;
                }
            }
        }
        stream.shutdown().await
    }
}
