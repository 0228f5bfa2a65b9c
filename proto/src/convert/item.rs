//! Items.

use jury_grm::domain::{Item, Query, Role, Turn};

use super::index_to_pb;
use crate::error::JuryError;
use crate::v1;

impl From<Item> for v1::Item {
    fn from(item: Item) -> Self {
        Self {
            query: item.query.turns().into_iter().map(Into::into).collect(),
            id: item.id,
            source: item.source,
            responses: item.responses,
            reference: item.reference,
            criteria: item.criteria.unwrap_or_default(),
            principles: item.principles.unwrap_or_default(),
            best: item.best.map(index_to_pb),
            labels: item.labels.unwrap_or_default(),
            category: item.category,
        }
    }
}

impl TryFrom<v1::Item> for Item {
    type Error = JuryError;

    fn try_from(item: v1::Item) -> Result<Self, JuryError> {
        let turns = item.query.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(Self {
            id: item.id,
            source: item.source,
            query: query_from_turns(turns),
            responses: item.responses,
            reference: item.reference,
            criteria: none_if_empty(item.criteria),
            principles: none_if_empty(item.principles),
            best: item.best.map(|best| best as usize),
            labels: none_if_empty(item.labels),
            category: item.category,
        })
    }
}

impl From<Turn> for v1::Turn {
    fn from(turn: Turn) -> Self {
        Self { role: v1::Role::from(turn.role).into(), content: turn.content }
    }
}

impl TryFrom<v1::Turn> for Turn {
    type Error = JuryError;

    fn try_from(turn: v1::Turn) -> Result<Self, JuryError> {
        let role = turn
            .role()
            .try_into()
            .map_err(|error: JuryError| JuryError::invalid("item.query.role", error.message))?;
        Ok(Self { role, content: turn.content })
    }
}

/// One user turn and a plain text are the same query; both read as [`Query::Text`].
fn query_from_turns(turns: Vec<Turn>) -> Query {
    match <[Turn; 1]>::try_from(turns) {
        // A blank turn of a conversation was sent that way by the caller; a blank text is a mistake.
        Ok([Turn { role: Role::User, content }]) if !content.trim().is_empty() => {
            Query::Text(content)
        }
        Ok(single) => Query::Turns(single.into()),
        Err(turns) => Query::Turns(turns),
    }
}

fn none_if_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    if list.is_empty() { None } else { Some(list) }
}
