//! The details of a request, in flight or judged: what pages show of it, as numbers. Pure.

use jury_grm::domain::{Item, Sample, SampleSpec, Scale, Settings, Verdict};
use jury_grm::plan::duplicate_of;

use crate::board::{Case, Running};

/// The details of a request.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    pub(crate) item: &'a Item,
    pub(crate) settings: &'a Settings,
    /// For each response, the lowest index with the same bytes.
    pub(crate) duplicate_of: Vec<usize>,
    /// The planned samples, by index.
    pub(crate) places: Vec<Place<'a>>,
    /// The verdict, once there is one.
    pub(crate) verdict: Option<&'a Verdict>,
}

/// One planned sample.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) spec: &'a SampleSpec,
    /// The sample, once it has ended.
    pub(crate) sample: Option<&'a Sample>,
    pub(crate) voice: Voice,
}

/// Whether and how a sample counts in the verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Voice {
    /// It is being drawn, or is waiting.
    Pending,
    /// It has scores, but the votes are not counted yet.
    Uncounted,
    /// It voted; with its weight, if weights differ.
    Voted(Option<f64>),
    /// It has scores, but did not vote.
    Silent,
    /// It has no scores.
    Without,
}

/// The score that one sample gave to one response.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) sample: u32,
    pub(crate) score: f64,
    pub(crate) voice: Voice,
}

/// The distribution of a response's scores over the legal ones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spread {
    /// The share of each legal score, lowest first; the sum is 1.
    pub(crate) shares: Vec<f64>,
    /// Whether these are probabilities from the model, rather than counts of whole scores.
    pub(crate) is_read: bool,
}

/// How a sample relates to the pick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ballot {
    /// The pick is its best response.
    Agrees,
    /// The pick is tied for its best response.
    Ties,
    /// Its best response is another one.
    Differs,
    /// It was not shown the pick.
    NotShown,
    /// It does not vote, or not yet.
    None,
}

// === impl Opened ===

impl<'a> Opened<'a> {
    /// For a request in flight.
    pub(crate) fn running(running: &'a Running) -> Self {
        let place = |slot: &'a crate::board::Slot| {
            let sample = slot.sample.as_deref();
            let voice = match sample {
                None => Voice::Pending,
                Some(sample) if sample.scores().is_some() => Voice::Uncounted,
                Some(_) => Voice::Without,
            };
            Place { spec: &slot.spec, sample, voice }
        };
        Self {
            item: &running.request.item,
            settings: &running.request.settings,
            duplicate_of: duplicate_of(&running.request.item.responses),
            places: running.slots.iter().map(place).collect(),
            verdict: None,
        }
    }

    /// For a judged request.
    pub(crate) fn judged(case: &'a Case) -> Self {
        let verdict = &case.verdict;
        let place = |sample: &'a Sample| {
            let voter = verdict.voters.binary_search(&sample.spec.index);
            let voice = match (sample.scores(), voter) {
                (None, _) => Voice::Without,
                (Some(_), Ok(at)) => Voice::Voted(verdict.weights.get(at).copied()),
                (Some(_), Err(_)) => Voice::Silent,
            };
            Place { spec: &sample.spec, sample: Some(sample), voice }
        };
        Self {
            item: &case.item,
            settings: &verdict.provenance.settings,
            duplicate_of: duplicate_of(&case.item.responses),
            places: case.samples().iter().map(place).collect(),
            verdict: Some(verdict),
        }
    }

    /// The legal scores.
    pub(crate) fn scale(&self) -> Scale {
        self.settings.scale
    }

    /// The reward of a response, once there is one.
    pub(crate) fn reward(&self, response: usize) -> Option<f64> {
        self.verdict?.rewards.get(response).copied().flatten()
    }

    /// Whether a response is the pick.
    pub(crate) fn is_pick(&self, response: usize) -> bool {
        self.verdict.is_some_and(|verdict| verdict.pick == Some(response))
    }

    /// The scores that samples gave to a response, by sample index.
    pub(crate) fn points(&self, response: usize) -> Vec<Point> {
        let point = |place: &Place<'_>| {
            let score = place.score(self.duplicate_of[response])?;
            Some(Point { sample: place.spec.index, score, voice: place.voice })
        };
        self.places.iter().filter_map(point).collect()
    }

    /// The distribution of a response's scores over the samples that count; `None` if there are none.
    pub(crate) fn spread(&self, response: usize) -> Option<Spread> {
        let distinct = self.duplicate_of[response];
        let heard = || self.places.iter().filter(|place| place.voice.is_heard());
        let read: Vec<&[f64]> = heard().filter_map(|place| place.distribution(distinct)).collect();
        let n_legal = legal_scores(self.scale());
        if !read.is_empty() && read.iter().all(|shares| shares.len() == n_legal) {
            let mean =
                |at: usize| read.iter().map(|shares| shares[at]).sum::<f64>() / read.len() as f64;
            return Some(Spread { shares: (0..n_legal).map(mean).collect(), is_read: true });
        }
        let scores: Vec<f64> = heard().filter_map(|place| place.score(distinct)).collect();
        if scores.is_empty() {
            return None;
        }
        let mut shares = vec![0.0; n_legal];
        for score in &scores {
            let at = (score.round() - f64::from(self.scale().min)).clamp(0.0, (n_legal - 1) as f64);
            shares[at as usize] += 1.0 / scores.len() as f64;
        }
        Some(Spread { shares, is_read: false })
    }

    /// How a sample relates to the pick.
    pub(crate) fn ballot(&self, place: &Place<'_>) -> Ballot {
        let Some(pick) = self.verdict.and_then(|verdict| verdict.pick) else { return Ballot::None };
        if !matches!(place.voice, Voice::Voted(_)) {
            return Ballot::None;
        }
        let pick = self.duplicate_of[pick];
        let best = place.best();
        match (best.contains(&pick), best.len()) {
            _ if place.score(pick).is_none() => Ballot::NotShown,
            (true, 1) => Ballot::Agrees,
            (true, _) => Ballot::Ties,
            (false, _) => Ballot::Differs,
        }
    }

    /// Samples that have ended.
    pub(crate) fn n_ended(&self) -> usize {
        self.places.iter().filter(|place| place.sample.is_some()).count()
    }
}

// === impl Place ===

impl Place<'_> {
    /// The score of a distinct response, if the sample has one.
    pub(crate) fn score(&self, distinct: usize) -> Option<f64> {
        let at = self.spec.order.iter().position(|shown| *shown == distinct)?;
        self.sample?.scores()?.scores.get(at).copied()
    }

    /// The probability of each legal score for a distinct response, if available.
    pub(crate) fn distribution(&self, distinct: usize) -> Option<&[f64]> {
        let at = self.spec.order.iter().position(|shown| *shown == distinct)?;
        self.sample?.scores()?.score_distribution.as_ref()?.get(at).map(Vec::as_slice)
    }

    /// The responses to which the sample itself gives the highest score.
    pub(crate) fn best(&self) -> Vec<usize> {
        let Some(scores) = self.sample.and_then(Sample::scores) else { return Vec::new() };
        let highest = scores.scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shown = std::iter::zip(&self.spec.order, &scores.scores);
        shown.filter(|(_, score)| **score == highest).map(|(response, _)| *response).collect()
    }
}

// === impl Voice ===

impl Voice {
    /// Whether it counts in the charts.
    pub(crate) fn is_heard(self) -> bool {
        matches!(self, Self::Uncounted | Self::Voted(_))
    }
}

fn legal_scores(scale: Scale) -> usize {
    usize::try_from(scale.max.abs_diff(scale.min)).unwrap_or(usize::MAX - 1) + 1
}
