//! Renders the prompt of every distinct order of a plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use jury_grm::domain::ScoreRequest;
use jury_grm::plan::Plan;
use jury_grm::prompt::{Message, PromptInput, SharedTexts, Template, Variant};
use jury_proto::{ErrorCode, JuryError};

/// The prompts of a plan.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    /// One prompt an order, shared by all calls for it; prompts share their texts.
    pub(crate) prompts: BTreeMap<Vec<usize>, Arc<[Message]>>,
    /// Marker lines that were escaped, in the prompt that has most: orders of one panel agree.
    pub(crate) escaped_markers: u32,
}

/// Renders every order of `plan` once.
///
/// # Errors
/// A template that fails on this item is a fault of the configuration: [`ErrorCode::Internal`].
pub(crate) fn render(
    template: &Template,
    request: &ScoreRequest,
    plan: &Plan,
) -> Result<Rendered, JuryError> {
    let mut prompts = BTreeMap::new();
    let mut escaped_markers = 0;
    let mut texts = SharedTexts::default();
    for spec in plan.samples.iter().chain(&plan.spares) {
        if prompts.contains_key(&spec.order) {
            continue;
        }
        let rendered = template
            .render_sharing(
                &PromptInput {
                    item: &request.item,
                    order: &spec.order,
                    scale: request.settings.scale,
                    variant: Variant::Plain,
                },
                &mut texts,
            )
            .map_err(|error| {
                JuryError::new(ErrorCode::Internal, format!("the prompt template failed: {error}"))
            })?;
        escaped_markers = escaped_markers.max(rendered.escaped_markers);
        prompts.insert(spec.order.clone(), rendered.messages.into());
    }
    Ok(Rendered { prompts, escaped_markers })
}
