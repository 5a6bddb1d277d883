//! Who may use the proxy: the user of `socks_user`, and those of the file `users`.
//!
//! The file is read again when it changes. Connections of users that are gone from it run on, and they make no new ones.

pub(crate) mod checks;
pub(crate) mod file;
pub(crate) mod table;
pub(crate) mod turns;
pub(crate) mod user;

use std::sync::Arc;

use prometheus_client::registry::Registry;
use thiserror::Error;

use crate::config::sections::users::UsersFileError;
use crate::config::settings::{Credentials, Settings};
use crate::proxy::listener::source::Source;
use crate::proxy::metrics::users::UserMetrics;
use crate::proxy::users::checks::Checks;
use crate::proxy::users::file::UsersFile;
use crate::proxy::users::table::UserTable;
use crate::proxy::users::user::{Given, User};

/// Why a client is not let in by its user and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotLetIn {
    #[error("user and password are wrong or missing")]
    Wrong,
    /// The password was right: nobody else learns that there is such a user.
    #[error("the user is disabled")]
    Disabled,
}

/// Who may use the proxy.
#[derive(Default)]
pub struct Users {
    /// The user of `socks_user`.
    single: Option<(Credentials, Arc<User>)>,
    file: Option<FileUsers>,
}

/// The users of a file.
struct FileUsers {
    file: UsersFile,
    checks: Checks,
    metrics: UserMetrics,
}

impl Users {
    /// Makes the users of the settings.
    ///
    /// # Errors
    /// When the file cannot be used any more.
    pub fn new(settings: &Settings) -> Result<Self, UsersFileError> {
        let credentials = settings.socks_credentials.clone();
        let metrics = settings.users.is_some().then(UserMetrics::default);
        let single = credentials.map(|credentials| {
            let user =
                User::unlimited(&credentials.user, metrics.as_ref().map(|metrics| metrics.account(&credentials.user)));
            (credentials, Arc::new(user))
        });
        let file = match (settings.users.clone(), metrics) {
            (Some(path), Some(metrics)) => {
                let taken = single.as_ref().map(|(credentials, _)| credentials.user.clone());
                Some(FileUsers { file: UsersFile::read(path, taken, metrics.clone())?, checks: Checks::new(), metrics })
            }
            _ => None,
        };
        Ok(Self { single, file })
    }

    /// Whether clients have to give user and password.
    pub fn ask_for_password(&self) -> bool {
        self.single.is_some() || self.file.is_some()
    }

    /// Finds the user with this password. The first time of each user, and wrong passwords, cost a hash, for which a network
    /// that was wrong lately waits until no other does.
    ///
    /// # Errors
    /// Why there is none. How long that takes does not tell whether there is a user of this name.
    pub async fn find(&self, source: Source, given: Given<'_>) -> Result<Arc<User>, NotLetIn> {
        if let Some((credentials, user)) = &self.single
            && credentials.accept(given.user, given.password)
        {
            return Ok(Arc::clone(user));
        }
        match &self.file {
            Some(FileUsers { file, checks, .. }) => file.table().find(checks, source, given).await,
            None => Err(NotLetIn::Wrong),
        }
    }

    /// Returns `user`, which was let in, as it is now: with the rules and the limit of the file's last reading.
    ///
    /// # Errors
    /// When the file has no user of this name and password any more.
    pub fn as_now(&self, user: &Arc<User>) -> Result<Arc<User>, NotLetIn> {
        let (Some(hash), Some(FileUsers { file, .. })) = (user.hash(), &self.file) else { return Ok(Arc::clone(user)) };
        match file.table().user(&user.name) {
            Some(now) if now.hash() != Some(hash) => Err(NotLetIn::Wrong),
            Some(now) if now.is_disabled() => Err(NotLetIn::Disabled),
            Some(now) => Ok(Arc::clone(now)),
            None => Err(NotLetIn::Wrong),
        }
    }

    /// Reads the file again whenever it has changed; never ends. Without a file it does nothing.
    pub async fn keep_up_to_date(&self) {
        match &self.file {
            Some(FileUsers { file, .. }) => file.keep_up_to_date().await,
            None => std::future::pending().await,
        }
    }

    /// Adds the metrics of users to `registry`, where there is a file of users.
    pub fn register(&self, registry: &mut Registry) {
        if let Some(FileUsers { metrics, .. }) = &self.file {
            metrics.register(registry);
        }
    }
}

impl UserTable {
    async fn find(&self, checks: &Checks, source: Source, given: Given<'_>) -> Result<Arc<User>, NotLetIn> {
        let user = self.user(given.user);
        let tag = user.and_then(|user| checks.tag(user, given));
        let is_remembered = || user.zip(tag.as_ref()).is_some_and(|(user, tag)| user.remembers(tag));
        let is_right = is_remembered() || {
            // A password is hashed for a name that nobody has, too.
            let own = user.and_then(|user| user.hash());
            let hash = own.or_else(|| self.stand_in(checks.pick(given.user))).ok_or(NotLetIn::Wrong)?;
            checks.check(source, hash, given.password, is_remembered).await
        };
        let user = user.filter(|_| is_right).ok_or(NotLetIn::Wrong)?;
        if let Some(tag) = tag {
            user.remember(tag);
        }
        if user.is_disabled() { Err(NotLetIn::Disabled) } else { Ok(Arc::clone(user)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sections::users::UserEntry;
    use crate::secret::password_hash::PasswordHash;
    use std::time::{Duration, Instant};

    const COST: u32 = 9;

    fn entry(name: &str, password: &str) -> UserEntry {
        let password = PasswordHash::of(password, COST).expect("random bytes");
        let (name, allow, deny) = (name.to_owned(), Vec::new(), Vec::new());
        UserEntry { name, password, allow, deny, max_connections: None, disabled: false }
    }

    /// A table of two users, one of whom is disabled.
    fn table() -> UserTable {
        let dora = UserEntry { disabled: true, ..entry("dora", "secret of dora") };
        UserTable::new(vec![entry("alice", "secret of alice"), dora], &UserMetrics::default())
    }

    /// Finds a user, and how long that takes.
    async fn timed(
        table: &UserTable,
        checks: &Checks,
        (user, password): (&str, &str),
    ) -> (Result<String, NotLetIn>, Duration) {
        let begun = Instant::now();
        let found = table.find(checks, Source::Unix, Given { user, password }).await;
        (found.map(|user| user.name.clone()), begun.elapsed())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_has_the_password_is_let_in_and_nobody_else() {
        let (table, checks) = (table(), Checks::new());
        for _ in 0..2 {
            for (user, password, found) in [
                ("alice", "secret of alice", Ok("alice".to_owned())),
                ("alice", "secret of alic", Err(NotLetIn::Wrong)),
                ("alice", "secret of dora", Err(NotLetIn::Wrong)),
                ("alice", "", Err(NotLetIn::Wrong)),
                ("dora", "secret of dora", Err(NotLetIn::Disabled)),
                ("dora", "secret of alice", Err(NotLetIn::Wrong)),
                ("carol", "secret of alice", Err(NotLetIn::Wrong)),
                ("carol", "secret of dora", Err(NotLetIn::Wrong)),
                ("", "secret of alice", Err(NotLetIn::Wrong)),
            ] {
                assert_eq!(timed(&table, &checks, (user, password)).await.0, found, "{user} {password}");
            }
        }
    }

    /// Times of hashes are some milliseconds, those of anything else some microseconds.
    #[tokio::test(flavor = "current_thread")]
    async fn time_does_not_tell_whether_there_is_a_user_and_a_password_is_hashed_once() {
        let (table, checks) = (table(), Checks::new());
        let (_, first) = timed(&table, &checks, ("alice", "secret of alice")).await;
        let (_, again) = timed(&table, &checks, ("alice", "secret of alice")).await;
        assert!(again < first / 4, "{again:?} {first:?}");
        for user in ["alice", "dora", "carol", ""] {
            let (_, wrong) = timed(&table, &checks, (user, "wrong")).await;
            println!("{user:?} with a wrong password: {wrong:?}");
            assert!(wrong > first / 4, "{user:?} {wrong:?} {first:?}");
        }
    }

    /// As at a program's start.
    #[tokio::test(flavor = "current_thread")]
    async fn many_first_connections_of_one_user_cost_one_hash() {
        let (table, checks) = (table(), Checks::new());
        let (_, one) = timed(&table, &checks, ("carol", "x")).await;
        let begun = Instant::now();
        let all = (0..50).map(|_| timed(&table, &checks, ("alice", "secret of alice")));
        let found = futures_util::future::join_all(all).await;
        assert!(found.iter().all(|(found, _)| found.is_ok()));
        assert!(begun.elapsed() < 20 * one, "{:?} {one:?}", begun.elapsed());
    }
}
