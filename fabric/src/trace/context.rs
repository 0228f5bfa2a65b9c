//! The value of a W3C `traceparent` header, level 1.

/// Which trace, and which span of it is the parent of what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Never zero.
    trace_id: u128,
    /// Never zero.
    span_id: u64,
    /// Whether the caller records this trace; handed on as it came.
    sampled: bool,
}

/// Length of a version 00 header: `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const HEADER_LEN: usize = 55;

// === impl TraceContext ===

impl TraceContext {
    /// The first span of a new trace, with random ids.
    pub fn new_root() -> Self {
        Self {
            trace_id: rand::random_range(1..=u128::MAX),
            span_id: random_span_id(),
            sampled: true,
        }
    }

    /// A new span of the same trace.
    pub fn child(self) -> Self {
        Self { span_id: random_span_id(), ..self }
    }

    /// Reads a header. `None` when it is malformed: wrong lengths, capitals, zero ids, version ff.
    /// Of a later version the part that this one knows is read.
    pub fn parse(header: &str) -> Option<Self> {
        let known_part = header.get(..HEADER_LEN)?;
        let rest = &header[HEADER_LEN..];
        let mut fields = known_part.split('-');
        let version = hex_field(fields.next()?, 2)?;
        let trace_id = hex_field(fields.next()?, 32)?;
        let span_id = hex_field(fields.next()?, 16)?;
        let flags = hex_field(fields.next()?, 2)?;
        let rest_is_legal = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        if fields.next().is_some() || !rest_is_legal || trace_id == 0 || span_id == 0 {
            return None;
        }
        let span_id = u64::try_from(span_id).expect("16 hex digits fit into 64 bits");
        Some(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }

    /// The header of a call whose parent is this span.
    pub fn to_header(self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }

    /// The trace's id, as 32 lower-case hex digits.
    pub fn trace_id_hex(self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The span's id, as 16 lower-case hex digits.
    pub fn span_id_hex(self) -> String {
        format!("{:016x}", self.span_id)
    }
}

// === private ===

fn random_span_id() -> u64 {
    rand::random_range(1..=u64::MAX)
}

fn hex_field(digits: &str, length: usize) -> Option<u128> {
    let is_lower_hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if digits.len() != length || !is_lower_hex {
        return None;
    }
    u128::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_survives_the_round_trip() {
        assert_eq!(TraceContext::parse(VALID).unwrap().to_header(), VALID);
        let unsampled = VALID.replace("-01", "-00");
        assert_eq!(TraceContext::parse(&unsampled).unwrap().to_header(), unsampled);
        let root = TraceContext::new_root();
        assert_eq!(TraceContext::parse(&root.to_header()), Some(root));
    }

    #[test]
    fn a_malformed_header_is_no_context() {
        for header in [
            "",
            "00",
            &VALID[..54],
            &VALID.to_uppercase(),
            &format!("{VALID}-00"),
            &VALID.replacen("00", "ff", 1),
            &VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &VALID.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &VALID.replace("4bf9", "4bg9"),
            &VALID.replace("4bf9", "+bf9"),
            &VALID.replace("a3ce929d", "a3c-929d"),
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(header), None, "{header}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = VALID.replacen("00", "01", 1);
        assert!(TraceContext::parse(&later).is_some());
        assert!(TraceContext::parse(&format!("{later}-what-comes")).is_some());
        assert!(TraceContext::parse(&format!("{later}what-comes")).is_none());
    }

    #[test]
    fn a_child_stays_in_its_trace_under_an_id_of_its_own() {
        let parent = TraceContext::new_root();
        let child = parent.child();
        assert_eq!(child.trace_id_hex(), parent.trace_id_hex());
        assert_ne!(child.span_id_hex(), parent.span_id_hex());
    }
}
