//! `bench` as types.

use std::path::PathBuf;

use clap::Args;

use super::shared::{Dtype, Place, Talk};

const BENCH_HELP: &str = "\
Examples:
  ourvidz bench
  ourvidz bench start enhance queue
  ourvidz bench --synthetic sdxl --size 512x512,1024x1024 --steps 4 --save new.json
  ourvidz bench --synthetic sdxl,wan-1.3b,qwen-7b --device cuda --json
  ourvidz bench sdxl --compare old.json --threshold 5%

WHAT: start (the program alone), load, sdxl, wan, qwen (the models that the routes name), enhance and
queue (whole processes), or a model's name or path. Without WHAT and --synthetic: start and all models
that the routes name, loaded and run.

Synthetic models have the full-size network and random weights. They are written once to the cache
folder (sdxl 6.9 GB, wan-1.3b 14.5 GB, qwen-0.5b 1 GB, qwen-7b 15.2 GB), and stay there.

Exit codes: 0 done; 1 slower than --compare by more than --threshold, beyond noise; 2 usage; 66 model
or report missing; 69 device unavailable; 73 no room; 130/143 stopped (what was measured is printed).";

#[derive(Debug, Args, Default)]
#[command(after_help = BENCH_HELP)]
pub struct Bench {
    /// start, load, sdxl, wan, qwen, enhance, queue, or a model
    #[arg(value_name = "WHAT")]
    pub what: Vec<String>,
    /// Full-size models with random weights: sdxl, sdxl-turbo, wan-1.3b, wan-vace-1.3b, qwen-0.5b, qwen-7b
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub synthetic: Vec<String>,
    /// Sizes in pixels [default: the model's own]
    #[arg(long, value_name = "WxH", value_delimiter = ',', value_parser = size)]
    pub size: Vec<(usize, usize)>,
    /// Frames of a video, 4n+1 [default: 81, or what the model is made for]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub frames: Vec<usize>,
    /// Denoising steps [default: 4; 1 for sdxl-turbo, 2 for WAN]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=150))]
    pub steps: Vec<u32>,
    /// Pictures computed together [default: 1]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=64))]
    pub batch: Vec<u32>,
    /// Number formats of the weights [default: the device's]
    #[arg(long, value_name = "DTYPE", value_delimiter = ',', value_enum)]
    pub dtype: Vec<Dtype>,
    /// Runs before measuring
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub warmup: usize,
    /// Runs measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = positive)]
    pub iterations: usize,
    /// Write the report to this file too
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Compare with an earlier report
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// How much slower than --compare is a failure
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = percent)]
    pub threshold: f64,
    /// Print a Markdown table
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub talk: Talk,
}

fn size(text: &str) -> Result<(usize, usize), String> {
    let (width, height) = text
        .split_once(['x', 'X', '×'])
        .ok_or("not WIDTHxHEIGHT, such as 1024x1024")?;
    match (width.trim().parse(), height.trim().parse()) {
        (Ok(width), Ok(height)) if width > 0 && height > 0 => Ok((width, height)),
        _ => Err("not WIDTHxHEIGHT, such as 1024x1024".into()),
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err("not a number above 0".into()),
    }
}

/// `5%` or `5`, as 0.05.
fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim().parse::<f64>() {
        Ok(value) if (0.0..=1000.0).contains(&value) => Ok(value / 100.0),
        _ => Err("not a percentage, such as 5%".into()),
    }
}
