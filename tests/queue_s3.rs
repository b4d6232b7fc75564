//! A drain with its assets in S3, through faults that pass and faults that do not.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::{Builder, Handle};

use crate::patience::ran;
use crate::queue_harness::{Shop, ids};
use crate::storage::{BUSY, FORBIDDEN, Fault, faulty, s3_server};

/// A server with its files, and the runtime of a thread that it lives in until the tests end.
struct S3 {
    runtime: Handle,
    folder: Arc<TempDir>,
    address: SocketAddr,
}

impl S3 {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        let folder = Arc::new(TempDir::new().unwrap());
        let served = folder.clone();
        let address = wait_for(&handle, async move { s3_server(&served).await });
        Self {
            runtime: handle,
            folder,
            address,
        }
    }

    /// An address before it that has these faults first.
    fn with(&self, faults: Vec<Fault>, last: Fault) -> SocketAddr {
        let behind = self.address;
        wait_for(&self.runtime, async move { faulty(behind, faults, last).await })
    }

    fn bytes(&self, key: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join("bucket").join(key)).unwrap()
    }
}

/// Runs something in the other thread's runtime.
fn wait_for<T: Send + 'static>(runtime: &Handle, work: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        let _ = sender.send(work.await);
    });
    receiver.recv().unwrap()
}

fn drain(shop: &Shop, address: SocketAddr, args: &[&str]) -> Command {
    let mut all = vec!["--storage", "s3://bucket/pre"];
    all.extend(args);
    let mut command = shop.command(&all);
    command
        .env("AWS_ACCESS_KEY_ID", "KEY")
        .env("AWS_SECRET_ACCESS_KEY", "SECRET-CANARY")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL", format!("http://{address}"))
        .env("AWS_ALLOW_HTTP", "true")
        .env("OURVIDZ_STORAGE_PATH_STYLE", "1")
        .stdin(Stdio::null());
    command
}

#[test]
fn assets_and_callbacks_lie_in_the_bucket_under_their_keys() {
    let s3 = S3::start();
    let shop = Shop::with_receiver();
    shop.jobs(0..2);
    let told = ran(drain(&shop, s3.address, &["--json", "-vv"])).exits(0);
    assert!(!format!("{told:?}").contains("CANARY"));
    for id in ids(0..2) {
        let record = shop.done(&id);
        let key = record["assets"][0]["key"].as_str().unwrap();
        assert_eq!(key, format!("pre/_/{id}/0.png"));
        assert_eq!(
            record["assets"][0]["sha256"],
            crate::queue_harness::hex(&s3.bytes(key))
        );
        let callback: serde_json::Value =
            serde_json::from_slice(&s3.bytes(&format!("pre/_/{id}/callback.json"))).unwrap();
        assert_eq!(callback["assets"], json!([key]));
    }
    shop.receiver.as_ref().unwrap().each_told_once(&ids(0..2), 0);
}

#[test]
fn callbacks_may_hold_addresses_that_work_for_a_time() {
    let s3 = S3::start();
    let shop = Shop::with_receiver();
    shop.jobs(0..1);
    let mut command = drain(&shop, s3.address, &[]);
    command.env("OURVIDZ_STORAGE_PRESIGN", "24h");
    ran(command).exits(0);
    let told = shop.receiver.as_ref().unwrap().outcomes()["j0"][0].json();
    let address = told["assets"][0].as_str().unwrap();
    assert!(
        address.starts_with("http://") && address.contains("X-Amz-Signature="),
        "{address}"
    );
    assert!(!address.contains("CANARY"));
    assert_eq!(shop.done("j0")["assets"][0]["key"], "pre/_/j0/0.png");
}

#[test]
fn faults_that_pass_cost_nothing() {
    let s3 = S3::start();
    let shop = Shop::with_receiver();
    shop.jobs(0..2);
    let faults = vec![
        Fault::Answer(BUSY),
        Fault::Reset,
        Fault::LoseAnswer,
        Fault::Answer(BUSY),
    ];
    let address = s3.with(faults, Fault::Work);
    ran(drain(&shop, address, &[])).exits(0);
    for id in ids(0..2) {
        assert_eq!(shop.done(&id)["attempts"], 1);
    }
    shop.receiver.as_ref().unwrap().each_told_once(&ids(0..2), 0);
}

#[test]
fn a_storage_that_refuses_or_is_not_there_costs_no_job() {
    let s3 = S3::start();
    let shop = Shop::with_receiver();
    shop.jobs(0..1);
    let refusing = s3.with(vec![], Fault::Answer(FORBIDDEN));
    let refused = ran(drain(&shop, refusing, &[])).exits(78);
    assert!(!refused.stderr.contains("CANARY"), "{refused:?}");
    assert!(shop.names("dead").is_empty() && shop.receiver.as_ref().unwrap().outcomes().is_empty());
    ran(drain(&shop, s3.address, &[])).exits(0);
    assert_eq!(shop.done("j0")["attempts"], 1);
}
