//! JSON escapes that name half of a surrogate pair.

/// Describes a lone surrogate in the escapes of `json`, if there is one.
pub(super) fn lone_surrogate(json: &str) -> Option<String> {
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        rest = &rest[at..];
        let Some(unit) = unit(rest) else {
            // A backslash and the character it escapes.
            rest = rest.get(2..).or_else(|| rest.get(1..)).unwrap_or_default();
            continue;
        };
        let is_paired = unit_is(rest.get(6..).and_then(self::unit), 0xDC00..=0xDFFF);
        match unit {
            0xD800..=0xDBFF if is_paired => rest = &rest[12..],
            0xD800..=0xDBFF => {
                return Some(format!(
                    "\\u{unit:04x} is the first half of a surrogate pair, and its second half does not follow"
                ));
            }
            0xDC00..=0xDFFF => {
                return Some(format!(
                    "\\u{unit:04x} is the second half of a surrogate pair, and its first half is not there"
                ));
            }
            _ => rest = &rest[6..],
        }
    }
    None
}

/// The code unit of the `\uXXXX` that `text` begins with.
fn unit(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

fn unit_is(unit: Option<u32>, range: std::ops::RangeInclusive<u32>) -> bool {
    unit.is_some_and(|unit| range.contains(&unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_that_stands_alone_is_named() {
        for (json, half) in [
            (r#""\ud83d""#, Some("first half")),
            (r#""\ud83d\u0041""#, Some("first half")),
            (r#""a\ude00""#, Some("second half of")),
            (r#""\ud83d\ude00\uDE00""#, Some("second half of")),
            (r#""\ud83d\ude00""#, None),
            (r#""\\ud83d""#, None),
            (r#""\n\"\u00e9""#, None),
        ] {
            let found = lone_surrogate(json);
            assert_eq!(found.is_some(), half.is_some(), "{json}: {found:?}");
            assert!(found.is_none_or(|found| found.contains(half.unwrap())), "{json}");
        }
    }
}
