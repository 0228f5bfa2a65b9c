//! A picture that compares reports: accuracy by tokens and by seconds per item.

use std::collections::BTreeMap;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Row;
use crate::font::FONT;
use crate::picture::legend::{self, Dot, Entry, Stroke};
use crate::picture::{self, COLOURS, Drawn, Picture, PictureError, range};

const WIDTH: u32 = 1190;
const LEAST_HEIGHT: u32 = 480;
const LEGEND_WIDTH: u32 = 340;
/// Maximum characters of a legend entry. Longer ones lose their beginning, because paths differ at the end.
const LEGEND_SIGNS: usize = 42;
/// Margin above and below the curves, in accuracy.
const MARGIN: f64 = 0.03;
/// Lower costs are drawn at this value, because a logarithmic axis has no 0.
const LEAST_COST: f64 = 1e-3;

/// The rows as SVG.
///
/// # Errors
/// [`PictureError`] if the plotting library fails.
pub fn svg(rows: &[Row]) -> Result<String, PictureError> {
    picture::svg(&Compared(lines(rows)))
}

/// The rows as the bytes of a PNG.
///
/// # Errors
/// [`PictureError`] if the plotting library fails.
pub fn png(rows: &[Row]) -> Result<Vec<u8>, PictureError> {
    picture::png(&Compared(lines(rows)))
}

/// One method of one report; a scalar model is a line of one point.
struct Line<'a> {
    name: String,
    /// Ordered by number of samples.
    points: Vec<&'a Row>,
}

struct Compared<'a>(Vec<Line<'a>>);

/// The cost of a point.
struct Cost {
    title: &'static str,
    of: fn(&Row) -> f64,
}

const COSTS: [Cost; 2] = [
    Cost { title: "tokens an item, read and written", of: Row::tokens },
    Cost { title: "seconds an item", of: |row| row.seconds },
];

fn lines(rows: &[Row]) -> Vec<Line<'_>> {
    let mut by_name = BTreeMap::<(&str, &str, &str), Vec<&Row>>::new();
    for row in rows.iter().filter(|row| row.accuracy().is_some()) {
        let model = row.model.as_deref().unwrap_or("unknown");
        by_name.entry((&row.report, model, &row.method)).or_default().push(row);
    }
    let line = |((report, model, method), mut points): ((&str, &str, &str), Vec<_>)| {
        points.sort_by_key(|row: &&Row| row.k);
        Line { name: tail(&format!("{report}: {model}, {method}")), points }
    };
    by_name.into_iter().map(line).collect()
}

fn tail(name: &str) -> String {
    let n = name.chars().count();
    match n > LEGEND_SIGNS {
        true => format!("..{}", name.chars().skip(n + 2 - LEGEND_SIGNS).collect::<String>()),
        false => name.to_owned(),
    }
}

impl Picture for Compared<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH, legend::height(self.0.len()).max(LEAST_HEIGHT))
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<B> {
        let (plots, legend) = area.split_horizontally(WIDTH - LEGEND_WIDTH);
        for (plot, cost) in plots.split_evenly((1, COSTS.len())).iter().zip(&COSTS) {
            draw_cost(plot, &self.0, cost)?;
        }
        let entry = |(place, line): (usize, &Line<'_>)| {
            let (colour, radius) = style(place);
            Entry {
                name: line.name.clone(),
                line: Some(Stroke { style: colour.stroke_width(2), dash: None }),
                dot: Some(Dot { style: colour.filled(), radius }),
            }
        };
        legend::draw(&legend, self.0.iter().enumerate().map(entry))
    }
}

fn draw_cost<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    lines: &[Line<'_>],
    cost: &Cost,
) -> Drawn<B> {
    let at = |row: &Row| ((cost.of)(row).max(LEAST_COST), row.accuracy().unwrap_or(0.0));
    let points = || lines.iter().flat_map(|line| &line.points).map(|row| at(row));
    let (cheap, dear) = range(points().map(|(cost, _)| cost)).unwrap_or((1.0, 10.0));
    let (low, high) = range(points().map(|(_, accuracy)| accuracy)).unwrap_or((0.0, 1.0));
    let mut chart = ChartBuilder::on(area)
        .caption(format!("accuracy against {}", cost.title), (FONT, 17))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(52)
        .build_cartesian_2d(
            (cheap / 1.2..dear * 1.2).log_scale(),
            (low - MARGIN).max(0.0)..(high + MARGIN).min(1.0),
        )?;
    chart
        .configure_mesh()
        .x_desc(cost.title)
        .x_labels(5)
        .x_label_formatter(&|cost| {
            if *cost < 10.0 { format!("{cost:.2}") } else { format!("{cost:.0}") }
        })
        .y_label_formatter(&|accuracy| format!("{:.0} %", 100.0 * accuracy))
        .label_style((FONT, 13))
        .light_line_style(WHITE)
        .draw()?;
    for (place, line) in lines.iter().enumerate() {
        let (colour, radius) = style(place);
        let points = || line.points.iter().map(|row| at(row));
        chart.draw_series(LineSeries::new(points(), colour.stroke_width(2)))?;
        chart.draw_series(points().map(|at| Circle::new(at, radius, colour.filled())))?;
    }
    Ok(())
}

/// Colour and size of dots. After the last colour they start over with larger dots.
fn style(place: usize) -> (RGBColor, i32) {
    let round = i32::try_from(place / COLOURS.len()).unwrap_or(0);
    (COLOURS[place % COLOURS.len()], 3 + 2 * round.min(5))
}
