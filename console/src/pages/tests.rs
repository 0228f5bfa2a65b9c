//! Whatever a response, a critique, an id or a worker contains, a page has the same elements and attributes as a page
//! with harmless text.

use std::sync::Arc;
use std::time::SystemTime;

use jury_client::{FleetStatus, HeadStatus, WorkerStatus};
use jury_coordinator::observe::{RequestNumber, Seen};
use jury_grm::domain::*;
use maud::Markup;
use proptest::prelude::*;
use scraper::{CaseSensitivity, Html, Node};

use crate::board::{Case, Figures, Limits, Running};
use crate::pages::{fleet, recent, request, running, verdict};
use crate::viewer::Viewer;

/// All text that comes from outside.
#[derive(Debug, Clone)]
struct Written {
    id: String,
    query: String,
    responses: [String; 2],
    critique: String,
    name: String,
}

/// Markup, marks and line ends, mixed with arbitrary text.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("<script>alert(1)</script>".to_owned()),
        Just("</title><svg onload=alert(1)>".to_owned()),
        Just("\" onmouseover=\"alert(1)".to_owned()),
        Just("'><img src=x onerror=alert(1)>".to_owned()),
        Just("</div></details></main><iframe srcdoc=x>".to_owned()),
        Just("<!--".to_owned()),
        Just("]]><plaintext>".to_owned()),
        Just("&lt;b&gt;&#x3c;&amp".to_owned()),
        Just("\u{202e}\u{2066}\u{200b}\0\u{1b}[31m\r\n".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(pieces, 1..5).prop_map(|pieces| format!("a{}", pieces.concat()))
}

fn written() -> impl Strategy<Value = Written> {
    (hostile(), hostile(), [hostile(), hostile()], hostile(), hostile()).prop_map(
        |(id, query, responses, critique, name)| Written { id, query, responses, critique, name },
    )
}

/// The same structure with harmless words.
fn tame(written: &Written) -> Written {
    // Where the page depends on the length of a text, the length is the same.
    let [first, second] = &written.responses;
    let second = if first == second { "first" } else { "second" };
    Written {
        id: "id".to_owned(),
        query: "q".repeat(written.query.len()),
        responses: ["first".to_owned(), second.to_owned()],
        critique: if written.critique == written.name { "name" } else { "critique" }.to_owned(),
        name: "name".to_owned(),
    }
}

fn asked(written: &Written) -> ScoreRequest {
    let Written { id, query, responses, critique, name } = written;
    let item = Item {
        id: id.clone(),
        reference: Some(critique.clone()),
        criteria: Some(vec![critique.clone()]),
        principles: Some(vec![critique.clone()]),
        ..Item::bare(Query::Text(query.clone()), responses.to_vec())
    };
    let mut request = ScoreRequest { request_id: name.clone(), ..ScoreRequest::new(item) };
    request.settings.k = 2;
    request
}

/// One sample with scores, one without.
fn samples(written: &Written) -> Vec<Sample> {
    let spec = |index| SampleSpec { index, seed: 1, order: vec![1, 0] };
    let scored = Scores {
        scores: vec![3.0, 8.0],
        score_distribution: Some(vec![vec![0.1; 10], vec![0.1; 10]]),
        readout_mass: Some(0.9),
        forced: true,
    };
    let said = Sample {
        principles: written.critique.clone(),
        critique: written.critique.clone(),
        issues: vec![Issue::Fraction],
        meta_score: Some(0.5),
        ..Sample::failed(spec(0), FailureKind::NoBox, &*written.name)
    };
    let voted = Sample { outcome: Outcome::Scored(scored), ..said.clone() };
    vec![voted, Sample { spec: spec(1), ..said }]
}

fn judged(written: &Written) -> Verdict {
    let name = || Some(written.name.clone());
    let reason = Reason { code: ReasonCode::NotShown, detail: written.name.clone() };
    Verdict {
        item_id: written.id.clone(),
        status: Status::Partial,
        rewards: vec![Some(8.0), None],
        reasons: vec![None, Some(reason)],
        pick: Some(0),
        tied: Vec::new(),
        confidence: Some(0.9),
        agreement: Some(1.0),
        stopped_by: StoppedBy::Complete,
        voters: vec![0],
        weights: vec![1.0],
        meta_unavailable: name(),
        counts: Counts { asked: 2, valid: 1, voted: 1, parse_failed: 1, ..Counts::default() },
        usage: Usage::default(),
        provenance: Provenance {
            model: name(),
            model_digest: name(),
            numerics: name(),
            method_digest: written.name.clone(),
            meta_digest: name(),
            meta_numerics: name(),
            seed: 1,
            settings: Settings { k: 2, ..Settings::default() },
            voting: Voting { meta: name(), ..Voting::default() },
            min_samples: Some(2),
            hinted: true,
            forced_panel: Some(2),
            escaped_markers: 1,
            reproducible: Reproducible::Bitwise,
            item_digest: None,
            version: written.name.clone(),
        },
        samples: Some(samples(written)),
        run: RunReport {
            request_id: written.name.clone(),
            workers: vec![written.name.clone()],
            ..RunReport::default()
        },
    }
}

fn fleet_of(written: &Written) -> FleetStatus {
    let name = || written.name.clone();
    let worker = WorkerStatus {
        worker_id: name(),
        address: written.critique.clone(),
        model: name(),
        model_digest: name(),
        numerics: name(),
        state: "suspect".to_owned(),
        state_detail: name(),
        heads: vec![HeadStatus { name: name(), digest: name() }],
        ..WorkerStatus::default()
    };
    FleetStatus { directory: name(), workers: vec![worker], ..FleetStatus::default() }
}

/// Every page and part that shows text from outside.
fn pages(written: &Written) -> Vec<Markup> {
    let (number, request) = (RequestNumber(1), Arc::new(asked(written)));
    let viewer = Viewer::with_token();
    let mut flight = Running::new(number, written.name.as_str().into(), request.clone());
    let drawn = samples(written);
    let specs: Vec<SampleSpec> = drawn.iter().map(|sample| sample.spec.clone()).collect();
    flight.record(&Seen::Planned(&specs));
    drawn.iter().for_each(|sample| flight.record(&Seen::Ended(sample)));
    let verdict = judged(written);
    let figures = Arc::new(Figures::of(number, &request, &verdict, SystemTime::UNIX_EPOCH));
    let case = Arc::new(Case::of(request, &verdict));
    vec![
        verdict::page(&figures, Some(&case), &viewer),
        verdict::page(&figures, None, &viewer),
        request::page(&flight, &viewer),
        fleet::section(&fleet_of(written)),
        running::section(&[flight], 1),
        recent::section(&[(figures, false)], Limits::of(1)),
    ]
}

/// Names of elements and of their attributes, in order; the marker of an invisible character counts as text.
fn structure(page: Markup) -> Vec<String> {
    let page = Html::parse_document(&page.into_string());
    let nodes = page.tree.root().descendants().filter_map(|node| match node.value() {
        Node::Element(element) if element.has_class("unseen", CaseSensitivity::CaseSensitive) => {
            None
        }
        Node::Element(element) => {
            let mut names: Vec<&str> = element.attrs().map(|(name, _)| name).collect();
            names.sort_unstable();
            Some(format!("{} {}", element.name(), names.join(" ")))
        }
        Node::Comment(comment) => Some(format!("comment {}", &comment[..])),
        _ => None,
    });
    nodes.collect()
}

proptest! {
    #[test]
    fn hostile_text_yields_neither_an_element_nor_an_attribute(written in written()) {
        let tame = tame(&written);
        for (wild, tame) in std::iter::zip(pages(&written), pages(&tame)) {
            prop_assert_eq!(structure(wild), structure(tame));
        }
    }
}
