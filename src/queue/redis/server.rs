//! The connection to a Redis server: made again when it breaks, and checked once.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Result;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, RedisResult, ServerErrorKind};
use tokio::sync::Mutex;

use super::keys::{Keys, Kind};
use super::scripts::Script;
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::net::prepare_tls;
use crate::queue::contract::QueueName;
use crate::queue::place::Place;

/// The consumer group of every stream.
pub const GROUP: &str = "ourvidz";

/// The oldest server that has what the scripts use.
const OLDEST: (u32, u32) = (6, 2);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses between two tries double up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A server, whether it is there right now or not.
pub struct Server {
    client: Client,
    shown: String,
    /// How long a command is tried before we give up.
    patience: Duration,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Server {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// `Config` for an address that the client cannot read.
    pub fn new(place: &Place, patience: Duration) -> Result<Self> {
        prepare_tls();
        let Place::Redis(url) = place else {
            fail!(Internal, "queue `{place}`: it is no address of a server");
        };
        let Ok(client) = Client::open(url.as_str()) else {
            // Its error may show the address.
            fail!(Config, "queue `{place}`: the address cannot be used"; "use redis://HOST:6379/0 or rediss://HOST:6379/0");
        };
        Ok(Self {
            client,
            shown: place.to_string(),
            patience,
            connection: Mutex::default(),
        })
    }

    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Asks for one answer; tries again while the server is away. Whatever is asked must bear being
    /// done twice, for an answer may get lost.
    ///
    /// # Errors
    /// `Unavailable` or `Config`, as [`Server::failure`] says.
    pub async fn ask<T: FromRedisValue>(&self, command: Cmd) -> Result<T> {
        self.patiently(|mut connection| {
            let command = command.clone();
            async move { command.query_async(&mut connection).await }
        })
        .await
    }

    /// Runs a script on the keys of one queue; as [`Server::ask`].
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn run<T: FromRedisValue>(
        &self,
        script: Script,
        queue: QueueName,
        arguments: &[Vec<u8>],
    ) -> Result<T> {
        let keys = Keys::of(queue);
        self.patiently(|mut connection| {
            let mut call = script.get().prepare_invoke();
            for key in keys.all() {
                call.key(key);
            }
            for argument in arguments {
                call.arg(argument.as_slice());
            }
            async move { call.invoke_async(&mut connection).await }
        })
        .await
    }

    async fn patiently<T, F>(&self, attempt: impl Fn(MultiplexedConnection) -> F) -> Result<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.connection().await {
                Ok(connection) => match attempt(connection).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if begun.elapsed() + pause > self.patience {
                return Err(self.failure(&error).into());
            }
            if is_forgotten(&error) {
                // The server came back without what it had.
                match self.make_groups().await {
                    Err(e) if !is_passing(&e) => return Err(self.failure(&e).into()),
                    _ => {}
                }
            } else if is_passing(&error) {
                *self.connection.lock().await = None;
                tracing::debug!(queue = self.shown, "redis: {error}; trying again");
            } else {
                return Err(self.failure(&error).into());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = held.as_ref() {
            return Ok(connection.clone());
        }
        let connection = self.connect(Some(ANSWER_TIMEOUT)).await?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    /// A connection of its own, for commands that wait.
    pub async fn connect(&self, answer_timeout: Option<Duration>) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(answer_timeout);
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    async fn make_groups(&self) -> RedisResult<()> {
        let mut connection = self.connection().await?;
        for queue in QueueName::ALL {
            let keys = Keys::of(queue);
            let made: RedisResult<()> = redis::cmd("XGROUP")
                .arg(&["CREATE", &keys.stream, GROUP, "0", "MKSTREAM"])
                .query_async(&mut connection)
                .await;
            match made {
                Err(e) if e.code() != Some("BUSYGROUP") => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that the server can keep jobs, and makes the groups.
    ///
    /// # Errors
    /// `Config` for a server that is too old, that evicts keys (unless `force`), that has something else
    /// under our names or that refuses us; `Unavailable` if it cannot be reached.
    pub async fn prepare(&self, force: bool) -> Result<()> {
        self.check_version().await?;
        self.check_eviction(force).await?;
        for queue in QueueName::ALL {
            for (key, kind) in Keys::of(queue).kinds() {
                let there: String = self.ask(redis::cmd("TYPE").arg(key).to_owned()).await?;
                if there != "none" && there != kind.name() {
                    fail!(Config, "queue `{}`: the key `{key}` is a {there}, it must be a {}", self.shown, kind.name();
                        "rename or delete that key, or choose another database (redis://HOST/1)");
                }
            }
        }
        self.patiently(|_| self.make_groups()).await
    }

    async fn check_version(&self) -> Result<()> {
        let info: String = self.ask(redis::cmd("INFO").arg("server").to_owned()).await?;
        let Some(version) = info_field(&info, "redis_version") else {
            return Ok(());
        };
        let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
        if let (Some(Some(major)), Some(Some(minor))) = (parts.next(), parts.next())
            && (major, minor) < OLDEST
        {
            fail!(Config, "queue `{}`: the server is Redis {version}, it must be 6.2 or newer, or Valkey", self.shown;
                "update the server");
        }
        Ok(())
    }

    async fn check_eviction(&self, force: bool) -> Result<()> {
        let info: String = self.ask(redis::cmd("INFO").arg("memory").to_owned()).await?;
        match info_field(&info, "maxmemory_policy") {
            Some(policy) if policy != "noeviction" && !force => {
                fail!(Config, "queue `{}`: its maxmemory-policy is `{policy}`, so it may forget jobs when memory is short", self.shown;
                    "set maxmemory-policy to noeviction, or accept the loss with --force");
            }
            _ => Ok(()),
        }
    }

    /// Says in our words what went wrong. A server's own words hold no password.
    pub fn failure(&self, error: &RedisError) -> Error {
        let shown = &self.shown;
        let config = |what: String, hint: &str| {
            Error::new(ErrorKind::Config, format!("queue `{shown}`: {what}")).hint(hint)
        };
        let refused = error.kind() == redis::ErrorKind::AuthenticationFailed;
        match error.code().unwrap_or_default() {
            "NOAUTH" => config(
                "the server asks for a password".into(),
                "put it into the address, redis://:PASSWORD@HOST, in OURVIDZ_QUEUE or config.toml",
            ),
            "WRONGPASS" => wrong_password(shown),
            _ if refused => wrong_password(shown),
            "NOPERM" => config(
                format!("the user may not do what a queue needs ({error})"),
                "allow it all commands on ourvidz:* and the lists sdxl_queue, chat_queue and wan_queue",
            ),
            "WRONGTYPE" => config(
                "a key of the queue is of another type".into(),
                "rename or delete that key, or choose another database (redis://HOST/1)",
            ),
            _ if error.kind() == redis::ErrorKind::InvalidClientConfig => config(
                format!("the address cannot be used ({error})"),
                "use redis:// or rediss://",
            ),
            _ => Error::new(
                ErrorKind::Unavailable,
                format!("queue `{shown}`: Redis does not answer as it should ({error})"),
            )
            .hint("jobs and outcomes are kept there; run it again when the server is back"),
        }
    }
}

fn wrong_password(shown: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("queue `{shown}`: the server refuses the user or password"),
    )
    .hint("check the address in OURVIDZ_QUEUE or config.toml")
}

/// Whether the same command may succeed in a moment.
fn is_passing(error: &RedisError) -> bool {
    use ServerErrorKind::*;
    match error.kind() {
        redis::ErrorKind::Io | redis::ErrorKind::Parse => true,
        redis::ErrorKind::Server(BusyLoading | MasterDown | ClusterDown | TryAgain | ReadOnly) => true,
        _ => {
            error.is_io_error() || error.is_timeout() || error.is_connection_dropped() || {
                // The disk of the server, or its memory, is full; somebody may be mending it.
                matches!(error.code(), Some("MISCONF" | "OOM" | "BUSY"))
            }
        }
    }
}

/// Whether the streams that were made at the start are not there any more.
fn is_forgotten(error: &RedisError) -> bool {
    error.code() == Some("NOGROUP") || error.to_string().contains("no such key")
}

fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

impl Kind {
    /// As `TYPE` says it.
    fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Hash => "hash",
            Self::SortedSet => "zset",
            Self::Set => "set",
            Self::List => "list",
        }
    }
}
