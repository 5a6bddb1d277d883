//! Asks the dialer for records of DNS, as far as the policy lets clients ask.

use crate::proxy::connect::Connector;
use crate::target::dial::{Dial, DialError};
use crate::target::host::HostName;
use crate::target::records::{RecordQuestion, Records};

impl<D: Dial> Connector<D> {
    /// Whether clients may ask for `name`.
    pub async fn lets_ask(&self, name: &HostName) -> Result<bool, DialError> {
        self.policy.set_own_node(self.dial.own_node().await?);
        Ok(self.policy.lets_ask(name))
    }

    /// Asks for records, whoever may get them.
    pub async fn records(&self, question: RecordQuestion<'_>) -> Result<Records, DialError> {
        self.dial.records(question).await
    }
}
