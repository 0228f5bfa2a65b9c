//! `jury bench scaling`: time by number of samples, prompt length and requests in flight.
//!
//! Each curve varies one of the three while the others keep their usual value. Every point is one measurement from a
//! cold cache, from submission to the end of the last sample. Each request has a different prompt; only the beginning
//! of the chat template is shared.

mod report;

use anyhow::Context;
use jury_engine::limits::ModelCost;
use jury_engine::measure::{Workload, prompt, run as time};
use jury_engine::{DeviceKind, Engine, EngineConfig, Host};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::model::{cache_folder, load_failed};
use jury_worker::models::ModelStore;

use self::report::Report;
pub use self::report::{Curve, Measured};
use super::head::Head;
use super::load::Load;
use super::models::BenchModel;
use super::output::{Output, deliver};
use super::plot::plot;
use super::{Run, device, threads};
use crate::args::BenchScalingArgs;

/// Sequences of the engine: the number of samples that decode at once, over all requests.
const SEQUENCES: usize = 64;
/// Extra KV cache tokens per prompt or sample: more than one partially filled page.
const SLACK_TOKENS: usize = 128;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    samples: usize,
    prompt: usize,
    requests: usize,
    generated: usize,
}

pub fn run(args: &BenchScalingArgs, run: &Run) -> Result<Exit, Failed> {
    let threads = threads(&args.measuring);
    let cache = cache_folder(&args.measuring.cache).or_exit(Exit::Usage)?;
    let svg = Output::check("--svg", args.svg.as_deref())?;
    let model = BenchModel::find("--model", &args.model, &ModelStore::new(cache), &run.meter)?;
    let host = Host::detect();
    let load = Load::at_start(&run.meter, host.threads, "times do not hold");
    let mut report = Report {
        head: Head::new(host, load),
        threads,
        model: model.name.clone(),
        curves: Vec::new(),
    };
    let json = args.measuring.json;
    let points = sweeps(args.quick);
    measure(&model, device(&args.measuring), &points, run, &mut report, json)?;
    report.head = report.head.until_now(true);
    let drawn = || plot(&report.model, &report.curves).or_exit(Exit::Internal);
    deliver(run, &report.page(json)?, svg.as_ref(), drawn)?;
    Ok(Exit::Done)
}

/// Fills the report's curves, one point at a time.
fn measure(
    model: &BenchModel,
    device: DeviceKind,
    sweeps: &[(Against, Vec<Point>)],
    run: &Run,
    report: &mut Report,
    json: bool,
) -> Result<(), Failed> {
    let tokens = |point: &Point| {
        let of_samples = point.samples * (point.generated + SLACK_TOKENS);
        point.requests * (point.prompt + SLACK_TOKENS + of_samples)
    };
    let most = sweeps.iter().flat_map(|(_, points)| points).map(tokens).max().unwrap_or(0);
    let cost = ModelCost::of_file(&model.path).map_err(load_failed)?;
    let config = EngineConfig {
        threads: Some(report.threads),
        device,
        max_sequences: Some(SEQUENCES),
        drafts: false,
        kv_budget_bytes: (device == DeviceKind::Cpu)
            .then_some(cost.kv_bytes_per_token * most as u64),
        ..EngineConfig::default()
    };
    run.meter.stage(&format!("loading {}", model.name));
    let mut engine = Engine::load(&model.path, &config).map_err(load_failed)?;
    run.meter.runs(sweeps.iter().map(|(_, points)| points.len() as u64).sum());
    for (against, points) in sweeps {
        let fixed = points.first().map(|point| against.fixed(point)).unwrap_or_default();
        report.curves.push(Curve { against: against.name(), fixed, points: Vec::new() });
        for point in points {
            run.meter.run(&format!("{} {against}", against.value(point)));
            let measured = measure_point(&mut engine, point, against.value(point))?;
            report.add(measured);
            report.head = report.head.until_now(false);
            run.so_far.set(report.page(json)?);
            run.meter.run_done();
        }
    }
    Ok(())
}

fn measure_point(engine: &mut Engine, point: &Point, value: usize) -> Result<Measured, Failed> {
    let workload = |number: usize| {
        let prompt = prompt(engine, point.prompt, number).or_exit(Exit::Internal)?;
        let (samples, generated) = (point.samples, point.generated);
        Ok(Workload { prompt, samples, generated, seed: (number * samples) as u64 })
    };
    let workloads = (0..point.requests).map(workload).collect::<Result<Vec<_>, Failed>>()?;
    let timing =
        time(engine, &workloads).with_context(|| format!("{point:?}")).or_exit(Exit::Usage)?;
    Ok(Measured {
        value,
        seconds: timing.seconds(),
        prefill_seconds: timing.prefill_seconds,
        prefill_tokens: timing.prefill_tokens,
        shared_tokens: timing.shared_tokens,
    })
}

/// The quantity that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Against {
    Samples,
    Prompt,
    Requests,
}

fn sweeps(quick: bool) -> Vec<(Against, Vec<Point>)> {
    let usual = if quick {
        Point { samples: 2, prompt: 64, requests: 1, generated: 4 }
    } else {
        Point { samples: 8, prompt: 512, requests: 1, generated: 64 }
    };
    let up_to = |most: usize, from: usize| {
        let most = if quick { from * 4 } else { most };
        std::iter::successors(Some(from), |n| Some(n * 2)).take_while(move |&n| n <= most)
    };
    let (least_prompt, request_samples) = if quick { (32, 1) } else { (256, 2) };
    vec![
        (Against::Samples, up_to(64, 1).map(|samples| Point { samples, ..usual }).collect()),
        (
            Against::Prompt,
            up_to(4096, least_prompt).map(|prompt| Point { prompt, ..usual }).collect(),
        ),
        (
            Against::Requests,
            up_to(32, 1)
                .map(|requests| Point { requests, samples: request_samples, ..usual })
                .collect(),
        ),
    ]
}

// === impl Against ===

impl Against {
    fn name(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Prompt => "prompt tokens",
            Self::Requests => "requests",
        }
    }

    fn value(self, point: &Point) -> usize {
        match self {
            Self::Samples => point.samples,
            Self::Prompt => point.prompt,
            Self::Requests => point.requests,
        }
    }

    fn fixed(self, point: &Point) -> String {
        let Point { samples, prompt, generated, .. } = point;
        match self {
            Self::Samples => format!("prompt of {prompt}, {generated} generated each"),
            Self::Prompt => format!("k {samples}, {generated} generated each"),
            Self::Requests => {
                format!("k {samples}, prompts of {prompt}, {generated} generated each")
            }
        }
    }
}

impl std::fmt::Display for Against {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_curve_changes_one_quantity_alone_and_upwards() {
        for quick in [false, true] {
            for (against, points) in sweeps(quick) {
                for pair in points.windows(2) {
                    assert!(against.value(&pair[0]) < against.value(&pair[1]), "{against}");
                    assert_eq!(against.fixed(&pair[0]), against.fixed(&pair[1]), "{against}");
                }
            }
        }
    }

    #[test]
    fn the_whole_range_is_measured() {
        let values = |index: usize| {
            let (against, points) = &sweeps(false)[index];
            let values: Vec<_> = points.iter().map(|point| against.value(point)).collect();
            (values[0], values[values.len() - 1])
        };
        assert_eq!([values(0), values(1), values(2)], [(1, 64), (256, 4096), (1, 32)]);
    }
}
