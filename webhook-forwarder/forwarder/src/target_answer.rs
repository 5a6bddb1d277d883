//! The target's response, before it becomes the response to the caller.

use hyper::body::Bytes;
use hyper::{HeaderMap, StatusCode};

/// Largest answer in bytes that Lambda lets through, the JSON around it included.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const LIMIT: usize = 6_291_556;

/// The target's answer as it was read.
#[derive(Debug)]
pub struct TargetAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}
