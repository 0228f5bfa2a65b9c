//! Everything needed to draw the same samples again, and the cost.

use std::time::Duration;

use jury_grm::domain::Verdict;
use maud::{Markup, html};

use crate::text::line;
use crate::words;

pub(super) fn section(verdict: &Verdict) -> Markup {
    let (from, run, usage) = (&verdict.provenance, &verdict.run, verdict.usage);
    let settings = &from.settings;
    let or_none = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), line);
    let milliseconds = |ms| words::took(Duration::from_millis(ms));
    html! {
        section aria-labelledby="provenance" {
            div.heading { h2 #provenance { "Provenance" } p { "everything needed to draw the same samples again" } }
            dl.facts {
                (fact("Model", &or_none(&from.model)))
                (code("Model digest", &or_none(&from.model_digest)))
                (fact("Numerics", &or_none(&from.numerics)))
                (code("Method digest", &line(&from.method_digest)))
                @if from.meta_digest.is_some() { (code("Meta RM's digest", &or_none(&from.meta_digest))) }
                @if from.meta_numerics.is_some() { (fact("Meta RM's numerics", &or_none(&from.meta_numerics))) }
                (fact("Reproducible", words::reproducible(from.reproducible)))
                (fact("Seed", &from.seed.to_string()))
                (fact("Samples", &format!("k {}, temperature {}, top-p {}, at most {} tokens of critique", settings.k, settings.temperature, settings.top_p, settings.max_critique_tokens)))
                (fact("Read-out", &format!("{}, scores {} to {}", words::readout(settings.readout), settings.scale.min, settings.scale.max)))
                (fact("Vote", &words::rule(&from.voting)))
                @if from.hinted { (fact("Hint", "prompts named the best response")) }
                @if let Some(n) = from.min_samples { (fact("Fewest samples", &n.to_string())) }
                (fact("Stop", &format!("{}; {}", words::stop_rule(from.voting.stop), words::stopped_by(verdict.stopped_by))))
                @if let Some(panel) = from.forced_panel { (fact("Panels", &format!("the context forced panels of {panel} responses"))) }
                @if from.escaped_markers > 0 { (fact("Escaped markers", &format!("{} lines of the responses looked like the template's own and were escaped", from.escaped_markers))) }
                (fact("Tokens", &format!("{} of prompts ({} of them cached), {} generated, {} for nothing", words::thousands(usage.prompt_tokens), words::thousands(run.cached_tokens), words::thousands(usage.generated_tokens), words::thousands(run.wasted_tokens))))
                (fact("Time", &format!("{}, {} of it waiting", milliseconds(run.total_ms), milliseconds(run.queue_ms))))
                @if run.reissued + run.hedged > 0 { (fact("Drawn again", &format!("{} after their worker was lost, {} beside a straggler", run.reissued, run.hedged))) }
                (fact("Workers", &run.workers.iter().map(|id| line(id)).collect::<Vec<_>>().join(", ")))
                (code("Request id", &line(&run.request_id)))
                (fact("Version", &line(&from.version)))
            }
        }
    }
}

fn fact(name: &str, value: &str) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn code(name: &str, value: &str) -> Markup {
    html! { div { dt { (name) } dd { code { (value) } } } }
}
