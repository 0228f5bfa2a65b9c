//! The fragments that test texts are composed of: pieces of the format, and of what models make of it. Also used by the
//! tests of the RL reward rule.

/// Fragments that are combined at random.
pub const PIECES: [&str; 28] = [
    "\\boxed{",
    "}",
    "8",
    ", ",
    "[",
    "]",
    "Scores",
    ":",
    "\n",
    "**",
    "### ",
    "10",
    "/10",
    "é",
    "🙂",
    "Analysis:",
    "Specific Criteria:",
    " ",
    "{",
    "$",
    "-1",
    "\\boxed{8, 7}",
    "Final ",
    "<think>",
    "</think>",
    "```",
    "> ",
    "\"",
];
