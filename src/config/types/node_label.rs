//! The node's host name: one label of DNS.

use crate::config::types::Value;

/// Most characters of a label (RFC 1035, section 2.3.4).
const LONGEST_LABEL: usize = 63;

/// A node's host name: one DNS label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLabel(pub String);

impl NodeLabel {
    /// Returns the label nearest to `name`, which may be longer and have dots and underscores. `None` where nothing
    /// usable is left.
    pub fn near(name: &str) -> Option<Self> {
        Self::parse(&trimmed(name, LONGEST_LABEL))
    }

    /// Returns the label nearest to `name` with `end` behind a dash. `end` stays whole, since it tells nodes of one
    /// name apart.
    pub fn near_with(name: &str, end: &str) -> Option<Self> {
        let room = LONGEST_LABEL.saturating_sub(end.len() + 1);
        Self::parse(format!("{}-{end}", trimmed(name, room)).trim_matches('-'))
    }
}

fn trimmed(name: &str, room: usize) -> String {
    let label: String = name.chars().take(room).map(|c| if matches!(c, '.' | '_') { '-' } else { c }).collect();
    label.trim_matches('-').to_owned()
}

impl Value for NodeLabel {
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
        assert!(NodeLabel::parse("web-1").is_some());
        assert!(NodeLabel::parse("web.example").is_none());
        assert!(NodeLabel::parse("-web").is_none());
        assert!(NodeLabel::parse("").is_none());
    }

    #[test]
    fn a_name_of_other_rules_becomes_the_nearest_label() {
        for (name, label) in [
            ("shop-7c9f8d6b5-abcde", Some("shop-7c9f8d6b5-abcde")),
            ("etcd-ip-10-0-0-1.ec2.internal", Some("etcd-ip-10-0-0-1-ec2-internal")),
            ("_my_App_", Some("my-App")),
            ("", None),
            ("..", None),
            ("no name", None),
            ("näme", None),
        ] {
            assert_eq!(NodeLabel::near(name).map(|label| label.0).as_deref(), label, "{name}");
        }
        let near = |name: String| NodeLabel::near(&name).map(|label| label.0);
        assert_eq!(near("a".repeat(253)), Some("a".repeat(LONGEST_LABEL)));
        assert_eq!(near(format!("{}.b", "a".repeat(62))), Some("a".repeat(62)), "no dash at the end");
    }

    #[test]
    fn what_tells_nodes_apart_stays_whole() {
        let near = |name: &str| NodeLabel::near_with(name, "e9028f8d").map(|label| label.0);
        assert_eq!(near("_my_App_").as_deref(), Some("my-App-e9028f8d"));
        assert_eq!(near(&"a".repeat(255)), Some(format!("{}-e9028f8d", "a".repeat(54))));
        assert_eq!(near(&"_".repeat(255)).as_deref(), Some("e9028f8d"));
        assert_eq!(NodeLabel::near_with("", ""), None);
    }
}
