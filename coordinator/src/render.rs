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
    /// One prompt per order, shared by all its calls; prompts share their texts.
    pub(crate) prompts: BTreeMap<Vec<usize>, Arc<[Message]>>,
    /// Escaped marker lines, in the prompt that has the most: the orders of one panel have equally many.
    pub(crate) escaped_markers: u32,
}

/// Renders every order of `plan` once.
///
/// # Errors
/// A template that fails on this item is a configuration error: [`ErrorCode::Internal`].
pub(crate) fn render(
    template: &Template,
    request: &ScoreRequest,
    plan: &Plan,
) -> Result<Rendered, JuryError> {
    let mut prompts = BTreeMap::new();
    let mut escaped_markers = 0;
    let mut texts = SharedTexts::default();
    // A duplicate is shown as the response with the lowest index of the same text.
    let hint = request.item.best.filter(|_| request.hinted).map(|best| plan.duplicate_of[best]);
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
                    variant: match hint {
                        Some(best) if spec.order.contains(&best) => Variant::Hinted { best },
                        _ => Variant::Plain,
                    },
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

#[cfg(test)]
mod tests {
    use jury_grm::domain::{Item, Query};
    use jury_grm::plan::plan;

    use super::*;

    fn texts(hinted: bool) -> Vec<String> {
        let responses = ["It is Lyon.", "It is Paris.", "It is Paris."].map(str::to_owned);
        let item = Item::bare(Query::Text("The capital?".to_owned()), responses.to_vec());
        let mut request = ScoreRequest::new(Item { best: Some(2), ..item });
        request.settings.k = 2;
        request.hinted = hinted;
        let rendered = render(&Template::builtin(), &request, &plan(&request)).unwrap();
        let text = |(order, messages): (Vec<usize>, Arc<[Message]>)| {
            let spans = messages.iter().flat_map(|message| &message.spans);
            let text: String = spans.map(|span| &*span.text).collect();
            let place = order.iter().position(|&response| response == 1).unwrap() + 1;
            text.replace(&format!("The best response is: Response {place}\n"), "HINT\n")
        };
        rendered.prompts.into_iter().map(text).collect()
    }

    #[test]
    fn a_hint_names_the_place_of_the_best_response_in_each_order_and_nothing_does_without_one() {
        assert!(texts(true).iter().all(|text| text.contains("HINT")), "{:?}", texts(true));
        let plain = texts(false);
        assert_eq!(plain.len(), 2);
        assert!(plain.iter().all(|text| !text.contains("best response")));
    }
}
