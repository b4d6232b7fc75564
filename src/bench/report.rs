//! Measurements as one record, as tables, and beside an older record.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::machine::Limits;
use super::stats::Ratio;
use super::{Case, Stage};
use crate::error::{Error, ErrorKind};
use crate::files;

/// The layout of this record.
const VERSION: u32 = 1;
/// The largest record that is read.
const LARGEST_BYTES: u64 = 64 << 20;

/// Everything of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub bench_version: u32,
    pub environment: Value,
    /// `None` where nothing computed in this process.
    pub limits: Option<Limits>,
    pub cases: Vec<Case>,
    /// What could not be measured, and why.
    pub notes: Vec<String>,
}

/// One stage of two reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    pub case: String,
    pub stage: String,
    pub ratio: Ratio,
}

impl Report {
    pub fn new(environment: Value, limits: Option<Limits>) -> Self {
        Self {
            bench_version: VERSION,
            environment,
            limits,
            cases: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// # Errors
    /// `InputMissing` for a missing file, `BadInput` for one that is no report of this layout.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = files::read_bounded(path, LARGEST_BYTES)?;
        let bad = |why: String| {
            Error::new(ErrorKind::BadInput, format!("report `{}`: {why}", path.display()))
                .hint("give a file that `ourvidz bench --save FILE` wrote")
        };
        let report: Self = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        if report.bench_version != VERSION {
            return Err(bad(format!(
                "layout {}, this build reads {VERSION}",
                report.bench_version
            ))
            .into());
        }
        Ok(report)
    }

    /// One line of JSON, with the derived numbers beside the measured ones.
    ///
    /// # Errors
    /// Never for numbers that were measured.
    pub fn to_json(&self) -> Result<Value> {
        let mut record = serde_json::to_value(self)?;
        for (case, shown) in self
            .cases
            .iter()
            .zip(record["cases"].as_array_mut().into_iter().flatten())
        {
            for (stage, shown) in case
                .stages
                .iter()
                .zip(shown["stages"].as_array_mut().into_iter().flatten())
            {
                shown["wall"] = serde_json::to_value(stage.wall())?;
                shown["per_second"] = stage.rate().into();
                shown["share_of_limit"] = self.share(stage).into();
                // No backend of this build tells them.
                shown["kernel_launches"] = Value::Null;
                shown["host_synchronisations"] = Value::Null;
            }
        }
        Ok(record)
    }

    /// How near a stage comes to the machine's limit, whichever of its two is nearer.
    pub fn share(&self, stage: &Stage) -> Option<f64> {
        let limits = self.limits?;
        let seconds = stage.wall().median;
        let of_flop = stage.flop.map(|flop| flop / seconds / limits.flop_per_second);
        // The limit of a copy counts bytes read and written; weights are only read.
        let of_bytes = stage.bytes.map(|bytes| bytes / seconds / limits.bytes_per_second);
        match (of_flop, of_bytes) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        }
    }

    /// A heading and a row for each stage.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let heading = [
            "what", "stage", "median", "min", "max", "spread", "rate", "core s", "TFLOP", "of limit", "peak",
        ];
        let mut rows = vec![heading.map(String::from).to_vec()];
        for case in &self.cases {
            for stage in &case.stages {
                rows.push(self.row(case, stage));
            }
        }
        rows
    }

    fn row(&self, case: &Case, stage: &Stage) -> Vec<String> {
        let wall = stage.wall();
        let core = super::stats::Summary::of(&stage.core_seconds).median;
        let rate = stage.unit.as_ref().zip(stage.rate());
        let peak = [("host", case.peak_host_bytes), ("device", case.peak_device_bytes)];
        let peak: Vec<String> = peak
            .iter()
            .filter_map(|(what, bytes)| Some(format!("{what} {:.2} GB", (*bytes)? as f64 / 1e9)))
            .collect();
        vec![
            case.name.clone(),
            stage.stage.clone(),
            seconds(wall.median),
            seconds(wall.min),
            seconds(wall.max),
            format!("{:.1} %", wall.spread * 100.0),
            rate.map_or(String::new(), |((unit, _), n)| format!("{n:.3} {unit}/s")),
            format!("{core:.3}"),
            stage
                .flop
                .map_or(String::new(), |flop| format!("{:.3}", flop / 1e12)),
            self.share(stage)
                .map_or(String::new(), |share| format!("{:.0} %", share * 100.0)),
            peak.join(", "),
        ]
    }

    /// The same as a Markdown table.
    pub fn markdown(&self) -> String {
        let rows = self.rows();
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&rows[0]);
        text.push_str(&format!("|{}\n", "---|".repeat(rows[0].len())));
        rows[1..].iter().for_each(|row| text.push_str(&line(row)));
        text
    }

    /// Every stage that both reports have.
    pub fn compare(&self, older: &Self) -> Vec<Pair> {
        let stages = |report: &'_ Self| -> Vec<(String, Stage)> {
            let of_case = |case: &Case| -> Vec<(String, Stage)> {
                case.stages
                    .iter()
                    .map(|s| (case.name.clone(), s.clone()))
                    .collect()
            };
            report.cases.iter().flat_map(of_case).collect()
        };
        let old: HashMap<(String, String), Stage> = stages(older)
            .into_iter()
            .map(|(case, s)| ((case, s.stage.clone()), s))
            .collect();
        let paired = |(case, stage): (String, Stage)| {
            let before = old.get(&(case.clone(), stage.stage.clone()))?;
            Some(Pair {
                case,
                stage: stage.stage.clone(),
                ratio: Ratio::of(&stage.seconds, &before.seconds),
            })
        };
        stages(self).into_iter().filter_map(paired).collect()
    }
}

/// Comparison as a table.
pub fn compared_rows(pairs: &[Pair], threshold: f64) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["what", "stage", "new / old", "95 % interval", ""]
            .map(String::from)
            .to_vec(),
    ];
    for pair in pairs {
        let Ratio { ratio, low, high } = pair.ratio;
        let interval = match high.is_finite() {
            true => format!("{low:.3} to {high:.3}"),
            false => "one sample".into(),
        };
        let verdict = if pair.ratio.is_slower(threshold) {
            "slower"
        } else {
            ""
        };
        rows.push(vec![
            pair.case.clone(),
            pair.stage.clone(),
            format!("{ratio:.3}"),
            interval,
            verdict.into(),
        ]);
    }
    rows
}

fn seconds(value: f64) -> String {
    match value {
        v if v < 0.001 => format!("{:.1} us", v * 1e6),
        v if v < 1.0 => format!("{:.2} ms", v * 1e3),
        v => format!("{v:.3} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seconds: &[f64]) -> Report {
        let mut stage = Stage::new("denoise");
        stage.seconds = seconds.to_vec();
        stage.core_seconds = seconds.iter().map(|s| s * 2.0).collect();
        stage.unit = Some(("it".into(), 4.0));
        stage.flop = Some(1e12);
        let limits = Limits {
            flop_per_second: 2e12,
            bytes_per_second: 1e10,
        };
        let mut report = Report::new(serde_json::json!({"device": "cpu"}), Some(limits));
        report.cases.push(Case {
            name: "sdxl 1024x1024".into(),
            dtype: Some("f32".into()),
            stages: vec![stage],
            peak_host_bytes: Some(7_000_000_000),
            peak_device_bytes: None,
        });
        report
    }

    #[test]
    fn a_saved_report_comes_back_and_a_foreign_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let report = report(&[1.0, 1.1]);
        std::fs::write(&path, report.to_json().unwrap().to_string()).unwrap();
        assert_eq!(Report::read(&path).unwrap(), report);
        std::fs::write(&path, "{}").unwrap();
        let error = Report::read(&path).unwrap_err();
        assert_eq!(crate::error::kind_of(&error), ErrorKind::BadInput);
    }

    #[test]
    fn rates_and_shares_are_derived_from_the_median() {
        let report = report(&[1.0, 1.0, 4.0]);
        let json = report.to_json().unwrap();
        let stage = &json["cases"][0]["stages"][0];
        assert_eq!(stage["per_second"], 4.0);
        assert_eq!(stage["share_of_limit"], 0.5);
        assert_eq!(stage["wall"]["max"], 4.0);
        let row = &report.rows()[1];
        assert!(
            row.contains(&"4.000 it/s".to_string()) && row.contains(&"50 %".to_string()),
            "{row:?}"
        );
        assert!(report.markdown().contains("| sdxl 1024x1024 | denoise |"));
    }

    #[test]
    fn stages_pair_by_case_and_name() {
        let pairs = report(&[2.0, 2.02, 1.98]).compare(&report(&[1.0, 1.01, 0.99]));
        assert_eq!(pairs.len(), 1);
        assert!(pairs[0].ratio.is_slower(0.05));
        assert_eq!(compared_rows(&pairs, 0.05)[1][4], "slower");
        let mut other = report(&[1.0]);
        other.cases[0].name = "sdxl 512x512".into();
        assert!(report(&[1.0]).compare(&other).is_empty());
    }
}
