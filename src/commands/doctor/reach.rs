//! Whether hosts that the configuration names answer: queue, storage, receivers of callbacks. A
//! connection is opened and closed; nothing is sent. All at once, within [`AT_MOST`].

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use url::{Host, Url};

use crate::config::Settings;
use crate::queue::Place;

/// For all hosts together, names included.
const AT_MOST: Duration = Duration::from_secs(3);

/// A host that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// What it is for.
    pub role: &'static str,
    pub host: String,
    pub port: u16,
}

/// What became of a connection; an error in words.
pub type Answer = Result<(), String>;

/// Every host of the configuration, each once a role. Folders are none.
pub fn remotes(settings: &Settings) -> Vec<Remote> {
    let queue = settings
        .queue
        .url
        .as_deref()
        .and_then(|text| match Place::parse(text) {
            Ok(Place::Redis(url)) => remote("queue", &url, 6379),
            _ => None,
        });
    let callback = settings.callback.url.as_ref();
    let mut all: Vec<Remote> = queue
        .into_iter()
        .chain(storage(settings))
        .chain(callback.and_then(|url| remote("callback", url, 443)))
        .chain(settings.callback.allow_hosts.iter().filter_map(|host| {
            let url = Url::parse(&format!("https://{host}/")).ok()?;
            remote("callback", &url, 443)
        }))
        .collect();
    all.dedup();
    all
}

/// Tries all of them at once; the answers are in their order.
pub fn reach(remotes: Vec<Remote>) -> Vec<(Remote, Answer)> {
    let until = Instant::now() + AT_MOST;
    let waiting: Vec<_> = remotes
        .into_iter()
        .map(|remote| {
            let (told, heard) = channel();
            let (host, port) = (remote.host.clone(), remote.port);
            // A name server that hangs is left behind with its thread.
            std::thread::spawn(move || told.send(connect(&host, port, until)));
            (remote, heard)
        })
        .collect();
    waiting
        .into_iter()
        .map(|(remote, heard)| {
            let left = until.saturating_duration_since(Instant::now());
            let answer = heard.recv_timeout(left);
            let late = || Err(format!("no answer within {} s", AT_MOST.as_secs()));
            (remote, answer.unwrap_or_else(|_| late()))
        })
        .collect()
}

/// Where an `s3://` storage is, as its client finds it.
fn storage(settings: &Settings) -> Option<Remote> {
    let storage = &settings.storage;
    storage.url.as_deref().filter(|url| url.starts_with("s3://"))?;
    let of_environment = |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok());
    let endpoint = storage
        .endpoint
        .clone()
        .or_else(|| of_environment(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]));
    let region = storage
        .region
        .clone()
        .or_else(|| of_environment(&["AWS_REGION", "AWS_DEFAULT_REGION"]))
        .unwrap_or_else(|| "us-east-1".into());
    let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    remote("storage", &Url::parse(&endpoint).ok()?, 443)
}

fn remote(role: &'static str, url: &Url, usual_port: u16) -> Option<Remote> {
    let host = match url.host()? {
        Host::Ipv6(address) => address.to_string(),
        other => other.to_string(),
    };
    let port = url.port_or_known_default().unwrap_or(usual_port);
    Some(Remote { role, host, port })
}

fn connect(host: &str, port: u16, until: Instant) -> Answer {
    let addresses = (host, port)
        .to_socket_addrs()
        .map_err(|e| format!("the name cannot be resolved ({e})"))?;
    let mut answer = Err("the name has no address".into());
    for address in addresses {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(_) => return Ok(()),
            Err(e) => answer = Err(format!("cannot be reached ({e})")),
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn hosts_of_queue_storage_and_callbacks_are_found_without_their_secrets() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().display().to_string();
        let mut settings = Settings::load_with(&|name| match name {
            "OURVIDZ_CONFIG_DIR" | "OURVIDZ_DATA_DIR" | "OURVIDZ_CACHE_DIR" => Some(home.clone()),
            _ => None,
        })
        .unwrap();
        settings.queue.url = Some("rediss://me:s3cret@cache.example.com:7000/1".into());
        settings.storage.url = Some("s3://bucket/prefix".into());
        settings.storage.endpoint = Some("http://[::1]:9000".into());
        settings.callback.url = Some(Url::parse("https://hooks.example.com/x?token=s3cret").unwrap());
        settings.callback.allow_hosts = vec!["hooks.example.com".into(), "other.example.com:8443".into()];
        let found: Vec<String> = remotes(&settings)
            .iter()
            .map(|r| format!("{} {} {}", r.role, r.host, r.port))
            .collect();
        assert_eq!(
            found,
            [
                "queue cache.example.com 7000",
                "storage ::1 9000",
                "callback hooks.example.com 443",
                "callback other.example.com 8443"
            ]
        );
        settings.queue.url = Some("a/folder".into());
        settings.storage.url = Some("another".into());
        assert_eq!(remotes(&settings).len(), 2);
    }

    #[test]
    fn who_listens_is_told_from_who_does_not_in_bounded_time() {
        let here = TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let at = |host: &str, port| Remote {
            role: "queue",
            host: host.into(),
            port,
        };
        let (open, closed) = (port(&here), port(&gone));
        drop(gone);
        let begun = Instant::now();
        // The last address is kept for documentation: nobody answers there.
        let answers = reach(vec![
            at("127.0.0.1", open),
            at("127.0.0.1", closed),
            at("192.0.2.1", 9),
        ]);
        let ok: Vec<bool> = answers.iter().map(|(_, answer)| answer.is_ok()).collect();
        assert_eq!(ok, [true, false, false]);
        assert!(begun.elapsed() < AT_MOST + Duration::from_secs(2));
    }
}
