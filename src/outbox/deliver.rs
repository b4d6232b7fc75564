//! Sends callbacks: several at once, each until it arrives or its schedule ends.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, StatusCode};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::envelope::{Envelope, OutboxStore, State, Which, now_ms, passing_webhook_id};
use super::schedule::{Failed, Then, retry_after};
use super::sign::Signer;
use crate::config::CallbackSettings;
use crate::files::points::point;
use crate::net;

/// For one try: from the name of the host to its answer.
const TRY_TIME: Duration = Duration::from_secs(15);

/// Tries at the same time, of receivers that take their time.
const AT_ONCE: usize = 16;

/// One callback after the other, so that a crash finds at most one that has arrived and still lies in the
/// outbox; a receiver that takes longer than this holds the others up no more.
const OVERTAKEN_AFTER: Duration = Duration::from_secs(1);

/// How long tries under way may still take when delivery is broken off: what has reached its receiver is not
/// to be sent again.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The longest sleep between two looks into an outbox that somebody else may fill.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What a round of delivery did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Jobs whose callback arrived.
    pub delivered: Vec<String>,
    /// Jobs whose callback did not, and why.
    pub failed: Vec<(String, String)>,
}

/// Posts envelopes and keeps their outbox up to date. Clones share it.
#[derive(Clone)]
pub struct Deliverer {
    client: Client,
    signer: Arc<Signer>,
    outbox: Arc<dyn OutboxStore>,
    woken: Arc<Notify>,
    try_time: Duration,
}

impl Deliverer {
    /// # Errors
    /// `Config` for secrets that cannot be used.
    pub fn new(outbox: Arc<dyn OutboxStore>, settings: &CallbackSettings) -> Result<Self> {
        let client = net::client().build().context("the client that posts callbacks")?;
        Ok(Self {
            client,
            signer: Arc::new(Signer::new(settings)?),
            outbox,
            woken: Arc::default(),
            try_time: TRY_TIME,
        })
    }

    /// Another time for one try than 15 s.
    pub fn with_try_time(self, try_time: Duration) -> Self {
        Self { try_time, ..self }
    }

    /// Says that something new lies in the outbox; [`Deliverer::run`] looks at once.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// Sends a body once, stores nothing and does not mind when it does not arrive: `processing`.
    /// Returns why it did not.
    pub async fn send_once(&self, url: &str, body: &str) -> Option<String> {
        let failed = self.post(url, &passing_webhook_id(), body).await.err()?;
        Some(failed.why)
    }

    /// Tries what the outbox holds, each once, until nothing is left to try or the time is up. Tries
    /// that are still under way then are broken off and count as none.
    ///
    /// # Errors
    /// Those of the outbox.
    pub async fn round(&self, which: Which, until: Instant) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut tries = Tries::default();
        loop {
            let another = self.fill(&mut tries, which).await?;
            let pause = another.map_or(until, |another| another.min(until));
            match timeout_at(pause, tries.next()).await {
                Ok(Some(ended)) => tally.take(ended?),
                Ok(None) => return Ok(tally),
                Err(_) if Instant::now() < until => {}
                Err(_) => {
                    let ended = self.break_off(tries).await?;
                    ended.into_iter().for_each(|tried| tally.take(tried));
                    return Ok(tally);
                }
            }
        }
    }

    /// Delivers what falls due until `stop` ends. Failures of single callbacks go to `told`.
    ///
    /// # Errors
    /// Those of the outbox.
    pub async fn run(&self, stop: impl Future<Output = ()>, mut told: impl FnMut(&Tried)) -> Result<()> {
        let mut stop = pin!(stop);
        let mut tries = Tries::default();
        loop {
            let another = self.fill(&mut tries, Which::Due(now_ms())).await?;
            let next_look = self.next_look().await?;
            let next_look = another.map_or(next_look, |another| another.min(next_look));
            tokio::select! {
                () = &mut stop => break,
                Some(ended) = tries.next() => told(&ended?),
                () = self.woken.notified() => {}
                () = sleep_until(next_look) => {}
            }
        }
        self.break_off(tries).await?.iter().for_each(told);
        Ok(())
    }

    /// When something falls due that nobody tells us of.
    async fn next_look(&self) -> Result<Instant> {
        let next_at_ms = self.outbox.counts().await?.next_at_ms;
        let wait = next_at_ms.map_or(LONGEST_SLEEP, |at| {
            Duration::from_millis(at.saturating_sub(now_ms()).max(1000))
        });
        Ok(Instant::now() + wait.min(LONGEST_SLEEP))
    }

    /// Starts a try if there is room for it. Returns when there will be room for another, whatever becomes
    /// of those under way; `None`: not before one of them ends.
    async fn fill(&self, tries: &mut Tries, which: Which) -> Result<Option<Instant>> {
        if tries.under_way.len() == AT_ONCE {
            return Ok(None);
        }
        if let Some(last) = tries.last_begun()
            && last.elapsed() < OVERTAKEN_AFTER
        {
            return Ok(Some(last + OVERTAKEN_AFTER));
        }
        let Some(envelope) = self.outbox.claim(which, 1).await?.pop() else {
            return Ok(None);
        };
        let begun = Instant::now();
        tries.under_way.insert(envelope.webhook_id.clone(), begun);
        let this = self.clone();
        tries.tasks.spawn(async move { this.attempt(envelope).await });
        Ok(Some(begun + OVERTAKEN_AFTER))
    }

    /// Ends what is under way. A try whose answer is here already ends by itself and is given back: it may
    /// have emptied the outbox, which is what ended us.
    async fn break_off(&self, mut tries: Tries) -> Result<Vec<Tried>> {
        let until = Instant::now() + LAST_WORDS;
        let mut last = Vec::new();
        while let Ok(Some(ended)) = timeout_at(until, tries.next()).await {
            last.push(ended?);
        }
        tries.tasks.shutdown().await;
        for id in tries.under_way.keys() {
            self.outbox.release(id).await?;
        }
        Ok(last)
    }

    /// One try, and what it means for the outbox.
    async fn attempt(&self, mut envelope: Envelope) -> Result<Tried> {
        point("deliver:before-post");
        let answer = self
            .post(&envelope.url, &envelope.webhook_id, &envelope.body)
            .await;
        point("deliver:after-post");
        let mut tried = Tried {
            webhook_id: envelope.webhook_id.clone(),
            job_id: envelope.job_id.clone(),
            failed: None,
            state: State::Waiting,
            next_at_ms: envelope.next_at_ms,
        };
        match answer {
            Ok(()) => self.outbox.remove(&envelope.webhook_id).await?,
            Err(failed) => {
                tried.failed = Some(failed.why.clone());
                envelope.fail(failed, now_ms());
                (tried.state, tried.next_at_ms) = (envelope.state, envelope.next_at_ms);
                self.outbox.reschedule(&envelope).await?;
            }
        }
        Ok(tried)
    }

    async fn post(&self, url: &str, webhook_id: &str, body: &str) -> Result<(), Failed> {
        let retry = |why: String| Failed {
            why,
            then: Then::Retry,
        };
        let headers = self
            .signer
            .headers(webhook_id, now_ms() / 1000, body)
            .map_err(|e| retry(e.to_string()))?;
        let request = self.client.post(url).headers(headers).body(body.to_owned());
        let sent = request.timeout(self.try_time).send().await;
        let response = sent.map_err(|e| retry(self.unreached(e)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let asked = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| retry_after(value.to_str().ok()?, Timestamp::now()));
        let then = match (status, asked) {
            (StatusCode::GONE, _) => Then::Stop,
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(wait)) => {
                Then::RetryAfter(wait)
            }
            _ => Then::Retry,
        };
        let why = match status.is_redirection() {
            true => format!("answered {status}; redirects are not followed"),
            false => format!("answered {status}"),
        };
        Err(Failed { why, then })
    }

    /// Why there was no answer; the address may hold a token and is left out.
    fn unreached(&self, error: reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no answer within {} s", self.try_time.as_secs_f64());
        }
        match error.is_connect() {
            true => format!("cannot be reached ({})", net::cause(error)),
            false => format!("broke off ({})", net::cause(error)),
        }
    }
}

/// One try that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    pub webhook_id: String,
    pub job_id: String,
    /// Why it did not arrive; `None`: it did.
    pub failed: Option<String>,
    /// Whether there will be another try, and when.
    pub state: State,
    pub next_at_ms: u64,
}

/// Tries under way.
#[derive(Default)]
struct Tries {
    tasks: JoinSet<Result<Tried>>,
    /// Their ids, and when each was begun.
    under_way: HashMap<String, Instant>,
}

impl Tries {
    fn last_begun(&self) -> Option<Instant> {
        self.under_way.values().max().copied()
    }

    /// The next one to end; `None` when none is under way.
    async fn next(&mut self) -> Option<Result<Tried>> {
        let ended = self.tasks.join_next().await?;
        let ended = ended.context("a callback's try").and_then(|tried| tried);
        if let Ok(tried) = &ended {
            self.under_way.remove(&tried.webhook_id);
        }
        Some(ended)
    }
}

impl Tally {
    fn take(&mut self, ended: Tried) {
        match ended.failed {
            None => self.delivered.push(ended.job_id),
            Some(why) => self.failed.push((ended.job_id, why)),
        }
    }
}
