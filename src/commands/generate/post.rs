//! Posts the callbacks of a run beside its work: a thread delivers while the next job is computed.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::{CallbackSettings, Settings};
use crate::fail;
use crate::net;
use crate::outbox::deliver::{Deliverer, Tried};
use crate::outbox::envelope::{Envelope, State, Which, now_ms, webhook_id};
use crate::outbox::folder::FolderOutbox;
use crate::outbox::sign::Signer;
use crate::outbox::target::target;
use crate::outcome::Status;

/// How long the end of a run waits for its callbacks to arrive.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The same after Ctrl-C.
pub const PATIENCE_AFTER_SIGNAL: Duration = Duration::from_secs(1);

/// How often the end of a run looks whether somebody else delivers what it waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A job that has ended, as its callback tells.
pub struct Ended<'a> {
    pub job_id: &'a str,
    pub spec_sha256: &'a str,
    pub completed: bool,
    /// The job's own `callback_url`.
    pub own_url: Option<&'a str>,
    pub body: String,
}

/// Where the callbacks of a run go. What is stored and not delivered waits in the data folder's
/// outbox for whoever delivers next.
pub struct Post {
    callback: CallbackSettings,
    outbox: FolderOutbox,
    courier: Option<Courier>,
    /// Jobs of this run by the id of their callback.
    jobs: HashMap<String, String>,
}

/// The thread that delivers.
struct Courier {
    orders: UnboundedSender<Order>,
    thread: JoinHandle<Result<Pending>>,
}

enum Order {
    /// Try once, whatever comes of it.
    Once { url: String, body: String },
    /// This envelope was stored.
    Stored { webhook_id: String },
    /// Go on until everything is tried, or until then.
    End(Instant),
}

/// Ids of callbacks that have not arrived, with the time of their next try.
type Pending = HashMap<String, u64>;

impl Post {
    /// Starts to deliver what earlier runs left, if that is due.
    ///
    /// # Errors
    /// `Config` for secrets that cannot be used.
    pub fn new(settings: &Settings) -> Result<Self> {
        if settings.callback.url.is_some() || !settings.callback.allow_hosts.is_empty() {
            // Known before any work.
            Signer::new(&settings.callback)?;
        }
        let mut post = Self {
            callback: settings.callback.clone(),
            outbox: FolderOutbox::new(settings.data_dir.join("outbox")),
            courier: None,
            jobs: HashMap::new(),
        };
        // An outbox that cannot be read holds up no job; its own callback will say so.
        for left in post.outbox.wanted(Which::Due(now_ms())).unwrap_or_default() {
            post.order(Order::Stored {
                webhook_id: left.webhook_id,
            })?;
        }
        Ok(post)
    }

    /// Says that a job has begun: best effort.
    ///
    /// # Errors
    /// As [`Post::new`].
    pub fn begin(&mut self, own_url: Option<&str>, body: String) -> Result<()> {
        match target(own_url, &self.callback).url {
            Some(url) => self.order(Order::Once {
                url: url.into(),
                body,
            }),
            None => Ok(()),
        }
    }

    /// Stores the callback of a job that has ended and has it delivered.
    ///
    /// # Errors
    /// As [`Post::new`], `CannotWrite` or `Io` when it cannot be stored.
    pub fn tell(&mut self, ended: Ended<'_>) -> Result<()> {
        let Some(url) = target(ended.own_url, &self.callback).url else {
            return Ok(());
        };
        let status = match ended.completed {
            true => Status::Completed,
            false => Status::Failed,
        };
        let id = webhook_id(ended.job_id, ended.spec_sha256, status, 0);
        let envelope = Envelope::new(id.clone(), ended.job_id, url.as_str(), ended.body, now_ms());
        self.outbox.put_now(&envelope)?;
        self.jobs.insert(id.clone(), ended.job_id.into());
        self.order(Order::Stored { webhook_id: id })
    }

    /// Waits until everything is tried, but no longer than `patience`; what to tell the user.
    ///
    /// # Errors
    /// Those of the outbox.
    pub fn finish(self, patience: Duration) -> Result<Vec<String>> {
        let Some(courier) = self.courier else {
            return Ok(Vec::new());
        };
        let end = Order::End(Instant::now() + patience);
        // The thread ends before its orders only by an error, which it hands over.
        let _ = courier.orders.send(end);
        let Ok(pending) = courier.thread.join() else {
            fail!(Internal, "the thread that delivers callbacks came to a bad end");
        };
        let mut notes = Vec::new();
        let mut older = 0;
        for webhook_id in pending?.keys() {
            let Some(envelope) = self.outbox.get(webhook_id) else {
                continue;
            };
            let why = envelope.last_error.as_deref().unwrap_or("not tried yet");
            match self.jobs.get(webhook_id) {
                Some(job_id) => notes.push(format!(
                    "job {job_id}: its callback is not delivered ({why}) and waits in `{}`; the next run or `ourvidz queue deliver` tries again",
                    self.outbox.folder().display()
                )),
                None => older += 1,
            }
        }
        if older > 0 {
            notes.push(format!("callbacks of earlier runs still wait: {older}"));
        }
        Ok(notes)
    }

    fn order(&mut self, order: Order) -> Result<()> {
        let courier = match self.courier.take() {
            Some(courier) => courier,
            None => Courier::start(&self.outbox, &self.callback)?,
        };
        // As in `finish`.
        let _ = courier.orders.send(order);
        self.courier = Some(courier);
        Ok(())
    }
}

impl Courier {
    fn start(outbox: &FolderOutbox, callback: &CallbackSettings) -> Result<Self> {
        let deliverer = Deliverer::new(Arc::new(outbox.clone()), callback)?;
        let runtime = net::runtime()?;
        let (orders, received) = unbounded_channel();
        let outbox = outbox.clone();
        let thread = std::thread::Builder::new()
            .name("callbacks".into())
            .spawn(move || runtime.block_on(deliver(deliverer, outbox, received)))
            .context("the thread that delivers callbacks")?;
        Ok(Self { orders, thread })
    }
}

/// Delivers until the end is ordered and everything that may still arrive by then has been tried.
async fn deliver(
    deliverer: Deliverer,
    outbox: FolderOutbox,
    mut orders: UnboundedReceiver<Order>,
) -> Result<Pending> {
    let (tell, mut told) = unbounded_channel::<Tried>();
    let runner = deliverer.clone();
    let mut pending = Pending::new();
    let until_done = async {
        let mut end = None;
        loop {
            // Before the end is ordered there is none.
            let deadline = end.unwrap_or_else(|| Instant::now() + Duration::from_secs(1 << 30));
            tokio::select! {
                order = orders.recv(), if end.is_none() => match order {
                    Some(Order::Once { url, body }) => {
                        let deliverer = deliverer.clone();
                        tokio::spawn(async move { deliverer.send_once(&url, &body).await });
                    }
                    Some(Order::Stored { webhook_id }) => {
                        pending.insert(webhook_id, 0);
                        deliverer.wake();
                    }
                    Some(Order::End(at)) => end = Some(at),
                    None => end = Some(Instant::now()),
                },
                Some(tried) = told.recv() => match tried.failed {
                    None => drop(pending.remove(&tried.webhook_id)),
                    Some(_) => drop(pending.insert(tried.webhook_id, next_try(tried.state, tried.next_at_ms))),
                },
                () = sleep(LOOK_AGAIN), if end.is_some() => look_again(&outbox, &mut pending),
                () = sleep_until(deadline) => return,
            }
            if end.is_some_and(|end| nothing_until(end, &pending)) {
                return;
            }
        }
    };
    // Nobody listens any more when the last of them ends.
    let done = runner
        .run(until_done, |tried| drop(tell.send(tried.clone())))
        .await;
    done.map(|()| pending)
}

/// When an envelope is tried next; never, unless it waits.
fn next_try(state: State, next_at_ms: u64) -> u64 {
    match state {
        State::Waiting => next_at_ms,
        State::GivenUp | State::Gone => u64::MAX,
    }
}

/// Another process may have delivered or tried what we wait for.
fn look_again(outbox: &FolderOutbox, pending: &mut Pending) {
    pending.retain(|webhook_id, next_at_ms| match outbox.get(webhook_id) {
        Some(envelope) => {
            *next_at_ms = next_try(envelope.state, envelope.next_at_ms);
            true
        }
        None => false,
    });
}

/// Whether no callback can arrive before `end` any more.
fn nothing_until(end: Instant, pending: &Pending) -> bool {
    let left = end.saturating_duration_since(Instant::now());
    let end_ms = now_ms().saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    pending.values().all(|next_at_ms| *next_at_ms > end_ms)
}
