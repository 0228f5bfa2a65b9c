//! The curve as a picture: accuracy by number of samples.

use std::collections::BTreeMap;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Cell, Report};
use crate::font::FONT;
use crate::picture::legend::{self, Entry, Stroke};
use crate::picture::{self, COLOURS, Drawn, Picture, PictureError, range};

const SIZE: (u32, u32) = (900, 560);
const BASELINE: RGBColor = RGBColor(0x77, 0x77, 0x77);
const DASHES: [u32; 3] = [12, 2, 6];
const LEGEND_WIDTH: u32 = 150;
/// Margin above and below the curves, in accuracy.
const MARGIN: f64 = 0.03;

/// The curve as SVG.
///
/// # Errors
/// [`PictureError`] if the plotting library fails.
pub fn svg(report: &Report) -> Result<String, PictureError> {
    picture::svg(&Curve(report))
}

/// The curve as the bytes of a PNG.
///
/// # Errors
/// [`PictureError`] if the plotting library fails.
pub fn png(report: &Report) -> Result<Vec<u8>, PictureError> {
    picture::png(&Curve(report))
}

struct Curve<'a>(&'a Report);

impl Picture for Curve<'_> {
    fn size(&self) -> (u32, u32) {
        SIZE
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<B> {
        let lines = lines(self.0);
        let (plot, legend) = area.split_horizontally(SIZE.0 - LEGEND_WIDTH);
        draw_lines(&plot, self.0, &lines)?;
        legend::draw(&legend, lines.iter().map(Line::entry))
    }
}

fn draw_lines<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    report: &Report,
    lines: &[Line],
) -> Drawn<B> {
    let ks: Vec<f64> =
        report.curve.values().flat_map(|cells| cells.keys().map(|k| *k as f64)).collect();
    let (low_k, high_k) = range(ks.iter().copied()).unwrap_or((1.0, 2.0));
    let accuracies =
        lines.iter().flat_map(|line| line.points.iter().flat_map(|point| [point.low, point.high]));
    let (low, high) = range(accuracies).unwrap_or((0.0, 1.0));
    let model = report.about.model.as_deref().unwrap_or("");
    let title = format!("{model}: accuracy against samples, {} items", report.n_items);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 20))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(60)
        .build_cartesian_2d(
            (low_k..high_k.max(low_k * 2.0)).log_scale().with_key_points(ks),
            (low - MARGIN).max(0.0)..(high + MARGIN).min(1.0),
        )?;
    chart
        .configure_mesh()
        .x_desc("samples (k)")
        .y_desc("accuracy, a tie is wrong")
        .x_label_formatter(&|k| format!("{k:.0}"))
        .y_label_formatter(&|accuracy| format!("{:.0} %", 100.0 * accuracy))
        .label_style((FONT, 14))
        .light_line_style(WHITE)
        .draw()?;
    for line in lines {
        let middle = line.points.iter().map(|point| (point.k, point.accuracy));
        if let Some(dash) = line.dash {
            chart.draw_series(DashedLineSeries::new(middle, dash, dash, line.style()))?;
            continue;
        }
        chart.draw_series(LineSeries::new(middle, line.style()))?;
        let bars = line.points.iter().map(|point| {
            let style = line.colour.stroke_width(1).filled();
            ErrorBar::new_vertical(point.k, point.low, point.accuracy, point.high, style, 6)
        });
        chart.draw_series(bars)?;
    }
    Ok(())
}

/// A line of the picture.
struct Line {
    name: String,
    colour: RGBColor,
    /// Length of dashes, in pixels; `None`: a solid line with intervals.
    dash: Option<u32>,
    points: Vec<LinePoint>,
}

struct LinePoint {
    k: f64,
    accuracy: f64,
    low: f64,
    high: f64,
}

// === impl Line ===

impl Line {
    fn style(&self) -> ShapeStyle {
        self.colour.stroke_width(if self.dash.is_some() { 1 } else { 2 })
    }

    fn entry(&self) -> Entry {
        let line = Stroke { style: self.style(), dash: self.dash };
        Entry { name: self.name.clone(), line: Some(line), dot: None }
    }
}

fn lines(report: &Report) -> Vec<Line> {
    let all_ks: Vec<usize> = report.curve.values().flat_map(BTreeMap::keys).copied().collect();
    let ends = [all_ks.iter().min(), all_ks.iter().max()].map(|k| k.copied().unwrap_or(1));
    let mut lines = Vec::new();
    for ((method, cells), colour) in report.curve.iter().zip(COLOURS.iter().cycle()) {
        // A method that is drawn once, such as the greedy sample, is a horizontal line over all k.
        let points: Vec<LinePoint> = match cells.iter().next() {
            Some((_, cell)) if cells.len() == 1 => {
                ends.iter().filter_map(|k| point(*k, cell)).collect()
            }
            _ => cells.iter().filter_map(|(k, cell)| point(*k, cell)).collect(),
        };
        lines.push(Line { name: method.to_string(), colour: *colour, dash: None, points });
    }
    for ((name, cell), dash) in report.baselines.iter().zip(DASHES.iter().cycle()) {
        let points = ends.iter().filter_map(|k| point(*k, cell)).collect();
        lines.push(Line { name: name.clone(), colour: BASELINE, dash: Some(*dash), points });
    }
    lines.retain(|line| !line.points.is_empty());
    lines
}

fn point(k: usize, cell: &Cell) -> Option<LinePoint> {
    let accuracy = cell.accuracy?;
    let [low, high] = cell.interval.unwrap_or([accuracy, accuracy]);
    Some(LinePoint { k: k as f64, accuracy, low, high })
}
