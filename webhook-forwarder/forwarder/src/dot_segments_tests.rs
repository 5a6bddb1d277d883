//! Spellings of dot segments, which every format of events is tried with.

use super::*;

/// Paths that a target may take for one outside of `TS_BASE_PATH`, whichever way it decodes.
pub const SPELLINGS: [&str; 74] = [
    "/..",
    "/../admin",
    "/a/../../admin",
    "/a/..",
    "/.",
    "/./a",
    "/a/./b",
    "/...",
    "/a/....//b",
    "//..",
    "/%2e%2e/admin",
    "/%2E%2E",
    "/.%2e/admin",
    "/%2e./admin",
    "/%2e",
    "/a/%2e%2E/%2e%2e",
    // Parameters, which Tomcat and Jetty cut off.
    "/..;/admin",
    "/..;a=b/admin",
    "/%2e%2e;x/admin",
    "/..%3b/admin",
    "/..%3Bx=/admin",
    "/.;/a",
    // Backslashes, which IIS and browsers take for slashes.
    "/..\\admin",
    "\\..\\admin",
    "/a\\..\\..\\admin",
    "/..%5cadmin",
    "/a%5C..%5c..%5Cadmin",
    "/%5c%2e%2e%5c",
    // Encoded slashes.
    "/..%2fadmin",
    "/a%2F..%2F..%2fadmin",
    "/%2f..",
    "/a%2f%2e%2e%5cadmin",
    "/a/..%2f",
    // Twice and more often.
    "/%252e%252e/admin",
    "/.%252e/admin",
    "/%25252e%25252e",
    "/..%252fadmin",
    "/a%255c..%255cadmin",
    "/..%253b/admin",
    "/%2525252525252e%2e/",
    "/%2%65%2%65/admin",
    "/%%32%65%%32%65/admin",
    // What ends a path, and white space at its ends, which Windows and C cut off.
    "/..%00/admin",
    "/..%00.png",
    "/..%20/admin",
    "/%20../admin",
    "/..%09/",
    "/..%0d%0a/admin",
    "/..%3f/admin",
    "/..%3Fa=b",
    "/..%23/admin",
    "/..%253f",
    "/.. /admin",
    // Overlong UTF-8, IIS's own escapes, and letters that become dots and slashes.
    "/%c0%ae%c0%ae/admin",
    "/%C0%AE./admin",
    "/..%c0%afadmin",
    "/..%c1%9cadmin",
    "/%e0%80%ae%e0%80%ae/",
    "/%f0%80%80%ae%2e/",
    "/%u002e%u002e/admin",
    "/%uff0e%uFF0E%u2215admin",
    "/\u{ff0e}\u{ff0e}\u{ff0f}admin",
    "/\u{fe30}/admin",
    "/\u{fe19}/admin",
    "/..\u{fe14}a/admin",
    "/..\u{fe54}a/admin",
    "/..\u{ff1f}a/admin",
    "/..\u{fe56}a/admin",
    "/..\u{ff03}a/admin",
    "/..\u{fe5f}a/admin",
    "/..\u{3000}/admin",
    "/\u{a0}../admin",
    "/..%e2%80%83/admin",
    "/..%e2%81%9f/admin",
];

#[test]
fn a_million_escapes_within_each_other_take_no_time() {
    let nested = format!("/%{}2e/x", "25".repeat(500_000));
    assert!(has_dot_segment(&nested));
    assert!(!has_dot_segment(&"/%".repeat(500_000)));
}

#[test]
fn bytes_at_the_end_are_read_as_far_as_they_go() {
    for path in ["/%", "/%2", "/%u", "/%u00", "/%c0", "/%e0%80", "/%f0%80%80", "/%ef%bc", "", "/"] {
        assert!(!has_dot_segment(path), "{path}");
    }
}
