//! One model: loaded, and measured in rounds beside the peer.

use jury_engine::limits::{Limits, ModelCost, Work};
use jury_engine::measure::{MeasureError, Workload, prompt, run as time, run_together};
use jury_engine::{DeviceKind, Engine, EngineConfig};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::load_failed;

use super::config::Config;
use super::report::{Memory, Row};
use super::series::{Best, Series};
use crate::models::BenchModel;
use crate::peer::{Answer, Peer, Question, Setting};

/// Extra KV cache tokens per prompt or sample: more than one partially filled page.
const SLACK_TOKENS: usize = 128;

/// A model that is being measured.
pub struct Subject<'a> {
    model: &'a BenchModel,
    config: &'a Config,
    limits: &'a Limits,
    peer: Option<&'a Peer>,
    meter: &'a Meter,
    engine: Engine,
    cost: ModelCost,
    /// Whether attention shares the prompt.
    shares: bool,
    /// Seeds of the next samples.
    seed: u64,
}

/// Measurements with samples of one length.
struct Decoding {
    generated: usize,
    /// One for each number of samples.
    series: Vec<Series>,
}

// === impl Subject ===

impl<'a> Subject<'a> {
    pub fn load(
        model: &'a BenchModel,
        config: &'a Config,
        limits: &'a Limits,
        peer: Option<&'a Peer>,
        meter: &'a Meter,
        shares: bool,
    ) -> Result<Self, Failed> {
        let cost = ModelCost::of_file(&model.path).map_err(load_failed)?;
        let longest = config.groups * (config.longest_prompt() + SLACK_TOKENS)
            + config.groups * config.most_samples() * (config.most_generated() + SLACK_TOKENS);
        let engine = EngineConfig {
            threads: Some(config.threads),
            device: config.device,
            card_weights: config.card_weights,
            card_shares: shares,
            max_sequences: Some(config.groups * config.most_samples()),
            // The peer has no drafts, and the text of a measurement does not show how many a real text would accept.
            drafts: false,
            kv_budget_bytes: (config.device == DeviceKind::Cpu)
                .then_some(cost.kv_bytes_per_token * (longest + SLACK_TOKENS) as u64),
            ..EngineConfig::default()
        };
        let engine = Engine::load(&model.path, &engine).map_err(load_failed)?;
        Ok(Self { model, config, limits, peer, meter, engine, cost, shares, seed: 0 })
    }

    /// GPU memory used by the model.
    pub fn memory(&self) -> Option<Memory> {
        self.engine.card_memory().map(|memory| Memory {
            weights_bytes: memory.weight_bytes,
            kv_bytes: memory.kv_bytes,
            buffer_bytes: memory.buffer_bytes,
        })
    }

    /// Measures everything with prompts of this length: one row for the prefill, and one for each decoding.
    /// `after_round` receives the rows so far.
    pub fn measure(
        &mut self,
        prompt_tokens: usize,
        mut after_round: impl FnMut(&[Row]) -> Result<(), Failed>,
    ) -> Result<Vec<Row>, Failed> {
        let tokens = (1..=self.config.groups)
            .map(|number| prompt(&self.engine, prompt_tokens, number))
            .collect::<Result<Vec<_>, _>>()
            .or_exit(Exit::Internal)?;
        let mut prefill = Series::default();
        let mut decodings: Vec<Decoding> = Vec::new();
        for &generated in &self.config.generated {
            let best = self.warm_up(&tokens, generated)?;
            let mut decodes = vec![Series::default(); self.config.k.len()];
            for round in 0..self.config.rounds {
                let ours_first = round % 2 == 0;
                if ours_first {
                    self.ours(&tokens, generated, &mut prefill, &mut decodes)?;
                }
                if let (Some(peer), Some(best)) = (self.peer, &best) {
                    self.theirs(peer, best, prompt_tokens, generated, &mut prefill, &mut decodes)?;
                }
                if !ours_first {
                    self.ours(&tokens, generated, &mut prefill, &mut decodes)?;
                }
                let current = Decoding { generated, series: decodes.clone() };
                let finished = decodings.iter().chain([&current]);
                after_round(&self.rows(prompt_tokens, &prefill, finished))?;
            }
            decodings.push(Decoding { generated, series: decodes });
        }
        Ok(self.rows(prompt_tokens, &prefill, decodings.iter()))
    }

    fn rows<'b>(
        &self,
        prompt_tokens: usize,
        prefill: &Series,
        decodings: impl Iterator<Item = &'b Decoding>,
    ) -> Vec<Row> {
        let mut rows: Vec<Row> = self.prefill_row(prompt_tokens, prefill).into_iter().collect();
        for Decoding { generated, series } in decodings {
            for (&samples, series) in self.config.k.iter().zip(series) {
                rows.extend(self.decode_row(prompt_tokens, *generated, samples, series));
            }
        }
        rows
    }

    /// Runs everything once without counting it. Returns the peer's best setting for each cell.
    fn warm_up(&mut self, tokens: &[Vec<u32>], generated: usize) -> Result<Option<Best>, Failed> {
        let (mut prefill, mut decodes) =
            (Series::default(), vec![Series::default(); self.config.k.len()]);
        self.ours(tokens, generated, &mut prefill, &mut decodes)?;
        let Some(peer) = self.peer else { return Ok(None) };
        let mut tried = Vec::new();
        for setting in Setting::ALL {
            tried.push((
                setting,
                self.ask(peer, setting, &self.config.k, tokens[0].len(), generated)?,
            ));
        }
        Ok(Best::of(&tried))
    }

    /// One round of our engine: every number of samples, each from a cold cache.
    fn ours(
        &mut self,
        tokens: &[Vec<u32>],
        generated: usize,
        prefill: &mut Series,
        decodes: &mut [Series],
    ) -> Result<(), Failed> {
        let mut prefills = Vec::new();
        for (&samples, series) in self.config.k.iter().zip(decodes) {
            let what = format!(
                "{}, prompt {}, k {samples}, {generated} generated",
                self.model.name,
                tokens[0].len()
            );
            self.meter.run(&format!("{what}: ours"));
            let mut workloads = Vec::new();
            for prompt in tokens {
                let prompt = prompt.clone();
                workloads.push(Workload { prompt, samples, generated, seed: self.seed });
                self.seed += samples as u64;
            }
            let timing = match workloads.len() {
                1 => time(&mut self.engine, &workloads),
                _ => run_together(&mut self.engine, &workloads),
            };
            let timing = timing.map_err(|error| not_measured(error, &what))?;
            prefills.push(timing.prefill_rate());
            series.add_ours(timing.decode_rate());
            series.add_completeness(timing.decode_tokens, timing.decode_tokens_asked);
            self.meter.run_done();
        }
        prefill.add_ours_of_round(&prefills);
        Ok(())
    }

    /// One round of the peer: each cell with its best setting.
    fn theirs(
        &self,
        peer: &Peer,
        best: &Best,
        prompt_tokens: usize,
        generated: usize,
        prefill: &mut Series,
        decodes: &mut [Series],
    ) -> Result<(), Failed> {
        for setting in Setting::ALL {
            let mut numbers = best.numbers_for(setting, &self.config.k);
            if numbers.is_empty() && best.prefill == setting {
                // Runs only for its prefill, with the cheapest decoding.
                numbers.extend(self.config.k.first());
            }
            if numbers.is_empty() {
                continue;
            }
            let answers = self.ask(peer, setting, &numbers, prompt_tokens, generated)?;
            if best.prefill == setting {
                let rates: Vec<f64> = answers.iter().map(|answer| answer.prefill_rate).collect();
                prefill.add_theirs_of_round(&rates, setting);
            }
            for answer in answers {
                let index = self.config.k.iter().position(|&k| k == answer.k);
                if let Some(index) = index.filter(|&index| best.decode(index) == Some(setting)) {
                    decodes[index].add_theirs(answer.decode_rate, setting);
                }
            }
        }
        Ok(())
    }

    fn ask(
        &self,
        peer: &Peer,
        setting: Setting,
        k: &[usize],
        prompt: usize,
        generated: usize,
    ) -> Result<Vec<Answer>, Failed> {
        let what = format!("{}, prompt {prompt}, {generated} generated", self.model.name);
        self.meter.run(&format!("{what}: llama.cpp {}", setting.describe()));
        let (model, threads) = (self.model.path.as_path(), self.config.threads);
        let answers = peer.ask(&Question { model, threads, prompt, generated, k, setting });
        self.meter.run_done();
        answers
    }

    fn prefill_row(&self, prompt: usize, series: &Series) -> Option<Row> {
        let work = Work::Prefill { prompt: prompt as u64 };
        let bound = self.limits.bound(&self.cost, work);
        Row::new(self.model, prompt, None, series, bound).map(|row| self.placed(row))
    }

    fn decode_row(
        &self,
        prompt: usize,
        generated: usize,
        samples: usize,
        series: &Series,
    ) -> Option<Row> {
        let work = Work::DecodeStep {
            prompt: prompt as u64,
            // On average over the steps.
            generated: generated as u64 / 2,
            samples: samples as u64,
        };
        let bound = self.limits.bound(&self.cost, work);
        Row::new(self.model, prompt, Some((samples, generated)), series, bound)
            .map(|row| self.placed(row))
    }

    /// Adds how a row was measured. The limits apply to this machine's CPU and a single prompt.
    fn placed(&self, row: Row) -> Row {
        let (groups, sharing) = (self.config.groups, self.shares);
        let is_bound = self.config.device == DeviceKind::Cpu && groups == 1;
        let (bound, share) =
            (row.bound.filter(|_| is_bound), row.share_of_bound.filter(|_| is_bound));
        Row { groups, sharing, bound, share_of_bound: share, ..row }
    }
}

/// A measurement without a meaningful result is an internal error; one that cannot be made is the caller's.
fn not_measured(error: MeasureError, what: &str) -> Failed {
    let exit = match &error {
        MeasureError::Submit(_) => Exit::Usage,
        _ => Exit::Internal,
    };
    Failed::new(exit, anyhow::Error::new(error).context(what.to_owned()))
}
