//! Finds dot segments in a path, in every spelling that some server reads as one.
//!
//! A target behind `TS_BASE_PATH` may resolve them after the forwarder has put that path before the caller's. Judged is a reading of the path
//! that is at least as greedy as any server's: escapes are decoded as often as there are any, `\` is a slash, a segment ends where parameters,
//! a query or a NUL begin, and white space at its ends is nothing. What is sent stays as it came.

/// True where a segment of the path consists of dots alone.
pub fn has_dot_segment(path: &str) -> bool {
    let decoded = plain(&decoded(path.as_bytes()));
    decoded.split(|byte| b"/\\".contains(byte)).any(|segment| {
        let end = segment.iter().position(|byte| b";?#\0".contains(byte)).unwrap_or(segment.len());
        let segment = segment[..end].iter().filter(|byte| !byte.is_ascii_whitespace() && !byte.is_ascii_control());
        let mut length = 0;
        segment.inspect(|_| length += 1).all(|byte| *byte == b'.') && length > 0
    })
}

/// Decodes `%2e` and IIS's `%u002e` until none is left: each byte that completes an escape may complete another.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for byte in text {
        bytes.push(*byte);
        while let Some((length, code)) = escape_at_end(&bytes) {
            bytes.truncate(bytes.len() - length);
            match u8::try_from(code) {
                Ok(byte) => bytes.push(byte),
                Err(_) => {
                    let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                    bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }
    bytes
}

/// Length and value of the escape that ends here.
fn escape_at_end(bytes: &[u8]) -> Option<(usize, u32)> {
    let digits = |count: usize| {
        let (_, digits) = bytes.split_at_checked(bytes.len().checked_sub(count)?)?;
        let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u32::from_str_radix(text, 16).ok()
    };
    let begins = |prefix: &[u8], count: usize| bytes[..bytes.len().saturating_sub(count)].ends_with(prefix);
    if begins(b"%", 2) {
        return Some((3, digits(2)?));
    }
    let code = if begins(b"%u", 4) || begins(b"%U", 4) { digits(4)? } else { return None };
    Some((6, code))
}

/// Overlong UTF-8, and letters that normalisation turns into dots, slashes and semicolons, as what they become.
fn plain(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let (read, written): (usize, &[u8]) = match rest {
            [0xC0 | 0xC1, next, ..] => (2, &[(first & 1) << 6 | next & 0x3F]),
            [0xE0, middle @ (0x80 | 0x81), next, ..] | [0xF0, 0x80, middle @ (0x80 | 0x81), next, ..] => {
                (if *first == 0xE0 { 3 } else { 4 }, &[(middle & 1) << 6 | next & 0x3F])
            }
            // One dot leader, small and full-width full stops; two and three dots, upright ones as well.
            [0xE2, 0x80, 0xA4, ..] | [0xEF, 0xB9, 0x92, ..] | [0xEF, 0xBC, 0x8E, ..] => (3, b"."),
            [0xE2, 0x80, 0xA5 | 0xA6, ..] | [0xEF, 0xB8, 0x99 | 0xB0, ..] => (3, b".."),
            // Full-width slash, fraction slash, division slash; small and full-width backslashes.
            [0xEF, 0xBC, 0x8F, ..] | [0xE2, 0x81, 0x84, ..] | [0xE2, 0x88, 0x95, ..] => (3, b"/"),
            [0xEF, 0xB9, 0xA8, ..] | [0xEF, 0xBC, 0xBC, ..] => (3, b"\\"),
            // Semicolons and question marks, upright, small and full-width; small and full-width number signs.
            [0xEF, 0xB8, 0x94, ..] | [0xEF, 0xB9, 0x94, ..] | [0xEF, 0xBC, 0x9B, ..] => (3, b";"),
            [0xEF, 0xB8, 0x96, ..] | [0xEF, 0xB9, 0x96, ..] | [0xEF, 0xBC, 0x9F, ..] => (3, b"?"),
            [0xEF, 0xB9, 0x9F, ..] | [0xEF, 0xBC, 0x83, ..] => (3, b"#"),
            // Spaces of all widths.
            [0xC2, 0xA0, ..] => (2, b" "),
            [0xE2, 0x80, 0x80..=0x8A | 0xAF, ..] | [0xE2, 0x81, 0x9F, ..] | [0xE3, 0x80, 0x80, ..] => (3, b" "),
            _ => (1, &[*first]),
        };
        plain.extend_from_slice(written);
        rest = &tail[read - 1..];
    }
    plain
}

#[cfg(test)]
#[path = "dot_segments_tests.rs"]
pub mod tests;
