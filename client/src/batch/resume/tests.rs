use jury_grm::domain::{Item, Query, ScoreRequest, json_line};

use super::super::fixture::{unscored, verdict};
use super::*;

fn read(file: &str) -> Result<PastVerdicts, ResumeError> {
    PastVerdicts::read(file.as_bytes(), None, Again::Unscored)
}

fn read_as(file: &str, request: &ScoreRequest) -> Result<PastVerdicts, ResumeError> {
    PastVerdicts::read(file.as_bytes(), Some(&Asked::of(request)), Again::Unscored)
}

#[test]
fn a_partial_verdict_is_the_last_word_unless_whole_ones_are_wanted() {
    let partial = Verdict { status: Status::Partial, ..verdict("a") };
    let line = json_line(&partial).unwrap();
    for (which, again) in [(Again::Unscored, false), (Again::Partial, true)] {
        let past = PastVerdicts::read(line.as_bytes(), None, which).unwrap();
        assert_eq!(past.lines[0].again, again, "{which:?}");
    }
    let whole = json_line(&verdict("a")).unwrap();
    let past = PastVerdicts::read(whole.as_bytes(), None, Again::Partial).unwrap();
    assert!(!past.lines[0].again);
}

#[test]
fn a_verdict_cut_off_while_written_does_not_count() {
    let past = read("{\"item_id\":\"a\",\"x\":1}\n\n{\"item_id\":\"b\"").unwrap();
    let worth = Worth::Whole;
    let a = PastLine { id: "a".to_owned(), range: 0..22, item: None, worth, again: false };
    assert_eq!(past, PastVerdicts { lines: vec![a], whole_bytes: 23, judged_by: None });
}

#[test]
fn another_kind_of_file_is_refused_with_its_line() {
    let error = read("{\"item_id\":\"a\"}\nhello\n").unwrap_err();
    assert!(error.to_string().starts_with("line 2 is no verdict"), "{error}");
}

#[test]
fn an_item_is_judged_again_when_what_kept_its_reward_may_have_passed() {
    for (code, again) in [
        (ReasonCode::Budget, true),
        (ReasonCode::NoWorker, true),
        (ReasonCode::WorkerFailed, true),
        (ReasonCode::UnknownModel, true),
        (ReasonCode::TooLarge, true),
        (ReasonCode::Rejected, true),
        (ReasonCode::TooLong, false),
        (ReasonCode::ParseFailed, false),
    ] {
        let past = read(&json_line(&unscored("a", code)).unwrap()).unwrap();
        assert_eq!(past.lines[0].again, again, "{code:?}");
    }
}

#[test]
fn a_file_judged_in_another_way_is_refused_with_every_difference() {
    let line = json_line(&verdict("a")).unwrap();
    let item = Item::bare(Query::Text("q".to_owned()), vec!["r".to_owned()]);
    let mut request = ScoreRequest { seed: 7, ..ScoreRequest::new(item) };
    request.settings.k = 1;
    assert!(read_as(&line, &request).is_ok());

    (request.seed, request.settings.k) = (5, 2);
    let error = read_as(&line, &request).unwrap_err();
    let told = "line 1 was judged in another way: seed was 7, is 5, k was 1, is 2";
    assert_eq!(error.to_string(), told);

    (request.seed, request.settings.k) = (7, 1);
    request.voting.rule = Some(jury_grm::domain::VoteRule::Majority);
    let error = read_as(&line, &request).unwrap_err();
    let told = "line 1 was judged in another way: rule was \"mean\", is \"majority\"";
    assert_eq!(error.to_string(), told);
}

#[test]
fn where_panels_raised_k_the_default_of_k_meta_is_no_difference() {
    let mut request = ScoreRequest {
        seed: 7,
        ..ScoreRequest::new(Item::bare(Query::Text("q".to_owned()), vec!["r".to_owned()]))
    };
    request.settings.k = 2;
    request.voting.meta = Some("h".to_owned());
    let mut ranked = verdict("a");
    ranked.counts.asked = 6;
    ranked.counts.spare = 1;
    ranked.provenance.settings.k = 2;
    ranked.provenance.voting = request.voting.effective(5);
    assert_eq!(ranked.provenance.voting.k_meta, Some(2));
    let line = json_line(&ranked).unwrap();
    assert!(read_as(&line, &request).is_ok());
    request.voting.k_meta = Some(1);
    let told = read_as(&line, &request).unwrap_err().to_string();
    assert!(told.ends_with("k_meta was 2, is 1"), "{told}");
}

#[test]
fn min_samples_matter_with_a_stop_rule_and_hints_always() {
    use jury_grm::domain::StopRule;
    let item = Item::bare(Query::Text("q".to_owned()), vec!["r".to_owned()]);
    let mut request = ScoreRequest { seed: 7, ..ScoreRequest::new(item) };
    request.settings.k = 1;
    request.min_samples = Some(1);
    let mut past = verdict("a");
    assert!(read_as(&json_line(&past).unwrap(), &request).is_ok());
    (past.provenance.voting.stop, request.voting.stop) = (StopRule::Lossless, StopRule::Lossless);
    let line = json_line(&past).unwrap();
    let told = read_as(&line, &request).unwrap_err().to_string();
    assert!(told.ends_with("min_samples was the default, is 1"), "{told}");
    let of_older = line.replace("\"min_samples\":null,", "");
    assert_ne!(of_older, line);
    assert!(read_as(&of_older, &request).is_ok(), "an older version did not write it");

    request.min_samples = None;
    past.provenance.hinted = true;
    let told = read_as(&json_line(&past).unwrap(), &request).unwrap_err().to_string();
    assert!(told.ends_with("hinted was true, is false"), "{told}");
}

#[test]
fn another_meta_rm_is_detected_by_its_digest() {
    let (unranked, mut ranked) = (verdict("a"), verdict("b"));
    ranked.provenance.meta_digest = Some("0123456789abcdef".to_owned());
    let lines = [json_line(&unranked).unwrap(), json_line(&ranked).unwrap()].concat();
    let before = read(&lines).unwrap().judged_by.unwrap();
    assert_eq!(before.differ(&JudgedBy::of(&ranked.provenance).unwrap()), None);
    assert_eq!(before.differ(&JudgedBy::of(&unranked.provenance).unwrap()), None, "it was away");
    ranked.provenance.meta_digest = Some("fedcba9876543210".to_owned());
    let told = before.differ(&JudgedBy::of(&ranked.provenance).unwrap()).unwrap();
    assert_eq!(told, "the Meta RM was 01234567, is fedcba98");
}

#[test]
fn a_file_of_two_judges_is_refused_at_the_first_line_of_the_second() {
    let file = |status| {
        let mut other = Verdict { status, ..verdict("b") };
        other.provenance.model_digest = Some("fedcba9876543210".to_owned());
        other.reasons = unscored("b", ReasonCode::Budget).reasons;
        json_line(&verdict("a")).unwrap() + &json_line(&other).unwrap()
    };
    let item = Item::bare(Query::Text("q".to_owned()), vec!["r".to_owned()]);
    let mut request = ScoreRequest { seed: 7, ..ScoreRequest::new(item) };
    request.settings.k = 1;
    for status in [Status::Ok, Status::Partial] {
        let error = read_as(&file(status), &request).unwrap_err().to_string();
        assert!(error.starts_with("line 2 was judged in another way: the model"), "{error}");
        assert!(read(&file(status)).is_ok(), "any verdicts are wanted");
    }
    assert!(read_as(&file(Status::Unscored), &request).is_ok(), "it has no rewards");
}

#[test]
fn another_judge_is_told_by_its_digest() {
    let mut verdict = verdict("a");
    let before = read(&json_line(&verdict).unwrap()).unwrap().judged_by.unwrap();
    assert_eq!(before.differ(&JudgedBy::of(&verdict.provenance).unwrap()), None);
    verdict.provenance.model_digest = Some("fedcba9876543210".to_owned());
    let told = before.differ(&JudgedBy::of(&verdict.provenance).unwrap()).unwrap();
    assert!(told.contains("01234567") && told.contains("fedcba98"), "{told}");
}
