//! AWS Lambda: the runtime and the extensions speak with the platform over an address of the execution environment.

use crate::config::Environment;

/// The host of the runtime API, which no proxy reaches.
/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
pub(super) fn api_host(environment: &Environment) -> Option<String> {
    let api = environment.get("AWS_LAMBDA_RUNTIME_API")?;
    let host = api.rsplit_once(':').map_or(api.as_str(), |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| host.to_owned())
}
