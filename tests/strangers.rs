//! Files that strangers made: manifests, pictures, and things that are no files at all.

use std::time::{Duration, Instant};

use ourvidz::media::frames::Frame;
use ourvidz::media::png::{Texts, encode};
use serde_json::{Value, json};

use crate::harness::Bench;

/// A picture of ours whose manifest somebody edited.
pub fn forged(bench: &Bench, name: &str, edit: impl Fn(&mut Value)) {
    bench
        .run(&["generate", "a ring", "-s", "1", "-o", "real.png"])
        .exits(0);
    let ran = bench.run(&["models", "inspect", "real.png"]).exits(0);
    let mut manifest: Value = serde_json::from_str(&ran.stdout).unwrap();
    edit(&mut manifest);
    let texts = Texts {
        manifest: &manifest.to_string(),
        parameters: "",
    };
    let bytes = encode(&Frame::new(64, 64, vec![9; 64 * 64 * 3]), &texts, 1 << 30).unwrap();
    std::fs::write(bench.path(name), bytes).unwrap();
}

#[test]
fn a_replay_takes_no_path_and_no_address_from_a_stranger_unless_it_is_trusted() {
    let bench = Bench::new();
    let wishes = [
        ("model", json!("/etc/model.safetensors")),
        ("callback_url", json!("https://example.org/x")),
    ];
    for (field, value) in wishes {
        forged(&bench, "a.png", |manifest| {
            manifest["spec"][field] = value.clone()
        });
        bench
            .run(&["generate", "--from", "a.png", "-o", "b.png"])
            .exits(65)
            .says(&[field, "--trust-paths"]);
    }
    for field in ["image", "first_frame", "last_frame"] {
        forged(&bench, "a.png", |manifest| {
            manifest["spec"]["type"] = json!("video_fast");
            manifest["spec"]["config"] = json!({"seed": 1, "steps": 2, field: "/etc/passwd"});
        });
        bench
            .run(&["generate", "--from", "a.png", "-o", "b.mp4"])
            .exits(65)
            .says(&[field, "--trust-paths"]);
    }
    // What the user names is the user's own.
    forged(&bench, "a.png", |manifest| {
        manifest["spec"]["model"] = json!("/etc/model")
    });
    bench
        .run(&["generate", "--from", "a.png", "-m", "other-mock", "-o", "b.png"])
        .exits(0);
    forged(&bench, "a.png", |manifest| {
        manifest["spec"]["callback_url"] = json!("https://example.org/x");
    });
    bench
        .run(&["generate", "--from", "a.png", "--trust-paths", "-o", "c.png"])
        .exits(0);
}

#[test]
fn a_replay_takes_only_what_our_writer_puts_there() {
    let bench = Bench::new();
    forged(&bench, "a.png", |manifest| {
        manifest["spec"]["type"] = json!("chat_conversation")
    });
    bench
        .run(&["generate", "--from", "a.png", "-o", "b/"])
        .exits(66)
        .says(&["chat_conversation"]);
    forged(&bench, "a.png", |manifest| {
        manifest["spec"]["config"]["steps"] = json!(100_000)
    });
    bench
        .run(&["generate", "--from", "a.png", "-o", "b.png"])
        .exits(65)
        .says(&["steps is 100000"]);
    forged(&bench, "a.png", |manifest| manifest["spec"]["id"] = json!("real"));
    let ran = bench
        .run(&["generate", "--from", "a.png", "-o", "b.png", "--json"])
        .exits(0);
    assert_ne!(ran.lines().last().unwrap()["job_id"], "real");
}

#[test]
fn a_replay_says_when_weights_or_pixels_are_others() {
    let bench = Bench::new();
    forged(&bench, "a.png", |manifest| {
        manifest["model"]["hash"] = json!("0");
        manifest["outputs"][0]["pixels_sha256"] = json!("0");
    });
    bench
        .run(&["generate", "--from", "a.png", "-o", "b.png"])
        .exits(0)
        .says(&["other weights", "other pixels"]);
    let same = bench
        .run(&["generate", "--from", "real.png", "-o", "c.png"])
        .exits(0);
    assert!(!same.stderr.contains("other "), "{same:?}");
}

#[test]
fn a_prompt_of_megabytes_in_a_manifest_is_refused() {
    let bench = Bench::new();
    forged(&bench, "a.png", |manifest| {
        manifest["spec"]["prompt"] = json!("x".repeat(100_000))
    });
    bench
        .run(&["generate", "--from", "a.png", "-o", "b.png"])
        .exits(65)
        .says(&["65536"]);
    forged(&bench, "a.png", |manifest| {
        manifest["spec"]["prompt"] = json!("x".repeat(3 << 20))
    });
    for args in [
        &["generate", "--from", "a.png", "-o", "b.png"][..],
        &["models", "inspect", "a.png"],
    ] {
        bench.run(args).exits(66);
    }
}

/// A chunk of a few hundred kilobytes that would unpack to a gibibyte.
#[test]
fn a_text_chunk_that_unpacks_to_a_gibibyte_is_refused_at_once() {
    use std::io::Write;
    let bench = Bench::new();
    bench.run(&["generate", "a ring", "-o", "real.png"]).exits(0);
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..1024 {
        packed.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let mut chunk = b"iTXtourvidz\0\x01\0\0\0".to_vec();
    chunk.extend(packed.finish().unwrap());
    let mut crc = flate2::Crc::new();
    crc.update(&chunk);
    let real = bench.bytes("real.png");
    // Behind the header, which has 8 + 25 bytes.
    let mut bytes = real[..33].to_vec();
    bytes.extend((chunk.len() as u32 - 4).to_be_bytes());
    bytes.extend(&chunk);
    bytes.extend(crc.sum().to_be_bytes());
    bytes.extend(&real[33..]);
    std::fs::write(bench.path("bomb.png"), bytes).unwrap();
    let start = Instant::now();
    bench
        .run(&["models", "inspect", "bomb.png"])
        .exits(66)
        .says(&["bomb.png", "manifest"]);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[cfg(unix)]
#[test]
fn fifos_and_devices_are_refused_at_once_wherever_a_file_is_named() {
    let bench = Bench::new();
    let made = std::process::Command::new("mkfifo")
        .arg(bench.path("fifo"))
        .status();
    assert!(made.unwrap().success());
    bench.write(
        "expects.yaml",
        "prompt: x\nexpect: {image: /dev/zero, min_psnr: 30}\n",
    );
    bench.write("fifo.yaml", "prompt: x\nexpect: {image: fifo, min_psnr: 30}\n");
    std::fs::create_dir(bench.path("folder")).unwrap();
    for link in [
        "fifo.safetensors",
        "folder/model_index.json",
        "folder/config.json",
    ] {
        std::os::unix::fs::symlink(bench.path("fifo"), bench.path(link)).unwrap();
    }
    let start = Instant::now();
    for (args, code) in [
        (&["generate", "fifo"][..], 66),
        (&["generate", "/dev/zero"], 66),
        (&["generate", "expects.yaml", "-o", "a.png"], 66),
        (&["generate", "fifo.yaml", "-o", "a.png"], 66),
        (&["generate", "x", "-o", "fifo"], 2),
        (&["generate", "x", "--callback", "fifo"], 73),
        (&["generate", "x", "--callback", "/dev/null"], 73),
        (&["generate", "--from", "fifo", "-o", "a.png"], 66),
        (&["generate", "x", "-m", "fifo", "-o", "a.png"], 66),
        (&["models", "inspect", "fifo"], 66),
        (&["models", "inspect", "/dev/zero"], 66),
        (&["generate", "x", "-m", "fifo.safetensors", "-o", "a.png"], 66),
        (&["generate", "x", "-m", "folder/", "-o", "a.png"], 66),
        (&["enhance", "--file", "fifo"], 66),
        (&["enhance", "--file", "/dev/zero"], 66),
        (&["enhance", "x", "--system-prompt", "fifo"], 66),
    ] {
        let ran = bench.run(args);
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(30));
    assert!(bench.files().iter().all(|file| !file.ends_with(".png")));
}
