//! The prompt of a round: the built-in template with a new item.

use jury_engine::Tokenizer;
use jury_grm::domain::{Item, SampleSpec, ScoreRequest, Settings};
use jury_grm::plan::plan;
use jury_grm::prompt::{PromptInput, Template, Variant};
use jury_proto::convert::SampleGroup;
use jury_worker::backend::engine::engine_prompt;

use crate::verdicts::warm_up_item;

/// k samples of one order of a new item; its query begins with `name`.
pub fn group(name: &str, k: u32, settings: &Settings) -> anyhow::Result<SampleGroup> {
    let settings = Settings { k, ..settings.clone() };
    let item = Item {
        query: jury_grm::domain::Query::Text(format!("{name}: name an even number, and say why.")),
        ..warm_up_item()
    };
    let request = ScoreRequest { settings: settings.clone(), ..ScoreRequest::new(item) };
    let specs = plan(&request).samples;
    let order = specs.first().map(|spec| spec.order.clone()).unwrap_or_default();
    let rendered = Template::builtin().render(&PromptInput {
        item: &request.item,
        order: &order,
        scale: settings.scale,
        variant: Variant::Plain,
    })?;
    let samples =
        specs.into_iter().map(|spec| SampleSpec { order: order.clone(), ..spec }).collect();
    Ok(SampleGroup {
        // Only the service checks them, and it is not used here.
        model_digest: String::new(),
        numerics: String::new(),
        method_version: jury_grm::method_version(),
        messages: rendered.messages,
        samples,
        settings,
        request_id: name.to_owned(),
        remaining_ms: None,
        head_digest: None,
        hidden_states: false,
        cache_salt: None,
    })
}

/// The same prompt, as the worker sends it.
pub fn tokens(group: &SampleGroup, tokenizer: &Tokenizer) -> anyhow::Result<Vec<u32>> {
    Ok(tokenizer.encode(&engine_prompt(&group.messages))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_of_a_round_share_a_prompt_that_no_other_round_has() {
        let group = |name| group(name, 8, &Settings::default()).unwrap();
        let one = group("a-1");
        assert_eq!(one.samples.len(), 8);
        assert!(one.samples.iter().all(|spec| spec.order == one.samples[0].order));
        assert_ne!(one.messages, group("a-2").messages);
    }
}
