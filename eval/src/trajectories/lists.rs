//! Values in Parquet's representation: flat, with levels that encode what is absent and where lists begin (the Dremel
//! encoding; Melnik et al., 2010).

/// A column's values with their levels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column<T> {
    pub values: Vec<T>,
    pub definition: Vec<i16>,
    pub repetition: Vec<i16>,
}

/// One optional value per row.
pub(super) fn optional<T>(rows: impl Iterator<Item = Option<T>>) -> Column<T> {
    let mut column = Column { values: Vec::new(), definition: Vec::new(), repetition: Vec::new() };
    for value in rows {
        column.definition.push(i16::from(value.is_some()));
        column.values.extend(value);
    }
    column
}

/// One list per row; `is_optional` says whether the list itself may be absent, which takes one more level.
pub(super) fn lists<T>(is_optional: bool, rows: impl Iterator<Item = Option<Vec<T>>>) -> Column<T> {
    let mut column = Column { values: Vec::new(), definition: Vec::new(), repetition: Vec::new() };
    let present = i16::from(is_optional);
    for list in rows {
        match list {
            None => column.push_empty(0),
            Some(list) if list.is_empty() => column.push_empty(present),
            Some(list) => {
                for (at, value) in list.into_iter().enumerate() {
                    column.definition.push(present + 1);
                    column.repetition.push(i16::from(at > 0));
                    column.values.push(value);
                }
            }
        }
    }
    column
}

impl<T> Column<T> {
    fn push_empty(&mut self, definition: i16) {
        self.definition.push(definition);
        self.repetition.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_tell_absent_from_empty() {
        let column = lists(true, [None, Some(vec![]), Some(vec![7, 8])].into_iter());
        assert_eq!(column.values, [7, 8]);
        assert_eq!(column.definition, [0, 1, 2, 2]);
        assert_eq!(column.repetition, [0, 0, 0, 1]);
    }

    #[test]
    fn what_is_absent_has_no_value() {
        let column = optional([Some(1), None].into_iter());
        assert_eq!((column.values, column.definition), (vec![1], vec![1, 0]));
    }
}
