//! Questions for records of DNS, and what the tailnet says to them.

use crate::target::host::HostName;

/// A question for records of DNS.
#[derive(Clone, Copy, Debug)]
pub struct RecordQuestion<'a> {
    pub name: &'a HostName,
    /// Number of the records' type (RFC 1035, section 3.2.2), such as 1 for A.
    pub kind: u16,
    /// Whether the container's name servers were asked already, and know no such name.
    pub unknown_to_others: bool,
}

/// What the tailnet says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// A whole message of DNS, in answer to this question.
    Message(Vec<u8>),
    /// The tailnet does not answer for the name: the container's name servers are to be asked.
    OfOthers,
}
