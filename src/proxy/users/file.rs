//! Keeps the users of the file as it is now.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::time::sleep;

use crate::config::sections::users::{UsersFileError, read_users};
use crate::net::file_stamp::{Stamp, stamp};
use crate::proxy::metrics::users::UserMetrics;
use crate::proxy::users::table::UserTable;
use crate::sync::IgnorePoison;

/// Time between two looks at the file. inotify misses bind mounts and Kubernetes' swaps of links.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file of users, and its users.
pub struct UsersFile {
    path: PathBuf,
    /// Name of a user that the file cannot have.
    taken: Option<String>,
    metrics: UserMetrics,
    table: RwLock<Arc<UserTable>>,
    /// The file that `table` was read from.
    read: Stamp,
}

impl UsersFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn read(path: PathBuf, taken: Option<String>, metrics: UserMetrics) -> Result<Self, UsersFileError> {
        let read = stamp(&path);
        let table = UserTable::new(read_users(&path, taken.as_deref())?, &metrics);
        Ok(Self { path, taken, metrics, table: RwLock::new(Arc::new(table)), read })
    }

    /// Returns the users as they are now.
    pub fn table(&self) -> Arc<UserTable> {
        Arc::clone(&self.table.read().ignore_poison())
    }

    /// Reads the file again whenever it has changed; never ends. Where it cannot be used, the users stay who they were.
    pub async fn keep_up_to_date(&self) {
        let (mut last, mut warning) = (self.read, String::new());
        loop {
            sleep(LOOK_EVERY).await;
            let now = stamp(&self.path);
            // A file that could not be read is tried again: not all that fails is in the file.
            if now == last && warning.is_empty() {
                continue;
            }
            last = now;
            match read_users(&self.path, self.taken.as_deref()) {
                Ok(entries) => {
                    warning.clear();
                    self.replace(UserTable::new(entries, &self.metrics));
                }
                Err(error) if error.to_string() != warning => {
                    tracing::error!(%error, "the file of users cannot be used, the users stay who they were");
                    warning = error.to_string();
                }
                Err(_) => {}
            }
        }
    }

    fn replace(&self, new: UserTable) {
        new.inherit(&self.table());
        let before = std::mem::replace(&mut *self.table.write().ignore_poison(), Arc::new(new));
        let now = self.table();
        let gone: Vec<_> = before.names().filter(|name| now.user(name).is_none()).collect();
        gone.iter().for_each(|name| self.metrics.forget(name));
        let added = now.names().filter(|name| before.user(name).is_none()).count();
        tracing::info!(users = now.names().count(), added, removed = gone.len(), "the file of users was read again");
    }
}
