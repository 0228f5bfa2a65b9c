//! What SPCT calls a correct trajectory (paper, section 3.2; equation of the outcome reward).

/// True when the scores of one trajectory are correct for several responses: the best one is
/// *strictly* highest, a tie is wrong. `scores[i]` belongs to `order[i]`; a best response that
/// was not shown makes it wrong.
pub fn is_correct_ranking(order: &[usize], scores: &[f64], best: usize) -> bool {
    let Some(position) = order.iter().position(|&response| response == best) else {
        return false;
    };
    let best_score = scores.get(position).copied().unwrap_or(f64::NEG_INFINITY);
    let mut rivals = scores.iter().enumerate().filter(|&(rival, _)| rival != position);
    rivals.all(|(_, &score)| score < best_score)
}

/// True when the score of a single response equals its label.
pub fn is_correct_single(score: f64, label: f64) -> bool {
    score.total_cmp(&label).is_eq()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_must_be_strictly_highest() {
        assert!(is_correct_ranking(&[1, 0], &[9.0, 3.0], 1));
        assert!(!is_correct_ranking(&[1, 0], &[9.0, 3.0], 0));
        assert!(!is_correct_ranking(&[0, 1], &[9.0, 9.0], 0), "a tie is wrong");
        assert!(!is_correct_ranking(&[0, 1], &[9.0, 3.0], 2), "the best was not shown");
    }

    #[test]
    fn a_single_response_must_hit_its_label() {
        assert!(is_correct_single(1.0, 1.0));
        assert!(!is_correct_single(0.0, 1.0));
    }
}
