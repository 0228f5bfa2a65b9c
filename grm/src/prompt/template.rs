//! Templates: the built-in one, or one from a file.

use std::fmt;
use std::sync::Arc;

use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior};

use super::slots::{CLOSE, OPEN, Slots};
use super::variables::Variables;
use super::{Message, PromptInput, RenderedPrompt, SharedTexts, Variant};
use crate::domain::{Item, Query, Role, Scale, Turn};

/// Increment when the same template would render to different spans than before (escaping, variables).
const RENDER_VERSION: u32 = 3;

const BUILTIN_NAME: &str = "pointwise.j2";
const BUILTIN: &str = include_str!("templates/pointwise.j2");

/// A prompt template in Jinja syntax (minijinja). It renders to one user message; leading and trailing blanks are
/// removed.
///
/// | variable | what it is |
/// |---|---|
/// | `turns` | the conversation, oldest first: `turn.role`, `turn.text` |
/// | `responses` | the responses in the order shown: `response.number` (1..n), `response.text` |
/// | `n` | how many responses are shown |
/// | `reference` | a ground-truth answer, or none |
/// | `criteria`, `principles` | lists of text that the caller brought, or none; never empty lists |
/// | `scale` | `scale.min`, `scale.middle`, `scale.max`, `scale.bands` |
/// | `best` | the number of the best response; none but in the hinted variant |
/// | `box` | the box to ask for, such as `\boxed{x, x}` |
///
/// `turn.role` is `"system"`, `"user"`, `"assistant"`, `"tool"` or `"developer"`. `scale.bands` is four bands as text,
/// lowest first; it is empty for scales of five values or fewer.
///
/// The last turn (what the responses answer) must be shown, and every response exactly once.
///
/// The texts of turns, responses, reference, criteria and principles are opaque: a template places them (each response
/// exactly once) and must not apply filters to them. None of them is ever interpreted as template code.
#[derive(Clone)]
pub struct Template {
    name: Arc<str>,
    digest: Arc<str>,
    source_bytes: usize,
    environment: Arc<Environment<'static>>,
}

/// Why a template cannot be used. Includes the line if there is one (0 if unknown).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template is not valid Jinja syntax.
    #[error("{name}:{line}: {problem}")]
    Syntax {
        /// Name of the template.
        name: String,
        /// Line of the fault, 1-based.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Rendering failed, for example because of an unknown variable.
    #[error("{name}:{line}: {problem}")]
    Render {
        /// Name of the template.
        name: String,
        /// Line of the fault, 1-based.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The template contains a character that is reserved for placeholders.
    #[error("{name}:{line}: U+FDD0 and U+FDD1 are reserved and cannot stand in a template")]
    ReservedCharacter {
        /// Name of the template.
        name: String,
        /// Line of the character, 1-based.
        line: usize,
    },
    /// The template changed an opaque text, for example with a filter.
    #[error("{name}: texts of the item can be placed but not changed; take filters off them")]
    BrokenText {
        /// Name of the template.
        name: String,
    },
    /// The template does not show every response exactly once.
    #[error("{name}: must show every response once, shows response {response} {times} times")]
    MissingResponse {
        /// Name of the template.
        name: String,
        /// The caller's index of the response.
        response: usize,
        /// How often it is shown.
        times: usize,
    },
    /// The template does not show the turn that the responses answer.
    #[error("{name}: must show the query: the text of the last turn, turns[-1].text")]
    MissingQuery {
        /// Name of the template.
        name: String,
    },
    /// The input names a response that the item does not have, or a best response that is not shown.
    #[error("response {response} is not among those that can be shown")]
    NoSuchResponse {
        /// The caller's index.
        response: usize,
    },
}

// === impl Template ===

impl Template {
    /// Jury's own template for pointwise judging.
    ///
    /// # Panics
    /// Never: a test parses it.
    pub fn builtin() -> Self {
        Self::parse(BUILTIN_NAME, BUILTIN).expect("a test parses the builtin template")
    }

    /// Parses a template and tries it on small items, so that errors show at start-up.
    ///
    /// # Errors
    /// [`TemplateError`] for bad syntax, unknown variables, and responses that are not shown.
    pub fn parse(name: &str, source: &str) -> Result<Self, TemplateError> {
        if let Some(at) = source.find([OPEN, CLOSE]) {
            let line = source[..at].matches('\n').count() + 1;
            return Err(TemplateError::ReservedCharacter { name: name.to_owned(), line });
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment
            .add_template_owned(name.to_owned(), source.to_owned())
            .map_err(|error| syntax_error(name, &error))?;
        let template = Self {
            name: name.into(),
            digest: digest(source).into(),
            source_bytes: source.len(),
            environment: environment.into(),
        };
        template.try_out()?;
        Ok(template)
    }

    /// Hex digest of everything that determines the rendering: the source and the rules of this module. The name is not
    /// included.
    pub fn digest(&self) -> String {
        self.digest.to_string()
    }

    /// Bytes of the source: about what a prompt contains in addition to the item's texts.
    pub fn source_bytes(&self) -> usize {
        self.source_bytes
    }

    /// Renders the prompt of one order.
    ///
    /// # Errors
    /// [`TemplateError::NoSuchResponse`] for an index outside the item, and whatever errors the template itself causes.
    pub fn render(&self, input: &PromptInput<'_>) -> Result<RenderedPrompt, TemplateError> {
        self.render_sharing(input, &mut SharedTexts::default())
    }

    /// As [`Self::render`], for one of several orders of an item. `texts` is passed from one call to the next, so that
    /// the prompts share every text.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_sharing<'a>(
        &self,
        input: &PromptInput<'a>,
        texts: &mut SharedTexts<'a>,
    ) -> Result<RenderedPrompt, TemplateError> {
        let n_responses = input.item.responses.len();
        if let Some(&response) = input.order.iter().find(|&&response| response >= n_responses) {
            return Err(TemplateError::NoSuchResponse { response });
        }
        if let Variant::Hinted { best } = input.variant
            && !input.order.contains(&best)
        {
            return Err(TemplateError::NoSuchResponse { response: best });
        }
        let mut slots = Slots::default();
        let variables = Variables::of(input, &mut slots);
        let rendered = self
            .environment
            .get_template(&self.name)
            .and_then(|template| template.render(variables.into_value()))
            .map_err(|error| render_error(&self.name, &error))?;
        let (spans, escaped_markers) = slots.fill(&rendered, &self.name, texts)?;
        Ok(RenderedPrompt { messages: vec![Message { role: Role::User, spans }], escaped_markers })
    }

    /// Renders all kinds of items: one, two and three responses, one turn and several, with and without everything
    /// optional.
    fn try_out(&self) -> Result<(), TemplateError> {
        let turn = |role| Turn { role, content: "t".to_owned() };
        let turns = vec![
            turn(Role::Developer),
            turn(Role::User),
            turn(Role::Assistant),
            turn(Role::Tool),
            turn(Role::User),
        ];
        let list = || Some(vec!["c".to_owned(), "c".to_owned()]);
        let bare = Item::bare(Query::Text("q".to_owned()), vec!["r".to_owned(); 3]);
        let full = Item {
            query: Query::Turns(turns),
            reference: Some("g".to_owned()),
            criteria: list(),
            principles: list(),
            ..bare.clone()
        };
        for item in [&bare, &full] {
            for order in [&[0][..], &[1, 0], &[2, 0, 1]] {
                for variant in [Variant::Plain, Variant::Hinted { best: 0 }] {
                    for scale in [Scale::POINTWISE, Scale::BINARY] {
                        self.render(&PromptInput { item, order, scale, variant })?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("name", &self.name)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

// === private ===

fn digest(source: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("jury.v1 template");
    hasher.update(&RENDER_VERSION.to_le_bytes());
    hasher.update(source.as_bytes());
    hasher.finalize().to_hex().to_string()
}

fn syntax_error(name: &str, error: &Error) -> TemplateError {
    let (line, problem) = place(error);
    TemplateError::Syntax { name: name.to_owned(), line, problem }
}

fn render_error(name: &str, error: &Error) -> TemplateError {
    let (line, problem) = place(error);
    TemplateError::Render { name: name.to_owned(), line, problem }
}

/// The part of the template that failed.
fn expression(error: &Error) -> Option<&str> {
    error.template_source()?.get(error.range()?)
}

fn place(error: &Error) -> (usize, String) {
    let problem = match (error.detail(), expression(error)) {
        (Some(detail), _) => format!("{}: {detail}", error.kind()),
        (None, Some(expression)) => format!("{}: {expression}", error.kind()),
        (None, None) => error.kind().to_string(),
    };
    (error.line().unwrap_or(0), problem)
}
