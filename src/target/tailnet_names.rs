//! The seam between the DNS server and what knows the tailnet's names.

use std::future::Future;

use crate::target::dial::DialError;
use crate::target::host::HostName;
use crate::target::records::{RecordQuestion, Records};

/// Answers for the names of a tailnet, as far as its clients may ask for them.
pub trait TailnetNames: Send + Sync + 'static {
    /// Whether clients may ask for `name`: whether the proxy would look it up for them, at one port at least.
    ///
    /// # Errors
    /// [`DialError::Tailscaled`] while this node's own names are not known.
    fn permits(&self, name: &HostName) -> impl Future<Output = Result<bool, DialError>> + Send;

    /// Whether `name` may stand in an answer to clients.
    fn tells(&self, name: &HostName) -> bool;

    /// Answers a question.
    ///
    /// # Errors
    /// [`DialError::Tailscaled`] while nothing is known of the tailnet; any other when its name server is at fault.
    fn records(&self, question: RecordQuestion<'_>) -> impl Future<Output = Result<Records, DialError>> + Send;
}
