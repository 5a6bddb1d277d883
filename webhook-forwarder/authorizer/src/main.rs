//! Lambda authorizer of an HTTP or REST API.
//!
//! It reads its one setting, and answers every request by it.

use std::env;

use lambda_runtime::{LambdaEvent, service_fn};
use webhook_authorizer::{Allowed, Question, log, verdict};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    log::start();
    let allowed = Allowed::read(env::var("AUTHD_SOURCE_CIDR").ok().as_deref());
    if let Err(fault) = &allowed {
        tracing::error!(reason = %fault, "every caller is denied");
    }
    let allowed = &allowed;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Question>| async move {
        let answer = verdict(allowed, &event.payload, &event.context.request_id);
        Ok::<_, lambda_runtime::Error>(answer)
    }))
    .await
}
