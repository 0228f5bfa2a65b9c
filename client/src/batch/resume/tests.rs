use jury_grm::domain::{Item, Query, ScoreRequest, Verdict, json_line};

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
    let a = PastLine { id: "a".to_owned(), range: 0..22, item: None, again: false };
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
fn another_judge_is_told_by_its_digest() {
    let mut verdict = verdict("a");
    let before = read(&json_line(&verdict).unwrap()).unwrap().judged_by.unwrap();
    assert_eq!(before.differ(&verdict.provenance), None);
    verdict.provenance.model_digest = Some("fedcba9876543210".to_owned());
    let told = before.differ(&verdict.provenance).unwrap();
    assert!(told.contains("01234567") && told.contains("fedcba98"), "{told}");
}
