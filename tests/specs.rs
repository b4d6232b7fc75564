//! Job specs from the outside: every shape that producers send, every input that must be refused.

use std::path::Path;

use ourvidz::config::Settings;
use ourvidz::error::{ErrorKind, hint_of, kind_of};
use ourvidz::job::{
    Addresses, Diffusion, Fetched, Job, JobSpec, MAX_SPEC_BYTES, Origin, Request, Trust, Work, parse, resolve,
};
use ourvidz::registry::{ModelSpec, Registry};
use proptest::prelude::*;

fn file(text: &str) -> Vec<JobSpec> {
    parse(text.as_bytes(), "job.yaml", Origin::File).expect("a good spec")
}

fn one(text: &str) -> JobSpec {
    let mut jobs = file(text);
    assert_eq!(jobs.len(), 1, "{text}");
    jobs.remove(0)
}

fn queued(text: &str) -> JobSpec {
    let mut jobs = parse(text.as_bytes(), "queue item", Origin::Queue).expect("a good item");
    assert_eq!(jobs.len(), 1, "{text}");
    jobs.remove(0)
}

/// The whole text of a refusal: message, then hint.
fn refusal(bytes: &[u8], origin: Origin) -> String {
    let e = parse(bytes, "job.yaml", origin).expect_err(&String::from_utf8_lossy(bytes));
    assert_eq!(kind_of(&e), ErrorKind::InvalidSpec);
    format!("{e} | {}", hint_of(&e).unwrap_or_default())
}

fn refused(text: &str, words: &[&str]) {
    let message = refusal(text.as_bytes(), Origin::File);
    assert!(message.starts_with("job.yaml: "), "{message}");
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

fn by_words(_: &ModelSpec, text: &str) -> anyhow::Result<usize> {
    Ok(text.split_whitespace().count())
}

fn settled(spec: &JobSpec) -> anyhow::Result<Job> {
    let registry = Registry::shipped().expect("the shipped models");
    resolve(
        &Request {
            id: spec.id.as_deref().unwrap_or("drawn"),
            spec,
            trust: Trust::FULL,
            addresses: Addresses::Fetched(&Fetched::new()),
        },
        &registry,
        &Settings::with_folders("none", "none"),
        &by_words,
    )
}

fn unsettled(text: &str, kind: ErrorKind, words: &[&str]) {
    let e = settled(&one(text)).expect_err(text);
    assert_eq!(kind_of(&e), kind, "{text}: {e:#}");
    let message = format!("{e:#} | {}", hint_of(&e).unwrap_or_default());
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn the_example_jobs_parse_and_resolve() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs");
    let mut counts = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let jobs = parse(text.as_bytes(), &name, Origin::File).unwrap();
        // Those with files of the user's run in a folder that has some; see `sdxl_jobs` and `loras`.
        let needs_files = ["input.png", "my-sdxl", "<lora:"]
            .iter()
            .any(|name| text.contains(name));
        for job in jobs.iter().filter(|_| !needs_files) {
            settled(job).unwrap_or_else(|e| panic!("{name}: {e:#}"));
        }
        counts.insert(name, jobs.len());
    }
    assert_eq!(counts["sdxl-image-fast.yaml"], 1);
    assert_eq!(counts["sdxl-image-high.yaml"], 1);
    assert_eq!(counts["batch-of-three.yaml"], 1);
    assert_eq!(counts["several.yaml"], 3);
    for name in ["image-fast", "image-high", "video-fast", "video-high"] {
        assert_eq!(counts[&format!("{name}.yaml")], 1);
    }
    for name in [
        "chat",
        "chat-enhance",
        "admin",
        "image-enhanced",
        "video-enhanced",
    ] {
        assert_eq!(counts[&format!("{name}.yaml")], 1);
    }
}

#[test]
fn a_spec_with_every_field_is_understood() {
    let spec = one(r#"
id: 4f0c-1
type: sdxl_image_high
prompt: a lighthouse at dusk, (golden light:1.3)
negative_prompt: blurry
user_id: 9a1b
compel_enabled: true
compel_weights: "(lighthouse:1.2), (fog:0.8)"
config: {num_images: 3, seed: 12345, steps: 30, guidance_scale: 7.0, width: 1024, height: 768,
         scheduler: dpmpp-2m-karras, first_frame: start.png, last_frame: end.png, image: ref.png}
metadata: {reference_type: style, reference_strength: 0.6, enhancement_type: base, session_id: s1, own: [1, {a: b}]}
callback_url: https://example.org/x
expect: {image: golden/lighthouse.png, min_psnr: 40}
"#);
    assert_eq!(spec.id.as_deref(), Some("4f0c-1"));
    assert_eq!(
        spec.prompt.as_deref(),
        Some("a lighthouse at dusk, (golden light:1.3)")
    );
    let o = &spec.config;
    assert_eq!((o.num_images, o.seed, o.steps), (Some(3), Some(12345), Some(30)));
    assert_eq!(
        (o.width, o.height, o.guidance_scale),
        (Some(1024), Some(768), Some(7.0))
    );
    assert_eq!(o.first_frame.as_deref(), Some("start.png"));
    assert_eq!(
        (o.reference_type.as_deref(), o.reference_strength),
        (Some("style"), Some(0.6))
    );
    assert_eq!(spec.metadata["session_id"], "s1");
    assert_eq!(spec.metadata["own"][1]["a"], "b");
    assert!(!spec.metadata.contains_key("reference_type"));
    assert_eq!(spec.expect.as_ref().unwrap().min_psnr, 40.0);
    assert!(spec.notes.is_empty() && spec.ignored.is_empty());
}

#[test]
fn the_canonical_json_of_a_spec_reads_back_as_the_same_spec() {
    let spec = one(
        "prompt: x\nlora: [a.safetensors:0.8, {file: b, scale: 2}]\nseed: 5\nmetadata: {k: 1.5}\nuser_id: u\nfps: 16",
    );
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(one(&text), spec);
}

#[test]
fn jobs_with_the_same_adapters_have_the_same_affinity() {
    let of = |text: &str| one(text).affinity("m");
    assert_eq!(of("prompt: x"), "m");
    assert_eq!(
        of("prompt: x <lora:film:0.5>\nloras: [a:0.8]"),
        "m+a:0.8+film:0.5"
    );
    assert_eq!(of("prompt: y <lora:film:0.5>\nlora: 'a:0.8'"), "m+a:0.8+film:0.5");
}

#[test]
fn every_alias_means_its_field() {
    for (text, expected) in [
        ("job_id: a", one("id: a")),
        ("jobId: a", one("id: a")),
        ("jobType: video_fast", one("type: video_fast")),
        ("job_type: wan_video_fast", one("type: wan_video_fast")),
        ("userId: u", one("user_id: u")),
        ("num_inference_steps: 9", one("config: {steps: 9}")),
        ("config: {sample_steps: 9}", one("steps: 9")),
        (
            "metadata: {sample_guide_scale: 3}",
            one("config: {guidance_scale: 3}"),
        ),
        ("sample_shift: 5", one("config: {flow_shift: 5}")),
        ("frame_num: 17", one("config: {frames: 17}")),
        (
            "metadata: {start_reference_url: a}",
            one("config: {first_frame: a}"),
        ),
        ("start_reference_image_url: a", one("first_frame: a")),
        ("startReferenceImageUrl: a", one("first_frame: a")),
        ("config: {end_reference_url: a}", one("last_frame: a")),
        ("end_reference_image_url: a", one("last_frame: a")),
        ("endReferenceImageUrl: a", one("last_frame: a")),
        ("metadata: {reference_image_url: a}", one("image: a")),
        ("referenceImageUrl: a", one("config: {image: a}")),
        (
            "metadata: {num_images: 6, seed: 0}",
            one("config: {num_images: 6, seed: 0}"),
        ),
    ] {
        assert_eq!(one(text), expected, "{text}");
    }
}

#[test]
fn config_wins_over_metadata_and_metadata_over_the_top_level_and_notes_say_so() {
    let spec = one("seed: 1\nmetadata: {seed: 2}\nconfig: {seed: 3}");
    assert_eq!(spec.config.seed, Some(3));
    assert_eq!(
        spec.notes,
        [
            "config.seed and metadata.seed disagree; config.seed holds",
            "config.seed and seed disagree; config.seed holds"
        ]
    );
    let spec = one("num_images: 1\nmetadata: {num_images: 3}");
    assert_eq!((spec.config.num_images, spec.notes.len()), (Some(3), 1));
    let spec = one("steps: 20\nconfig: {num_inference_steps: 20.0}");
    assert_eq!((spec.config.steps, spec.notes.len()), (Some(20), 0));
}

#[test]
fn one_job_a_list_and_several_documents_are_read_in_order() {
    let jobs = file("prompt: a\n---\n- prompt: b\n- prompt: c\n---\n{\"prompt\": \"d\"}\n");
    let prompts: Vec<_> = jobs.iter().filter_map(|j| j.prompt.as_deref()).collect();
    assert_eq!(prompts, ["a", "b", "c", "d"]);
    assert_eq!(file("[{\"prompt\": \"a\"}, {\"prompt\": \"b\"}]").len(), 2);
    assert_eq!(file("{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n").len(), 2);
    assert_eq!(file("\u{feff}prompt: a").len(), 1);
    assert_eq!(file("---\nprompt: a\n---\n").len(), 1);
    assert_eq!(file("prompt: a\r\nseed: 1\r\n").len(), 1);
}

#[test]
fn ordinary_prompts_are_no_markup() {
    let text = "a (castle:1.3) [tree] & more *stars*! {x}#1, 50%, `q`, <lora> - dash ? \"quoted\" @ end";
    assert_eq!(one(&format!("prompt: {text}")).prompt.as_deref(), Some(text));
    let json = serde_json::json!({"prompt": "&a *b !c [[[[ {{{{ }} ]\n\"'\\ 😀 \u{1b}[31m"}).to_string();
    assert_eq!(
        one(&json).prompt.as_deref(),
        Some("&a *b !c [[[[ {{{{ }} ]\n\"'\\ 😀 \u{1b}[31m")
    );
    let brackets = format!("prompt: '{}'", "[{(".repeat(2000));
    assert_eq!(one(&brackets).prompt.unwrap().len(), 6000);
    assert_eq!(one("prompt: |\n  [a\n  {b\n").prompt.as_deref(), Some("[a\n{b\n"));
    assert_eq!(one("prompt: 1984\nid: 12").prompt.as_deref(), Some("1984"));
    assert_eq!(one(r#"{"prompt":"\ud83d\ude00"}"#).prompt.as_deref(), Some("😀"));
}

#[test]
fn anchors_may_share_a_config() {
    let jobs = file("- &a {prompt: x, config: &c {seed: 1}}\n- {prompt: y, config: *c}\n- *a\n");
    assert_eq!(jobs[1].config.seed, Some(1));
    assert_eq!(jobs[2], jobs[0]);
}

#[test]
fn empty_inputs_are_refused() {
    for text in [
        "",
        "   \n\t\n",
        "\u{feff}",
        "# only a comment\n",
        "---\n---\n",
        "null",
        "[]",
    ] {
        let message = refusal(text.as_bytes(), Origin::File);
        assert!(
            message.contains("empty") || message.contains("holds no job"),
            "{message}"
        );
        assert!(message.contains("prompt"), "{message}");
    }
}

#[test]
fn broken_syntax_names_line_and_column() {
    refused("prompt: a\nseed: [1, 2\n", &["line ", "not valid YAML"]);
    refused("prompt: a: b", &["line 1, column 10", "needs quotes"]);
    refused("prompt: 'a", &["line 1"]);
    refused("prompt: a\n\tseed: 1", &["line 1, column 9", "found a tab"]);
    let e = parse(b"{\"prompt\": \"a\",\n \"seed\" 1}", "x.json", Origin::File).unwrap_err();
    assert!(
        e.to_string()
            .starts_with("x.json: line 2, column 9: not valid JSON"),
        "{e}"
    );
}

#[test]
fn things_that_are_no_job_are_refused() {
    refused("just text", &["must be a map", "this is text"]);
    refused("42", &["this is a number"]);
    refused("- 1", &["this is a number"]);
    refused("- [{prompt: a}]", &["this is a list"]);
    refused("config: 3\nprompt: a", &["config is a number, it must be a map"]);
    refused("? [a]\n: b", &["a key must be text"]);
    refused("[\"{}\"]", &["this is text"]);
}

#[test]
fn unknown_fields_of_a_file_name_the_nearest_known_one() {
    refused(
        "id: a\npromt: x",
        &[
            "line 2, column 1",
            "job `a`",
            "unknown field `promt`",
            "did you mean `prompt`?",
        ],
    );
    refused("config: {stpes: 3}", &["job 1", "`config.stpes`", "`steps`"]);
    refused(
        "config: {prompt: x}",
        &["`config.prompt`", "belongs at the top level"],
    );
    refused("prompt: x\nfoobarbaz: 1", &["`foobarbaz`", "metadata"]);
    refused(
        "metadata: {refernce_strength: 0.5}",
        &["`metadata.refernce_strength`", "`reference_strength`"],
    );
    refused("expect: {image: a, min_psnr: 30, psnr: 3}", &["expect.psnr"]);
    refused("<<: {a: 1}", &["merge keys"]);
    assert_eq!(one("prompt: x\nmetadata: {project: 7}").metadata["project"], 7);
}

#[test]
fn unknown_fields_of_a_queue_item_are_kept_and_listed() {
    let spec =
        queued(r#"{"id":"a","prompt":"x","bucket":"b","config":{"promt":1,"seed":4},"metadata":{"own":1}}"#);
    assert_eq!(spec.ignored, ["config.promt", "bucket"]);
    assert_eq!((spec.config.seed, &spec.metadata["own"]), (Some(4), &1.into()));
}

#[test]
fn a_queue_item_may_be_an_array_of_json_text() {
    let inner = r#"{"id":"a","prompt":"x","config":{"seed":4}}"#;
    let wrapped = serde_json::json!([inner]).to_string();
    assert_eq!(queued(&wrapped), queued(inner));
    assert_eq!(queued(&format!("[{inner}]")), queued(inner));
    let deeper = serde_json::json!([serde_json::json!([inner]).to_string()]).to_string();
    assert!(refusal(deeper.as_bytes(), Origin::Queue).contains("must be a map"));
    let broken = serde_json::json!(["{\"id\": "]).to_string();
    assert!(refusal(broken.as_bytes(), Origin::Queue).contains("inside the array"));
}

#[test]
fn a_queue_item_may_leave_its_id_to_the_queue() {
    assert_eq!(queued("{\"prompt\":\"x\"}").id, None);
}

#[test]
fn numbers_as_text_are_read_from_queues_with_a_note_and_refused_in_files() {
    let spec = queued(r#"{"id":"a","config":{"steps":"25","seed":" 7 "}}"#);
    assert_eq!((spec.config.steps, spec.config.seed), (Some(25), Some(7)));
    assert!(
        spec.notes.iter().any(|n| n.contains("config.steps")),
        "{:?}",
        spec.notes
    );
    refused(
        "steps: \"25\"",
        &["steps is the text `25`", "without quotes", "1 to 150"],
    );
    let message = refusal(br#"{"id":"a","steps":"many"}"#, Origin::Queue);
    assert!(message.contains("steps is the text `many`"), "{message}");
}

#[test]
fn a_key_given_twice_is_refused() {
    refused(
        "prompt: a\nseed: 1\nprompt: b",
        &["line 3, column 1", "duplicate key `prompt`"],
    );
    refused("config: {seed: 1, seed: 1}", &["duplicate key `seed`"]);
    refused(
        "{\"prompt\": \"a\", \"prompt\": \"a\"}",
        &["duplicate key `prompt`", "line 1"],
    );
}

#[test]
fn values_out_of_range_name_field_value_and_range() {
    for (text, words) in [
        ("steps: 0", "steps is 0, it must be a whole number from 1 to 150"),
        ("config: {steps: 151}", "config.steps is 151"),
        ("steps: -3", "steps is -3"),
        ("steps: 2.5", "steps is 2.5"),
        ("steps: .nan", "steps is .nan"),
        ("steps: 1e999", "steps is 1e999"),
        ("steps: true", "steps is true or false"),
        ("steps: [1]", "steps is a list"),
        (
            "seed: -1",
            "seed is -1, it must be a whole number from 0 to 9223372036854775807",
        ),
        ("seed: 9223372036854775808", "seed is 9223372036854775808"),
        ("seed: 99999999999999999999999999", "seed is"),
        ("seed: 1.5", "seed is 1.5"),
        ("seed: 1e30", "seed is 1e30"),
        ("guidance_scale: 30.01", "a number from 0 to 30"),
        ("guidance_scale: -0.1", "guidance_scale is -0.1"),
        ("guidance_scale: .inf", "guidance_scale is .inf"),
        ("guidance_scale: NaN", "guidance_scale is the text `NaN`"),
        (
            "num_images: 65",
            "num_images is 65, it must be a whole number from 1 to 64",
        ),
        ("num_images: 0", "a whole number from 1 to 64"),
        (
            "width: 1023",
            "width is 1023, it must be a multiple of 8 from 64 to 4096",
        ),
        ("height: 8", "a multiple of 8 from 64"),
        ("height: 1e9", "height is 1e9"),
        ("reference_strength: 1.1", "a number from 0 to 1"),
        ("strength: -1", "strength is -1"),
        ("expect: {image: a, min_psnr: -4}", "expect.min_psnr is -4"),
        ("expect: {image: a}", "expect.min_psnr is missing"),
        ("prompt: [a]", "prompt is a list, it must be text"),
        ("prompt: {a: b}", "prompt is a map"),
        ("prompt: true", "prompt is true or false"),
        (
            "compel_enabled: 1",
            "compel_enabled is a number, it must be true or false",
        ),
        ("auto_negative: yes", "auto_negative is the text `yes`"),
        ("lora: [[1]]", "lora[0] is a list"),
        ("lora: [1]", "lora[0] is a number"),
        (
            "loras: [{file: a, weight: 1}]",
            "loras[0].weight is no known field",
        ),
        ("loras: [{scale: 1}]", "loras[0].file is missing"),
        (
            "loras: 'a:1000'",
            "the scale 1000 for `a`, it must be from -100 to 100",
        ),
    ] {
        refused(text, &[words]);
    }
}

#[test]
fn the_ends_of_every_range_are_good() {
    assert_eq!(
        one("seed: 9223372036854775807").config.seed,
        Some(i64::MAX as u64)
    );
    assert_eq!(one("seed: 0").config.seed, Some(0));
    assert_eq!(
        one("{\"seed\": 9223372036854775807}").config.seed,
        Some(i64::MAX as u64)
    );
    assert_eq!(
        one("steps: 150\nguidance_scale: 0\nnum_images: 6").config.steps,
        Some(150)
    );
    assert_eq!(one("steps: 25.0").config.steps, Some(25));
    assert_eq!(one("guidance_scale: 30").config.guidance_scale, Some(30.0));
    assert_eq!(one("seed: null\nprompt: ~"), JobSpec::default());
}

#[test]
fn dangerous_ids_are_refused_without_being_printed_raw() {
    for id in [
        "../up",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "..",
        ".",
        "a b",
        "",
        "C:",
        "name.png",
        "ü",
        "a\u{202e}b",
        "a\u{0}b",
        "a\nb",
        "a\u{200b}b",
    ] {
        let spec = serde_json::json!({"id": id, "prompt": "x"}).to_string();
        let message = refusal(spec.as_bytes(), Origin::Queue);
        assert!(message.contains("1 to 128 of the characters"), "{message}");
        assert!(
            !message.contains(['\0', '\n', '\u{202e}', '\u{200b}']),
            "{message:?}"
        );
    }
    let long = "a".repeat(129);
    refused(&format!("id: {long}"), &["1 to 128", "…"]);
    assert_eq!(one(&format!("id: {}", &long[1..])).id.unwrap().len(), 128);
    refused("user_id: ../x", &["user_id is `../x`"]);
    refused("{\"prompt\": \"a\\u0000b\"}", &["prompt holds a NUL"]);
}

#[test]
fn unknown_types_list_the_choices() {
    refused(
        "id: a\ntype: sdxl_image_fst",
        &[
            "job `a`",
            "type is `sdxl_image_fst`",
            "sdxl_image_fast, sdxl_image_high",
            "did you mean `sdxl_image_fast`?",
        ],
    );
}

#[test]
fn custom_tags_are_refused_and_the_core_ones_read() {
    refused(
        "prompt: !python/object:os.system ls",
        &["the tag `!python/object:os.system` is not allowed"],
    );
    refused("prompt: !!binary aGk=", &["is not allowed"]);
    refused("!job\nprompt: x", &["is not allowed"]);
    refused("config: !x {seed: 1}", &["is not allowed"]);
    assert_eq!(one("prompt: !!str 5").prompt.as_deref(), Some("5"));
    assert_eq!(one("steps: !!int 5").config.steps, Some(5));
}

#[test]
fn wrong_encodings_are_refused_with_their_place() {
    let message = refusal(b"prompt: a\nseed: \xff1", Origin::File);
    assert!(
        message.contains("line 2, column 7: is not valid UTF-8"),
        "{message}"
    );
    assert!(refusal(b"\xff\xfep\0", Origin::File).contains("UTF-16"));
    refusal(b"prompt: a\0b", Origin::File);
}

#[test]
fn too_long_an_input_is_refused_and_the_longest_is_read() {
    let text = format!("prompt: {}", "a".repeat(MAX_SPEC_BYTES - 8));
    assert_eq!(one(&text).prompt.unwrap().len(), MAX_SPEC_BYTES - 8);
    refused(&format!("{text}a"), &["65537 bytes", "at most 65536", "split"]);
}

/// Inputs of up to 64 KiB that make careless parsers hang or grow.
fn nasty() -> Vec<String> {
    let fill = |piece: &str| piece.repeat(MAX_SPEC_BYTES / piece.len());
    let mut list: Vec<String> = [
        "[",
        "{",
        "[{",
        "- ",
        "? ",
        ": ",
        "-\n",
        "[? ",
        "{? ",
        "{a: ",
        "{\"a\":",
        "[[],",
        "&a ",
        "&a [",
        "!a ",
        "!!a ",
        "*a ",
        ",",
        "\"",
        "'",
        "|\n",
        ">\n",
        "%a\n",
        "---\n",
        "...\n",
        "a: &a\n",
        "- &a *a\n",
        "\t",
        "#",
        "\\",
        "@",
        "`",
        "<<: ",
        "{}",
        "[]",
        "[1]",
        "{\"a\":1}",
        "\"a\":",
        "0",
        "1e",
        ".",
        "-",
        "!<",
        "\u{2028}",
        "\u{feff}",
        "é",
        "{a}",
        "a:\n ",
        "? -\n",
    ]
    .iter()
    .map(|piece| fill(piece))
    .collect();
    list.push("[".repeat(32_000) + &"]".repeat(32_000));
    list.push(format!("prompt: {}", "[".repeat(60_000)));
    list.push(format!("config: {}", "{a: ".repeat(16_000)));
    list.push((0..350).map(|i| format!("{}a:\n", " ".repeat(i))).collect());
    list.push(format!("[{}]", fill("a,").split_at(MAX_SPEC_BYTES - 4).0));
    list
}

#[test]
fn nested_brackets_deep_indentation_and_the_like_are_refused() {
    for text in nasty() {
        for origin in [Origin::File, Origin::Queue] {
            let result = parse(text.as_bytes(), "nasty", origin);
            let start: String = text.chars().take(20).collect();
            // Jobs of a producer's own fields; an item of a queue is one, and a drain refuses several.
            if origin == Origin::Queue && result.as_ref().is_ok_and(|jobs| jobs.len() > 1) {
                continue;
            }
            let e = result.expect_err(&start);
            assert_eq!(kind_of(&e), ErrorKind::InvalidSpec, "{start}");
            assert!(e.to_string().len() < 500, "{start}: {e}");
        }
    }
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..30 {
        let use_of = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb += &format!("a{i}: &a{i} [{use_of}]\n");
    }
    refused(&bomb, &["too much content"]);
    let text = format!("a: &a {}\nb: [{}]", "x".repeat(10_000), "*a, ".repeat(1000));
    refused(&text, &["too much content"]);
    refused("a: &a [*a]", &["job.yaml"]);
    refused("a: *nothing", &["line 1"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes, "any", Origin::File);
        let _ = parse(&bytes, "any", Origin::Queue);
    }

    #[test]
    fn arbitrary_markup_never_panics(text in "([-?:,\\[\\]{}#&*!|>'\"%@` \n\ta1.~]|prompt|seed|config|<<|---|!!str){0,80}") {
        let _ = parse(text.as_bytes(), "any", Origin::File);
        let _ = parse(text.as_bytes(), "any", Origin::Queue);
    }

    #[test]
    fn any_prompt_survives_as_json(prompt in "[^\0]{0,60}") {
        let text = serde_json::json!({"id": "a", "prompt": prompt}).to_string();
        prop_assert_eq!(queued(&text).prompt, Some(prompt));
    }

    #[test]
    fn what_parses_resolves_or_is_refused_without_a_panic(seed in any::<u64>(), steps in any::<u32>(), n in 0u32..8) {
        let text = format!("{{prompt: x, seed: {seed}, steps: {steps}, num_images: {n}}}");
        if let Ok(jobs) = parse(text.as_bytes(), "any", Origin::File) {
            let _ = settled(&jobs[0]);
        }
    }
}

/// What every job that denoises has.
fn drawn(job: &Job) -> &Diffusion {
    job.diffusion().expect("a job that denoises")
}

#[test]
fn defaults_come_from_type_and_model() {
    let job = settled(&one("prompt: a red circle")).unwrap();
    assert_eq!(
        (job.type_name.as_str(), job.kind.name),
        ("sdxl_image_fast", "sdxl_image_fast")
    );
    assert_eq!((drawn(&job).steps, drawn(&job).guidance_scale), (15, 6.0));
    assert_eq!(
        (drawn(&job).width, drawn(&job).height, job.model_name()),
        (128, 128, Some("micro-sdxl"))
    );
    assert_eq!(drawn(&job).scheduler, None);
    assert_eq!(
        drawn(&job).negative_prompt.as_deref(),
        Some("blurry, low quality, distorted")
    );
    assert!(drawn(&job).auto_negative && job.seed_drawn);
    let Work::Images(images) = &job.work else {
        panic!("not a job for pictures");
    };
    assert!(!images.deterministic && !images.truncate_prompt);
    assert!(job.seeds.len() == 1 && job.seeds[0] < 1 << 53);
    let high = settled(&one("prompt: x\ntype: sdxl_image_high")).unwrap();
    assert_eq!((drawn(&high).steps, drawn(&high).guidance_scale), (25, 7.5));
}

#[test]
fn what_was_said_wins_over_every_default() {
    let job = settled(&one(
        "id: j\nprompt: x\nsteps: 3\nguidance_scale: 1\nwidth: 256\nheight: 64\nscheduler: heun\nseed: 5\nnum_images: 3",
    ))
    .unwrap();
    assert_eq!(
        (job.id.as_str(), drawn(&job).steps, drawn(&job).guidance_scale),
        ("j", 3, 1.0)
    );
    assert_eq!(
        (
            drawn(&job).width,
            drawn(&job).height,
            drawn(&job).scheduler.as_deref()
        ),
        (256, 64, Some("heun"))
    );
    assert_eq!((job.seeds, job.seed_drawn), (vec![5, 6, 7], false));
}

#[test]
fn drawn_seeds_differ() {
    let spec = one("prompt: x");
    assert_ne!(settled(&spec).unwrap().seeds, settled(&spec).unwrap().seeds);
}

#[test]
fn the_last_seed_of_a_batch_must_exist() {
    unsettled(
        "id: a\nprompt: x\nseed: 9223372036854775807\nnum_images: 3",
        ErrorKind::InvalidSpec,
        &["job `a`", "config.seed", "9223372036854775805"],
    );
    assert!(settled(&one("prompt: x\nseed: 9223372036854775805\nnum_images: 3")).is_ok());
}

#[test]
fn replaying_the_settled_spec_gives_the_same_job() {
    let job = settled(&one(
        "prompt: x\nnegative_prompt: fog\nnum_images: 3\nmetadata: {own: 1}",
    ))
    .unwrap();
    let text = serde_json::to_string(&job.spec).unwrap();
    let again = settled(&one(&text)).unwrap();
    assert_eq!(again.spec, job.spec);
    assert_eq!((&again.seeds, &again.work), (&job.seeds, &job.work));
    assert_eq!(again.id, job.id);
}

#[test]
fn negative_prompts_are_automatic_then_the_users() {
    let job = settled(&one("prompt: x\nnegative_prompt: fog")).unwrap();
    assert_eq!(
        drawn(&job).negative_prompt.as_deref(),
        Some("blurry, low quality, distorted, fog")
    );
    let job = settled(&one("prompt: x\nnegative_prompt: fog\nauto_negative: false")).unwrap();
    assert_eq!(
        (drawn(&job).negative_prompt.as_deref(), drawn(&job).auto_negative),
        (Some("fog"), false)
    );
    let job = settled(&one("prompt: x\nauto_negative: false")).unwrap();
    assert_eq!(drawn(&job).negative_prompt, None);
    let job = settled(&one("prompt: x\nnegative_prompt: ''\nauto_negative: false")).unwrap();
    assert_eq!(drawn(&job).negative_prompt.as_deref(), Some(""));
}

#[test]
fn weights_of_producers_are_applied_unless_they_are_switched_off() {
    let prompt = |text: &str| {
        drawn(&settled(&one(&format!("prompt: x\n{text}"))).unwrap())
            .prompt
            .clone()
    };
    assert_eq!(prompt("compel_weights: (a:1.2)"), "x, (a)1.2");
    assert_eq!(
        prompt("compel_enabled: true\ncompel_weights: (a:1.2)"),
        "x, (a)1.2"
    );
    assert_eq!(prompt("compel_enabled: false\ncompel_weights: (a:1.2)"), "x");
    let job = settled(&one("prompt: x\ncompel_enabled: false\ncompel_weights: (a:1.2)")).unwrap();
    assert!(job.notes[0].contains("compel_weights is not applied"));
}

#[test]
fn options_of_other_types_are_refused_and_not_dropped() {
    for option in [
        "frames: 81",
        "fps: 16",
        "flow_shift: 5",
        "first_frame: a.png",
        "last_frame: a.png",
    ] {
        let name = format!("config.{}", option.split(':').next().unwrap());
        unsettled(
            &format!("prompt: x\n{option}"),
            ErrorKind::InvalidSpec,
            &[&name, "does not apply", "sdxl_image_fast"],
        );
    }
}

#[test]
fn a_flow_scheduler_does_not_fit_sdxl() {
    let words = ["config.scheduler is `flow-unipc`", "sdxl_image_fast"];
    unsettled("prompt: x\nscheduler: flow-unipc", ErrorKind::InvalidSpec, &words);
}

#[test]
fn an_unknown_scheduler_lists_the_choices() {
    let words = ["job `j`", "config.scheduler", "eulr", "euler"];
    unsettled(
        "id: j\nprompt: x\nscheduler: eulr",
        ErrorKind::InvalidSpec,
        &words,
    );
}

#[test]
fn a_missing_prompt_or_model_is_named() {
    unsettled(
        "id: j\nseed: 1",
        ErrorKind::InvalidSpec,
        &["job `j`", "prompt is missing"],
    );
    unsettled(
        "id: j\nprompt: x\nmodel: micro-sdlx",
        ErrorKind::InputMissing,
        &[
            "job `j`",
            "`micro-sdlx`",
            "did you mean `micro-sdxl`?",
            "known models: micro-qwen, micro-sdxl",
        ],
    );
}

#[test]
fn values_that_never_met_the_parser_are_checked_too() {
    let mut spec = one("prompt: x");
    spec.config.guidance_scale = Some(f64::NAN);
    assert_eq!(kind_of(&settled(&spec).unwrap_err()), ErrorKind::InvalidSpec);
    let mut spec = one("prompt: x");
    spec.config.num_images = Some(65);
    let e = format!("{:#}", settled(&spec).unwrap_err());
    assert!(
        e.contains("config.num_images is 65, it must be a whole number from 1 to 64"),
        "{e}"
    );
    let mut spec = one("prompt: x");
    spec.id = Some("../x".into());
    assert_eq!(kind_of(&settled(&spec).unwrap_err()), ErrorKind::InvalidSpec);
    let mut spec = one("prompt: x");
    spec.job_type = Some("sdxl".into());
    assert_eq!(kind_of(&settled(&spec).unwrap_err()), ErrorKind::InvalidSpec);
}

#[test]
fn producers_keep_to_one_three_or_six_images_unless_the_operator_lets_them() {
    let spec = queued("id: j\nprompt: x\nnum_images: 2");
    let settle = |trust| {
        let request = Request {
            id: "j",
            spec: &spec,
            trust,
            addresses: Addresses::Fetched(&Fetched::new()),
        };
        let settings = Settings::with_folders("none", "none");
        resolve(&request, &Registry::shipped().unwrap(), &settings, &by_words)
    };
    let refused = format!("{:#}", settle(Origin::Queue.trust()).unwrap_err());
    assert!(refused.contains("must be one of 1, 3, 6"), "{refused}");
    let any = Trust {
        any_quantity: true,
        ..Origin::Queue.trust()
    };
    assert_eq!(settle(any).unwrap().seeds.len(), 2);
}

#[test]
fn scalars_keep_their_text_where_text_is_wanted() {
    for (written, id) in [
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("007", "007"),
        ("'1e3'", "1e3"),
        ("5e3", "5e3"),
    ] {
        assert_eq!(one(&format!("id: {written}")).id.as_deref(), Some(id));
    }
    for text in [
        "0x1A",
        "1_000",
        "5e3",
        "+1",
        "-.5",
        "1.50",
        ".inf",
        "0b11",
        "12:30:45",
        "2024-01-01",
        "yes",
        "1e999",
    ] {
        let spec = one(&format!("negative_prompt: {text}\nmetadata: {{note: {text}}}"));
        assert_eq!(spec.negative_prompt.as_deref(), Some(text));
        assert_eq!(spec.metadata["note"], text);
    }
    let spec = one("seed: 0x1F\nsteps: 2e1\nmetadata: {a: 5, b: 0.5, c: 1.0}");
    assert_eq!((spec.config.seed, spec.config.steps), (Some(31), Some(20)));
    assert_eq!(
        serde_json::to_value(&spec.metadata).unwrap(),
        serde_json::json!({"a": 5, "b": 0.5, "c": 1.0})
    );
    assert_eq!(one("prompt: !!str 5").prompt.as_deref(), Some("5"));
    refused("seed: !!int x", &["no !!int"]);
}

#[test]
fn refused_prompts_never_reach_a_tokenizer() {
    let spec = one("id: j\nprompt: a nude figure");
    let registry = Registry::shipped().unwrap();
    let settings = Settings::with_folders("none", "none");
    let request = Request {
        id: "j",
        spec: &spec,
        trust: Trust::FULL,
        addresses: Addresses::Fetched(&Fetched::new()),
    };
    let e = resolve(&request, &registry, &settings, &|_, _| {
        panic!("nothing may be loaded")
    })
    .unwrap_err();
    assert_eq!(kind_of(&e), ErrorKind::Refused);
    let text = format!("{e:#}");
    assert!(text.contains("adult_content") && !text.contains("nude"), "{text}");
}
