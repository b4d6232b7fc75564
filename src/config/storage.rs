//! `[storage]`: where a queue's assets go, and how they are named to the receivers of callbacks.

use std::time::Duration;

use anyhow::Result;
use url::Url;

use super::{Section, in_variable, on_or_off, shown};
use crate::config::secret::Secret;
use crate::error::{Error, ErrorKind};

/// The longest that a pre-signed address of S3 can live: seven days.
const LONGEST_PRESIGN: Duration = Duration::from_secs(7 * 24 * 3600);

/// `None` leaves the choice to the usual `AWS_*` variables, or to the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageSettings {
    /// A folder, or `s3://BUCKET/PREFIX`.
    pub url: Option<String>,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// The bucket in the path instead of the host, as MinIO and most other servers want it.
    pub path_style: Option<bool>,
    pub access_key_id: Option<Secret>,
    pub secret_access_key: Option<Secret>,
    /// Begins the addresses in callbacks, followed by the key.
    pub public_url: Option<Url>,
    /// How long pre-signed addresses in callbacks hold; `None`: callbacks hold keys.
    pub presign: Option<Duration>,
    /// Whether a `{index}.thumb.webp` lies beside each asset.
    pub thumbnails: bool,
}

impl StorageSettings {
    pub(super) fn read_file(&mut self, section: &Section<'_, '_>) -> Result<()> {
        section.only(&[
            "url",
            "endpoint",
            "region",
            "path_style",
            "access_key_id",
            "secret_access_key",
            "public_url",
            "presign",
            "thumbnails",
        ])?;
        self.url = section.text("url")?;
        self.endpoint = section.text("endpoint")?;
        self.region = section.text("region")?;
        self.path_style = section.bool("path_style")?;
        self.access_key_id = section.text("access_key_id")?.map(Secret::new);
        self.secret_access_key = section.text("secret_access_key")?.map(Secret::new);
        if let Some(v) = section.text("public_url")? {
            self.public_url = Some(section.checked("public_url", public_url(&v))?);
        }
        if let Some(v) = section.text("presign")? {
            self.presign = Some(section.checked("presign", presign(&v))?);
        }
        self.thumbnails = section.bool("thumbnails")?.unwrap_or_default();
        Ok(())
    }

    pub(super) fn read_env(&mut self, read: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        let text = |name: &str, field: &mut Option<String>| *field = read(name).or(field.take());
        text("OURVIDZ_STORAGE", &mut self.url);
        text("OURVIDZ_STORAGE_ENDPOINT", &mut self.endpoint);
        text("OURVIDZ_STORAGE_REGION", &mut self.region);
        if let Some(v) = read("OURVIDZ_STORAGE_PATH_STYLE") {
            self.path_style = Some(in_variable("OURVIDZ_STORAGE_PATH_STYLE", on_or_off(&v))?);
        }
        if let Some(v) = read("OURVIDZ_STORAGE_PUBLIC_URL") {
            self.public_url = Some(in_variable("OURVIDZ_STORAGE_PUBLIC_URL", public_url(&v))?);
        }
        if let Some(v) = read("OURVIDZ_STORAGE_PRESIGN") {
            self.presign = Some(in_variable("OURVIDZ_STORAGE_PRESIGN", presign(&v))?);
        }
        if let Some(v) = read("OURVIDZ_STORAGE_THUMBNAILS") {
            self.thumbnails = in_variable("OURVIDZ_STORAGE_THUMBNAILS", on_or_off(&v))?;
        }
        Ok(())
    }
}

fn public_url(text: &str) -> Result<Url> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && !url.cannot_be_a_base() => Ok(url),
        _ => Err(Error::new(
            ErrorKind::Config,
            format!("is `{}`; an http or https address is wanted", shown(text)),
        )
        .into()),
    }
}

fn presign(text: &str) -> Result<Duration> {
    match super::duration(text)? {
        time if time.is_zero() || time > LONGEST_PRESIGN => Err(Error::new(
            ErrorKind::Config,
            format!("is `{}`; allowed are 1s to 7d", shown(text)),
        )
        .into()),
        time => Ok(time),
    }
}
