//! Answers a question: by the tailnet, else by the container's name servers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};

use crate::dns::code;
use crate::dns::message::{Query, code_of, names_in};
use crate::dns::upstream::Upstream;
use crate::target::dial::DialError;
use crate::target::host::HostName;
use crate::target::records::{RecordQuestion, Records};
use crate::target::tailnet_names::TailnetNames;

/// Longest time to an answer, waiting for the tailnet included: programs give up after 5 s (resolv.conf(5), `timeout`).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Pause before tailscaled is asked again that could not answer yet.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Most questions at the same time. tailscaled takes 256, of which the proxy has its share; further ones wait in the socket.
const QUESTIONS: usize = 64;
/// Tailscale's own domain: nodes join by names in it.
const TAILSCALE: &str = "tailscale.com";

/// Answers questions; shared by all listeners.
pub struct Answers<N> {
    names: Arc<N>,
    upstream: Upstream,
    /// Hosts that joining the tailnet needs: they are asked of the container's name servers before there is a tailnet.
    needed_to_join: Vec<HostName>,
    places: Semaphore,
}

impl<N: TailnetNames> Answers<N> {
    pub fn new(names: Arc<N>, upstream: Upstream, needed_to_join: Vec<HostName>) -> Self {
        Self { names, upstream, needed_to_join, places: Semaphore::new(QUESTIONS) }
    }

    /// Waits until one more question may be answered.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.acquire().await.ok()
    }

    /// Answers a question, within [`ANSWER_TIMEOUT`].
    pub async fn answer(&self, query: &Query) -> Vec<u8> {
        match timeout(ANSWER_TIMEOUT, self.found(query)).await {
            Ok(Ok(message)) => query.answer(message),
            Ok(Err(code)) => query.refusal(code),
            Err(_) => query.refusal(code::SERVER_FAILURE),
        }
    }

    /// Finds the message that answers a question.
    ///
    /// # Errors
    /// The code of an answer without records.
    async fn found(&self, query: &Query) -> Result<Vec<u8>, u8> {
        let Some(name) = query.judged_name() else { return self.of_others(query).await };
        if self.is_needed_to_join(&name) {
            return self.of_others(query).await;
        }
        if !when_ready(|| self.names.permits(&name)).await? {
            return Err(code::REFUSED);
        }
        let message = match query.host_name() {
            Some(host) => self.of_tailnet_or_others(query, &host).await?,
            None => self.of_others(query).await?,
        };
        // What the proxy refuses by an alias is not given away by one. An answer that cannot be read has none that count.
        match names_in(&message).unwrap_or_default().iter().all(|name| self.names.tells(name)) {
            true => Ok(message),
            false => Err(code::REFUSED),
        }
    }

    async fn of_tailnet_or_others(&self, query: &Query, name: &HostName) -> Result<Vec<u8>, u8> {
        let ask = |unknown_to_others| {
            let question = RecordQuestion { name, kind: query.kind, unknown_to_others };
            when_ready(move || self.names.records(question))
        };
        if let Records::Message(message) = ask(false).await? {
            return Ok(message);
        }
        let message = self.of_others(query).await?;
        // A name with a dot is tried as it is, and then in the search domains; one without was tried there before.
        let is_searched = query.is_for_addresses() && name.as_str().contains('.');
        if is_searched
            && code_of(&message) != code::SUCCESS
            && let Ok(Records::Message(found)) = ask(true).await
        {
            return Ok(found);
        }
        Ok(message)
    }

    async fn of_others(&self, query: &Query) -> Result<Vec<u8>, u8> {
        self.upstream.ask(query).await.ok_or_else(|| {
            tracing::debug!("no name server is known beside this one: set dns_upstream");
            code::SERVER_FAILURE
        })
    }

    fn is_needed_to_join(&self, name: &HostName) -> bool {
        let is_of_tailscale =
            name.as_str().strip_suffix(TAILSCALE).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        is_of_tailscale || self.needed_to_join.contains(name)
    }
}

/// Repeats `ask` for as long as tailscaled cannot answer yet. To be ended by its caller.
///
/// # Errors
/// The code for a fault.
async fn when_ready<T, F: Future<Output = Result<T, DialError>>>(ask: impl Fn() -> F) -> Result<T, u8> {
    loop {
        match ask().await {
            Ok(found) => return Ok(found),
            Err(DialError::Tailscaled(_)) => sleep(ASK_AGAIN).await,
            Err(error) => {
                tracing::debug!(%error, "a question of DNS has no answer");
                return Err(code::SERVER_FAILURE);
            }
        }
    }
}
