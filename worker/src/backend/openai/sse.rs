//! Parses server-sent events from bytes: pure, however the bytes are split into pieces.

/// Longest line that is read; log-probabilities make lines long.
const MAX_LINE_BYTES: usize = 4 << 20;

/// One meaningful line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// The data of a message.
    Data(String),
    /// A comment, with which a busy server shows that it is alive.
    Comment,
    /// A line that is not a server-sent event.
    Foreign(String),
}

/// Bytes that do not form a complete line yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

/// A line that exceeds the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineTooLong;

// === impl Lines ===

impl Lines {
    /// The events that these bytes complete. In an OpenAI-compatible server's stream, every message is one line of
    /// data.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, LineTooLong> {
        let mut events = Vec::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.pending.extend_from_slice(piece);
            if self.pending.len() > MAX_LINE_BYTES {
                return Err(LineTooLong);
            }
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.pending);
                events.extend(event(String::from_utf8_lossy(&line).trim_end()));
            }
        }
        Ok(events)
    }

    /// The last line, if the stream ended without a line end.
    pub(super) fn end(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.pending);
        event(String::from_utf8_lossy(&line).trim_end())
    }
}

fn event(line: &str) -> Option<Event> {
    if line.is_empty() {
        return None;
    }
    if line.starts_with(':') {
        return Some(Event::Comment);
    }
    match line.split_once(':') {
        Some(("data", data)) => Some(Event::Data(data.trim_start().to_owned())),
        Some(("event" | "id" | "retry", _)) => None,
        _ => Some(Event::Foreign(line.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        "\u{feff}: ping\r\n\ndata: {\"é\":1}\n\nevent: x\ndata:2\r\n\r\ndata: [DONE]";

    fn read(sizes: usize) -> Vec<Event> {
        let mut lines = Lines::default();
        let bytes = STREAM.trim_start_matches('\u{feff}').as_bytes();
        let mut events: Vec<Event> =
            bytes.chunks(sizes).flat_map(|piece| lines.push(piece).unwrap()).collect();
        events.extend(lines.end());
        events
    }

    #[test]
    fn events_are_the_same_in_pieces_of_any_size() {
        let data = |text: &str| Event::Data(text.to_owned());
        let whole = [Event::Comment, data("{\"é\":1}"), data("2"), data("[DONE]")];
        for sizes in 1..STREAM.len() {
            assert_eq!(read(sizes), whole, "{sizes}");
        }
    }

    #[test]
    fn a_web_page_is_foreign_and_an_endless_line_is_refused() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"<html>\n"), Ok(vec![Event::Foreign("<html>".to_owned())]));
        let endless = vec![b'x'; MAX_LINE_BYTES + 1];
        assert_eq!(lines.push(&endless), Err(LineTooLong));
    }
}
