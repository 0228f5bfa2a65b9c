//! Items, one a line: each line is an item or is named with what is wrong, and the others go on.

use std::io::{self, BufRead, Read};

use jury_grm::domain::{Item, JsonError, RequestError};

use super::items::ItemsError;
use super::text::{NotText, is_blank, is_utf16};

/// Longest line read, in bytes: the largest item with every byte escaped as `\u00xx`.
const MAX_LINE_BYTES: usize = 32 << 20;

/// Bytes of the first line that tell what is no batch.
const LONGEST_START: usize = 256;

/// A line that is not blank.
#[derive(Debug, PartialEq)]
pub struct Line {
    /// Its number, 1-based, as editors count.
    pub number: u64,
    /// What it holds.
    pub content: Result<NamedItem, BadLine>,
}

/// An item, and the keys of its line that nobody looks at.
#[derive(Debug, PartialEq)]
pub struct NamedItem {
    /// Never without an id: an item that brings none takes its line's name, `line-N`.
    pub item: Item,
    /// As written, in order.
    pub unknown_keys: Vec<String>,
}

/// Why a line is no item, or none that can be judged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadLine {
    /// Bytes that are no text.
    #[error("not UTF-8, from byte {position} of the line on")]
    NotUtf8 {
        /// 1-based.
        position: usize,
    },
    /// Longer than any item.
    #[error("longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// Not JSON.
    #[error("not JSON, from byte {position} of the line on: {problem}")]
    NotJson {
        /// 1-based.
        position: usize,
        /// What the parser met.
        problem: String,
    },
    /// A whole item, and then more.
    #[error("more follows after the item, from byte {position} of the line on")]
    MoreFollows {
        /// 1-based.
        position: usize,
    },
    /// JSON, but no item.
    #[error(transparent)]
    NotAnItem(JsonError),
    /// An id names its verdict, so it stands for one item.
    #[error("its id {id:?} is that of line {first}; give every item its own")]
    SameId {
        /// The id.
        id: String,
        /// The line that had it first, 1-based.
        first: u64,
    },
    /// An item beyond a limit.
    #[error(transparent)]
    Refused(RequestError),
}

impl From<JsonError> for BadLine {
    /// A line is one line: only the place in it is told.
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::NotJson { column, problem, .. } => {
                Self::NotJson { position: column, problem }
            }
            JsonError::MoreFollows { column, .. } => Self::MoreFollows { position: column },
            other => Self::NotAnItem(other),
        }
    }
}

/// The lines of a batch, one by one. Ends at the first error: what is no batch at all (UTF-16, a JSON array, items over
/// several lines) is told once, at the first line that is not blank.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    /// Lines read so far.
    number: u64,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    /// Only blank lines so far.
    Begins,
    GoesOn,
    Ended,
}

// === impl Lines ===

impl<R: BufRead> Lines<R> {
    /// The lines of `reader`, from its first.
    pub fn new(reader: R) -> Self {
        Self { reader, number: 0, state: State::Begins }
    }

    fn next_line(&mut self) -> Result<Option<Line>, ItemsError> {
        loop {
            let mut bytes = Vec::new();
            let limit = MAX_LINE_BYTES as u64 + 1;
            let n_read = self.reader.by_ref().take(limit).read_until(b'\n', &mut bytes)?;
            if n_read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.state == State::Begins {
                refuse_start(&bytes)?;
            }
            if is_blank(&bytes) {
                continue;
            }
            self.state = State::GoesOn;
            if bytes.len() > MAX_LINE_BYTES {
                if bytes.last() != Some(&b'\n') {
                    self.reader.skip_until(b'\n')?;
                }
                return Ok(Some(Line { number: self.number, content: Err(BadLine::TooLong) }));
            }
            let content = read(self.number, &bytes);
            return Ok(Some(Line { number: self.number, content }));
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Line, ItemsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Ended {
            return None;
        }
        let line = self.next_line();
        if !matches!(line, Ok(Some(_))) {
            self.state = State::Ended;
        }
        line.transpose()
    }
}

/// Refuses a text that cannot be a batch, whatever follows its first line.
fn refuse_start(line: &[u8]) -> Result<(), ItemsError> {
    if is_utf16(line) {
        return Err(ItemsError::NotText(NotText::Utf16));
    }
    let start = String::from_utf8_lossy(&line[..line.len().min(LONGEST_START)]);
    match start.trim_start_matches('\u{feff}').trim() {
        start if start.starts_with('[') => Err(ItemsError::Array),
        "{" => Err(ItemsError::OverLines),
        _ => Ok(()),
    }
}

/// How many lines a batch has that are not blank.
pub fn count(mut reader: impl BufRead) -> io::Result<u64> {
    let mut n_lines = 0;
    let mut bytes = Vec::new();
    let limit = MAX_LINE_BYTES as u64;
    while reader.by_ref().take(limit).read_until(b'\n', &mut bytes)? > 0 {
        n_lines += u64::from(!is_blank(&bytes));
        if bytes.last() != Some(&b'\n') {
            reader.skip_until(b'\n')?;
        }
        bytes.clear();
    }
    Ok(n_lines)
}

/// True when the whole text is one item, written over several lines: no batch.
pub fn is_one_item(text: &[u8]) -> bool {
    let n_lines = text.split(|&byte| byte == b'\n').filter(|line| !is_blank(line));
    let item = std::str::from_utf8(text).ok().map(|text| text.trim_start_matches('\u{feff}'));
    n_lines.count() > 1 && item.is_some_and(|text| Item::from_json(text).is_ok())
}

fn read(number: u64, bytes: &[u8]) -> Result<NamedItem, BadLine> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| BadLine::NotUtf8 { position: error.valid_up_to() + 1 })?;
    // Some editors put a byte order mark before the first line.
    let (mut item, unknown_keys) = Item::from_json(text.trim_start_matches('\u{feff}').trim())?;
    if item.id.is_empty() {
        item.id = format!("line-{number}");
    }
    Ok(NamedItem { item, unknown_keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Line> {
        Lines::new(bytes).map(Result::unwrap).collect()
    }

    fn refusal(bytes: &[u8]) -> String {
        let lines: Vec<_> = Lines::new(bytes).collect();
        let [Err(error)] = &lines[..] else { panic!("not refused once: {lines:?}") };
        error.to_string()
    }

    fn id(line: &Line) -> &str {
        &line.content.as_ref().unwrap().item.id
    }

    #[test]
    fn a_bad_line_has_its_number_and_the_others_are_read() {
        let text = b"{\"id\":\"a\",\"query\":\"q\",\"responses\":[\"r\"]}\n\n{oops\n\
                     {\"query\":\"q\",\"responses\":[\"r\"]}";
        let lines = lines(text);
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(id(&lines[0]), "a");
        assert!(matches!(lines[1].content, Err(BadLine::NotJson { position: 2, .. })));
        assert_eq!(id(&lines[2]), "line-4", "an item without an id takes its line's name");
    }

    #[test]
    fn a_line_that_is_not_utf8_names_the_byte() {
        let lines = lines(b"{\"query\": \"caf\xe9\"}\n{\"query\":\"q\",\"responses\":[]}\n");
        assert_eq!(lines[0].content, Err(BadLine::NotUtf8 { position: 15 }));
        assert!(lines[1].content.is_ok());
    }

    #[test]
    fn a_line_too_long_is_skipped_whole() {
        let mut text = vec![b'x'; MAX_LINE_BYTES + 10];
        text.extend(b"\n{\"query\":\"q\",\"responses\":[]}\n");
        let lines = lines(&text);
        assert_eq!(lines[0].content, Err(BadLine::TooLong));
        assert_eq!(lines[1].number, 2);
        assert!(lines[1].content.is_ok());
    }

    #[test]
    fn windows_line_ends_and_a_byte_order_mark_do_no_harm() {
        let lines = lines(b"\xef\xbb\xbf{\"query\":\"q\",\"responses\":[]}\r\n\r\n");
        assert_eq!(lines.len(), 1);
        assert!(lines[0].content.is_ok());
    }

    #[test]
    fn a_byte_order_mark_alone_on_a_line_is_a_blank_line() {
        let text = "\u{feff}\n\u{feff}\r\n{\"query\":\"q\",\"responses\":[]}\n".as_bytes();
        let lines = lines(text);
        assert_eq!((lines.len(), lines[0].number), (1, 3));
        assert!(lines[0].content.is_ok());
        assert_eq!(count(text).unwrap(), 1);
    }

    #[test]
    fn what_is_no_batch_at_all_is_told_once_with_the_way_out() {
        let item = r#"{"query": "q", "responses": ["r"]}"#;
        for array in [format!("[{item}]"), format!("\u{feff}\n[\n{item},\n{item}\n]\n")] {
            assert!(refusal(array.as_bytes()).contains("jq -c '.[]'"));
        }
        let over_lines = refusal(b"{\n  \"query\": \"q\"\n}\n{\n");
        assert!(over_lines.contains("jq -c ."), "{over_lines}");
        let utf16: Vec<u8> =
            format!("{item}\n{item}\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(refusal(&utf16).contains("iconv -f UTF-16"));
    }

    #[test]
    fn unknown_keys_are_named() {
        let lines = lines(b"{\"query\":\"q\",\"responses\":[],\"colour\":1}");
        assert_eq!(lines[0].content.as_ref().unwrap().unknown_keys, ["colour"]);
    }

    #[test]
    fn an_item_over_several_lines_is_told_from_a_batch() {
        assert!(is_one_item(b"{\"query\": \"q\",\n \"responses\": [\"r\"]}\n"));
        assert!(!is_one_item(b"{\"query\": \"q\", \"responses\": [\"r\"]}\n"));
        let line = r#"{"query": "q", "responses": ["r"]}"#;
        assert!(!is_one_item(format!("{line}\n{line}\n").as_bytes()));
    }

    #[test]
    fn blank_lines_do_not_count() {
        assert_eq!(count(&b"a\n\n  \nb"[..]).unwrap(), 2);
    }
}
