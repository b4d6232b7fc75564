//! What other programs call our fields, where their word is no alias: it means a little more, or less.

/// Their word (with `_`), and how to say it here.
const WORDS: &[(&str, &str)] = &[
    ("batch_size", "num_images"),
    ("n_iter", "num_images"),
    ("num_images_per_prompt", "num_images"),
    ("cfg", "guidance_scale"),
    ("sampling_method", "scheduler"),
    ("denoise", "strength"),
    ("denoising_strength", "strength"),
    ("init_image", "image"),
    ("input_image", "image"),
    ("noise_seed", "seed"),
    ("ckpt", "model"),
    ("ckpt_name", "model"),
    ("checkpoint", "model"),
    ("length", "frames"),
    ("video_frames", "frames"),
];

/// The canonical name of our field for a word of diffusers, ComfyUI, A1111 or sd.cpp.
pub fn ours(word: &str) -> Option<&'static str> {
    WORDS
        .iter()
        .find(|(theirs, _)| *theirs == word)
        .map(|(_, ours)| *ours)
}

/// Whether a word stands for both sides in one, such as `832x480`.
pub fn is_size(word: &str) -> bool {
    matches!(word, "size" | "resolution" | "image_size" | "video_size")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::fields::{FIELDS, Field};

    #[test]
    fn every_word_leads_to_a_field_and_is_none_itself() {
        for (theirs, ours) in WORDS {
            assert!(FIELDS.iter().any(|field| field.name == *ours), "{ours}");
            assert!(
                FIELDS.iter().flat_map(Field::names).all(|name| name != *theirs),
                "{theirs}"
            );
        }
    }
}
