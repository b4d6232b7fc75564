//! Which part of a trajectory a run takes: all of it, the tail of image-to-image, or the share of
//! one expert among several.
//!
//! As `get_timesteps` and the cut-offs of diffusers' `pipeline_stable_diffusion_xl*.py`.

use std::ops::Range;

use anyhow::Result;

/// What a job says about the part; the default is the whole trajectory.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Part {
    /// Image-to-image: the share of the steps that is run, at the end (0 to 1).
    pub strength: Option<f64>,
    /// Where an earlier model stopped, as a share of the noise's way down; `strength` then has no say
    /// and no noise is added.
    pub denoising_start: Option<f64>,
    /// Where a later model takes over.
    pub denoising_end: Option<f64>,
}

/// The indices of `timesteps()` that a run calls, and how they make up steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Indices of the network calls.
    pub calls: Range<usize>,
    /// Network calls per step.
    pub order: usize,
    /// Calls that do not complete a step of their own.
    warmup: usize,
}

impl Window {
    /// Steps for a progress display: what [`Self::completes_step`] says yes to.
    pub fn steps(&self) -> usize {
        self.calls.clone().filter(|i| self.completes_step(*i)).count()
    }

    /// Whether a step is done after the call with index `i` of `timesteps()`.
    pub fn completes_step(&self, i: usize) -> bool {
        let done = i + 1 - self.calls.start;
        i + 1 == self.calls.end || done > self.warmup && done.is_multiple_of(self.order)
    }
}

/// What a window is cut from.
pub(super) struct Trajectory<'a> {
    pub timesteps: &'a [f64],
    pub num_steps: usize,
    pub order: usize,
    pub train_timesteps: usize,
}

impl Trajectory<'_> {
    /// # Errors
    /// `InvalidSpec` for a share outside 0 to 1, a start that is not before the end, or a part without
    /// any step.
    pub fn window(&self, part: &Part) -> Result<Window> {
        for (field, value) in [
            ("strength", part.strength),
            ("denoising_start", part.denoising_start),
            ("denoising_end", part.denoising_end),
        ] {
            if let Some(value) = value
                && !(0.0..=1.0).contains(&value)
            {
                crate::fail!(InvalidSpec, "{field} is {value}; allowed: 0 to 1");
            }
        }
        // Only shares strictly inside count: 0 and 1 leave the trajectory whole.
        let inside = |share: Option<f64>| share.filter(|s| *s > 0.0 && *s < 1.0);
        let (start, end) = (inside(part.denoising_start), inside(part.denoising_end));
        if let (Some(start), Some(end)) = (start, end)
            && start >= end
        {
            crate::fail!(
                InvalidSpec,
                "denoising_start is {start} and denoising_end {end}; the start must lie before the end"
            );
        }
        let begin = match start {
            Some(start) => self.begin_after(start),
            None => part.strength.map_or(0, |strength| self.begin_of_tail(strength)),
        };
        let stop = end.map_or(self.timesteps.len(), |end| {
            let cutoff = self.cutoff(end);
            let kept = self.timesteps[begin..].iter().filter(|t| **t >= cutoff);
            begin + kept.count()
        });
        if begin >= stop {
            crate::fail!(InvalidSpec, "denoising_start and denoising_end leave no step of {}", self.num_steps;
                "raise steps, or widen the range");
        }
        let calls = begin..stop;
        Ok(Window {
            warmup: calls.len().saturating_sub(self.steps_of(&calls) * self.order),
            calls,
            order: self.order,
        })
    }

    /// The tail that `strength` leaves. diffusers refuses a tail without steps; here one always remains.
    fn begin_of_tail(&self, strength: f64) -> usize {
        let kept = ((self.num_steps as f64 * strength) as usize).clamp(1, self.num_steps);
        (self.num_steps - kept) * self.order
    }

    /// The first call below the noise at which the earlier model stopped.
    fn begin_after(&self, start: f64) -> usize {
        let cutoff = self.cutoff(start);
        let mut left = self.timesteps.iter().filter(|t| **t < cutoff).count();
        // A step that was cut between its two calls begins anew.
        if self.order == 2 && left.is_multiple_of(2) {
            left += 1;
        }
        self.timesteps.len() - left.min(self.timesteps.len())
    }

    fn cutoff(&self, share: f64) -> f64 {
        let train = self.train_timesteps as f64;
        (train - share * train).round_ties_even()
    }

    /// The steps that the calls make up; as in diffusers, the extra call of pndm counts with the first
    /// step of whatever goes to the end.
    fn steps_of(&self, calls: &Range<usize>) -> usize {
        if self.order > 1 {
            return calls.len().div_ceil(self.order);
        }
        let extra = self.timesteps.len() - self.num_steps;
        let counted = if calls.end == self.timesteps.len() {
            extra
        } else {
            0
        };
        calls.len() - counted.min(calls.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(timesteps: &[f64], num_steps: usize, order: usize, part: Part) -> Window {
        trajectory(timesteps, num_steps, order)
            .window(&part)
            .expect("a window")
    }

    fn trajectory(timesteps: &[f64], num_steps: usize, order: usize) -> Trajectory<'_> {
        Trajectory {
            timesteps,
            num_steps,
            order,
            train_timesteps: 1000,
        }
    }

    const TEN: [f64; 10] = [901.0, 801.0, 701.0, 601.0, 501.0, 401.0, 301.0, 201.0, 101.0, 1.0];

    #[test]
    fn an_expert_takes_over_where_the_other_stopped() {
        for share in [0.1, 0.2, 0.5, 0.6, 0.7, 0.8, 0.95] {
            let base = window(
                &TEN,
                10,
                1,
                Part {
                    denoising_end: Some(share),
                    ..Part::default()
                },
            );
            let refiner = window(
                &TEN,
                10,
                1,
                Part {
                    denoising_start: Some(share),
                    ..Part::default()
                },
            );
            assert_eq!(base.calls, 0..refiner.calls.start, "{share}");
            assert_eq!(base.steps() + refiner.steps(), 10);
        }
        let middle = Part {
            denoising_start: Some(0.3),
            denoising_end: Some(0.8),
            strength: Some(0.1),
        };
        assert_eq!(window(&TEN, 10, 1, middle).calls, 3..8);
    }

    #[test]
    fn a_second_order_expert_begins_at_the_first_call_of_a_step() {
        let calls: Vec<f64> = TEN.iter().flat_map(|t| [*t, t - 50.0]).take(19).collect();
        for share in [0.05, 0.1, 0.12, 0.15, 0.5, 0.52, 0.9] {
            let refiner = window(
                &calls,
                10,
                2,
                Part {
                    denoising_start: Some(share),
                    ..Part::default()
                },
            );
            assert!(refiner.calls.start.is_multiple_of(2), "{share}");
        }
        let all = window(&calls, 10, 2, Part::default());
        assert_eq!(all.steps(), 10);
        assert!(!all.completes_step(0) && all.completes_step(1) && all.completes_step(18));
    }

    #[test]
    fn strength_keeps_the_tail_and_at_least_a_step() {
        for (strength, begin) in [(1.0, 0), (0.99, 1), (0.5, 5), (0.3, 7), (0.05, 9), (0.0, 9)] {
            let part = Part {
                strength: Some(strength),
                ..Part::default()
            };
            assert_eq!(window(&TEN, 10, 1, part).calls, begin..10, "{strength}");
        }
    }

    #[test]
    fn the_extra_call_of_pndm_is_no_step() {
        let mut calls = TEN.to_vec();
        calls.insert(1, 801.0);
        let all = window(&calls, 10, 1, Part::default());
        assert_eq!((all.calls.len(), all.steps()), (11, 10));
        assert!(!all.completes_step(0));
        let half = Part {
            strength: Some(0.5),
            ..Part::default()
        };
        let tail = window(&calls, 10, 1, half);
        assert_eq!((tail.calls.len(), tail.steps()), (6, 5));
    }

    #[test]
    fn shares_that_mean_nothing_are_refused() {
        for part in [
            Part {
                strength: Some(1.5),
                ..Part::default()
            },
            Part {
                denoising_start: Some(f64::NAN),
                ..Part::default()
            },
            Part {
                denoising_start: Some(0.8),
                denoising_end: Some(0.8),
                strength: None,
            },
            Part {
                denoising_start: Some(0.51),
                denoising_end: Some(0.55),
                strength: None,
            },
            Part {
                denoising_end: Some(0.001),
                ..Part::default()
            },
        ] {
            let error = trajectory(&TEN, 10, 1).window(&part).unwrap_err();
            assert_eq!(
                crate::error::kind_of(&error),
                crate::error::ErrorKind::InvalidSpec,
                "{part:?}"
            );
        }
    }
}
