//! Which waiting job is next: the queues' order, then what the worker has in memory, then age.

use super::contract::{FAIRNESS_WINDOW, QueueName, Wish};

/// What decides about a waiting job. A list of them is sorted, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// `None`: no valid job, which any drain refuses first.
    pub queue: Option<QueueName>,
    pub affinity: Option<String>,
    /// How many younger jobs of its queue were taken before it.
    pub passed: u32,
}

/// The index of the job to take, `None` if none is in the wish's queues.
pub fn next(waiting: &[Candidate], wish: &Wish) -> Option<usize> {
    if let Some(broken) = waiting.iter().position(|c| c.queue.is_none()) {
        return Some(broken);
    }
    wish.queues
        .iter()
        .find_map(|&queue| next_in(waiting, queue, wish))
}

fn next_in(waiting: &[Candidate], queue: QueueName, wish: &Wish) -> Option<usize> {
    let mut own = (0..waiting.len()).filter(|&i| waiting[i].queue == Some(queue));
    let oldest = own.next()?;
    // The oldest was passed at least as often as any other.
    if waiting[oldest].passed >= FAIRNESS_WINDOW || wish.affinity.is_none() {
        return Some(oldest);
    }
    let kin = |i: &usize| waiting[*i].affinity == wish.affinity;
    Some(if kin(&oldest) {
        oldest
    } else {
        own.find(kin).unwrap_or(oldest)
    })
}

/// Removes the job at `index` and counts it for those that it passed.
pub fn take(waiting: &mut Vec<Candidate>, index: usize) -> Candidate {
    let taken = waiting.remove(index);
    for passed in &mut waiting[..index] {
        if passed.queue == taken.queue {
            passed.passed += 1;
        }
    }
    taken
}

/// The order in which one worker takes them all, as indices.
pub fn plan(mut waiting: Vec<Candidate>, wish: &Wish) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..waiting.len()).collect();
    let mut order = Vec::with_capacity(indices.len());
    let mut wish = wish.clone();
    while let Some(index) = next(&waiting, &wish) {
        let taken = take(&mut waiting, index);
        wish.affinity = taken.affinity.or(wish.affinity);
        order.push(indices.remove(index));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(queue: Option<QueueName>, affinity: &str) -> Candidate {
        Candidate {
            queue,
            affinity: Some(affinity.into()),
            passed: 0,
        }
    }

    fn wish(affinity: Option<&str>) -> Wish {
        Wish {
            queues: vec![QueueName::Sdxl, QueueName::Chat, QueueName::Wan],
            affinity: affinity.map(String::from),
            worker: "w".into(),
        }
    }

    #[test]
    fn queues_go_before_models_and_models_before_age() {
        let waiting = [
            candidate(Some(QueueName::Wan), "w"),
            candidate(Some(QueueName::Sdxl), "a"),
            candidate(Some(QueueName::Sdxl), "b"),
        ];
        assert_eq!(next(&waiting, &wish(None)), Some(1));
        assert_eq!(next(&waiting, &wish(Some("b"))), Some(2));
        assert_eq!(next(&waiting, &wish(Some("w"))), Some(1));
    }

    #[test]
    fn queues_that_nobody_asked_for_are_left_and_broken_jobs_are_not() {
        let mut asked = wish(None);
        asked.queues = vec![QueueName::Chat];
        let waiting = [candidate(Some(QueueName::Sdxl), "a"), candidate(None, "b")];
        assert_eq!(next(&waiting[..1], &asked), None);
        assert_eq!(next(&waiting, &asked), Some(1));
    }

    #[test]
    fn a_plan_changes_models_as_seldom_as_fairness_allows() {
        let waiting = ["a", "b", "a", "b"].map(|m| candidate(Some(QueueName::Sdxl), m));
        assert_eq!(plan(waiting.to_vec(), &wish(None)), [0, 2, 1, 3]);
    }

    proptest! {
        #[test]
        fn nobody_waits_behind_more_than_twenty_younger_ones(models in prop::collection::vec(0..3u8, 1..120)) {
            let waiting = models
                .iter()
                .map(|m| candidate(Some(QueueName::Sdxl), &m.to_string()))
                .collect::<Vec<_>>();
            let order = plan(waiting, &wish(None));
            let mut seen = order.clone();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..models.len()).collect::<Vec<_>>());
            for (place, &job) in order.iter().enumerate() {
                let younger = order[..place].iter().filter(|&&other| other > job).count();
                prop_assert!(younger <= FAIRNESS_WINDOW as usize, "{job} waited behind {younger}");
            }
        }
    }
}
