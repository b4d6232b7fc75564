//! `bench`: from the words of the command line to cases, and their report.

use anyhow::Result;
use burn::tensor::Device;

use super::common::{find_model, print, surroundings, table};
use super::signals;
use crate::bench::cases::{self, Subject, Values};
use crate::bench::report::{Report, compared_rows};
use crate::bench::synthetic::Synthetic;
use crate::bench::{Case, Repeat, machine, processes};
use crate::cli::Bench;
use crate::config::Settings;
use crate::device::{self, Precision};
use crate::error::Error;
use crate::fail;
use crate::files::{Existing, write_whole};
use crate::pipelines::LoadOptions;
use crate::progress::{Reporter, Volume};
use crate::registry::{ModelFamily, Registry};

/// What one word asks for.
enum What {
    Start,
    Enhance,
    Queue,
    Load(Subject),
    Run(Subject),
}

/// Measures what was asked for and prints it.
///
/// # Errors
/// Unknown words, missing models, an unavailable device; a stop before anything was measured.
pub fn run(args: &Bench, volume: Volume) -> Result<u8> {
    let (settings, registry) = surroundings(&args.place, volume)?;
    let older = args.compare.as_deref().map(Report::read).transpose()?;
    let mut reporter = Reporter::new(false, volume);
    let wanted = wanted(args, &settings, &registry, &mut reporter)?;
    let repeat = Repeat {
        warmup: args.warmup,
        iterations: args.iterations,
        stop: signals::listen()?,
    };
    let mut report = measure(args, &settings, &wanted, &repeat, &mut reporter)?;
    reporter.finish()?;
    let stopped = repeat.stop.reason();
    if let Some(reason) = stopped {
        report
            .notes
            .push(format!("{}: what follows it is missing", reason.error()));
    }
    show(args, &report)?;
    if let Some(path) = &args.save {
        let mut text = report.to_json()?.to_string();
        text.push('\n');
        write_whole(path, text.as_bytes(), Existing::Replace)?;
    }
    let slower = match &older {
        Some(older) => compare(args, &report, older)?,
        None => false,
    };
    Ok(match stopped {
        Some(reason) => reason.error().kind.exit_code(),
        None => u8::from(slower),
    })
}

fn wanted(
    args: &Bench,
    settings: &Settings,
    registry: &Registry,
    reporter: &mut Reporter,
) -> Result<Vec<What>> {
    let mut all = Vec::new();
    if args.what.is_empty() && args.synthetic.is_empty() {
        all.push(What::Start);
        for subject in routed(registry, None)? {
            all.push(What::Load(subject.clone()));
            all.push(What::Run(subject));
        }
    }
    let mut load = false;
    for word in &args.what {
        match word.as_str() {
            "start" => all.push(What::Start),
            "enhance" => all.push(What::Enhance),
            "queue" => all.push(What::Queue),
            "load" => load = true,
            "sdxl" => all.extend(
                routed(registry, Some(ModelFamily::Sdxl))?
                    .into_iter()
                    .map(What::Run),
            ),
            "wan" => all.extend(
                routed(registry, Some(ModelFamily::Wan))?
                    .into_iter()
                    .map(What::Run),
            ),
            "qwen" => all.extend(
                routed(registry, Some(ModelFamily::Qwen))?
                    .into_iter()
                    .map(What::Run),
            ),
            name => all.push(What::Run(Subject {
                spec: find_model(registry, name, None)?,
                synthetic: None,
            })),
        }
    }
    for name in &args.synthetic {
        let synthetic = Synthetic::named(name)?;
        reporter.info(&format!(
            "synthetic model `{name}`: writing its random weights, unless they are there"
        ));
        all.push(What::Run(Subject {
            spec: synthetic.ensure(&settings.cache_dir)?,
            synthetic: Some(synthetic),
        }));
    }
    Ok(if load { with_loads(all, registry)? } else { all })
}

/// `load` loads what else was named; alone, all that the routes name.
fn with_loads(all: Vec<What>, registry: &Registry) -> Result<Vec<What>> {
    let named = all.iter().any(|what| matches!(what, What::Run(_)));
    if !named {
        let loads = routed(registry, None)?.into_iter().map(What::Load);
        return Ok(all.into_iter().chain(loads).collect());
    }
    let with_load = |what: What| match what {
        What::Run(subject) => vec![What::Load(subject.clone()), What::Run(subject)],
        other => vec![other],
    };
    Ok(all.into_iter().flat_map(with_load).collect())
}

/// The models that job types are routed to, each once.
fn routed(registry: &Registry, family: Option<ModelFamily>) -> Result<Vec<Subject>> {
    let mut found: Vec<Subject> = Vec::new();
    for (_, name) in registry.routes() {
        let spec = registry.find(name)?;
        let fits = family.is_none_or(|family| family == spec.family);
        if fits && !found.iter().any(|subject| subject.spec.name == spec.name) {
            found.push(Subject {
                spec,
                synthetic: None,
            });
        }
    }
    if found.is_empty() {
        fail!(Usage, "no job type is routed to such a model"; "name a model, or --synthetic NAME");
    }
    Ok(found)
}

fn measure(
    args: &Bench,
    settings: &Settings,
    wanted: &[What],
    repeat: &Repeat,
    reporter: &mut Reporter,
) -> Result<Report> {
    let device::Opened { device, note } = device::open(settings.device.parse()?, Some(&settings.cache_dir))?;
    if let Some(note) = note {
        crate::text::stderr_line(&format!("note: {note}"));
    }
    let computes = wanted
        .iter()
        .any(|what| matches!(what, What::Load(_) | What::Run(_)));
    let limits = computes.then(|| {
        let precision = args.dtype.first().map(|d| d.name().parse::<Precision>());
        let precision = precision
            .and_then(Result::ok)
            .unwrap_or(Precision::default_for(&device));
        machine::limits(&device, precision.dtype())
    });
    let mut report = Report::new(machine::environment(&device), limits.transpose()?);
    for what in wanted {
        for case in cases_of(what, args, settings, &device) {
            reporter.info(&format!("measuring {}", case.0));
            match (case.1)(repeat) {
                Ok(measured) => report.cases.push(measured),
                Err(_) if repeat.stop.reason().is_some() && !report.cases.is_empty() => return Ok(report),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(report)
}

/// A name for people, and the work.
type Measure<'a> = (String, Box<dyn Fn(&Repeat) -> Result<Case> + 'a>);

fn cases_of<'a>(
    what: &'a What,
    args: &'a Bench,
    settings: &'a Settings,
    device: &'a Device,
) -> Vec<Measure<'a>> {
    match what {
        What::Start => vec![("start".into(), Box::new(processes::start))],
        What::Enhance => vec![("enhance".into(), Box::new(processes::enhance))],
        What::Queue => vec![("queue".into(), Box::new(processes::queue))],
        What::Load(subject) => {
            let options = load_options(settings, device, None);
            vec![(
                format!("load {}", subject.spec.name),
                Box::new(move |repeat| cases::load(subject, &options, repeat)),
            )]
        }
        What::Run(subject) => {
            let mut all: Vec<Measure<'a>> = Vec::new();
            for precision in precisions(args) {
                for values in sweep(args, subject) {
                    let options = load_options(settings, device, precision);
                    all.push((
                        format!("{} {values:?}", subject.spec.name),
                        Box::new(move |repeat| cases::run(subject, &values, &options, repeat)),
                    ));
                }
            }
            all
        }
    }
}

fn precisions(args: &Bench) -> Vec<Option<Precision>> {
    match args.dtype.is_empty() {
        true => vec![None],
        false => args.dtype.iter().map(|d| d.name().parse().ok()).collect(),
    }
}

fn load_options(settings: &Settings, device: &Device, precision: Option<Precision>) -> LoadOptions {
    LoadOptions {
        device: device.clone(),
        precision,
        cache_dir: Some(settings.cache_dir.clone()),
    }
}

/// Every combination of the values given; what a family does not have is not swept.
fn sweep(args: &Bench, subject: &Subject) -> Vec<Values> {
    let spec = &subject.spec;
    if spec.family == ModelFamily::Qwen {
        return vec![Values {
            width_px: 0,
            height_px: 0,
            frames: 1,
            steps: 1,
            batch: 1,
            guidance_scale: 1.0,
        }];
    }
    let usual = subject.synthetic;
    let size = usual
        .map(|s| (s.size_px[0] as usize, s.size_px[1] as usize))
        .unwrap_or_else(|| native(spec));
    let steps = usual.map_or(4, |s| s.steps as usize);
    let frames = match spec.family {
        ModelFamily::Wan => spec.frames.map_or(81, |n| n as usize),
        _ => 1,
    };
    let or = |given: Vec<usize>, usual: usize| if given.is_empty() { vec![usual] } else { given };
    let sizes = if args.size.is_empty() {
        vec![size]
    } else {
        args.size.clone()
    };
    let batches = match spec.family {
        ModelFamily::Wan => vec![1],
        _ => or(args.batch.iter().map(|&n| n as usize).collect(), 1),
    };
    let all_frames = match spec.family {
        ModelFamily::Wan => or(args.frames.clone(), frames),
        _ => vec![1],
    };
    let mut all = Vec::new();
    for &(width_px, height_px) in &sizes {
        for &frames in &all_frames {
            for &steps in &or(args.steps.iter().map(|&n| n as usize).collect(), steps) {
                for &batch in &batches {
                    let guidance_scale = usual.map_or(6.0, |s| s.guidance_scale);
                    all.push(Values {
                        width_px,
                        height_px,
                        frames,
                        steps,
                        batch,
                        guidance_scale,
                    });
                }
            }
        }
    }
    all
}

/// The size a model was made for, else its job type's.
fn native(spec: &crate::registry::ModelSpec) -> (usize, usize) {
    let told = spec.width.zip(spec.height).map(|(w, h)| (w as usize, h as usize));
    let own = || {
        crate::pipelines::native_size_px(spec)
            .ok()
            .flatten()
            .map(|px| (px, px))
    };
    told.or_else(own).unwrap_or(match spec.family {
        ModelFamily::Wan => (832, 480),
        _ => (1024, 1024),
    })
}

fn show(args: &Bench, report: &Report) -> Result<()> {
    if args.talk.json {
        return print(&format!("{}\n", report.to_json()?));
    }
    let mut text = match args.markdown {
        true => report.markdown(),
        false => table(&report.rows()),
    };
    if let Some(limits) = report.limits {
        text.push_str(&format!(
            "\nthe machine: {:.1} GFLOP/s in a matrix product, {:.1} GB/s in a copy\n",
            limits.flop_per_second / 1e9,
            limits.bytes_per_second / 1e9
        ));
    }
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    print(&text)
}

/// Prints the comparison; true when something is slower.
///
/// # Errors
/// `Usage` when the two have no stage in common.
fn compare(args: &Bench, report: &Report, older: &Report) -> Result<bool> {
    let pairs = report.compare(older);
    if pairs.is_empty() {
        return Err(Error::new(
            crate::error::ErrorKind::Usage,
            "--compare: the two reports have no stage in common",
        )
        .hint("measure the same things with the same values")
        .into());
    }
    let text = format!("\n{}", table(&compared_rows(&pairs, args.threshold)));
    match args.talk.json {
        true => text.lines().for_each(crate::text::stderr_line),
        false => print(&text)?,
    }
    Ok(pairs.iter().any(|pair| pair.ratio.is_slower(args.threshold)))
}
