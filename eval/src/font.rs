//! The one built-in font for pictures, because a machine may have none.

/// The name under which plotters finds it.
pub const FONT: &str = "sans-serif";

/// The built-in font cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the font that is built in cannot be read")]
pub struct NoFont;

/// Registers the font with plotters. Required before anything is drawn, even as SVG, because text is measured.
///
/// # Errors
/// [`NoFont`], which a test rules out.
pub fn register() -> Result<(), NoFont> {
    let bytes = epaint_default_fonts::UBUNTU_LIGHT;
    plotters::style::register_font(FONT, plotters::style::FontStyle::Normal, bytes)
        .map_err(|_| NoFont)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_font_can_be_read() {
        assert!(super::register().is_ok());
    }
}
