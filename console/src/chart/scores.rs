//! The scores of one response: a dot for each sample, and the reward among them.

use std::collections::BTreeMap;

use jury_grm::domain::Scale;
use maud::{Markup, html};

use super::{n, x};
use crate::opened::Point;
use crate::words;

const WIDTH: f64 = 320.0;
const EDGE: f64 = 12.0;
const RADIUS: f64 = 3.6;
/// Room for dots above the axis.
const HEIGHT: f64 = 46.0;
const AXIS: f64 = 52.0;
/// Overlapping dots are stacked: this is the width of a column.
const COLUMN: f64 = 2.0 * RADIUS + 0.6;

/// One dot per sample: filled if it votes, hollow if it does not. `reward` is drawn if it is within the scale of
/// scores.
pub(crate) fn scores(
    points: &[Point],
    scale: Scale,
    reward: Option<f64>,
    response: usize,
) -> Markup {
    let dots = stacked(points, scale);
    let reward_x = reward.map(|reward| x(reward, scale, EDGE, WIDTH - EDGE));
    html! {
        svg.scores width=(n(WIDTH)) height="70" viewBox="0 0 320 70" role="img" {
            title { (describe(points, reward, response)) }
            line.axis x1=(n(EDGE)) y1=(n(AXIS)) x2=(n(WIDTH - EDGE)) y2=(n(AXIS)) {}
            @for tick in ticks(scale) {
                @let at = x(f64::from(tick), scale, EDGE, WIDTH - EDGE);
                line.tick x1=(n(at)) y1=(n(AXIS)) x2=(n(at)) y2=(n(AXIS + 4.0)) {}
                text.label x=(n(at)) y=(n(AXIS + 15.0)) text-anchor="middle" { (tick) }
            }
            @if let Some(at) = reward_x {
                line.reward x1=(n(at)) y1="2" x2=(n(at)) y2=(n(AXIS)) {}
                path.reward d={ "M" (n(at - 4.5)) " 0h9l-4.5 6z" } {}
            }
            @for (at, y, is_heard) in dots {
                circle.heard[is_heard].silent[!is_heard] cx=(n(at)) cy=(n(y)) r=(n(RADIUS)) {}
            }
        }
    }
}

/// The position of each dot, and whether its sample counts.
fn stacked(points: &[Point], scale: Scale) -> Vec<(f64, f64, bool)> {
    let mut columns: BTreeMap<i64, Vec<(f64, bool)>> = BTreeMap::new();
    for point in points {
        let at = x(point.score, scale, EDGE, WIDTH - EDGE);
        let column = (at / COLUMN).round() as i64;
        columns.entry(column).or_default().push((at, point.voice.is_heard()));
    }
    let mut dots = Vec::with_capacity(points.len());
    for mut column in columns.into_values() {
        // Samples that count are at the bottom, however many others there are.
        column.sort_by_key(|(_, is_heard)| !is_heard);
        let room = HEIGHT - 2.0 * RADIUS;
        let step = (room / (column.len().max(2) - 1) as f64).min(2.0 * RADIUS + 0.8);
        for (level, (at, is_heard)) in column.into_iter().enumerate() {
            dots.push((at, AXIS - RADIUS - 2.0 - step * level as f64, is_heard));
        }
    }
    dots
}

/// The labelled scores of the axis: all of a short scale, every nth of a long one.
fn ticks(scale: Scale) -> impl Iterator<Item = i32> {
    let step = ((scale.max - scale.min).max(1) + 9) / 10;
    (scale.min..=scale.max).filter(move |tick| (tick - scale.min) % step == 0)
}

fn describe(points: &[Point], reward: Option<f64>, response: usize) -> String {
    let of = |is_heard: bool| {
        let listed = points.iter().filter(|point| point.voice.is_heard() == is_heard);
        listed.map(|point| words::score(point.score)).collect::<Vec<_>>().join(", ")
    };
    let (heard, silent) = (of(true), of(false));
    let mut said = format!("Scores of responses[{response}]: ");
    said.push_str(if heard.is_empty() { "none" } else { &heard });
    if !silent.is_empty() {
        said.push_str(&format!("; of samples that did not vote: {silent}"));
    }
    if let Some(reward) = reward {
        said.push_str(&format!("; reward {reward:.2}"));
    }
    said
}
