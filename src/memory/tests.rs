//! The budget on a simulated card.

use std::cell::Cell;

use super::*;
use crate::error::kind_of;

/// A card on which models take what this table says.
struct Card {
    total: u64,
    used: Cell<u64>,
    /// Held by pooled pages until they are released.
    pooled: Cell<u64>,
}

const MODELS: &[(&str, Resident, u64, u64)] = &[
    ("sdxl", Resident::Sdxl, 10, 4),
    ("qwen", Resident::Chat, 17, 3),
    ("wan", Resident::Wan, 12, 10),
];

fn entry(name: &str) -> (Resident, u64, u64) {
    let (_, resident, weights, work) = MODELS.iter().find(|(n, ..)| *n == name).unwrap();
    (*resident, weights * GIB, work * GIB)
}

impl DeviceMemory for Card {
    fn total_bytes(&self) -> u64 {
        self.total
    }

    fn available_bytes(&self) -> u64 {
        self.total - self.used.get() - self.pooled.get()
    }
}

/// A card, its budget, and everything that was released.
struct Desk {
    card: Card,
    budget: Budget,
    released: Vec<String>,
}

impl Desk {
    fn new(gib: u64) -> Self {
        let mut budget = Budget::new(gib * GIB);
        for (name, _, weights, work) in MODELS {
            let need = Need {
                weights_bytes: weights * GIB,
                work_bytes: work * GIB,
            };
            budget.expect(name, need);
        }
        let card = Card {
            total: gib * GIB,
            used: Cell::new(0),
            pooled: Cell::new(0),
        };
        Self {
            card,
            budget,
            released: Vec::new(),
        }
    }

    /// A job from admission to end; panics in the simulation where a real card would fail.
    fn run(&mut self, name: &str) -> Result<()> {
        let (resident, weights, work) = entry(name);
        let (card, released) = (&self.card, &mut self.released);
        self.budget.make_room(card, name, &mut |what| {
            match what {
                Release::Caches => card.pooled.set(0),
                Release::Model(name) => {
                    card.used.set(card.used.get() - entry(name).1);
                    released.push(name.clone());
                }
            }
            Ok(())
        })?;
        if !self.budget.is_loaded(name) {
            self.budget.load(card, name, resident, || {
                card.used.set(card.used.get() + weights);
                Ok(())
            })?;
        }
        self.budget.touch(name);
        assert!(card.available_bytes() >= work, "the card ran out at `{name}`");
        self.budget.worked(name, work);
        Ok(())
    }

    fn released_by(&mut self, jobs: &[&str]) -> Vec<String> {
        for job in jobs {
            self.run(job).unwrap();
        }
        std::mem::take(&mut self.released)
    }
}

#[test]
fn sdxl_chat_wan_sdxl_on_24_48_and_141_gb() {
    let sequence = ["sdxl", "qwen", "wan", "sdxl"];
    assert_eq!(Desk::new(24).released_by(&sequence), ["sdxl", "qwen", "wan"]);
    assert_eq!(Desk::new(48).released_by(&sequence), ["sdxl"]);
    assert!(Desk::new(141).released_by(&sequence).is_empty());
}

#[test]
fn a_wan_job_is_admitted_while_sdxl_and_chat_are_loaded() {
    for (gib, expected) in [(24, vec!["qwen"]), (48, vec!["qwen"]), (141, vec![])] {
        let mut desk = Desk::new(gib);
        let before = desk.released_by(&["qwen"]);
        assert!(before.is_empty());
        // On 24 GB chat has to go for SDXL already; on the others both stay.
        let for_sdxl = desk.released_by(&["sdxl"]);
        assert_eq!(for_sdxl.len(), usize::from(gib == 24));
        let for_wan = desk.released_by(&["wan"]);
        let expected: Vec<&str> = if gib == 24 { vec!["sdxl"] } else { expected };
        assert_eq!(for_wan, expected, "{gib} GB");
        assert!(desk.budget.is_loaded("wan"));
    }
}

#[test]
fn the_least_recently_used_model_goes_first() {
    let mut desk = Desk::new(48);
    assert_eq!(desk.released_by(&["sdxl", "qwen", "sdxl", "wan"]), ["qwen"]);
    let mut desk = Desk::new(48);
    assert_eq!(desk.released_by(&["qwen", "sdxl", "qwen", "wan"]), ["sdxl"]);
}

#[test]
fn pooled_pages_go_before_any_model() {
    let mut desk = Desk::new(48);
    desk.released_by(&["sdxl"]);
    desk.card.pooled.set(30 * GIB);
    assert!(desk.released_by(&["qwen"]).is_empty());
    assert_eq!(desk.card.pooled.get(), 0);
}

#[test]
fn a_model_that_can_never_fit_is_refused_with_the_sizes_and_nothing_is_unloaded() {
    let mut desk = Desk::new(16);
    desk.released_by(&["sdxl"]);
    let error = desk.run("wan").unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::GpuOom);
    assert!(
        error.to_string().contains("needs 22.0 GiB") && error.to_string().contains("of 16.0 GiB"),
        "{error}"
    );
    assert!(desk.released.is_empty() && desk.budget.is_loaded("sdxl"));
}

#[test]
fn memory_of_other_programs_counts() {
    let mut desk = Desk::new(48);
    desk.card.used.set(20 * GIB);
    desk.released_by(&["sdxl"]);
    assert_eq!(desk.released_by(&["wan"]), ["sdxl"]);
    desk.card.used.set(desk.card.used.get() + 5 * GIB);
    assert_eq!(desk.run("wan").map_err(|e| kind_of(&e)), Err(ErrorKind::GpuOom));
}

#[test]
fn needs_are_measured_at_load_and_the_largest_work_is_remembered() {
    let card = Card {
        total: 48 * GIB,
        used: Cell::new(0),
        pooled: Cell::new(0),
    };
    let mut budget = Budget::new(card.total);
    budget.expect(
        "x",
        Need {
            weights_bytes: 99 * GIB,
            work_bytes: 0,
        },
    );
    budget
        .load(&card, "x", Resident::Wan, || {
            card.used.set(3 * GIB);
            Ok(())
        })
        .unwrap();
    budget.worked("x", 5 * GIB);
    budget.worked("x", 4 * GIB);
    budget.expect("x", Need::default());
    let need = budget.need("x");
    assert_eq!((need.weights_bytes, need.work_bytes), (3 * GIB, 5 * GIB));
}

#[test]
fn a_failed_load_is_not_resident() {
    let mut desk = Desk::new(48);
    let result: Result<()> = desk
        .budget
        .load(&desk.card, "wan", Resident::Wan, || anyhow::bail!("no file"));
    assert!(result.is_err() && !desk.budget.is_loaded("wan"));
}

#[test]
fn rescue_goes_through_caches_chat_wan_sdxl_tiles_and_batch() {
    let mut desk = Desk::new(141);
    desk.released_by(&["sdxl", "wan", "qwen"]);
    let running = |model, can_tile, batch| Running {
        model,
        can_tile,
        batch,
    };
    let model = |name: &str| Rescue::Release(Release::Model(name.into()));
    let caches = Rescue::Release(Release::Caches);
    assert_eq!(
        desk.budget.rescue(&running("other", true, 6)),
        [
            caches.clone(),
            model("qwen"),
            model("wan"),
            model("sdxl"),
            Rescue::VaeTiling,
            Rescue::SmallerBatch(3)
        ]
    );
    assert_eq!(
        desk.budget.rescue(&running("sdxl", false, 1)),
        [caches, model("qwen"), model("wan")]
    );
    let error = desk.budget.exhausted(&desk.card, "sdxl");
    assert!(error.message.contains("needs 14.0 GiB"), "{}", error.message);
}

#[test]
fn pressure_follows_the_bounds_and_scales_with_the_card() {
    for (available, expected) in [
        (4, Pressure::Critical),
        (5, Pressure::High),
        (9, Pressure::High),
        (10, Pressure::Medium),
        (14, Pressure::Medium),
        (15, Pressure::Low),
    ] {
        assert_eq!(Pressure::of(available * GIB, 48 * GIB), expected, "{available}");
        assert_eq!(
            Pressure::of(available * GIB / 2, 24 * GIB),
            expected,
            "{available}/2"
        );
    }
}

#[test]
fn the_buffer_is_two_gb_or_five_per_cent_of_a_small_card() {
    assert_eq!(Budget::new(141 * GIB).buffer_bytes(), 2 * GIB);
    assert_eq!(Budget::new(20 * GIB).buffer_bytes(), GIB);
}

#[test]
fn the_report_says_what_is_loaded_and_what_could_be() {
    let mut desk = Desk::new(24);
    desk.released_by(&["sdxl"]);
    let report = desk.budget.report(&desk.card);
    let of = |name: &str| report.models.iter().find(|m| m.name == name).unwrap();
    assert!(of("sdxl").loaded && of("sdxl").fits_now);
    assert!(!of("wan").fits_now && of("wan").fits_alone);
    assert_eq!(report.available_bytes, 14 * GIB);
    assert_eq!(report.pressure, Pressure::Low);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["models"][0]["weights_bytes"], 17 * GIB);
    assert_eq!(json["pressure"], "low");
}
