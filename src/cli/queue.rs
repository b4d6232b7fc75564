//! `queue-drain`, `queue` and the hidden `worker` as types.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::shared::{CallbackFormat, Place};
use crate::config;

const DRAIN_HELP: &str = "\
Examples:
  ourvidz queue-drain                        everything in the default queue, then exit (cron)
  ourvidz queue-drain /srv/jobs --max-seconds 50m
  ourvidz queue-drain redis://localhost --watch --storage s3://bucket/prefix
  ourvidz queue-drain --device cuda:0,cuda:1 --metrics /var/lib/node_exporter/ourvidz.prom

QUEUE is a folder or redis://… or rediss://…; without it `queue.url` in config.toml, OURVIDZ_QUEUE,
else queue/ in the data folder. Every option is also a setting in [queue], [storage] or [callback] of
config.toml, and a variable: --job-timeout is `queue.job_timeout` and OURVIDZ_JOB_TIMEOUT.

A worker process per device holds the models. A job that crashes its worker is tried --max-attempts
times and then set aside as dead; stops, network and storage faults never count as attempts. SIGTERM
and Ctrl-C hand unfinished work back and end within 25 s, a second signal within 1 s.

Exit codes: 0 done or nothing to do; 1 finished, some jobs failed; 2 usage; 66 no such queue folder; 69
device, Redis or storage unavailable; 70 internal; 73 cannot write; 74 I/O; 75 another drain works on
this folder, or work remains at the limit; 78 configuration; 130/143 stopped. Worst wins: 70, 78, 74,
73, 69, 1, 75.";

#[derive(Debug, Args, Default)]
#[command(after_help = DRAIN_HELP)]
pub struct QueueDrain {
    /// A folder, or redis://… or rediss://… [default: queue/ in the data folder]
    #[arg(value_name = "QUEUE")]
    pub queue: Option<String>,

    /// Queues to drain, the most important first [default: sdxl_queue,chat_queue,wan_queue]
    #[arg(long, value_name = "NAMES", value_parser = queues, help_heading = "Jobs")]
    pub queues: Option<Names>,
    /// Stop after this many jobs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Jobs")]
    pub max_jobs: Option<u64>,
    /// Begin no job after this time; exit 75 if work remains
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Jobs")]
    pub max_seconds: Option<Duration>,
    /// Wait for more when the queue is empty
    #[arg(long, help_heading = "Jobs")]
    pub watch: bool,
    /// End a job that takes longer [default: 15m]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Jobs")]
    pub job_timeout: Option<Duration>,
    /// Try a job again that ran over its time
    #[arg(long, help_heading = "Jobs")]
    pub retry_timeouts: bool,
    /// Tries of a job that crashes its worker [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "Jobs")]
    pub max_attempts: Option<u32>,
    /// Let jobs name files of this machine as references
    #[arg(long, help_heading = "Jobs")]
    pub allow_local_references: bool,
    /// Keep records of finished jobs this long [default: 7d]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Jobs")]
    pub keep_done: Option<Duration>,
    /// List what would be claimed, in order, and touch nothing
    #[arg(long, help_heading = "Jobs")]
    pub dry_run: bool,

    #[command(flatten)]
    pub redis: Redis,

    /// Where assets go: a folder or s3://BUCKET/PREFIX [default: assets/ in the queue folder]
    #[arg(long, value_name = "FOLDER|URL", help_heading = "Results")]
    pub storage: Option<String>,
    /// Where outcomes are POSTed
    #[arg(long, value_name = "URL", help_heading = "Results")]
    pub callback_url: Option<String>,
    /// Shape of callbacks [default: standard]
    #[arg(long, value_name = "FORMAT", value_enum, help_heading = "Results")]
    pub callback_format: Option<CallbackFormat>,
    /// Write numbers for Prometheus to this file
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub metrics: Option<PathBuf>,

    /// The models.toml to use [default: ./models.toml, then the configuration folder's]
    #[arg(long, value_name = "FILE", help_heading = "Workers")]
    pub models: Option<PathBuf>,
    /// cpu, cuda, cuda:N, wgpu or auto; several with commas, one worker each [default: auto]
    #[arg(long, value_name = "DEVICES", value_parser = devices, help_heading = "Workers")]
    pub device: Option<Names>,

    /// Print one JSON object a line on stdout
    #[arg(long, help_heading = "Messages")]
    pub json: bool,
}

/// What only queues in Redis have.
#[derive(Debug, Args, Default, Clone)]
pub struct Redis {
    /// Time after which the jobs of a silent drain are taken over [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Redis")]
    pub lease: Option<Duration>,
    /// Time between two signs of life [default: a quarter of --lease]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Redis")]
    pub heartbeat: Option<Duration>,
    /// Which end of a plain list holds the oldest item [default: right]
    #[arg(long, value_name = "END", value_enum, help_heading = "Redis")]
    pub list_end: Option<ListEnd>,
    /// Use a Redis that may evict keys
    #[arg(long, help_heading = "Redis")]
    pub force: bool,
}

/// An end of a Redis list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListEnd {
    Left,
    Right,
}

impl From<ListEnd> for config::ListEnd {
    fn from(end: ListEnd) -> Self {
        match end {
            ListEnd::Left => Self::Left,
            ListEnd::Right => Self::Right,
        }
    }
}

/// A comma list as one argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

#[derive(Debug, Args)]
pub struct Queue {
    #[command(subcommand)]
    pub command: QueueCommand,
}

#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Check specs as `generate` does and enqueue them; prints one id a line
    Add(QueueAdd),
    /// Show what waits, runs, failed and was not delivered, and how long it will take
    Status(QueueStatus),
    /// Bring dead jobs back
    Retry(QueueRetry),
    /// Stop jobs, waiting or running
    Cancel(QueueCancel),
    /// Forget records of finished jobs
    Purge(QueuePurge),
    /// Send the callbacks that are due, and render nothing
    Deliver(QueueDeliver),
}

#[derive(Debug, Args)]
pub struct QueueAdd {
    /// Spec files; - reads stdin
    #[arg(value_name = "SPEC", required = true)]
    pub specs: Vec<String>,
    /// A folder (made if needed), or redis://… or rediss://…
    #[arg(long, value_name = "QUEUE")]
    pub queue: Option<String>,
    #[command(flatten)]
    pub place: Place,
    /// Use a Redis that may evict keys
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct QueueStatus {
    #[arg(value_name = "QUEUE")]
    pub queue: Option<String>,
    #[arg(long, help = "Print JSON")]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct QueueRetry {
    /// QUEUE, if it is a folder or an address, and ids
    #[arg(value_name = "QUEUE|ID", required_unless_present = "all_dead")]
    pub words: Vec<String>,
    /// Every dead job
    #[arg(long)]
    pub all_dead: bool,
}

#[derive(Debug, Args)]
pub struct QueueCancel {
    /// QUEUE, if it is a folder or an address, and ids
    #[arg(value_name = "QUEUE|ID", required = true)]
    pub words: Vec<String>,
}

#[derive(Debug, Args)]
pub struct QueuePurge {
    #[arg(value_name = "QUEUE")]
    pub queue: Option<String>,
    /// Records of finished jobs
    #[arg(long, required = true)]
    pub done: bool,
    /// Only those older than this
    #[arg(long, value_name = "TIME", required = true, value_parser = duration)]
    pub older_than: Duration,
}

#[derive(Debug, Args)]
pub struct QueueDeliver {
    #[arg(value_name = "QUEUE")]
    pub queue: Option<String>,
    /// Send everything now, whatever its time
    #[arg(long)]
    pub now: bool,
    #[arg(long, help = "Print one JSON object a line on stdout")]
    pub json: bool,
}

/// Started by `queue-drain`; speaks JSON lines on stdin and stdout.
#[derive(Debug, Args)]
pub struct Worker {
    #[command(flatten)]
    pub place: Place,
    #[arg(long, value_name = "NAME")]
    pub name: String,
}

fn duration(text: &str) -> Result<Duration, String> {
    config::duration(text).map_err(|e| e.to_string())
}

fn queues(text: &str) -> Result<Names, String> {
    config::queue_names(text).map(Names).map_err(|e| e.to_string())
}

fn devices(text: &str) -> Result<Names, String> {
    config::device_names(text).map(Names).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn drain(args: &[&str]) -> Result<QueueDrain, clap::Error> {
        let cli = Cli::try_parse_from(["ourvidz", "queue-drain"].iter().chain(args))?;
        match cli.command {
            Command::QueueDrain(drain) => Ok(*drain),
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn times_names_and_devices_are_read() {
        let args = drain(&[
            "redis://h",
            "--queues",
            "wan_queue,chat_queue",
            "--device",
            "cuda:0,cuda:1",
            "--max-seconds",
            "50m",
            "--keep-done",
            "7d",
            "--list-end",
            "left",
        ])
        .unwrap();
        assert_eq!(args.queues.unwrap().0, ["wan_queue", "chat_queue"]);
        assert_eq!(args.device.unwrap().0, ["cuda:0", "cuda:1"]);
        assert_eq!(args.max_seconds, Some(Duration::from_secs(3000)));
        assert_eq!(args.keep_done, Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(args.redis.list_end, Some(ListEnd::Left));
    }

    #[test]
    fn wrong_words_name_what_is_allowed() {
        for (args, words) in [
            (&["--queues", "sdxl"][..], "sdxl_queue, chat_queue, wan_queue"),
            (&["--device", "cpu,gpu"], "device is `gpu`"),
            (&["--max-jobs", "0"], "1.."),
            (&["--lease", "soon"], "15m"),
        ] {
            let message = drain(args).unwrap_err().to_string();
            assert!(message.contains(words), "{args:?}: {message}");
        }
    }
}
