//! The DNS server of `dns_listen`: answers as the proxy resolves names.
//!
//! Names of the tailnet, of its zones (split DNS) and of its search domains come from tailscaled, all others from the
//! container's name servers.

pub(crate) mod answer;
pub(crate) mod message;
pub mod server;
pub(crate) mod upstream;

/// Codes of answers (RFC 1035, section 4.1.1).
pub(crate) mod code {
    pub const SUCCESS: u8 = 0;
    pub const MALFORMED: u8 = 1;
    pub const SERVER_FAILURE: u8 = 2;
    pub const NO_SUCH_NAME: u8 = 3;
    pub const NOT_IMPLEMENTED: u8 = 4;
    pub const REFUSED: u8 = 5;
}

/// Numbers of record types.
pub(crate) mod kind {
    pub const A: u16 = 1;
    pub const AAAA: u16 = 28;
    pub const OPT: u16 = 41;
    /// Transfers of zones: incremental, and whole.
    pub const TRANSFERS: [u16; 2] = [251, 252];
}
