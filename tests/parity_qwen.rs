//! The Qwen2 decoder against what transformers computes with the same weights, and its cache.

use burn::tensor::{DType, Device, Tensor};
use ourvidz::models::qwen2::{KvCache, Qwen2, Qwen2Config};
use ourvidz::weights::vars::Mode;
use ourvidz::weights::{ModelFiles, NameTable, Vars};

use crate::alloc_count::allocated_bytes;
use crate::parity_models::{Case, data, relative_error};

fn load(files: &ModelFiles) -> Qwen2 {
    let checkpoint = files.checkpoint("").unwrap();
    let config: Qwen2Config = files.json("config.json").unwrap();
    let vars = Vars::new(
        "qwen",
        &checkpoint,
        NameTable::Diffusers,
        &Device::flex(),
        Some(DType::F32),
        Mode::Load,
    );
    let model = Qwen2::load(&vars, config).unwrap();
    vars.finish().into_result().unwrap();
    model
}

fn tiny() -> Qwen2 {
    load(&ModelFiles::Folder(data("qwen")))
}

fn best(model: &Qwen2, hidden_states: Tensor<2>) -> u32 {
    let rows = hidden_states.dims()[0];
    let logits: Vec<f32> = model
        .logits(hidden_states.narrow(0, rows - 1, 1))
        .into_data()
        .try_to_vec()
        .unwrap();
    (0..logits.len())
        .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
        .unwrap() as u32
}

fn one_by_one(model: &Qwen2, ids: &[u32], cache: &mut KvCache) -> Tensor<2> {
    Tensor::cat(ids.iter().map(|&id| model.forward(&[id], cache)).collect(), 0)
}

#[test]
fn logits_agree_with_transformers_and_greedy_tokens_are_the_same() {
    let (model, case) = (tiny(), Case::open("qwen/lm.safetensors"));
    let ids = case.ids("ids").remove(0);
    let mut cache = model.new_cache(64);
    let hidden = model.forward(&ids, &mut cache);
    let reference = case.tensor::<3>("logits").squeeze_dim::<2>(0);
    let error = relative_error(model.logits(hidden.clone()), reference);
    println!("logits: relative error {error:.2e}");
    assert!(error <= 1e-4, "relative error {error:.2e}");

    let mut greedy = vec![best(&model, hidden)];
    while greedy.len() < 24 {
        let hidden = model.forward(&greedy[greedy.len() - 1..], &mut cache);
        greedy.push(best(&model, hidden));
    }
    assert_eq!(greedy, case.ids("greedy")[0]);
}

#[test]
fn prefill_and_token_by_token_decoding_agree() {
    let (model, case) = (tiny(), Case::open("qwen/lm.safetensors"));
    let ids = case.ids("ids").remove(0);
    let whole = model.forward(&ids, &mut model.new_cache(64));
    let steps = one_by_one(&model, &ids, &mut model.new_cache(37));
    let error = relative_error(steps, whole);
    println!("token by token: relative error {error:.2e}");
    assert!(error <= 1e-5, "relative error {error:.2e}");
}

#[test]
fn a_cleared_cache_gives_the_same_bits_as_a_new_one() {
    let model = tiny();
    let mut cache = model.new_cache(16);
    one_by_one(&model, &[5, 6, 7, 8, 9, 1, 2, 3], &mut cache);
    cache.clear();
    let again = model.forward(&[11, 12], &mut cache).into_data();
    let fresh = model.forward(&[11, 12], &mut model.new_cache(16)).into_data();
    assert_eq!(again, fresh);
}

#[test]
fn decoding_a_token_allocates_nothing_of_the_size_of_the_cache() {
    let model = tiny();
    // 8,192 tokens: 3 layers · 2 · 2 heads · 8 channels · 4 bytes = 3.1 MB, 512 kB a buffer.
    let mut cache = model.new_cache(8192);
    model.forward(&[1, 2, 3], &mut cache);
    let before = allocated_bytes();
    model.forward(&[4], &mut cache);
    let spent = allocated_bytes() - before;
    println!("one token: {spent} bytes allocated");
    assert!(spent < 200_000, "one token allocated {spent} bytes");
}

#[test]
fn a_configuration_that_is_not_computed_here_is_refused() {
    let files = ModelFiles::Folder(data("qwen"));
    let checkpoint = files.checkpoint("").unwrap();
    let refuse = |change: &dyn Fn(&mut serde_json::Value), part: &str| {
        let mut config: serde_json::Value = files.json("config.json").unwrap();
        change(&mut config);
        let vars = Vars::new(
            "qwen",
            &checkpoint,
            NameTable::Diffusers,
            &Device::flex(),
            None,
            Mode::Verify,
        );
        let error = Qwen2::load(&vars, serde_json::from_value(config).unwrap()).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    };
    refuse(&|c| c["num_key_value_heads"] = 4.into(), "key-value heads");
    refuse(&|c| c["hidden_act"] = "relu".into(), "hidden_act");
    let window = |c: &mut serde_json::Value| {
        c["use_sliding_window"] = true.into();
        c["sliding_window"] = 4.into();
        c["max_window_layers"] = 0.into();
    };
    refuse(&window, "use_sliding_window");
    refuse(
        &|c| c["rope_parameters"] = serde_json::json!({"rope_type": "yarn"}),
        "rope scaling `yarn`",
    );
}
