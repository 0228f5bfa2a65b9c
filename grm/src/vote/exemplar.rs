//! Which sample to show to people.

use crate::domain::Sample;

/// Among the samples that score no response above the `pick`, the one whose scores are closest to the `rewards`: the
/// average judgement, in the words of the sample that agrees with it most. If there is none, the closest of all.
/// Distance is the mean over the responses that a sample showed. Among equals, the sample that showed the responses in
/// the caller's order, since its text is easier to read; then the first.
///
/// `None` without rewards, or when no sample has scores.
pub fn exemplar<'a>(
    samples: &'a [Sample],
    rewards: &[Option<f64>],
    pick: Option<usize>,
) -> Option<&'a Sample> {
    let ranked = samples.iter().filter_map(|sample| {
        let distance = distance(sample, rewards)?;
        let disagrees = !agrees(sample, pick);
        let is_reordered = !sample.spec.is_in_callers_order();
        Some((disagrees, distance, is_reordered, sample.spec.index, sample))
    });
    ranked
        .min_by(|a, b| {
            let by_distance = || a.1.total_cmp(&b.1).then_with(|| (a.2, a.3).cmp(&(b.2, b.3)));
            a.0.cmp(&b.0).then_with(by_distance)
        })
        .map(|(_, _, _, _, sample)| sample)
}

/// True if the sample scores nothing above the pick, or if there is no pick.
fn agrees(sample: &Sample, pick: Option<usize>) -> bool {
    let (Some(pick), Some(scores)) = (pick, sample.scores()) else { return true };
    let shown = std::iter::zip(&sample.spec.order, &scores.scores);
    let of_pick = shown.clone().find(|(response, _)| **response == pick).map(|(_, score)| *score);
    of_pick.is_some_and(|of_pick| shown.clone().all(|(_, score)| *score <= of_pick))
}

fn distance(sample: &Sample, rewards: &[Option<f64>]) -> Option<f64> {
    let scores = &sample.scores()?.scores;
    let differences: Vec<f64> = std::iter::zip(&sample.spec.order, scores)
        .filter_map(|(&response, score)| Some((score - (*rewards.get(response)?)?).abs()))
        .collect();
    let n_shown = differences.len();
    (n_shown > 0).then(|| differences.iter().sum::<f64>() / n_shown as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vote::tests::sample;

    /// The index of the sample shown, among samples with these orders and scores, for rewards of 8 and 3.
    fn shown(samples: &[(&[usize], &[f64])]) -> Option<u32> {
        let samples: Vec<Sample> = (0..)
            .zip(samples)
            .map(|(index, (order, scores))| sample(index, order, scores))
            .collect();
        exemplar(&samples, &[Some(8.0), Some(3.0)], Some(0)).map(|sample| sample.spec.index)
    }

    #[test]
    fn the_closest_sample_wins_whatever_its_order() {
        // Scores are parallel to the order shown.
        assert_eq!(shown(&[(&[0, 1], &[9.0, 5.0]), (&[1, 0], &[3.0, 8.0])]), Some(1));
    }

    #[test]
    fn a_sample_that_prefers_another_response_is_not_shown_while_one_agrees() {
        assert_eq!(shown(&[(&[0, 1], &[5.0, 5.5]), (&[0, 1], &[10.0, 1.0])]), Some(1));
        assert_eq!(shown(&[(&[0, 1], &[5.0, 5.5])]), Some(0), "nobody agrees");
    }

    #[test]
    fn of_equal_ones_the_callers_order_wins_and_then_the_first() {
        let equal: [(&[usize], &[f64]); 3] =
            [(&[1, 0], &[3.0, 8.0]), (&[0, 1], &[8.0, 3.0]), (&[0, 1], &[8.0, 3.0])];
        assert_eq!(shown(&equal), Some(1));
    }

    #[test]
    fn there_is_none_without_rewards() {
        let samples = [sample(0, &[0, 1], &[8.0, 3.0])];
        assert_eq!(exemplar(&samples, &[None, None], None), None);
    }
}
