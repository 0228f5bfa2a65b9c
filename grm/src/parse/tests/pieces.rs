//! What texts are put together from: pieces of the format and of what models make of it. The texts that the rule of RL is
//! held to take them, too.

/// Pieces from which texts are put together without a plan.
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
