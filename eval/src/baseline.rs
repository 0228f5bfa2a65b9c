//! Judges that ignore the content: the results to compare the curve with.

use jury_grm::domain::Item;
use jury_grm::plan::duplicate_of;

use crate::credit::{self, Credit};

/// A rule that needs no model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Baseline {
    /// Any response.
    Random,
    /// The one with the most characters.
    Longest,
    /// The one with the fewest.
    Shortest,
}

impl Baseline {
    /// All rules.
    pub const ALL: [Self; 3] = [Self::Random, Self::Longest, Self::Shortest];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Longest => "longest",
            Self::Shortest => "shortest",
        }
    }

    /// Its credit on one item. A guess has no strict winner, so its strict credit equals that with random ties.
    pub fn credit(self, item: &Item, best: usize) -> Credit {
        let length = |text: &String| text.chars().count() as f64;
        let rewards: Vec<Option<f64>> = item
            .responses
            .iter()
            .map(|text| match self {
                Self::Random => None,
                Self::Longest => Some(length(text)),
                Self::Shortest => Some(-length(text)),
            })
            .collect();
        let credit = credit::of(&rewards, &duplicate_of(&item.responses), best);
        match self {
            Self::Random => Credit { strict: credit.random_ties, ..credit },
            Self::Longest | Self::Shortest => credit,
        }
    }
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::Query;

    use super::*;

    #[test]
    fn lengths_and_luck() {
        let responses = ["four", "öö", "longest"].map(str::to_owned).to_vec();
        let item = Item::bare(Query::Text("q".to_owned()), responses);
        let strict = |baseline: Baseline| {
            (0..3).map(|best| baseline.credit(&item, best).strict).collect::<Vec<_>>()
        };
        assert_eq!(strict(Baseline::Longest), [0.0, 0.0, 1.0]);
        assert_eq!(strict(Baseline::Shortest), [0.0, 1.0, 0.0]);
        assert_eq!(strict(Baseline::Random), [1.0 / 3.0; 3]);
    }
}
