//! Both directions measured: how many harmless prompts are refused, how many disguises pass. The
//! figures are printed by `cargo test --lib policy::corpora -- --nocapture`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::lexicon::Entries;
use super::*;

const HARMLESS: &str = include_str!("../../tests/data/policy/harmless.txt");
const EVASIONS: &str = include_str!("../../tests/data/policy/evasions.tsv");

/// Made-up words that stand for explicit ones.
const STAND_INS: &[&str] = &[
    "velkrum", "zorvel", "pliskor", "gradlin", "dastrine", "vulpe", "mefstok", "brosk",
];

fn stand_ins() -> &'static Lists {
    let words = STAND_INS.iter().map(|w| w.to_string()).collect();
    let counted = Entries {
        words,
        ..Entries::default()
    };
    let lists = Lists::new(&counted, &Entries::default(), &Entries::default(), false);
    Box::leak(Box::new(lists))
}

#[test]
fn at_most_one_harmless_prompt_in_200_is_refused() {
    let judge = Judge::new(ContentMode::Sfw, &[]);
    let prompts: Vec<&str> = HARMLESS.lines().collect();
    let refused: Vec<&&str> = prompts
        .iter()
        .filter(|p| judge.texts(&[("prompt", p)], false).is_err())
        .collect();
    println!("harmless prompts: {} of {} refused", refused.len(), prompts.len());
    for prompt in &refused {
        println!("  {prompt}");
    }
    assert!(prompts.len() >= 2000);
    assert!(refused.len() * 200 <= prompts.len(), "{refused:#?}");
}

#[test]
fn at_least_95_of_100_evasions_are_caught() {
    let lists = stand_ins();
    let judge = Judge::with_lists(lists, ContentMode::Sfw, &[]);
    let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut missed = Vec::new();
    for line in EVASIONS.lines() {
        let fields: Vec<&str> = line.splitn(3, '\t').collect();
        let [category, kind, text] = fields[..] else {
            panic!("`{line}`: three fields")
        };
        let text = text.replace("\\n", "\n");
        let found = judge.judge(&[("prompt", &text)], &[], false).map(|r| r.category);
        // A disguise may look like a hint at minors; the other way round it is missed.
        let caught = found.is_some_and(|c| c.name() == category || c == Category::SexualMinors);
        let counts = kinds.entry(kind).or_default();
        counts.1 += 1;
        match caught {
            true => counts.0 += 1,
            false => missed.push(format!("{kind}: {text}")),
        }
    }
    let (caught, all) = kinds.values().fold((0, 0), |sum, k| (sum.0 + k.0, sum.1 + k.1));
    println!("evasions: {caught} of {all} caught");
    for (kind, (caught, all)) in &kinds {
        println!("  {caught:3} of {all:3} {kind}");
    }
    assert!(all >= 600);
    assert!(caught * 100 >= all * 95, "{missed:#?}");
    println!("missed: {missed:#?}");
}

/// For the real lists the made-up words mean nothing, so that only the lists of the test catch them.
#[test]
fn carriers_of_evasions_are_harmless_by_themselves() {
    let judge = Judge::new(ContentMode::Sfw, &[]);
    for line in EVASIONS.lines() {
        let text = line.rsplit('\t').next().expect("a text");
        assert!(judge.texts(&[("prompt", text)], false).is_ok(), "{text}");
    }
}

/// As long as a text can be, and whatever is in it: the printed times are a fraction of what a step of any
/// model takes.
#[test]
fn long_texts_are_judged_quickly() {
    let judge = Judge::new(ContentMode::Sfw, &[]);
    assert!(judge.texts(&[("prompt", "warm")], false).is_ok());
    let prose: String = HARMLESS
        .lines()
        .cycle()
        .flat_map(|l| [l, ". "])
        .take(2600)
        .collect();
    let distinct: String = (0..9000_u32)
        .map(|i| format!("{:x} ", i.wrapping_mul(2_654_435_761)))
        .collect();
    for (name, text) in [
        ("stars", "*".repeat(65_536)),
        ("one letter", "a".repeat(65_536)),
        ("spelled letters", "a b ".repeat(16_384)),
        ("leet", "n4k3 ".repeat(13_107)),
        ("prose", prose),
        ("distinct words", distinct),
        ("ideographs", "雪山寺庙".repeat(5_461)),
        ("cyrillic", "снежная гора ".repeat(2_800)),
        ("accents", "e\u{301}".repeat(21_845)),
        ("entities", "&amp;#101;".repeat(6_553)),
    ] {
        let times = (0..3).map(|_| {
            let start = Instant::now();
            let _ = judge.texts(&[("prompt", &text)], false);
            start.elapsed()
        });
        let best = times.min().expect("three");
        println!("64 KiB of {name}: {:.1} ms", best.as_secs_f64() * 1e3);
        // No measurement: what grows with the square of a text takes minutes, also on an idle machine.
        assert!(best < Duration::from_secs(5), "{name}: {best:?}");
    }
}
