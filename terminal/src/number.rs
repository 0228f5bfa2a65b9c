//! Parsing of numbers. An error message names the limits and an example.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use jury_grm::domain::limits;

/// More than any machine has.
pub const MOST_THREADS: usize = 4_096;

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

/// Reads a number for which `fits` is true; `limits` describes these numbers in the error message.
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

/// Reads a duration: a number with its unit.
///
/// # Errors
/// A text that is not a duration; the message has an example.
pub fn time(typed: &str) -> Result<Duration, String> {
    let why = |_| "must be a duration with its unit, like 90s, 5m or 500ms".to_owned();
    humantime::parse_duration(typed.trim()).map_err(why)
}

/// Reads the budget of a request, 1 ms to 24 h.
///
/// # Errors
/// What is none, with the limits and an example.
pub fn budget(typed: &str) -> Result<Duration, String> {
    let most = Duration::from_millis(limits::MAX_BUDGET_MS);
    let is_budget = |time: &Duration| (Duration::from_millis(1)..=most).contains(time);
    time(typed).ok().filter(is_budget).ok_or_else(|| {
        "must be a duration from 1ms to 24h with its unit, like 90s or 5m".to_owned()
    })
}

/// Reads the threads of the engine.
///
/// # Errors
/// What is none, with the limits and an example.
pub fn threads(typed: &str) -> Result<usize, String> {
    whole(1..=MOST_THREADS, "--threads 2")(typed)
}

/// Reads a seed, 0 to 2^53 - 1.
///
/// # Errors
/// What is none, with the limits and an example.
pub fn seed(typed: &str) -> Result<u64, String> {
    whole(0..=limits::MAX_SEED, "--seed 7")(typed)
}

/// Reads the most tokens of a critique.
///
/// # Errors
/// What is none, with the limits and an example.
pub fn critique_tokens(typed: &str) -> Result<u32, String> {
    whole(1..=limits::MAX_CRITIQUE_TOKENS, "--max-critique-tokens 512")(typed)
}

/// Reads a share, 0 to 1; `example` shows how its option is typed.
pub fn share(
    example: &'static str,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    real(|share| (0.0..=1.0).contains(&share), "from 0 to 1", example)
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
                "must be a duration with its unit, like 90s, 5m or 500ms"
            );
        }
    }

    #[test]
    fn a_budget_is_at_most_a_day_and_threads_are_no_more_than_any_machine_has() {
        assert_eq!(budget("24h"), Ok(Duration::from_secs(24 * 60 * 60)));
        for typed in ["48h", "0s", "1", "24h 1ms"] {
            assert!(budget(typed).unwrap_err().contains("from 1ms to 24h"), "{typed}");
        }
        assert_eq!(threads("2"), Ok(2));
        for typed in ["0", "-2", "100000"] {
            assert!(threads(typed).unwrap_err().contains("from 1 to 4096"), "{typed}");
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
