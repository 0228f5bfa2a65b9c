//! Bytes to text, with what they are instead.

/// Some editors put it before a text, and whoever joins their files leaves it on lines of its own.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Why bytes are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// As some Windows programs write it.
    #[error("UTF-16, must be UTF-8: `iconv -f UTF-16 -t UTF-8 FILE` converts it")]
    Utf16,
    /// Another encoding, or no text at all.
    #[error("not UTF-8, from byte {position} on")]
    NotUtf8 {
        /// 1-based.
        position: usize,
    },
}

/// A whole file as text, without byte order marks before it.
///
/// # Errors
/// [`NotText`].
pub fn text(bytes: &[u8]) -> Result<&str, NotText> {
    if is_utf16(bytes) {
        return Err(NotText::Utf16);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| NotText::NotUtf8 { position: error.valid_up_to() + 1 })?;
    Ok(text.trim_start_matches('\u{feff}'))
}

/// True of the start of a text in UTF-16: its mark, or a character of ASCII beside a zero, which no JSON holds.
pub(super) fn is_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=255, ..] | [1..=255, 0, ..])
}

/// True of a line with nothing to read on it.
pub(super) fn is_blank(mut line: &[u8]) -> bool {
    while let Some(rest) = line.strip_prefix(BYTE_ORDER_MARK) {
        line = rest;
    }
    line.trim_ascii().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_16_is_called_that_with_its_mark_and_without() {
        let units = "\u{feff}{}".encode_utf16();
        let little: Vec<u8> = units.clone().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units.flat_map(u16::to_be_bytes).collect();
        for bytes in [&little[..], &big[..], &little[2..], &big[2..]] {
            assert_eq!(text(bytes), Err(NotText::Utf16), "{bytes:?}");
        }
    }

    #[test]
    fn utf_8_is_read_without_its_mark() {
        assert_eq!(text("\u{feff}{}".as_bytes()), Ok("{}"));
        assert_eq!(text(b""), Ok(""));
        assert_eq!(text(b"caf\xe9"), Err(NotText::NotUtf8 { position: 4 }));
    }
}
