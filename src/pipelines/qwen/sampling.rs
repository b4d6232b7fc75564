//! From the scores of the next token to a token: penalties and filters in transformers' order and
//! arithmetic, draws from a generator of our own.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::fail;

/// How a token is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Scores are divided by it; 0 takes the best token always (greedy).
    pub temperature: f32,
    /// Keeps the most probable tokens that together reach this share; 1 keeps all.
    pub top_p: f32,
    /// Keeps this many tokens; 0 keeps all.
    pub top_k: usize,
    /// Scores of tokens that occurred are divided by it where positive, multiplied where negative;
    /// 1 changes nothing.
    pub repetition_penalty: f32,
}

impl Sampling {
    /// The best token always.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_p: 1.0,
        top_k: 0,
        repetition_penalty: 1.0,
    };

    /// What prompt enhancement and chat use unless told otherwise; `top_k` as Qwen2.5 publishes it.
    pub const DEFAULT: Self = Self {
        temperature: 0.7,
        top_p: 0.9,
        top_k: 20,
        repetition_penalty: 1.1,
    };

    /// # Errors
    /// `InvalidSpec` naming the field that is out of range.
    pub fn check(&self) -> Result<()> {
        let Self {
            temperature,
            top_p,
            repetition_penalty,
            ..
        } = *self;
        if !(0.0..=10.0).contains(&temperature) {
            fail!(InvalidSpec, "temperature is {temperature}; allowed: 0 to 10"; "0 takes the most probable token always");
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            fail!(InvalidSpec, "top_p is {top_p}; allowed: above 0, up to 1"; "1 keeps every token");
        }
        if !(0.1..=10.0).contains(&repetition_penalty) {
            fail!(InvalidSpec, "repetition_penalty is {repetition_penalty}; allowed: 0.1 to 10"; "1 changes nothing");
        }
        Ok(())
    }
}

/// SplitMix64 (Steele, Lea & Flood 2014): 64 bits of state, the seed itself at first.
///
/// One uniform number is drawn for each sampled token and none for a greedy one, so that a seed
/// means the same text on every machine up to the rounding of the scores.
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1), from the upper 53 bits.
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Chooses tokens one after another and remembers which occurred.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    rng: SplitMix64,
    /// By token id: occurred in the prompt or in the answer.
    seen: Vec<bool>,
}

impl Sampler {
    /// `prompt` counts as seen for the repetition penalty, as in transformers.
    pub fn new(sampling: Sampling, seed: u64, prompt: &[u32], vocab_size: usize) -> Self {
        let mut seen = vec![false; vocab_size];
        for &id in prompt {
            seen[id as usize] = true;
        }
        Self {
            sampling,
            rng: SplitMix64::new(seed),
            seen,
        }
    }

    /// The next token.
    ///
    /// # Errors
    /// `BadOutput` when the scores hold a NaN or no finite number.
    pub fn next(&mut self, mut logits: Vec<f32>) -> Result<u32> {
        // One pass without an early end, which the compiler does many at a time.
        let (has_nan, has_number) = logits.iter().fold((false, false), |(nan, number), l| {
            (nan | l.is_nan(), number | l.is_finite())
        });
        if has_nan || !has_number {
            fail!(
                BadOutput, "the language model computed scores that are not numbers";
                "its weights may be damaged (`ourvidz models verify`), or the dtype too narrow: try bf16 or f32"
            );
        }
        let id = if self.sampling.temperature == 0.0 {
            penalise(&mut logits, &self.seen, self.sampling.repetition_penalty);
            argmax(&logits)
        } else {
            let candidates = distribution(logits, &self.seen, &self.sampling);
            draw(&candidates, self.rng.next_f64())
        };
        self.seen[id as usize] = true;
        Ok(id)
    }
}

fn penalise(logits: &mut [f32], seen: &[bool], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    for (logit, _) in logits.iter_mut().zip(seen).filter(|(_, seen)| **seen) {
        *logit = if *logit < 0.0 {
            *logit * penalty
        } else {
            *logit / penalty
        };
    }
}

/// The first of the largest.
fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = i;
        }
    }
    best as u32
}

/// Tokens that may follow with their probabilities, most probable first.
///
/// Repetition penalty, temperature, top-k, top-p, softmax, in the order of transformers' `generate`.
/// A token survives top-p when those before it hold less than `top_p`; the first always does.
pub fn distribution(mut logits: Vec<f32>, seen: &[bool], sampling: &Sampling) -> Vec<(u32, f32)> {
    penalise(&mut logits, seen, sampling.repetition_penalty);
    for logit in &mut logits {
        *logit /= sampling.temperature;
    }
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let lowest = match sampling.top_k {
        0 => f32::NEG_INFINITY,
        count => kth_largest(&logits, count),
    };
    // Ties with the last one stay, as in transformers.
    let kept = (0..).zip(&logits).filter(|(_, logit)| **logit >= lowest);
    let weights: Vec<(u32, f32)> = kept.map(|(id, logit)| (id, (logit - highest).exp())).collect();
    let total: f32 = weights.iter().map(|(_, w)| w).sum();
    let kept = if sampling.top_p < 1.0 {
        nucleus(weights, &logits, sampling.top_p * total)
    } else {
        let mut weights = weights;
        sort_best_first(&mut weights, &logits);
        weights
    };
    let total: f32 = kept.iter().map(|(_, w)| w).sum();
    kept.into_iter().map(|(id, w)| (id, w / total)).collect()
}

fn by_score(logits: &[f32]) -> impl Fn(&(u32, f32), &(u32, f32)) -> std::cmp::Ordering + '_ {
    |a, b| {
        logits[b.0 as usize]
            .total_cmp(&logits[a.0 as usize])
            .then(a.0.cmp(&b.0))
    }
}

fn sort_best_first(weights: &mut [(u32, f32)], logits: &[f32]) {
    weights.sort_unstable_by(by_score(logits));
}

/// The `count`-th largest score, or the least where there are fewer; for few in one pass, since nearly
/// every score is below those kept so far.
fn kth_largest(logits: &[f32], count: usize) -> f32 {
    const FEW: usize = 256;
    if count > FEW {
        let mut all = logits.to_vec();
        let last = count.min(all.len()) - 1;
        return *all.select_nth_unstable_by(last, |a, b| b.total_cmp(a)).1;
    }
    // Largest first.
    let mut best: Vec<f32> = Vec::with_capacity(count.min(logits.len()) + 1);
    let mut least = f32::NEG_INFINITY;
    for &logit in logits {
        if best.len() == count && logit <= least {
            continue;
        }
        let place = best.partition_point(|b| *b >= logit);
        best.insert(place, logit);
        best.truncate(count);
        least = best[best.len() - 1];
    }
    least
}

/// The shortest list of best tokens that reaches `share`. Only the best few are sorted at first:
/// sorting a vocabulary of 150,000 for each token would cost more than small models' arithmetic.
fn nucleus(mut weights: Vec<(u32, f32)>, logits: &[f32], share: f32) -> Vec<(u32, f32)> {
    const FEW: usize = 512;
    if weights.len() > FEW {
        weights.select_nth_unstable_by(FEW - 1, by_score(logits));
        if weights[..FEW].iter().map(|(_, w)| w).sum::<f32>() >= share {
            weights.truncate(FEW);
        }
    }
    sort_best_first(&mut weights, logits);
    let mut before = 0.0;
    let kept = weights
        .iter()
        .take_while(|(_, weight)| {
            let keep = before < share;
            before += weight;
            keep
        })
        .count();
    weights.truncate(kept.max(1));
    weights
}

/// The candidate in whose share of [0, 1) `point` falls.
fn draw(candidates: &[(u32, f32)], point: f64) -> u32 {
    let mut reached = 0.0;
    for (id, probability) in candidates {
        reached += f64::from(*probability);
        if point < reached {
            return *id;
        }
    }
    // Rounding may leave the sum a hair below 1.
    candidates.last().expect("one token is kept always").0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_numbers() {
        // The first outputs for seed 1234567 in the reference implementation by Vigna.
        let mut rng = SplitMix64::new(1_234_567);
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_draw_falls_into_the_share_of_its_token() {
        let candidates = [(7, 0.5), (3, 0.25), (9, 0.25)];
        assert_eq!(draw(&candidates, 0.0), 7);
        assert_eq!(draw(&candidates, 0.5), 3);
        assert_eq!(draw(&candidates, 0.99), 9);
        assert_eq!(draw(&candidates, 1.0), 9);
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens_and_another_seed_others() {
        let run = |seed| {
            let mut sampler = Sampler::new(Sampling::DEFAULT, seed, &[], 50);
            let logits: Vec<f32> = (0..50).map(|i| (i as f32 * 0.7).sin()).collect();
            (0..30)
                .map(|_| sampler.next(logits.clone()).unwrap())
                .collect::<Vec<u32>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn sampled_shares_follow_the_probabilities() {
        let mut sampling = Sampling::DEFAULT;
        (
            sampling.temperature,
            sampling.top_p,
            sampling.top_k,
            sampling.repetition_penalty,
        ) = (1.0, 1.0, 0, 1.0);
        let mut sampler = Sampler::new(sampling, 5, &[], 3);
        let logits = vec![0.5_f32.ln(), 0.3_f32.ln(), 0.2_f32.ln()];
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            counts[sampler.next(logits.clone()).unwrap() as usize] += 1;
        }
        for (count, share) in counts.iter().zip([0.5, 0.3, 0.2]) {
            assert!((*count as f64 / 1e4 - share).abs() < 0.02, "{counts:?}");
        }
    }

    #[test]
    fn many_candidates_are_sorted_in_full_when_the_best_few_do_not_reach_the_share() {
        let flat = vec![0.0; 2000];
        let mut sampling = Sampling::GREEDY;
        (sampling.temperature, sampling.top_p) = (1.0, 0.5);
        let kept = distribution(flat, &[false; 2000], &sampling);
        assert!((998..=1002).contains(&kept.len()), "{}", kept.len());
    }

    #[test]
    fn the_kth_largest_is_that_of_a_sorted_list_and_ties_stay() {
        let logits: Vec<f32> = (0..5000).map(|i| ((i * 7919) % 1009) as f32).collect();
        let mut sorted = logits.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        for count in [1, 2, 20, 1009, 4999, 5000, 6000] {
            assert_eq!(
                kth_largest(&logits, count),
                sorted[count.min(5000) - 1],
                "{count}"
            );
        }
        let mut sampling = Sampling::GREEDY;
        (sampling.temperature, sampling.top_k) = (1.0, 2);
        let kept = distribution(vec![1.0, 3.0, 2.0, 2.0, 0.0], &[false; 5], &sampling);
        assert_eq!(kept.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn scores_that_are_not_numbers_are_an_error() {
        let mut sampler = Sampler::new(Sampling::GREEDY, 0, &[], 2);
        assert!(sampler.next(vec![0.0, f32::NAN]).is_err());
        assert!(sampler.next(vec![f32::NEG_INFINITY; 2]).is_err());
        assert_eq!(sampler.next(vec![f32::NEG_INFINITY, 0.0]).unwrap(), 1);
    }
}
