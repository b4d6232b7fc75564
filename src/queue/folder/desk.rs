//! What a drain remembers between two claims.

use std::collections::HashMap;

use anyhow::Result;

use super::layout::{self, Layout};
use super::scan::Scan;

/// What was seen, and which ids are taken.
#[derive(Default)]
pub struct Desk {
    pub scan: Scan,
    /// Ids of all jobs that are held or have ended, by their lower-case form. Made with the first claim;
    /// others may remove jobs meanwhile, so a hit is looked up.
    taken: Option<HashMap<String, String>>,
}

impl Desk {
    /// The id, perhaps written otherwise, under which a job is held or has ended.
    pub fn taken_by(&mut self, layout: &Layout, id: &str) -> Result<Option<String>> {
        let taken = match &mut self.taken {
            Some(taken) => taken,
            none => none.insert(taken_ids(layout)?),
        };
        Ok(taken.get(&id.to_ascii_lowercase()).cloned())
    }

    /// A job is held now.
    pub fn remember(&mut self, id: &str) {
        if let Some(taken) = &mut self.taken {
            taken.insert(id.to_ascii_lowercase(), id.into());
        }
    }

    /// Forgets an id that waits again.
    pub fn free(&mut self, id: &str) {
        if let Some(taken) = &mut self.taken {
            taken.remove(&id.to_ascii_lowercase());
        }
    }
}

fn taken_ids(layout: &Layout) -> Result<HashMap<String, String>> {
    let mut taken = HashMap::new();
    for place in [layout.done(), layout.dead(), layout.work()] {
        for name in layout::records_in(&place)? {
            if !layout::is_conflict(&name) {
                taken.insert(name.to_ascii_lowercase(), name);
            }
        }
    }
    Ok(taken)
}
