//! Model texts as the fuzzer generates them: fragments of the format, so that it does not have to find the words by
//! chance, with arbitrary text in between.

use arbitrary::Arbitrary;
use jury_grm::domain::Scale;
use jury_grm::parse::ScoreShape;
use jury_grm::prompt::{Message, Span, Trust};

/// A text, and the sample it is read for.
#[derive(Debug, Arbitrary)]
pub struct Case<'a> {
    pieces: Vec<Piece<'a>>,
    /// Text that the item contains.
    planted: Vec<Piece<'a>>,
    n_shown: u8,
    is_binary: bool,
}

#[derive(Debug, Arbitrary)]
enum Piece<'a> {
    Box,
    BareBox,
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    Comma,
    WideComma,
    Scores,
    Analysis,
    Criteria,
    Colon,
    Bold,
    Heading,
    Number(i16),
    ListNumber(u8),
    Fraction(u8),
    Newline,
    BlankLine,
    CarriageReturn,
    Space,
    Backslash,
    Dollar,
    /// As many numbers as responses are shown.
    Numbers(i16),
    Text(&'a str),
    Think,
    EndThink,
    Fence,
    Tildes,
    Quoted,
    QuotationMark,
    Backtick,
    /// A whole number written with a decimal point.
    Point(u8),
}

// === impl Case ===

impl Case<'_> {
    /// The text of all pieces.
    pub fn text(&self) -> String {
        self.pieces.iter().map(|piece| piece.text(self.n_shown())).collect()
    }

    /// The shape required of the scores when nothing is planted.
    pub fn shape(&self) -> ScoreShape {
        ScoreShape::new(self.n_shown(), self.scale())
    }

    /// The text that the item contains.
    pub fn item_text(&self) -> String {
        self.planted.iter().map(|piece| piece.text(self.n_shown())).collect()
    }

    /// The shape required of the scores when the item contains its text.
    pub fn shape_of_prompt(&self, item_text: &str) -> ScoreShape {
        let text = item_text.into();
        let span = Span { text, trust: Trust::Untrusted, response: None };
        let message = Message { role: jury_grm::domain::Role::User, spans: vec![span] };
        ScoreShape::of_prompt(&[message], self.n_shown(), self.scale())
    }

    /// Responses shown: either few, so that boxes of the right shape are found, or as many as are allowed.
    pub fn n_shown(&self) -> usize {
        [1, 2, 3, 4, 8, 64][usize::from(self.n_shown) % 6]
    }

    /// One of the two scales of the paper.
    pub fn scale(&self) -> Scale {
        if self.is_binary { Scale::BINARY } else { Scale::POINTWISE }
    }
}

impl Piece<'_> {
    fn text(&self, n_shown: usize) -> String {
        match self {
            Self::Box => r"\boxed{".into(),
            Self::BareBox => r"\boxed".into(),
            Self::Open => "{".into(),
            Self::Close => "}".into(),
            Self::OpenBracket => "[".into(),
            Self::CloseBracket => "]".into(),
            Self::Comma => ", ".into(),
            Self::WideComma => "，".into(),
            Self::Scores => "Scores".into(),
            Self::Analysis => "Analysis".into(),
            Self::Criteria => "Specific Criteria".into(),
            Self::Colon => ":".into(),
            Self::Bold => "**".into(),
            Self::Heading => "### ".into(),
            Self::Number(number) => number.to_string(),
            Self::ListNumber(number) => format!("{number}. "),
            Self::Fraction(number) => format!("{number}/10"),
            Self::Newline => "\n".into(),
            Self::BlankLine => "\n\n".into(),
            Self::CarriageReturn => "\r\n".into(),
            Self::Space => " ".into(),
            Self::Backslash => r"\".into(),
            Self::Dollar => "$".into(),
            Self::Numbers(number) => vec![(number % 12).to_string(); n_shown].join(", "),
            Self::Text(text) => (*text).into(),
            Self::Think => "<think>".into(),
            Self::EndThink => "</think>".into(),
            Self::Fence => "```".into(),
            Self::Tildes => "~~~".into(),
            Self::Quoted => "> ".into(),
            Self::QuotationMark => "\"".into(),
            Self::Backtick => "`".into(),
            Self::Point(number) => format!("{number}.0"),
        }
    }
}
