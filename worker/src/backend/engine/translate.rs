//! Converts our types to the engine's and back. Pure.

use std::sync::Arc;

use jury_engine::{
    Look, Opening, Readout, ReadoutMode, ReadoutOutput, SampleOutput, SampleSpec as EngineSpec,
    Sampling, Watch,
};
use jury_grm::domain::{Finish, Role, Sample, SampleSpec};
use jury_grm::prompt::{Message, Trust};

use crate::reading::{DrawnText, Guide, GuideMode, GuidedScores, Reader, TextWatch};

/// A prompt without the information that only we need: which span is which response.
pub fn prompt(messages: &[Message]) -> jury_engine::Prompt {
    let span = |span: &jury_grm::prompt::Span| jury_engine::Span {
        text: span.text.as_ref().to_owned(),
        trust: match span.trust {
            Trust::Trusted => jury_engine::Trust::Trusted,
            Trust::Untrusted => jury_engine::Trust::Untrusted,
        },
    };
    let message = |message: &Message| jury_engine::Message {
        role: match message.role {
            // Chat templates know three roles; our own prompts are a single user message.
            Role::System | Role::Developer => jury_engine::Role::System,
            Role::User | Role::Tool => jury_engine::Role::User,
            Role::Assistant => jury_engine::Role::Assistant,
        },
        spans: message.spans.iter().map(span).collect(),
    };
    jury_engine::Prompt { messages: messages.iter().map(message).collect() }
}

/// How the engine draws one sample.
pub(super) fn spec(spec: &SampleSpec, reader: &Reader, hidden_states: bool) -> EngineSpec {
    let settings = reader.settings();
    EngineSpec {
        sampling: Sampling {
            temperature: settings.temperature as f32,
            top_p: settings.top_p as f32,
            seed: spec.seed,
        },
        max_tokens: settings.max_critique_tokens as usize,
        watch: Box::new(EngineWatch(reader.watch())),
        readout: reader.guide().map(readout),
        last_hidden: hidden_states,
        ignores_end: false,
    }
}

/// A sample in the caller's terms; `None` if it was cancelled.
pub(super) fn sample(
    spec: SampleSpec,
    reader: &Reader,
    prompt_tokens: u32,
    output: SampleOutput,
) -> Option<Sample> {
    let finish = match output.finish {
        jury_engine::Finish::Stopped => Finish::Box,
        jury_engine::Finish::EndOfText => Finish::EndOfText,
        jury_engine::Finish::Limit => Finish::Limit,
        jury_engine::Finish::Cancelled => return None,
    };
    let generated_tokens = u32::try_from(output.generated_tokens).unwrap_or(u32::MAX);
    let drawn = DrawnText { text: output.text, finish, prompt_tokens, generated_tokens };
    let mut sample = reader.sample(spec, drawn, output.readout.map(guided_scores));
    sample.hidden_state = output.last_hidden.filter(|_| sample.scores().is_some());
    Some(sample)
}

fn readout(guide: Guide) -> Readout {
    let after = guide.clone();
    Readout {
        opening: Arc::new(move |text: &str| after.opening(text)) as Opening,
        slots: guide.slots,
        choices: guide.choices,
        separator: Guide::SEPARATOR.to_owned(),
        closing: Guide::CLOSING.to_owned(),
        mode: match guide.mode {
            GuideMode::Sampled => ReadoutMode::Sampled,
            GuideMode::Expected => ReadoutMode::Expected,
        },
    }
}

fn guided_scores(readout: ReadoutOutput) -> GuidedScores {
    let ReadoutOutput { choices, distributions, mass, forced } = readout;
    GuidedScores { choices, distributions, mass, forced }
}

struct EngineWatch(TextWatch);

impl Watch for EngineWatch {
    fn look(&mut self, text: &str) -> Look {
        if self.0.has_ended(text) { Look::Stop } else { Look::Continue }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::scripted::example_group;

    fn output(finish: jury_engine::Finish) -> SampleOutput {
        SampleOutput {
            text: "Scores: \\boxed{10, 2}".to_owned(),
            tokens: Vec::new(),
            end: None,
            free_text_bytes: 0,
            generated_tokens: 30,
            finish,
            readout: Some(ReadoutOutput {
                choices: vec![9, 1],
                distributions: vec![vec![0.1; 10]; 2],
                mass: 0.5,
                forced: true,
            }),
            last_hidden: Some(vec![0.5, -1.0]),
        }
    }

    fn drawn(finish: jury_engine::Finish) -> Option<Sample> {
        read(output(finish))
    }

    fn read(output: SampleOutput) -> Option<Sample> {
        let group = example_group(1);
        let reader = Reader::new(&group.messages, 2, &group.settings);
        sample(group.samples[0].clone(), &reader, 100, output)
    }

    #[test]
    fn what_the_engine_read_out_survives_the_translation() {
        let sample = drawn(jury_engine::Finish::Limit).unwrap();
        assert_eq!((sample.finish, sample.prompt_tokens), (Finish::Limit, 100));
        let scores = sample.scores().unwrap();
        assert!(scores.forced && scores.readout_mass == Some(0.5));
        assert_eq!(scores.score_distribution, Some(vec![vec![0.1; 10]; 2]));
    }

    #[test]
    fn only_a_scored_sample_has_a_hidden_state() {
        let scored = drawn(jury_engine::Finish::Limit).unwrap();
        assert_eq!(scored.hidden_state, Some(vec![0.5, -1.0]));
        let mut output = output(jury_engine::Finish::Limit);
        output.readout.as_mut().unwrap().mass = 0.0;
        let failed = read(output).unwrap();
        assert!(failed.scores().is_none() && failed.hidden_state.is_none());
    }

    #[test]
    fn a_cancelled_sample_is_no_sample() {
        assert_eq!(drawn(jury_engine::Finish::Cancelled), None);
    }

    #[test]
    fn trust_survives_the_translation() {
        let spans = &prompt(&example_group(1).messages).messages[0].spans;
        let trust: Vec<_> = spans.iter().map(|span| span.trust).collect();
        use jury_engine::Trust::{Trusted, Untrusted};
        assert_eq!(trust, [Trusted, Untrusted, Trusted, Untrusted]);
    }
}
