//! Which experts a token is sent to, and with what weight.

use super::shape::{ExpertGroups, Experts};
use jury_kernels::cpu::rows::exp;

/// One of a token's experts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Route {
    pub(crate) expert: usize,
    /// Factor of its output.
    pub(crate) weight: f32,
}

/// Chooses a token's experts by the router's scores, which it turns into probabilities. `routes` has one entry for each
/// expert to use; they are sorted by expert. Ties go to the first expert.
pub(crate) fn route(experts: &Experts, scores: &mut [f32], routes: &mut [Route]) {
    softmax(scores);
    let group_size = experts.groups.map_or(scores.len(), |groups| scores.len() / groups.count);
    let mut open = vec![experts.groups.is_none(); scores.len() / group_size];
    if let Some(ExpertGroups { used, .. }) = experts.groups {
        let best_of = |group: &[f32]| group.iter().copied().fold(0.0, f32::max);
        let bests: Vec<f32> = scores.chunks_exact(group_size).map(best_of).collect();
        for _ in 0..used {
            let best = best(&bests, |group| !open[group]);
            open[best] = true;
        }
    }
    let mut chosen = vec![false; scores.len()];
    for _ in 0..routes.len() {
        let best = best(scores, |expert| open[expert / group_size] && !chosen[expert]);
        chosen[best] = true;
    }
    let all = (0..scores.len()).filter(|&expert| chosen[expert]);
    for (route, expert) in routes.iter_mut().zip(all) {
        *route = Route { expert, weight: scores[expert] };
    }
    let sum: f32 = routes.iter().map(|route| route.weight).sum();
    let factor = if experts.normalise { experts.scale / sum } else { experts.scale };
    routes.iter_mut().for_each(|route| route.weight *= factor);
}

/// Index of the first maximum among the allowed ones; the shape's checks ensure that there is one.
fn best(numbers: &[f32], may_be_taken: impl Fn(usize) -> bool) -> usize {
    let mut best = None;
    for (index, &number) in numbers.iter().enumerate() {
        let is_better = best.is_none_or(|best: usize| number > numbers[best]);
        if may_be_taken(index) && is_better {
            best = Some(index);
        }
    }
    best.unwrap_or(0)
}

/// NaN scores make all probabilities NaN.
fn softmax(scores: &mut [f32]) {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let bad = scores.iter().any(|score| score.is_nan());
    let mut sum = if bad { f32::NAN } else { 0.0 };
    for score in scores.iter_mut() {
        *score = exp(*score - top);
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experts(used: usize, groups: Option<ExpertGroups>, normalise: bool) -> Experts {
        Experts {
            count: 6,
            used,
            hidden: 32,
            shared: 0,
            dense_layers: 0,
            scale: 2.0,
            normalise,
            groups,
        }
    }

    fn routed(experts: &Experts, scores: [f32; 6]) -> (Vec<usize>, f32) {
        let mut routes = vec![Route::default(); experts.used];
        route(experts, &mut scores.clone(), &mut routes);
        let weights = routes.iter().map(|route| route.weight).sum();
        (routes.iter().map(|route| route.expert).collect(), weights)
    }

    #[test]
    fn the_most_probable_experts_are_chosen_and_the_first_of_equal_ones() {
        let (chosen, _) = routed(&experts(3, None, false), [1.0, 0.0, 2.0, 1.0, 1.0, -1.0]);
        assert_eq!(chosen, [0, 2, 3]);
        let (all, weight) = routed(&experts(6, None, false), [0.3, 0.0, 2.0, 1.0, 1.0, -1.0]);
        assert_eq!(all, [0, 1, 2, 3, 4, 5]);
        assert!((weight - 2.0).abs() < 1e-6, "{weight}");
    }

    #[test]
    fn weights_are_normed_over_the_chosen_where_the_model_says_so() {
        let (_, weight) = routed(&experts(2, None, true), [1.0, 0.0, 2.0, 1.0, 1.0, -1.0]);
        assert!((weight - 2.0).abs() < 1e-6, "{weight}");
    }

    #[test]
    fn experts_come_from_the_groups_with_the_best_single_expert() {
        let groups = Some(ExpertGroups { count: 3, used: 2 });
        let scores = [3.0, -9.0, 2.0, 1.9, 2.5, -9.0];
        assert_eq!(routed(&experts(3, groups, false), scores).0, [0, 1, 4]);
        assert_eq!(routed(&experts(3, None, false), scores).0, [0, 2, 4]);
    }

    #[test]
    fn scores_that_are_no_numbers_choose_experts_and_count_as_no_numbers() {
        let groups = Some(ExpertGroups { count: 3, used: 2 });
        for groups in [None, groups] {
            let (chosen, weight) = routed(&experts(3, groups, false), [f32::NAN; 6]);
            assert_eq!(chosen, [0, 1, 2]);
            assert!(weight.is_nan());
        }
    }
}
