//! Downloads over HTTPS from public addresses only.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, LOCATION};
use reqwest::{Certificate, Client, Response, StatusCode};
use url::{Host, Url};

use super::address::Policy;
use super::fetched::Limits;
use crate::config::shown;
use crate::error::{Error, ErrorKind};
use crate::files::shown_bytes;
use crate::net;

/// From names to addresses; tests answer for themselves.
#[async_trait]
pub trait Resolve: Send + Sync {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// One download's rules.
pub struct Https {
    pub resolver: Arc<dyn Resolve>,
    pub policy: Policy,
    pub limits: Limits,
    /// Trusted besides the system's authorities.
    pub authorities: Vec<Certificate>,
}

/// What a server said at one address.
enum Said {
    Content(Vec<u8>),
    Elsewhere(Url),
}

impl Https {
    /// Downloads a file. Messages begin with `name`.
    ///
    /// # Errors
    /// As [`super::Fetcher::fetch`].
    pub async fn get(&self, name: &str, address: &str) -> Result<Vec<u8>> {
        let download = self.follow(name, address);
        match tokio::time::timeout(self.limits.time, download).await {
            Ok(done) => done,
            Err(_) => {
                let why = format!("took longer than {} s", self.limits.time.as_secs_f64());
                Err(unavailable(name, &why))
            }
        }
    }

    async fn follow(&self, name: &str, address: &str) -> Result<Vec<u8>> {
        let mut url = match Url::parse(address) {
            Ok(url) => url,
            Err(e) => return Err(failed(name, &format!("is no address ({e})"))),
        };
        for _ in 0..=self.limits.redirects {
            match self.ask(name, &url).await? {
                Said::Content(bytes) => return Ok(bytes),
                Said::Elsewhere(next) => url = next,
            }
        }
        let why = format!("is redirected more than {} times", self.limits.redirects);
        Err(failed(name, &why))
    }

    /// Asks one address, which is checked first whoever named it.
    async fn ask(&self, name: &str, url: &Url) -> Result<Said> {
        let client = self.client(name, url).await?;
        let request = client
            .get(url.clone())
            .header(ACCEPT, "image/png, image/jpeg, image/webp")
            .header(ACCEPT_ENCODING, "identity");
        let response = request.send().await.map_err(|e| unreached(name, e))?;
        let status = response.status();
        if let Some(next) = response.headers().get(LOCATION)
            && status.is_redirection()
        {
            let next = next.to_str().ok().and_then(|next| url.join(next).ok());
            return next
                .map(Said::Elsewhere)
                .ok_or_else(|| failed(name, "is redirected to no address"));
        }
        if status == StatusCode::OK {
            return self.read(name, response).await.map(Said::Content);
        }
        let later = [
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::TOO_EARLY,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        let why = format!("the server answered {status}");
        match status.is_server_error() || later.contains(&status) {
            true => Err(unavailable(name, &why)),
            false => Err(failed(name, &why)),
        }
    }

    /// A client that connects to the checked addresses of this host and to nothing else, whatever
    /// its name means a moment later, and past any proxy.
    async fn client(&self, name: &str, url: &Url) -> Result<Client> {
        if url.scheme() != "https" {
            let why = format!("begins with `{}:`; only https is fetched", shown(url.scheme()));
            return Err(blocked(name, &why));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(blocked(name, "holds a user name or password"));
        }
        let port = url.port_or_known_default().unwrap_or(443);
        let (host, addresses) = match url.host() {
            Some(Host::Domain(host)) => (host.to_string(), self.resolve(name, host).await?),
            Some(Host::Ipv4(v4)) => (v4.to_string(), vec![v4.into()]),
            Some(Host::Ipv6(v6)) => (v6.to_string(), vec![v6.into()]),
            None => return Err(failed(name, "names no host")),
        };
        let addresses: Vec<SocketAddr> = addresses
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect();
        // One forbidden address among good ones is no accident.
        if !addresses.iter().all(|address| self.policy.allows(*address)) {
            return Err(blocked(name, "its host is not on the public internet"));
        }
        let client = net::client()
            .no_proxy()
            .https_only(true)
            .tls_certs_merge(self.authorities.iter().cloned())
            .resolve_to_addrs(&host, &addresses)
            .build();
        client.map_err(|e| failed(name, &net::cause(e)))
    }

    async fn resolve(&self, name: &str, host: &str) -> Result<Vec<IpAddr>> {
        match self.resolver.resolve(host).await {
            Ok(found) if !found.is_empty() => Ok(found),
            // The one kind that may pass has no code of its own in the standard library.
            Err(e) if e.to_string().to_lowercase().contains("temporary failure") => {
                Err(unavailable(name, "its host's name cannot be looked up now"))
            }
            _ => Err(failed(name, "its host's name is not known")),
        }
    }

    /// Reads the body as it comes, up to the limit, whatever length the server claims.
    async fn read(&self, name: &str, mut response: Response) -> Result<Vec<u8>> {
        let headers = response.headers();
        if let Some(encoding) = headers.get(CONTENT_ENCODING)
            && encoding != "identity"
        {
            let encoding = String::from_utf8_lossy(encoding.as_bytes());
            return Err(failed(
                name,
                &format!("comes compressed ({}), which is not asked for", shown(&encoding)),
            ));
        }
        let limit = self.limits.bytes;
        let too_large = || failed(name, &format!("is over the limit of {}", shown_bytes(limit)));
        let claimed = headers
            .get(CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if claimed.is_some_and(|claimed| claimed > limit) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|e| unreached(name, e))? {
            if (bytes.len() + part.len()) as u64 > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }
}

/// A server that cannot be trusted is the job's fault; one that cannot be reached may come back.
fn unreached(name: &str, error: reqwest::Error) -> anyhow::Error {
    let mut cause = error.source();
    while let Some(here) = cause {
        if let Some(tls) = inside::<rustls::Error>(here) {
            return failed(name, &format!("no safe connection to its server ({tls})"));
        }
        cause = here.source();
    }
    unavailable(
        name,
        &format!("its server cannot be reached ({})", net::cause(error)),
    )
}

/// An error of type `T`, or the one that I/O errors wrap: those do not name it as their source.
fn inside<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut here = error;
    while let Some(wrapped) = here.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        here = wrapped;
    }
    here.downcast_ref()
}

pub(super) fn blocked(name: &str, why: &str) -> anyhow::Error {
    Error::new(ErrorKind::FetchBlocked, format!("{name}: {why}"))
        .hint("give an https address that anybody on the internet can open")
        .into()
}

pub(super) fn failed(name: &str, why: &str) -> anyhow::Error {
    Error::new(ErrorKind::FetchFailed, format!("{name}: {why}"))
        .hint("open the address in a browser; it must show one PNG, JPEG or WebP")
        .into()
}

fn unavailable(name: &str, why: &str) -> anyhow::Error {
    Error::new(ErrorKind::Unavailable, format!("{name}: {why}"))
        .hint("try again later")
        .into()
}
