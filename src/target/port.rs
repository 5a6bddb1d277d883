//! Ports as they are written: decimal digits, and no other spelling.

/// Parses a port. `None` for a sign or a zero before it: programs read `+80` and `080` in different ways.
pub fn parse_port(text: &str) -> Option<u16> {
    is_plain_number(text).then(|| text.parse().ok())?
}

/// Whether `text` is a decimal number without a sign or a zero before it.
pub fn is_plain_number(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_one_spelling() {
        for (text, port) in [("0", Some(0)), ("80", Some(80)), ("65535", Some(65535))] {
            assert_eq!(parse_port(text), port, "{text}");
        }
        for text in ["", "+80", "-80", "080", "00", " 80", "80 ", "65536", "0x50", "8O", "٨٠", "1e2"] {
            assert_eq!(parse_port(text), None, "{text}");
        }
    }
}
