use jury_grm::domain::Reproducible;
use jury_proto::convert::{AdaptedModel, Capabilities, Head, WorkerRole};

use super::*;
use crate::fleet::NoClass;

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
        heads: Vec::new(),
        adapters: Vec::new(),
    }
}

fn reference(worker_id: &str, generation: u64) -> WorkerRef {
    WorkerRef { id: worker_id.into(), generation }
}

/// Reports what the worker's present registration serves.
fn tell(roster: &mut Roster, worker_id: &str, info: WorkerInfo) -> WorkerRef {
    let worker = reference(worker_id, roster.workers[worker_id].generation);
    let load = Load { capacity: info.capacity, ..Load::default() };
    roster.record_info(&worker, info, load, Instant::now());
    worker
}

fn roster(workers: &[(&str, &str, &str)]) -> Roster {
    let mut roster = Roster::new("1".to_owned());
    roster.apply(Update::Reset(workers.iter().map(|(id, ..)| registration(id)).collect()));
    for (id, model, numerics) in workers {
        tell(&mut roster, id, info(model, numerics, 8));
    }
    roster
}

fn ids(candidates: &[Candidate]) -> Vec<&str> {
    candidates.iter().map(|candidate| &*candidate.worker.id).collect()
}

fn appeared(roster: &mut Roster, update: Update) -> Vec<String> {
    roster.apply(update).into_iter().map(|(worker, _)| worker.to_string()).collect()
}

fn load(running: u32, queued: u32) -> Load {
    Load { running, queued, capacity: 8, steps: 0 }
}

#[test]
fn a_head_is_found_by_its_name_among_the_workers_of_its_class() {
    let mut roster = roster(&[("a", "m", "cpu-1"), ("b", "m", "cpu-1"), ("c", "other", "cpu-1")]);
    let with_head = |model: &str, digest: &str| WorkerInfo {
        heads: vec![Head { name: "correct".to_owned(), digest: digest.to_owned() }],
        ..info(model, "cpu-1", 8)
    };
    let class = roster.class_for(Some("m")).unwrap();
    tell(&mut roster, "c", with_head("other", "of another model"));
    assert_eq!(roster.head(&class, "correct"), None);
    tell(&mut roster, "b", with_head("m", "d1"));
    assert_eq!(roster.head(&class, "correct").as_deref(), Some("d1"));
    assert_eq!(roster.head(&class, "helpful"), None);
}

#[test]
fn a_class_that_has_the_head_goes_before_a_larger_one_without() {
    let mut roster = roster(&[("a", "m", "cpu-1"), ("b", "m", "cuda-1"), ("c", "m", "cpu-2")]);
    let with_head = |numerics: &str, name: &str| WorkerInfo {
        heads: vec![Head { name: name.to_owned(), digest: "d".to_owned() }],
        ..info("m", numerics, 8)
    };
    tell(&mut roster, "b", info("m", "cuda-1", 256));
    assert_eq!(roster.class_for(Some("m")).unwrap().numerics, "cuda-1");
    assert_eq!(roster.class_with_head("m", "correct"), None);
    tell(&mut roster, "a", with_head("cpu-1", "correct"));
    tell(&mut roster, "c", with_head("cpu-2", "helpful"));
    let of = |head| roster.class_with_head("m", head).unwrap().numerics;
    assert_eq!((of("correct"), of("helpful")), ("cpu-1".to_owned(), "cpu-2".to_owned()));
    assert_eq!(roster.class_with_head("other", "correct"), None);
}

#[test]
fn a_worker_serves_its_adapters_as_models_of_their_own() {
    let adapted = |name: &str| AdaptedModel {
        name: name.to_owned(),
        model_digest: format!("digest of m with {name}"),
    };
    let mut roster = roster(&[("a", "m", "cpu-1"), ("b", "m", "cpu-1")]);
    let both = WorkerInfo {
        adapters: vec![adapted("strict"), adapted("kind")],
        heads: vec![Head { name: "correct".to_owned(), digest: "h".to_owned() }],
        ..info("m", "cpu-1", 8)
    };
    tell(&mut roster, "b", both);
    let class = roster.class_for(Some("strict")).unwrap();
    assert_eq!(class.model_digest, "digest of m with strict");
    let ids = |class| -> Vec<String> {
        roster.candidates(class).iter().map(|c| c.worker.to_string()).collect()
    };
    assert_eq!(ids(&class), ["b"]);
    let own = roster.class_for(Some("m")).unwrap();
    assert_eq!(ids(&own), ["a", "b"]);
    assert_eq!(roster.head(&own, "correct").as_deref(), Some("h"));
    assert_eq!(roster.head(&class, "correct"), None, "it reads the states of the base");
    let unnamed = roster.class_for(None).unwrap_err().to_string();
    assert!(unnamed.contains("kind, m, strict"), "{unnamed}");
    assert_eq!(roster.capacities()["kind"], 8);
    assert_eq!(roster.status()[1].adapters[0].name, "strict");
}

#[test]
fn a_worker_is_unknown_until_it_has_been_asked() {
    let mut roster = Roster::new("1".to_owned());
    assert!(!roster.has_unknown());
    roster.apply(Update::Reset(vec![registration("a"), registration("b")]));
    tell(&mut roster, "a", info("m", "cpu-1", 8));
    assert!(roster.has_unknown());
    let silent = reference("b", roster.workers["b"].generation);
    roster.record(&silent, Evidence::ProbeFailed("no answer".to_owned()));
    assert!(!roster.has_unknown(), "nobody waits for one that does not answer");
}

#[test]
fn a_meta_rm_is_found_by_its_model_among_those_that_rank() {
    let mut roster = roster(&[("a", "m", "cpu-1"), ("b", "m", "cpu-1")]);
    assert_eq!(roster.meta_class("m"), None);
    tell(&mut roster, "b", WorkerInfo { roles: vec![WorkerRole::Meta], ..info("m", "cpu-1", 8) });
    let class = roster.meta_class("m").unwrap();
    assert_eq!(ids(&roster.candidates(&class)), ["b"]);
    assert_eq!(roster.meta_class("other"), None);
    assert_eq!(ids(&roster.candidates(&roster.class_for(Some("m")).unwrap())), ["a"]);
}

#[test]
fn a_worker_gets_nothing_before_it_told_what_it_serves() {
    let mut roster = Roster::new("1".to_owned());
    assert_eq!(appeared(&mut roster, Update::Added(registration("a"))), ["a"]);
    let refused = roster.class_for(None).unwrap_err();
    let message = "no worker can be reached (known: a: it has not yet told what it serves)";
    assert_eq!(refused.to_string(), message);
    tell(&mut roster, "a", info("m", "n", 8));
    let class = roster.class_for(None).unwrap();
    assert_eq!(ids(&roster.candidates(&class)), ["a"]);
}

#[test]
fn a_reset_forgets_ghosts_and_keeps_what_the_others_told() {
    let mut roster = roster(&[("a", "m", "n"), ("b", "m", "n")]);
    let update = Update::Reset(vec![registration("b"), registration("c")]);
    assert_eq!(appeared(&mut roster, update), ["c"]);
    let class = roster.class_for(None).unwrap();
    assert_eq!(ids(&roster.candidates(&class)), ["b"]);
}

#[test]
fn a_worker_that_came_back_elsewhere_is_asked_again() {
    let mut roster = roster(&[("a", "m", "n")]);
    assert!(appeared(&mut roster, Update::Added(registration("a"))).is_empty());
    let moved = Registration { address: "http://elsewhere".into(), ..registration("a") };
    assert_eq!(appeared(&mut roster, Update::Added(moved)), ["a"]);
    assert!(roster.class_for(None).is_err());
}

#[test]
fn news_of_an_earlier_registration_changes_nothing() {
    let mut roster = roster(&[("a", "m", "n")]);
    let earlier = reference("a", 0);
    assert!(roster.reserve(&earlier, 5));
    roster.apply(Update::Removed("a".to_owned()));
    roster.apply(Update::Added(registration("a")));
    // A stale probe does not make it ready.
    roster.record_info(&earlier, info("m", "n", 8), load(0, 0), Instant::now());
    assert!(roster.class_for(None).is_err());
    let current = tell(&mut roster, "a", info("m", "n", 8));
    assert!(roster.reserve(&current, 3));
    // A stale reservation gives nothing back, and a stale call blames no worker.
    roster.release(&earlier, 5);
    roster.record(&earlier, Evidence::CallFailed("broke".to_owned()));
    roster.record_load(&earlier, load(8, 8), Instant::now());
    assert!(!roster.reserve(&earlier, 1));
    let class = roster.class_for(None).unwrap();
    assert_eq!(roster.candidates(&class)[0].load, 3);
}

#[test]
fn a_worker_of_another_method_version_never_shares_a_vote_and_is_told_why() {
    let mut roster = roster(&[("a", "m", "n"), ("b", "m", "n")]);
    let other = WorkerInfo { method_version: "2".to_owned(), ..info("m", "n", 800) };
    tell(&mut roster, "b", other);
    let class = roster.class_for(None).unwrap();
    assert_eq!(class.method_version, "1");
    assert_eq!(ids(&roster.candidates(&class)), ["a"]);
    let status = &roster.status()[1];
    assert_eq!(status.state(), v1::WorkerState::Refused);
    assert!(status.state_detail.starts_with("its method version is 2, this coordinator's is 1"));
}

#[test]
fn a_class_is_of_one_role() {
    let mut roster = roster(&[("a", "m", "n"), ("b", "m", "n")]);
    let ranks = WorkerInfo { roles: vec![WorkerRole::Meta], ..info("m", "n", 8) };
    tell(&mut roster, "b", ranks);
    let class = roster.class_for(None).unwrap();
    assert_eq!(ids(&roster.candidates(&class)), ["a"]);
}

#[test]
fn a_worker_that_answers_while_its_model_hangs_is_left_alone_until_it_moves() {
    let mut roster = roster(&[("a", "m", "n")]);
    let worker = reference("a", 0);
    let begin = Instant::now();
    let mut answers = |after, steps| {
        let busy = Load { running: 2, queued: 0, capacity: 8, steps };
        roster.record_info(&worker, info("m", "n", 8), busy, begin + after);
        roster.class_for(None).is_ok()
    };
    assert!(answers(std::time::Duration::ZERO, 7));
    assert!(!answers(crate::fleet::stall::STALLED_AFTER, 7));
    assert!(answers(crate::fleet::stall::STALLED_AFTER, 8));
}

#[test]
fn samples_that_are_taken_away_before_their_end_leave_the_load() {
    let mut roster = roster(&[("a", "m", "n")]);
    let class = roster.class_for(None).unwrap();
    let worker = reference("a", 0);
    roster.reserve(&worker, 12);
    roster.record_load(&worker, load(8, 4), Instant::now());
    roster.abandon(&worker, 11);
    roster.release(&worker, 1);
    assert_eq!(roster.candidates(&class)[0].load, 1);
    roster.record_info(&worker, info("m", "n", 8), load(0, 0), Instant::now());
    assert_eq!(roster.candidates(&class)[0].load, 0);
    assert_eq!(roster.status()[0].running, 0);
}

#[test]
fn one_task_probes_a_worker_and_only_while_that_is_needed() {
    let mut roster = roster(&[("a", "m", "n")]);
    let worker = reference("a", 0);
    assert!(!roster.begin_probing(&worker));
    roster.record(&worker, Evidence::CallFailed("broke".to_owned()));
    assert!(roster.begin_probing(&worker));
    assert!(!roster.begin_probing(&worker));
    assert!(roster.goes_on_probing(&worker));
    tell(&mut roster, "a", info("m", "n", 8));
    assert!(!roster.goes_on_probing(&worker));
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
fn a_worker_that_failed_a_call_gets_nothing_until_it_answers() {
    let mut roster = roster(&[("a", "m", "n"), ("b", "m", "n")]);
    let class = roster.class_for(None).unwrap();
    let worker = reference("a", 0);
    assert!(roster.record(&worker, Evidence::CallFailed("broke".to_owned())).is_some());
    assert_eq!(ids(&roster.candidates(&class)), ["b"]);
    assert!(!roster.reserve(&worker, 1));
    tell(&mut roster, "a", info("m", "n", 8));
    assert_eq!(ids(&roster.candidates(&class)), ["a", "b"]);
}

#[test]
fn a_worker_that_turned_a_call_away_gets_none_for_a_while_however_it_answers() {
    let mut roster = roster(&[("a", "m", "n"), ("b", "m", "n")]);
    let class = roster.class_for(None).unwrap();
    let (worker, begin) = (reference("a", 0), Instant::now());
    let hold = std::time::Duration::from_secs(30);
    assert!(roster.shut_out(&worker, "who are you".to_owned(), begin + hold).is_some());
    let mut answers = |after| {
        roster.record_info(&worker, info("m", "n", 8), load(0, 0), begin + after);
        let status = roster.status()[0].clone();
        (ids(&roster.candidates(&class)).contains(&"a"), status.state(), status.state_detail)
    };
    let refused = (false, v1::WorkerState::Refused, "who are you".to_owned());
    assert_eq!(answers(std::time::Duration::ZERO), refused);
    assert_eq!(answers(hold / 2), refused);
    assert_eq!(answers(hold), (true, v1::WorkerState::Ready, String::new()));
    assert_eq!(answers(hold / 2), (true, v1::WorkerState::Ready, String::new()), "forgotten");
}

#[test]
fn load_is_what_was_given_or_what_it_reports_whichever_is_more() {
    let mut roster = roster(&[("a", "m", "n")]);
    let class = roster.class_for(None).unwrap();
    let worker = reference("a", 0);
    roster.reserve(&worker, 5);
    assert_eq!(roster.candidates(&class)[0].load, 5);
    roster.record_load(&worker, load(6, 3), Instant::now());
    assert_eq!(roster.candidates(&class)[0].load, 9);
    roster.release(&worker, 5);
    roster.record_load(&worker, load(0, 0), Instant::now());
    assert_eq!(roster.candidates(&class)[0].load, 0);
}
