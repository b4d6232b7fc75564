//! What this installation has and holds, in numbers: for `admin_utilities` and `doctor`.

use serde_json::{Map, Value, json};

use super::loader::Loader;
use super::run::{Finished, Runner};
use crate::config::Settings;
use crate::enhance::cache::Cache;
use crate::registry::{Registry, Source};

pub(super) fn make(runner: &mut Runner) -> Finished {
    let mut report = report(&mut runner.loader, &runner.registry, &runner.settings);
    if let Some(queues) = runner.queues.take() {
        report.insert("queues".into(), queues);
    }
    let text = serde_json::to_string_pretty(&report).expect("plain JSON");
    Finished {
        answer: Some(text),
        metadata: report,
        ..Finished::default()
    }
}

/// Memory, models, routes, the enhancement cache and queues.
pub fn report(loader: &mut Loader, registry: &Registry, settings: &Settings) -> Map<String, Value> {
    let routes: Map<String, Value> = registry
        .routes()
        .map(|(job_type, model)| (job_type.to_string(), model.into()))
        .collect();
    let mut report = Map::new();
    report.insert("memory".into(), memory(loader, registry));
    report.insert("models".into(), models(registry).into());
    report.insert("routes".into(), routes.into());
    report.insert("enhancement_cache".into(), enhancement_cache(settings));
    report.insert(
        "queues".into(),
        json!({"configured": false, "note": "no queue is configured, so there are no depths"}),
    );
    report
}

/// Totals, buffer, pressure, and what each model needs and whether it could be loaded now.
pub fn memory(loader: &mut Loader, registry: &Registry) -> Value {
    match loader.report(registry.models()) {
        Ok(report) => json!(report),
        Err(error) => json!({"problem": format!("{error:#}")}),
    }
}

fn models(registry: &Registry) -> Vec<Value> {
    let record = |model: &crate::registry::ModelSpec| {
        json!({
            "name": model.name,
            "family": model.family.name(),
            "embedded": model.source == Source::Embedded,
            "present": model.check_files().is_ok(),
        })
    };
    registry.models().map(record).collect()
}

/// Entries, bytes, hits and misses of the kept answers.
pub fn enhancement_cache(settings: &Settings) -> Value {
    let cache = Cache::of(settings);
    match cache.stats() {
        Ok(stats) => {
            let mut record = json!(stats);
            record["folder"] = cache.folder().display().to_string().into();
            record
        }
        Err(error) => json!({"problem": format!("{error:#}")}),
    }
}
