//! Percent-encoding of what API Gateway has decoded, and of nothing else.

use std::fmt::Write;

/// A path as it may stand in a request line. HTTP APIs decode the path (`/a%20b` arrives as `/a b`), function URLs do
/// not; characters that no encoded path has are encoded, everything else stays as it came, escapes included.
pub fn path(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut encoded = String::with_capacity(bytes.len());
    for (place, byte) in bytes.iter().enumerate() {
        let stands = match byte {
            b'%' => is_escape(&bytes[place..]),
            // RFC 3986 has no place for these in a path: they were decoded.
            b'"' | b'{' | b'}' | b'|' | b'^' | b'`' | b'[' | b']' | b'\\' | b'<' | b'>' => false,
            b'?' | b'#' => false,
            byte => byte.is_ascii_graphic(),
        };
        push(&mut encoded, *byte, stands);
    }
    encoded
}

/// A raw query string; only what would break the request line is encoded, and what `http::Uri` takes for that.
pub fn query(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        push(&mut encoded, byte, byte.is_ascii_graphic() && !b"#\"<>".contains(&byte));
    }
    encoded
}

/// The name or value of one parameter, which payload format 1.0 has decoded.
pub fn parameter(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        push(&mut encoded, byte, byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    }
    encoded
}

fn is_escape(rest: &[u8]) -> bool {
    rest.get(1..3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

fn push(encoded: &mut String, byte: u8, stands: bool) {
    if stands {
        encoded.push(char::from(byte));
    } else {
        // Writing to a string cannot fail.
        let _ = write!(encoded, "%{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_path_stays_as_it_is() {
        for text in ["/", "/a%20b/%2F%2f/%25", "/a/../b/./c//d/", "/;v=1,2:@&=+$!*'()~-._", "/%C3%A9"] {
            assert_eq!(path(text), text);
        }
    }

    #[test]
    fn what_the_gateway_decoded_is_encoded_again() {
        assert_eq!(path("/a b/é?x#y/100%/%zz"), "/a%20b/%C3%A9%3Fx%23y/100%25/%25zz");
        assert_eq!(path("/\r\nHost: evil"), "/%0D%0AHost:%20evil");
        assert_eq!(path("/{a}|[b]"), "/%7Ba%7D%7C%5Bb%5D");
    }

    #[test]
    fn a_query_keeps_its_bytes_and_cannot_end_the_line() {
        for text in ["a=1&a=2&b", "q=%20+%2B&&=&x[]={1}", "url=http://a/?b=c"] {
            assert_eq!(query(text), text);
        }
        assert_eq!(query("a b\r\n#ü"), "a%20b%0D%0A%23%C3%BC");
    }

    #[test]
    fn a_request_line_can_be_made_of_any_text() {
        let all: String = (0..=255).map(char::from).collect();
        for text in [format!("/{}", path(&all)), format!("/?{}", query(&all)), format!("/?a={}", parameter(&all))] {
            let uri: hyper::Uri = text.parse().expect(&text);
            assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn a_parameter_is_encoded_whole() {
        assert_eq!(parameter("a b&c=d/é~"), "a%20b%26c%3Dd%2F%C3%A9~");
    }
}
