//! Numbers as they are typed. What is none, or out of its range, is told the limits and an example.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Reads a whole number; `example` shows how its option is typed.
pub fn whole<T>(
    range: RangeInclusive<T>,
    example: &'static str,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |typed| {
        let number = typed.trim().parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!("must be a whole number from {least} to {most}, as in {example}")
        })
    }
}

/// Reads a number that `fits`; `limits` says which do.
pub fn real(
    fits: fn(f64) -> bool,
    limits: &'static str,
    example: &'static str,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |typed| {
        let number = typed.trim().parse().ok().filter(|&number| fits(number));
        number.ok_or_else(|| format!("must be a number {limits}, as in {example}"))
    }
}

/// Reads a time, a number with its unit.
///
/// # Errors
/// What is no time, with an example.
pub fn time(typed: &str) -> Result<Duration, String> {
    let why = |_| "must be a time with its unit, like 90s, 5m or 500ms".to_owned();
    humantime::parse_duration(typed.trim()).map_err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_range_are_in_it_and_nothing_beyond() {
        let read = whole(1..=256_u32, "-k 8");
        assert_eq!((read("1"), read("256")), (Ok(1), Ok(256)));
        for typed in ["0", "257", "-1", "many", "", "1.5", "99999999999999999999"] {
            let told = read(typed).unwrap_err();
            assert_eq!(told, "must be a whole number from 1 to 256, as in -k 8", "{typed}");
        }
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(time(" 1m 30s"), Ok(Duration::from_secs(90)));
        for typed in ["1", "", "fast", "-5s"] {
            assert_eq!(
                time(typed).unwrap_err(),
                "must be a time with its unit, like 90s, 5m or 500ms"
            );
        }
    }

    #[test]
    fn what_is_not_a_number_fits_no_limits() {
        let read = real(|p| p > 0.0 && p <= 1.0, "above 0 and at most 1", "--top-p 0.9");
        assert_eq!(read("1"), Ok(1.0));
        for typed in ["0", "1.01", "-0.5", "nan", "inf", "half"] {
            let told = read(typed).unwrap_err();
            assert_eq!(told, "must be a number above 0 and at most 1, as in --top-p 0.9");
        }
    }
}
