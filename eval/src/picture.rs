//! Pictures as SVG and PNG, drawn with the built-in font so that they look the same everywhere.

pub(crate) mod legend;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::font;

/// Colours of lines.
pub(crate) const COLOURS: [RGBColor; 7] = [
    RGBColor(0x55, 0x55, 0x55),
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x17, 0xbe, 0xcf),
];

/// Something that can be drawn on either backend.
pub trait Picture {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Draws it on a white area of that size.
    ///
    /// # Errors
    /// Errors of the plotting library.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Drawn<B>;
}

/// The result of drawing on a backend.
pub type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// Why a picture cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the picture cannot be drawn: {0}")]
pub struct PictureError(String);

/// The picture as SVG. Its text is stored as text, and rendered by the viewer.
///
/// # Errors
/// [`PictureError`] if the plotting library fails.
pub fn svg(picture: &impl Picture) -> Result<String, PictureError> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, picture.size()).into_drawing_area();
    draw(picture, &area)?;
    drop(area);
    Ok(svg)
}

/// The picture as the bytes of a PNG.
///
/// # Errors
/// [`PictureError`] if the plotting library fails.
pub fn png(picture: &impl Picture) -> Result<Vec<u8>, PictureError> {
    let (width, height) = picture.size();
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
    draw(picture, &area)?;
    drop(area);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    written.map_err(|error| PictureError(error.to_string()))?;
    Ok(bytes)
}

/// Minimum and maximum of the values.
pub(crate) fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((f64::min(low, value), f64::max(high, value))),
    })
}

fn draw<B: DrawingBackend>(
    picture: &impl Picture,
    area: &DrawingArea<B, Shift>,
) -> Result<(), PictureError> {
    font::register().map_err(|error| PictureError(error.to_string()))?;
    let drawn = area.fill(&WHITE).and_then(|()| picture.draw(area)).and_then(|()| area.present());
    drawn.map_err(|error| PictureError(error.to_string()))
}
