use super::*;
use jury_proto::convert::{Capabilities, WorkerRole};

fn registration(worker_id: &str) -> Registration {
    Registration {
        worker_id: worker_id.to_owned(),
        ..Registration::at(format!("http://{worker_id}"))
    }
}

fn info(model: &str, numerics: &str, capacity: u32) -> WorkerInfo {
    WorkerInfo {
        worker_id: String::new(),
        model: model.to_owned(),
        model_digest: format!("digest of {model}"),
        numerics: numerics.to_owned(),
        method_version: "1".to_owned(),
        context_tokens: 2048,
        reproducible: Reproducible::Bitwise,
        version: "0".to_owned(),
        capacity,
        roles: vec![WorkerRole::Grm],
        capabilities: Capabilities::default(),
        room_tokens: None,
    }
}

fn roster(workers: &[(&str, &str, &str)]) -> Roster {
    let mut roster = Roster::default();
    roster.apply(Update::Reset(workers.iter().map(|(id, ..)| registration(id)).collect()));
    for (id, model, numerics) in workers {
        roster.record_info(id, info(model, numerics, 8));
    }
    roster
}

fn ids(candidates: &[Candidate]) -> Vec<&str> {
    candidates.iter().map(|candidate| candidate.worker_id.as_str()).collect()
}

#[test]
fn a_worker_gets_nothing_before_it_told_what_it_serves() {
    let mut roster = Roster::default();
    assert_eq!(roster.apply(Update::Added(registration("a"))), ["a"]);
    let refused = roster.class_for(None).unwrap_err();
    assert_eq!(refused.to_string(), "no worker can be reached (known: a)");
    roster.record_info("a", info("m", "n", 8));
    let class = roster.class_for(None).unwrap();
    assert_eq!(ids(&roster.candidates(&class)), ["a"]);
}

#[test]
fn a_reset_forgets_ghosts_and_keeps_what_the_others_told() {
    let mut roster = roster(&[("a", "m", "n"), ("b", "m", "n")]);
    let to_probe = roster.apply(Update::Reset(vec![registration("b"), registration("c")]));
    assert_eq!(to_probe, ["c"]);
    let class = roster.class_for(None).unwrap();
    assert_eq!(ids(&roster.candidates(&class)), ["b"]);
}

#[test]
fn a_worker_that_came_back_elsewhere_is_asked_again() {
    let mut roster = roster(&[("a", "m", "n")]);
    assert!(roster.apply(Update::Added(registration("a"))).is_empty());
    let moved = Registration { address: "http://elsewhere".into(), ..registration("a") };
    assert_eq!(roster.apply(Update::Added(moved)), ["a"]);
    assert!(roster.class_for(None).is_err());
}

#[test]
fn a_request_is_bound_to_one_numerics_class() {
    let roster = roster(&[("a", "m", "avx2"), ("b", "m", "avx512"), ("c", "m", "avx512")]);
    let class = roster.class_for(Some("m")).unwrap();
    assert_eq!(class.numerics, "avx512");
    assert_eq!(ids(&roster.candidates(&class)), ["b", "c"]);
}

#[test]
fn several_models_must_be_told_apart_by_name() {
    let roster = roster(&[("a", "small", "n"), ("b", "large", "n")]);
    let serves = vec!["large".to_owned(), "small".to_owned()];
    assert_eq!(roster.class_for(None), Err(NoClass::Ambiguous { serves: serves.clone() }));
    assert_eq!(roster.class_for(Some("large")).unwrap().model, "large");
    let unknown = roster.class_for(Some("gpt")).unwrap_err();
    assert_eq!(unknown, NoClass::UnknownModel { model: "gpt".into(), serves });
}

#[test]
fn an_unreachable_worker_gets_nothing_until_it_answers() {
    let mut roster = roster(&[("a", "m", "n"), ("b", "m", "n")]);
    let class = roster.class_for(None).unwrap();
    assert!(roster.record_unreachable("a"));
    assert!(!roster.record_unreachable("a"), "one probe at a time");
    assert_eq!(ids(&roster.candidates(&class)), ["b"]);
    roster.record_info("a", info("m", "n", 8));
    assert_eq!(ids(&roster.candidates(&class)), ["a", "b"]);
}

#[test]
fn load_is_what_was_given_or_what_it_reports_whichever_is_more() {
    let mut roster = roster(&[("a", "m", "n")]);
    let class = roster.class_for(None).unwrap();
    roster.reserve("a", 5);
    assert_eq!(roster.candidates(&class)[0].load, 5);
    roster.record_load("a", Load { running: 6, queued: 3, capacity: 8, steps: 0 });
    assert_eq!(roster.candidates(&class)[0].load, 9);
    roster.release("a", 5);
    roster.record_load("a", Load { running: 0, queued: 0, capacity: 8, steps: 0 });
    assert_eq!(roster.candidates(&class)[0].load, 0);
}
