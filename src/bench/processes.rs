//! What is measured as whole processes, start-up included: what a user waits for.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Case, Repeat, Stage, machine};
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::files::{Existing, write_whole};

/// Jobs of one measurement of the queue.
const JOBS: usize = 12;
/// One run is enough of a queue: it holds many jobs.
const SMALL_JOB: &str = "type: sdxl_image_fast\nmodel: micro-sdxl\nprompt: a red circle on a white background\n\
    config: {steps: 1, seed: 1, auto_negative: false}\n";

/// A command that is measured, by its arguments.
struct Run<'a> {
    stage: &'a str,
    args: Vec<String>,
}

/// Start of the program, and nothing else.
///
/// # Errors
/// When this program cannot be started again.
pub fn start(repeated: &Repeat) -> Result<Case> {
    let run = Run {
        stage: "--version",
        args: vec!["--version".into()],
    };
    Ok(case("start", vec![measure(&run, None, repeated)?]))
}

/// One prompt, answered by the model and then from the cache.
///
/// # Errors
/// As [`start`].
pub fn enhance(repeated: &Repeat) -> Result<Case> {
    let args = |extra: &[&str]| {
        let all = ["enhance", "red circle", "--quiet"].iter().chain(extra);
        all.map(|word| word.to_string()).collect()
    };
    let fresh = Run {
        stage: "model",
        args: args(&["--no-cache"]),
    };
    let kept = Run {
        stage: "cache",
        args: args(&[]),
    };
    Ok(case(
        "enhance",
        vec![measure(&fresh, None, repeated)?, measure(&kept, None, repeated)?],
    ))
}

/// Jobs of one step: `generate` with all of them, and a drain of a folder that holds them. The
/// difference, over their number, is what a queue costs.
///
/// # Errors
/// As [`start`], and when no temporary folder can be made.
pub fn queue(repeated: &Repeat) -> Result<Case> {
    let folder = std::env::temp_dir().join(format!("ourvidz-bench-{}", uuid::Uuid::new_v4().simple()));
    let measured = queue_in(&folder, repeated);
    // What is left is small, and in the temporary folder.
    let _ = std::fs::remove_dir_all(&folder);
    measured
}

fn queue_in(folder: &Path, repeated: &Repeat) -> Result<Case> {
    let (mut generate, mut drain) = (Stage::new("generate"), Stage::new("queue-drain"));
    for round in 0..repeated.warmup + repeated.iterations {
        let place = folder.join(round.to_string());
        let new = place.join("queue/new");
        std::fs::create_dir_all(&new).context("making a folder for the queue's measurement")?;
        let mut specs = Vec::new();
        for job in 0..JOBS {
            let spec = place.join(format!("{job}.yaml"));
            for path in [&spec, &new.join(format!("job-{job}.yaml"))] {
                write_whole(path, SMALL_JOB.as_bytes(), Existing::Keep)?;
            }
            specs.push(spec.display().to_string());
        }
        let output = format!("{}/", place.join("out").display());
        let mut args = vec!["generate".to_string()];
        args.extend(specs);
        args.extend(["--quiet".into(), "-o".into(), output]);
        let queue = place.join("queue").display().to_string();
        let runs = [
            (
                Run {
                    stage: "generate",
                    args,
                },
                &mut generate,
            ),
            (
                Run {
                    stage: "queue-drain",
                    args: vec!["queue-drain".into(), queue],
                },
                &mut drain,
            ),
        ];
        for (run, stage) in runs {
            repeated.stop.check()?;
            let (wall, core) = once(&run)?;
            if round >= repeated.warmup {
                stage.seconds.push(wall);
                stage.core_seconds.push(core);
            }
        }
    }
    for stage in [&mut generate, &mut drain] {
        stage.unit = Some(("jobs".into(), JOBS as f64));
    }
    Ok(case("queue", vec![generate, drain]))
}

fn measure(run: &Run<'_>, unit: Option<(String, f64)>, repeated: &Repeat) -> Result<Stage> {
    let mut stage = Stage::new(run.stage);
    for round in 0..repeated.warmup + repeated.iterations {
        match repeated.stop.check() {
            Err(_) if !stage.seconds.is_empty() => break,
            other => other?,
        }
        let (wall, core) = once(run)?;
        if round >= repeated.warmup {
            stage.seconds.push(wall);
            stage.core_seconds.push(core);
        }
    }
    stage.unit = unit;
    Ok(stage)
}

/// Wall and processor seconds of one run.
fn once(run: &Run<'_>) -> Result<(f64, f64)> {
    let program = std::env::current_exe().context("finding this program")?;
    let core = machine::children_core_time();
    let start = std::time::Instant::now();
    let output = Command::new(program)
        .args(&run.args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|e| {
            Error::new(
                ErrorKind::Unavailable,
                format!("starting `ourvidz {}`: {e}", run.args[0]),
            )
        })?;
    let wall = start.elapsed().as_secs_f64();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        fail!(
            Unavailable,
            "`ourvidz {}` ended with {}: {}",
            run.args[0],
            output.status,
            said.trim()
        );
    }
    Ok((
        wall,
        machine::children_core_time().saturating_sub(core).as_secs_f64(),
    ))
}

fn case(name: &str, stages: Vec<Stage>) -> Case {
    Case {
        name: name.into(),
        dtype: None,
        stages,
        peak_host_bytes: None,
        peak_device_bytes: None,
    }
}
