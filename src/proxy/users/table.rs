//! The users of one reading of the file, by name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::sections::users::UserEntry;
use crate::proxy::metrics::users::UserMetrics;
use crate::proxy::users::user::User;
use crate::secret::password_hash::PasswordHash;

/// The users of one reading of the file, and what passwords were right since.
#[derive(Debug)]
pub struct UserTable {
    users: HashMap<String, Arc<User>>,
    /// The hashes of all users.
    hashes: Vec<PasswordHash>,
}

impl UserTable {
    /// Makes a table of the users in `entries`, which count on in `metrics`.
    pub fn new(entries: Vec<UserEntry>, metrics: &UserMetrics) -> Self {
        let hashes = entries.iter().map(|entry| entry.password.clone()).collect();
        let users = entries.into_iter().map(|entry| {
            let account = metrics.account(&entry.name);
            (entry.name.clone(), Arc::new(User::of_file(entry, account)))
        });
        Self { users: users.collect(), hashes }
    }

    /// Takes over what the users of the reading `before` remember: a hash is checked once.
    pub fn inherit(&self, before: &Self) {
        for (name, user) in &self.users {
            if let Some(same) = before.user(name) {
                user.inherit(same);
            }
        }
    }

    /// Returns the user of this name.
    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// Returns a hash to check the password of a name with that nobody has: `number` tells which. Whoever asks for a name
    /// again meets the same cost again, as with one that is there.
    pub fn stand_in(&self, number: u64) -> Option<&PasswordHash> {
        let index = number.checked_rem(self.hashes.len() as u64)?;
        self.hashes.get(index as usize)
    }
}
