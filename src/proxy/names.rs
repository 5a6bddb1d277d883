//! Answers the DNS server's questions by the dialer and the policy of the proxy.

use crate::proxy::context::ProxyContext;
use crate::target::dial::{Dial, DialError};
use crate::target::host::HostName;
use crate::target::records::{RecordQuestion, Records};
use crate::target::tailnet_names::TailnetNames;

impl<D: Dial> TailnetNames for ProxyContext<D> {
    async fn permits(&self, name: &HostName) -> Result<bool, DialError> {
        self.connector.lets_ask(name).await
    }

    fn tells(&self, name: &HostName) -> bool {
        self.connector.policy().lets_tell(name)
    }

    async fn records(&self, question: RecordQuestion<'_>) -> Result<Records, DialError> {
        self.connector.records(question).await
    }
}
