//! Questions to models that read texts, about items: assistant turns, each after a prompt.

use std::collections::BTreeMap;

use jury_grm::domain::{Item, Sample, Turn, Verdict};
use jury_grm::prompt::{Message, PromptInput, Span, Template, TemplateError, Trust, Variant};
use jury_grm::{method_digest, trajectory};

/// A question about one item.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The item.
    pub item_id: String,
    /// Prompts, each with its assistant turns. The indices over all of them are `0..n`, each once.
    pub said: Vec<(Vec<Message>, Vec<Said>)>,
}

/// A turn of the assistant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its number within the item.
    pub index: u32,
    /// Its text.
    pub text: String,
}

/// Why the prompts that samples saw cannot be rendered again.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The samples saw other prompts.
    #[error(
        "item {0:?} was judged with another template or an older method; name its --template, or judge it anew"
    )]
    OtherMethod(String),
    /// The template fails.
    #[error("--template")]
    Template(#[from] TemplateError),
}

// === impl Asked ===

impl Asked {
    /// The samples with scores, numbered in order, under the prompts that they saw: the input of a Meta RM.
    ///
    /// # Errors
    /// [`AskError`] if the samples saw other prompts than `template` produces.
    pub fn of_samples(
        item: &Item,
        verdict: &Verdict,
        template: &Template,
    ) -> Result<Asked, AskError> {
        let mut by_order = BTreeMap::<&[usize], Vec<Said>>::new();
        let samples = verdict.samples.iter().flatten();
        let said = samples.filter_map(|sample| Some((sample, trajectory::text(sample)?)));
        for (index, (sample, text)) in (0..).zip(said) {
            by_order.entry(&sample.spec.order).or_default().push(Said { index, text });
        }
        if !by_order.is_empty() {
            same_method(verdict, template)?;
        }
        let scale = verdict.provenance.settings.scale;
        let render = |(order, said): (&[usize], Vec<Said>)| {
            let input = PromptInput { item, order, scale, variant: Variant::Plain };
            Ok((template.render(&input)?.messages, said))
        };
        let said = by_order.into_iter().map(render).collect::<Result<_, AskError>>()?;
        Ok(Asked { item_id: item.id.clone(), said })
    }

    /// The conversation, with each response as the assistant's next turn: the input of a scalar reward model.
    pub fn of_responses(item: &Item) -> Asked {
        let message = |turn: Turn| {
            let span = Span { text: turn.content.into(), trust: Trust::Untrusted, response: None };
            Message { role: turn.role, spans: vec![span] }
        };
        let messages = item.query.turns().into_iter().map(message).collect();
        let said = (0..).zip(&item.responses);
        let said = said.map(|(index, text)| Said { index, text: text.clone() }).collect();
        Asked { item_id: item.id.clone(), said: vec![(messages, said)] }
    }

    /// Number of turns over all prompts.
    pub fn n_said(&self) -> usize {
        self.said.iter().map(|(_, said)| said.len()).sum()
    }

    /// Digest over all texts and their lengths, hex: other samples of an item are another question.
    pub fn digest(&self) -> String {
        let mut bytes = Vec::new();
        let mut put = |text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        for (messages, said) in &self.said {
            for span in messages.iter().flat_map(|message| &message.spans) {
                put(&span.text);
            }
            said.iter().for_each(|said| put(&said.text));
        }
        crate::digest(&bytes)
    }
}

/// Checks that the samples of a verdict saw the prompts that `template` produces.
///
/// # Errors
/// [`AskError::OtherMethod`].
pub fn same_method(verdict: &Verdict, template: &Template) -> Result<(), AskError> {
    match verdict.provenance.method_digest == method_digest(template) {
        true => Ok(()),
        false => Err(AskError::OtherMethod(verdict.item_id.clone())),
    }
}

/// The samples of a verdict that [`Asked::of_samples`] numbers, in the same order.
pub fn asked_samples(verdict: &mut Verdict) -> impl Iterator<Item = &mut Sample> {
    verdict.samples.iter_mut().flatten().filter(|sample| sample.scores().is_some())
}
