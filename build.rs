//! Turns the word library's list into hashes: what it calls sexual, and the harmless words in which
//! it would find such a word. So nothing of it is read, or parsed, when the program starts.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

#[path = "src/policy/words.rs"]
#[allow(dead_code)]
mod words;

/// `Type::SEXUAL & Type::MODERATE_OR_HIGHER` as `rustrict` serialises it. Its mild entries are
/// kinship, underwear and slang, and not used.
const SEXUAL: u64 = 0b110_000_000;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/policy/words.rs");
    let trie = serde_json::to_value(rustrict::Trie::default()).expect("the library's list serialises");
    let (mut sexual, mut harmless) = (BTreeSet::new(), BTreeSet::new());
    walk(&trie["root"], &mut String::new(), &mut |word, kind| match kind {
        0 => {
            harmless.insert(word.to_string());
        }
        kind if kind & SEXUAL != 0 => {
            sexual.insert(word.to_string());
        }
        _ => {}
    });
    assert!(
        sexual.len() > 500 && harmless.len() > 4000,
        "the word library's list is not as it was: {} and {} words",
        sexual.len(),
        harmless.len()
    );
    let harmless: BTreeSet<u64> = harmless
        .iter()
        .filter(|word| !sexual.contains(*word))
        .map(|word| words::hash(word))
        .collect();
    let inflected: BTreeSet<u64> = sexual
        .iter()
        .flat_map(|word| words::inflections(word).into_iter().skip(1))
        .map(|word| words::hash(&word))
        .filter(|hash| !harmless.contains(hash))
        .chain(sexual.iter().map(|word| words::hash(word)))
        .collect();
    let out = std::env::var_os("OUT_DIR").expect("cargo names the folder");
    write(Path::new(&out), "sexual.bin", &inflected);
    write(Path::new(&out), "harmless.bin", &harmless);
}

/// Calls `found` with every word of at least three letters, and its kind.
fn walk(node: &Value, word: &mut String, found: &mut dyn FnMut(&str, u64)) {
    let is_word = node["word"]
        .as_bool()
        .expect("the library's nodes say whether they end a word");
    let kind = node["typ"]["bits"]
        .as_u64()
        .expect("the library's nodes have a type");
    if is_word && word.chars().count() >= 3 && word.chars().all(|c| c.is_lowercase()) {
        found(word, kind);
    }
    for (letter, child) in node["children"]
        .as_object()
        .expect("the library's nodes have children")
    {
        word.push_str(letter);
        walk(child, word, found);
        word.truncate(word.len() - letter.len());
    }
}

fn write(folder: &Path, name: &str, hashes: &BTreeSet<u64>) {
    let bytes: Vec<u8> = hashes.iter().flat_map(|h| h.to_le_bytes()).collect();
    std::fs::write(folder.join(name), bytes).expect("the build folder is writable");
}
