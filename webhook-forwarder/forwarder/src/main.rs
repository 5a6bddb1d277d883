//! The forwarder's entry point.
//!
//! It reads its settings once, then answers one invocation after the other.

use std::env;
use std::sync::Arc;

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::value::RawValue;
use webhook_forwarder::handler::Handler;
use webhook_forwarder::settings::Settings;
use webhook_outbound::log;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    log::start();
    let settings = Settings::read(|name| env::var(name).ok()).inspect_err(|faults| {
        tracing::error!(reason = %faults, "the settings are unusable");
    })?;
    let handler = Arc::new(Handler::new(settings)?);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let handler = Arc::clone(&handler);
        async move { handler.handle(&event.payload, &event.context).await }
    }))
    .await
}
