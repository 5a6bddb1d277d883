//! Parses the event that Lambda hands over: an HTTP request, or SQS messages.
//!
//! A request is in API Gateway's payload format 2.0 (a function URL has the same) or 1.0. Every field that tests in the
//! console send as null may be null.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Any of them; [`crate::request`] tells them apart.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Event {
    /// 2.0: as API Gateway has decoded it, or as it came, for a function URL.
    pub raw_path: Option<String>,
    /// 2.0: as it came.
    pub raw_query_string: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub cookies: Vec<String>,
    /// 2.0: repeated ones are one, with commas.
    #[serde(deserialize_with = "or_default")]
    pub headers: BTreeMap<String, String>,
    /// 1.0
    pub path: Option<String>,
    pub http_method: Option<String>,
    pub multi_value_headers: Option<BTreeMap<String, Vec<String>>>,
    pub multi_value_query_string_parameters: Option<BTreeMap<String, Vec<String>>>,
    #[serde(deserialize_with = "or_default")]
    pub query_string_parameters: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub request_context: RequestContext,
    pub body: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub is_base64_encoded: bool,
    /// SQS
    #[serde(rename = "Records", deserialize_with = "or_default")]
    pub records: Vec<Record>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RequestContext {
    pub request_id: Option<String>,
    pub domain_name: Option<String>,
    pub stage: Option<String>,
    /// 2.0
    pub http: Option<Http>,
    /// 1.0
    pub identity: Option<Identity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Http {
    pub method: String,
    pub source_ip: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Identity {
    pub source_ip: Option<String>,
}

/// One message of a queue; its body is an event that [`crate::queue`] has put there.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Record {
    pub message_id: String,
    pub body: String,
}

fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
