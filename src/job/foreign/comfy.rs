//! From a graph of ComfyUI to a spec: the sampler that begins with an empty picture, and what leads to it.

use serde_json::json;

use super::found::{Foreign, lora_tag};
use super::graph::{Graph, Node};

/// Nodes that draw.
const SAMPLERS: &[&str] = &[
    "KSampler",
    "KSamplerAdvanced",
    "SamplerCustom",
    "SamplerCustomAdvanced",
];

/// Nodes that are understood, or that only load, decode, show or keep.
const UNDERSTOOD: &[&str] = &[
    "KSampler",
    "KSamplerAdvanced",
    "SamplerCustom",
    "SamplerCustomAdvanced",
    "RandomNoise",
    "KSamplerSelect",
    "BasicScheduler",
    "SDTurboScheduler",
    "CFGGuider",
    "BasicGuider",
    "CLIPTextEncode",
    "CLIPTextEncodeSDXL",
    "EmptyLatentImage",
    "EmptySD3LatentImage",
    "EmptyHunyuanLatentVideo",
    "CheckpointLoaderSimple",
    "UNETLoader",
    "CLIPLoader",
    "DualCLIPLoader",
    "VAELoader",
    "LoraLoader",
    "LoraLoaderModelOnly",
    "CLIPSetLastLayer",
    "ModelSamplingSD3",
    "ModelSamplingDiscrete",
    "VAEDecode",
    "VAEDecodeTiled",
    "VAEEncode",
    "SaveImage",
    "PreviewImage",
    "LatentUpscaleBy",
    "LatentUpscale",
    "LoadImage",
    "Reroute",
    "Note",
    "MarkdownNote",
    "PrimitiveNode",
    "PrimitiveString",
    "PrimitiveStringMultiline",
    "PrimitiveInt",
    "PrimitiveFloat",
    "ConditioningZeroOut",
    "SaveAnimatedWEBP",
    "SaveWEBM",
    "SaveVideo",
    "CreateVideo",
    "(passed through)",
];

/// `None` for JSON that is no graph with a sampler.
pub(super) fn read(graph: &Graph) -> Option<Foreign> {
    let samplers: Vec<&Node> = graph
        .nodes
        .values()
        .filter(|node| SAMPLERS.contains(&node.class.as_str()))
        .collect();
    let begins = |node: &&&Node| latent(graph, node).is_some_and(|latent| latent.class.starts_with("Empty"));
    let first = samplers.iter().find(begins).or_else(|| samplers.first())?;
    let first: &Node = first;
    let mut found = Foreign::new("a ComfyUI graph");
    found.option("prompt_syntax", "comfy");
    found.option("auto_negative", false);
    let is_video = size(graph, first, &mut found);
    sampling(graph, first, is_video, &mut found);
    model(graph, first, &mut found);
    prompts(graph, first, &mut found);
    for other in samplers.iter().filter(|other| !std::ptr::eq(**other, first)) {
        second_pass(graph, other, first, &mut found);
    }
    for node in graph.nodes.values() {
        if !UNDERSTOOD.contains(&node.class.as_str()) {
            found.leave_out(format!("node `{}`", node.class));
        }
    }
    Some(found)
}

/// What a sampler begins with.
fn latent<'g>(graph: &'g Graph, sampler: &'g Node) -> Option<&'g Node> {
    graph.behind(sampler, "latent_image").map(|(node, _)| node)
}

/// Size and number; true for a video.
fn size(graph: &Graph, sampler: &Node, found: &mut Foreign) -> bool {
    let Some(start) = latent(graph, sampler) else {
        return false;
    };
    if !start.class.starts_with("Empty") {
        let picture = graph
            .behind(start, "pixels")
            .and_then(|(node, _)| graph.text(node, "image"));
        let strength = graph.real(sampler, "denoise").unwrap_or(1.0);
        let picture = picture.unwrap_or_else(|| "it begins with".into());
        found.leave_out(format!(
            "the picture `{picture}`: give it with -i and --strength {strength}"
        ));
        return false;
    }
    for (name, field) in [
        ("width", "width"),
        ("height", "height"),
        ("batch_size", "num_images"),
    ] {
        if let Some(value) = graph.whole(start, name) {
            found.option(field, value);
        }
    }
    let Some(frames) = graph.whole(start, "length") else {
        return false;
    };
    found.option("frames", frames);
    found.top("type", if frames == 1 { "image_fast" } else { "video_fast" });
    true
}

fn sampling(graph: &Graph, sampler: &Node, is_video: bool, found: &mut Foreign) {
    let (noise, guider) = (graph.behind(sampler, "noise"), graph.behind(sampler, "guider"));
    let (select, sigmas) = (graph.behind(sampler, "sampler"), graph.behind(sampler, "sigmas"));
    // The parts of a sampler that is put together stand in nodes of their own.
    let parts: Vec<&Node> = [noise, guider, select, sigmas]
        .into_iter()
        .flatten()
        .map(|(node, _)| node)
        .collect();
    let parts: Vec<&Node> = std::iter::once(sampler).chain(parts).collect();
    let whole = |name: &str| {
        parts
            .iter()
            .find_map(|node| graph.value(node, name)?.as_number().cloned())
    };
    if let Some(seed) = whole("seed").or_else(|| whole("noise_seed")) {
        match seed.as_u64() {
            Some(seed) if i64::try_from(seed).is_ok() => found.option("seed", seed),
            _ => found.leave_out(format!("seed {seed}: seeds here end at 2^63-1")),
        }
    }
    if let Some(steps) = parts.iter().find_map(|node| graph.whole(node, "steps")) {
        found.option("steps", steps);
    }
    if let Some(cfg) = parts.iter().find_map(|node| graph.real(node, "cfg")) {
        found.option("guidance_scale", cfg);
    }
    let name = parts.iter().find_map(|node| graph.text(node, "sampler_name"));
    let turbo = parts.iter().any(|node| node.class == "SDTurboScheduler");
    let schedule = parts.iter().find_map(|node| graph.text(node, "scheduler"));
    // That node spaces the steps back from the last one.
    let schedule = schedule.unwrap_or_else(|| if turbo { "trailing".into() } else { String::new() });
    if let Some(name) = name {
        found.scheduler(&name, &schedule, is_video);
    }
}

/// The model, and what is laid over it on the way.
fn model(graph: &Graph, sampler: &Node, found: &mut Foreign) {
    let start = match graph.behind(sampler, "guider") {
        Some((guider, _)) => guider,
        None => sampler,
    };
    let mut tags = Vec::new();
    for node in graph.chain(start, "model") {
        match node.class.as_str() {
            "LoraLoader" | "LoraLoaderModelOnly" => {
                let scale = graph.real(node, "strength_model").unwrap_or(1.0);
                if let Some(file) = graph.text(node, "lora_name") {
                    if graph
                        .real(node, "strength_clip")
                        .is_some_and(|clip| clip != scale)
                    {
                        found.leave_out(format!(
                            "strength_clip of LoRA `{file}`: one scale holds for all here"
                        ));
                    }
                    tags.push(lora_tag(&file, scale));
                }
            }
            "ModelSamplingSD3" => {
                if let Some(shift) = graph.real(node, "shift") {
                    found.option("flow_shift", shift);
                }
            }
            "ModelSamplingDiscrete" => parametrisation(graph, node, found),
            "CheckpointLoaderSimple" => found.model = graph.text(node, "ckpt_name"),
            "UNETLoader" => found.model = graph.text(node, "unet_name"),
            _ => {}
        }
    }
    // The nearest to the sampler was laid over last.
    tags.reverse();
    if !tags.is_empty() {
        found.top("prompt", tags.join(" "));
    }
    if let Some(vae) = graph
        .nodes
        .values()
        .find(|node| node.class == "VAELoader")
        .and_then(|node| graph.text(node, "vae_name"))
    {
        found.leave_out(format!(
            "the autoencoder `{vae}`: give it with --vae where it is not the model's own"
        ));
    }
}

fn parametrisation(graph: &Graph, node: &Node, found: &mut Foreign) {
    match graph.text(node, "sampling").as_deref() {
        Some("v_prediction") => found.option("prediction_type", "v_prediction"),
        Some("eps") => found.option("prediction_type", "epsilon"),
        Some(other) => found.leave_out(format!("sampling `{other}`")),
        None => {}
    }
    if graph.value(node, "zsnr").and_then(|value| value.as_bool()) == Some(true) {
        found.option("rescale_betas_zero_snr", true);
    }
}

fn prompts(graph: &Graph, sampler: &Node, found: &mut Foreign) {
    let holder = graph
        .behind(sampler, "guider")
        .map_or(sampler, |(guider, _)| guider);
    let tags = found
        .spec
        .get("prompt")
        .and_then(|tags| tags.as_str())
        .map(String::from);
    for (input, field) in [
        ("positive", "prompt"),
        ("conditioning", "prompt"),
        ("negative", "negative_prompt"),
    ] {
        let mut way = Way::default();
        way.gather(graph, holder, input);
        let mut texts = way.texts.into_iter();
        let Some(node) = texts.next() else {
            continue;
        };
        for other in texts {
            let text = text_of(graph, other).0;
            found.leave_out(format!("a second text of the {field}: `{text}`"));
        }
        let (mut text, second) = text_of(graph, node);
        if let (Some(tags), "prompt") = (&tags, field) {
            text = format!("{text} {tags}");
        }
        found.top(field, text);
        if let Some(second) = second {
            found.option(&format!("{field}_2"), second);
        }
        if field == "prompt" {
            of_encoder(graph, node, found);
        }
    }
}

/// The way from a sampler to its texts.
#[derive(Default)]
struct Way<'g> {
    texts: Vec<&'g Node>,
    /// A graph may run in a circle.
    seen: Vec<*const Node>,
}

impl<'g> Way<'g> {
    /// Collects the texts that a conditioning comes from.
    fn gather(&mut self, graph: &'g Graph, node: &'g Node, input: &str) {
        let Some((source, slot)) = graph.behind(node, input) else {
            return;
        };
        if self.seen.contains(&std::ptr::from_ref(source)) || source.class == "ConditioningZeroOut" {
            return;
        }
        self.seen.push(source);
        if source.class.starts_with("CLIPTextEncode") {
            return self.texts.push(source);
        }
        // A node with both sides has the negative one on its second output.
        let both = source.links.contains_key("positive") && source.links.contains_key("negative");
        let inputs: Vec<&String> = match (both, slot) {
            (true, 1) => source.links.keys().filter(|name| *name == "negative").collect(),
            (true, _) => source.links.keys().filter(|name| *name == "positive").collect(),
            _ => source
                .links
                .keys()
                .filter(|name| name.starts_with("conditioning"))
                .collect(),
        };
        for input in inputs {
            self.gather(graph, source, input);
        }
    }
}

/// The text, and that of the second text encoder where it is another one.
fn text_of(graph: &Graph, node: &Node) -> (String, Option<String>) {
    if let Some(text) = graph.text(node, "text") {
        return (text, None);
    }
    let (l, g) = (graph.text(node, "text_l"), graph.text(node, "text_g"));
    match (l, g) {
        (Some(l), Some(g)) if l != g => (l, Some(g)),
        (Some(text), _) | (None, Some(text)) => (text, None),
        (None, None) => (String::new(), None),
    }
}

/// What the text's own node says of sizes, and how many layers of the text encoder are left out.
fn of_encoder(graph: &Graph, node: &Node, found: &mut Foreign) {
    let pair =
        |height: &str, width: &str| Some(json!([graph.whole(node, height)?, graph.whole(node, width)?]));
    for (field, height, width) in [
        ("original_size", "height", "width"),
        ("crops_coords_top_left", "crop_h", "crop_w"),
        ("target_size", "target_height", "target_width"),
    ] {
        if let Some(pair) = pair(height, width) {
            found.option(field, pair);
        }
    }
    for node in graph.chain(node, "clip") {
        let stop = graph
            .value(node, "stop_at_clip_layer")
            .and_then(|value| value.as_i64());
        match stop {
            // SDXL's own.
            None | Some(-2) => {}
            Some(layer) if layer <= -3 => found.option("clip_skip", -layer - 2),
            Some(layer) => found.leave_out(format!("stop_at_clip_layer {layer}: SDXL begins at -2")),
        }
    }
}

/// A sampler that goes on where the first ended.
fn second_pass(graph: &Graph, second: &Node, first: &Node, found: &mut Foreign) {
    let way = graph.chain(second, "latent_image");
    let enlarged = graph.behind(second, "latent_image").map(|(node, _)| node);
    let from_first = enlarged
        .and_then(|node| graph.behind(node, "samples"))
        .is_some_and(|(node, _)| std::ptr::eq(node, first));
    let scale = enlarged.and_then(|node| graph.real(node, "scale_by"));
    match (from_first, scale, graph.real(second, "denoise")) {
        (true, Some(scale), Some(strength)) => {
            found.option("hires", json!({"scale": scale, "strength": strength}));
        }
        _ if way.iter().any(|node| std::ptr::eq(*node, first)) => {
            found
                .leave_out("a second sampler that goes on with another model: give a refiner with --refiner");
        }
        _ => found.leave_out(format!("a second sampler (`{}`)", second.class)),
    }
}
