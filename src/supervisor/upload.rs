//! A finished job's files on their way into the store.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::time::sleep;

use super::drain::Drain;
use super::held::Ready;
use crate::error::{ErrorKind, kind_of};
use crate::files::points::point;
use crate::files::{read_bounded, sha256_hex};
use crate::job::JobSpec;
use crate::outbox::body;
use crate::outcome::{Asset, Outcome, thumbnail_name};
use crate::queue::{Lease, StoredAsset};
use crate::store::{Object, Stored, key};

/// Largest asset that is taken from a worker: twice the largest limit of a job type.
const LARGEST_ASSET_BYTES: u64 = 400 << 20;

/// How long an upload may go on once the drain ends.
const UPLOAD_AT_END: Duration = Duration::from_secs(12);

/// Stores every file of a finished job. `None` when the job was handed back or lost instead.
///
/// # Errors
/// The job's own fault, such as another file in the way.
pub async fn upload(drain: &Rc<Drain>, ready: &mut Ready, outcome: &Outcome) -> Result<Option<Vec<Stored>>> {
    let storing = store_all(drain, &ready.spec, ready.claim.id(), outcome);
    tokio::pin!(storing);
    let ended = async {
        drain.ending.begun().await;
        sleep(UPLOAD_AT_END).await;
    };
    tokio::pin!(ended);
    let stored = loop {
        tokio::select! {
            stored = &mut storing => break stored,
            state = ready.hold.changed() => if state == Lease::Lost {
                drain.released(ready.claim.id(), "somebody else has it");
                return Ok(None);
            },
            () = &mut ended => {
                drain.hand_back(&ready.claim, "the drain ended before its files were stored").await;
                return Ok(None);
            }
        }
    };
    match stored {
        Ok(stored) => Ok(Some(stored)),
        Err(error) if is_surroundings(kind_of(&error)) => {
            drain.hand_back(&ready.claim, &format!("{error:#}")).await;
            drain.ending.fault(&error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Faults that no job can be blamed for.
fn is_surroundings(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unavailable
            | ErrorKind::CannotWrite
            | ErrorKind::Io
            | ErrorKind::Config
            | ErrorKind::Locked
    )
}

async fn store_all(drain: &Drain, spec: &JobSpec, id: &str, outcome: &Outcome) -> Result<Vec<Stored>> {
    let mut all = Vec::new();
    for asset in &outcome.assets {
        let bytes = read_bounded(&asset.path, LARGEST_ASSET_BYTES)?;
        let extension = asset.path.extension().unwrap_or_default().to_string_lossy();
        let object = Object {
            key: key(
                spec.user_id.as_deref(),
                id,
                &format!("{}.{extension}", asset.index),
            ),
            bytes: Bytes::from(bytes),
            sha256: asset.sha256.clone(),
            pixels_sha256: asset.pixels_sha256.clone(),
            mime_type: asset.mime_type.clone(),
            index: asset.index,
        };
        point("drain:before-asset");
        all.push(drain.store.put(&object).await?);
        point("drain:after-asset");
        store_thumbnail(drain, spec, id, asset).await?;
    }
    Ok(all)
}

/// The small picture beside an asset, where the worker made one. The same pixels give the same bytes.
async fn store_thumbnail(drain: &Drain, spec: &JobSpec, id: &str, asset: &Asset) -> Result<()> {
    let name = thumbnail_name(asset.index);
    let path = asset.path.with_file_name(&name);
    if !path.exists() {
        return Ok(());
    }
    let bytes = read_bounded(&path, LARGEST_ASSET_BYTES)?;
    let object = Object {
        key: key(spec.user_id.as_deref(), id, &name),
        sha256: sha256_hex(&bytes),
        bytes: Bytes::from(bytes),
        pixels_sha256: None,
        mime_type: "image/webp".into(),
        index: asset.index,
    };
    drain.store.put(&object).await.map(drop)
}

/// The assets as the callback names them.
pub async fn reported(drain: &Drain, outcome: &Outcome, stored: &[Stored]) -> Result<Vec<body::Asset>> {
    let mut assets = Vec::new();
    for (asset, stored) in outcome.assets.iter().zip(stored) {
        assets.push(body::Asset {
            path: drain.store.address(&stored.key).await?,
            bytes: stored.size,
            sha256: stored.sha256.clone(),
            seed: asset.seed,
            index: asset.index,
            mime_type: asset.mime_type.clone(),
            duration_s: asset.duration_s,
        });
    }
    Ok(assets)
}

/// What lies in the store may be an earlier file with the same pixels: its digest is told.
pub fn with_stored(mut metadata: Map<String, Value>, stored: &[Stored]) -> Map<String, Value> {
    if let Some(outputs) = metadata.get_mut("outputs").and_then(Value::as_array_mut) {
        for (output, stored) in outputs.iter_mut().zip(stored) {
            output["bytes"] = stored.size.into();
            output["sha256"] = stored.sha256.clone().into();
        }
    }
    metadata
}

pub fn timings(metadata: &Map<String, Value>) -> BTreeMap<String, f64> {
    let stages = metadata.get("timings").and_then(Value::as_object);
    stages
        .into_iter()
        .flatten()
        .filter_map(|(stage, seconds)| Some((stage.clone(), seconds.as_f64()?)))
        .collect()
}

/// The files as the record names them.
pub fn recorded(outcome: &Outcome, stored: &[Stored]) -> Vec<StoredAsset> {
    let both = outcome.assets.iter().zip(stored);
    both.map(|(asset, stored)| StoredAsset {
        key: stored.key.clone(),
        sha256: stored.sha256.clone(),
        pixels_sha256: asset.pixels_sha256.clone(),
        size: stored.size,
        mime_type: asset.mime_type.clone(),
        index: asset.index,
    })
    .collect()
}
