//! The trait of every source of auth keys.

use futures_util::future::BoxFuture;

use crate::auth_keys::error::KeyError;
use crate::auth_keys::fetched::Fetched;

/// One source of auth keys. `sources/mod.rs` makes the right one for the settings.
pub trait KeySource: Send + Sync {
    /// Fetches what the source has now: an auth key, or a credential that an auth key can be made from.
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, KeyError>>;

    /// Whether a fetch needs the network, as far as can be told before the first one.
    fn needs_network(&self) -> bool;

    /// Name of the source in logs, for people: the setting that names it, and which secret that is.
    fn origin(&self) -> String;

    /// Whether the source makes its keys itself, with the node's tags. What is made from a fetched credential is told
    /// by the credential.
    fn carries_tags(&self) -> bool {
        false
    }
}
