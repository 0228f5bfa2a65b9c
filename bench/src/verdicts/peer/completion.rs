//! One request to llama-server, for one sample or for several samples of one prompt.

use std::io::{BufRead, BufReader};

use anyhow::anyhow;
use jury_grm::domain::{Finish, Sample, SampleSpec, Settings};
use jury_grm::parse::{Parsed, ScoreShape, parse_free};
use serde::Serialize;

use crate::verdicts::draws::{Draw, Draws};

/// The samples of one request: all of one order, or a single one.
pub struct Completion<'a> {
    /// At least one.
    pub specs: Vec<&'a SampleSpec>,
    pub prompt: &'a [u32],
}

/// The result of a request.
#[derive(Debug, Default)]
pub struct Drawn {
    pub samples: Vec<Sample>,
    /// Tokens that the server generated for samples that already had their scores.
    pub surplus_tokens: u64,
}

/// The body of a request. Samplers that our engine does not have are off.
#[derive(Serialize)]
struct Body<'a> {
    prompt: &'a [u32],
    n_predict: u32,
    n_cmpl: usize,
    temperature: f64,
    top_p: f64,
    /// In the same order as in our engine.
    samplers: [&'static str; 2],
    seed: u32,
    cache_prompt: bool,
    stream: bool,
}

// === impl Completion ===

impl Completion<'_> {
    /// Sends the request and reads until its samples can stop.
    pub fn draw(
        &self,
        agent: &ureq::Agent,
        url: &str,
        settings: &Settings,
    ) -> anyhow::Result<Drawn> {
        let spec = self.specs.first().ok_or_else(|| anyhow!("a request for no sample"))?;
        let body = Body {
            prompt: self.prompt,
            n_predict: settings.max_critique_tokens,
            n_cmpl: self.specs.len(),
            temperature: settings.temperature,
            top_p: settings.top_p,
            samplers: ["temperature", "top_p"],
            // The server's seed has 32 bits; the samples of a request count up from it.
            seed: spec.seed as u32,
            cache_prompt: true,
            stream: true,
        };
        let body = serde_json::to_vec(&body)?;
        let mut response = agent.post(url).content_type("application/json").send(&body[..])?;
        let (n_samples, n_tokens) = (self.specs.len(), self.prompt.len());
        let mut draws = Draws::new(n_samples, n_tokens, spec.order.len(), settings.scale);
        for line in BufReader::new(response.body_mut().as_reader()).lines() {
            draws.record(&line?)?;
            if draws.is_complete() {
                break;
            }
        }
        if !draws.is_complete() {
            return Err(anyhow!("the answer ended before its samples did"));
        }
        let surplus_tokens = draws.surplus_tokens();
        let samples = self.specs.iter().zip(draws.into_draws());
        let samples = samples.map(|(spec, draw)| sample(spec, &draw, n_tokens, settings)).collect();
        Ok(Drawn { samples, surplus_tokens })
    }
}

// === private ===

fn sample(spec: &SampleSpec, draw: &Draw, prompt_tokens: usize, settings: &Settings) -> Sample {
    let finish = draw.finish.unwrap_or(Finish::None);
    let Parsed { principles, critique, outcome, issues } =
        parse_free(&draw.text, &ScoreShape::new(spec.order.len(), settings.scale), finish);
    Sample {
        spec: spec.clone(),
        principles,
        critique,
        outcome,
        finish,
        issues,
        prompt_tokens: u32::try_from(prompt_tokens).unwrap_or(u32::MAX),
        generated_tokens: draw.tokens,
        meta_score: None,
        hidden_state: None,
    }
}
