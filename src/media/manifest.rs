//! The record of how a picture or a video was made: in the file, in the callback, and the way back
//! to a job.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::frames::Frame;
use super::png::{self, LARGEST_MANIFEST_BYTES};
use super::read::{self, Probe};
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::schedulers;

/// The layout of this record; a reader refuses a newer one.
pub const VERSION: u32 = 1;

/// One record for all images of a job, the same in every file of it.
///
/// It holds nothing of the day or the person: no time, no drawn id, no user id, no producer
/// metadata, no callback address. So the same job gives the same bytes, and a picture that is
/// passed on tells how it was made and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub manifest_version: u32,
    /// A complete spec: every default filled in, the first seed named. It can be run again.
    pub spec: Value,
    pub model: ModelRecord,
    pub scheduler: String,
    /// How often the scheduler advanced; heun takes two for most steps.
    pub effective_steps: usize,
    pub seeds: Vec<u64>,
    /// What the model was given in the end, automatic terms included.
    pub negative_prompt: Option<String>,
    /// Tokens of the prompt in each chunk, per text encoder.
    pub prompt_tokens: Vec<Vec<usize>>,
    pub build: Build,
    /// Where it was computed, such as `cpu` or `cuda:0`.
    pub device: String,
    pub dtype: String,
    /// How a GPU computed attention: `flash`, `slices-f32`, or both for different layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attention: Vec<String>,
    pub outputs: Vec<Output>,
    /// The pictures that it followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<ReferenceRecord>,
    /// Files of weights beside the model: adapters, ControlNets, a refiner, another autoencoder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<ReferenceRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One picture that was followed, or one file of weights that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceRecord {
    /// The spec's field, such as `config.first_frame`.
    pub field: String,
    /// Digest of the file, or of all files of a folder that decide what it computes.
    pub sha256: String,
    /// As the spec names it: a path or an address.
    pub source: String,
}

/// Which weights were used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    pub name: String,
    /// SHA-256 over the weights.
    pub hash: String,
    /// True for the small models that are compiled into the binary.
    pub embedded: bool,
}

/// Which program made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Build {
    pub program: String,
    pub version: String,
    pub features: Vec<String>,
    pub target: String,
}

/// One image or video of the job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Output {
    pub index: usize,
    pub seed: u64,
    /// Digest of the pixels, 8-bit RGB row by row and frame by frame, as they went into the encoder:
    /// a file cannot hold its own digest.
    pub pixels_sha256: String,
}

impl Output {
    /// The record of one output's frames; a picture is one frame.
    pub fn of(index: usize, seed: u64, frames: &[Frame]) -> Self {
        Self {
            index,
            seed,
            pixels_sha256: frames_sha256(frames),
        }
    }
}

/// What the runner knows when the frames are there.
#[derive(Debug, Clone)]
pub struct Made<'a> {
    /// A complete spec, as JSON.
    pub spec: Value,
    pub seeds: &'a [u64],
    /// What the model was given in the end.
    pub negative_prompt: Option<&'a str>,
    pub model: ModelRecord,
    pub scheduler: &'a str,
    pub effective_steps: usize,
    pub prompt_tokens: &'a [Vec<usize>],
    pub device: &'a str,
    pub dtype: &'a str,
    pub attention: Vec<&'static str>,
    pub outputs: Vec<Output>,
    pub references: Vec<ReferenceRecord>,
    pub weights: Vec<ReferenceRecord>,
    pub notes: Vec<String>,
}

impl Build {
    /// This program.
    pub fn this() -> Self {
        let features = [
            ("cuda", cfg!(feature = "cuda")),
            ("video", cfg!(feature = "video")),
            ("wgpu", cfg!(feature = "wgpu")),
        ];
        Self {
            program: "ourvidz".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            features: features
                .iter()
                .filter(|(_, on)| *on)
                .map(|(name, _)| (*name).to_string())
                .collect(),
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        }
    }
}

impl Manifest {
    /// The record of a finished job.
    ///
    /// # Panics
    /// If there is not one output per seed.
    pub fn new(made: Made<'_>) -> Self {
        assert_eq!(made.outputs.len(), made.seeds.len(), "one output per seed");
        Self {
            manifest_version: VERSION,
            spec: made.spec,
            model: made.model,
            scheduler: made.scheduler.into(),
            effective_steps: made.effective_steps,
            seeds: made.seeds.to_vec(),
            negative_prompt: made.negative_prompt.map(String::from),
            prompt_tokens: made.prompt_tokens.to_vec(),
            build: Build::this(),
            device: made.device.into(),
            dtype: made.dtype.into(),
            attention: made.attention.into_iter().map(String::from).collect(),
            outputs: made.outputs,
            references: made.references,
            weights: made.weights,
            notes: made.notes,
        }
    }

    /// The record as one line of JSON.
    ///
    /// # Panics
    /// Never: the record holds no map with keys other than strings and no non-finite number.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a manifest is plain JSON")
    }

    /// A1111's `parameters` text for one image, as its readers and those of its successors parse it.
    pub fn parameters(&self, index: usize) -> String {
        let text = |name: &str| self.spec[name].as_str();
        let prompt = text("enhanced_prompt").or(text("prompt")).unwrap_or_default();
        let mut lines = vec![prompt.to_string()];
        if let Some(negative) = self.negative_prompt.as_deref().filter(|n| !n.is_empty()) {
            lines.push(format!("Negative prompt: {negative}"));
        }
        let (sampler, schedule) = schedulers::a1111_names(&self.scheduler);
        let config = &self.spec["config"];
        // Whole numbers without a point.
        let number = |name: &str| config[name].as_f64().unwrap_or_default().to_string();
        let mut pairs = vec![("Steps", number("steps")), ("Sampler", sampler.to_string())];
        pairs.extend(schedule.map(|s| ("Schedule type", s.to_string())));
        pairs.extend([
            ("CFG scale", number("guidance_scale")),
            ("Seed", self.outputs[index].seed.to_string()),
            ("Size", format!("{}x{}", number("width"), number("height"))),
            ("Model hash", self.model.hash.chars().take(10).collect()),
            ("Model", self.model.name.clone()),
            (
                "Version",
                format!("{} {}", self.build.program, self.build.version),
            ),
        ]);
        let shown: Vec<String> = pairs
            .iter()
            .map(|(key, value)| format!("{key}: {}", quoted(value)))
            .collect();
        lines.push(shown.join(", "));
        lines.join("\n")
    }
}

/// A1111 writes values that would break its comma-separated line as JSON strings.
fn quoted(value: &str) -> String {
    if value.contains([',', '\n', ':']) {
        serde_json::Value::from(value).to_string()
    } else {
        value.to_string()
    }
}

/// What a file with a manifest shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// The pixels of a PNG.
    Picture(Frame),
    /// What kind of video it is; its pixels are not those that were encoded.
    Video(Probe),
}

/// Reads the manifest of a PNG, MP4, WebM or GIF, told apart by content, and what it speaks of.
///
/// # Errors
/// `InputMissing` for a missing file; `BadInput` for one of another kind, one that is broken, has no
/// manifest or one that this build cannot read.
pub fn read_manifest(path: &Path) -> Result<(Manifest, Content)> {
    let (kind, text, content) = match read::video(path)? {
        Some(video) => ("video", video.manifest, Content::Video(video.probe)),
        None => {
            let picture = png::read(path)?;
            ("picture", picture.manifest, Content::Picture(picture.frame))
        }
    };
    let shown = format!("{kind} `{}`", path.display());
    let Some(text) = text else {
        fail!(BadInput, "{shown}: has no ourvidz manifest"; "give a file that ourvidz wrote and nobody re-encoded");
    };
    Ok((parse(&text, &shown)?, content))
}

fn parse(text: &str, shown: &str) -> Result<Manifest> {
    if text.len() > LARGEST_MANIFEST_BYTES {
        fail!(BadInput, "{shown}: its manifest has {} bytes, and at most {LARGEST_MANIFEST_BYTES} are read", text.len();
            "ourvidz writes none of that size");
    }
    let manifest: Manifest = serde_json::from_str(text).map_err(|e| {
        Error::new(
            ErrorKind::BadInput,
            format!("{shown}: its manifest is broken ({e})"),
        )
        .hint("it may come from a newer ourvidz, or somebody edited it")
    })?;
    if manifest.manifest_version > VERSION {
        fail!(
            BadInput,
            "{shown}: manifest version {} is newer than {VERSION}", manifest.manifest_version;
            "use the ourvidz that wrote it, or a newer one"
        );
    }
    Ok(manifest)
}

/// The digest of a video: SHA-256 over all its frames, 8-bit RGB row by row, before encoding.
pub fn frames_sha256(frames: &[Frame]) -> String {
    let mut digest = Sha256::new();
    for frame in frames {
        digest.update(&frame.rgb);
    }
    crate::files::hex(&digest.finalize())
}

/// Which image of its job a frame is, by its pixels; `None` when they were changed.
pub fn index_of(manifest: &Manifest, frame: &Frame) -> Option<usize> {
    let digest = frames_sha256(std::slice::from_ref(frame));
    manifest
        .outputs
        .iter()
        .find(|output| output.pixels_sha256 == digest)
        .map(|output| output.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest() -> Manifest {
        let outputs = (0..3)
            .map(|i| Output::of(i, 7 + i as u64, &[Frame::new(4, 2, vec![i as u8; 24])]))
            .collect();
        Manifest::new(Made {
            spec: json!({
                "type": "sdxl_image_fast",
                "model": "mock",
                "prompt": "a red circle",
                "negative_prompt": "ugly",
                "config": {"num_images": 3, "seed": 7, "steps": 15, "guidance_scale": 6.0, "width": 4, "height": 2},
            }),
            seeds: &[7, 8, 9],
            negative_prompt: Some("blurry, ugly"),
            model: ModelRecord {
                name: "mock".into(),
                hash: "0123456789abcdef".into(),
                embedded: false,
            },
            scheduler: "dpmpp-2m-karras",
            effective_steps: 15,
            prompt_tokens: &[vec![3]],
            device: "cpu",
            dtype: "f32",
            attention: Vec::new(),
            outputs,
            references: vec![],
            weights: vec![],
            notes: vec![],
        })
    }

    #[test]
    fn the_record_survives_json() {
        let record = manifest();
        let back: Manifest = serde_json::from_str(&record.to_json()).unwrap();
        assert_eq!(back, record);
    }

    #[test]
    fn a1111_reads_its_own_names_back() {
        assert_eq!(
            manifest().parameters(1),
            format!(
                "a red circle\nNegative prompt: blurry, ugly\nSteps: 15, Sampler: DPM++ 2M, Schedule type: Karras, \
                 CFG scale: 6, Seed: 8, Size: 4x2, Model hash: 0123456789, Model: mock, Version: ourvidz {}",
                env!("CARGO_PKG_VERSION")
            )
        );
    }

    #[test]
    fn a_model_name_with_a_comma_is_quoted() {
        let mut record = manifest();
        record.model.name = "a, b".into();
        assert!(record.parameters(0).contains("Model: \"a, b\""));
    }

    #[test]
    fn a_video_of_one_frame_has_the_digest_of_that_picture() {
        let frames: Vec<Frame> = (0..2).map(|i| Frame::new(1, 1, vec![i; 3])).collect();
        assert_eq!(
            frames_sha256(&frames[..1]),
            crate::files::sha256_hex(&frames[0].rgb)
        );
        assert_eq!(
            frames_sha256(&frames),
            crate::files::sha256_hex(&[0, 0, 0, 1, 1, 1])
        );
    }

    #[test]
    fn pixels_tell_which_image_of_the_job_they_are() {
        let record = manifest();
        assert_eq!(index_of(&record, &Frame::new(4, 2, vec![2; 24])), Some(2));
        assert_eq!(index_of(&record, &Frame::new(4, 2, vec![9; 24])), None);
    }
}
