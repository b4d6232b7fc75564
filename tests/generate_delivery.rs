//! `generate` and the network: callbacks that are posted, references that are fetched.

use std::process::Command;

use base64::Engine;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::harness::{Bench, Ran};
use crate::https_server::{Answer, Server, tls_folder};
use crate::parity_models::data;
use crate::parity_wan::vace_folder;

/// Runs the command to its end beside the test's servers.
async fn run(mut command: Command) -> Ran {
    let run = move || {
        let output = command.output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn generate(bench: &Bench, more: &[&str]) -> Command {
    let mut command = bench.command(&["generate", "a red circle", "-s", "7"]);
    command.args(more).env("OURVIDZ_DATA_DIR", bench.path("data"));
    command
}

async fn receiver(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    let mock = Mock::given(method("POST")).and(path("/hook"));
    mock.respond_with(answer).mount(&server).await;
    server
}

async fn received(server: &MockServer) -> Vec<Request> {
    server.received_requests().await.unwrap()
}

fn statuses(requests: &[Request]) -> Vec<String> {
    requests
        .iter()
        .map(|r| {
            serde_json::from_slice::<Value>(&r.body).unwrap()["status"]
                .as_str()
                .unwrap()
                .into()
        })
        .collect()
}

/// The outbox's envelopes.
fn waiting(bench: &Bench) -> Vec<(String, Value)> {
    let names = bench
        .files()
        .into_iter()
        .filter(|name| name.starts_with("data/outbox/"));
    names.map(|name| (name.clone(), bench.json(&name))).collect()
}

#[tokio::test]
async fn a_run_tells_its_beginning_and_its_end_before_it_exits() {
    let bench = Bench::new();
    let server = receiver(ResponseTemplate::new(200)).await;
    let url = format!("{}/hook", server.uri());
    for _ in 0..2 {
        let mut command = generate(
            &bench,
            &["-o", "a.png", "--callback", "told.json", "--callback-url", &url],
        );
        command.env("OURVIDZ_WEBHOOK_SECRET", "raw-CANARY");
        run(command).await.exits(0);
    }
    let requests = received(&server).await;
    assert_eq!(
        statuses(&requests),
        ["processing", "completed", "processing", "completed"]
    );
    let body: Value = serde_json::from_slice(&requests[3].body).unwrap();
    assert_eq!(body, bench.json("told.json"));
    assert_eq!(body["assets"], json!(["a.png"]));
    assert!(
        requests
            .iter()
            .all(|r| r.headers.contains_key("webhook-signature"))
    );
    assert!(waiting(&bench).is_empty());
}

#[tokio::test]
async fn the_id_of_a_callback_is_fixed_by_job_and_outcome() {
    let bench = Bench::new();
    let server = receiver(ResponseTemplate::new(200)).await;
    let url = format!("{}/hook", server.uri());
    bench.write("job.yaml", "{id: j1, prompt: a star, seed: 3}");
    for _ in 0..2 {
        let mut command = bench.command(&["generate", "job.yaml", "--callback-url", &url]);
        command.env("OURVIDZ_DATA_DIR", bench.path("data"));
        run(command).await.exits(0);
    }
    let requests = received(&server).await;
    let id = |at: usize| requests[at].headers["webhook-id"].to_str().unwrap().to_string();
    // The second run begins nothing anew: its result stands.
    assert_eq!(statuses(&requests), ["processing", "completed", "completed"]);
    assert_eq!(id(1), id(2));
    assert_ne!(id(0), id(1));
}

#[tokio::test]
async fn what_was_not_delivered_waits_and_the_next_run_sends_the_same_bytes() {
    let bench = Bench::new();
    let server = receiver(ResponseTemplate::new(503).insert_header("retry-after", "60")).await;
    let url = format!("{}/hook?token=CANARY", server.uri());
    let mut command = generate(&bench, &["-o", "a.png", "-v", "--callback-url", &url]);
    command
        .env("OURVIDZ_WEBHOOK_SECRET", "secret-CANARY")
        .env("OURVIDZ_CALLBACK_TOKEN", "token-CANARY");
    let ran = run(command)
        .await
        .exits(0)
        .says(&["not delivered", "503", "outbox"]);
    assert!(
        !ran.stderr.contains("CANARY") && !ran.stdout.contains("CANARY"),
        "{ran:?}"
    );
    let [(name, stored)] = waiting(&bench).try_into().unwrap();
    assert_eq!(
        (&stored["attempt"], &stored["state"]),
        (&json!(1), &json!("waiting"))
    );
    assert!(!stored.to_string().contains("secret-CANARY") && !stored.to_string().contains("token-CANARY"));

    server.reset().await;
    let mock = Mock::given(method("POST")).and(path("/hook"));
    mock.respond_with(ResponseTemplate::new(200)).mount(&server).await;
    // A minute later.
    let mut due = stored.clone();
    due["next_at_ms"] = json!(1);
    bench.write(&name, &due.to_string());
    run(generate(&bench, &["-o", "b.png"])).await.exits(0);
    let requests = received(&server).await;
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].body, stored["body"].as_str().unwrap().as_bytes());
    assert_eq!(
        requests[0].headers["webhook-id"].to_str().unwrap(),
        stored["webhook_id"]
    );
    assert!(waiting(&bench).is_empty());
}

#[tokio::test]
async fn a_receiver_that_stumbles_once_is_tried_again_before_the_run_ends() {
    let bench = Bench::new();
    let server = MockServer::start().await;
    let completed = |r: &Request| String::from_utf8_lossy(&r.body).contains("\"completed\"");
    Mock::given(completed)
        .respond_with(ResponseTemplate::new(500))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    run(generate(
        &bench,
        &["-o", "a.png", "--callback-url", &server.uri()],
    ))
    .await
    .exits(0);
    assert_eq!(
        statuses(&received(&server).await),
        ["processing", "completed", "completed"]
    );
    assert!(waiting(&bench).is_empty());
}

#[tokio::test]
async fn a_receiver_that_is_gone_and_one_that_another_process_asks_hold_nothing_up() {
    let bench = Bench::new();
    let gone = receiver(ResponseTemplate::new(410)).await;
    let url = format!("{}/hook", gone.uri());
    let started = std::time::Instant::now();
    run(generate(&bench, &["-o", "a.png", "--callback-url", &url]))
        .await
        .exits(0)
        .says(&["410"]);
    assert!(started.elapsed().as_secs() < 8, "{:?}", started.elapsed());
    assert_eq!(waiting(&bench)[0].1["state"], "gone");
    // Many at once share one outbox, and each callback goes out once.
    let busy = receiver(ResponseTemplate::new(200).set_delay(std::time::Duration::from_millis(300))).await;
    let url = format!("{}/hook", busy.uri());
    let names: Vec<String> = (0..4).map(|i| format!("b{i}.png")).collect();
    let runs = names
        .iter()
        .map(|name| run(generate(&bench, &["-o", name, "--callback-url", &url])));
    for ran in futures::future::join_all(runs).await {
        ran.exits(0);
    }
    let completed = statuses(&received(&busy).await)
        .iter()
        .filter(|s| *s == "completed")
        .count();
    assert_eq!(completed, 4);
}

#[tokio::test]
async fn an_unreachable_receiver_changes_no_exit_code() {
    let bench = Bench::new();
    let url = "http://127.0.0.1:1/hook";
    run(generate(&bench, &["-o", "a.png", "--callback-url", url]))
        .await
        .exits(0)
        .says(&["not delivered", "cannot be reached"]);
    assert_eq!(waiting(&bench).len(), 1);
    for (wrong, says) in [
        ("ftp://x/", "ftp"),
        ("nonsense", "--callback-url"),
        ("https://u:CANARY@x/", "password"),
    ] {
        let ran = run(generate(&bench, &["-o", "b.png", "--callback-url", wrong]))
            .await
            .exits(2);
        assert!(
            ran.stderr.contains(says) && !ran.stderr.contains("CANARY"),
            "{ran:?}"
        );
    }
    let mut command = generate(&bench, &["-o", "b.png", "--callback-url", url]);
    command.env("OURVIDZ_WEBHOOK_SECRET", "whsec_no base64");
    run(command).await.exits(78);
    assert!(!bench.path("b.png").exists(), "known before any work");
}

#[tokio::test]
async fn a_jobs_own_address_is_used_where_its_host_is_allowed_and_noted_otherwise() {
    let server = receiver(ResponseTemplate::new(200)).await;
    let spec = format!(
        "{{id: j1, prompt: a star, seed: 3, callback_url: '{}/hook'}}",
        server.uri()
    );
    let bench = Bench::new();
    bench.write("job.yaml", &spec);
    let job = |bench: &Bench| {
        let mut command = bench.command(&["generate", "job.yaml", "-o", "out/", "--callback", "told.json"]);
        command.env("OURVIDZ_DATA_DIR", bench.path("data"));
        command
    };
    run(job(&bench)).await.exits(0);
    assert!(received(&server).await.is_empty());
    let told = bench.json("told.json");
    assert!(
        told["metadata"]["notes"]
            .to_string()
            .contains("callback_url is ignored"),
        "{told}"
    );
    assert!(
        told["metadata"]["ignored"].to_string().contains("callback_url"),
        "{told}"
    );
    let bench = Bench::new();
    bench.write("job.yaml", &spec);
    let mut command = job(&bench);
    command.env("OURVIDZ_CALLBACK_ALLOW_HOSTS", "127.0.0.1");
    run(command).await.exits(0);
    assert_eq!(statuses(&received(&server).await), ["processing", "completed"]);
}

#[tokio::test]
async fn a_refused_job_is_told_and_never_over_a_finished_one() {
    let bench = Bench::new();
    let server = receiver(ResponseTemplate::new(200)).await;
    let url = format!("{}/hook", server.uri());
    let run_spec = async |spec: &str, code| {
        bench.write("job.yaml", spec);
        let mut command = bench.command(&["generate", "job.yaml", "--callback-url", &url]);
        command.env("OURVIDZ_DATA_DIR", bench.path("data"));
        run(command).await.exits(code);
    };
    run_spec("{id: bad, prompt: a star, model: nobodys}", 66).await;
    let requests = received(&server).await;
    assert_eq!(statuses(&requests), ["failed"]);
    let body: Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(body["metadata"]["error"]["code"], "input_missing");
    run_spec("{id: good, prompt: a star, seed: 3}", 0).await;
    run_spec("{id: good, prompt: a star, model: nobodys}", 66).await;
    run_spec("{id: good, prompt: another, seed: 3}", 65).await;
    assert_eq!(
        statuses(&received(&server).await),
        ["failed", "processing", "completed"]
    );
}

/// A small job on a model that follows pictures; its first frame is `reference`.
fn video(bench: &Bench, model: &std::path::Path, reference: &str, out: &str) -> Command {
    let mut command = generate(
        bench,
        &[
            "--frames",
            "5",
            "-W",
            "64",
            "-H",
            "96",
            "--steps",
            "1",
            "--no-auto-negative",
            "--format",
            "png-frames",
            "-o",
            out,
            "--callback",
            "told.json",
            "--first-frame",
            reference,
            "-m",
        ],
    );
    command
        .arg(model)
        .env("SSL_CERT_FILE", tls_folder().join("authority.pem"));
    command
}

#[tokio::test]
async fn references_by_https_and_data_are_the_same_as_files_and_their_digest_is_told() {
    let model = vace_folder();
    std::fs::copy(
        data("wan/model_index.json"),
        model.path().join("model_index.json"),
    )
    .unwrap();
    let file = data("wan/pipeline/first.png");
    let bytes = std::fs::read(&file).unwrap();
    let answer = Answer::body(&bytes);
    let server = Server::start(move |path| match path {
        "/redirect" => Answer::redirect("/first.png"),
        _ => answer.clone(),
    })
    .await;
    let port = server.address.port();
    let sha256 = ourvidz::files::sha256_hex(&bytes);
    let mut seen = Vec::new();
    let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
    for reference in [
        file.display().to_string(),
        format!("https://localhost:{port}/redirect?token=CANARY"),
        format!("data:image/png;base64,{encoded}"),
    ] {
        let bench = Bench::new();
        let mut command = video(&bench, model.path(), &reference, "out/");
        command.env("OURVIDZ_TEST_FETCH_ALLOW", server.address.to_string());
        let ran = run(command).await.exits(0);
        assert!(!ran.stderr.contains("CANARY"), "{ran:?}");
        let told = bench.json("told.json");
        let references = &told["metadata"]["manifest"]["references"];
        assert_eq!(references[0]["sha256"], json!(sha256), "{told}");
        seen.push(told["metadata"]["manifest"]["outputs"].clone());
    }
    assert!(seen[0].is_array() && seen.iter().all(|outputs| *outputs == seen[0]));
}

#[tokio::test]
async fn a_reference_that_may_not_or_cannot_be_fetched_ends_its_job_with_the_right_code() {
    let model = vace_folder();
    std::fs::copy(
        data("wan/model_index.json"),
        model.path().join("model_index.json"),
    )
    .unwrap();
    let server = Server::start(|path| match path {
        "/missing" => Answer::with("404 Not Found", "", b""),
        "/page.png" => Answer::body(b"<html></html>"),
        "/busy" => Answer::with("503 Busy", "", b""),
        _ => Answer::redirect("https://169.254.169.254/latest"),
    })
    .await;
    let port = server.address.port();
    for (reference, allowed, exit, code) in [
        (
            format!("https://localhost:{port}/missing"),
            true,
            66,
            "fetch_failed",
        ),
        (
            format!("https://localhost:{port}/page.png"),
            true,
            66,
            "fetch_failed",
        ),
        (format!("https://localhost:{port}/busy"), true, 69, "unavailable"),
        (
            format!("https://localhost:{port}/redirect"),
            true,
            66,
            "fetch_blocked",
        ),
        (
            format!("https://localhost:{port}/missing"),
            false,
            66,
            "fetch_blocked",
        ),
        ("https://2130706433/".into(), false, 66, "fetch_blocked"),
        ("http://example.com/a.png".into(), false, 66, "fetch_blocked"),
        ("file:///etc/passwd".into(), false, 66, "fetch_blocked"),
        ("data:image/png;base64,AAAA".into(), false, 66, "fetch_failed"),
    ] {
        let bench = Bench::new();
        let mut command = video(&bench, model.path(), &reference, "out/");
        if allowed {
            command.env("OURVIDZ_TEST_FETCH_ALLOW", server.address.to_string());
        }
        run(command).await.exits(exit).says(&["config.first_frame"]);
        let told = bench.json("told.json");
        assert_eq!(told["metadata"]["error"]["code"], code, "{reference}: {told}");
    }
}
