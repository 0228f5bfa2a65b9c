//! Which parts of a text are the model's own words.
//!
//! The other parts are blanked out, so that no heading and no box is found in them:
//!
//! ```text
//! <think> .. </think>    thoughts, even unclosed, and everything before a </think> that closes nothing
//! ``` or ~~~             fenced blocks, even unclosed
//! > ..                   quoted lines
//! `..`  ".."  “..” «..»  code and quotations inside a line; they end with the line
//! ```
//!
//! Nothing looks ahead, so the beginning of a text is read in the same way whatever follows. The watch, which sees a
//! text grow, and the parser, which sees it whole, therefore find the same. The one exception is a `</think>` that
//! closes nothing: it withdraws what came before it.

mod last_line;

use std::borrow::Cow;

pub(crate) use last_line::LastLine;

/// Names of the tags around thoughts, in lower case.
const THOUGHT_TAGS: [&str; 3] = ["think", "thinking", "thought"];
/// Maximum bytes of a tag's name, with the blanks around it.
const LONGEST_TAG: usize = 16;
/// Minimum number of characters of a fence.
const FENCE_LENGTH: usize = 3;
/// What may precede a fence, or the `>` of a quoted line: a list's bullets.
const BEFORE_QUOTE: [char; 4] = [' ', '\t', '-', '*'];
/// Openings of quotations within a line, each with everything that closes it.
const QUOTATIONS: [(char, &[char]); 8] = [
    ('`', &['`']),
    ('"', &['"']),
    ('“', &['”']),
    ('„', &['“', '”']),
    ('«', &['»']),
    ('»', &['«']),
    ('「', &['」']),
    ('『', &['』']),
];

/// Where a model's text begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Begins {
    /// In the model's own words.
    #[default]
    Plainly,
    /// Inside a thought that the prompt has opened: the chat templates of some reasoning models end with `<think>`.
    InThought,
}

/// What is open at the point up to which a text has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Open {
    /// Thoughts that have begun and not ended. Counted, so that a thought that mentions `<think>` does not end too
    /// early.
    pub(crate) thoughts: usize,
    /// True if the prompt opened a thought and no text has followed yet: if the model then opens a thought, it is the
    /// same one.
    is_given: bool,
    /// The open fence, which the next fence of its kind closes.
    fence: Option<Fence>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fence {
    character: char,
    length: usize,
}

/// The text with everything blanked out that is not the model's own words: same length, same line ends, the remaining
/// bytes unchanged. Also returns what is open at its end.
pub(crate) fn own_words(text: &str, begins: Begins) -> (String, Open) {
    let mut own = String::with_capacity(text.len());
    let mut open = Open::at_the_beginning(begins);
    let mut taken_back = 0;
    for line in text.split_inclusive('\n') {
        let line_start = own.len();
        if let Some(end) = open.read_line(line, &mut own) {
            taken_back = line_start + end;
        }
    }
    let blanked = blank(&own[..taken_back]);
    own.replace_range(..taken_back, &blanked);
    (own, open)
}

/// As [`own_words`], for a text that grows, line by line.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnLines {
    /// Start of the last line; everything before it is settled.
    line_start: usize,
    open: Open,
}

/// The model's own words in one line.
#[derive(Debug)]
pub(crate) struct OwnLine {
    /// The line, with everything else blanked out.
    pub(crate) own: String,
    /// True if everything before the line turned out to be a thought.
    pub(crate) takes_back: bool,
}

// === impl Begins ===

impl Begins {
    /// How a text begins that continues `prompt_end`, the end of a rendered prompt.
    pub fn after(prompt_end: &str) -> Self {
        let end = prompt_end.trim_end();
        let tag = end.rfind('<').and_then(|at| thought_tag(&end[at..]));
        match tag {
            Some((_, Tag::Opens)) if end.ends_with('>') => Self::InThought,
            _ => Self::Plainly,
        }
    }
}

// === impl OwnLines ===

impl OwnLines {
    /// Reads a text that begins as `begins` says.
    pub(crate) fn beginning(begins: Begins) -> Self {
        Self { line_start: 0, open: Open::at_the_beginning(begins) }
    }

    /// The next complete line of `text`; each is returned once.
    pub(crate) fn next_ended(&mut self, text: &str) -> Option<OwnLine> {
        let unread = text.get(self.line_start..)?;
        let line = &unread[..=unread.find('\n')?];
        self.line_start += line.len();
        Some(read(&mut self.open, line))
    }

    /// The last line, before anything of it was read.
    pub(crate) fn begin_last(&self) -> LastLine {
        LastLine::under(self.open.clone())
    }

    /// The last line as it is written, whatever is open.
    pub(crate) fn rest<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.line_start..).unwrap_or_default()
    }

    /// The last line, which may be incomplete.
    pub(crate) fn last(&self, text: &str) -> OwnLine {
        read(&mut self.open.clone(), self.rest(text))
    }
}

fn read(open: &mut Open, line: &str) -> OwnLine {
    let mut own = String::with_capacity(line.len());
    let taken_back = open.read_line(line, &mut own);
    let end = taken_back.unwrap_or(0);
    let blanked = blank(&own[..end]);
    own.replace_range(..end, &blanked);
    OwnLine { own, takes_back: taken_back.is_some() }
}

// === impl Open ===

impl Open {
    fn at_the_beginning(begins: Begins) -> Self {
        match begins {
            Begins::Plainly => Self::default(),
            Begins::InThought => Self { thoughts: 1, is_given: true, fence: None },
        }
    }

    /// Reads one line (the last one may be incomplete) and appends it to `own`, with everything blanked out that is not
    /// the model's own words. Returns the end of the last thought that was closed without having been opened.
    pub(crate) fn read_line(&mut self, line: &str, own: &mut String) -> Option<usize> {
        if let Some(fence) = self.fence {
            if closes(line, fence) {
                self.fence = None;
            }
            own.push_str(&blank(line));
            return None;
        }
        if self.thoughts == 0 {
            if let Some(fence) = opening_fence(line) {
                self.fence = Some(fence);
                own.push_str(&blank(line));
                return None;
            }
            if line.trim_start_matches(BEFORE_QUOTE).starts_with('>') {
                own.push_str(&blank(line));
                return None;
            }
        }
        self.read_inline(line, own)
    }

    /// What the engine must write, at the start of a line, before the model's own words can continue.
    pub(crate) fn closing(&self) -> String {
        let fence = self
            .fence
            .map(|fence| format!("{}\n", fence.character.to_string().repeat(fence.length)));
        let thoughts = "</think>\n".repeat(self.thoughts);
        fence.unwrap_or_default() + &thoughts
    }

    /// True when a whole line would be the model's own words.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn read_inline(&mut self, line: &str, own: &mut String) -> Option<usize> {
        let (mut closing, mut stray_end, mut rest) = (None, None, line);
        while let Some(step) = self.step(&mut closing, rest) {
            let (read, unread) = rest.split_at(step.length);
            rest = unread;
            match step.is_own {
                true => own.push_str(read),
                false => own.push_str(&blank(read)),
            }
            if step.takes_back {
                stray_end = Some(line.len() - rest.len());
            }
        }
        stray_end
    }

    /// Reads one character or tag of a line, after what `closing` closes was opened in it; `None` at its end.
    fn step(&mut self, closing: &mut Option<&'static [char]>, rest: &str) -> Option<Step> {
        let character = rest.chars().next()?;
        if let Some((length, tag)) = closing.is_none().then(|| thought_tag(rest)).flatten() {
            let takes_back = tag == Tag::Closes && self.thoughts == 0;
            match tag {
                Tag::Opens => self.thoughts += usize::from(!self.is_given),
                Tag::Closes => self.thoughts = self.thoughts.saturating_sub(1),
            }
            self.is_given = false;
            return Some(Step { length, is_own: false, takes_back });
        }
        self.is_given &= character.is_whitespace();
        let is_quoted = closing.is_some();
        if closing.is_some_and(|closing| closing.contains(&character)) {
            *closing = None;
        } else if closing.is_none() && self.thoughts == 0 {
            let quotation = QUOTATIONS.iter().find(|(opening, _)| *opening == character);
            *closing = quotation.map(|(_, closing)| *closing);
        }
        let is_own = !is_quoted && self.thoughts == 0;
        Some(Step { length: character.len_utf8(), is_own, takes_back: false })
    }
}

// === private ===

/// What was read at once.
struct Step {
    /// Its bytes.
    length: usize,
    is_own: bool,
    /// Whether it closes a thought that was not open.
    takes_back: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Opens,
    Closes,
}

/// The thought tag that `text` begins with, and its length.
fn thought_tag(text: &str) -> Option<(usize, Tag)> {
    let after = text.strip_prefix('<')?;
    let (name, tag) = match after.strip_prefix('/') {
        Some(name) => (name, Tag::Closes),
        None => (after, Tag::Opens),
    };
    let name_length = name.bytes().take(LONGEST_TAG).position(|byte| byte == b'>')?;
    let name_inside = name[..name_length].trim();
    let is_thought = THOUGHT_TAGS.iter().any(|known| name_inside.eq_ignore_ascii_case(known));
    is_thought.then_some((text.len() - name.len() + name_length + 1, tag))
}

/// True when `text` begins with a `<` from which more text may make the tag of a thought.
fn may_become_a_tag(text: &str) -> bool {
    let Some(after) = text.strip_prefix('<') else { return false };
    let name = after.strip_prefix('/').unwrap_or(after);
    name.len() < LONGEST_TAG && !name.contains('>')
}

fn opening_fence(line: &str) -> Option<Fence> {
    let line = line.trim_start_matches(BEFORE_QUOTE);
    let character = line.chars().next().filter(|c| ['`', '~'].contains(c))?;
    let info = line.trim_start_matches(character);
    let length = line.len() - info.len();
    // Backticks with more backticks in the same line are inline code.
    let is_inline = character == '`' && info.contains('`');
    (length >= FENCE_LENGTH && !is_inline).then_some(Fence { character, length })
}

fn closes(line: &str, fence: Fence) -> bool {
    let line = line.trim();
    line.len() >= fence.length && line.chars().all(|c| c == fence.character)
}

/// As many blanks as `text` has bytes; line ends are kept.
fn blank(text: &str) -> Cow<'static, str> {
    text.bytes()
        .map(|byte| if matches!(byte, b'\n' | b'\r') { char::from(byte) } else { ' ' })
        .collect()
}

#[cfg(test)]
mod tests;
