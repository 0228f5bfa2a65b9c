//! Checks, before any work, whether the reply to a request can be sent.
//!
//! ```text
//! for each sample: responses shown x (legal scores + 2) x 8 bytes   certain, if a distribution
//!                                                                   is read; else x 2 x 8 bytes
//!                + 16 KiB                                           with hidden states, estimated
//!                + max_critique_tokens x 4 bytes                    at most, estimated
//! ```
//!
//! The width of a model's hidden states is not known before it has judged. 16 KiB are 4,096 numbers, more than most
//! models that fit one accelerator have.
//!
//! 256 samples of 24 responses on a scale of 0 to 100 have 256 x 24 x 103 x 8 = 5.06 MB of scores.

use super::request::{RequestError, ScoreRequest};

/// The default message limit of a gRPC client.
const DEFAULT_CLIENT_BYTES: usize = 4 << 20;
/// The largest reply that a coordinator sends and that our own clients accept.
const LARGEST_REPLY_BYTES: usize = 16 << 20;
/// Assumed size of a hidden state.
const BYTES_A_STATE: usize = 16 << 10;
/// Assumed size of a token of text; English has about four letters per token.
const BYTES_A_TOKEN: usize = 4;

/// Rejects a request whose samples could not be sent. The numbers, whose size is certain, must fit any client's limit;
/// together with the longest possible texts, the reply must fit our own.
pub(super) fn check(request: &ScoreRequest) -> Result<(), RequestError> {
    if !request.include_samples {
        return Ok(());
    }
    let settings = &request.settings;
    let n_shown = request.item.responses.len().min(settings.max_panel as usize);
    let n_scores = if settings.readout.is_guided() {
        usize::try_from(settings.scale.max - settings.scale.min + 1).unwrap_or(0)
    } else {
        0
    };
    let state = if request.include_hidden_states { BYTES_A_STATE } else { 0 };
    let numbers = settings.k as usize * (n_shown * (n_scores + 2) * 8 + state);
    // A spare sample has the scores that another sample lacks, but a text of its own.
    let n_texts = (settings.k + request.voting.refill) as usize;
    let texts = n_texts * settings.max_critique_tokens as usize * BYTES_A_TOKEN;
    let refuse = |what: &str, n_bytes: usize, limit: usize| RequestError {
        field: "include_samples",
        problem: format!(
            "{what} of {} samples take {n_bytes} bytes of a reply, at most {limit} can be sent; \
             leave the samples out, or ask for fewer, with a shorter critique, a narrower scale \
             or smaller panels",
            settings.k
        ),
    };
    if numbers > DEFAULT_CLIENT_BYTES {
        let what = match request.include_hidden_states {
            true => "the hidden states, scores and distributions",
            false => "the scores and their distributions",
        };
        return Err(refuse(what, numbers, DEFAULT_CLIENT_BYTES));
    }
    if numbers + texts > LARGEST_REPLY_BYTES {
        return Err(refuse("scores and the longest texts", numbers + texts, LARGEST_REPLY_BYTES));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Item, Query, Scale};
    use super::*;

    fn request(k: u32, n_responses: usize, scale: Scale, tokens: u32) -> ScoreRequest {
        let responses = (0..n_responses).map(|i| i.to_string()).collect();
        let mut request = ScoreRequest::new(Item::bare(Query::Text("q".to_owned()), responses));
        request.settings.k = k;
        request.settings.scale = scale;
        request.settings.max_panel = 64;
        request.settings.max_critique_tokens = tokens;
        request.include_samples = true;
        request
    }

    #[test]
    fn what_cannot_be_answered_is_refused_at_the_door_with_the_way_out() {
        let wide = Scale { min: 0, max: 100 };
        let mut refused = request(256, 24, wide, 1);
        let error = refused.validate().unwrap_err();
        assert_eq!(error.field, "include_samples");
        assert!(error.problem.contains("5062656 bytes"), "{error}");
        assert!(error.problem.contains("leave the samples out"), "{error}");
        refused.include_samples = false;
        assert_eq!(refused.validate(), Ok(()));
        let long = request(256, 2, Scale::POINTWISE, 16_384);
        assert_eq!(long.validate().unwrap_err().field, "include_samples");
        let mut with_spares = request(256, 2, Scale::POINTWISE, 12_000);
        assert_eq!(with_spares.validate(), Ok(()));
        with_spares.voting.refill = 256;
        assert_eq!(with_spares.validate().unwrap_err().field, "include_samples");
    }

    #[test]
    fn hidden_states_count_with_what_they_are_taken_for() {
        let with_states = |k| {
            let mut request = request(k, 2, Scale::POINTWISE, 512);
            request.include_hidden_states = true;
            request.validate()
        };
        assert_eq!(with_states(128), Ok(()));
        let error = with_states(256).unwrap_err();
        assert_eq!(error.field, "include_samples");
        assert!(error.problem.contains("hidden states"), "{error}");
    }

    #[test]
    fn what_fits_is_taken() {
        assert_eq!(request(256, 16, Scale::POINTWISE, 2048).validate(), Ok(()));
        assert_eq!(request(32, 64, Scale { min: 0, max: 100 }, 16_384).validate(), Ok(()));
    }
}
