//! Every setting with its value and where it came from: for people who look at what holds, and for a
//! `config.toml` to begin with.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::{CallbackFormat, ContentMode, Env, ListEnd, Settings, TomlFile, config_text};

/// One setting: a key of `config.toml`, dotted below its table.
pub struct Setting {
    pub key: &'static str,
    /// What else sets it; the first that is there wins, over the file too.
    variables: &'static [&'static str],
    about: &'static str,
    /// As it may stand in the file: the default, or an example where there is none.
    sample: &'static str,
    value: fn(&Settings) -> Value,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// The line of `config.toml`.
    File(usize),
    Variable(&'static str),
}

/// A setting as it holds.
pub struct Settled {
    pub key: &'static str,
    /// `null` where nothing is set; a secret is only said to be set.
    pub value: Value,
    pub origin: Origin,
}

impl Settings {
    /// Every setting with its origin, in the order of the documentation.
    ///
    /// # Errors
    /// As [`Settings::load_with`].
    pub fn origins(&self, env: &Env<'_>) -> Result<Vec<Settled>> {
        let file = self.config_file();
        let text = config_text(&file)?.unwrap_or_default();
        let document = TomlFile::parse(&file, &text)?;
        let in_file = |key: &str| -> Result<Option<usize>> {
            let root = document.root();
            match key.split_once('.') {
                None => Ok(root.line(key)),
                Some((table, key)) => Ok(root.table(table)?.and_then(|table| table.line(key))),
            }
        };
        SETTINGS
            .iter()
            .map(|setting| {
                let is_set = |name: &&&str| env(name).is_some_and(|value| !value.is_empty());
                let origin = match setting.variables.iter().find(is_set) {
                    Some(variable) => Origin::Variable(variable),
                    None => in_file(setting.key)?.map_or(Origin::Default, Origin::File),
                };
                Ok(Settled {
                    key: setting.key,
                    value: (setting.value)(self),
                    origin,
                })
            })
            .collect()
    }
}

/// A `config.toml` in which every setting stands, commented out.
pub fn starter() -> String {
    let mut text = String::from(
        "# Settings of ourvidz. Environment variables win over this file, flags over both;\n\
         # `ourvidz config show` tells which value came from where.\n",
    );
    let mut table = "";
    for setting in SETTINGS {
        let (section, key) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if section != table {
            text.push_str(&format!("\n[{section}]\n"));
            table = section;
        }
        let variables = match setting.variables {
            [] => String::new(),
            names => format!(" ({})", names.join(", ")),
        };
        text.push_str(&format!(
            "\n# {}{variables}\n# {key} = {}\n",
            setting.about, setting.sample
        ));
    }
    text
}

fn seconds(time: Duration) -> Value {
    format!("{}s", time.as_secs()).into()
}

fn secret(is_set: bool) -> Value {
    match is_set {
        true => "(set)".into(),
        false => Value::Null,
    }
}

const SETTINGS: &[Setting] = &[
    Setting {
        key: "device",
        variables: &["OURVIDZ_DEVICE"],
        about: "Where it computes: auto, cpu, cuda, cuda:N or wgpu",
        sample: "\"auto\"",
        value: |s| json!(s.device),
    },
    Setting {
        key: "dtype",
        variables: &["OURVIDZ_DTYPE"],
        about: "Number format of the weights: f32, f16 or bf16; left out, model and device decide",
        sample: "\"bf16\"",
        value: |s| json!(s.dtype),
    },
    Setting {
        key: "output",
        variables: &["OURVIDZ_OUTPUT"],
        about: "Where pictures go: a file, a folder with a trailing /, or a template, as for --output",
        sample: "\"pictures/\"",
        value: |s| json!(s.output),
    },
    Setting {
        key: "models",
        variables: &["OURVIDZ_MODELS"],
        about: "The models.toml to read instead of the usual places",
        sample: "\"models.toml\"",
        value: |s| json!(s.models),
    },
    Setting {
        key: "lora_dir",
        variables: &["OURVIDZ_LORA_DIR"],
        about: "Where <lora:NAME:1> looks for its file",
        sample: "\"loras\"",
        value: |s| json!(s.lora_dir),
    },
    Setting {
        key: "time_limit",
        variables: &["OURVIDZ_TIME_LIMIT"],
        about: "Seconds after which a job of generate is stopped between two steps; 0: never",
        sample: "0",
        value: |s| json!(s.time_limit_s),
    },
    Setting {
        key: "log_prompts",
        variables: &["OURVIDZ_LOG_PROMPTS"],
        about: "Whether prompts may stand in logs",
        sample: "false",
        value: |s| json!(s.log_prompts),
    },
    Setting {
        key: "policy.content_mode",
        variables: &["OURVIDZ_CONTENT_MODE"],
        about: "sfw or adult",
        sample: "\"sfw\"",
        value: |s| match s.content_mode {
            ContentMode::Sfw => "sfw".into(),
            ContentMode::Adult => "adult".into(),
        },
    },
    Setting {
        key: "policy.allow",
        variables: &[],
        about: "Words that the content rules take for harmless here",
        sample: "[]",
        value: |s| json!(s.policy_allow),
    },
    Setting {
        key: "callback.url",
        variables: &["OURVIDZ_CALLBACK_URL"],
        about: "Where callbacks are posted",
        sample: "\"https://example.com/callback\"",
        value: |s| json!(s.callback.url.as_ref().map(|url| url.as_str())),
    },
    Setting {
        key: "callback.format",
        variables: &["OURVIDZ_CALLBACK_FORMAT"],
        about: "standard or workspace",
        sample: "\"standard\"",
        value: |s| match s.callback.format {
            CallbackFormat::Standard => "standard".into(),
            CallbackFormat::Workspace => "workspace".into(),
        },
    },
    Setting {
        key: "callback.allow_hosts",
        variables: &["OURVIDZ_CALLBACK_ALLOW_HOSTS"],
        about: "Hosts that a job's own callback_url may name",
        sample: "[\"example.com\"]",
        value: |s| json!(s.callback.allow_hosts),
    },
    Setting {
        key: "callback.secret_file",
        variables: &["OURVIDZ_WEBHOOK_SECRET", "OURVIDZ_CALLBACK_SECRET_FILE"],
        about: "The file with the secret that signs callbacks",
        sample: "\"webhook.secret\"",
        value: |s| secret(s.callback.secret.is_some()),
    },
    Setting {
        key: "callback.token_file",
        variables: &["OURVIDZ_CALLBACK_TOKEN", "OURVIDZ_CALLBACK_TOKEN_FILE"],
        about: "The file with the bearer token of callbacks",
        sample: "\"callback.token\"",
        value: |s| secret(s.callback.token.is_some()),
    },
    Setting {
        key: "storage.url",
        variables: &["OURVIDZ_STORAGE"],
        about: "Where a queue's assets go: a folder, or s3://BUCKET/PREFIX",
        sample: "\"s3://bucket/prefix\"",
        value: |s| json!(s.storage.url),
    },
    Setting {
        key: "storage.endpoint",
        variables: &["OURVIDZ_STORAGE_ENDPOINT"],
        about: "The address of an S3 server other than Amazon's",
        sample: "\"https://s3.example.com\"",
        value: |s| json!(s.storage.endpoint),
    },
    Setting {
        key: "storage.region",
        variables: &["OURVIDZ_STORAGE_REGION"],
        about: "Its region",
        sample: "\"auto\"",
        value: |s| json!(s.storage.region),
    },
    Setting {
        key: "storage.path_style",
        variables: &["OURVIDZ_STORAGE_PATH_STYLE"],
        about: "The bucket in the path instead of the host",
        sample: "true",
        value: |s| json!(s.storage.path_style),
    },
    Setting {
        key: "storage.access_key_id",
        variables: &[],
        about: "Credentials; left out, the usual AWS_* variables hold",
        sample: "\"AKIA\"",
        value: |s| secret(s.storage.access_key_id.is_some()),
    },
    Setting {
        key: "storage.secret_access_key",
        variables: &[],
        about: "Likewise; the file must then be readable by its owner alone",
        sample: "\"secret\"",
        value: |s| secret(s.storage.secret_access_key.is_some()),
    },
    Setting {
        key: "storage.public_url",
        variables: &["OURVIDZ_STORAGE_PUBLIC_URL"],
        about: "What the addresses in callbacks begin with",
        sample: "\"https://cdn.example.com/\"",
        value: |s| json!(s.storage.public_url.as_ref().map(|url| url.as_str())),
    },
    Setting {
        key: "storage.presign",
        variables: &["OURVIDZ_STORAGE_PRESIGN"],
        about: "How long pre-signed addresses in callbacks hold; left out, callbacks hold keys",
        sample: "\"24h\"",
        value: |s| s.storage.presign.map_or(Value::Null, seconds),
    },
    Setting {
        key: "storage.thumbnails",
        variables: &["OURVIDZ_STORAGE_THUMBNAILS"],
        about: "Whether a small picture lies beside each asset",
        sample: "false",
        value: |s| json!(s.storage.thumbnails),
    },
    Setting {
        key: "enhance.time_limit",
        variables: &["OURVIDZ_ENHANCE_TIME_LIMIT"],
        about: "Seconds for one answer of the model",
        sample: "60",
        value: |s| s.enhance.time_limit.map_or(Value::Null, seconds),
    },
    Setting {
        key: "enhance.cache_mb",
        variables: &["OURVIDZ_ENHANCE_CACHE_MB"],
        about: "Megabytes of answers kept on disk",
        sample: "64",
        value: |s| json!(s.enhance.cache_bytes.map(|bytes| bytes / 1_000_000)),
    },
    Setting {
        key: "enhance.legacy_names",
        variables: &["OURVIDZ_ENHANCE_LEGACY_NAMES"],
        about: "Report enhancement_source in the words of older producers",
        sample: "false",
        value: |s| json!(s.enhance.legacy_names),
    },
    Setting {
        key: "queue.url",
        variables: &["OURVIDZ_QUEUE"],
        about: "A folder or a redis:// address; left out, queue/ in the data folder",
        sample: "\"redis://localhost\"",
        value: |s| json!(s.queue.url.as_deref().map(without_password)),
    },
    Setting {
        key: "queue.queues",
        variables: &["OURVIDZ_QUEUES"],
        about: "Which queues are drained, the most important first",
        sample: "\"sdxl_queue,chat_queue,wan_queue\"",
        value: |s| json!(s.queue.queues),
    },
    Setting {
        key: "queue.devices",
        variables: &["OURVIDZ_DEVICES"],
        about: "One worker each; left out, the one that generate would use",
        sample: "\"cuda:0,cuda:1\"",
        value: |s| json!(s.queue.devices),
    },
    Setting {
        key: "queue.max_jobs",
        variables: &["OURVIDZ_MAX_JOBS"],
        about: "A drain ends after so many jobs",
        sample: "100",
        value: |s| json!(s.queue.max_jobs),
    },
    Setting {
        key: "queue.max_seconds",
        variables: &["OURVIDZ_MAX_SECONDS"],
        about: "A drain takes no more jobs after this time",
        sample: "\"50m\"",
        value: |s| s.queue.max_time.map_or(Value::Null, seconds),
    },
    Setting {
        key: "queue.watch",
        variables: &["OURVIDZ_WATCH"],
        about: "A drain goes on when the queue is empty",
        sample: "false",
        value: |s| json!(s.queue.watch),
    },
    Setting {
        key: "queue.job_timeout",
        variables: &["OURVIDZ_JOB_TIMEOUT"],
        about: "The longest that a job may take",
        sample: "\"15m\"",
        value: |s| seconds(s.queue.job_timeout),
    },
    Setting {
        key: "queue.retry_timeouts",
        variables: &["OURVIDZ_RETRY_TIMEOUTS"],
        about: "A job that ran over its time is tried again",
        sample: "false",
        value: |s| json!(s.queue.retry_timeouts),
    },
    Setting {
        key: "queue.max_attempts",
        variables: &["OURVIDZ_MAX_ATTEMPTS"],
        about: "How often a job is tried",
        sample: "3",
        value: |s| json!(s.queue.max_attempts),
    },
    Setting {
        key: "queue.lease",
        variables: &["OURVIDZ_LEASE"],
        about: "Time after which the jobs of a silent drain are taken over",
        sample: "\"60s\"",
        value: |s| seconds(s.queue.lease),
    },
    Setting {
        key: "queue.heartbeat",
        variables: &["OURVIDZ_HEARTBEAT"],
        about: "Time between two signs of life; left out, a quarter of the lease",
        sample: "\"15s\"",
        value: |s| s.queue.heartbeat.map_or(Value::Null, seconds),
    },
    Setting {
        key: "queue.list_end",
        variables: &["OURVIDZ_LIST_END"],
        about: "Which end of a plain Redis list holds the oldest item: left or right",
        sample: "\"right\"",
        value: |s| match s.queue.list_end {
            ListEnd::Left => "left".into(),
            ListEnd::Right => "right".into(),
        },
    },
    Setting {
        key: "queue.allow_local_references",
        variables: &["OURVIDZ_ALLOW_LOCAL_REFERENCES"],
        about: "Jobs of a queue may name files of this machine as references",
        sample: "false",
        value: |s| json!(s.queue.allow_local_references),
    },
    Setting {
        key: "queue.any_quantity",
        variables: &["OURVIDZ_ANY_QUANTITY"],
        about: "Any number of images from 1 to 64, not only the producers' 1, 3 and 6",
        sample: "false",
        value: |s| json!(s.queue.any_quantity),
    },
    Setting {
        key: "queue.keep_done",
        variables: &["OURVIDZ_KEEP_DONE"],
        about: "How long records of finished jobs are kept",
        sample: "\"7d\"",
        value: |s| seconds(s.queue.keep_done),
    },
    Setting {
        key: "queue.metrics",
        variables: &["OURVIDZ_METRICS"],
        about: "Where numbers for Prometheus go",
        sample: "\"/var/lib/node_exporter/ourvidz.prom\"",
        value: |s| json!(s.queue.metrics),
    },
];

/// An address without what only the server is to know.
fn without_password(address: &str) -> String {
    match url::Url::parse(address) {
        Ok(mut url) if url.password().is_some() => {
            // Only addresses that cannot have one refuse; they have none to show.
            let _ = url.set_password(Some("***"));
            url.to_string()
        }
        _ => address.to_string(),
    }
}

#[cfg(test)]
#[path = "origins_tests.rs"]
mod tests;
