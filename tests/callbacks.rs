//! Callbacks reach receivers that are slow, broken, moved or gone.

use std::sync::Arc;
use std::time::Duration;

use ourvidz::config::{CallbackSettings, Secret};
use ourvidz::outbox::deliver::{Deliverer, Tally};
use ourvidz::outbox::envelope::{Counts, Envelope, OutboxStore, Which, now_ms, webhook_id};
use ourvidz::outbox::folder::FolderOutbox;
use ourvidz::outcome::Status;
use tempfile::TempDir;
use tokio::time::Instant;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// An outbox in a folder, and a receiver.
struct Post {
    folder: TempDir,
    receiver: MockServer,
}

impl Post {
    async fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            receiver: MockServer::start().await,
        }
    }

    fn outbox(&self) -> FolderOutbox {
        FolderOutbox::new(self.folder.path())
    }

    /// A deliverer of its own, as a new process has it.
    fn deliverer(&self) -> Deliverer {
        let settings = CallbackSettings {
            secret: Some(Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
            token: Some(Secret::new("the-token")),
            ..CallbackSettings::default()
        };
        Deliverer::new(Arc::new(self.outbox()), &settings)
            .unwrap()
            .with_try_time(Duration::from_millis(400))
    }

    async fn put(&self, job_id: &str) -> Envelope {
        let id = webhook_id(job_id, "0", Status::Completed, 0);
        let body = format!("{{\n  \"job_id\": \"{job_id}\",\n  \"note\": \"ü \\u0001\"\n}}\n");
        let url = format!("{}/{job_id}?token=canary", self.receiver.uri());
        let envelope = Envelope::new(id, job_id, &url, body, now_ms());
        self.outbox().put(&envelope).await.unwrap();
        envelope
    }

    async fn answer(&self, job_id: &str, times: Option<u64>, answer: ResponseTemplate) {
        let mock = Mock::given(method("POST")).and(path(job_id)).respond_with(answer);
        match times {
            Some(times) => mock.up_to_n_times(times).mount(&self.receiver).await,
            None => mock.mount(&self.receiver).await,
        }
    }

    async fn received(&self) -> Vec<Request> {
        self.receiver.received_requests().await.unwrap()
    }

    async fn round(&self, which: Which) -> Tally {
        let until = Instant::now() + Duration::from_secs(20);
        self.deliverer().round(which, until).await.unwrap()
    }

    async fn counts(&self) -> Counts {
        self.outbox().counts().await.unwrap()
    }

    /// The only envelope, as it is stored.
    fn stored(&self) -> Envelope {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        let [file] = files
            .map(|f| f.unwrap().path())
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
    }
}

fn header(request: &Request, name: &str) -> String {
    request.headers[name].to_str().unwrap().into()
}

/// An outbox on a slow disk: what is delivered is out of it a while before anybody hears of it.
struct Slow(FolderOutbox);

#[async_trait::async_trait]
impl OutboxStore for Slow {
    async fn put(&self, envelope: &Envelope) -> anyhow::Result<()> {
        self.0.put(envelope).await
    }
    async fn claim(&self, which: Which, limit: usize) -> anyhow::Result<Vec<Envelope>> {
        self.0.claim(which, limit).await
    }
    async fn reschedule(&self, envelope: &Envelope) -> anyhow::Result<()> {
        self.0.reschedule(envelope).await
    }
    async fn remove(&self, webhook_id: &str) -> anyhow::Result<()> {
        self.0.remove(webhook_id).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(())
    }
    async fn release(&self, webhook_id: &str) -> anyhow::Result<()> {
        self.0.release(webhook_id).await
    }
    async fn counts(&self) -> anyhow::Result<Counts> {
        self.0.counts().await
    }
}

#[tokio::test]
async fn what_was_delivered_last_is_told_before_delivery_stops() {
    let post = Post::new().await;
    post.answer("/a", None, ResponseTemplate::new(204)).await;
    post.put("a").await;
    let deliverer = Deliverer::new(Arc::new(Slow(post.outbox())), &CallbackSettings::default()).unwrap();
    let nothing_left = async {
        while post.counts().await != Counts::default() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let mut told = Vec::new();
    let told_of = |tried: &ourvidz::outbox::deliver::Tried| told.push(tried.job_id.clone());
    deliverer.run(nothing_left, told_of).await.unwrap();
    assert_eq!(told, ["a"]);
}

#[tokio::test]
async fn every_try_has_the_same_id_and_bytes_and_a_time_of_its_own() {
    let post = Post::new().await;
    post.answer("/a", Some(2), ResponseTemplate::new(500)).await;
    post.answer("/a", None, ResponseTemplate::new(204)).await;
    let envelope = post.put("a").await;
    assert_eq!(post.round(Which::Due(now_ms())).await.failed.len(), 1);
    assert_eq!(
        post.round(Which::Due(now_ms())).await,
        Tally::default(),
        "not due yet"
    );
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(post.round(Which::All(now_ms())).await.failed.len(), 1);
    assert_eq!(post.stored().attempt, 2);
    assert_eq!(post.round(Which::All(now_ms())).await.delivered, ["a"]);
    assert_eq!(post.counts().await, Counts::default());
    let tries = post.received().await;
    assert_eq!(tries.len(), 3);
    for request in &tries {
        assert_eq!(request.body, envelope.body.as_bytes());
        assert_eq!(header(request, "webhook-id"), envelope.webhook_id);
        assert_eq!(header(request, "content-type"), "application/json");
        assert_eq!(header(request, "authorization"), "Bearer the-token");
        assert!(header(request, "webhook-signature").starts_with("v1,"));
        assert_eq!(
            header(request, "x-callback-signature"),
            header(&tries[0], "x-callback-signature")
        );
    }
    let [first, .., last] = tries.as_slice() else {
        panic!("three tries");
    };
    assert_ne!(
        header(first, "webhook-timestamp"),
        header(last, "webhook-timestamp")
    );
    assert_ne!(
        header(first, "webhook-signature"),
        header(last, "webhook-signature")
    );
}

#[tokio::test]
async fn redirects_are_failures_and_are_not_followed() {
    let post = Post::new().await;
    let elsewhere = format!("{}/elsewhere", post.receiver.uri());
    for status in [301, 302, 303, 307, 308] {
        let job = status.to_string();
        let answer = ResponseTemplate::new(status).insert_header("location", elsewhere.as_str());
        post.answer(&format!("/{job}"), None, answer).await;
        post.put(&job).await;
    }
    let tally = post.round(Which::Due(now_ms())).await;
    assert_eq!((tally.failed.len(), tally.delivered.len()), (5, 0));
    assert!(tally.failed.iter().all(|(_, why)| why.contains("not followed")));
    assert!(post.received().await.iter().all(|r| r.url.path() != "/elsewhere"));
}

#[tokio::test]
async fn gone_ends_a_callback_even_for_those_who_try_all() {
    let post = Post::new().await;
    post.answer("/a", None, ResponseTemplate::new(410)).await;
    post.put("a").await;
    assert_eq!(post.round(Which::Due(now_ms())).await.failed.len(), 1);
    assert_eq!(post.round(Which::All(now_ms() + 1)).await, Tally::default());
    assert_eq!(post.received().await.len(), 1);
    assert_eq!((post.counts().await.gone, post.counts().await.waiting), (1, 0));
}

#[tokio::test]
async fn a_busy_receiver_is_left_alone_for_as_long_as_it_asks() {
    for (status, asked, floor_s) in [
        (429, "600", 600),
        (503, "600", 600),
        (500, "600", 4),
        (429, "1", 4),
    ] {
        let post = Post::new().await;
        let answer = ResponseTemplate::new(status).insert_header("retry-after", asked);
        post.answer("/a", None, answer).await;
        post.put("a").await;
        let before = now_ms();
        post.round(Which::Due(now_ms())).await;
        let waits_ms = post.stored().next_at_ms - before;
        assert!(waits_ms >= floor_s * 1000, "{status} {asked}: {waits_ms}");
        assert!(waits_ms < floor_s * 1000 + 4000, "{status} {asked}: {waits_ms}");
    }
}

#[tokio::test]
async fn a_slow_receiver_holds_up_nobody_else_and_no_address_is_shown() {
    let post = Post::new().await;
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(5));
    post.answer("/slow", None, slow).await;
    for job in ["b", "c", "d"] {
        post.answer(&format!("/{job}"), None, ResponseTemplate::new(200))
            .await;
    }
    for job in ["slow", "b", "c", "d"] {
        post.put(job).await;
    }
    let started = Instant::now();
    let tally = post.round(Which::Due(now_ms())).await;
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(tally.delivered.len(), 3);
    assert_eq!(tally.failed, [("slow".into(), "no answer within 0.4 s".into())]);
    drop(post.receiver);
    let nobody = FolderOutbox::new(post.folder.path());
    let counts = nobody.counts().await.unwrap();
    assert_eq!((counts.waiting, counts.given_up), (1, 0));
}

#[tokio::test]
async fn an_unreachable_receiver_is_named_without_its_address() {
    let post = Post::new().await;
    let envelope = Envelope {
        url: "http://127.0.0.1:1/hook?token=canary".into(),
        ..post.put("a").await
    };
    post.outbox().remove(&envelope.webhook_id).await.unwrap();
    post.outbox().put(&envelope).await.unwrap();
    let tally = post.round(Which::Due(now_ms())).await;
    let (_, why) = &tally.failed[0];
    assert!(why.starts_with("cannot be reached"), "{why}");
    assert!(!why.contains("canary"), "{why}");
}

#[tokio::test]
async fn whoever_tries_all_tries_each_once_however_many_there_are() {
    let post = Post::new().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(500))
        .mount(&post.receiver)
        .await;
    for job in 0..40 {
        post.put(&job.to_string()).await;
    }
    assert_eq!(post.round(Which::All(now_ms() + 1)).await.failed.len(), 40);
    assert_eq!(post.received().await.len(), 40);
}

#[tokio::test]
async fn a_round_that_runs_out_of_time_gives_back_what_it_holds() {
    let post = Post::new().await;
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(5));
    post.answer("/a", None, slow).await;
    post.put("a").await;
    let until = Instant::now() + Duration::from_millis(100);
    let patient = post.deliverer().with_try_time(Duration::from_secs(9));
    let tally = patient.round(Which::Due(now_ms()), until).await.unwrap();
    assert_eq!(tally, Tally::default());
    assert_eq!(post.stored().attempt, 0);
    let deliverer = post.deliverer();
    let again = deliverer.round(Which::Due(now_ms()), Instant::now() + Duration::from_secs(9));
    assert_eq!(again.await.unwrap().failed.len(), 1);
}

#[tokio::test]
async fn two_that_deliver_from_one_outbox_send_each_callback_once() {
    let post = Post::new().await;
    let answer = ResponseTemplate::new(200).set_delay(Duration::from_millis(50));
    Mock::given(method("POST"))
        .respond_with(answer)
        .mount(&post.receiver)
        .await;
    for job in 0..20 {
        post.put(&job.to_string()).await;
    }
    let now = now_ms();
    let (one, other) = tokio::join!(post.round(Which::Due(now)), post.round(Which::Due(now)));
    assert_eq!(one.delivered.len() + other.delivered.len(), 20);
    assert_eq!(post.received().await.len(), 20);
}

#[tokio::test]
async fn a_running_deliverer_sends_what_it_is_told_of_and_tries_again_in_time() {
    let post = Post::new().await;
    post.answer("/a", Some(1), ResponseTemplate::new(502)).await;
    post.answer("/a", None, ResponseTemplate::new(200)).await;
    let deliverer = post.deliverer();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let runner = deliverer.clone();
    let running = tokio::spawn(async move {
        let mut told = Vec::new();
        let stop = async { drop(stopped.await) };
        runner
            .run(stop, |tried| told.push(tried.failed.is_none()))
            .await
            .unwrap();
        told
    });
    post.put("a").await;
    deliverer.wake();
    let started = Instant::now();
    while post.counts().await.waiting > 0 {
        assert!(
            started.elapsed() < Duration::from_secs(9),
            "the second try comes after 4 to 6 s"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(started.elapsed() > Duration::from_secs(3));
    stop.send(()).unwrap();
    assert_eq!(running.await.unwrap(), [false, true]);
}

#[tokio::test]
async fn a_passing_message_is_tried_once_and_stored_nowhere() {
    let post = Post::new().await;
    post.answer("/a", None, ResponseTemplate::new(500)).await;
    let url = format!("{}/a", post.receiver.uri());
    let why = post.deliverer().send_once(&url, "{}").await.unwrap();
    assert!(why.contains("500"), "{why}");
    assert_eq!(post.received().await.len(), 1);
    assert_eq!(post.counts().await, Counts::default());
}
