//! Escapes text for log lines and for URLs.
//!
//! A name that a client sends must not forge a log line or colour a terminal, and a value in a URL must not be read as
//! a part of its syntax.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

/// Characters to encode: all but the unreserved ones of RFC 3986, section 2.3.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns `text` with every character escaped that is not seen, or changes how others are: control characters, line and
/// paragraph separators, and those that set the direction of writing, by which a line can look like another one.
pub fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unseen(c) {
            let _ = write!(clean, "{}", c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// Returns `text` without what surrounds it and is not seen: white space of any kind, byte order marks, characters of no width.
pub fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || is_unseen(c))
}

/// Returns the first character of `text` that is not seen, a plain space apart.
pub fn unseen(text: &str) -> Option<char> {
    text.chars().find(|c| *c != ' ' && (c.is_whitespace() || is_unseen(*c)))
}

/// Whether a character is a control character (Cc), a separator of lines (Zl, Zp), or formats others (Cf, without those that
/// belong to scripts). <https://www.unicode.org/reports/tr9/> has the ones of direction, <https://trojansource.codes> why.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Encodes `text` as one part of a URL or a form, with nothing left that a parser or a shell could take for its own.
pub fn percent_encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, &RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_others_kept() {
        assert_eq!(printable("a\nERROR \u{1b}[31m é"), "a\\nERROR \\u{1b}[31m é");
    }

    #[test]
    fn what_ends_a_line_or_turns_text_around_is_escaped_and_scripts_are_kept() {
        for (code, name) in [
            (0x85, "next line"),
            (0xad, "soft hyphen"),
            (0x61c, "Arabic letter mark"),
            (0x200b, "zero width space"),
            (0x200e, "left-to-right mark"),
            (0x200f, "right-to-left mark"),
            (0x2028, "line separator"),
            (0x2029, "paragraph separator"),
            (0x202a, "left-to-right embedding"),
            (0x202b, "right-to-left embedding"),
            (0x202c, "pop directional formatting"),
            (0x202d, "left-to-right override"),
            (0x202e, "right-to-left override"),
            (0x2060, "word joiner"),
            (0x2066, "left-to-right isolate"),
            (0x2067, "right-to-left isolate"),
            (0x2068, "first strong isolate"),
            (0x2069, "pop directional isolate"),
            (0xfeff, "byte order mark"),
            (0xfffb, "interlinear annotation terminator"),
            (0xe0041, "tag latin capital letter A"),
        ] {
            let c = char::from_u32(code).expect(name);
            assert_eq!(printable(&format!("a{c}b")), format!("a\\u{{{code:x}}}b"), "{name}");
        }
        for text in ["Grüße", "日本語", "שלום", "مرحبا", "न\u{94d}", "👍", "a\u{301}"] {
            assert_eq!(printable(text), text);
        }
    }
}
