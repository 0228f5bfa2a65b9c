//! From what llama-server streams for one request to the texts of its samples. Pure.

use anyhow::{Context, anyhow};
use jury_grm::domain::{Finish, Scale};
use jury_grm::parse::{ScoreBoxWatch, ScoreShape};
use serde::Deserialize;

/// Samples of one request, as far as they have arrived.
#[derive(Debug)]
pub struct Draws {
    draws: Vec<Draw>,
    /// Number of prompt tokens that the server must report.
    prompt_tokens: u64,
    /// Tokens that arrived for samples that already had their scores.
    surplus_tokens: u64,
}

/// One sample.
#[derive(Debug)]
pub struct Draw {
    pub text: String,
    pub tokens: u32,
    /// `None` while it is running.
    pub finish: Option<Finish>,
    watch: ScoreBoxWatch,
}

/// One event of the stream.
#[derive(Debug, Deserialize)]
struct Event {
    /// The index of the sample within the request.
    #[serde(default)]
    index: usize,
    #[serde(default)]
    content: String,
    stop: bool,
    #[serde(default)]
    stop_type: String,
    tokens_predicted: u32,
    tokens_evaluated: u64,
}

// === impl Draws ===

impl Draws {
    /// Expects this many samples of a prompt with this many tokens, which shows `n_shown` responses.
    pub fn new(samples: usize, prompt_tokens: usize, n_shown: usize, scale: Scale) -> Self {
        let draw = |_| Draw {
            text: String::new(),
            tokens: 0,
            finish: None,
            watch: ScoreBoxWatch::new(ScoreShape::new(n_shown, scale)),
        };
        Self {
            draws: (0..samples).map(draw).collect(),
            prompt_tokens: prompt_tokens as u64,
            surplus_tokens: 0,
        }
    }

    /// Reads one line of the stream.
    ///
    /// # Errors
    /// An error reported by the server, or a line that is not one of its events.
    pub fn record(&mut self, line: &str) -> anyhow::Result<()> {
        let Some(data) = line.strip_prefix("data:") else {
            // A line that begins with a colon is a comment that keeps the connection alive.
            if line.trim().is_empty() || line.starts_with(':') {
                return Ok(());
            }
            return Err(anyhow!("llama-server said {line:?}"));
        };
        let event: Event =
            serde_json::from_str(data).with_context(|| format!("llama-server said {data:?}"))?;
        if event.tokens_evaluated != self.prompt_tokens {
            let (found, sent) = (event.tokens_evaluated, self.prompt_tokens);
            return Err(anyhow!("llama-server read a prompt of {found} tokens, not of {sent}"));
        }
        let draw = self.draws.get_mut(event.index).context("a sample that nobody asked for")?;
        if draw.finish.is_some() {
            // This sample has its scores while others of its request continue. The last event repeats the count.
            self.surplus_tokens += u64::from(!event.content.is_empty());
            return Ok(());
        }
        draw.text.push_str(&event.content);
        draw.tokens = event.tokens_predicted;
        if draw.watch.look(&draw.text) {
            draw.finish = Some(Finish::Box);
        } else if event.stop {
            let at_limit = event.stop_type == "limit";
            draw.finish = Some(if at_limit { Finish::Limit } else { Finish::EndOfText });
        }
        Ok(())
    }

    /// True when every sample can stop.
    pub fn is_complete(&self) -> bool {
        self.draws.iter().all(|draw| draw.finish.is_some())
    }

    /// Unnecessarily generated tokens so far.
    pub fn surplus_tokens(&self) -> u64 {
        self.surplus_tokens
    }

    pub fn into_draws(self) -> Vec<Draw> {
        self.draws
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(index: usize, content: &str, tokens: u32, stop: &str) -> String {
        let stopped = !stop.is_empty();
        let event = serde_json::json!({
            "index": index, "content": content, "stop": stopped, "stop_type": stop,
            "tokens_predicted": tokens, "tokens_evaluated": 11, "id_slot": -1,
        });
        format!("data: {event}")
    }

    fn draws(samples: usize) -> Draws {
        Draws::new(samples, 11, 2, Scale::POINTWISE)
    }

    #[test]
    fn a_sample_ends_at_its_box_its_turn_or_its_limit() {
        let mut draws = draws(3);
        for line in [
            event(0, "Scores: \\boxed{8, ", 5, ""),
            String::new(),
            ":".to_owned(),
            event(1, "fine", 1, ""),
            event(2, "long", 9, ""),
            event(0, "3}", 7, ""),
            event(1, "", 1, "eos"),
        ] {
            draws.record(&line).unwrap();
            assert!(!draws.is_complete());
        }
        draws.record(&event(0, " and more", 9, "limit")).unwrap();
        draws.record(&event(2, "", 9, "limit")).unwrap();
        assert!(draws.is_complete());
        assert_eq!(draws.surplus_tokens(), 1);
        let found: Vec<_> =
            draws.into_draws().into_iter().map(|d| (d.text, d.tokens, d.finish)).collect();
        assert_eq!(found[0], ("Scores: \\boxed{8, 3}".to_owned(), 7, Some(Finish::Box)));
        assert_eq!(found[1], ("fine".to_owned(), 1, Some(Finish::EndOfText)));
        assert_eq!(found[2], ("long".to_owned(), 9, Some(Finish::Limit)));
    }

    #[test]
    fn what_is_no_answer_to_this_prompt_is_an_error() {
        for line in [
            "error: {\"code\":500}".to_owned(),
            "data: {\"error\":{\"message\":\"too long\"}}".to_owned(),
            event(1, "a sample too many", 1, ""),
            event(0, "", 1, "").replace("11", "12"),
        ] {
            assert!(draws(1).record(&line).is_err(), "{line}");
        }
    }
}
