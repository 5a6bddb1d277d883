//! Handles one invocation: forwards a request, or puts it on the SQS queue.
//!
//! A request of API Gateway is checked and forwarded, or put on the queue; a message of the queue is forwarded, and
//! comes again when that fails. Every failure is one line in the log, without body and headers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::{Context, Error};
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::timeout;
use webhook_outbound::https::TlsError;
use webhook_outbound::secrets::StoredText;

use crate::answer::{self, Mode};
use crate::event::{Event, Record};
use crate::failure::Failure;
use crate::outgoing;
use crate::queue::{BatchResponse, ItemFailure, Queue};
use crate::request::{Malformed, Request};
use crate::settings::{Settings, Target};
use crate::signature::Scheme;
use crate::socks::Dial;
use crate::target_answer::TargetAnswer;
use crate::upstream::Upstream;

/// What is left of the function's time for answering, before Lambda ends it.
const MARGIN: Duration = Duration::from_millis(250);
const LATE: &str = "AWS has not answered in time";

/// All that outlives an invocation.
pub struct Handler {
    mode: Mode,
    target: Option<(Target, Upstream)>,
    signature: Option<(Scheme, StoredText)>,
    queue: Option<Queue>,
}

impl Handler {
    pub fn new(settings: Settings) -> Result<Self, TlsError> {
        let dial = settings.socks.map_or(Dial::Direct, Dial::Socks);
        let target = match settings.target {
            Some(target) => {
                let upstream = Upstream::new(dial, &target.scheme)?;
                Some((target, upstream))
            }
            None => None,
        };
        let signature = settings.signature.map(|signature| (signature.scheme, StoredText::new(&signature.secret)));
        Ok(Self { mode: settings.mode, target, signature, queue: settings.queue_url.map(Queue::new) })
    }

    /// Answers in any case: an error here would be a 500 without a reason.
    pub async fn handle(&self, payload: &RawValue, context: &Context) -> Result<Box<RawValue>, Error> {
        let event: Event = match serde_json::from_str(payload.get()) {
            Ok(event) => event,
            Err(_) => return refuse(&Malformed::Unknown.into(), "", context),
        };
        if !event.records.is_empty() {
            return Ok(to_raw_value(&self.deliver(event.records, context).await)?);
        }
        let id = event.request_context.request_id.clone().unwrap_or_default();
        match self.answer(event, payload.get(), context).await {
            Ok(answer) => Ok(answer),
            Err(failure) => refuse(&failure, &id, context),
        }
    }

    async fn answer(&self, event: Event, raw: &str, context: &Context) -> Result<Box<RawValue>, Failure> {
        let request = Request::try_from(event)?;
        let late = |_| LATE.to_owned();
        timeout(left(context), self.verify(&request)).await.map_err(late).map_err(Failure::NoSecret)??;
        if let Some(queue) = &self.queue {
            timeout(left(context), queue.put(raw)).await.map_err(late).map_err(Failure::NotQueued)??;
            return answer::own(202, "accepted");
        }
        let format = request.format;
        let answer = self.forward(request, context).await?;
        answer::render(self.mode, format, &answer)
    }

    async fn verify(&self, request: &Request) -> Result<(), Failure> {
        let Some((scheme, secret)) = &self.signature else { return Ok(()) };
        let secret = secret.get().await.map_err(|error| Failure::NoSecret(error.to_string()))?;
        let secret = secret.trim();
        if secret.is_empty() {
            // Anybody can sign with nothing.
            return Err(Failure::NoSecret("the secret is empty".into()));
        }
        Ok(scheme.verify(request, secret.as_bytes(), now().as_secs())?)
    }

    async fn forward(&self, request: Request, context: &Context) -> Result<TargetAnswer, Failure> {
        let (target, upstream) = self.target.as_ref().ok_or(Failure::NoTarget)?;
        let outgoing = outgoing::build(request, target)?;
        upstream.send(outgoing, left(context), self.mode == Mode::Full).await
    }

    /// One after the other. What fails stays on the queue, and ends in its dead-letter queue.
    async fn deliver(&self, records: Vec<Record>, context: &Context) -> BatchResponse {
        let mut response = BatchResponse::default();
        for record in records {
            if let Err((id, failure)) = self.deliver_one(&record, context).await {
                log(&failure, &id, context);
                response.batch_item_failures.push(ItemFailure { item_identifier: record.message_id });
            }
        }
        response
    }

    async fn deliver_one(&self, record: &Record, context: &Context) -> Result<(), (String, Failure)> {
        let of_message = |failure: Failure| (record.message_id.clone(), failure);
        let event: Event = serde_json::from_str(&record.body).map_err(|_| of_message(Malformed::Unknown.into()))?;
        let request = Request::try_from(event).map_err(|malformed| of_message(malformed.into()))?;
        let id = request.id.clone();
        match self.forward(request, context).await {
            Ok(answer) if answer.status.is_client_error() || answer.status.is_server_error() => {
                Err((id, Failure::Refused(answer.status.as_u16())))
            }
            Ok(_) => Ok(()),
            Err(failure) => Err((id, failure)),
        }
    }
}

/// The time that there is for waiting.
fn left(context: &Context) -> Duration {
    Duration::from_millis(context.deadline).saturating_sub(now()).saturating_sub(MARGIN)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn log(failure: &Failure, id: &str, context: &Context) {
    let (status, invocation) = (failure.status(), context.request_id.as_str());
    tracing::error!(request_id = id, invocation, status, reason = %failure, "not forwarded");
}

fn refuse(failure: &Failure, id: &str, context: &Context) -> Result<Box<RawValue>, Error> {
    log(failure, id, context);
    Ok(answer::own(failure.status(), &failure.told())?)
}
