//! `jury plan`.

use jury_bench::sizing::{Ask, Sizing, sizing};
use jury_grm::domain::json_line;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::page::columns;

use crate::args::PlanArgs;
use crate::score::print;

pub fn run(args: &PlanArgs) -> Result<Exit, Failed> {
    let ask = Ask {
        groups: args.groups,
        k: args.k,
        orders: args.orders,
        prompt_tokens: args.prompt_tokens,
        critique_tokens: args.critique_tokens,
        step_seconds: args.step.as_secs_f64(),
        places: args.places,
        decode_rate: args.decode_rate,
        prefill_rate: args.prefill_rate,
        spare: args.spare,
    };
    let sizing = sizing(ask).or_exit(Exit::Usage)?;
    print(&if args.json {
        json_line(&sizing).or_exit(Exit::Internal)?
    } else {
        page(ask, sizing)
    })?;
    Ok(Exit::Done)
}

fn page(ask: Ask, sizing: Sizing) -> String {
    let Ask {
        groups,
        k,
        critique_tokens,
        decode_rate,
        prefill_rate,
        step_seconds,
        spare,
        places,
        ..
    } = ask;
    let rows = [
        ["samples", &format!("{}", sizing.samples), &format!("{groups} groups x k {k}")],
        [
            "generated",
            &format!("{} tokens", sizing.generated_tokens),
            &format!(
                "{critique_tokens} per sample; each worker generates {decode_rate} per second"
            ),
        ],
        [
            "prompts",
            &format!("{} tokens", sizing.prompt_tokens),
            &format!("one prompt per order; each worker processes {prefill_rate} per second"),
        ],
        ["one worker", &format!("{:.1} s", sizing.worker_seconds), "for the whole step"],
        ["one sample", &format!("{:.1} s", sizing.sample_seconds), "on a full worker"],
        [
            "by work",
            &sizing.by_work.to_string(),
            &format!("workers for {:.0} % more than that, in {step_seconds} s", 100.0 * spare),
        ],
        ["by rounds", &sizing.by_rounds.to_string(), &format!("workers with {places} slots each")],
        ["workers", &sizing.workers.to_string(), &format!("{} slots in total", sizing.places)],
    ];
    columns(&rows.map(|row| row.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_is_shown() {
        let page = page(Ask::EXAMPLE, sizing(Ask::EXAMPLE).unwrap());
        let line =
            |name: &str| page.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(line("one worker").contains("179.2 s"), "{page}");
        assert!(line("by work").contains("20 % more than that, in 60 s"), "{page}");
        assert!(line("workers").contains(" 4 ") && line("workers").contains("256"), "{page}");
    }
}
