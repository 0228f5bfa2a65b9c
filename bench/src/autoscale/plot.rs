//! Workers needed, wanted and ready over time as an SVG, one panel per load.

use anyhow::anyhow;
use plotters::prelude::*;

use super::control::Settings;
use super::{Outcome, Second};

const SIZE: (u32, u32) = (1_200, 760);
/// Panels per row.
const COLUMNS: usize = 3;
const NEEDED: RGBColor = RGBColor(0xb0, 0xb0, 0xb0);
const WANTED: RGBColor = RGBColor(0xc0, 0x50, 0x20);
const READY: RGBColor = RGBColor(0x1f, 0x4e, 0x79);

/// Draws the runs side by side.
pub fn plot(runs: &[(Outcome, Vec<Second>)], settings: Settings) -> anyhow::Result<String> {
    jury_eval::font::register()?;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        let panels = root.split_evenly((runs.len().div_ceil(COLUMNS), COLUMNS));
        for (panel, (outcome, seconds)) in panels.iter().zip(runs) {
            draw(panel, outcome, seconds, settings)?;
        }
        root.present().map_err(drawing)?;
    }
    Ok(svg)
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(
    panel: &Panel<'_>,
    outcome: &Outcome,
    seconds: &[Second],
    settings: Settings,
) -> anyhow::Result<()> {
    let minutes = seconds.len() as f64 / 60.0;
    // Leaves room for the legend above the highest curve.
    let most = f64::from(outcome.most_workers.max(1)) * 1.4;
    let mut chart = ChartBuilder::on(panel)
        .caption(outcome.load, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..minutes, 0.0..most)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .x_desc("minutes")
        .y_desc("workers")
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .label_style(("sans-serif", 12))
        .light_line_style(WHITE)
        .draw()
        .map_err(drawing)?;
    let per_worker = f64::from(settings.samples_per_worker);
    let needed = |second: &Second| (f64::from(second.demand) / per_worker).min(most);
    type Workers<'a> = &'a dyn Fn(&Second) -> f64;
    let lines: [(&str, RGBColor, Workers<'_>); 3] = [
        ("demand / samples a worker", NEEDED, &needed),
        ("wanted", WANTED, &|second| f64::from(second.wanted)),
        ("ready", READY, &|second| f64::from(second.ready)),
    ];
    for (name, colour, workers) in lines {
        // A point every five seconds is finer than a pixel.
        let every_fifth = seconds.iter().enumerate().step_by(5);
        let points = every_fifth.map(|(at, second)| (at as f64 / 60.0, workers(second)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))
            .map_err(drawing)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.filled())
        .label_font(("sans-serif", 12))
        .draw()
        .map_err(drawing)
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot cannot be drawn: {error}")
}
