//! The time that a caller will wait, from the `grpc-timeout` header. `jury_grm::budget_ms` derives the budget from
//! it.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// The time that the caller will wait, from its `grpc-timeout`. `None` if absent or malformed; the gRPC specification
/// treats both alike.
pub fn of_call(metadata: &MetadataMap) -> Option<Duration> {
    parse(metadata.get("grpc-timeout")?.to_str().ok()?)
}

/// Reads a `grpc-timeout` value: one to eight digits and a unit, `100m` for 100 milliseconds.
pub fn parse(header: &str) -> Option<Duration> {
    let (unit_index, unit) = header.char_indices().next_back()?;
    let digits = &header[..unit_index];
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(amount * 3600)),
        'M' => Some(Duration::from_secs(amount * 60)),
        'S' => Some(Duration::from_secs(amount)),
        'm' => Some(Duration::from_millis(amount)),
        'u' => Some(Duration::from_micros(amount)),
        'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (header, expected) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("4S", Duration::from_secs(4)),
            ("100m", Duration::from_millis(100)),
            ("5u", Duration::from_micros(5)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("0S", Duration::ZERO),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(parse(header), Some(expected), "{header}");
        }
    }

    #[test]
    fn a_malformed_timeout_is_no_timeout() {
        for header in ["", "S", "10", "10s", "-1S", "+1S", "1.5S", "123456789S", " 1S", "1é", "é"]
        {
            assert_eq!(parse(header), None, "{header}");
        }
    }

    #[test]
    fn the_timeout_that_tonic_sends_is_read_back() {
        let mut request = tonic::Request::new(());
        request.set_timeout(Duration::from_millis(1500));
        let read = of_call(request.metadata());
        assert_eq!(read, Some(Duration::from_millis(1500)));
    }
}
