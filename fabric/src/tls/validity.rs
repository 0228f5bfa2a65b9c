//! When a certificate expires. Read from its DER (RFC 5280, 4.1) after rustls has accepted it, because rustls does
//! not expose it. Anything that is not understood yields `None`. Pure.
//!
//! ```text
//! Certificate { tbs { [0] version?, serial, signature, issuer, validity { notBefore, notAfter }, ..
//! ```
//!
//! A full certificate parser would add ten crates.

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// Explicitly tagged: the version, which version 1 certificates omit.
const VERSION: u8 = 0xa0;

const SECONDS_A_DAY: i64 = 86_400;

/// One value of DER.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
}

/// The end of a certificate's validity, in seconds of Unix time.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let certificate = expect(&mut &*certificate, SEQUENCE)?;
    let mut rest = expect(&mut &*certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        next(&mut rest)?;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        expect(&mut rest, tag)?;
    }
    let mut validity = expect(&mut rest, SEQUENCE)?;
    next(&mut validity)?;
    unix_time(&next(&mut validity)?)
}

fn expect<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    next(rest).filter(|element| element.tag == tag).map(|element| element.content)
}

/// Takes the next value from `rest`.
fn next<'a>(rest: &mut &'a [u8]) -> Option<Element<'a>> {
    let (&[tag, first], mut behind) = rest.split_first_chunk()?;
    let length = match first {
        short @ ..=0x7f => usize::from(short),
        // The low bits give the number of length bytes; no certificate needs more than four.
        long @ 0x81..=0x84 => {
            let (bytes, after) = behind.split_at_checked(usize::from(long & 0x7f))?;
            behind = after;
            bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte))
        }
        _ => return None,
    };
    let content;
    (content, *rest) = behind.split_at_checked(length)?;
    Some(Element { tag, content })
}

/// `YYMMDDHHMMSSZ` up to 2049, `YYYYMMDDHHMMSSZ` from then on.
fn unix_time(time: &Element<'_>) -> Option<i64> {
    let text = std::str::from_utf8(time.content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match (time.tag, text.len()) {
        (UTC_TIME, 12) => {
            let (year, rest) = text.split_at(2);
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (GENERALIZED_TIME, 14) => {
            let (year, rest) = text.split_at(4);
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let two = |at: usize| rest[at..at + 2].parse::<i64>().ok();
    let (month, day) = (two(0)?, two(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = two(4)? * 3600 + two(6)? * 60 + two(8)?;
    Some(days_since_1970(year, month, day) * SECONDS_A_DAY + seconds)
}

/// In the Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // With years that begin in March, the leap day is the last day.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days_before_month = (153 * month + 2) / 5;
    // 719468 days between the first of March of the year 0 and 1970.
    365 * year + leap_days + days_before_month + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["judge.lab".to_owned()]).unwrap();
        params.not_before = date_time_ymd(1990, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_of_a_certificates_time_is_read_in_both_its_forms() {
        for (year, month, day, expected) in [
            (1999, 12, 31, 946_598_400),
            (2000, 2, 29, 951_782_400),
            (2024, 3, 1, 1_709_251_200),
            (2049, 12, 31, 2_524_521_600),
            (2050, 1, 1, 2_524_608_000),
            (2100, 3, 1, 4_107_542_400),
            (4000, 1, 1, 64_060_588_800),
        ] {
            let found = not_after(&certificate(year, month, day));
            assert_eq!(found, Some(expected), "{year}-{month}-{day}");
            let date = date_time_ymd(year, month, day);
            assert_eq!(found, Some(date.unix_timestamp()), "{year}-{month}-{day}");
        }
    }

    #[test]
    fn the_time_of_day_counts() {
        let time = |tag, text: &str| unix_time(&Element { tag, content: text.as_bytes() });
        assert_eq!(time(UTC_TIME, "700101000001Z"), Some(1));
        assert_eq!(time(GENERALIZED_TIME, "19700102030405Z"), Some(86_400 + 11_045));
        for wrong in ["", "Z", "7001010000Z", "701301000000Z", "700100000000Z", "70010100000+Z"] {
            assert_eq!(time(UTC_TIME, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_certificate_tells_nothing() {
        let whole = certificate(2030, 1, 1);
        for length in 0..whole.len() {
            assert_eq!(not_after(&whole[..length]), None, "{length} bytes of it");
        }
        for at in 0..whole.len().min(200) {
            for byte in [0, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                // No panic, and no time beyond a four-digit year.
                let told = not_after(&damaged);
                assert!(told.is_none_or(|time| time > -63_000_000_000 && time < 254_000_000_000));
            }
        }
    }
}
