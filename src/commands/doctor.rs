//! `doctor`: what this machine and this configuration offer, in one table.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::common::{print, table};
use crate::cli::Doctor;
use crate::config::Settings;
use crate::device::{self, DeviceChoice, Precision, cuda_status, host_memory};
use crate::media::manifest::Build;
use crate::media::video::{self, VideoFormat};
use crate::nn::gpu_check::{self, Compared};
use crate::registry::Registry;
use crate::runner::admin;
use crate::runner::loader::Loader;

mod reach;

/// One checked thing.
struct Check {
    name: &'static str,
    state: State,
    detail: String,
    facts: Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    /// Not there, and nothing in this build needs it.
    Absent,
    Problem,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Absent => "absent",
            Self::Problem => "problem",
        }
    }
}

/// Prints every check; the exit code tells whether something is wrong.
///
/// # Errors
/// `Io` when stdout fails.
pub fn run(args: &Doctor) -> Result<u8> {
    let (configuration, mut settings) = configuration();
    if let (Some(settings), Some(device)) = (&mut settings, &args.place.device) {
        settings.device.clone_from(device);
    }
    let registry = settings
        .as_ref()
        .and_then(|settings| Registry::load(args.place.models.as_deref(), settings).ok());
    let around = settings.as_ref().zip(registry.as_ref());
    let mut checks = vec![
        build(),
        processor(),
        memory(around),
        gpu(settings.as_ref()),
        configuration,
    ];
    checks.extend(settings.as_ref().and_then(kernels));
    if let Some(settings) = &settings {
        checks.push(models(args.place.models.as_deref(), settings));
        checks.push(folder("cache", &settings.cache_dir));
        checks.push(enhancement_cache(settings));
        checks.extend(hosts(settings));
    }
    checks.push(ffmpeg());
    if args.json {
        let all: serde_json::Map<String, Value> = checks
            .iter()
            .map(|c| {
                let record = json!({"state": c.state.name(), "detail": c.detail, "facts": c.facts});
                (c.name.to_string(), record)
            })
            .collect();
        print(&format!("{}\n", Value::from(all)))?;
    } else {
        let rows: Vec<Vec<String>> = checks
            .iter()
            .map(|c| vec![c.name.into(), c.state.name().into(), c.detail.clone()])
            .collect();
        print(&table(&rows))?;
    }
    let wrong = checks.iter().any(|c| c.state == State::Problem);
    Ok(if wrong {
        crate::error::ErrorKind::Config.exit_code()
    } else {
        0
    })
}

fn build() -> Check {
    let build = Build::this();
    let backends = match (cfg!(feature = "cuda"), cfg!(feature = "wgpu")) {
        (true, true) => "cpu, cuda, wgpu",
        (true, false) => "cpu, cuda",
        (false, true) => "cpu, wgpu",
        (false, false) => "cpu",
    };
    Check {
        name: "build",
        state: State::Ok,
        detail: format!(
            "{} {} for {}, devices: {backends}",
            build.program, build.version, build.target
        ),
        facts: json!(build),
    }
}

fn processor() -> Check {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Check {
        name: "processor",
        state: State::Ok,
        detail: format!("{cores} cores to use"),
        facts: json!({"cores": cores}),
    }
}

/// The numbers of `admin_utilities`, from the same place; without settings, the machine's own.
fn memory(around: Option<(&Settings, &Registry)>) -> Check {
    let reported = around.and_then(|(settings, registry)| {
        let mut loader = Loader::new(settings).ok()?;
        Some(admin::memory(&mut loader, registry))
    });
    let facts = match reported {
        Some(facts) if facts["total_bytes"].is_u64() => facts,
        _ => match host_memory() {
            Some(memory) => {
                json!({"total_bytes": memory.total_bytes, "available_bytes": memory.available_bytes})
            }
            None => Value::Null,
        },
    };
    let (Some(total), Some(available)) = (facts["total_bytes"].as_u64(), facts["available_bytes"].as_u64())
    else {
        return Check {
            name: "memory",
            state: State::Absent,
            detail: "this system does not tell".into(),
            facts,
        };
    };
    let mut detail = format!("{} in all, {} available", gigabytes(total), gigabytes(available));
    if let (Some(buffer), Some(pressure)) = (facts["buffer_bytes"].as_u64(), facts["pressure"].as_str()) {
        detail.push_str(&format!(", {} kept free, pressure {pressure}", gigabytes(buffer)));
    }
    let unfit: Vec<&str> = facts["models"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|model| model["fits_now"] == false)
        .filter_map(|model| model["name"].as_str())
        .collect();
    if !unfit.is_empty() {
        detail.push_str(&format!("; no room now for {}", unfit.join(", ")));
    }
    Check {
        name: "memory",
        state: State::Ok,
        detail,
        facts,
    }
}

/// Queue, storage and receivers of callbacks that are other hosts; none when there is none.
fn hosts(settings: &Settings) -> Option<Check> {
    let answers = reach::reach(reach::remotes(settings));
    let told = |(remote, answer): &(reach::Remote, reach::Answer)| {
        let what = answer.as_ref().map_or_else(String::as_str, |()| "answers");
        format!("{} {}:{} {what}", remote.role, remote.host, remote.port)
    };
    let facts: Vec<Value> = answers
        .iter()
        .map(|(remote, answer)| {
            json!({"role": remote.role, "host": remote.host, "port": remote.port, "reached": answer.is_ok(),
                   "problem": answer.as_ref().err()})
        })
        .collect();
    (!answers.is_empty()).then(|| Check {
        name: "hosts",
        state: match answers.iter().all(|(_, answer)| answer.is_ok()) {
            true => State::Ok,
            false => State::Problem,
        },
        detail: answers.iter().map(told).collect::<Vec<_>>().join("; "),
        facts: json!(facts),
    })
}

/// Answers kept on disk.
fn enhancement_cache(settings: &Settings) -> Check {
    let facts = admin::enhancement_cache(settings);
    let number = |key: &str| facts[key].as_u64().unwrap_or_default();
    let (state, detail) = match facts["problem"].as_str() {
        Some(problem) => (State::Problem, problem.to_string()),
        None => (
            State::Ok,
            format!(
                "{} answers, {:.1} of {:.0} MB, {} hits, {} misses",
                number("entries"),
                number("bytes") as f64 / 1e6,
                number("max_bytes") as f64 / 1e6,
                number("hits"),
                number("misses")
            ),
        ),
    };
    Check {
        name: "enhancement cache",
        state,
        detail,
        facts,
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Every operation of the GPU that jobs would run on, beside the CPU's; nothing where that is the CPU.
fn kernels(settings: &Settings) -> Option<Check> {
    let choice: DeviceChoice = settings.device.parse().ok()?;
    let opened = match device::open(choice, Some(&settings.cache_dir)) {
        Ok(opened) => opened,
        Err(e) => {
            return (choice != DeviceChoice::Auto)
                .then(|| computed(State::Problem, e.to_string(), Value::Null));
        }
    };
    if device::is_cpu(&opened.device) {
        let note = opened.note?;
        return Some(computed(State::Absent, note, Value::Null));
    }
    let precision = Precision::default_for(&opened.device);
    Some(match gpu_check::compare(&opened.device, precision.dtype()) {
        Ok(found) => told(&found, precision),
        Err(e) => computed(State::Problem, format!("a kernel failed: {e:#}"), Value::Null),
    })
}

fn told(found: &[Compared], precision: Precision) -> Check {
    let wrong: Vec<&str> = found.iter().filter(|c| !c.is_right()).map(|c| c.name).collect();
    let worst = found.iter().map(|c| c.error).fold(0.0, f64::max);
    let facts = found.iter().map(|c| (c.name.to_string(), json!(c.error)));
    let facts = Value::Object(facts.collect());
    let count = found.len();
    match wrong.is_empty() {
        true => computed(
            State::Ok,
            format!(
                "{count} operations in {} agree with the CPU (at most {worst:.1e} off)",
                precision.name()
            ),
            facts,
        ),
        false => computed(
            State::Problem,
            format!(
                "{} of {count} operations are wrong: {}; use --device cpu, and report this",
                wrong.len(),
                wrong.join(", ")
            ),
            facts,
        ),
    }
}

fn computed(state: State, detail: String, facts: Value) -> Check {
    Check {
        name: "gpu kernels",
        state,
        detail,
        facts,
    }
}

/// GPUs of this build, and the driver whether or not this build can use it.
fn gpu(settings: Option<&Settings>) -> Check {
    let status = cuda_status();
    let driver = std::fs::read_to_string("/proc/driver/nvidia/version")
        .ok()
        .and_then(|text| text.lines().next().map(|l| l.trim().to_string()));
    let library = library("libcuda.so.1");
    let seen = match (&driver, &library) {
        (Some(driver), Some(library)) => format!("{driver}; {}", library.display()),
        (Some(driver), None) => format!("{driver}; libcuda.so.1 was not found"),
        (None, Some(library)) => format!("{}, but no driver is running", library.display()),
        (None, None) => "no NVIDIA driver on this machine".into(),
    };
    let usable = status.problem.is_empty();
    let detail = if usable {
        format!("{} to use; {seen}", status.devices)
    } else {
        format!("{}; {seen}; --device cpu works without", status.problem)
    };
    Check {
        name: "gpu",
        state: match usable {
            true => State::Ok,
            false if settings.is_some_and(|s| s.device.starts_with("cuda")) => State::Problem,
            false => State::Absent,
        },
        detail,
        facts: json!({"in_build": status.compiled_in, "devices": status.devices, "problem": status.problem,
            "driver": driver, "library": library}),
    }
}

/// A shared library in the places where the dynamic linker usually looks.
fn library(name: &str) -> Option<PathBuf> {
    const USUAL: [&str; 5] = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib/wsl/lib",
        "/usr/lib",
    ];
    let named = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    std::env::split_paths(&named)
        .chain(USUAL.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn configuration() -> (Check, Option<Settings>) {
    match Settings::load() {
        Ok(settings) => {
            let file = settings.config_dir.join("config.toml");
            let there = file.is_file();
            let detail = format!(
                "{}{}",
                file.display(),
                if there { "" } else { " (not there, defaults hold)" }
            );
            let check = Check {
                name: "configuration",
                state: State::Ok,
                detail,
                facts: json!({"file": file, "found": there, "device": settings.device, "dtype": settings.dtype}),
            };
            (check, Some(settings))
        }
        Err(error) => (problem("configuration", &error), None),
    }
}

fn models(named: Option<&Path>, settings: &Settings) -> Check {
    match Registry::load(named, settings) {
        Ok(registry) => {
            let all = registry.models().count();
            let missing: Vec<&str> = registry
                .models()
                .filter(|m| m.check_files().is_err())
                .map(|m| m.name.as_str())
                .collect();
            let from = registry
                .file()
                .map_or("the binary".into(), |f| f.display().to_string());
            let mut detail = format!("{all} from {from}");
            if !missing.is_empty() {
                detail.push_str(&format!("; files missing: {}", missing.join(", ")));
            }
            Check {
                name: "models",
                state: if missing.is_empty() {
                    State::Ok
                } else {
                    State::Problem
                },
                detail,
                facts: json!({"count": all, "file": registry.file(), "missing": missing}),
            }
        }
        Err(error) => problem("models", &error),
    }
}

fn folder(name: &'static str, path: &Path) -> Check {
    let there = path.is_dir();
    Check {
        name,
        state: if there { State::Ok } else { State::Absent },
        detail: format!(
            "{}{}",
            path.display(),
            if there { "" } else { " (made when needed)" }
        ),
        facts: json!({"folder": path, "found": there}),
    }
}

/// The FFmpeg libraries behind MP4 and WebM: their version, and which formats they can write.
fn ffmpeg() -> Check {
    let library = video::library_version();
    let lacking: Vec<String> = [VideoFormat::Mp4, VideoFormat::Webm]
        .into_iter()
        .filter_map(|format| video::available(format).err())
        .map(|e| e.to_string())
        .collect();
    let detail = match (&library, lacking.is_empty()) {
        _ if !cfg!(feature = "video") => {
            "not in this build: it writes videos as GIF or PNG frames only".into()
        }
        (Err(error), _) => error.to_string(),
        (Ok(version), true) => format!("{version}, writes mp4 and webm"),
        (Ok(version), false) => format!("{version}; {}", lacking.join("; ")),
    };
    Check {
        name: "ffmpeg",
        state: if lacking.is_empty() {
            State::Ok
        } else {
            State::Absent
        },
        detail,
        facts: json!({"in_build": cfg!(feature = "video"), "library": library.ok(), "lacking": lacking}),
    }
}

fn problem(name: &'static str, error: &anyhow::Error) -> Check {
    Check {
        name,
        state: State::Problem,
        detail: format!("{error:#}"),
        facts: Value::Null,
    }
}
