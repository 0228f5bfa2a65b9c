//! The legend beside a picture's plots, where it covers nothing: one mark and name per row.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Drawn;
use crate::font::FONT;

/// From the upper edge to the middle of the first row; the same space is left below the last row. All constants here
/// are in pixels.
const TOP: i32 = 54;
const ROW: i32 = 24;
const MARK_WIDTH: i32 = 32;
const NAME_LEFT: i32 = 40;
const NAME_SIZE: i32 = 14;

/// A row: a small version of what the plots draw, and its name.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) line: Option<Stroke>,
    pub(crate) dot: Option<Dot>,
}

#[derive(Clone, Copy)]
pub(crate) struct Stroke {
    pub(crate) style: ShapeStyle,
    /// Length of dashes and of the gaps between them; `None`: a solid line.
    pub(crate) dash: Option<u32>,
}

#[derive(Clone, Copy)]
pub(crate) struct Dot {
    pub(crate) style: ShapeStyle,
    pub(crate) radius: i32,
}

/// Height of a legend with this many rows.
pub(crate) fn height(n_rows: usize) -> u32 {
    let n_rows = u32::try_from(n_rows).unwrap_or(u32::MAX);
    n_rows.saturating_sub(1).saturating_mul(ROW as u32).saturating_add(2 * TOP as u32)
}

/// Draws the rows from top to bottom.
pub(crate) fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    entries: impl IntoIterator<Item = Entry>,
) -> Drawn<B> {
    let rows = (TOP..).step_by(ROW as usize);
    for (Entry { name, line, dot }, y) in entries.into_iter().zip(rows) {
        if let Some(Stroke { style, dash }) = line {
            let dash = dash.map_or(MARK_WIDTH, |dash| dash.max(1) as i32);
            for x in (0..MARK_WIDTH).step_by(2 * dash as usize) {
                let end = (x + dash).min(MARK_WIDTH);
                area.draw(&PathElement::new([(x, y), (end, y)], style))?;
            }
        }
        if let Some(Dot { style, radius }) = dot {
            area.draw(&Circle::new((MARK_WIDTH / 2, y), radius, style))?;
        }
        area.draw(&Text::new(name, (NAME_LEFT, y - NAME_SIZE / 2), (FONT, NAME_SIZE)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{COLOURS, Picture, svg};
    use super::*;

    /// Rows with a line, with dashes and with a dot, in turn.
    struct Rows(usize);

    impl Picture for Rows {
        fn size(&self) -> (u32, u32) {
            (200, height(self.0))
        }

        fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<B> {
            let entry = |row: usize| Entry {
                name: format!("row {row}"),
                line: (row % 3 < 2).then_some(Stroke {
                    style: COLOURS[0].stroke_width(2),
                    dash: (row % 3 == 1).then_some(12),
                }),
                dot: (row % 3 == 2).then_some(Dot { style: COLOURS[1].filled(), radius: 5 }),
            };
            draw(area, (0..self.0).map(entry))
        }
    }

    #[test]
    fn every_row_is_drawn_with_its_mark_and_finds_room_in_the_height() {
        let svg = svg(&Rows(6)).unwrap();
        for row in 0..6 {
            assert!(svg.contains(&format!("row {row}\n")), "{svg}");
        }
        // With dashes and gaps of 12 pixels each, two dashes begin within 32.
        assert_eq!(svg.matches("<polyline").count(), 2 + 2 * 2);
        assert_eq!(svg.matches("<circle").count(), 2);
        let last = svg.split("<text").last().unwrap();
        let y = last.split("y=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(y.parse::<u32>().unwrap() < height(6), "{last}");
        assert_eq!(height(1), 2 * TOP as u32);
    }
}
