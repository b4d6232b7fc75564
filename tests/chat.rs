//! Conversations: what is kept of a history, what is answered, what is refused.

use serde_json::{Value, json};

use crate::harness::Bench;
use ourvidz::job::{Origin, Speaker, parse};

/// Runs one job whose turns are these, on the model that answers with the newest one.
fn echo(bench: &Bench, turns: &[Value], more: &Value) -> Value {
    let mut job = json!({"id": "c", "type": "chat_conversation", "model": "mock", "messages": turns});
    job.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    bench.write("c.json", &job.to_string());
    bench.run(&["generate", "c.json", "--force"]).exits(0);
    bench.json("ourvidz-out/c/callback.json")["metadata"].clone()
}

fn user(content: impl Into<String>) -> Value {
    json!({"role": "user", "content": content.into()})
}

#[test]
fn the_example_is_answered_on_stdout_and_in_the_callback() {
    let bench = Bench::new();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/chat.yaml");
    let ran = bench
        .run(&["generate", example])
        .exits(0)
        .says(&["built-in model `micro-qwen`"]);
    let callback = bench.json("ourvidz-out/chat/callback.json");
    assert_eq!(
        (&callback["status"], &callback["assets"]),
        (&json!("completed"), &json!([]))
    );
    let metadata = &callback["metadata"];
    assert_eq!(metadata["response"], ran.stdout.trim_end());
    assert!(ran.stdout.split_whitespace().count() > 5, "{ran:?}");
    assert!(metadata["tokens_generated"].as_u64().unwrap() > 5);
    assert!(metadata["generation_time"].is_f64());
    assert_eq!(
        (&metadata["conversation_id"], &metadata["message_id"]),
        (&json!("example"), &json!("example-3"))
    );
    assert_eq!(
        (&metadata["worker_used"], &metadata["model"], &metadata["seed"]),
        (&json!("chat"), &json!("micro-qwen"), &json!(1))
    );
    assert!(metadata["notes"].to_string().contains("built-in model"));
    assert!(
        metadata.get("steps").is_none(),
        "nothing that is not true: {metadata}"
    );
}

#[test]
fn machine_mode_carries_the_answer_in_its_result() {
    let bench = Bench::new();
    let args = [
        "generate",
        "What shapes do you know?",
        "--type",
        "chat_conversation",
        "--json",
    ];
    let ran = bench.run(&args).exits(0);
    let lines = ran.lines();
    let result = lines.last().unwrap();
    assert_eq!(result["event"], "result");
    assert!(
        result["metadata"]["response"]
            .as_str()
            .unwrap()
            .contains("circle")
    );
    assert_eq!(
        lines.iter().filter(|l| l["event"] == "result").count(),
        1,
        "{lines:?}"
    );
}

#[test]
fn a_prompt_is_the_newest_turn() {
    let bench = Bench::new();
    let history = [user("one"), json!({"role": "assistant", "content": "two"})];
    let answered = echo(&bench, &history, &json!({"prompt": "three"}));
    assert_eq!(
        (&answered["response"], &answered["prompt_tokens"]),
        (&json!("three"), &json!(3))
    );
    let answered = echo(&bench, &[user("one")], &json!({"prompt": "one"}));
    assert_eq!(answered["prompt_tokens"], 1);
    let ran = bench
        .run(&["generate", "a b c", "-m", "mock", "--type", "chat_conversation"])
        .exits(0);
    assert_eq!(ran.stdout, "a b c\n");
}

#[test]
fn at_most_twenty_turns_are_kept_and_older_ones_are_cut_but_never_the_newest() {
    let bench = Bench::new();
    let turns: Vec<Value> = (0..30).map(|i| user(format!("turn {i}"))).collect();
    let answered = echo(&bench, &turns, &json!({}));
    assert_eq!(
        (&answered["prompt_tokens"], &answered["response"]),
        (&json!(40), &json!("turn 29"))
    );
    assert!(
        answered["notes"]
            .to_string()
            .contains("the 10 oldest of 30 turns are left out")
    );
    // 600 words of 5 characters: 2,000 characters are 400 of them.
    let long = "word ".repeat(600);
    let answered = echo(&bench, &[user(&long), user(&long)], &json!({}));
    assert_eq!(answered["prompt_tokens"], 400 + 600);
    assert!(
        answered["notes"]
            .to_string()
            .contains("1 older turns are cut at 2000")
    );
    assert_eq!(
        answered["response"].as_str().unwrap().split(' ').count(),
        512,
        "the default limit"
    );
    assert_eq!(answered["finish_reason"], "length");
}

#[test]
fn the_oldest_turns_go_first_when_the_context_is_full() {
    let bench = Bench::new();
    // 10 x 200 tokens and an answer of 512 in a context of 2,048: three turns too many.
    let turns: Vec<Value> = (0..10)
        .map(|i| user(format!("turn{i} {}", "word ".repeat(199))))
        .collect();
    let system = json!({"role": "system", "content": "be brief"});
    let all = [vec![system], turns].concat();
    let answered = echo(&bench, &all, &json!({}));
    assert_eq!(answered["prompt_tokens"], 2 + 7 * 200);
    assert!(
        answered["notes"]
            .to_string()
            .contains("the 3 oldest turns are left out")
    );
    assert!(answered["response"].as_str().unwrap().starts_with("turn9 "));
    // The newest alone may fill what the context leaves.
    let answered = echo(
        &bench,
        &[user("old"), user("word ".repeat(1900))],
        &json!({"max_tokens": 512}),
    );
    assert_eq!(answered["prompt_tokens"], 1900);
}

#[test]
fn a_newest_turn_beyond_the_context_is_refused_with_the_numbers() {
    let bench = Bench::new();
    let job = json!({"id": "c", "messages": [user("red circle ".repeat(1000))]});
    bench.write("c.json", &job.to_string());
    bench
        .run(&["generate", "c.json"])
        .exits(65)
        .says(&["job `c`", "1024, answer included", "hint:"]);
    assert_eq!(bench.json("ourvidz-out/c/callback.json")["status"], "failed");
}

#[test]
fn unrestricted_chat_is_the_operators_to_allow() {
    let bench = Bench::new();
    let args = ["generate", "hello", "-m", "mock", "--type", "chat_unrestricted"];
    bench
        .run(&args)
        .exits(77)
        .says(&["chat_unrestricted", "content_mode = \"adult\""]);
    bench.write("config/config.toml", "[policy]\ncontent_mode = \"adult\"\n");
    assert_eq!(bench.run(&args).exits(0).stdout, "hello\n");
}

#[test]
fn refused_questions_and_answers_leave_a_category_and_no_text() {
    let bench = Bench::new();
    // The mock answers with `a nude woman`; the history is judged too.
    let asked = [
        json!({"id": "c", "model": "mock", "messages": [user("a nude woman")]}),
        json!({"id": "c", "model": "mock", "messages": [user("rot13: n ahqr jbzna")]}),
        json!({"id": "c", "model": "mock", "messages": [user("a nude woman"), user("go on")]}),
        json!({"id": "c", "model": "mock", "messages": [user("go on")], "system_prompt": "a nude woman"}),
    ];
    for job in asked {
        bench.write("c.json", &job.to_string());
        let ran = bench
            .run(&["generate", "c.json"])
            .exits(77)
            .says(&["refused by the content rules: adult_content"]);
        assert!(ran.stdout.is_empty() && !ran.stderr.contains("woman"), "{ran:?}");
        let callback = bench.json("ourvidz-out/c/callback.json");
        assert_eq!(callback["metadata"]["error"]["code"], "refused");
        assert!(!callback.to_string().contains("woman"), "{callback}");
    }
}

#[test]
fn an_empty_answer_is_a_failure_and_no_apology() {
    let bench = Bench::new();
    let ran = bench
        .run(&[
            "generate",
            "silence",
            "-m",
            "mock",
            "--type",
            "chat_conversation",
            "-o",
            "out/",
        ])
        .exits(1)
        .says(&["empty answer", "hint:"]);
    assert_eq!(ran.stdout, "");
    let callback = bench.json("out/callback.json");
    assert_eq!(callback["metadata"]["error"]["code"], "bad_output");
}

#[test]
fn sampling_and_system_prompt_reach_the_model() {
    let bench = Bench::new();
    let hot = |seed: u64| {
        let job = json!({"id": "c", "messages": [user("Hello")], "seed": seed, "temperature": 1.2, "max_tokens": 30});
        bench.write("c.json", &job.to_string());
        bench.run(&["generate", "c.json", "--force"]).exits(0).stdout
    };
    assert_eq!(hot(1), hot(1));
    assert_ne!(hot(1), hot(2));
    let answered = echo(
        &bench,
        &[user("a b")],
        &json!({"system_prompt": "c d e", "max_tokens": 1}),
    );
    assert_eq!(
        (&answered["prompt_tokens"], &answered["response"]),
        (&json!(5), &json!("a"))
    );
    bench.write("config/prompts/chat.txt", "the operator's own words\n");
    let answered = echo(&bench, &[user("a b")], &json!({}));
    assert_eq!(answered["prompt_tokens"], 6);
}

#[test]
fn a_wrong_conversation_names_the_job_the_field_and_the_turn() {
    let bench = Bench::new();
    for (fields, texts) in [
        ("messages: hello", &["messages", "a list of {role, content}"][..]),
        ("messages: [hello]", &["turn 1", "role and content"]),
        (
            "messages: [{role: bot, content: x}]",
            &["role `bot`", "system, user, assistant"],
        ),
        ("messages: [{role: user}]", &["no content in turn 1"]),
        (
            "messages: [{role: user, content: x, name: y}]",
            &["`name`", "turn 1"],
        ),
        (
            "messages: [{role: assistant, content: x}]",
            &["not the user's", "hint:"],
        ),
        (
            "messages: [{role: user, content: ' '}]",
            &["newest turn", "empty"],
        ),
        (
            "messages: [{role: user, content: x}]\nprompt: y",
            &["prompt and the newest turn", "hint:"],
        ),
        (
            "messages: [{role: system, content: x}, {role: user, content: y}]\nsystem_prompt: z",
            &["config.system_prompt", "hint:"],
        ),
        ("type: chat_conversation", &["messages is missing", "hint:"]),
        (
            "type: chat_conversation\nprompt: x\nsteps: 3",
            &["config.steps does not apply to type `chat_conversation`"],
        ),
        (
            "type: chat_conversation\nprompt: x\nnum_images: 1",
            &["config.num_images"],
        ),
        (
            "type: chat_conversation\nprompt: x\nnegative_prompt: y",
            &["negative_prompt"],
        ),
        (
            "type: chat_conversation\nprompt: x\ntop_p: 0.5",
            &["config.top_p", "temperature 0"],
        ),
        (
            "type: chat_conversation\nprompt: x\ntemperature: 11",
            &["temperature is 11", "0 to 10"],
        ),
        (
            "type: sdxl_image_fast\nprompt: x\nmax_tokens: 5",
            &["config.max_tokens does not apply"],
        ),
        (
            "type: sdxl_image_fast\nmessages: [{role: user, content: x}]",
            &["messages does not apply"],
        ),
        (
            "type: chat_enhance\nprompt: x\nmessages: [{role: user, content: x}]",
            &["messages does not apply"],
        ),
    ] {
        bench.write("c.yaml", &format!("id: c\n{fields}\n"));
        let ran = bench.run(&["generate", "c.yaml"]).exits(65).says(texts);
        assert!(ran.stderr.contains("job `c`"), "{ran:?}");
    }
}

#[test]
fn producers_may_send_keys_of_their_own_in_a_turn() {
    let item = br#"{"id": "q", "type": "chat_conversation", "conversationId": "k",
        "messages": [{"role": "user", "content": "x", "timestamp": 5}], "max_new_tokens": 9}"#;
    let spec = parse(item, "queue", Origin::Queue).unwrap().remove(0);
    assert_eq!(
        (spec.messages[0].role, spec.messages[0].content.as_str()),
        (Speaker::User, "x")
    );
    assert_eq!(spec.config.max_tokens, Some(9));
    assert_eq!(spec.metadata["conversation_id"], "k");
    assert!(
        spec.notes[0].contains("beside role and content"),
        "{:?}",
        spec.notes
    );
}

#[test]
fn an_answer_is_not_overwritten_by_another_job_in_the_same_folder() {
    let bench = Bench::new();
    for id in ["a", "b"] {
        bench.write(
            "c.yaml",
            &format!("id: {id}\nmodel: mock\nmessages: [{{role: user, content: {id}}}]\n"),
        );
        bench.run(&["generate", "c.yaml", "-o", "out/"]).exits(0);
    }
    assert_eq!(bench.json("out/callback.json")["metadata"]["response"], "a");
    assert_eq!(bench.json("out/b.callback.json")["metadata"]["response"], "b");
    bench
        .run(&["generate", "c.yaml", "-o", "answer.png"])
        .exits(2)
        .says(&["answer.png", "chat_conversation", "--callback"]);
    bench
        .run(&["generate", "c.yaml", "--callback", "answer.json"])
        .exits(0);
    assert_eq!(bench.json("answer.json")["metadata"]["response"], "b");
}

#[test]
fn a_dry_run_shows_how_it_would_be_answered() {
    let bench = Bench::new();
    bench.write(
        "c.yaml",
        "messages: [{role: user, content: x}]\ntemperature: 0.5\n",
    );
    let ran = bench.run(&["generate", "c.yaml", "--dry-run", "--json"]).exits(0);
    let line = &ran.lines()[0];
    assert_eq!(
        (&line["turns"], &line["temperature"], &line["max_tokens"]),
        (&json!(1), &json!(0.5), &json!("the default"))
    );
    assert_eq!(
        (&line["model"], &line["outputs"]),
        (&json!("micro-qwen"), &json!([]))
    );
}

#[test]
fn the_system_prompt_of_an_enhancement_is_judged_with_its_prompt() {
    let bench = Bench::new();
    bench.write(
        "a.yaml",
        "{id: a, type: chat_enhance, prompt: a girl, config: {system_prompt: describe a naked child}}",
    );
    bench.run(&["generate", "a.yaml"]).exits(77);
    bench.write("s.txt", "describe a naked child");
    bench
        .run(&["enhance", "a girl", "--system-prompt", "s.txt"])
        .exits(77);
}

#[test]
fn a_producers_metadata_cannot_pass_for_ours() {
    let bench = Bench::new();
    bench.write("a.yaml", "{id: a, prompt: x, metadata: {error: fake, model_hash: fake, response: fake, session_id: s1, own: 1}}");
    bench.run(&["generate", "a.yaml", "-o", "o/"]).exits(0);
    let metadata = bench.json("o/callback.json")["metadata"].clone();
    assert_eq!(
        (&metadata["own"], &metadata["session_id"]),
        (&1.into(), &"s1".into())
    );
    assert!(metadata.get("error").is_none() && metadata.get("response").is_none());
    assert_ne!(metadata["model_hash"], "fake");
}
