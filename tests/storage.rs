//! Assets in a folder and in S3: created once, never replaced, through faults that pass.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use ourvidz::config::{Secret, StorageSettings};
use ourvidz::error::{ErrorKind, kind_of};
use ourvidz::store::{FolderStore, Object, Patience, S3Store, Store, key, open};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// An S3 server on a port of its own; its bucket is `bucket`.
pub async fn s3_server(folder: &TempDir) -> SocketAddr {
    std::fs::create_dir(folder.path().join("bucket")).unwrap();
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
    service.set_auth(SimpleAuth::from_single("KEY", "SECRET-CANARY"));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let _ = Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            });
        }
    });
    address
}

/// What a faulty server does with one connection.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answers so, whatever was asked.
    Answer(&'static str),
    /// Closes without a word.
    Reset,
    /// Says nothing for a long time.
    Silence,
    /// Passes the request on, and closes before the answer.
    LoseAnswer,
    /// Passes everything on.
    Work,
}

/// A server before the server that has its faults one after the other, and works then.
pub async fn faulty(behind: SocketAddr, faults: Vec<Fault>, last: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let faults = Arc::new(Mutex::new(VecDeque::from(faults)));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let fault = faults.lock().unwrap().pop_front().unwrap_or(last.clone());
            tokio::spawn(serve(socket, behind, fault));
        }
    });
    address
}

async fn serve(mut socket: TcpStream, behind: SocketAddr, fault: Fault) {
    match fault {
        Fault::Reset => {}
        Fault::Silence => tokio::time::sleep(Duration::from_secs(60)).await,
        Fault::Answer(answer) => {
            read_request(&mut socket).await;
            let _ = socket.write_all(answer.as_bytes()).await;
            let _ = socket.shutdown().await;
        }
        Fault::LoseAnswer => {
            let request = read_request(&mut socket).await;
            let mut server = TcpStream::connect(behind).await.unwrap();
            server.write_all(&request).await.unwrap();
            let mut answer = [0; 1024];
            let _ = server.read(&mut answer).await;
        }
        Fault::Work => {
            let mut server = TcpStream::connect(behind).await.unwrap();
            let _ = copy_bidirectional(&mut socket, &mut server).await;
        }
    }
}

/// One request, head and body, with its connection closed afterwards.
async fn read_request(socket: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let mut part = [0; 65536];
        let read = socket.read(&mut part).await.unwrap_or(0);
        request.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let length = text
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.split("\r\n").next()?.parse().ok())
            .unwrap_or(0);
        let head = request.windows(4).position(|w| w == b"\r\n\r\n");
        if read == 0 || head.is_some_and(|head| request.len() >= head + 4 + length) {
            return request;
        }
    }
}

pub const BUSY: &str = "HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const BROKEN: &str = "HTTP/1.1 500 Internal\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
pub const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 64\r\nconnection: close\r\n\r\n<Error><Code>AccessDenied</Code><Key>KEY CANARY</Key></Error>   ";
const PRECONDITION: &str =
    "HTTP/1.1 412 Precondition Failed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const UNKNOWN: &str = "HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const CONFLICT: &str = "HTTP/1.1 409 Conflict\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

fn settings(endpoint: SocketAddr) -> StorageSettings {
    StorageSettings {
        endpoint: Some(format!("http://{endpoint}")),
        region: Some("us-east-1".into()),
        access_key_id: Some(Secret::new("KEY")),
        secret_access_key: Some(Secret::new("SECRET-CANARY")),
        ..StorageSettings::default()
    }
}

fn s3(endpoint: SocketAddr) -> S3Store {
    s3_for(endpoint, Duration::from_secs(5))
}

fn s3_for(endpoint: SocketAddr, operation: Duration) -> S3Store {
    let patience = Patience {
        operation,
        request: Duration::from_millis(700),
    };
    S3Store::new("bucket/some/prefix", &settings(endpoint), patience).unwrap()
}

fn object(content: &str, pixels: Option<&str>) -> Object {
    Object {
        key: key(Some("ann"), "a", "0.png"),
        bytes: Bytes::copy_from_slice(content.as_bytes()),
        sha256: hex(content),
        pixels_sha256: pixels.map(String::from),
        mime_type: "image/png".into(),
        index: 0,
    }
}

fn hex(content: &str) -> String {
    let digest = Sha256::digest(content.as_bytes());
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// What both kinds promise.
async fn keeps_its_promises(store: &dyn Store, prefix: &str) {
    store.check().await.unwrap();
    let first = store.put(&object("one", Some("p1"))).await.unwrap();
    assert!(first.created);
    assert_eq!(first.key, format!("{prefix}ann/a/0.png"));
    assert_eq!((first.sha256.as_str(), first.size), (hex("one").as_str(), 3));
    let again = store.put(&object("one", None)).await.unwrap();
    assert!(!again.created);
    assert_eq!((&again.sha256, &again.key), (&first.sha256, &first.key));
    let other = store.put(&object("two", Some("p2"))).await.unwrap_err();
    assert_eq!(kind_of(&other), ErrorKind::Conflict);
    assert!(other.to_string().contains("ann/a/0.png"), "{other}");
    let told = key(Some("ann"), "a", "callback.json");
    for body in ["{}", "{\"status\": \"completed\"}"] {
        let stored = store
            .replace(&told, Bytes::from_static(body.as_bytes()), "application/json")
            .await
            .unwrap();
        assert_eq!(stored, format!("{prefix}{told}"));
    }
}

#[tokio::test]
async fn a_folder_keeps_its_promises() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("assets");
    let store = FolderStore::new(&root, &StorageSettings::default()).unwrap();
    keeps_its_promises(&store, "").await;
    assert_eq!(std::fs::read(root.join("ann/a/0.png")).unwrap(), b"one");
    let told = std::fs::read(root.join("ann/a/callback.json")).unwrap();
    assert_eq!(told, b"{\"status\": \"completed\"}");
    assert_eq!(std::fs::read_dir(root.join("ann/a")).unwrap().count(), 2);
}

#[tokio::test]
async fn s3_keeps_its_promises() {
    let folder = TempDir::new().unwrap();
    let store = s3(s3_server(&folder).await);
    keeps_its_promises(&store, "some/prefix/").await;
    let root = folder.path().join("bucket/some/prefix/ann/a");
    assert_eq!(std::fs::read(root.join("0.png")).unwrap(), b"one");
    assert_eq!(
        std::fs::read(root.join("callback.json")).unwrap(),
        b"{\"status\": \"completed\"}"
    );
}

#[tokio::test]
async fn the_same_pixels_in_other_bytes_are_the_same_and_keep_the_first_digest() {
    let folder = TempDir::new().unwrap();
    let store = s3(s3_server(&folder).await);
    store.put(&object("one", Some("p"))).await.unwrap();
    let again = store.put(&object("other bytes", Some("p"))).await.unwrap();
    assert_eq!((again.created, again.sha256, again.size), (false, hex("one"), 3));
}

#[tokio::test]
async fn an_object_without_our_metadata_is_compared_by_its_bytes() {
    let folder = TempDir::new().unwrap();
    let store = s3(s3_server(&folder).await);
    let place = folder.path().join("bucket/some/prefix/ann/a");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("0.png"), "one").unwrap();
    assert!(!store.put(&object("one", None)).await.unwrap().created);
    for other in ["two", "longer"] {
        let error = store.put(&object(other, None)).await.unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::Conflict);
    }
    assert_eq!(std::fs::read(place.join("0.png")).unwrap(), b"one");
}

#[tokio::test]
async fn faults_that_pass_are_waited_out_and_leave_one_object() {
    let folder = TempDir::new().unwrap();
    let server = s3_server(&folder).await;
    let faults = vec![
        Fault::Answer(BUSY),
        Fault::Reset,
        Fault::Answer(BROKEN),
        Fault::Silence,
        Fault::LoseAnswer,
    ];
    let store = s3(faulty(server, faults, Fault::Work).await);
    let stored = store.put(&object("one", None)).await.unwrap();
    assert_eq!(stored.sha256, hex("one"));
    let place = folder.path().join("bucket/some/prefix/ann/a");
    assert_eq!(std::fs::read_dir(place).unwrap().count(), 1);
}

#[tokio::test]
async fn a_store_that_stays_away_is_unavailable_and_the_job_may_come_again() {
    let folder = TempDir::new().unwrap();
    let server = s3_server(&folder).await;
    for last in [Fault::Answer(BUSY), Fault::Reset, Fault::Silence] {
        let store = s3_for(faulty(server, vec![], last.clone()).await, Duration::from_secs(1));
        let started = Instant::now();
        let error = store.put(&object("one", None)).await.unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::Unavailable, "{last:?}: {error}");
        assert!(kind_of(&error).retryable() && started.elapsed() < Duration::from_secs(3));
        assert!(!format!("{error:#}").contains("CANARY"), "{error:#}");
    }
    let nobody = s3_for("127.0.0.1:1".parse().unwrap(), Duration::from_secs(1));
    assert_eq!(kind_of(&nobody.check().await.unwrap_err()).exit_code(), 69);
}

#[tokio::test]
async fn a_refusal_is_a_matter_of_configuration_and_not_tried_again() {
    let folder = TempDir::new().unwrap();
    let server = s3_server(&folder).await;
    let store = s3(faulty(server, vec![], Fault::Answer(FORBIDDEN)).await);
    let started = Instant::now();
    for error in [
        store.check().await.unwrap_err(),
        store.put(&object("one", None)).await.unwrap_err(),
    ] {
        assert_eq!(kind_of(&error).exit_code(), 78);
        assert!(error.to_string().contains("403"), "{error}");
        assert!(!format!("{error:#}").contains("CANARY"), "{error:#}");
    }
    assert!(started.elapsed() < Duration::from_secs(1));
    let wrong = StorageSettings {
        secret_access_key: Some(Secret::new("wrong")),
        ..settings(server)
    };
    let store = open("s3://bucket", &wrong, Patience::default()).unwrap();
    assert_eq!(kind_of(&store.check().await.unwrap_err()).exit_code(), 78);
    let store = open("s3://no-such-bucket", &settings(server), Patience::default()).unwrap();
    let error = store.check().await.unwrap_err();
    assert_eq!(kind_of(&error).exit_code(), 78);
    assert!(error.to_string().contains("no such bucket"), "{error}");
}

#[tokio::test]
async fn a_failed_precondition_is_an_object_in_the_way_or_one_that_has_gone() {
    let folder = TempDir::new().unwrap();
    let server = s3_server(&folder).await;
    for answer in [PRECONDITION, CONFLICT] {
        // Nothing is there: the second try puts it.
        let store = s3(faulty(server, vec![Fault::Answer(answer)], Fault::Work).await);
        let stored = store.put(&object("one", None)).await.unwrap();
        assert_eq!(stored.sha256, hex("one"));
    }
    let store = s3(faulty(server, vec![Fault::Answer(PRECONDITION)], Fault::Work).await);
    let error = store.put(&object("two", None)).await.unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_server_without_conditional_puts_is_asked_first() {
    let folder = TempDir::new().unwrap();
    let server = s3_server(&folder).await;
    let store = s3(faulty(server, vec![Fault::Answer(UNKNOWN)], Fault::Work).await);
    assert!(store.put(&object("one", None)).await.unwrap().created);
    let store = s3(faulty(server, vec![Fault::Answer(UNKNOWN)], Fault::Work).await);
    let error = store.put(&object("two", None)).await.unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_presigned_address_can_be_read_by_anybody() {
    let folder = TempDir::new().unwrap();
    let server = s3_server(&folder).await;
    let settings = StorageSettings {
        presign: Some(Duration::from_secs(60)),
        ..settings(server)
    };
    let store = open("s3://bucket/p", &settings, Patience::default()).unwrap();
    let stored = store.put(&object("one", None)).await.unwrap();
    let address = store.address(&stored.key).await.unwrap();
    let answer = ourvidz::net::client()
        .build()
        .unwrap()
        .get(address)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.bytes().await.unwrap(), "one");
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_no_file_is_in_the_way_and_is_not_waited_for() {
    let folder = TempDir::new().unwrap();
    let store = FolderStore::new(folder.path(), &StorageSettings::default()).unwrap();
    let place = folder.path().join("ann/a/0.png");
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &place).unwrap();
    let error = store.put(&object("one", None)).await.unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Conflict);
    let wrong = StorageSettings {
        presign: Some(Duration::from_secs(9)),
        ..StorageSettings::default()
    };
    let error = open("folder", &wrong, Patience::default()).err().unwrap();
    assert_eq!(kind_of(&error).exit_code(), 78);
    let error = open("gs://bucket", &wrong, Patience::default()).err().unwrap();
    assert!(error.to_string().contains("gs:"), "{error}");
}
