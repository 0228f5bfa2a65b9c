//! The variables of a template. [`super::Template`] documents them for authors.

use minijinja::value::Value;
use serde::Serialize;

use super::slots::Slots;
use super::{PromptInput, Variant};
use crate::domain::{Query, Role, Scale, Turn};

/// Everything that a template may use. Every variable always exists, so a misspelt one is an error.
#[derive(Debug, Serialize)]
pub(super) struct Variables {
    turns: Vec<TurnVariable>,
    responses: Vec<ResponseVariable>,
    n: usize,
    reference: Option<String>,
    criteria: Option<Vec<String>>,
    principles: Option<Vec<String>>,
    scale: ScaleVariable,
    best: Option<usize>,
    #[serde(rename = "box")]
    box_shape: String,
}

#[derive(Debug, Serialize)]
struct TurnVariable {
    role: Role,
    text: String,
}

#[derive(Debug, Serialize)]
struct ResponseVariable {
    number: usize,
    text: String,
}

#[derive(Debug, Serialize)]
struct ScaleVariable {
    min: i32,
    middle: i32,
    max: i32,
    bands: Vec<String>,
}

// === impl Variables ===

impl Variables {
    /// Takes the input apart: texts go into `slots`, everything else is used directly. Every index of the order must be
    /// below the number of responses.
    pub(super) fn of<'a>(input: &PromptInput<'a>, slots: &mut Slots<'a>) -> Self {
        let item = input.item;
        let turns = match &item.query {
            Query::Text(text) => {
                vec![TurnVariable { role: Role::User, text: slots.put_question(text) }]
            }
            Query::Turns(turns) => {
                let last = turns.len().saturating_sub(1);
                let variable = |(at, turn): (usize, &'a Turn)| {
                    let text = match at == last {
                        true => slots.put_question(&turn.content),
                        false => slots.put(&turn.content, None),
                    };
                    TurnVariable { role: turn.role, text }
                };
                turns.iter().enumerate().map(variable).collect()
            }
        };
        let responses = input.order.iter().zip(1..).map(|(&response, number)| {
            let text = slots.put(&item.responses[response], Some(response));
            ResponseVariable { number, text }
        });
        let responses = responses.collect();
        let mut list = |texts: &'a Option<Vec<String>>| {
            let texts = texts.as_ref().filter(|texts| !texts.is_empty())?;
            Some(texts.iter().map(|text| slots.put(text, None)).collect())
        };
        Self {
            turns,
            responses,
            n: input.order.len(),
            criteria: list(&item.criteria),
            principles: list(&item.principles),
            reference: item.known_answer().map(|text| slots.put(text, None)),
            scale: ScaleVariable::of(input.scale),
            best: match input.variant {
                Variant::Plain => None,
                Variant::Hinted { best } => {
                    input.order.iter().position(|&response| response == best).map(|at| at + 1)
                }
            },
            box_shape: format!(r"\boxed{{{}}}", vec!["x"; input.order.len()].join(", ")),
        }
    }

    pub(super) fn into_value(self) -> Value {
        Value::from_serialize(self)
    }
}

// === impl ScaleVariable ===

impl ScaleVariable {
    /// The paper's anchors 1, 6, 10 and bands 1-2, 3-5, 6-8, 9-10, mapped to any scale.
    fn of(scale: Scale) -> Self {
        let Scale { min, max } = scale;
        let width = max - min;
        // Highest score of every band except the last, in percent of the scale's width.
        let ends = [15, 45, 80].map(|percent| min + width * percent / 100);
        let starts = [min, ends[0] + 1, ends[1] + 1, ends[2] + 1];
        let last = [ends[0], ends[1], ends[2], max];
        let bands = starts.iter().zip(last).map(|(&from, to)| match to - from {
            0 => from.to_string(),
            _ => format!("{from}-{to}"),
        });
        let bands = if width < 5 { Vec::new() } else { bands.collect() };
        Self { min, middle: min + (width + 1) / 2, max, bands }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_and_bands_are_the_papers_on_its_scale() {
        let scale = ScaleVariable::of(Scale::POINTWISE);
        assert_eq!((scale.min, scale.middle, scale.max), (1, 6, 10));
        assert_eq!(scale.bands, ["1-2", "3-5", "6-8", "9-10"]);
    }

    #[test]
    fn bands_of_any_scale_are_not_empty_and_follow_each_other() {
        for max in 1..=100 {
            for band in ScaleVariable::of(Scale { min: 0, max }).bands {
                let (from, to) = band.split_once('-').unwrap_or((&band, &band));
                assert!(
                    from.parse::<i32>().unwrap() <= to.parse::<i32>().unwrap(),
                    "{max}: {band}"
                );
            }
        }
    }
}
