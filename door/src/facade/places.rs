//! Where the parts of an item are in the body that they come from: a refusal names what the caller wrote.

/// The paths in a trainer's body.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) query: String,
    /// Of each turn, if turns are not as they were listed at `query`.
    pub(super) turns: Vec<TurnPlace>,
    pub(super) response: String,
    pub(super) reference: String,
}

/// Where a turn comes from.
#[derive(Debug, Clone)]
pub(super) enum TurnPlace {
    /// It is what stands here.
    As(String),
    /// It is made of what stands here.
    From(String),
}

// === impl Places ===

impl Places {
    /// The place in the body of what is at `path` of a request.
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
