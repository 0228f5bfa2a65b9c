use proptest::prelude::*;

use super::*;
use crate::domain::{Query, Turn};
use crate::plan::{content_digest, duplicate_of};

/// Few texts, so that random items often share them; they include the names of the parts.
fn text() -> impl Strategy<Value = String> {
    let texts =
        vec!["", "a", "b", "ab", "user", "responses", "reference", "criteria", "principles"];
    prop::sample::select(texts).prop_map(str::to_owned)
}

fn texts() -> impl Strategy<Value = Option<Vec<String>>> {
    prop::option::of(prop::collection::vec(text(), 0..3))
}

fn query() -> impl Strategy<Value = Query> {
    let roles = vec![Role::System, Role::User, Role::Assistant, Role::Tool, Role::Developer];
    let turn =
        (prop::sample::select(roles), text()).prop_map(|(role, content)| Turn { role, content });
    prop_oneof![
        text().prop_map(Query::Text),
        prop::collection::vec(turn, 1..3).prop_map(Query::Turns),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let responses = prop::collection::vec(text(), 1..4);
    let labels =
        prop::option::of(prop::collection::vec(prop::sample::select(vec![0.0, 1.0]), 0..2));
    let rest = (prop::option::of(text()), prop::option::of(0_usize..2), labels, text());
    (query(), responses, prop::option::of(text()), texts(), texts(), rest).prop_map(
        |(query, responses, reference, criteria, principles, (category, best, labels, id))| Item {
            id,
            reference,
            criteria,
            principles,
            best,
            labels,
            category,
            ..Item::bare(query, responses)
        },
    )
}

fn request() -> impl Strategy<Value = ScoreRequest> {
    let numbers = (prop::option::of(0_u32..2), 0_u64..2, any::<bool>(), prop::option::of(text()));
    (item(), numbers).prop_map(|(item, (min_samples, seed, include_samples, model))| ScoreRequest {
        min_samples,
        seed,
        include_samples,
        model,
        ..ScoreRequest::new(item)
    })
}

/// Normalises what makes two requests the same: an empty list is no list, a blank reference no reference, a text one
/// user turn.
fn plain(mut request: ScoreRequest) -> ScoreRequest {
    let item = &mut request.item;
    item.query = Query::Turns(item.query.turns());
    item.reference = item.known_answer().map(str::to_owned);
    item.criteria = item.criteria.take().filter(|list| !list.is_empty());
    item.principles = item.principles.take().filter(|list| !list.is_empty());
    item.labels = item.labels.take().filter(|list| !list.is_empty());
    request
}

/// The part of `item` that reaches a prompt.
fn rendered(item: Item) -> Item {
    let mut item = plain(ScoreRequest::new(item)).item;
    let duplicate_of = duplicate_of(&item.responses);
    let mut at = 0..;
    item.responses.retain(|_| at.next().is_some_and(|at| duplicate_of[at] == at));
    Item {
        reference: item.reference,
        criteria: item.criteria,
        principles: item.principles,
        ..Item::bare(item.query, item.responses)
    }
}

fn content(item: &Item) -> crate::plan::ContentDigest {
    content_digest(item, &duplicate_of(&item.responses))
}

/// The part of `item` that is judged.
fn judged(item: Item) -> Item {
    let item = plain(ScoreRequest::new(item)).item;
    Item {
        reference: item.reference,
        criteria: item.criteria,
        principles: item.principles,
        ..Item::bare(item.query, item.responses)
    }
}

/// A list in one item was once read as the heading of the other's.
#[test]
fn a_part_never_passes_for_another() {
    let bare = Item::bare(Query::Text("q".into()), vec!["a".into(), "b".into()]);
    let list = Some(vec!["principles".to_owned()]);
    let criteria = Item { criteria: list.clone(), ..bare.clone() };
    let principles = Item { principles: list, ..bare };
    assert_ne!(content(&criteria), content(&principles));
    let payload = |item| payload_digest(&ScoreRequest::new(item));
    assert_ne!(payload(criteria), payload(principles));
}

#[test]
fn the_budget_and_the_request_id_are_no_part_of_the_payload() {
    let request = ScoreRequest::new(Item::bare(Query::Text("q".into()), vec!["a".into()]));
    let later = ScoreRequest {
        budget_ms: std::num::NonZeroU64::new(5),
        request_id: "again".into(),
        ..request.clone()
    };
    assert_eq!(payload_digest(&request), payload_digest(&later));
    let mut other = request.clone();
    other.settings.temperature = 0.7;
    assert_ne!(payload_digest(&request), payload_digest(&other));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn items_share_a_content_digest_exactly_when_they_render_the_same(a in item(), b in item()) {
        let same = rendered(a.clone()) == rendered(b.clone());
        prop_assert_eq!(content(&a) == content(&b), same);
        prop_assert_eq!(content(&a), content(&rendered(a)));
    }

    #[test]
    fn items_share_an_item_digest_exactly_when_the_same_is_judged(a in item(), b in item()) {
        let same = judged(a.clone()) == judged(b.clone());
        prop_assert_eq!(item_digest(&a) == item_digest(&b), same);
        prop_assert_eq!(item_digest(&a), item_digest(&judged(a)));
    }

    #[test]
    fn requests_share_a_payload_digest_exactly_when_they_are_the_same(
        a in request(), b in request(),
    ) {
        let same = plain(a.clone()) == plain(b.clone());
        prop_assert_eq!(payload_digest(&a) == payload_digest(&b), same);
        prop_assert_eq!(payload_digest(&a), payload_digest(&plain(a)));
    }
}
