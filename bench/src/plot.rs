//! The curves of `jury bench scaling` as an SVG: one panel per curve, both axes logarithmic.
//!
//! Text is stored as text, so the viewer chooses the font.

use anyhow::anyhow;
use plotters::prelude::*;

use super::scaling::{Curve, Measured};

const SIZE: (u32, u32) = (1_200, 420);
/// Space around an axis's range, as a factor, so that points are not on the frame.
const MARGIN: f64 = 1.25;
const TOTAL: RGBColor = RGBColor(0x1f, 0x4e, 0x79);
const PREFILL: RGBColor = RGBColor(0xc0, 0x50, 0x20);

/// Draws the curves side by side.
pub fn plot(model: &str, curves: &[Curve]) -> anyhow::Result<String> {
    jury_eval::font::register()?;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        let panels = root.split_evenly((1, curves.len().max(1)));
        for (panel, curve) in panels.iter().zip(curves) {
            draw(panel, model, curve)?;
        }
        root.present().map_err(drawing)?;
    }
    Ok(svg)
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(panel: &Panel<'_>, model: &str, curve: &Curve) -> anyhow::Result<()> {
    let values = range(curve.points.iter().map(|point| point.value as f64));
    let seconds =
        range(curve.points.iter().flat_map(|point| [point.seconds, point.prefill_seconds]));
    let measured = curve.points.iter().map(|point| point.value as f64).collect();
    let title = format!("{model}: time against {}", curve.against);
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(
            values.log_scale().with_key_points(measured),
            seconds.clone().log_scale().with_key_points(round_numbers(&seconds)),
        )
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .x_desc(format!("{} ({})", curve.against, curve.fixed))
        .y_desc("seconds")
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| number(*value))
        .label_style(("sans-serif", 12))
        .light_line_style(WHITE)
        .draw()
        .map_err(drawing)?;
    type Seconds = fn(&Measured) -> f64;
    let lines: [(&str, RGBColor, Seconds); 2] = [
        ("all", TOTAL, |point| point.seconds),
        ("prefill", PREFILL, |point| point.prefill_seconds),
    ];
    for (name, colour, seconds) in lines {
        let points = || curve.points.iter().map(|point| (point.value as f64, seconds(point)));
        chart
            .draw_series(LineSeries::new(points(), colour.stroke_width(2)))
            .map_err(drawing)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        let dots = points().map(|at| Circle::new(at, 3, colour.filled()));
        chart.draw_series(dots).map_err(drawing)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 12))
        .draw()
        .map_err(drawing)
}

/// The range of all values plus a margin. Never empty and never 0, because the scale is logarithmic.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let positive = values.filter(|&value| value > 0.0);
    let (least, most) = positive
        .fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    if least > most { 1.0..10.0 } else { least / MARGIN..most * MARGIN }
}

/// 1, 2 and 5 times powers of ten, within the range.
fn round_numbers(range: &std::ops::Range<f64>) -> Vec<f64> {
    let decades = -9..9;
    decades
        .flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(decade)))
        .filter(|number| range.contains(number))
        .collect()
}

/// With as few digits as a round number needs.
fn number(value: f64) -> String {
    format!("{}", (value * 1e9).round() / 1e9)
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot cannot be drawn: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(against: &'static str, seconds: &[f64]) -> Curve {
        let point = |(index, &seconds): (usize, &f64)| Measured {
            value: 1 << index,
            seconds,
            prefill_seconds: seconds / 2.0,
            prefill_tokens: 1,
            shared_tokens: 0,
        };
        let points = seconds.iter().enumerate().map(point).collect();
        Curve { against, fixed: "k 8".to_owned(), points }
    }

    #[test]
    fn every_curve_has_its_title_axes_and_points() {
        let curves = [curve("samples", &[0.5, 0.8, 1.5]), curve("requests", &[1.0, 2.1])];
        let svg = plot("a-model", &curves).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in ["a-model: time against samples", "samples (k 8)", "seconds", "prefill"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg.matches("<circle").count(), 2 * 5);
        assert!(svg.matches("<polyline").count() >= 4);
    }

    #[test]
    fn an_axis_is_labelled_with_round_numbers_in_its_range() {
        let found: Vec<String> = round_numbers(&(0.3..25.0)).into_iter().map(number).collect();
        assert_eq!(found, ["0.5", "1", "2", "5", "10", "20"]);
    }

    #[test]
    fn nothing_measured_is_drawn_as_an_empty_panel() {
        assert!(plot("m", &[curve("samples", &[])]).is_ok());
        assert!(plot("m", &[]).is_ok());
    }

    #[test]
    fn a_logarithmic_range_is_never_empty_and_never_zero() {
        assert_eq!(range([].into_iter()), 1.0..10.0);
        let one = range([0.0, 4.0].into_iter());
        assert!(one.start > 0.0 && one.contains(&4.0));
    }
}
