//! Text on a terminal: colours, wrapping, previews. Text of models and callers is shown without its control
//! characters, so that a critique cannot move the cursor.

/// Colours, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Colours,
}

// === impl Paint ===

impl Paint {
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    pub fn green(self, text: &str) -> String {
        self.wrap("1;32", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colours => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// The start of `text` on one line of at most `width` columns.
pub fn one_line(text: &str, width: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = without_controls(&words.join(" "));
    if textwrap::core::display_width(&line) <= width {
        return line;
    }
    let mut shown = String::new();
    let mut columns = 0;
    for character in line.chars() {
        columns += textwrap::core::display_width(character.encode_utf8(&mut [0; 4]));
        if columns + 1 > width {
            break;
        }
        shown.push(character);
    }
    shown.push('…');
    shown
}

/// `text` in lines of at most `width` columns, each after `indent`, ended by a line end.
pub fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let options =
        textwrap::Options::new(width.max(20)).initial_indent(indent).subsequent_indent(indent);
    let clean = without_controls(text);
    let lines = textwrap::wrap(&clean, options);
    lines.iter().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

fn without_controls(text: &str) -> String {
    text.chars().filter(|&character| character == '\n' || !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_fits_its_width_whatever_the_letters() {
        assert_eq!(one_line("two\nlines", 20), "two lines");
        for width in 1..20 {
            let preview = one_line("漢字漢字漢字 and letters", width);
            assert!(textwrap::core::display_width(&preview) <= width, "{preview:?} in {width}");
        }
    }

    #[test]
    fn a_models_control_characters_never_reach_the_terminal() {
        assert_eq!(one_line("a\x1b[2Jb", 20), "a[2Jb");
        assert_eq!(wrapped("a\x1b[2J\nb", 40, ""), "a[2J\nb\n");
    }

    #[test]
    fn an_empty_line_stays_empty() {
        assert_eq!(wrapped("a\n\nb", 40, "  "), "  a\n\n  b\n");
    }
}
