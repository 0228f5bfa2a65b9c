//! Curves over steps, one panel each.

use jury_eval::font::FONT;
use jury_eval::picture::{Drawn, Picture};
use plotters::coord::Shift;
use plotters::prelude::*;

const PANEL: (u32, u32) = (520, 300);
const COLUMNS: usize = 2;
const LINE: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const SMOOTH: RGBColor = RGBColor(0xd6, 0x27, 0x28);
/// Window of the moving average in the second line, in steps.
const SMOOTH_STEPS: usize = 10;

/// Curves that share the x axis: steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves(pub Vec<Curve>);

/// One panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The quantity, with its unit.
    pub title: String,
    /// Step and value.
    pub points: Vec<(f64, f64)>,
}

// === impl Curve ===

impl Curve {
    /// A curve of (step, value) points; values that are not finite are dropped.
    pub fn new(title: &str, points: impl Iterator<Item = (f64, f64)>) -> Curve {
        let points = points.filter(|(_, value)| value.is_finite()).collect();
        Curve { title: title.to_owned(), points }
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<B> {
        let last = self.points.last().map_or(1.0, |point| point.0).max(1.0);
        let values = || self.points.iter().map(|point| point.1);
        let low = values().reduce(f64::min).unwrap_or(0.0);
        let high = values().reduce(f64::max).unwrap_or(1.0);
        let margin = 0.05 * (high - low).max(1e-3);
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 16))
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..last, low - margin..high + margin)?;
        chart
            .configure_mesh()
            .x_desc("step")
            .x_label_formatter(&|step| format!("{step:.0}"))
            .y_label_formatter(&|value| thousandths(*value))
            .label_style((FONT, 12))
            .light_line_style(WHITE)
            .draw()?;
        let line = self.points.iter().copied();
        chart.draw_series(LineSeries::new(line, LINE.stroke_width(1)))?;
        if self.points.len() >= 2 * SMOOTH_STEPS {
            let mean = self.points.windows(SMOOTH_STEPS).map(|window| {
                let sum: f64 = window.iter().map(|point| point.1).sum();
                (window[SMOOTH_STEPS - 1].0, sum / SMOOTH_STEPS as f64)
            });
            chart.draw_series(LineSeries::new(mean, SMOOTH.stroke_width(2)))?;
        }
        Ok(())
    }
}

// === impl Curves ===

impl Picture for Curves {
    fn size(&self) -> (u32, u32) {
        let columns = self.0.len().clamp(1, COLUMNS);
        let rows = self.0.len().div_ceil(columns).max(1);
        (PANEL.0 * columns as u32, PANEL.1 * rows as u32)
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<B> {
        let columns = self.0.len().clamp(1, COLUMNS);
        let panels = area.split_evenly((self.0.len().div_ceil(columns).max(1), columns));
        self.0.iter().zip(&panels).try_for_each(|(curve, panel)| curve.draw(panel))
    }
}

/// With three decimals; a value that rounds to 0 has no sign.
fn thousandths(value: f64) -> String {
    format!("{:.3}", (value * 1000.0).round() / 1000.0 + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_has_no_sign() {
        assert_eq!(thousandths(-2e-17), "0.000");
        assert_eq!(thousandths(-0.0004), "0.000");
        assert_eq!(thousandths(-0.25), "-0.250");
    }

    #[test]
    fn curves_are_drawn_even_when_there_is_nothing_to_draw() {
        let long = Curve::new("reward", (0..40).map(|step| (f64::from(step), f64::from(step % 7))));
        let none = Curve::new("KL", [(1.0, f64::NAN)].into_iter());
        let svg = jury_eval::picture::svg(&Curves(vec![long, none.clone(), none])).unwrap();
        assert!(svg.contains("reward") && svg.contains("KL"));
        assert!(jury_eval::picture::png(&Curves(Vec::new())).is_ok());
    }
}
