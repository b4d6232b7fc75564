//! Waiting for something new in a folder.

use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, channel};

use super::layout::Layout;

/// Where the system tells nothing (network file systems, no watches left) it is looked this often.
const LOOK: Duration = Duration::from_secs(2);

/// Tells that something changed since it was asked last.
pub struct Watch {
    changes: Receiver<()>,
    /// Tells as long as it lives; `None`: the system cannot.
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches new jobs and marks to cancel them.
    pub fn of(layout: &Layout) -> Self {
        let (told, changes) = channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own looking changes nothing. One untaken change is as good as many.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                let _ = told.try_send(());
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(&layout.waiting(), RecursiveMode::NonRecursive)?;
            watcher.watch(&layout.records(), RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        Self {
            changes,
            watcher: watcher.ok(),
        }
    }

    pub async fn wait(&mut self, at_most: Duration) {
        let at_most = match self.watcher {
            Some(_) => at_most,
            None => at_most.min(LOOK),
        };
        // Without a watcher the channel is closed and says so at once.
        let changed = async {
            match self.watcher {
                Some(_) => self.changes.recv().await,
                None => std::future::pending().await,
            }
        };
        let _ = tokio::time::timeout(at_most, changed).await;
    }
}
