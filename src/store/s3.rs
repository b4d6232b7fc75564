//! Assets in S3 and whatever speaks its language.

use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    Attribute, AttributeValue, Attributes, ClientConfigKey, Error as S3Error, GetOptions, ObjectStore,
    ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
};
use reqwest::Method;
use url::Url;

use super::contract::{Object, Patience, Store, Stored, conflict, public_address};
use super::faults::{Fault, of, raise};
use crate::config::{StorageSettings, shown};
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::files::points::point;
use crate::files::sha256_hex;
use crate::net;

/// User metadata of an object: what it holds, so that sameness is known without reading it.
const SHA256: &str = "sha256";
const PIXELS_SHA256: &str = "pixels-sha256";

/// How long the start looks for a store that does not answer.
const LOOK_TIME: Duration = Duration::from_secs(20);

/// A bucket, or the part of one below a prefix.
#[derive(Debug)]
pub struct S3Store {
    s3: AmazonS3,
    bucket: String,
    /// Empty, or with `/` at its end.
    prefix: String,
    patience: Patience,
    public_url: Option<Url>,
    presign: Option<Duration>,
}

impl S3Store {
    /// `place`: `BUCKET` or `BUCKET/PREFIX`. What `settings` leave open comes from `AWS_*` variables.
    ///
    /// # Errors
    /// `Config` for a place or settings that cannot be.
    pub fn new(place: &str, settings: &StorageSettings, patience: Patience) -> Result<Self> {
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if bucket.is_empty() || !bucket.bytes().all(is_name) {
            fail!(
                Config, "storage `s3://{}`: `{}` is no name of a bucket", shown(place), shown(bucket);
                "write s3://BUCKET/PREFIX"
            );
        }
        let prefix = prefix.trim_matches('/');
        if Path::parse(prefix).is_err() {
            fail!(Config, "storage `s3://{}`: the prefix is no path", shown(place));
        }
        net::prepare_tls();
        let s3 = builder(bucket, settings, patience)
            .build()
            .map_err(|e| Error::new(ErrorKind::Config, format!("storage `s3://{bucket}`: {e}")))?;
        Ok(Self {
            s3,
            bucket: bucket.into(),
            prefix: match prefix {
                "" => String::new(),
                some => format!("{some}/"),
            },
            patience,
            public_url: settings.public_url.clone(),
            presign: settings.presign,
        })
    }

    /// A key with the prefix, as receivers know it.
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn path(&self, full_key: &str) -> Result<Path> {
        match Path::parse(full_key) {
            Ok(path) => Ok(path),
            Err(_) => fail!(
                Internal,
                "storage {}: `{}` is no key",
                self.name(),
                shown(full_key)
            ),
        }
    }

    /// Tries until it works, is refused, or the time is up.
    async fn patiently<T, F>(&self, time: Duration, work: impl Fn() -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, S3Error>>,
    {
        let end = tokio::time::Instant::now() + time;
        let mut pause = Duration::from_millis(100);
        loop {
            let fault = match tokio::time::timeout_at(end, work()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(error)) => of(&error),
                Err(_) => return Err(Fault::Passing(format!("no answer within {} s", time.as_secs()))),
            };
            let next = tokio::time::Instant::now() + pause;
            if !matches!(fault, Fault::Passing(_)) || next >= end {
                return Err(fault);
            }
            tokio::time::sleep_until(next).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    async fn put_mode(
        &self,
        path: &Path,
        bytes: &Bytes,
        attributes: &Attributes,
        mode: PutMode,
    ) -> Result<(), Fault> {
        let put = || {
            let options = PutOptions {
                mode: mode.clone(),
                attributes: attributes.clone(),
                ..PutOptions::default()
            };
            let payload = PutPayload::from_bytes(bytes.clone());
            async move { self.s3.put_opts(path, payload, options).await.map(drop) }
        };
        self.patiently(self.patience.operation, put).await
    }

    /// Creates the object; `false` when something has its key. A server that cannot create
    /// conditionally is asked first and then written to: the best it can do.
    async fn create(&self, path: &Path, object: &Object) -> Result<bool, Fault> {
        let attributes = attributes(object);
        match self
            .put_mode(path, &object.bytes, &attributes, PutMode::Create)
            .await
        {
            Ok(()) => Ok(true),
            Err(Fault::Exists) => Ok(false),
            Err(Fault::NotSupported) => match self.head(path).await {
                Ok(_) => Ok(false),
                Err(Fault::NotFound) => {
                    let put = self.put_mode(path, &object.bytes, &attributes, PutMode::Overwrite);
                    put.await.map(|()| true)
                }
                Err(fault) => Err(fault),
            },
            Err(fault) => Err(fault),
        }
    }

    /// Size and what the metadata says of the content.
    async fn head(&self, path: &Path) -> Result<There, Fault> {
        let head = || async move {
            let options = GetOptions {
                head: true,
                ..GetOptions::default()
            };
            let got = self.s3.get_opts(path, options).await?;
            let text = |name: &'static str| {
                let value = got.attributes.get(&Attribute::Metadata(name.into()))?;
                Some(value.to_string())
            };
            Ok(There {
                size: got.meta.size,
                sha256: text(SHA256),
                pixels_sha256: text(PIXELS_SHA256),
            })
        };
        self.patiently(self.patience.operation, head).await
    }

    /// What lies there, when it holds what `object` does.
    async fn same(&self, path: &Path, object: &Object) -> Result<Option<Stored>, Fault> {
        let there = self.head(path).await?;
        let sha256 = match there.sha256 {
            Some(sha256) => sha256,
            // Somebody else's upload: only its bytes tell.
            None if there.size != object.bytes.len() as u64 => return Ok(None),
            None => {
                let get = || async move { self.s3.get(path).await?.bytes().await };
                sha256_hex(&self.patiently(self.patience.operation, get).await?)
            }
        };
        let same_pixels = object.pixels_sha256.is_some() && object.pixels_sha256 == there.pixels_sha256;
        Ok((sha256 == object.sha256 || same_pixels).then(|| Stored {
            key: path.to_string(),
            sha256,
            size: there.size,
            created: false,
        }))
    }

    async fn put_now(&self, path: &Path, object: &Object) -> Result<Option<Stored>, Fault> {
        // An object that was in the way and has gone since gives way to ours.
        for _ in 0..3 {
            if self.create(path, object).await? {
                return Ok(Some(Stored {
                    key: path.to_string(),
                    sha256: object.sha256.clone(),
                    size: object.bytes.len() as u64,
                    created: true,
                }));
            }
            match self.same(path, object).await {
                Err(Fault::NotFound) => tokio::time::sleep(Duration::from_millis(200)).await,
                other => return other,
            }
        }
        Err(Fault::Passing(
            "an object is in the way and cannot be found".into(),
        ))
    }
}

/// What is known of an object without reading it.
struct There {
    size: u64,
    sha256: Option<String>,
    pixels_sha256: Option<String>,
}

fn builder(bucket: &str, settings: &StorageSettings, patience: Patience) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if let Some(key) = &settings.access_key_id {
        builder = builder.with_access_key_id(key.expose());
    }
    if let Some(key) = &settings.secret_access_key {
        builder = builder.with_secret_access_key(key.expose());
    }
    if let Some(endpoint) = &settings.endpoint {
        // It stands over every variable that names one.
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint.trim_end_matches('/'));
    }
    let endpoint = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]
        .into_iter()
        .find_map(|key| builder.get_config_value(&key));
    if let Some(path_style) = settings.path_style {
        builder = builder.with_virtual_hosted_style_request(!path_style);
    }
    let is_virtual = builder.get_config_value(&AmazonS3ConfigKey::VirtualHostedStyleRequest);
    if let Some(endpoint) = endpoint {
        builder = builder.with_allow_http(endpoint.starts_with("http://"));
        if is_virtual.as_deref() == Some("true")
            && let Some(hosted) = with_bucket(&endpoint, bucket)
        {
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, hosted);
        }
    }
    let timeout = |key, time: Duration| (AmazonS3ConfigKey::Client(key), format!("{} ms", time.as_millis()));
    let connect = patience.request.min(Duration::from_secs(10));
    for (key, value) in [
        timeout(ClientConfigKey::Timeout, patience.request),
        timeout(ClientConfigKey::ConnectTimeout, connect),
    ] {
        builder = builder.with_config(key, value);
    }
    // One loop tries again, ours: it knows the deadline and also covers the conditional put.
    builder.with_retry(RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    })
}

/// An endpoint with the bucket as the first part of its host, unless it is there already.
fn with_bucket(endpoint: &str, bucket: &str) -> Option<String> {
    let mut url = Url::parse(endpoint).ok()?;
    let host = url.host_str()?;
    if host.starts_with(&format!("{bucket}.")) {
        return None;
    }
    let hosted = format!("{bucket}.{host}");
    url.set_host(Some(&hosted)).ok()?;
    Some(url.as_str().trim_end_matches('/').into())
}

fn attributes(object: &Object) -> Attributes {
    let mut attributes = of_type(&object.mime_type);
    let mut put = |name: &'static str, value: &str| {
        attributes.insert(
            Attribute::Metadata(name.into()),
            AttributeValue::from(value.to_string()),
        );
    };
    put(SHA256, &object.sha256);
    if let Some(pixels) = &object.pixels_sha256 {
        put(PIXELS_SHA256, pixels);
    }
    attributes
}

fn of_type(mime_type: &str) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.insert(
        Attribute::ContentType,
        AttributeValue::from(mime_type.to_string()),
    );
    attributes
}

#[async_trait]
impl Store for S3Store {
    async fn put(&self, object: &Object) -> Result<Stored> {
        let path = self.path(&self.full(&object.key))?;
        point("store:before-put");
        let stored = self.put_now(&path, object).await;
        point("store:after-put");
        match stored {
            Ok(Some(stored)) => Ok(stored),
            Ok(None) => Err(conflict(&self.name(), path.as_ref())),
            Err(fault) => Err(raise(&self.name(), fault)),
        }
    }

    async fn replace(&self, key: &str, bytes: Bytes, mime_type: &str) -> Result<String> {
        let path = self.path(&self.full(key))?;
        point("store:before-replace");
        let attributes = of_type(mime_type);
        let put = self.put_mode(&path, &bytes, &attributes, PutMode::Overwrite);
        put.await.map_err(|fault| raise(&self.name(), fault))?;
        point("store:after-replace");
        Ok(path.to_string())
    }

    async fn address(&self, stored_key: &str) -> Result<String> {
        if let Some(base) = &self.public_url {
            return Ok(public_address(base, stored_key));
        }
        let Some(time) = self.presign else {
            return Ok(stored_key.into());
        };
        let path = self.path(stored_key)?;
        match self.s3.signed_url(Method::GET, &path, time).await {
            Ok(url) => Ok(url.into()),
            Err(error) => Err(raise(&self.name(), of(&error))),
        }
    }

    async fn check(&self) -> Result<()> {
        // A name that nothing has: the answer is short, and asks bucket and credentials alike.
        let path = self.path(&self.full("ourvidz-looks-whether-it-may"))?;
        let list = || async { self.s3.list(Some(&path)).try_next().await.map(drop) };
        let time = self.patience.operation.min(LOOK_TIME);
        let looked = self.patiently(time, list).await;
        looked.map_err(|fault| raise(&self.name(), fault))
    }

    fn name(&self) -> String {
        format!("`s3://{}/{}`", self.bucket, self.prefix).replace("/`", "`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::error::kind_of;

    fn settings() -> StorageSettings {
        StorageSettings {
            endpoint: Some("https://s3.example.com/".into()),
            region: Some("eu-west-1".into()),
            access_key_id: Some(Secret::new("AKIDEXAMPLE")),
            secret_access_key: Some(Secret::new("canary")),
            ..StorageSettings::default()
        }
    }

    async fn address(settings: StorageSettings) -> String {
        let store = S3Store::new("bucket/some/prefix/", &settings, Patience::default()).unwrap();
        assert!(!format!("{store:?}").contains("canary"));
        store.address(&store.full("_/a/0.png")).await.unwrap()
    }

    #[tokio::test]
    async fn callbacks_hold_keys_with_the_prefix_unless_addresses_are_asked_for() {
        assert_eq!(address(settings()).await, "some/prefix/_/a/0.png");
        let public = StorageSettings {
            public_url: Some("https://cdn.example.com/x/".parse().unwrap()),
            ..settings()
        };
        assert_eq!(
            address(public).await,
            "https://cdn.example.com/x/some/prefix/_/a/0.png"
        );
    }

    #[tokio::test]
    async fn presigned_addresses_name_the_bucket_in_path_or_host_and_their_time() {
        let presigned = |path_style| StorageSettings {
            presign: Some(Duration::from_secs(86_400)),
            path_style,
            ..settings()
        };
        let url = address(presigned(None)).await;
        assert!(
            url.starts_with("https://s3.example.com/bucket/some/prefix/_/a/0.png?"),
            "{url}"
        );
        assert!(
            url.contains("X-Amz-Expires=86400") && url.contains("eu-west-1"),
            "{url}"
        );
        assert!(
            url.contains("X-Amz-Signature=") && !url.contains("canary"),
            "{url}"
        );
        let url = address(presigned(Some(false))).await;
        assert!(
            url.starts_with("https://bucket.s3.example.com/some/prefix/_/a/0.png?"),
            "{url}"
        );
    }

    #[test]
    fn places_that_are_no_bucket_are_refused() {
        for place in ["", "/a", "a b", "bücket", "a@b/c", "bucket/a//b"] {
            let error = S3Store::new(place, &settings(), Patience::default()).unwrap_err();
            assert_eq!(kind_of(&error).exit_code(), 78, "{place}");
        }
    }
}
