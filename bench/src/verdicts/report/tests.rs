use super::*;
use crate::args::BenchCommand;
use crate::args::tests::command;
use crate::head::tests::example;
use crate::verdicts::peer::Drafting;
use crate::verdicts::round::Drafts;

const OURS: Who = Who::Ours { drafts: true };
const WITHOUT: Who = Who::Ours { drafts: false };

fn round(seconds: f64) -> Round {
    Round {
        seconds,
        verdicts: 2,
        rewarded: 1,
        samples: 16,
        read_samples: 4,
        generated_tokens: 800,
        surplus_tokens: 0,
        drafts: None,
    }
}

fn drafting(seconds: f64) -> Round {
    let drafts = Drafts { drafted_tokens: 60, accepted_tokens: 45 };
    Round { drafts: Some(drafts), ..round(seconds) }
}

fn config(typed: &str) -> Config {
    let words = format!("jury bench verdicts --items i --model-cache m --threads 2 {typed}");
    let BenchCommand::Verdicts(args) = command(&words) else { unreachable!() };
    Config::try_from(*args).unwrap()
}

fn report(peer: Option<PeerFacts>, complete: bool, sides: &[(Who, Vec<Round>)]) -> Report {
    let frame = Frame { config: &config("-k 3"), model: "m", items: 2, head: example(), peer };
    let report = Report::new(&frame, complete, sides);
    Report { head: Head { complete: report.head.complete, ..example() }, ..report }
}

/// Ours both ways and the peer, in two rounds.
fn everything() -> Report {
    let setting = Setting { drafts: Drafting::ShortNgram, ..Setting::USUAL };
    let peer = PeerFacts { version: "1.2".to_owned(), setting, tried: 7 };
    let sides = [
        (OURS, vec![drafting(10.0), drafting(20.0)]),
        (WITHOUT, vec![round(20.0), round(40.0)]),
        (Who::Peer(setting), vec![round(40.0), round(80.0)]),
    ];
    report(Some(peer), true, &sides)
}

#[test]
fn the_table_reads_like_this() {
    insta::assert_snapshot!(everything().table(), @r"
    2030-01-01T00:00:00Z, jury 0.1.0, avx2 kernels; llama.cpp 1.2, the fastest of 7 settings
    A CPU, 2 threads; m
    load average 0.25 at the start, 2.50 at the end (this run's own included)
    2 items, 1 at once, k 3, temperature 0.5, at most 512 tokens a sample; medians of 2 alternating rounds (least to greatest)
    both read scores from what the model writes (free read-out), with the same prompts and parser
    a sample ends at its scores on both sides
    WHO                                                     VERDICTS A MINUTE     TOKENS A SECOND  TOKENS A SAMPLE  SAMPLES READ  VERDICTS WITH REWARDS  DRAFTS
    jury                                                    9.00 (6.00 to 12.00)  60 (40 to 80)    50               25 %          50 %                   on: 120 tokens, 90 accepted
    jury without drafts                                     4.50 (3.00 to 6.00)   30 (20 to 40)    50               25 %          50 %                   off
    llama-server -fa on -kvu, n_cmpl, ngram-simple n 3 m 8  2.25 (1.50 to 3.00)   15 (10 to 20)    50               25 %          50 %                   on
    ours with drafts to without: 2.00x verdicts a minute
    ours to llama.cpp: 4.00x verdicts a minute
    ");
}

#[test]
fn ours_alone_speaks_of_nobody_else_and_one_round_has_no_range() {
    let alone = report(None, true, &[(OURS, vec![drafting(20.0)])]);
    insta::assert_snapshot!(alone.table(), @r"
    2030-01-01T00:00:00Z, jury 0.1.0, avx2 kernels; ours alone
    A CPU, 2 threads; m
    load average 0.25 at the start, 2.50 at the end (this run's own included)
    2 items, 1 at once, k 3, temperature 0.5, at most 512 tokens a sample; one round
    scores are read from what the model writes (free read-out)
    WHO   VERDICTS A MINUTE  TOKENS A SECOND  TOKENS A SAMPLE  SAMPLES READ  VERDICTS WITH REWARDS  DRAFTS
    jury  6.00               40               50               25 %          50 %                   on: 60 tokens, 45 accepted
    ");
}

#[test]
fn markdown_has_the_same_columns_everywhere_and_every_ratio() {
    let markdown = everything().markdown();
    let tables = markdown.lines().filter(|line| line.starts_with('|'));
    let bars: Vec<usize> = tables.map(|line| line.matches('|').count()).collect();
    assert_eq!(bars, [8; 5], "{markdown}");
    assert!(markdown.contains("* ours with drafts to without: 2.00x"), "{markdown}");
    assert!(markdown.contains("* ours to llama.cpp: 4.00x"), "{markdown}");
    assert!(markdown.contains("| on: 120 tokens, 90 accepted |"), "{markdown}");
}

#[test]
fn json_tells_of_drafts_on_every_side() {
    let json: serde_json::Value = serde_json::from_str(&everything().page(true).unwrap()).unwrap();
    let side = |name: &str| {
        let side = &json[name];
        (
            side["drafts"].as_bool(),
            side["drafted_tokens"].as_u64(),
            side["accepted_tokens"].as_u64(),
        )
    };
    assert_eq!(side("ours"), (Some(true), Some(120), Some(90)));
    assert_eq!(side("ours_without_drafts"), (Some(false), None, None));
    assert_eq!(side("peer"), (Some(true), None, None));
    assert_eq!(json["peer_setting"]["drafts"], "short_ngram");
    assert_eq!((&json["drafts_ratio"], &json["ratio"]), (&2.0.into(), &4.0.into()));
}

#[test]
fn a_run_that_was_cut_short_says_so_everywhere() {
    let report = report(None, false, &[(OURS, vec![drafting(10.0)])]);
    assert!(report.table().contains("cut short") && report.markdown().contains("cut short"));
    assert!(report.page(true).unwrap().contains("\"complete\": false"));
}

#[test]
fn a_side_counts_over_all_rounds_and_takes_the_middle_speed() {
    let side = Side::of(WITHOUT, vec![round(10.0), round(60.0), round(20.0)]).unwrap();
    assert_eq!(side.verdicts_per_minute.median, 6.0);
    assert_eq!(side.tokens_per_second.median, 40.0);
    assert_eq!((side.tokens_per_sample, side.read_share), (50.0, 0.25));
    assert_eq!(side.rewarded_share, 0.5);
    assert!(Side::of(OURS, Vec::new()).is_none());
}

#[test]
fn tokens_after_the_scores_count_apart() {
    let side = Side::of(OURS, vec![Round { surplus_tokens: 80, ..round(10.0) }]).unwrap();
    assert_eq!((side.surplus_share, side.tokens_per_sample), (0.1, 50.0));
    assert_eq!(side.tokens_per_second.median, 80.0);
}
