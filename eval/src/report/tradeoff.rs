//! The trade-off of early stopping as a picture: samples saved against changed picks, and against the bias of the
//! pick.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Report;
use crate::font::FONT;
use crate::picture::legend::{self, Dot, Entry};
use crate::picture::{self, COLOURS, Drawn, Picture, PictureError, range};
use crate::stopping::Stopped;

const SIZE: (u32, u32) = (970, 440);
const LEGEND_WIDTH: u32 = 200;
/// Radius of a rule's dot, in pixels.
const DOT: i32 = 6;
/// Minimum range of an axis: 1 % of samples or picks, a hundredth of a point.
const NARROWEST: f64 = 0.01;

/// The trade-off as SVG.
///
/// # Errors
/// [`PictureError`] if the plotting library fails.
pub fn tradeoff_svg(report: &Report) -> Result<String, PictureError> {
    picture::svg(&TradeOff(&report.stopping))
}

/// The trade-off as the bytes of a PNG.
///
/// # Errors
/// [`PictureError`] if the plotting library fails.
pub fn tradeoff_png(report: &Report) -> Result<Vec<u8>, PictureError> {
    picture::png(&TradeOff(&report.stopping))
}

struct TradeOff<'a>(&'a [Stopped]);

/// The cost of saving samples.
struct Cost {
    title: &'static str,
    of: fn(&Stopped) -> f64,
    text: fn(&f64) -> String,
}

const COSTS: [Cost; 2] = [
    Cost {
        title: "items with another pick",
        of: |stopped| stopped.other_pick,
        text: |share| format!("{:.1} %", 100.0 * share),
    },
    Cost {
        title: "pick's reward higher by, points",
        of: |stopped| stopped.bias_of_pick,
        text: |bias| format!("{bias:+.2}"),
    },
];

impl Picture for TradeOff<'_> {
    fn size(&self) -> (u32, u32) {
        SIZE
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<B> {
        let (plots, legend) = area.split_horizontally(SIZE.0 - LEGEND_WIDTH);
        for (plot, cost) in plots.split_evenly((1, COSTS.len())).iter().zip(&COSTS) {
            draw_cost(plot, self.0, cost)?;
        }
        let entry = |(stopped, style): (&Stopped, _)| Entry {
            name: stopped.name(),
            line: None,
            dot: Some(Dot { style, radius: DOT }),
        };
        legend::draw(&legend, self.0.iter().zip(styles()).map(entry))
    }
}

fn draw_cost<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    rules: &[Stopped],
    cost: &Cost,
) -> Drawn<B> {
    let padded = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = range(values).unwrap_or((0.0, 0.0));
        let margin = 0.08 * (high - low).max(NARROWEST);
        low.min(0.0) - margin..high.max(NARROWEST) + margin
    };
    let mut chart = ChartBuilder::on(area)
        .caption(cost.title, (FONT, 17))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(56)
        .build_cartesian_2d(
            padded(&mut rules.iter().map(|stopped| stopped.saved)),
            padded(&mut rules.iter().map(cost.of)),
        )?;
    chart
        .configure_mesh()
        .x_desc("samples saved")
        .x_label_formatter(&|share| format!("{:.0} %", 100.0 * share))
        .y_label_formatter(&cost.text)
        .label_style((FONT, 13))
        .light_line_style(WHITE)
        .draw()?;
    let dots = rules
        .iter()
        .zip(styles())
        .map(|(stopped, style)| Circle::new((stopped.saved, (cost.of)(stopped)), DOT, style));
    chart.draw_series(dots)?;
    Ok(())
}

/// One style per rule: filled dots, then rings, so that no two look the same.
fn styles() -> impl Iterator<Item = ShapeStyle> {
    let full = COLOURS.iter().map(Color::filled);
    full.chain(COLOURS.iter().map(|colour| colour.stroke_width(2)))
}
