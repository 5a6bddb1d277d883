//! The node's host name: what DNS takes for one label.

use super::Value;

/// RFC 1035, section 2.3.4.
pub const LONGEST_LABEL: usize = 63;

/// A node's host name: one DNS label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hostname(pub String);

impl Value for Hostname {
    const EXPECTED: &'static str = "one name of letters, digits and dashes, at most 63, without dots";

    fn parse(text: &str) -> Option<Self> {
        let fits = (1..=LONGEST_LABEL).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        fits.then(|| Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_one_label() {
        assert!(Hostname::parse("web-1").is_some());
        assert!(Hostname::parse("web.example").is_none());
        assert!(Hostname::parse("-web").is_none());
        assert!(Hostname::parse("").is_none());
    }
}
