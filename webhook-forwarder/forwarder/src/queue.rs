//! Asynchronous mode: puts the event on an SQS queue.
//!
//! It goes as it is, and comes back as a message of the queue.

use aws_sdk_sqs::Client;
use serde::Serialize;
use tokio::sync::OnceCell;
use webhook_outbound::aws::{AwsConfigError, config, said};

use crate::failure::Failure;

/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const LIMIT: usize = 1_048_576;

/// Where events wait.
pub struct Queue {
    url: String,
    client: OnceCell<Client>,
}

/// Which messages of a batch come again (ReportBatchItemFailures).
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    pub batch_item_failures: Vec<ItemFailure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    pub item_identifier: String,
}

impl Queue {
    pub fn new(url: String) -> Self {
        Self { url, client: OnceCell::new() }
    }

    /// When it returns, SQS has the event.
    pub async fn put(&self, event: &str) -> Result<(), Failure> {
        let size = event.len();
        if size > LIMIT {
            return Err(Failure::TooLargeForQueue { size, limit: LIMIT });
        }
        let client = self.client.get_or_try_init(|| async { client() }).await;
        let client = client.map_err(|error| Failure::NotQueued(error.to_string()))?;
        let sent = client.send_message().queue_url(&self.url).message_body(event).send().await;
        sent.map(drop).map_err(|error| Failure::NotQueued(said(&error)))
    }
}

fn client() -> Result<Client, AwsConfigError> {
    Ok(Client::new(&config("SQS")?))
}
