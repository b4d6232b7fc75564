//! `queue-drain`: settings and flags into the parts of a drain, its end into an exit code.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::common::{print, surroundings};
use super::queue_parts::{Known, QueueJobs, consumer, open, place};

use crate::cli::{self, Place, QueueDrain};
use crate::config::callback::address;
use crate::config::{CallbackFormat, Settings};
use crate::error::{Error, ErrorKind};
use crate::fetch::Fetcher;
use crate::files::{Staging, sweep};
use crate::logs;
use crate::outbox::deliver::Deliverer;
use crate::outbox::envelope::Which;
use crate::outbox::folder::FolderOutbox;
use crate::progress::Volume;
use crate::queue::{self, Access, Queue, QueueName, Waiting, Wish};
use crate::registry::Registry;
use crate::runner::{Runner, exit_code};
use crate::store::{self, Patience, Store};
use crate::supervisor::child::Launch;
use crate::supervisor::tell::Teller;
use crate::supervisor::{Options, Parts, Summary, delivery, drain};

/// Jobs that a dry run lists.
const DRY_RUN_JOBS: usize = 10_000;

/// Signs of life in a folder.
const FOLDER_HEARTBEAT: Duration = Duration::from_secs(1);

/// Runs the command.
///
/// # Errors
/// What keeps the drain from beginning; everything later is in the exit code.
pub fn run(args: &QueueDrain, volume: Volume) -> Result<u8> {
    logs::start(match volume {
        Volume::Quiet => logs::Level::Error,
        Volume::Normal => logs::Level::Info,
        Volume::Verbose => logs::Level::Debug,
        Volume::Everything => logs::Level::Trace,
    })?;
    let place = Place {
        models: args.models.clone(),
        device: None,
    };
    let (mut settings, registry) = surroundings(&place, Volume::Quiet)?;
    lay_over(args, &mut settings)?;
    for warning in &settings.callback.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime of the drain")?;
    let local = tokio::task::LocalSet::new();
    let code = local.block_on(&runtime, work(args, Arc::new(settings), registry));
    // What still waits for a disk or a name server is not waited for.
    runtime.shutdown_background();
    code
}

/// Flags win over settings.
fn lay_over(args: &QueueDrain, settings: &mut Settings) -> Result<()> {
    fn set<T: Clone>(to: &mut T, from: Option<T>) {
        if let Some(value) = from {
            *to = value;
        }
    }
    let queue = &mut settings.queue;
    set(&mut queue.url, args.queue.clone().map(Some));
    set(&mut queue.queues, args.queues.clone().map(|names| names.0));
    set(&mut queue.devices, args.device.clone().map(|names| names.0));
    set(&mut queue.max_jobs, args.max_jobs.map(Some));
    set(&mut queue.max_time, args.max_seconds.map(Some));
    queue.watch |= args.watch;
    set(&mut queue.job_timeout, args.job_timeout);
    queue.retry_timeouts |= args.retry_timeouts;
    set(&mut queue.max_attempts, args.max_attempts);
    queue.allow_local_references |= args.allow_local_references;
    set(&mut queue.keep_done, args.keep_done);
    set(&mut queue.metrics, args.metrics.clone().map(Some));
    args.redis.lay_over(queue);
    queue.check().context("flags")?;
    set(&mut settings.storage.url, args.storage.clone().map(Some));
    if let Some(url) = &args.callback_url {
        let url = address(url).map_err(|e| Error::new(ErrorKind::Usage, format!("--callback-url: {e}")))?;
        settings.callback.url = Some(url);
    }
    if let Some(format) = args.callback_format {
        settings.callback.format = match format {
            cli::CallbackFormat::Standard => CallbackFormat::Standard,
            cli::CallbackFormat::Workspace => CallbackFormat::Workspace,
        };
    }
    Ok(())
}

async fn work(args: &QueueDrain, settings: Arc<Settings>, registry: Registry) -> Result<u8> {
    let place = place(settings.queue.url.as_deref(), &settings)?;
    let known = Arc::new(Known::new(registry.clone()));
    if args.dry_run {
        let queue = open(&place, Access::Look, &settings, args.redis.force, known).await?;
        return dry_run(args, &settings, queue.as_ref()).await;
    }
    let queue = open(&place, Access::Drain, &settings, args.redis.force, known).await?;
    let teller = Rc::new(Teller::new(args.json));
    deliver_leftovers(&settings, &home(&place, &settings), &teller);
    let mut parts = parts(&settings, registry, &place, queue, teller.clone())?;
    if let Some(models) = &args.models {
        // Workers read the same settings; this flag goes beyond them.
        parts.launch.args = vec!["--models".into(), models.clone().into()];
    }
    let summary = drain(parts).await?;
    say(&summary);
    let mut kinds: Vec<ErrorKind> = summary
        .tally
        .failures
        .iter()
        .chain(&summary.faults)
        .copied()
        .collect();
    if let Err(error) = teller.finish() {
        tracing::error!("{error:#}");
        kinds.push(ErrorKind::Io);
    }
    Ok(code(&summary, kinds))
}

/// Worst wins; a drain's failed jobs are 1 however many there were.
fn code(summary: &Summary, mut kinds: Vec<ErrorKind>) -> u8 {
    if let Some(signal) = summary.signal {
        return ErrorKind::Interrupted { signal }.exit_code();
    }
    if summary.work_remains {
        kinds.push(ErrorKind::Locked);
    }
    const AS_ONE_OF_SEVERAL: usize = 2;
    exit_code(AS_ONE_OF_SEVERAL, &kinds)
}

fn say(summary: &Summary) {
    let tally = &summary.tally;
    let waiting = match summary.undelivered {
        0 => String::new(),
        n => format!(", {n} callbacks wait for their next try (`ourvidz queue deliver` sends them)"),
    };
    let remains = match summary.work_remains {
        true => ", the limit is reached and work remains",
        false => "",
    };
    tracing::info!(
        "{} completed, {} failed, {} handed back{waiting}{remains}",
        tally.completed,
        tally.failed,
        tally.released
    );
}

fn options(settings: &Settings, place: &queue::Place) -> Options {
    let queue = &settings.queue;
    Options {
        queues: queues(settings),
        devices: match queue.devices.is_empty() {
            true => vec![settings.device.clone()],
            false => queue.devices.clone(),
        },
        max_jobs: queue.max_jobs,
        max_time: queue.max_time,
        watch: queue.watch,
        job_timeout: queue.job_timeout,
        retry_timeouts: queue.retry_timeouts,
        max_attempts: queue.max_attempts,
        lease: queue.lease,
        heartbeat: match place {
            // It costs a look at a file there, and tells who cancels a running job.
            queue::Place::Folder(_) => queue.heartbeat().min(FOLDER_HEARTBEAT),
            queue::Place::Redis(_) => queue.heartbeat(),
        },
        consumer: consumer(),
        local_references: queue.allow_local_references,
        keep_done: queue.keep_done,
        callback: settings.callback.clone(),
        metrics: queue.metrics.clone(),
    }
}

fn queues(settings: &Settings) -> Vec<QueueName> {
    let names = settings.queue.queues.iter();
    names.filter_map(|name| QueueName::from_name(name)).collect()
}

/// Everything that a drain of this queue works with.
///
/// # Errors
/// Settings that contradict each other, secrets that cannot be used, no place for running jobs.
pub fn parts(
    settings: &Arc<Settings>,
    registry: Registry,
    place: &queue::Place,
    queue: Arc<dyn Queue>,
    teller: Rc<Teller>,
) -> Result<Parts> {
    let home = home(place, settings);
    Ok(Parts {
        options: options(settings, place),
        fetcher: Fetcher::of(settings),
        jobs: Rc::new(QueueJobs::new(Runner::new(settings.clone(), registry)?)),
        launch: Launch {
            program: std::env::current_exe().context("this program's own path")?,
            args: Vec::new(),
        },
        staging: staging(&home)?,
        deliverer: Deliverer::new(queue.outbox(), &settings.callback)?,
        store: storage(settings, &home)?,
        teller,
        queue,
    })
}

/// Where assets and files of running jobs are unless something else is said.
fn home(place: &queue::Place, settings: &Settings) -> PathBuf {
    match place {
        queue::Place::Folder(folder) => folder.clone(),
        queue::Place::Redis(_) => settings.data_dir.clone(),
    }
}

fn storage(settings: &Settings, home: &Path) -> Result<Arc<dyn Store>> {
    let assets = home.join("assets").display().to_string();
    let target = settings.storage.url.as_deref().unwrap_or(&assets);
    store::open(target, &settings.storage, Patience::default())
}

/// A place for files of running jobs; what a dead drain left there is swept.
fn staging(home: &Path) -> Result<Staging> {
    // Workers run elsewhere: they are told whole paths.
    let folder: PathBuf = std::path::absolute(home.join("tmp")).context("the queue's folder")?;
    sweep(&folder);
    Staging::create(&folder)
}

/// Callbacks that `generate` could not deliver go out beside the work.
fn deliver_leftovers(settings: &Settings, home: &Path, teller: &Rc<Teller>) {
    let folder = settings.data_dir.join("outbox");
    if folder == home.join("outbox") || !folder.is_dir() {
        return;
    }
    let outbox = Arc::new(FolderOutbox::new(folder));
    let Ok(deliverer) = Deliverer::new(outbox, &settings.callback) else {
        // The queue's own deliverer says what is wrong.
        return;
    };
    let teller = teller.clone();
    tokio::task::spawn_local(async move {
        let until = tokio::time::Instant::now() + Duration::from_secs(60);
        let now = crate::outbox::envelope::now_ms();
        match deliverer.round(Which::Due(now), until).await {
            Ok(tally) => delivery::told_round(&teller, &tally),
            Err(error) => tracing::warn!("callbacks of earlier runs: {error:#}"),
        }
    });
}

async fn dry_run(args: &QueueDrain, settings: &Settings, queue: &dyn Queue) -> Result<u8> {
    let wish = Wish {
        queues: queues(settings),
        affinity: None,
        worker: consumer(),
    };
    let most = settings.queue.max_jobs.map_or(DRY_RUN_JOBS, |n| n as usize);
    let plan = queue.plan(&wish, most.min(DRY_RUN_JOBS)).await?;
    let text: String = plan.iter().map(|waiting| planned(waiting, args.json)).collect();
    print(&text)?;
    Ok(0)
}

fn planned(waiting: &Waiting, json: bool) -> String {
    let queue = waiting.queue.map(QueueName::name);
    match json {
        true => {
            let line = serde_json::json!({
                "event": "planned",
                "job_id": waiting.id,
                "type": waiting.job_type,
                "queue": queue,
                "queued_at": waiting.queued_at.to_string(),
            });
            format!("{line}\n")
        }
        false => format!(
            "{}  {}  {}  {}\n",
            crate::text::escaped(&waiting.id),
            crate::text::escaped(waiting.job_type.as_deref().unwrap_or("not valid")),
            queue.unwrap_or("-"),
            waiting.queued_at
        ),
    }
}

impl cli::Redis {
    fn lay_over(&self, queue: &mut crate::config::QueueSettings) {
        if let Some(lease) = self.lease {
            queue.lease = lease;
        }
        if let Some(heartbeat) = self.heartbeat {
            queue.heartbeat = Some(heartbeat);
        }
        if let Some(end) = self.list_end {
            queue.list_end = end.into();
        }
    }
}
