//! `[callback]`: where callbacks go, in which shape, and with which secrets.

use std::path::{Path, PathBuf};

use anyhow::Result;
use url::Url;

use super::values::{in_variable, not_among, shown};

use super::toml_file::Section;
use crate::config::secret::{Secret, read_by_others};
use crate::error::{Error, ErrorKind};

/// The shape of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CallbackFormat {
    #[default]
    Standard,
    Workspace,
}

impl CallbackFormat {
    pub const NAMES: &'static [&'static str] = &["standard", "workspace"];

    /// # Errors
    /// `Config` for any other name.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "standard" => Ok(Self::Standard),
            "workspace" => Ok(Self::Workspace),
            other => Err(not_among("callback format", other, Self::NAMES)),
        }
    }
}

/// Everything about callbacks that the operator decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallbackSettings {
    /// Where callbacks are posted; `None`: only `callback.json` is written.
    pub url: Option<Url>,
    pub format: CallbackFormat,
    /// Hosts that a job's own `callback_url` may name: `host`, or `host:port` to compare both.
    pub allow_hosts: Vec<String>,
    /// Signs callbacks; `whsec_…` or raw.
    pub secret: Option<Secret>,
    /// Sent as `Authorization: Bearer …`.
    pub token: Option<Secret>,
    /// What the user should know: secret files that others can read.
    pub warnings: Vec<String>,
}

impl CallbackSettings {
    pub(super) fn read_file(&mut self, section: &Section<'_, '_>, config_dir: &Path) -> Result<()> {
        section.only(&["url", "format", "allow_hosts", "secret_file", "token_file"])?;
        if let Some(v) = section.text("url")? {
            self.url = Some(section.checked("url", address(&v))?);
        }
        if let Some(v) = section.text("format")? {
            self.format = section.checked("format", CallbackFormat::from_name(&v))?;
        }
        if let Some(v) = section.texts("allow_hosts")? {
            self.allow_hosts = section.checked("allow_hosts", hosts(v))?;
        }
        if let Some(v) = section.text("secret_file")? {
            self.secret = Some(self.read_secret("callback.secret_file", config_dir.join(v))?);
        }
        if let Some(v) = section.text("token_file")? {
            self.token = Some(self.read_secret("callback.token_file", config_dir.join(v))?);
        }
        Ok(())
    }

    pub(super) fn read_env(&mut self, read: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        if let Some(v) = read("OURVIDZ_CALLBACK_URL") {
            self.url = Some(in_variable("OURVIDZ_CALLBACK_URL", address(&v))?);
        }
        if let Some(v) = read("OURVIDZ_CALLBACK_FORMAT") {
            self.format = in_variable("OURVIDZ_CALLBACK_FORMAT", CallbackFormat::from_name(&v))?;
        }
        if let Some(v) = read("OURVIDZ_CALLBACK_ALLOW_HOSTS") {
            let all = v.split(',').map(|host| host.trim().to_string()).collect();
            self.allow_hosts = in_variable("OURVIDZ_CALLBACK_ALLOW_HOSTS", hosts(all))?;
        }
        if let Some(v) = read("OURVIDZ_CALLBACK_SECRET_FILE") {
            self.secret = Some(self.read_secret("OURVIDZ_CALLBACK_SECRET_FILE", v.into())?);
        }
        if let Some(v) = read("OURVIDZ_CALLBACK_TOKEN_FILE") {
            self.token = Some(self.read_secret("OURVIDZ_CALLBACK_TOKEN_FILE", v.into())?);
        }
        // A secret itself wins over the name of a file.
        if let Some(v) = read("OURVIDZ_WEBHOOK_SECRET") {
            self.secret = Some(Secret::new(v));
        }
        if let Some(v) = read("OURVIDZ_CALLBACK_TOKEN") {
            self.token = Some(Secret::new(v));
        }
        Ok(())
    }

    fn read_secret(&mut self, key: &str, path: PathBuf) -> Result<Secret> {
        let secret = Secret::read(key, &path)?;
        self.warnings.extend(read_by_others(&path));
        Ok(secret)
    }
}

/// An address that callbacks can be posted to.
///
/// # Errors
/// `Config` for what is no `http:` or `https:` address. The message shows no user information.
pub fn address(text: &str) -> Result<Url> {
    let wrong = |why: String| {
        Error::new(ErrorKind::Config, why).hint("give an address such as https://example.com/callback")
    };
    let url = Url::parse(text).map_err(|e| wrong(format!("is no address that can be called back ({e})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!(
            "begins with `{}:`; allowed are https and http",
            shown(url.scheme())
        ))
        .into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            Error::new(ErrorKind::Config, "holds a user name or password before the host")
                .hint("take it out; a bearer token belongs into OURVIDZ_CALLBACK_TOKEN or a token_file")
                .into(),
        );
    }
    Ok(url)
}

fn hosts(all: Vec<String>) -> Result<Vec<String>> {
    let looks_like_one = |host: &str| !host.is_empty() && !host.contains(['/', '@', ' ', '*', '?', '#']);
    match all.iter().find(|host| !looks_like_one(host)) {
        Some(wrong) => Err(Error::new(
            ErrorKind::Config,
            format!(
                "`{}` is no host; allowed are names such as `example.com` or `example.com:8443`",
                shown(wrong)
            ),
        )
        .into()),
        None => Ok(all.iter().map(|host| host.to_lowercase()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn settings(file: &str, variables: &[(&str, &str)]) -> Result<Settings> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), file).unwrap();
        std::fs::write(folder.path().join("secret"), "from-the-file\n").unwrap();
        let home = folder.path().display().to_string();
        Settings::load_with(&|name| match name {
            "OURVIDZ_CONFIG_DIR" | "OURVIDZ_CACHE_DIR" => Some(home.clone()),
            _ => variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.to_string()),
        })
    }

    fn exposed(secret: &Option<Secret>) -> Option<&str> {
        secret.as_ref().map(Secret::expose)
    }

    #[test]
    fn secrets_come_from_files_beside_the_config_or_from_the_environment() {
        let file = "[callback]\nurl = \"https://example.com/hook\"\nsecret_file = \"secret\"\n\
                    token_file = \"secret\"\nallow_hosts = [\"A.example.com\", \"b.org:8443\"]\n";
        let read = settings(file, &[]).unwrap();
        assert_eq!(exposed(&read.callback.secret), Some("from-the-file"));
        assert_eq!(exposed(&read.callback.token), Some("from-the-file"));
        assert_eq!(read.callback.allow_hosts, ["a.example.com", "b.org:8443"]);
        assert!(!format!("{read:?}").contains("from-the-file"));
        let env = [
            ("OURVIDZ_WEBHOOK_SECRET", "whsec_x"),
            ("OURVIDZ_CALLBACK_TOKEN", "t"),
            ("OURVIDZ_CALLBACK_URL", "http://localhost:1/"),
            ("OURVIDZ_CALLBACK_ALLOW_HOSTS", "c.net, d.net"),
        ];
        let read = settings(file, &env).unwrap().callback;
        assert_eq!(
            (exposed(&read.secret), exposed(&read.token)),
            (Some("whsec_x"), Some("t"))
        );
        assert_eq!(read.url.unwrap().as_str(), "http://localhost:1/");
        assert_eq!(read.allow_hosts, ["c.net", "d.net"]);
    }

    #[test]
    fn impossible_values_name_their_key_and_no_secret() {
        for (file, words) in [
            ("[callback]\nurl = \"ftp://x/\"", "callback.url"),
            (
                "[callback]\nurl = \"https://u:canary@x/\"",
                "user name or password",
            ),
            ("[callback]\nallow_hosts = [\"https://x\"]", "no host"),
            ("[callback]\nallow_hosts = \"x\"", "a list of texts"),
            ("[callback]\nsecret_file = \"none\"", "cannot be read"),
            ("[callback]\nsecret = \"canary\"", "unknown key `callback.secret`"),
        ] {
            let error = format!("{:#}", settings(file, &[]).unwrap_err());
            assert!(error.contains(words) && !error.contains("canary"), "{error}");
        }
    }
}
