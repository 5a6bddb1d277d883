//! Parses a line of a container's log in the CRI's form.
//!
//! `2026-11-25T18:00:00.123456789Z stderr F text`.

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// RFC 3339 with nine digits after the point, always of the same zone: comparable as text.
    pub time: String,
    pub text: String,
}

impl Line {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(4, ' ');
        let time = fields.next()?;
        let text = fields.nth(2)?;
        Some(Self { time: time.to_owned(), text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_time_stream_tag_and_text() {
        let line = Line::parse("2026-11-25T18:00:00.123456789Z stderr F {\"a\": 1}").unwrap();
        assert_eq!((line.time.as_str(), line.text.as_str()), ("2026-11-25T18:00:00.123456789Z", "{\"a\": 1}"));
        assert_eq!(Line::parse("nothing"), None);
    }
}
