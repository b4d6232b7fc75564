//! What everything that speaks over the network shares.

use std::sync::Once;

use anyhow::{Context, Result};
use reqwest::ClientBuilder;
use tokio::runtime::{Builder, Runtime};

/// Chooses the cryptography of TLS for this process; needed before the first connection of any
/// client. Certificates are those of the system's store, or of `SSL_CERT_FILE`.
pub fn prepare_tls() {
    static CHOSEN: Once = Once::new();
    CHOSEN.call_once(|| {
        // Fails only when the process has chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A runtime for one thread.
///
/// # Errors
/// When the system has no more of what it needs.
pub fn runtime() -> Result<Runtime> {
    let built = Builder::new_current_thread().enable_all().build();
    built.context("the runtime for the network")
}

/// An HTTP client that says who it is and follows no redirect.
pub fn client() -> ClientBuilder {
    prepare_tls();
    reqwest::Client::builder()
        .user_agent(concat!("ourvidz/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
}

/// The innermost cause of an error: outer ones name the address, which may hold a token.
pub fn cause(error: reqwest::Error) -> String {
    use std::error::Error;
    let error = error.without_url();
    let mut innermost: &dyn Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
