use super::*;
use crate::job::{Origin, parse};
use crate::schedulers::combine;
use serde_json::{Value, json};

const A1111: &str = "a lighthouse at dusk, (golden light:1.3)\nsecond line <lora:fog:0.8>\n\
Negative prompt: blurry,\nlow quality\n\
Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 4294967295, Size: 832x1216, \
Model hash: 31e35c80fc, Model: sd_xl_base_1.0, Denoising strength: 0.4, Clip skip: 4, RNG: CPU, \
Hires upscale: 1.5, Hires upscaler: Latent, Lora hashes: \"fog: 0123, b: 4\", Version: v1.10.1";

fn options(foreign: &Foreign) -> &Value {
    &foreign.spec["config"]
}

/// What becomes of it passes through the same parser as any spec.
fn parses(foreign: &Foreign) {
    let text = Value::Object(foreign.spec.clone()).to_string();
    let specs = parse(text.as_bytes(), "x", Origin::Replay).unwrap();
    assert_eq!(specs.len(), 1, "{text}");
}

#[test]
fn parameters_of_a1111_become_a_spec_and_the_rest_is_listed() {
    let found = recognise(A1111).unwrap();
    assert_eq!(
        found.spec["prompt"],
        "a lighthouse at dusk, (golden light:1.3)\nsecond line <lora:fog:0.8>"
    );
    assert_eq!(found.spec["negative_prompt"], "blurry,\nlow quality");
    assert_eq!(
        *options(&found),
        json!({
            "auto_negative": false, "scheduler": "dpmpp-2m-karras", "hires": {"scale": 1.5, "strength": 0.4},
            "steps": 30, "guidance_scale": 6.5, "seed": 4_294_967_295u64, "width": 832, "height": 1216,
        })
    );
    assert_eq!(found.model.as_deref(), Some("sd_xl_base_1.0"));
    let left = found.left_out.join("\n");
    assert!(
        left.contains("Hires upscaler: Latent") && left.contains("Clip skip: 4"),
        "{left}"
    );
    assert!(
        !left.contains("Lora hashes") && !left.contains("drawn on a GPU"),
        "{left}"
    );
    parses(&found);
}

#[test]
fn without_a_negative_prompt_the_field_was_empty_and_gpu_noise_is_said() {
    let found =
        recognise("a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512").unwrap();
    assert_eq!(found.spec["negative_prompt"], "");
    assert_eq!(options(&found)["scheduler"], "euler-ancestral");
    assert!(found.left_out.iter().any(|item| item.contains("drawn on a GPU")));
    parses(&found);
}

#[test]
fn layers_of_the_text_encoder_are_counted_as_the_program_did() {
    let skip = |more: &str| {
        let text = format!("x\nSteps: 9, Sampler: Euler, CFG scale: 7, {more}");
        let found = recognise(&text).unwrap();
        (options(&found).get("clip_skip").cloned(), found.left_out.len())
    };
    assert_eq!(skip("Clip skip: 2"), (None, 0));
    assert_eq!(skip("Clip skip: 3, Version: f2.0.1v1.10.1"), (Some(json!(1)), 0));
    assert_eq!(skip("Clip skip: 3, Version: v1.10.1"), (None, 1));
}

#[test]
fn values_with_commas_quotes_and_colons_are_one_value() {
    let found = recognise("x\nSteps: 9, Sampler: Zebra, CFG scale: 7, Model: \"a, \\\"b\\\": c\"").unwrap();
    assert_eq!(found.model.as_deref(), Some("a, \"b\": c"));
    assert!(found.left_out[0].contains("`Zebra`"), "{:?}", found.left_out);
    let broken = recognise("x\nSteps: 9, Sampler: Euler, CFG scale: seven, Size: big").unwrap();
    let left = broken.left_out.join("\n");
    assert!(left.contains("seven") && left.contains("big"), "{left}");
}

#[test]
fn what_is_no_text_of_another_program_is_left_alone() {
    for text in [
        "prompt: a cat\nsteps: 20\n",
        "a cat\nSteps: 20",
        "{\"prompt\": \"a cat\", \"config\": {\"steps\": 3}}",
        "{\"a\": {\"b\": 1}}",
        "[]",
        "{",
        "",
        "\u{feff}",
    ] {
        assert_eq!(recognise(text), None, "{text}");
    }
}

/// ComfyUI's first example, in the form of its API.
fn api() -> Value {
    json!({
        "3": {"class_type": "KSampler", "inputs": {
            "seed": 156_680_208_700_286u64, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal",
            "denoise": 1, "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sdxl/base.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 2}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "beautiful scenery", "clip": ["11", 0]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "text, watermark", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
        "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "sub/fog.safetensors", "strength_model": 0.8,
            "strength_clip": 0.8, "model": ["4", 0], "clip": ["4", 1]}},
        "11": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -3, "clip": ["10", 1]}},
        "12": {"class_type": "FreeU_V2", "inputs": {"model": ["4", 0]}},
    })
}

fn expected() -> Value {
    json!({
        "prompt_syntax": "comfy", "auto_negative": false, "width": 512, "height": 768, "num_images": 2,
        "seed": 156_680_208_700_286u64, "steps": 20, "guidance_scale": 8.0, "scheduler": "euler-linspace",
        "clip_skip": 1,
    })
}

#[test]
fn a_graph_for_the_api_becomes_a_spec() {
    let found = recognise(&api().to_string()).unwrap();
    assert_eq!(found.what, "a ComfyUI graph");
    assert_eq!(found.spec["prompt"], "beautiful scenery <lora:fog:0.8>");
    assert_eq!(found.spec["negative_prompt"], "text, watermark");
    let mut options = options(&found).clone();
    let scheduler = options["scheduler"].take();
    assert_eq!(scheduler, combine("euler", "normal").unwrap());
    options["scheduler"] = expected()["scheduler"].clone();
    assert_eq!(options, expected());
    assert_eq!(found.model.as_deref(), Some("sdxl/base.safetensors"));
    assert_eq!(found.left_out, ["node `FreeU_V2`"]);
    parses(&found);
    let wrapped = json!({"prompt": api(), "client_id": "x"}).to_string();
    assert_eq!(recognise(&wrapped).unwrap(), found);
}

#[test]
fn a_graph_as_the_interface_saves_it_says_the_same() {
    let link = |id: u64, from: u64, slot: u64| json!([id, from, slot, 0, 0, "X"]);
    let node = |id: u64, class: &str, widgets: Value, inputs: &[(&str, u64)]| {
        let inputs: Vec<Value> = inputs
            .iter()
            .map(|(name, link)| json!({"name": name, "link": link}))
            .collect();
        json!({"id": id, "type": class, "mode": 0, "widgets_values": widgets, "inputs": inputs})
    };
    let mut muted = node(12, "FreeU_V2", json!([]), &[]);
    muted["mode"] = 2.into();
    let mut bypassed = node(13, "FreeU", json!([1, 2]), &[("model", 9)]);
    bypassed["mode"] = 4.into();
    let graph = json!({
        "nodes": [
            node(3, "KSampler", json!([7, "fixed", 20, 8, "dpmpp_2m_sde_gpu", "karras", 1]),
                 &[("model", 1), ("positive", 2), ("negative", 3), ("latent_image", 4)]),
            node(4, "CheckpointLoaderSimple", json!(["base.safetensors"]), &[]),
            node(5, "EmptyLatentImage", json!([1024, 1024, 1]), &[]),
            node(6, "CLIPTextEncode", json!(["a cat"]), &[("clip", 5)]),
            node(7, "CLIPTextEncode", json!([""]), &[("clip", 5)]),
            node(8, "Reroute", json!(null), &[("", 6)]),
            muted, bypassed,
        ],
        "links": [link(1, 13, 0), link(2, 8, 0), link(3, 7, 0), link(4, 5, 0), link(5, 4, 1), link(6, 6, 0), link(9, 4, 0)],
        "version": 0.4,
    });
    let found = recognise(&graph.to_string()).unwrap();
    assert_eq!(
        (&found.spec["prompt"], &found.spec["negative_prompt"]),
        (&json!("a cat"), &json!(""))
    );
    let options = options(&found);
    assert_eq!(
        (&options["seed"], &options["steps"], &options["width"]),
        (&json!(7), &json!(20), &json!(1024))
    );
    assert_eq!(options["scheduler"], combine("dpmpp_2m_sde", "karras").unwrap());
    assert_eq!(found.model.as_deref(), Some("base.safetensors"));
    assert_eq!(found.left_out, Vec::<String>::new());
    parses(&found);
}

#[test]
fn videos_second_passes_and_pictures_to_begin_with_are_told_apart() {
    let mut wan = api();
    wan["5"] = json!({"class_type": "EmptyHunyuanLatentVideo", "inputs": {"width": 832, "height": 480, "length": 33, "batch_size": 1}});
    wan["3"]["inputs"]["sampler_name"] = "uni_pc".into();
    wan["3"]["inputs"]["scheduler"] = "simple".into();
    wan["12"] = json!({"class_type": "ModelSamplingSD3", "inputs": {"shift": 8, "model": ["4", 0]}});
    wan["3"]["inputs"]["model"] = json!(["12", 0]);
    let found = recognise(&wan.to_string()).unwrap();
    assert_eq!(found.spec["type"], "video_fast");
    let asked = options(&found);
    assert_eq!(
        (&asked["frames"], &asked["flow_shift"], &asked["scheduler"]),
        (&json!(33), &json!(8.0), &json!("flow-unipc"))
    );
    parses(&found);

    let mut hires = api();
    hires["20"] = json!({"class_type": "LatentUpscaleBy", "inputs": {"scale_by": 1.5, "samples": ["3", 0]}});
    hires["21"] = json!({"class_type": "KSampler", "inputs": {"seed": 1, "steps": 9, "cfg": 8, "sampler_name": "euler",
        "scheduler": "normal", "denoise": 0.5, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0],
        "latent_image": ["20", 0]}});
    let found = recognise(&hires.to_string()).unwrap();
    assert_eq!(options(&found)["hires"], json!({"scale": 1.5, "strength": 0.5}));
    assert_eq!(options(&found)["steps"], 20);

    let mut begun = api();
    begun["5"] = json!({"class_type": "VAEEncode", "inputs": {"pixels": ["30", 0], "vae": ["4", 2]}});
    begun["30"] = json!({"class_type": "LoadImage", "inputs": {"image": "start.png"}});
    begun["3"]["inputs"]["denoise"] = 0.6.into();
    let found = recognise(&begun.to_string()).unwrap();
    assert!(
        found.left_out[0].contains("`start.png`") && found.left_out[0].contains("--strength 0.6"),
        "{:?}",
        found.left_out
    );
}

#[test]
fn broken_and_circular_graphs_harm_nobody() {
    let circle = json!({
        "1": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["2", 0], "latent_image": ["2", 0]}},
        "2": {"class_type": "Reroute", "inputs": {"": ["2", 0], "conditioning": ["2", 0], "positive": ["2", 0]}},
    });
    assert!(recognise(&circle.to_string()).is_some());
    let combined = json!({
        "1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0]}},
        "2": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["2", 0], "conditioning_2": ["2", 0]}},
    });
    assert!(recognise(&combined.to_string()).is_some());
    for odd in [
        json!({"nodes": [1, null, {"id": 1}], "links": [1, [1], null]}),
        json!({"1": {"class_type": "KSampler"}}),
        json!({"1": {"class_type": "KSampler", "inputs": {"seed": -1, "steps": "x", "positive": ["9", 0]}}}),
        json!({"1": {"class_type": "KSampler", "inputs": {"seed": 18_446_744_073_709_551_615u64}}}),
    ] {
        let _ = recognise(&odd.to_string());
    }
}
