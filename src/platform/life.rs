//! What the place that the daemon runs in wants to hear of its life, and asks of it: the seam between the supervisor and
//! platforms that do more than send signals.

use std::future::pending;
use std::sync::Arc;

use tokio::time::Instant;

use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::platform::{Runtime, lambda};

/// The place asks the daemon to stop.
#[derive(Clone, Debug)]
pub struct StopRequest {
    pub reason: String,
    /// When the daemon is to be gone.
    pub deadline: Option<Instant>,
}

/// The platform; clones speak with the same.
#[derive(Clone, Default)]
pub struct Platform {
    lambda: Option<Arc<lambda::lifecycle::Lifecycle>>,
    outlasts_failure: bool,
}

impl Platform {
    /// The one of `runtime`. `program` is what this process was started as. With `outlasts_failure` the place is not
    /// told of failures, but that the daemon has done what it could.
    pub fn of(runtime: Runtime, environment: &Environment, program: &str, outlasts_failure: bool) -> Self {
        let lambda = (runtime == Runtime::Lambda).then(|| Arc::new(lambda::lifecycle(environment, program)));
        Self { outlasts_failure: outlasts_failure && lambda.is_some(), lambda }
    }

    /// Whether the program that the daemon serves goes on without it.
    pub fn outlasts_failure(&self) -> bool {
        self.outlasts_failure
    }

    /// Says that the daemon is there. What else starts in this place starts now.
    pub async fn arrive(&self) -> Result<(), ExitReason> {
        match &self.lambda {
            Some(lambda) => lambda.register().await,
            None => Ok(()),
        }
    }

    /// Says that the daemon is ready as soon as `ready` ends, then waits until it is asked to stop.
    pub async fn stop_request(&self, ready: impl Future) -> StopRequest {
        let Some(lambda) = &self.lambda else { return pending().await };
        ready.await;
        lambda.shutdown().await
    }

    /// Reports that the daemon ends because of `fatal`. Where the place outlasts that, returns when all of it ends:
    /// Lambda takes down an environment in which an extension has exited.
    pub async fn failed(&self, fatal: &ExitReason) {
        let Some(lambda) = &self.lambda else { return };
        if lambda.register().await.is_err() {
            return;
        }
        if self.outlasts_failure {
            lambda.shutdown().await;
        } else {
            lambda.fail(fatal).await;
        }
    }
}
