//! Where the parts of an item are in the trainer's body, so that errors name what the caller wrote.

/// Paths in a trainer's body.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) query: String,
    /// Per turn, if the turns differ from the list at `query`.
    pub(super) turns: Vec<TurnPlace>,
    pub(super) response: String,
    pub(super) reference: String,
}

/// Where a turn comes from.
#[derive(Debug, Clone)]
pub(super) enum TurnPlace {
    /// The turn is the value at this path.
    As(String),
    /// The turn is made from the value at this path.
    From(String),
}

// === impl Places ===

impl Places {
    /// Translates a path in a request to the path in the body.
    pub(super) fn of(&self, path: &str) -> String {
        let Some(path) = path.strip_prefix("item.") else { return path.to_owned() };
        if let Some(rest) = path.strip_prefix("query") {
            return self.of_turn(rest).unwrap_or_else(|| format!("{}{rest}", self.query));
        }
        if let Some(rest) = path.strip_prefix("responses") {
            return format!("{}{}", self.response, rest.strip_prefix("[0]").unwrap_or(rest));
        }
        if path == "reference" { self.reference.clone() } else { path.to_owned() }
    }

    fn of_turn(&self, rest: &str) -> Option<String> {
        let (index, rest) = rest.strip_prefix('[')?.split_once(']')?;
        Some(match self.turns.get(index.parse::<usize>().ok()?)? {
            TurnPlace::As(place) => format!("{place}{rest}"),
            TurnPlace::From(place) => place.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_an_item_is_a_path_of_the_body() {
        let mut places = Places {
            query: "messages".to_owned(),
            turns: Vec::new(),
            response: "messages[3]".to_owned(),
            reference: "label".to_owned(),
        };
        for (path, expected) in [
            ("item.query", "messages"),
            ("item.query[1].role", "messages[1].role"),
            ("item.responses[0].content[1]", "messages[3].content[1]"),
            ("item.reference", "label"),
            ("item.criteria", "criteria"),
            ("settings.k", "settings.k"),
        ] {
            assert_eq!(places.of(path), expected, "{path}");
        }
        let listed = |at: usize| format!("input[{at}]");
        places.turns = vec![TurnPlace::From("instructions".to_owned()), TurnPlace::As(listed(2))];
        assert_eq!(places.of("item.query[0].content"), "instructions");
        assert_eq!(places.of("item.query[1].content[0]"), "input[2].content[0]");
    }
}
