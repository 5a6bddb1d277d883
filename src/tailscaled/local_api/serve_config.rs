//! The LocalAPI's `serve-config`: reads and replaces what the node serves.

use hyper::Method;
use hyper::body::Bytes;

use crate::net::http_request;
use crate::tailscaled::local_api::{LocalApi, LocalApiError, request};

const PATH: &str = "/localapi/v0/serve-config";

/// What the node serves now.
#[derive(Debug)]
pub struct ServedConfig {
    /// JSON in the form of a serve configuration; `null` when there never was one.
    pub text: Bytes,
    /// Version of `text`, by which a change names what it replaces.
    etag: String,
}

impl LocalApi {
    /// Reads what the node serves now.
    pub async fn serve_config(&self) -> Result<ServedConfig, LocalApiError> {
        LocalApi::in_time(async {
            let response = self.success(PATH, request(Method::GET, PATH, Bytes::new())).await?;
            let etag = response.headers().get("Etag").and_then(|etag| etag.to_str().ok());
            let etag = etag.unwrap_or_default().to_owned();
            Ok(ServedConfig { text: http_request::read_answer(response).await?.1, etag })
        })
        .await
    }

    /// Serves `text` in the place of `now`.
    ///
    /// # Errors
    /// [`LocalApiError::Refused`] when somebody else has changed what is served since `now` was read.
    pub async fn set_serve_config(&self, text: &str, now: &ServedConfig) -> Result<(), LocalApiError> {
        let mut request = request(Method::POST, PATH, text.to_owned().into());
        if let (Ok(request), Ok(etag)) = (&mut request, now.etag.parse()) {
            request.headers_mut().insert("If-Match", etag);
        }
        LocalApi::in_time(async {
            let response = self.success(PATH, request).await?;
            http_request::read_answer(response).await?;
            Ok(())
        })
        .await
    }
}
