//! The CUDA build on a stand-in driver (tests/gpu): whole jobs run, nothing is computed, every call is
//! checked and counted. `make gpu-dry` builds both and runs these.
//!
//! A case passes when the command succeeds, no call was one that a driver refuses, and no count is
//! above tests/gpu/bounds.json. `GPU_DRY_WRITE=1` writes what was counted there, for a review.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use ourvidz::bench::synthetic::Synthetic;
use serde_json::Value;

use crate::full_size::{Manifest, write_sparse};

/// What `make gpu-dry` built.
struct Built {
    program: PathBuf,
    libraries: PathBuf,
    /// Full-size models, and what earlier runs left.
    work: PathBuf,
}

impl Built {
    fn from_env() -> Self {
        let path = |name: &str| {
            let value = std::env::var_os(name);
            PathBuf::from(value.unwrap_or_else(|| panic!("{name} is not set: use `make gpu-dry`")))
        };
        Self {
            program: path("GPU_DRY_PROGRAM"),
            libraries: path("GPU_DRY_LIBRARIES"),
            work: path("GPU_DRY_WORK"),
        }
    }

    /// Runs the program on the stand-in.
    fn run(&self, sm: u32, name: &str, args: &[&str]) -> Counts {
        let folder = self.work.join(format!("{name}-sm{sm}"));
        std::fs::create_dir_all(&folder).unwrap();
        let report = folder.join("report.txt");
        // What is tuned on a stand-in means nothing: every run starts without it.
        let _ = std::fs::remove_dir_all(self.work.join("cache/kernels"));
        let output = Command::new(&self.program)
            .args(args)
            .current_dir(&folder)
            .env_clear()
            .env("HOME", &folder)
            .env("OURVIDZ_CONFIG_DIR", folder.join("config"))
            .env("OURVIDZ_CACHE_DIR", self.work.join("cache"))
            .env("LD_LIBRARY_PATH", &self.libraries)
            .env("CUDA_PATH", &self.libraries)
            .env("GPU_DRY_SM", sm.to_string())
            .env("GPU_DRY_REPORT", &report)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} at sm_{sm}: {stderr}");
        Counts::read(&report)
    }
}

/// A report of the stand-in driver.
#[derive(Debug, Default)]
struct Counts {
    totals: BTreeMap<String, u64>,
    refused: Vec<String>,
    /// The work between two waits of the host that came again and again: one step, or one token.
    step: BTreeMap<String, u64>,
}

impl Counts {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut counts = Self::default();
        let mut stretches: BTreeMap<u64, Vec<BTreeMap<String, u64>>> = BTreeMap::new();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap();
            match word {
                "refused" => counts.refused.push(rest.into()),
                "stretch" => {
                    let found = fields(rest);
                    stretches.entry(found["launches"]).or_default().push(found);
                }
                "kind" | "kernel" => {}
                _ => {
                    counts.totals.insert(word.into(), rest.parse().unwrap());
                }
            }
        }
        // Its last time, when everything is compiled and known.
        let largest = stretches.into_values().rfind(|times| times.len() > 1);
        counts.step = largest.and_then(|mut times| times.pop()).unwrap_or_default();
        counts
    }

    /// The numbers that must not grow. Waits are none of them: CubeCL probes the device for as long as
    /// the host's clock says.
    fn bounded(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for name in ["kernels", "uploads", "peak_bytes"] {
            all.insert(name.to_string(), self.totals[name]);
        }
        for (name, count) in &self.step {
            all.insert(format!("step_{name}"), *count);
        }
        all
    }
}

/// `launches=12 uploads=0 ..`
fn fields(text: &str) -> BTreeMap<String, u64> {
    let parts = text.split(' ').filter_map(|part| part.split_once('='));
    parts.map(|(name, n)| (name.into(), n.parse().unwrap())).collect()
}

fn bounds_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gpu/bounds.json")
}

/// Runs one case on every generation of cards and compares it with its bounds.
fn check(name: &str, sms: &[u32], args: &[&str]) {
    let built = Built::from_env();
    let mut found = serde_json::Map::new();
    for &sm in sms {
        let start = std::time::Instant::now();
        let counts = built.run(sm, name, args);
        assert!(
            counts.refused.is_empty(),
            "{name} at sm_{sm}: {:#?}",
            counts.refused
        );
        let bounded = counts.bounded();
        println!(
            "{name} sm_{sm} ({:.0} s): {bounded:?}",
            start.elapsed().as_secs_f64()
        );
        found.insert(format!("{name} sm_{sm}"), serde_json::to_value(bounded).unwrap());
    }
    if std::env::var_os("GPU_DRY_WRITE").is_some() {
        let mut all = read_bounds();
        all.extend(found);
        let text = serde_json::to_string_pretty(&Value::Object(all)).unwrap();
        std::fs::write(bounds_file(), text + "\n").unwrap();
        return;
    }
    let bounds = read_bounds();
    let mut grown = Vec::new();
    for (case, counts) in &found {
        let allowed = bounds.get(case).and_then(Value::as_object);
        let allowed = allowed.unwrap_or_else(|| panic!("{case} has no bounds: run with GPU_DRY_WRITE=1"));
        for (what, count) in counts.as_object().unwrap() {
            let most = allowed.get(what).and_then(Value::as_u64).unwrap_or_default();
            if count.as_u64().unwrap() > most {
                grown.push(format!("{case}: {what} is {count}, allowed {most}"));
            }
        }
    }
    assert!(grown.is_empty(), "{grown:#?}");
}

fn read_bounds() -> serde_json::Map<String, Value> {
    let text = std::fs::read_to_string(bounds_file()).unwrap_or_else(|_| "{}".into());
    serde_json::from_str(&text).unwrap()
}

const BENCH: [&str; 6] = ["bench", "--device", "cuda", "--warmup", "0", "--iterations"];

fn bench<'a>(model: &[&'a str]) -> Vec<&'a str> {
    BENCH.iter().chain(&["1"]).chain(model).copied().collect()
}

/// The same files as a real model, their data a hole in the disk.
fn write_model(name: &str) {
    let folder = Built::from_env().work.join("cache/synthetic").join(name);
    if folder.is_dir() {
        return;
    }
    let model = Synthetic::named(name).unwrap();
    for (path, content) in model.small_files() {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let dtype = format!("{:?}", model.dtype());
    for component in model.components().unwrap() {
        let tensors = component.tensors.iter().cloned();
        let tensors = tensors
            .map(|(name, shape)| (name, (dtype.clone(), shape)))
            .collect();
        write_sparse(
            &folder.join(component.folder).join(component.file),
            &Manifest { tensors },
        );
    }
}

const CARDS: &[u32] = &[80, 86, 89, 90, 120];
const FULL_SIZE_CARDS: &[u32] = &[80, 89, 90];

#[test]
#[ignore = "needs the CUDA build: make gpu-dry"]
fn a_small_picture_is_drawn() {
    check(
        "micro-sdxl",
        CARDS,
        &bench(&["micro-sdxl", "--size", "128x128", "--steps", "4"]),
    );
}

#[test]
#[ignore = "needs the CUDA build: make gpu-dry"]
fn a_small_video_is_made() {
    let size = ["micro-wan", "--size", "160x96", "--frames", "17", "--steps", "4"];
    check("micro-wan", CARDS, &bench(&size));
}

#[test]
#[ignore = "needs the CUDA build: make gpu-dry"]
fn a_small_model_answers() {
    check("micro-qwen", CARDS, &bench(&["micro-qwen"]));
}

#[test]
#[ignore = "needs the CUDA build: make gpu-dry"]
fn a_job_ends_with_a_picture() {
    let args = [
        "generate",
        "a red circle",
        "-s",
        "1",
        "--device",
        "cuda",
        "-o",
        "dry.png",
        "--force",
    ];
    check("job", &[90], &args);
}

#[test]
#[ignore = "needs the CUDA build: make gpu-dry-full"]
fn full_size_sdxl_draws() {
    write_model("sdxl");
    check(
        "sdxl",
        FULL_SIZE_CARDS,
        &bench(&["--synthetic", "sdxl", "--steps", "4"]),
    );
}

#[test]
#[ignore = "needs the CUDA build: make gpu-dry-full"]
fn full_size_wan_makes_81_frames() {
    write_model("wan-1.3b");
    check(
        "wan-1.3b",
        FULL_SIZE_CARDS,
        &bench(&["--synthetic", "wan-1.3b", "--steps", "3"]),
    );
}

#[test]
#[ignore = "needs the CUDA build: make gpu-dry-full"]
fn full_size_qwen_answers() {
    write_model("qwen-7b");
    check("qwen-7b", FULL_SIZE_CARDS, &bench(&["--synthetic", "qwen-7b"]));
}
