//! One user: password, rules and limit, and how many connections it has.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use ring::hmac::Tag;
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::config::sections::users::UserEntry;
use crate::proxy::metrics::users::UserAccount;
use crate::proxy::policy::access::Rules;
use crate::secret::password_hash::PasswordHash;
use crate::sync::IgnorePoison;

/// User and password as a client gives them.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    pub user: &'a str,
    pub password: &'a str,
}

/// A user as the settings or one reading of the file have it.
#[derive(Debug)]
pub struct User {
    pub name: String,
    /// Rules that hold for this user beside those for all.
    pub rules: Option<Arc<Rules>>,
    /// Counts, which stay when the file is read again. `None` where users have no metrics.
    pub account: Option<UserAccount>,
    /// `None` for the user of `socks_user`.
    hash: Option<PasswordHash>,
    max_connections: Option<NonZeroUsize>,
    is_disabled: bool,
    /// Digest of the password that was right last, since a hash costs 50 ms.
    remembered: Mutex<Option<Tag>>,
}

/// The user has as many connections as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the user has {0} connections, and may have no more (max_connections): close one, or try again later")]
pub struct TooManyConnections(usize);

impl User {
    /// Makes a user with no rules and no limit of its own.
    pub fn unlimited(name: &str, account: Option<UserAccount>) -> Self {
        Self {
            name: name.to_owned(),
            rules: None,
            account,
            hash: None,
            max_connections: None,
            is_disabled: false,
            remembered: Mutex::default(),
        }
    }

    /// Makes a user of the file.
    pub fn of_file(entry: UserEntry, account: UserAccount) -> Self {
        let UserEntry { name, password, allow, deny, max_connections, disabled } = entry;
        let has_rules = !allow.is_empty() || !deny.is_empty();
        Self {
            name,
            rules: has_rules.then(|| Arc::new(Rules { allow, deny })),
            account: Some(account),
            hash: Some(password),
            max_connections,
            is_disabled: disabled,
            remembered: Mutex::default(),
        }
    }

    pub fn hash(&self) -> Option<&PasswordHash> {
        self.hash.as_ref()
    }

    pub fn is_disabled(&self) -> bool {
        self.is_disabled
    }

    /// Whether this digest is that of the password that was right last.
    pub fn remembers(&self, tag: &Tag) -> bool {
        let remembered = self.remembered.lock().ignore_poison();
        remembered.as_ref().is_some_and(|own| own.as_ref().ct_eq(tag.as_ref()).into())
    }

    /// Remembers the digest of a password that was right.
    pub fn remember(&self, tag: Tag) {
        *self.remembered.lock().ignore_poison() = Some(tag);
    }

    /// Remembers what `before` does, the same user of an earlier reading, where the hash has not changed.
    pub fn inherit(&self, before: &Self) {
        if self.hash == before.hash {
            *self.remembered.lock().ignore_poison() = *before.remembered.lock().ignore_poison();
        }
    }

    /// Takes one of the user's connections.
    ///
    /// # Errors
    /// When it has as many as it may.
    pub fn connect(self: &Arc<Self>) -> Result<UserConnection, TooManyConnections> {
        let connection = UserConnection(Arc::clone(self));
        let open = self.account.as_ref().map_or(0, UserAccount::opened);
        match self.max_connections.map(NonZeroUsize::get) {
            Some(limit) if open > limit => Err(TooManyConnections(limit)),
            _ => Ok(connection),
        }
    }
}

/// One of a user's connections, which counts until it is dropped.
#[derive(Debug)]
pub struct UserConnection(Arc<User>);

impl Drop for UserConnection {
    fn drop(&mut self) {
        if let Some(account) = &self.0.account {
            account.closed();
        }
    }
}
