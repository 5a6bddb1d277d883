//! The AWS SDK's requests over [`Https`]: the SDK's own client would bring a second set of roots and a connection pool.

use std::fmt;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::time::timeout;

use super::https::{Https, HttpsError};
use crate::http;

/// Where the SDK names no limits of its own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The SDK's view of the client.
#[derive(Clone)]
pub(super) struct AwsHttp(pub Https);

impl fmt::Debug for AwsHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsHttp")
    }
}

impl HttpClient for AwsHttp {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            https: self.clone(),
            connect_timeout: settings.connect_timeout().unwrap_or(CONNECT_TIMEOUT),
            read_timeout: settings.read_timeout().unwrap_or(READ_TIMEOUT),
        })
    }
}

#[derive(Debug)]
struct Connector {
    https: AwsHttp,
    connect_timeout: Duration,
    read_timeout: Duration,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (https, connect) = (self.https.0.clone(), self.connect_timeout);
        let whole = connect + self.read_timeout;
        HttpConnectorFuture::new(async move {
            let exchange = timeout(whole, exchange(&https, request, connect));
            exchange.await.unwrap_or_else(|_| Err(failed(HttpsError::TimedOut(whole))))
        })
    }
}

async fn exchange(https: &Https, request: HttpRequest, connect: Duration) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    // What is asked here is small, and in memory.
    let request = request.map(|body| Full::new(Bytes::copy_from_slice(body.bytes().unwrap_or_default())));
    let response = https.send(request, connect).await.map_err(failed)?;
    let (head, body) = response.into_parts();
    let response = hyper::Response::from_parts(head.clone(), body);
    let (_, body) = http::read(response).await.map_err(|error| failed(error.into()))?;
    let response = hyper::Response::from_parts(head, SdkBody::from(body));
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}

fn failed(error: HttpsError) -> ConnectorError {
    match error {
        HttpsError::TimedOut(_) => ConnectorError::timeout(error.into()),
        _ => ConnectorError::io(error.into()),
    }
}
