//! Weighted prompts in four notations against compel and the rules of A1111 and ComfyUI.

use burn::tensor::{DType, Device, Tensor};
use ourvidz::models::clip::ClipTextModel;
use ourvidz::pipelines::ImageRequest;
use ourvidz::pipelines::sdxl::prompt::encoder::{Encoded, TextEncoder};
use ourvidz::pipelines::sdxl::prompt::notation;
use ourvidz::prompts::compel::{Part, Prompt, parse};
use ourvidz::prompts::{Piece, PromptSyntax};
use ourvidz::tokenizers::clip::{ClipTokenizer, SpecialTokens};
use serde_json::{Value, json};

use crate::micro::load;
use crate::parity_models::{Case, build, config, data, relative_error};
use crate::parity_pipeline::{from_folder, psnr_to_reference};

#[derive(serde::Deserialize)]
struct WeightingCase {
    name: String,
    prompt: String,
    negative_prompt: Option<String>,
    #[serde(default)]
    truncate_long_prompts: bool,
}

#[derive(serde::Deserialize)]
struct ImageCase {
    name: String,
    seeds: Vec<u64>,
    scheduler: String,
    convention: String,
    prompt: String,
    negative_prompt: String,
    num_inference_steps: usize,
    guidance_scale: f64,
    width: usize,
    height: usize,
}

fn read<T: serde::de::DeserializeOwned>(relative: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(data(relative)).unwrap()).unwrap()
}

/// Both text encoders of the tiny model.
struct Encoders {
    tokenizers: [ClipTokenizer; 2],
    models: [ClipTextModel; 2],
}

impl Encoders {
    fn load() -> Self {
        let special = [SpecialTokens::default(), SpecialTokens::sdxl_second()];
        Self {
            tokenizers: special.map(|special| ClipTokenizer::embedded(&special).unwrap()),
            models: [
                build("text_encoder", false, |vars| {
                    ClipTextModel::load(vars, config("text_encoder"), false).unwrap()
                }),
                build("text_encoder_2", false, |vars| {
                    ClipTextModel::load(vars, config("text_encoder_2"), true).unwrap()
                }),
            ],
        }
    }

    fn encode(&self, syntax: PromptSyntax, prompt: &str, truncate: bool) -> [Encoded; 2] {
        [0, 1].map(|i| {
            let (parts, device) = ((&self.tokenizers[i], &self.models[i]), Device::flex());
            let encoder = TextEncoder::new(parts, 0, &device, DType::F32);
            notation::encode(&encoder, syntax, prompt, truncate).unwrap()
        })
    }

    /// States of both encoders side by side, filled up with the empty prompt to `length` tokens.
    fn embeds(&self, encoded: &[Encoded; 2], length: usize) -> Tensor<3> {
        let empty = self.encode(PromptSyntax::Plain, "", false);
        let sides = encoded.iter().zip(empty).map(|(side, empty)| {
            let missing = length - side.states.dims()[1];
            let mut parts = vec![side.states.clone()];
            parts.extend(vec![empty.states; missing / 77]);
            Tensor::cat(parts, 1)
        });
        Tensor::cat(sides.collect(), 2)
    }
}

#[test]
fn every_weighted_prompt_agrees_with_its_reference() {
    let encoders = Encoders::load();
    let reference = Case::open("weighting/embeds.safetensors");
    let names = reference.names();
    let cases: Vec<WeightingCase> = read("weighting/cases.json");
    assert_eq!(cases.len(), 70);
    let mut failed = Vec::new();
    for case in &cases {
        let syntax = case.name.split('-').next().unwrap().parse().unwrap();
        let encoded = encoders.encode(syntax, &case.prompt, case.truncate_long_prompts);
        let mut check = |what: &str, error: f32| {
            if error > 1e-4 || error.is_nan() {
                failed.push(format!("{} {what}: {error:.1e}", case.name));
            }
        };
        let of = |what: &str| format!("{}/{what}", case.name);
        for (side, suffix) in encoded.iter().zip(["", "_2"]) {
            for (what, ours) in [
                (
                    "ids",
                    side.chunks
                        .iter()
                        .flat_map(|c| c.ids.iter().map(|i| *i as f64))
                        .collect::<Vec<_>>(),
                ),
                (
                    "weights",
                    side.chunks.iter().flat_map(|c| c.weights.clone()).collect(),
                ),
            ] {
                let name = of(&format!("{what}{suffix}"));
                if names.contains(&name) {
                    let theirs = reference.values(&name).0;
                    let same = ours.len() == theirs.len()
                        && ours
                            .iter()
                            .zip(&theirs)
                            .all(|(a, b)| (*a as f32 - b).abs() < 1e-5);
                    check(&name, if same { 0.0 } else { f32::INFINITY });
                }
            }
        }
        let embeds: Tensor<3> = reference.tensor(&of("embeds"));
        let length = embeds.dims()[1];
        check(
            "embeds",
            relative_error(encoders.embeds(&encoded, length), embeds),
        );
        check(
            "pooled",
            relative_error(
                encoded[1].pooled.clone().unwrap(),
                reference.tensor(&of("pooled")),
            ),
        );
        if let Some(negative) = &case.negative_prompt {
            let encoded = encoders.encode(syntax, negative, false);
            let ours = encoders.embeds(&encoded, length);
            check(
                "negative",
                relative_error(ours, reference.tensor(&of("negative_embeds"))),
            );
            let pooled = encoded[1].pooled.clone().unwrap();
            check(
                "negative pooled",
                relative_error(pooled, reference.tensor(&of("negative_pooled"))),
            );
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn older_compel_cases_agree_too() {
    let encoders = Encoders::load();
    let reference = Case::open("weighting/embeds.safetensors");
    let prompts: Vec<String> = read("weighting/old-prompts.json");
    for (i, prompt) in prompts.iter().enumerate() {
        let encoded = encoders.encode(PromptSyntax::Compel, prompt, true);
        let error = relative_error(
            encoders.embeds(&encoded, 77),
            reference.tensor(&format!("old-{i}/embeds")),
        );
        assert!(error <= 1e-4, "{prompt}: {error:.1e}");
        let pooled = encoded[1].pooled.clone().unwrap();
        let error = relative_error(pooled, reference.tensor(&format!("old-{i}/pooled")));
        assert!(error <= 1e-4, "{prompt}, pooled: {error:.1e}");
    }
}

#[test]
fn every_picture_of_a_weighted_prompt_agrees_with_diffusers() {
    let mut pipeline = load(&from_folder());
    let images = Case::open("weighting/images.safetensors");
    let cases: Vec<ImageCase> = read("weighting/image-cases.json");
    let mut failed = Vec::new();
    for case in cases {
        let request = ImageRequest {
            prompt: case.prompt,
            negative_prompt: Some(case.negative_prompt),
            prompt_syntax: case.convention.parse().unwrap(),
            seeds: case.seeds,
            num_inference_steps: case.num_inference_steps,
            guidance_scale: case.guidance_scale,
            width_px: case.width,
            height_px: case.height,
            scheduler: Some(case.scheduler),
            ..ImageRequest::default()
        };
        let output = pipeline.text_to_image(&request, &mut |_| Ok(())).unwrap();
        let found = psnr_to_reference(&output.frames, &images.values(&case.name).0);
        println!("{:32} {found:.1} dB", case.name);
        if found < 50.0 {
            failed.push(format!("{}: {found:.1} dB", case.name));
        }
    }
    assert!(failed.is_empty(), "below 50 dB: {failed:?}");
}

#[test]
fn prompts_without_notation_are_the_same_in_all_four() {
    let encoders = Encoders::load();
    let prompt = "a castle on a hill";
    let plain = encoders.encode(PromptSyntax::Plain, prompt, false);
    for name in PromptSyntax::NAMES {
        let other = encoders.encode(name.parse().unwrap(), prompt, false);
        for (a, b) in plain.iter().zip(&other) {
            assert_eq!(a.chunks, b.chunks, "{name}");
            assert_eq!(a.states.to_data(), b.states.to_data(), "{name}");
        }
    }
}

/// Pieces as the reference lists them: text and weight, white space aside.
fn listed(pieces: &[Piece]) -> Value {
    let piece = |p: &Piece| json!([words(&p.text), rounded(p.weight)]);
    pieces.iter().map(piece).collect()
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn rounded(number: f64) -> f64 {
    (number * 1e9).round() / 1e9
}

/// The reference with the same white space and rounding.
fn normal(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(normal).collect(),
        Value::String(text) => words(text).into(),
        Value::Number(number) => rounded(number.as_f64().unwrap()).into(),
        other => other.clone(),
    }
}

#[test]
fn compels_grammar_reads_what_compel_reads() {
    let cases: Vec<(String, Option<Value>)> = read("weighting/compel-grammar.json");
    let mut failed = Vec::new();
    for (prompt, theirs) in cases {
        let part = |part: &Part| match &part.prompt {
            Prompt::Pieces(pieces) => json!([part.weight, listed(pieces)]),
            Prompt::Blend {
                prompts,
                weights,
                normalize,
            } => {
                let prompts: Value = prompts.iter().map(|p| listed(p)).collect();
                json!([part.weight, prompts, weights, normalize])
            }
        };
        let ours = parse(&prompt)
            .ok()
            .map(|c| c.parts.iter().map(part).collect::<Value>());
        if ours != theirs.as_ref().map(normal) {
            failed.push(format!("{prompt:?}: {ours:?}, compel: {theirs:?}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
