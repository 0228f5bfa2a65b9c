//! Our words to the engine's and back. Pure.

use std::sync::Arc;

use jury_engine::{
    Look, Opening, Readout as EngineReadout, ReadoutMode, ReadoutOutput, SampleOutput,
    SampleSpec as EngineSpec, Sampling, Watch,
};
use jury_grm::domain::{
    Failure, FailureKind, Finish, Issue, Outcome, Readout, Role, Sample, SampleSpec, Scale, Scores,
    Settings,
};
use jury_grm::guide::{CLOSING, CritiqueWatch, SEPARATOR, opening};
use jury_grm::parse::{Parsed, ScoreBoxWatch, ScoreShape, parse_free};
use jury_grm::prompt::{Message, Trust};
use jury_proto::convert::SampleGroup;

/// A prompt without what only we need to know: which span is which response.
pub fn prompt(messages: &[Message]) -> jury_engine::Prompt {
    let span = |span: &jury_grm::prompt::Span| jury_engine::Span {
        text: span.text.clone(),
        trust: match span.trust {
            Trust::Trusted => jury_engine::Trust::Trusted,
            Trust::Untrusted => jury_engine::Trust::Untrusted,
        },
    };
    let message = |message: &Message| jury_engine::Message {
        role: match message.role {
            // Chat templates know three roles; our own prompts are one message of the user.
            Role::System | Role::Developer => jury_engine::Role::System,
            Role::User | Role::Tool => jury_engine::Role::User,
            Role::Assistant => jury_engine::Role::Assistant,
        },
        spans: message.spans.iter().map(span).collect(),
    };
    jury_engine::Prompt { messages: messages.iter().map(message).collect() }
}

/// The response with the most tokens, by the caller's index, and its tokens; ties go to the lowest index.
pub(super) fn longest_response(
    messages: &[Message],
    count_tokens: impl Fn(&str) -> usize,
) -> Option<(usize, usize)> {
    messages
        .iter()
        .flat_map(|message| &message.spans)
        .filter_map(|span| Some((span.response?, count_tokens(&span.text))))
        .max_by_key(|&(response, tokens)| (tokens, std::cmp::Reverse(response)))
}

/// What the scores of a group's samples must look like. They share a prompt, so the same scores are
/// planted for all of them; where the engine reads scores from its own state, none can be.
pub(super) fn shape(group: &SampleGroup) -> ScoreShape {
    let n_shown = group.samples.first().map_or(0, |spec| spec.order.len());
    let scale = group.settings.scale;
    match group.settings.readout {
        Readout::Free => ScoreShape::of_prompt(&group.messages, n_shown, scale),
        Readout::Sampled | Readout::Expected => ScoreShape::new(n_shown, scale),
    }
}

/// How the engine draws one sample.
pub(super) fn spec(spec: &SampleSpec, settings: &Settings, shape: &ScoreShape) -> EngineSpec {
    let n_shown = spec.order.len();
    let mode = match settings.readout {
        Readout::Free => None,
        Readout::Sampled => Some(ReadoutMode::Sampled),
        Readout::Expected => Some(ReadoutMode::Expected),
    };
    EngineSpec {
        sampling: Sampling {
            temperature: settings.temperature as f32,
            top_p: settings.top_p as f32,
            seed: spec.seed,
        },
        max_tokens: settings.max_critique_tokens as usize,
        watch: match mode {
            None => Box::new(BoxWatch(ScoreBoxWatch::new(shape.clone()))),
            Some(_) => Box::new(EndOfCritique(CritiqueWatch::default())),
        },
        readout: mode.map(|mode| EngineReadout {
            opening: Arc::new(|text: &str| opening(text)) as Opening,
            slots: n_shown,
            choices: settings.scale.choices(),
            separator: SEPARATOR.to_owned(),
            closing: CLOSING.to_owned(),
            mode,
        }),
        last_hidden: false,
        ignores_end: false,
    }
}

/// A sample as its caller knows it; `None` when it was cancelled.
pub(super) fn sample(
    spec: SampleSpec,
    settings: &Settings,
    shape: &ScoreShape,
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
    // A guided text ends in a score line of the engine's own writing, so the same reading finds its sections.
    let parsed = parse_free(&output.text, shape, finish);
    let Parsed { principles, critique, outcome, issues } = parsed;
    let (outcome, issues) = match output.readout {
        None if settings.readout.is_guided() => (unread(), Vec::new()),
        None => (outcome, issues),
        Some(readout) => (guided_outcome(readout, settings), of_guided_text(issues)),
    };
    Some(Sample {
        spec,
        principles,
        critique,
        outcome,
        finish,
        issues,
        prompt_tokens,
        generated_tokens,
    })
}

/// Scores from the engine's own state, never from text.
fn guided_outcome(readout: ReadoutOutput, settings: &Settings) -> Outcome {
    let (mass, min_mass) = (readout.mass, settings.min_readout_mass);
    // Written so that a mass that is no number fails too.
    let has_enough_mass = mass >= min_mass;
    if !has_enough_mass {
        let detail = format!(
            "the model gave the legal scores a probability of {mass:.6}, less than min_readout_mass = {min_mass}"
        );
        return Outcome::Failed { failure: Failure { kind: FailureKind::LowReadoutMass, detail } };
    }
    let scale = settings.scale;
    let scores = match settings.readout {
        Readout::Expected => {
            readout.distributions.iter().map(|distribution| mean(distribution, scale)).collect()
        }
        Readout::Free | Readout::Sampled => {
            readout.choices.iter().map(|&choice| score_of(choice, scale)).collect()
        }
    };
    Outcome::Scored(Scores {
        scores,
        score_distribution: Some(readout.distributions),
        readout_mass: Some(mass),
        forced: readout.forced,
    })
}

/// A guided sample whose scores the engine did not read, though it was not cancelled.
fn unread() -> Outcome {
    let detail = "the engine ended the sample without its read-out".to_owned();
    Outcome::Failed { failure: Failure { kind: FailureKind::Worker, detail } }
}

/// Oddities of score boxes mean nothing where no box was read.
fn of_guided_text(mut issues: Vec<Issue>) -> Vec<Issue> {
    issues.retain(|issue| *issue == Issue::NoAnalysisHeading);
    issues
}

/// The score that the engine calls choice number `choice`.
fn score_of(choice: usize, scale: Scale) -> f64 {
    f64::from(scale.min) + choice as f64
}

/// Mean of a distribution over the legal scores, summed from the lowest; kept on the scale against rounding.
fn mean(distribution: &[f64], scale: Scale) -> f64 {
    let weighted =
        distribution.iter().enumerate().map(|(choice, share)| score_of(choice, scale) * share);
    weighted.sum::<f64>().clamp(f64::from(scale.min), f64::from(scale.max))
}

/// Ends a guided sample's free text where its critique ends.
struct EndOfCritique(CritiqueWatch);

impl Watch for EndOfCritique {
    fn look(&mut self, text: &str) -> Look {
        if self.0.look(text) { Look::Stop } else { Look::Continue }
    }
}

/// Ends a free sample where its score box is complete.
struct BoxWatch(ScoreBoxWatch);

impl Watch for BoxWatch {
    fn look(&mut self, text: &str) -> Look {
        if self.0.look(text) { Look::Stop } else { Look::Continue }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::scripted::example_group;

    const TEXT: &str = "Specific Criteria: truth\n\nAnalysis: the first is right.\n\n";

    fn output(readout: Option<ReadoutOutput>) -> SampleOutput {
        SampleOutput {
            text: format!("{TEXT}Scores: \\boxed{{10, 2}}"),
            free_text_bytes: TEXT.len(),
            generated_tokens: 30,
            finish: jury_engine::Finish::Stopped,
            readout,
            last_hidden: None,
        }
    }

    fn readout(mass: f64) -> ReadoutOutput {
        let mut first = vec![0.0; 10];
        (first[8], first[9]) = (0.25, 0.75);
        let mut second = vec![0.0; 10];
        second[1] = 1.0;
        ReadoutOutput {
            choices: vec![9, 1],
            distributions: vec![first, second],
            mass,
            forced: true,
        }
    }

    fn drawn(settings: &Settings, output: SampleOutput) -> Sample {
        let group = example_group(1);
        let group = SampleGroup { settings: settings.clone(), ..group };
        sample(group.samples[0].clone(), settings, &shape(&group), 100, output).unwrap()
    }

    #[test]
    fn sampled_scores_are_the_choices_drawn_and_keep_their_distribution() {
        let settings = Settings { readout: Readout::Sampled, ..Settings::default() };
        let sample = drawn(&settings, output(Some(readout(0.5))));
        let scores = sample.scores().unwrap();
        assert_eq!(scores.scores, [10.0, 2.0]);
        assert_eq!(scores.score_distribution.as_ref().unwrap()[0].len(), 10);
        assert!(scores.forced && scores.readout_mass == Some(0.5));
        assert_eq!(sample.principles, "truth");
        assert_eq!(sample.critique, "the first is right.");
        assert!(sample.issues.is_empty());
    }

    #[test]
    fn expected_scores_are_means_on_the_scale() {
        let settings = Settings { readout: Readout::Expected, ..Settings::default() };
        let sample = drawn(&settings, output(Some(readout(0.5))));
        assert_eq!(sample.scores().unwrap().scores, [9.75, 2.0]);
        let over = [0.0, 1.0 + 1e-12];
        assert_eq!(mean(&over, Scale::BINARY), 1.0);
    }

    #[test]
    fn too_little_mass_fails_the_sample_and_so_does_no_number() {
        for mass in [0.009, 0.0, f64::NAN] {
            let sample = drawn(&Settings::default(), output(Some(readout(mass))));
            assert_eq!(sample.failure().unwrap().kind, FailureKind::LowReadoutMass);
            assert_eq!(sample.critique, "the first is right.");
        }
        assert!(drawn(&Settings::default(), output(Some(readout(0.01)))).scores().is_some());
    }

    #[test]
    fn a_free_samples_scores_come_from_its_text() {
        let settings = Settings { readout: Readout::Free, ..Settings::default() };
        let sample = drawn(&settings, output(None));
        assert_eq!(sample.scores().unwrap().scores, [10.0, 2.0]);
        assert_eq!(sample.scores().unwrap().readout_mass, None);
    }

    #[test]
    fn text_never_stands_in_for_a_read_out_that_is_missing() {
        let sample = drawn(&Settings::default(), output(None));
        assert_eq!(sample.failure().unwrap().kind, FailureKind::Worker);
    }

    #[test]
    fn a_cancelled_sample_is_no_sample() {
        let cancelled = SampleOutput { finish: jury_engine::Finish::Cancelled, ..output(None) };
        let spec = example_group(1).samples[0].clone();
        let shape = shape(&example_group(1));
        assert_eq!(sample(spec, &Settings::default(), &shape, 100, cancelled), None);
    }

    #[test]
    fn the_longest_response_is_named_by_the_callers_index() {
        let messages = example_group(1).messages;
        assert_eq!(longest_response(&messages, str::len), Some((1, 20)));
        assert_eq!(longest_response(&messages, |_| 7), Some((0, 7)));
        assert_eq!(longest_response(&[], str::len), None);
    }

    #[test]
    fn trust_survives_the_translation() {
        let spans = &prompt(&example_group(1).messages).messages[0].spans;
        let trust: Vec<_> = spans.iter().map(|span| span.trust).collect();
        use jury_engine::Trust::{Trusted, Untrusted};
        assert_eq!(trust, [Trusted, Untrusted, Trusted, Untrusted]);
    }
}
