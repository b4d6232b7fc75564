//! `[queue]`: where jobs wait, and how they are drained.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::values::{in_variable, not_among, on_or_off, shown};

use super::duration::duration;
use super::toml_file::Section;
use crate::error::{Error, ErrorKind};

/// The queues, in their order of priority.
pub const QUEUE_NAMES: &[&str] = &["sdxl_queue", "chat_queue", "wan_queue"];

/// Fewest seconds of a lease: a heartbeat has to arrive within it over any network.
const SHORTEST_LEASE: Duration = Duration::from_secs(3);

/// At which end of a plain Redis list the oldest item is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListEnd {
    Left,
    /// As LPUSH leaves it.
    #[default]
    Right,
}

impl ListEnd {
    /// # Errors
    /// `Config` for any other name.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "left" => Ok(Self::Left),
            "right" => Ok(Self::Right),
            other => Err(not_among("list_end", other, &["left", "right"])),
        }
    }
}

/// Everything about queues that does not change from job to job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// A folder or a `redis://` address; `None`: `queue/` in the data folder.
    pub url: Option<String>,
    /// Which queues are drained, the most important first.
    pub queues: Vec<String>,
    /// One worker each; empty: the device that `generate` would use.
    pub devices: Vec<String>,
    pub max_jobs: Option<u64>,
    pub max_time: Option<Duration>,
    /// Goes on when the queue is empty.
    pub watch: bool,
    pub job_timeout: Duration,
    /// A job that ran over its time is tried again.
    pub retry_timeouts: bool,
    pub max_attempts: u32,
    pub lease: Duration,
    /// `None`: a quarter of the lease.
    pub heartbeat: Option<Duration>,
    pub list_end: ListEnd,
    /// Jobs may name files of this machine as references.
    pub allow_local_references: bool,
    /// Any number of images from 1 to 64, not only the producers' 1, 3 and 6.
    pub any_quantity: bool,
    pub keep_done: Duration,
    /// Where numbers for Prometheus go.
    pub metrics: Option<PathBuf>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            url: None,
            queues: QUEUE_NAMES.iter().map(|name| (*name).into()).collect(),
            devices: Vec::new(),
            max_jobs: None,
            max_time: None,
            watch: false,
            job_timeout: Duration::from_secs(900),
            retry_timeouts: false,
            max_attempts: 3,
            lease: Duration::from_secs(60),
            heartbeat: None,
            list_end: ListEnd::default(),
            allow_local_references: false,
            any_quantity: false,
            keep_done: Duration::from_secs(7 * 86_400),
            metrics: None,
        }
    }
}

/// Every setting: its key in the file, and its variable.
const SETTINGS: &[(&str, &str)] = &[
    ("url", "OURVIDZ_QUEUE"),
    ("queues", "OURVIDZ_QUEUES"),
    ("devices", "OURVIDZ_DEVICES"),
    ("max_jobs", "OURVIDZ_MAX_JOBS"),
    ("max_seconds", "OURVIDZ_MAX_SECONDS"),
    ("watch", "OURVIDZ_WATCH"),
    ("job_timeout", "OURVIDZ_JOB_TIMEOUT"),
    ("retry_timeouts", "OURVIDZ_RETRY_TIMEOUTS"),
    ("max_attempts", "OURVIDZ_MAX_ATTEMPTS"),
    ("lease", "OURVIDZ_LEASE"),
    ("heartbeat", "OURVIDZ_HEARTBEAT"),
    ("list_end", "OURVIDZ_LIST_END"),
    ("allow_local_references", "OURVIDZ_ALLOW_LOCAL_REFERENCES"),
    ("any_quantity", "OURVIDZ_ANY_QUANTITY"),
    ("keep_done", "OURVIDZ_KEEP_DONE"),
    ("metrics", "OURVIDZ_METRICS"),
];

impl QueueSettings {
    pub(super) fn read_file(&mut self, section: &Section<'_, '_>) -> Result<()> {
        let keys: Vec<&str> = SETTINGS.iter().map(|(key, _)| *key).collect();
        section.only(&keys)?;
        for key in keys {
            if let Some(value) = section.scalar(key)? {
                section.checked(key, self.set(key, &value))?;
            }
        }
        section.checked("heartbeat", self.check())
    }

    pub(super) fn read_env(&mut self, read: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        for (key, variable) in SETTINGS {
            if let Some(value) = read(variable) {
                in_variable(variable, self.set(key, &value))?;
            }
        }
        in_variable("OURVIDZ_HEARTBEAT", self.check())
    }

    /// The time between two signs of life.
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat.unwrap_or(self.lease / 4)
    }

    /// One setting from its text.
    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "url" => self.url = Some(value.into()),
            "queues" => self.queues = queue_names(value)?,
            "devices" => self.devices = device_names(value)?,
            "max_jobs" => self.max_jobs = Some(at_least_one(value)?),
            "max_seconds" => self.max_time = Some(duration(value)?),
            "watch" => self.watch = on_or_off(value)?,
            "job_timeout" => self.job_timeout = duration(value)?,
            "retry_timeouts" => self.retry_timeouts = on_or_off(value)?,
            "max_attempts" => self.max_attempts = attempts(value)?,
            "lease" => self.lease = duration(value)?,
            "heartbeat" => self.heartbeat = Some(duration(value)?),
            "list_end" => self.list_end = ListEnd::from_name(value)?,
            "allow_local_references" => self.allow_local_references = on_or_off(value)?,
            "any_quantity" => self.any_quantity = on_or_off(value)?,
            "keep_done" => self.keep_done = duration(value)?,
            "metrics" => self.metrics = Some(value.into()),
            _ => unreachable!("a key of the table"),
        }
        Ok(())
    }

    /// What two settings must be to each other.
    ///
    /// # Errors
    /// `Config` when a lease would end between two heartbeats, or a job would have no time.
    pub fn check(&self) -> Result<()> {
        if self.lease < SHORTEST_LEASE {
            return Err(wrong(format!(
                "the lease is {} s; at least {} s are needed",
                self.lease.as_secs(),
                SHORTEST_LEASE.as_secs()
            )));
        }
        let heartbeat = self.heartbeat();
        if heartbeat.is_zero() || heartbeat * 2 > self.lease {
            return Err(wrong(format!(
                "the heartbeat is {} s; allowed are 1 s to half of the lease, which is {} s",
                heartbeat.as_secs(),
                self.lease.as_secs()
            )));
        }
        if self.job_timeout.is_zero() {
            return Err(wrong("the job time-out is 0; at least 1 s is needed".into()));
        }
        Ok(())
    }
}

/// Names of queues, in order of priority.
///
/// # Errors
/// `Config` for an unknown name, or one that is there twice.
pub fn queue_names(value: &str) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for name in value.split(',').map(str::trim) {
        if !QUEUE_NAMES.contains(&name) {
            return Err(not_among("the queue", name, QUEUE_NAMES));
        }
        if names.iter().any(|n| n == name) {
            return Err(wrong(format!("the queue `{name}` is there twice")));
        }
        names.push(name.into());
    }
    Ok(names)
}

/// Devices, one worker each.
///
/// # Errors
/// `Config` for a name that is no device.
pub fn device_names(value: &str) -> Result<Vec<String>> {
    value
        .split(',')
        .map(|name| super::values::device_name(name.trim()))
        .collect()
}

fn at_least_one(value: &str) -> Result<u64> {
    match value.trim().parse() {
        Ok(0) | Err(_) => Err(wrong(format!(
            "is `{}`; allowed are whole numbers from 1 on",
            shown(value)
        ))),
        Ok(number) => Ok(number),
    }
}

fn attempts(value: &str) -> Result<u32> {
    u32::try_from(at_least_one(value)?)
        .ok()
        .filter(|n| *n <= 100)
        .ok_or_else(|| wrong(format!("is `{}`; allowed are 1 to 100", shown(value))))
}

fn wrong(message: String) -> anyhow::Error {
    Error::new(ErrorKind::Config, message).into()
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn settings(file: &str, variables: &[(&str, &str)]) -> Result<QueueSettings> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), file).unwrap();
        let home = folder.path().display().to_string();
        let read = Settings::load_with(&|name| match name {
            "OURVIDZ_CONFIG_DIR" | "OURVIDZ_CACHE_DIR" | "OURVIDZ_DATA_DIR" => Some(home.clone()),
            _ => variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.to_string()),
        });
        Ok(read?.queue)
    }

    #[test]
    fn everything_can_be_said_in_the_file_and_the_environment_wins() {
        let file = "[queue]\nurl = \"jobs\"\nqueues = \"wan_queue,sdxl_queue\"\ndevices = \"cuda:0, cuda:1\"\n\
                    max_jobs = 3\nmax_seconds = \"2h\"\nwatch = true\njob_timeout = 60\nretry_timeouts = true\n\
                    max_attempts = 5\nlease = 30\nheartbeat = 10\nlist_end = \"left\"\n\
                    allow_local_references = true\nany_quantity = true\nkeep_done = \"1d\"\nmetrics = \"m.prom\"\n";
        let read = settings(file, &[]).unwrap();
        let expected = QueueSettings {
            url: Some("jobs".into()),
            queues: vec!["wan_queue".into(), "sdxl_queue".into()],
            devices: vec!["cuda:0".into(), "cuda:1".into()],
            max_jobs: Some(3),
            max_time: Some(Duration::from_secs(7200)),
            watch: true,
            job_timeout: Duration::from_secs(60),
            retry_timeouts: true,
            max_attempts: 5,
            lease: Duration::from_secs(30),
            heartbeat: Some(Duration::from_secs(10)),
            list_end: ListEnd::Left,
            allow_local_references: true,
            any_quantity: true,
            keep_done: Duration::from_secs(86_400),
            metrics: Some("m.prom".into()),
        };
        assert_eq!(read, expected);
        let env = [
            ("OURVIDZ_QUEUE", "redis://h"),
            ("OURVIDZ_WATCH", "0"),
            ("OURVIDZ_KEEP_DONE", "2d"),
        ];
        let read = settings(file, &env).unwrap();
        assert_eq!((read.url.as_deref(), read.watch), (Some("redis://h"), false));
        assert_eq!(read.keep_done, Duration::from_secs(2 * 86_400));
        assert_eq!(settings("", &[]).unwrap(), QueueSettings::default());
    }

    #[test]
    fn impossible_values_name_key_value_and_choices() {
        for (file, words) in [
            (
                "queues = \"sdxl\"",
                "allowed are sdxl_queue, chat_queue, wan_queue",
            ),
            ("queues = \"wan_queue,wan_queue\"", "there twice"),
            ("devices = \"gpu\"", "device is `gpu`"),
            ("max_jobs = 0", "whole numbers from 1 on"),
            ("max_seconds = \"soon\"", "`soon` is no duration"),
            ("max_attempts = 1000", "1 to 100"),
            ("lease = 1", "the lease is 1 s"),
            ("heartbeat = 40", "half of the lease"),
            ("job_timeout = 0", "the job time-out is 0"),
            ("list_end = \"top\"", "allowed are left, right"),
            ("watch = \"maybe\"", "the switch is `maybe`"),
            ("max_job = 3", "unknown key `queue.max_job`"),
            ("max_jobs = [1]", "must be text, a whole number, true or false"),
        ] {
            let e = settings(&format!("[queue]\n{file}"), &[])
                .unwrap_err()
                .to_string();
            assert!(e.contains(words), "{file}: {e}");
        }
        let e = settings("", &[("OURVIDZ_JOB_TIMEOUT", "x")])
            .unwrap_err()
            .to_string();
        assert!(e.starts_with("OURVIDZ_JOB_TIMEOUT: `x`"), "{e}");
    }
}
