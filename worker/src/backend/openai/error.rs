//! The faults of an upstream, by kind. None of them ever becomes a score.

use std::time::Duration;

use jury_grm::domain::FailureKind;

/// Longest excerpt of an upstream's own words that we repeat, in characters.
const EXCERPT_CHARS: usize = 200;

/// Why an upstream gave no usable answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UpstreamError {
    /// No connection, or one that broke before the answer.
    #[error("the upstream cannot be reached: {0}")]
    Unreachable(String),
    /// An HTTP status other than success.
    #[error("the upstream answered {status}: {message}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// Its own words, truncated.
        message: String,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// A success whose body is not JSON, such as a web page.
    #[error("the upstream answered with {content_type} instead of JSON: {excerpt:?}")]
    NotJson {
        /// The content type that it declares.
        content_type: String,
        /// The beginning of its body.
        excerpt: String,
    },
    /// A success whose body is an error.
    #[error("the upstream answered 200 with an error: {message}")]
    ErrorBody {
        /// The status in the body, if there is one.
        code: Option<u16>,
        /// Its own words, truncated.
        message: String,
    },
    /// JSON that does not answer the request.
    #[error("the upstream's answer cannot be used: {0}")]
    Malformed(String),
    /// A number of completions other than one.
    #[error("one completion was asked for, the upstream sent {0}; use an upstream that honours n")]
    WrongCount(usize),
    /// It read a different prompt than the one sent.
    #[error(
        "the upstream read a prompt of {read} tokens where {sent} were sent; is --tokenizer that of its model?"
    )]
    WrongPrompt {
        /// Tokens that we sent.
        sent: u32,
        /// Tokens that it counted.
        read: u32,
    },
    /// The stream ended before the sample was complete.
    #[error("the upstream's stream ended before the sample did")]
    Cut,
    /// The connection is open but silent.
    #[error("the upstream sent nothing for {0:?}; raise --upstream-stall if it is merely slow")]
    Stalled(Duration),
    /// The connection carries events, but none with a token.
    #[error(
        "the upstream sent events without any text for {0:?}; raise --upstream-stall if it is merely slow"
    )]
    Stuck(Duration),
    /// The prompt is longer than the upstream's context.
    #[error(
        "the prompt of {prompt_tokens} tokens is longer than the upstream's context of {context_tokens}"
    )]
    TooLong {
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// Tokens of its context.
        context_tokens: u32,
    },
    /// The legal scores are not among the tokens whose probabilities it reports.
    #[error(
        "the upstream tells the probabilities of its {listed} likeliest tokens alone; legal scores that are not among them \
         could hold up to {unseen:.4} beside {mass:.4}"
    )]
    Unseen {
        /// Tokens that it reported.
        listed: usize,
        /// Upper bound of the probability of legal scores that it did not report.
        unseen: f64,
        /// Probability of the legal scores that it reported.
        mass: f64,
    },
}

// === impl UpstreamError ===

impl UpstreamError {
    /// True when the server may be gone.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Cut)
    }

    /// True when a retry of the same request may succeed. Of the 4xx only 408 and 429: the others would fail again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Cut => true,
            Self::Status { status, .. } => is_transient(*status),
            Self::ErrorBody { code, .. } => code.is_some_and(is_transient),
            _ => false,
        }
    }

    /// How long the upstream asks us to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The kind of failure for a sample that ends with this error.
    pub fn kind(&self) -> FailureKind {
        let is_rejected = |status: u16| (400..500).contains(&status) && !is_transient(status);
        match self {
            Self::TooLong { .. } => FailureKind::TooLong,
            Self::Unseen { .. } => FailureKind::LowReadoutMass,
            Self::Status { status, .. } if is_rejected(*status) => FailureKind::Rejected,
            Self::ErrorBody { code: Some(code), .. } if is_rejected(*code) => FailureKind::Rejected,
            _ => FailureKind::Worker,
        }
    }
}

/// Whether a request that got this status may succeed on a retry.
fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..)
}

/// The beginning of an upstream's words, on one line.
pub(super) fn excerpt(words: &str) -> String {
    let mut line: String = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(EXCERPT_CHARS) {
        line.truncate(end);
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_do_better_is_tried_again() {
        let status =
            |status| UpstreamError::Status { status, message: String::new(), retry_after: None };
        for (error, transient) in [
            (status(400), false),
            (status(401), false),
            (status(404), false),
            (status(422), false),
            (status(301), false),
            (status(408), true),
            (status(429), true),
            (status(500), true),
            (status(503), true),
            (UpstreamError::Cut, true),
            (UpstreamError::Unreachable(String::new()), true),
            (UpstreamError::WrongCount(2), false),
            (UpstreamError::Stalled(Duration::ZERO), false),
            (UpstreamError::Stuck(Duration::ZERO), false),
            (UpstreamError::ErrorBody { code: None, message: String::new() }, false),
            (UpstreamError::ErrorBody { code: Some(503), message: String::new() }, true),
            (UpstreamError::ErrorBody { code: Some(400), message: String::new() }, false),
        ] {
            assert_eq!(error.is_transient(), transient, "{error}");
        }
    }

    #[test]
    fn what_is_refused_for_good_is_no_fault_of_the_fleet() {
        let status =
            |status| UpstreamError::Status { status, message: String::new(), retry_after: None };
        let inside = |code| UpstreamError::ErrorBody { code, message: String::new() };
        for rejected in [400, 401, 403, 404, 413, 422] {
            assert_eq!(status(rejected).kind(), FailureKind::Rejected);
            assert_eq!(inside(Some(rejected)).kind(), FailureKind::Rejected);
        }
        for other in [301, 408, 429, 500, 503] {
            assert_eq!(status(other).kind(), FailureKind::Worker);
            assert_eq!(inside(Some(other)).kind(), FailureKind::Worker);
        }
        assert_eq!(inside(None).kind(), FailureKind::Worker);
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt(" <html>\n <b>"), "<html> <b>");
        assert_eq!(excerpt(&"é".repeat(1000)).chars().count(), EXCERPT_CHARS + 3);
    }
}
