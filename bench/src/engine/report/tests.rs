use super::*;
use crate::head::tests::example;
use crate::load::Load;

fn report() -> Report {
    let series = Series {
        ours: vec![750.0, 700.0, 800.0],
        theirs: vec![200.0, 175.0, 200.0],
        setting: Some(Setting::Plain),
        decoded: 90,
        asked: 100,
    };
    let bound = Bound {
        tokens_per_second: 1_300.0,
        memory_seconds: 0.006,
        weight_seconds: 0.001,
        attention_seconds: 0.001,
    };
    let model = BenchModel { name: "m".to_owned(), path: "m.gguf".into() };
    let alone = Series { ours: series.ours.clone(), ..Series::default() };
    let rows = [
        Row::new(&model, 512, None, &alone, bound),
        Row::new(&model, 512, Some((8, 64)), &series, bound),
    ];
    Report {
        head: example(),
        limits: Limits {
            threads: 2,
            integer_instruction: "an instruction".to_owned(),
            integer_gops: 1_420.0,
            float_gflops: 321.0,
            memory_gbps: 29.0,
        },
        card_weights: None,
        device: "cpu".to_owned(),
        memory: None,
        peer: Some(PeerFacts { version: "1.2".to_owned() }),
        rounds: 3,
        rows: rows.into_iter().flatten().collect(),
    }
}

#[test]
fn the_table_reads_like_this() {
    insta::assert_snapshot!(report().table(), @r"
    2030-01-01T00:00:00Z, jury 0.1.0, avx2 kernels; llama.cpp 1.2 at its best setting for each row
    A CPU, 2 threads: 1420 Gop/s in 8 bits (an instruction), 321 Gflop/s, 29.0 GB/s
    load average 0.25 at the start, 2.50 at the end (this run's own included)
    tokens a second, medians of 3 alternating rounds (least to greatest); each prompt was prefilled once
    MODEL  PROMPT  WHAT                              OURS              LLAMA.CPP                 RATIO  OF LIMIT
    m      512     prefill                           750 (700 to 800)  -                         -      58 % of 1300
    m      512     k 8, 64 generated (90 % of them)  750 (700 to 800)  200 (175 to 200) -fa off  4.00x  58 % of 1300
    ");
}

#[test]
fn every_line_of_the_markdown_table_has_the_same_columns() {
    let markdown = report().markdown();
    let bars: Vec<usize> = markdown
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.matches('|').count())
        .collect();
    assert_eq!(bars, [8; 4], "{markdown}");
}

#[test]
fn json_keeps_every_value_of_every_round() {
    let json: serde_json::Value = serde_json::from_str(&report().page(true).unwrap()).unwrap();
    let row = &json["rows"][1];
    assert_eq!(row["ours"]["values"].as_array().unwrap().len(), 3);
    assert_eq!(row["peer_setting"], "plain");
    assert_eq!(row["ratio"], 4.0);
    assert!(json["rows"][0]["ratio"].is_null());
}

#[test]
fn ours_alone_speaks_of_nobody_else_and_one_round_has_no_range() {
    let mut alone = report();
    (alone.peer, alone.rounds, alone.head.load) = (None, 1, Load::default());
    for row in &mut alone.rows {
        (row.peer, row.ratio) = (None, None);
        row.ours = Spread::of(&row.ours.values[..1]).unwrap();
    }
    insta::assert_snapshot!(alone.table(), @r"
    2030-01-01T00:00:00Z, jury 0.1.0, avx2 kernels; ours alone
    A CPU, 2 threads: 1420 Gop/s in 8 bits (an instruction), 321 Gflop/s, 29.0 GB/s
    tokens a second, one round; each prompt was prefilled once
    MODEL  PROMPT  WHAT                              TOKENS A SECOND  OF LIMIT
    m      512     prefill                           750              58 % of 1300
    m      512     k 8, 64 generated (90 % of them)  750              58 % of 1300
    ");
}

#[test]
fn a_run_that_was_cut_short_says_so_everywhere() {
    let report = Report { head: Head { complete: false, ..example() }, ..report() };
    assert!(report.table().contains("cut short"));
    assert!(report.markdown().contains("* cut short"));
    assert!(report.page(true).unwrap().contains("\"complete\": false"));
}
