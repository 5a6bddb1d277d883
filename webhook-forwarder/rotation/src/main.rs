//! The rotation's entry point.
//!
//! It reads its settings once, then does one step after the other as Secrets Manager asks.

use std::env;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use webhook_outbound::log;
use webhook_rotation::rotation::Rotation;
use webhook_rotation::settings::Settings;
use webhook_rotation::step::Event;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::start();
    let settings = Settings::read(|name| env::var(name).ok()).inspect_err(|fault| {
        tracing::error!(reason = %fault, "the settings are unusable");
    })?;
    let rotation = &Rotation::new(settings)?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Event>| async move {
        let (event, invocation) = (event.payload, event.context.request_id);
        let done = rotation.run(&event).await;
        match &done {
            Ok(outcome) => tracing::info!(invocation, step = %event.step, secret = event.secret_id, outcome, "done"),
            // The alarm of the stack counts this line.
            Err(error) => {
                tracing::error!(invocation, step = %event.step, secret = event.secret_id, reason = %error, "rotation failed");
            }
        }
        done.map(drop).map_err(Error::from)
    }))
    .await
}
