//! Digests of values in one canonical encoding: two values have the same encoding only if they are equal.
//!
//! Every text is preceded by its length, every list by its count, and every optional value by a byte that says whether
//! it is present; fields come in one fixed order. An encoding can therefore be decoded in only one way, and no part can
//! be mistaken for another.

use crate::domain::{
    Item, Readout, Role, Scale, ScoreRequest, Settings, StopRule, VoteRule, Voting,
};

/// Digest of everything that a request's verdict depends on, labels and item id included: all of the request except its
/// budget and its request id.
///
/// Used for idempotency: equal digests mean the same request. The budget is left out because a retry has less time left
/// than the first try, and a stored verdict does not depend on it. The value is valid within one version of Jury, and
/// is never sent or stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PayloadDigest(pub [u8; 32]);

/// The digest that identifies `request` among the requests with one idempotency key; see [`PayloadDigest`].
pub fn payload_digest(request: &ScoreRequest) -> PayloadDigest {
    let ScoreRequest {
        item,
        model,
        settings,
        voting,
        seed,
        min_samples,
        budget_ms: _,
        include_samples,
        include_hidden_states,
        hinted,
        request_id: _,
    } = request;
    let mut encoder = Encoder::new("jury.v1 payload digest");
    encoder.item(item);
    encoder.optional(model.as_deref(), Encoder::text);
    encoder.settings(settings);
    encoder.voting(voting);
    encoder.number(*seed);
    encoder.optional(*min_samples, |encoder, least| encoder.number(u64::from(least)));
    encoder.number(u64::from(*include_samples));
    encoder.number(u64::from(*include_hidden_states));
    encoder.number(u64::from(*hinted));
    PayloadDigest(encoder.finish())
}

/// Hex digest of what is judged of an item: query, responses, reference, criteria and principles, and nothing that
/// never reaches a prompt. A verdict carries it, so that it can be distinguished from the verdict of another item with
/// the same id.
pub fn item_digest(item: &Item) -> String {
    let mut encoder = Encoder::new("jury.v1 item digest");
    encoder.query(item);
    encoder.texts(item.responses.iter().map(String::as_str));
    encoder.guidance(item);
    blake3::Hash::from_bytes(encoder.finish()).to_hex().to_string()
}

/// Writes values into a hash, one after another.
#[derive(Debug)]
pub(crate) struct Encoder(blake3::Hasher);

// === impl Encoder ===

impl Encoder {
    /// `purpose` keeps the digests of different things distinct.
    pub(crate) fn new(purpose: &str) -> Self {
        Self(blake3::Hasher::new_derive_key(purpose))
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    pub(crate) fn texts<'a>(&mut self, texts: impl ExactSizeIterator<Item = &'a str>) {
        self.number(texts.len() as u64);
        texts.for_each(|text| self.text(text));
    }

    pub(crate) fn optional<T>(&mut self, value: Option<T>, encode: impl FnOnce(&mut Self, T)) {
        self.number(u64::from(value.is_some()));
        if let Some(value) = value {
            encode(self, value);
        }
    }

    /// The conversation. A plain text is the same as a single user turn.
    pub(crate) fn query(&mut self, item: &Item) {
        let turns = item.query.turns();
        self.number(turns.len() as u64);
        for turn in turns {
            self.number(match turn.role {
                Role::System => 0,
                Role::User => 1,
                Role::Assistant => 2,
                Role::Tool => 3,
                Role::Developer => 4,
            });
            self.text(&turn.content);
        }
    }

    /// Reference, criteria and principles. A blank reference and an empty list count as absent.
    pub(crate) fn guidance(&mut self, item: &Item) {
        self.optional(item.known_answer(), Self::text);
        self.texts(item.criteria.as_deref().unwrap_or_default().iter().map(String::as_str));
        self.texts(item.principles.as_deref().unwrap_or_default().iter().map(String::as_str));
    }

    fn item(&mut self, item: &Item) {
        let Item {
            id,
            source,
            query: _,
            responses,
            reference: _,
            criteria: _,
            principles: _,
            best,
            labels,
            category,
        } = item;
        self.text(id);
        self.optional(source.as_deref(), Self::text);
        self.query(item);
        self.texts(responses.iter().map(String::as_str));
        self.guidance(item);
        self.optional(*best, |encoder, best| encoder.number(best as u64));
        let labels = labels.as_deref().unwrap_or_default();
        self.number(labels.len() as u64);
        labels.iter().for_each(|label| self.number(label.to_bits()));
        self.optional(category.as_deref(), Self::text);
    }

    fn settings(&mut self, settings: &Settings) {
        let Settings {
            k,
            temperature,
            top_p,
            max_critique_tokens,
            readout,
            min_readout_mass,
            scale: Scale { min, max },
            max_panel,
        } = *settings;
        let readout = match readout {
            Readout::Free => 0,
            Readout::Sampled => 1,
            Readout::Expected => 2,
        };
        for number in [k, max_critique_tokens, readout, max_panel] {
            self.number(u64::from(number));
        }
        for number in [temperature, top_p, min_readout_mass, f64::from(min), f64::from(max)] {
            self.number(number.to_bits());
        }
    }

    fn voting(&mut self, voting: &Voting) {
        let Voting { meta, rule, k_meta, stop, refill } = voting;
        self.optional(meta.as_deref(), Self::text);
        self.optional(*rule, |encoder, rule| {
            encoder.number(match rule {
                VoteRule::Mean => 0,
                VoteRule::Top => 1,
                VoteRule::Majority => 2,
                VoteRule::Weighted => 3,
            });
        });
        self.optional(*k_meta, |encoder, k_meta| encoder.number(u64::from(k_meta)));
        let (stop, limit) = match *stop {
            StopRule::Never => (0, 0.0),
            StopRule::Lossless => (1, 0.0),
            StopRule::Confidence(level) => (2, level),
            StopRule::Width(width) => (3, width),
        };
        self.number(stop);
        self.number(limit.to_bits());
        self.number(u64::from(*refill));
    }
}

#[cfg(test)]
mod tests;
