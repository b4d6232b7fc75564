//! `[storage]`: where a queue's assets go, and how they are named to the receivers of callbacks.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use url::Url;

use super::values::{in_variable, on_or_off, shown};

use super::toml_file::Section;
use crate::config::secret::{Secret, read_by_others};
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
    /// What the user should know: a configuration with a secret that others can read.
    pub warnings: Vec<String>,
}

impl StorageSettings {
    pub(super) fn read_file(&mut self, section: &Section<'_, '_>, file: &Path) -> Result<()> {
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
        if self.secret_access_key.is_some() {
            self.warnings.extend(read_by_others(file));
        }
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
    match super::duration::duration(text)? {
        time if time.is_zero() || time > LONGEST_PRESIGN => Err(Error::new(
            ErrorKind::Config,
            format!("is `{}`; allowed are 1s to 7d", shown(text)),
        )
        .into()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn storage(file: &str, variables: &[(&str, &str)]) -> Result<Settings> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), file).unwrap();
        let home = folder.path().display().to_string();
        Settings::load_with(&|name| match name {
            "OURVIDZ_CONFIG_DIR" | "OURVIDZ_CACHE_DIR" => Some(home.clone()),
            _ => variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.to_string()),
        })
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let file = "[storage]\nurl = \"s3://a/b\"\nregion = \"r\"\npath_style = false\npresign = \"24h\"\n\
                    thumbnails = true\nsecret_access_key = \"canary\"\n";
        let settings = storage(file, &[]).unwrap();
        let read = &settings.storage;
        assert_eq!(
            (read.url.as_deref(), read.region.as_deref()),
            (Some("s3://a/b"), Some("r"))
        );
        assert_eq!((read.path_style, read.thumbnails), (Some(false), true));
        assert_eq!(read.presign, Some(Duration::from_secs(86_400)));
        assert!(!format!("{settings:?}").contains("canary"));
        #[cfg(unix)]
        assert!(
            settings
                .warnings()
                .any(|w| w.contains("config.toml") && w.contains("chmod 600"))
        );
        let env = [
            ("OURVIDZ_STORAGE", "out"),
            ("OURVIDZ_STORAGE_PRESIGN", "7d"),
            ("OURVIDZ_STORAGE_THUMBNAILS", "0"),
            ("OURVIDZ_STORAGE_PUBLIC_URL", "https://cdn.example.com/x"),
        ];
        let read = storage(file, &env).unwrap().storage;
        assert_eq!((read.url.as_deref(), read.thumbnails), (Some("out"), false));
        assert_eq!(read.presign, Some(Duration::from_secs(604_800)));
        assert_eq!(read.public_url.unwrap().as_str(), "https://cdn.example.com/x");
    }

    #[test]
    fn impossible_values_name_their_key() {
        for (file, words) in [
            ("[storage]\npresign = \"8d\"", "storage.presign: is `8d`"),
            ("[storage]\npresign = \"0\"", "1s to 7d"),
            ("[storage]\npresign = \"soon\"", "no duration"),
            ("[storage]\npublic_url = \"cdn\"", "storage.public_url"),
            ("[storage]\nbucket = \"a\"", "unknown key `storage.bucket`"),
        ] {
            let error = storage(file, &[]).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
