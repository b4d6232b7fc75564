//! Measures stages and whole jobs: of the models that are there, and of full-size ones with random
//! weights.

pub mod cases;
pub mod machine;
pub mod processes;
pub mod report;
pub mod shapes;
pub mod stats;
pub mod synthetic;

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::device;
use crate::stop::Stop;
use stats::Summary;

/// What one stage took, over all iterations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    pub stage: String,
    /// Wall time of each iteration.
    pub seconds: Vec<f64>,
    /// Processor time of each iteration.
    pub core_seconds: Vec<f64>,
    /// What a rate counts, such as `it` or `tokens`, and how many an iteration has.
    pub unit: Option<(String, f64)>,
    /// Counted from the shapes, for one iteration.
    pub flop: Option<f64>,
    /// Weights read, for one iteration.
    pub bytes: Option<f64>,
}

/// One thing measured under one set of values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// What it is, with every value that was swept: cases of two reports pair by it.
    pub name: String,
    pub dtype: Option<String>,
    pub stages: Vec<Stage>,
    /// The most memory that the process held meanwhile.
    pub peak_host_bytes: Option<u64>,
    /// What the device held at the end.
    pub peak_device_bytes: Option<u64>,
}

impl Stage {
    /// An empty series.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            stage: name.into(),
            seconds: Vec::new(),
            core_seconds: Vec::new(),
            unit: None,
            flop: None,
            bytes: None,
        }
    }

    /// Median, ends and spread of the wall time.
    pub fn wall(&self) -> Summary {
        Summary::of(&self.seconds)
    }

    /// How many of its unit a second, at the median.
    pub fn rate(&self) -> Option<f64> {
        let (_, count) = self.unit.as_ref()?;
        Some(count / self.wall().median)
    }
}

/// How often things are repeated, and who may end it.
#[derive(Debug, Clone)]
pub struct Repeat {
    pub warmup: usize,
    pub iterations: usize,
    pub stop: Stop,
}

/// Wall and processor time since some moment.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Instant,
    core: Duration,
}

impl Clock {
    pub fn start() -> Self {
        Self {
            wall: Instant::now(),
            core: machine::core_time(),
        }
    }

    /// Seconds since then: wall, processor.
    pub fn read(&self) -> (f64, f64) {
        let core = machine::core_time().saturating_sub(self.core);
        (self.wall.elapsed().as_secs_f64(), core.as_secs_f64())
    }
}

/// Splits an iteration into stages as a pipeline names them.
#[derive(Debug, Default)]
pub struct Laps {
    done: Vec<(String, f64, f64)>,
    running: Option<(String, Clock)>,
}

impl Laps {
    /// The running stage ends and another begins.
    pub fn begin(&mut self, stage: &str) {
        self.end();
        self.running = Some((stage.into(), Clock::start()));
    }

    /// The running stage ends.
    pub fn end(&mut self) {
        if let Some((stage, clock)) = self.running.take() {
            let (wall, core) = clock.read();
            self.done.push((stage, wall, core));
        }
    }

    /// Adds the laps to the stages of their names.
    pub fn add_to(mut self, stages: &mut Vec<Stage>) {
        self.end();
        for (name, wall, core) in self.done {
            let at = stages.iter().position(|s| s.stage == name).unwrap_or_else(|| {
                stages.push(Stage::new(&name));
                stages.len() - 1
            });
            stages[at].seconds.push(wall);
            stages[at].core_seconds.push(core);
        }
    }
}

/// Runs `work` as often as asked, the first times unmeasured; a stop between two runs keeps what is
/// there.
///
/// # Errors
/// What `work` returns, unless it was stopped with something measured.
pub fn repeat(repeat: &Repeat, mut work: impl FnMut(&mut Laps) -> Result<()>) -> Result<Vec<Stage>> {
    let mut stages = Vec::new();
    for round in 0..repeat.warmup + repeat.iterations {
        let mut laps = Laps::default();
        let done = repeat.stop.check().and_then(|()| work(&mut laps));
        match done {
            Ok(()) if round >= repeat.warmup => laps.add_to(&mut stages),
            Ok(()) => {}
            Err(_) if repeat.stop.reason().is_some() && !stages.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(stages)
}

/// Memory in use when a case ends.
pub fn memory(device: &burn::tensor::Device) -> (Option<u64>, Option<u64>) {
    let host = device::host_memory().map(|m| m.peak_bytes);
    let own = match device::is_cpu(device) {
        true => None,
        false => device::memory(device).map(|m| m.in_use_bytes),
    };
    (host, own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(warmup: usize, iterations: usize) -> Repeat {
        Repeat {
            warmup,
            iterations,
            stop: Stop::default(),
        }
    }

    #[test]
    fn warm_up_is_not_measured_and_stages_keep_their_order() {
        let mut runs = 0;
        let stages = repeat(&repeated(2, 3), |laps| {
            runs += 1;
            laps.begin("encode");
            laps.begin("denoise");
            Ok(())
        })
        .unwrap();
        assert_eq!(runs, 5);
        let names: Vec<&str> = stages.iter().map(|s| s.stage.as_str()).collect();
        assert_eq!(names, ["encode", "denoise"]);
        assert!(
            stages
                .iter()
                .all(|s| s.seconds.len() == 3 && s.core_seconds.len() == 3)
        );
    }

    #[test]
    fn a_stop_keeps_what_is_measured_and_without_anything_is_an_error() {
        let plan = repeated(0, 5);
        let mut runs = 0;
        let stages = repeat(&plan, |laps| {
            laps.begin("work");
            runs += 1;
            if runs == 2 {
                plan.stop.signal(2);
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(stages[0].seconds.len(), 2);
        assert!(repeat(&plan, |_| Ok(())).is_err());
    }
}
