//! Makes the response to the caller, in the payload format of its request.
//!
//! It is the target's response or a part of it, or a failure.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, SET_COOKIE};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::failure::Failure;
use crate::request::Format;
use crate::target_answer::{LIMIT, TargetAnswer};

/// How much of the target's answer is passed on: `PROXY_RESPONSE`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Full,
    CodeAndHeaders,
    Code,
    /// 200, whatever it was.
    Nothing,
}

impl Mode {
    pub fn named(text: &str) -> Self {
        match text.to_ascii_uppercase().as_str() {
            "FULL" => Self::Full,
            "HTTP_CODE_HEADERS" => Self::CodeAndHeaders,
            "HTTP_CODE" => Self::Code,
            _ => Self::Nothing,
        }
    }
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<BTreeMap<String, Vec<String>>>,
    body: String,
    is_base64_encoded: bool,
}

pub fn render(mode: Mode, format: Format, answer: &TargetAnswer) -> Result<Box<RawValue>, Failure> {
    let mut payload = Payload { status_code: 200, ..Payload::default() };
    if mode != Mode::Nothing {
        payload.status_code = answer.status.as_u16();
    }
    if matches!(mode, Mode::Full | Mode::CodeAndHeaders) {
        payload.take_headers(format, &answer.headers);
    }
    if mode == Mode::Full {
        payload.take_body(answer);
    }
    let json = payload.json()?;
    let size = json.get().len();
    if size > LIMIT { Err(Failure::TooLarge { size: size.to_string(), limit: LIMIT }) } else { Ok(json) }
}

/// An answer of the forwarder's own, as JSON.
pub fn own(status: u16, message: &str) -> Result<Box<RawValue>, Failure> {
    let headers = BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]);
    let body = serde_json::json!({ "message": message }).to_string();
    Payload { status_code: status, headers: Some(headers), body, ..Payload::default() }.json()
}

impl Payload {
    fn json(&self) -> Result<Box<RawValue>, Failure> {
        to_raw_value(self).map_err(|error| Failure::Broken(format!("the answer cannot be written: {error}")))
    }

    fn take_headers(&mut self, format: Format, headers: &HeaderMap) {
        let mut many = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH) {
            many.entry(name.to_string()).or_default().push(text(value));
        }
        match format {
            Format::V1 => self.multi_value_headers = Some(many),
            Format::V2 => {
                // The one header whose repetitions commas cannot join.
                self.cookies = many.remove(SET_COOKIE.as_str()).unwrap_or_default();
                self.headers = Some(many.into_iter().map(|(name, values)| (name, values.join(", "))).collect());
            }
        }
    }

    /// As text where it is text: that is smaller, and a person reads it in the console.
    fn take_body(&mut self, answer: &TargetAnswer) {
        let is_plain = !answer.headers.contains_key(CONTENT_ENCODING);
        let text = std::str::from_utf8(&answer.body).ok().filter(|text| is_plain && !text.contains('\0'));
        self.is_base64_encoded = text.is_none();
        self.body = text.map_or_else(|| STANDARD.encode(&answer.body), str::to_owned);
    }
}

/// Old servers write Latin-1.
fn text(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| bytes.iter().copied().map(char::from).collect())
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
