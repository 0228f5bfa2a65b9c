//! The values of a cell, one per round and side, and the peer's best setting for it.

use crate::peer::{Answer, Setting};
use crate::spread::median;

/// The measurements of one cell, in tokens per second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    pub ours: Vec<f64>,
    pub theirs: Vec<f64>,
    /// The setting that `theirs` were measured with; for a prefill, the last one.
    pub setting: Option<Setting>,
    /// Tokens that we decoded, and tokens requested: samples may end early.
    pub decoded: u64,
    pub asked: u64,
}

/// The peer's best setting for each cell with one prompt length.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    pub prefill: Setting,
    /// One for each number of samples, in their order.
    decodes: Vec<Setting>,
}

// === impl Series ===

impl Series {
    pub fn add_ours(&mut self, rate: f64) {
        self.ours.push(rate);
    }

    pub fn add_theirs(&mut self, rate: f64, setting: Setting) {
        self.theirs.push(rate);
        self.setting = Some(setting);
    }

    /// Several values of one round count as one: their median.
    pub fn add_ours_of_round(&mut self, rates: &[f64]) {
        self.ours.extend(median(rates));
    }

    /// As [`Series::add_ours_of_round`].
    pub fn add_theirs_of_round(&mut self, rates: &[f64], setting: Setting) {
        self.theirs.extend(median(rates));
        self.setting = Some(setting);
    }

    pub fn add_completeness(&mut self, decoded: u64, asked: u64) {
        self.decoded += decoded;
        self.asked += asked;
    }

    /// Decoded share of the requested tokens. Below 1 if samples ended early, in which case the later steps were
    /// smaller than the peer's.
    pub fn completeness(&self) -> Option<f64> {
        (self.asked > 0).then(|| self.decoded as f64 / self.asked as f64)
    }
}

// === impl Best ===

impl Best {
    /// Chooses among the settings that were tried; all answers are for the same numbers of samples. `None` if nothing
    /// was tried.
    pub fn of(tried: &[(Setting, Vec<Answer>)]) -> Option<Self> {
        let fastest = |rate: &dyn Fn(&[Answer]) -> Option<f64>| {
            let rates =
                tried.iter().filter_map(|(setting, answers)| Some((*setting, rate(answers)?)));
            rates.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(setting, _)| setting)
        };
        let prefill_rate = |answers: &[Answer]| {
            median(&answers.iter().map(|answer| answer.prefill_rate).collect::<Vec<_>>())
        };
        let prefill = fastest(&prefill_rate)?;
        let cells = tried.first().map_or(0, |(_, answers)| answers.len());
        let decode = |cell: usize| {
            fastest(&|answers: &[Answer]| answers.get(cell).map(|answer| answer.decode_rate))
        };
        Some(Self { prefill, decodes: (0..cells).map(decode).collect::<Option<_>>()? })
    }

    /// The setting for decoding one number of samples, by its index.
    pub fn decode(&self, index: usize) -> Option<Setting> {
        self.decodes.get(index).copied()
    }

    /// The numbers of samples for which this setting decodes fastest.
    pub fn numbers_for(&self, setting: Setting, k: &[usize]) -> Vec<usize> {
        let pairs = k.iter().zip(&self.decodes);
        pairs.filter(|(_, best)| **best == setting).map(|(&k, _)| k).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(prefill_rate: f64, decode_rates: [f64; 2]) -> Vec<Answer> {
        let [one, eight] = decode_rates;
        vec![
            Answer { k: 1, prefill_rate, decode_rate: one },
            Answer { k: 8, prefill_rate, decode_rate: eight },
        ]
    }

    #[test]
    fn each_cell_gets_the_setting_that_is_best_for_it() {
        let tried = [
            (Setting::Plain, answers(400.0, [70.0, 200.0])),
            (Setting::FlashAttention, answers(500.0, [60.0, 210.0])),
        ];
        let best = Best::of(&tried).unwrap();
        assert_eq!(best.prefill, Setting::FlashAttention);
        assert_eq!(best.numbers_for(Setting::Plain, &[1, 8]), [1]);
        assert_eq!(best.numbers_for(Setting::FlashAttention, &[1, 8]), [8]);
        assert_eq!(Best::of(&[]), None);
    }

    #[test]
    fn a_round_gives_one_value_however_often_it_measured() {
        let mut series = Series::default();
        series.add_ours_of_round(&[1.0, 9.0, 2.0]);
        series.add_theirs_of_round(&[4.0], Setting::Plain);
        assert_eq!((series.ours.len(), series.theirs.len()), (1, 1));
        assert_eq!(series.completeness(), None);
        series.add_completeness(30, 40);
        assert_eq!(series.completeness(), Some(0.75));
    }
}
