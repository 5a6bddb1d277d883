//! Carries the AWS SDK's requests over [`Https`].
//!
//! The SDK's own client would bring a second set of CA certificates and a connection pool.

use std::fmt;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::HttpError;
use aws_smithy_types::body::SdkBody;
use http_body_util::Full;
use hyper::Uri;
use thiserror::Error;
use tokio::time::timeout;

use crate::auth_keys::https::{Https, HttpsError, LONGEST_BODY};
use crate::net::http_request;
use crate::secret::zeroed_when_sent;

/// Longest time for a connection to open, unless the SDK sets one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for the response, unless the SDK sets one.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Path at which the instance metadata service gives the token that every request to it needs (IMDSv2).
const METADATA_TOKEN: &str = "/latest/api/token";

/// The HTTP client that the SDK is given.
#[derive(Clone)]
pub struct AwsHttp {
    pub https: Https,
    /// Whether the instance metadata service may be asked.
    pub imds: bool,
}

impl fmt::Debug for AwsHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsHttp")
    }
}

impl HttpClient for AwsHttp {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(AwsConnector {
            http: self.clone(),
            connect_timeout: settings.connect_timeout().unwrap_or(CONNECT_TIMEOUT),
            read_timeout: settings.read_timeout().unwrap_or(READ_TIMEOUT),
        })
    }
}

#[derive(Debug)]
struct AwsConnector {
    http: AwsHttp,
    connect_timeout: Duration,
    read_timeout: Duration,
}

impl HttpConnector for AwsConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (https, connect) = (self.http.https.clone(), self.connect_timeout);
        let whole = connect + self.read_timeout;
        let for_metadata = is_for_metadata(&request);
        if for_metadata && !self.http.imds {
            return HttpConnectorFuture::ready(Err(final_failure(NoMetadata)));
        }
        HttpConnectorFuture::new(async move {
            let exchange = timeout(whole, exchange_for_sdk(&https, request, connect));
            let result = exchange.await.unwrap_or(Err(HttpsError::TimedOut(whole)));
            result.map_err(|error| if for_metadata { final_failure(error) } else { failed(error) })
        })
    }
}

/// The instance metadata service is not asked, since the platform's credentials come another way.
#[derive(Debug, Error)]
#[error("the instance metadata service is not asked here")]
struct NoMetadata;

fn is_for_metadata(request: &HttpRequest) -> bool {
    let path = request.uri().parse::<Uri>();
    request.method() == "PUT" && path.is_ok_and(|uri| uri.path() == METADATA_TOKEN)
}

/// An error after which the SDK does not try again: the metadata service answers within milliseconds where it exists,
/// and never in a container behind a hop limit.
fn final_failure(error: impl std::error::Error + Send + Sync + 'static) -> ConnectorError {
    ConnectorError::user(error.into())
}

async fn exchange_for_sdk(https: &Https, request: HttpRequest, connect: Duration) -> Result<HttpResponse, HttpsError> {
    let malformed = |error: HttpError| HttpsError::Malformed(error.to_string());
    let request = request.try_into_http1x().map_err(malformed)?;
    // Bodies of these requests are small, and in memory.
    let request = request.map(|body| Full::new(zeroed_when_sent(body.bytes().unwrap_or_default())));
    let (head, body) = https.send(request, connect).await?.into_parts();
    let body = http_request::read_body(body, LONGEST_BODY).await?;
    HttpResponse::try_from(hyper::Response::from_parts(head, SdkBody::from(body))).map_err(malformed)
}

fn failed(error: HttpsError) -> ConnectorError {
    match error {
        HttpsError::TimedOut(_) => ConnectorError::timeout(error.into()),
        _ => ConnectorError::io(error.into()),
    }
}
