//! The pictures of a training: losses by pass, and the reliability of the probabilities.

use std::f64::consts::LN_2;

use jury_eval::font::FONT;
use jury_eval::picture::{Drawn, Picture};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::{EpochLoss, MetaReport, ReliabilityBin};

const SIZE: (u32, u32) = (720, 440);
const TRAINING: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const VALIDATION: RGBColor = RGBColor(0xd6, 0x27, 0x28);
const QUIET: RGBColor = RGBColor(0x77, 0x77, 0x77);
/// Radius of the dot of a bin that holds all rows, in pixels.
const LARGEST_DOT: f64 = 18.0;

/// Training and validation loss by pass; the dot marks the pass whose weights were used.
pub(super) struct Losses<'a>(pub(super) &'a MetaReport);

/// The share of correct rows by predicted probability; for a calibrated head the dots lie on the diagonal.
pub(super) struct Reliability<'a>(pub(super) &'a MetaReport);

impl Picture for Losses<'_> {
    fn size(&self) -> (u32, u32) {
        SIZE
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<B> {
        let MetaReport { curve, best_epoch, config, .. } = self.0;
        let last = curve.last().map_or(1, |losses| losses.epoch) as f64;
        let all = || curve.iter().flat_map(|losses| [losses.train, losses.validation]);
        let (low, high) =
            all().fold((LN_2, LN_2), |(low, high), loss| (loss.min(low), loss.max(high)));
        let margin = 0.05 * (high - low).max(0.1);
        let mut chart = ChartBuilder::on(area)
            .caption(format!("{}: loss by pass", config.name), (FONT, 20))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..last + 1.0, (low - margin).max(0.0)..high + margin)?;
        chart
            .configure_mesh()
            .x_desc("pass over the training rows")
            .y_desc("binary cross-entropy, nats")
            .x_label_formatter(&|pass| format!("{pass:.0}"))
            .y_label_formatter(&|loss| format!("{loss:.2}"))
            .label_style((FONT, 14))
            .light_line_style(WHITE)
            .draw()?;
        let level = [(0.0, LN_2), (last + 1.0, LN_2)];
        chart.draw_series(DashedLineSeries::new(level, 6, 6, QUIET.stroke_width(1)))?;
        type Of = fn(&EpochLoss) -> f64;
        let parts: [(&str, RGBColor, Of); 2] = [
            ("training", TRAINING, |losses| losses.train),
            ("validation", VALIDATION, |losses| losses.validation),
        ];
        for (name, colour, of) in parts {
            let points = curve.iter().map(|losses| (losses.epoch as f64, of(losses)));
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?.label(name).legend(
                move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)),
            );
        }
        let kept = curve.iter().filter(|losses| losses.epoch == *best_epoch);
        let dots = kept.map(|losses| (losses.epoch as f64, losses.validation));
        chart
            .draw_series(dots.map(|at| Circle::new(at, 5, VALIDATION.filled())))?
            .label("kept")
            .legend(|(x, y)| Circle::new((x + 10, y), 5, VALIDATION.filled()));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .label_font((FONT, 14))
            .draw()
    }
}

impl Picture for Reliability<'_> {
    fn size(&self) -> (u32, u32) {
        (SIZE.1 + 40, SIZE.1)
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<B> {
        let MetaReport { reliability, calibration_error, config, .. } = self.0;
        let title = format!("{}: error {calibration_error:.3} (test)", config.name);
        let mut chart = ChartBuilder::on(area)
            .caption(title, (FONT, 20))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        chart
            .configure_mesh()
            .x_desc("probability that a sample is correct, after the head")
            .y_desc("share that is correct")
            .x_label_formatter(&|share| format!("{share:.1}"))
            .y_label_formatter(&|share| format!("{share:.1}"))
            .label_style((FONT, 14))
            .light_line_style(WHITE)
            .draw()?;
        let diagonal = [(0.0, 0.0), (1.0, 1.0)];
        chart.draw_series(DashedLineSeries::new(diagonal, 6, 6, QUIET.stroke_width(1)))?;
        let at = |bin: &ReliabilityBin| (bin.probability, bin.correct);
        let line = reliability.iter().map(at);
        chart.draw_series(LineSeries::new(line, TRAINING.stroke_width(1)))?;
        let rows: usize = reliability.iter().map(|bin| bin.rows).sum();
        // The dot's area is proportional to the share of the rows.
        let radius = |bin: &ReliabilityBin| {
            3.0 + LARGEST_DOT * (bin.rows as f64 / rows.max(1) as f64).sqrt()
        };
        let dots = reliability
            .iter()
            .map(|bin| Circle::new(at(bin), radius(bin) as i32, TRAINING.mix(0.5).filled()));
        chart.draw_series(dots)?;
        Ok(())
    }
}
