//! References by `https:` and `data:`: what may be fetched, from where, and how much of it.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ourvidz::error::{ErrorKind, hint_of, kind_of};
use ourvidz::fetch::{Cache, Fetched, Fetcher, Limits, Policy, Resolve};
use reqwest::Certificate;
use tempfile::TempDir;

use crate::https_server::{Answer, Server, tls_folder};

/// Answers each question about a host with the next of its lists, the last one again and again.
#[derive(Default)]
struct Names(Mutex<HashMap<&'static str, Vec<Vec<IpAddr>>>>);

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().unwrap();
        let Some(answers) = names.get_mut(host) else {
            return Err(io::Error::other(
                "failed to lookup address information: Name or service not known",
            ));
        };
        Ok(match answers.len() {
            1 => answers[0].clone(),
            _ => answers.remove(0),
        })
    }
}

/// A fetcher that may ask the test's server, and names that lead to it or elsewhere.
struct Bench {
    folder: TempDir,
    server: Server,
    fetcher: Fetcher,
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Bench {
    async fn new(answers: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::with_limits(Limits::default(), answers).await
    }

    async fn with_limits(limits: Limits, answers: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let folder = TempDir::new().unwrap();
        let server = Server::start(answers).await;
        let here = ip("127.0.0.1");
        let names = Names::default();
        names.0.lock().unwrap().extend([
            ("example.test", vec![vec![here]]),
            ("private.example.test", vec![vec![ip("10.0.0.1")]]),
            ("metadata.example.test", vec![vec![ip("::ffff:169.254.169.254")]]),
            ("half.example.test", vec![vec![here, ip("192.168.0.1")]]),
            ("rebinding.example.test", vec![vec![here], vec![ip("10.0.0.1")]]),
            ("untrusted.test", vec![vec![here]]),
        ]);
        let authority = std::fs::read(tls_folder().join("authority.pem")).unwrap();
        let fetcher = Fetcher::new(
            Cache::new(folder.path().join("cache"), 1 << 30),
            Arc::new(names),
            Policy::with(vec![server.address]),
            limits,
        )
        .trusting(Certificate::from_pem(&authority).unwrap());
        Self {
            folder,
            server,
            fetcher,
        }
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.server.address.port())
    }

    async fn fetch(&self, reference: &str) -> anyhow::Result<Fetched> {
        self.fetcher.fetch("config.image", reference).await
    }

    #[track_caller]
    fn asked(&self, times: usize) {
        assert_eq!(self.server.requests.lock().unwrap().len(), times);
    }
}

/// The kind of a failure, whose message names the field and never a query.
#[track_caller]
fn failure(result: anyhow::Result<Fetched>, says: &str) -> ErrorKind {
    let error = result.unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("config.image") && text.contains(says), "{text}");
    assert!(!text.contains("CANARY"), "{text}");
    assert!(hint_of(&error).is_some(), "{text}");
    kind_of(&error)
}

fn png() -> Vec<u8> {
    picture(image::ImageFormat::Png)
}

fn picture(format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = io::Cursor::new(Vec::new());
    let pixels = image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8 * 20, y as u8 * 20, 99]));
    pixels.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[tokio::test]
async fn a_picture_is_fetched_whole_once_a_job_and_kept_by_its_digest() {
    let bench = Bench::new(|_| Answer::body(&png())).await;
    let url = bench.url("example.test", "/a.png?token=CANARY");
    let references = [
        ("config.image".to_string(), url.as_str()),
        ("config.last_frame".into(), &url),
    ];
    let fetched = bench.fetcher.fetch_all(references).await.unwrap();
    bench.asked(1);
    let one = &fetched[&url];
    assert_eq!(std::fs::read(&one.path).unwrap(), png());
    assert_eq!(one.path, bench.folder.path().join("cache").join(&one.sha256));
    assert_eq!(one.bytes, png().len() as u64);
    // Another job asks again: what the address shows may have changed.
    assert_eq!(&bench.fetch(&url).await.unwrap(), one);
    bench.asked(2);
    let head = bench.server.requests.lock().unwrap()[0].to_lowercase();
    assert!(
        head.contains("accept-encoding: identity") && head.contains("user-agent: ourvidz/"),
        "{head}"
    );
    assert!(!head.contains("referer") && !head.contains("cookie"), "{head}");
}

#[tokio::test]
async fn every_type_is_told_by_its_content() {
    for format in [
        image::ImageFormat::Png,
        image::ImageFormat::Jpeg,
        image::ImageFormat::WebP,
    ] {
        let bench = Bench::new(move |_| Answer::body(&picture(format))).await;
        bench.fetch(&bench.url("example.test", "/picture")).await.unwrap();
    }
    for (body, says) in [
        (&b"<!DOCTYPE html><html></html>"[..], "HTML"),
        (b"GIF89a", "not a PNG, JPEG or WebP"),
        (b"", "empty"),
        (&picture(image::ImageFormat::Jpeg)[..200], "truncated"),
    ] {
        let body = body.to_vec();
        let bench = Bench::new(move |_| Answer::body(&body)).await;
        let result = bench.fetch(&bench.url("example.test", "/a.png")).await;
        assert_eq!(failure(result, says), ErrorKind::FetchFailed);
        assert!(!bench.folder.path().join("cache").exists(), "nothing bad is kept");
    }
}

#[tokio::test]
async fn a_picture_that_would_fill_the_memory_is_refused_by_its_header() {
    let mut huge = png();
    huge[16..24].copy_from_slice(&[0, 0, 0x9c, 0x40, 0, 0, 0x9c, 0x40]);
    let mut crc = flate2::Crc::new();
    crc.update(&huge[12..29]);
    huge[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    let bench = Bench::new(move |_| Answer::body(&huge)).await;
    let result = bench.fetch(&bench.url("example.test", "/a.png")).await;
    assert_eq!(failure(result, "40000x40000"), ErrorKind::FetchFailed);
}

#[tokio::test]
async fn other_schemes_users_and_private_hosts_are_blocked_before_anybody_is_asked() {
    let bench = Bench::new(|_| Answer::body(&png())).await;
    let port = bench.server.address.port();
    for reference in [
        "http://example.test/a.png".into(),
        "file:///etc/passwd".into(),
        "ftp://example.test/a.png".into(),
        format!("https://user@example.test:{port}/"),
        format!("https://user:CANARY@example.test:{port}/"),
        format!("https://private.example.test:{port}/"),
        format!("https://metadata.example.test:{port}/"),
        format!("https://half.example.test:{port}/"),
        "https://127.0.0.1/".into(),
        "https://2130706433/".into(),
        "https://0x7f000001/".into(),
        "https://0177.0.0.1/".into(),
        "https://127.1/".into(),
        "https://0/".into(),
        "https://①②⑦.⓪.⓪.①/".into(),
        "https://１６９.254.169.254/latest/meta-data".into(),
        "https://[::1]/".into(),
        "https://[::ffff:169.254.169.254]/".into(),
        "https://[64:ff9b::7f00:1]/".into(),
        "https://[fe80::1]/".into(),
        "https://localhost.:1/".into(),
    ] {
        let reference: String = reference;
        let result = bench.fetch(&reference).await;
        let kind = failure(result, "");
        // A name that only the system knows is not known to this test's resolver.
        let expected = match reference.contains("localhost") {
            true => ErrorKind::FetchFailed,
            false => ErrorKind::FetchBlocked,
        };
        assert_eq!(kind, expected, "{reference}");
    }
    bench.asked(0);
}

#[tokio::test]
async fn the_system_resolver_and_a_release_policy_block_this_machine() {
    let folder = TempDir::new().unwrap();
    let fetcher = Fetcher::new(
        Cache::new(folder.path(), 1 << 30),
        Arc::new(ourvidz::fetch::SystemResolver),
        Policy::default(),
        Limits::default(),
    );
    for host in ["localhost", "LOCALHOST", "127.0.0.1"] {
        let result = fetcher
            .fetch("config.image", &format!("https://{host}/a.png"))
            .await;
        assert_eq!(failure(result, "public"), ErrorKind::FetchBlocked);
    }
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_the_checked_address_is_the_one_that_is_asked() {
    let bench = Bench::new(|_| Answer::body(&png())).await;
    bench
        .fetch(&bench.url("rebinding.example.test", "/"))
        .await
        .unwrap();
    let again = bench.fetch(&bench.url("rebinding.example.test", "/")).await;
    assert_eq!(failure(again, "public"), ErrorKind::FetchBlocked);
    bench.asked(1);
}

#[tokio::test]
async fn three_redirects_are_followed_and_each_is_checked() {
    let bench = Bench::new(|path| match path {
        "/3" => Answer::redirect("2"),
        "/2" => Answer::redirect("/1"),
        "/1" => Answer::redirect("/picture"),
        "/4" => Answer::redirect("/3"),
        "/private" => Answer::redirect("https://private.example.test/"),
        "/literal" => Answer::redirect("https://[::1]/"),
        "/plain" => Answer::redirect("http://example.test/"),
        "/file" => Answer::redirect("file:///etc/passwd"),
        "/user" => Answer::redirect("https://a:b@example.test/"),
        _ => Answer::body(&png()),
    })
    .await;
    bench.fetch(&bench.url("example.test", "/3")).await.unwrap();
    let result = bench.fetch(&bench.url("example.test", "/4")).await;
    assert_eq!(failure(result, "more than 3"), ErrorKind::FetchFailed);
    bench.asked(8);
    for path in ["/private", "/literal", "/plain", "/file", "/user"] {
        let result = bench.fetch(&bench.url("example.test", path)).await;
        assert_eq!(failure(result, ""), ErrorKind::FetchBlocked, "{path}");
    }
}

#[tokio::test]
async fn missing_pictures_are_the_jobs_fault_and_broken_servers_are_not() {
    for (status, kind) in [
        ("404 Not Found", ErrorKind::FetchFailed),
        ("410 Gone", ErrorKind::FetchFailed),
        ("403 Forbidden", ErrorKind::FetchFailed),
        ("204 No Content", ErrorKind::FetchFailed),
        ("304 Not Modified", ErrorKind::FetchFailed),
        ("500 Internal Server Error", ErrorKind::Unavailable),
        ("503 Service Unavailable", ErrorKind::Unavailable),
        ("429 Too Many Requests", ErrorKind::Unavailable),
    ] {
        let bench = Bench::new(move |_| Answer::with(status, "", b"")).await;
        let result = bench.fetch(&bench.url("example.test", "/?CANARY")).await;
        assert_eq!(failure(result, &status[..3]), kind);
    }
    assert!(ErrorKind::Unavailable.retryable() && !ErrorKind::FetchFailed.retryable());
    let bench = Bench::new(|_| Answer::body(&png())).await;
    let result = bench.fetch(&bench.url("unknown.test", "/")).await;
    assert_eq!(failure(result, "not known"), ErrorKind::FetchFailed);
    let result = bench.fetch(&bench.url("untrusted.test", "/")).await;
    assert_eq!(failure(result, "no safe connection"), ErrorKind::FetchFailed);
}

#[tokio::test]
async fn bodies_of_any_claimed_length_end_at_the_limit() {
    let limits = Limits {
        bytes: 100_000,
        ..Limits::default()
    };
    let bench = Bench::with_limits(limits, |path| match path {
        "/claimed" => Answer::body(&vec![0; 100_001]),
        "/endless" => Answer::Endless(
            b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec(),
            vec![0; 1000],
            Duration::ZERO,
        ),
        "/chunked" => Answer::Endless(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
            [b"3e8\r\n".to_vec(), vec![0; 1000], b"\r\n".to_vec()].concat(),
            Duration::ZERO,
        ),
        _ => Answer::body(&png()),
    })
    .await;
    bench.fetch(&bench.url("example.test", "/")).await.unwrap();
    for path in ["/claimed", "/endless", "/chunked"] {
        let result = bench.fetch(&bench.url("example.test", path)).await;
        assert_eq!(
            failure(result, "over the limit"),
            ErrorKind::FetchFailed,
            "{path}"
        );
    }
}

#[tokio::test]
async fn compressed_answers_are_refused_and_never_unpacked() {
    for encoding in ["gzip", "br", "deflate, gzip"] {
        let header = format!("content-encoding: {encoding}\r\n");
        let bench = Bench::new(move |_| Answer::with("200 OK", &header, &[0x1f, 0x8b, 8, 0])).await;
        let result = bench.fetch(&bench.url("example.test", "/")).await;
        assert_eq!(failure(result, "compressed"), ErrorKind::FetchFailed);
    }
}

#[tokio::test]
async fn a_slow_drip_ends_with_the_time() {
    let limits = Limits {
        time: Duration::from_millis(600),
        ..Limits::default()
    };
    let bench = Bench::with_limits(limits, |_| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".to_vec();
        Answer::Endless(head, vec![0], Duration::from_millis(20))
    })
    .await;
    let started = Instant::now();
    let result = bench.fetch(&bench.url("example.test", "/")).await;
    assert_eq!(failure(result, "longer than 0.6 s"), ErrorKind::Unavailable);
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn data_addresses_hold_pictures_and_nothing_of_them_is_shown() {
    use base64::Engine;
    let bench = Bench::new(|_| Answer::body(&png())).await;
    let encoded = base64::engine::general_purpose::STANDARD.encode(png());
    for kind in ["image/png", "text/html", ""] {
        let fetched = bench
            .fetch(&format!("data:{kind};base64,{encoded}"))
            .await
            .unwrap();
        assert_eq!(std::fs::read(&fetched.path).unwrap(), png());
    }
    for (reference, says) in [
        ("data:image/png;base64,CANARY!", "Base64"),
        ("data:text/html,<html>CANARY", "HTML"),
        ("data:image/png", "comma"),
    ] {
        assert_eq!(
            failure(bench.fetch(reference).await, says),
            ErrorKind::FetchFailed
        );
    }
    let large = format!("data:;base64,{}", "A".repeat(13_400_000));
    assert_eq!(
        failure(bench.fetch(&large).await, "10 MB"),
        ErrorKind::FetchFailed
    );
    bench.asked(0);
}
