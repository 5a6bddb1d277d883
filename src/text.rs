//! Text of others made safe to show: a name that a client sends must not forge a log line or colour a terminal.

use std::fmt::Write;

/// `text` with its control characters escaped.
pub fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            let _ = write!(clean, "{}", c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_others_kept() {
        assert_eq!(printable("a\nERROR \u{1b}[31m é"), "a\\nERROR \\u{1b}[31m é");
    }
}
