//! The generative-reward-model method as pure functions: prompts, orders, seeds, parsing, voting.
