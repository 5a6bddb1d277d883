//! The file of users: their hashed passwords, and what each may reach.
//!
//! It is read strictly, so that a misspelt rule is a fault and not a door.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value as Raw};
use figment::{Profile, Provider};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::config::reader::{Reader, texts};
use crate::config::sections::listeners::LONGEST_CREDENTIAL;
use crate::config::text_file::read_text_file;
use crate::config::types::Value;
use crate::config::types::rule::Rule;
use crate::secret::password_hash::PasswordHash;
use crate::secret::redactor::mask_secrets;

/// Most users of a file. Each has metrics of its own.
const MOST_USERS: usize = 1000;

/// What a user can have.
const KEYS: &str = "password, allow, deny, max_connections, disabled";

/// One user of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEntry {
    pub name: String,
    pub password: PasswordHash,
    /// Rules that hold beside those of all users.
    pub allow: Vec<Rule>,
    pub deny: Vec<Rule>,
    /// Most connections at once; no limit when `None`.
    pub max_connections: Option<NonZeroUsize>,
    /// Whether the user is refused for now.
    pub disabled: bool,
}

/// Why a file of users cannot be used. Holds no password and no hash.
#[derive(Debug, Error)]
pub enum UsersFileError {
    #[error("{}: {source}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is not TOML: {problem}", .path.display())]
    NotToml { path: PathBuf, problem: String },
    #[error("{}: {}", .path.display(), .faults.join("; "))]
    Faulty { path: PathBuf, faults: Vec<String> },
}

impl Reader {
    /// Reads the path of the file of users, which must be usable now.
    pub fn users(&mut self, socks_user: Option<&str>) -> Option<PathBuf> {
        let path: PathBuf = self.value("users")?;
        match read_users(&path, socks_user) {
            Ok(_) => return Some(path),
            Err(error) => self.fault_at("users", format!("cannot be used: {error}")),
        }
        None
    }
}

/// Reads a file of users. `taken` is the name of a user that is none of the file.
///
/// # Errors
/// With all that is wrong with the file.
pub fn read_users(path: &Path, taken: Option<&str>) -> Result<Vec<UserEntry>, UsersFileError> {
    let text = read_text_file(path).map_err(|source| UsersFileError::Unreadable { path: path.to_owned(), source })?;
    let mut profiles = Toml::string(&text).data().map_err(|error| {
        // figment's message quotes the line at fault, which may hold a password.
        let problem = error.to_string().lines().next().unwrap_or_default().to_owned();
        UsersFileError::NotToml { path: path.to_owned(), problem }
    })?;
    let mut faults = Faults::default();
    let users = users(profiles.remove(&Profile::Default).unwrap_or_default(), taken, &mut faults);
    if faults.0.is_empty() {
        Ok(users)
    } else {
        Err(UsersFileError::Faulty { path: path.to_owned(), faults: faults.0 })
    }
}

/// What is wrong with a file, each with the user that it is about.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, user: &str, problem: impl std::fmt::Display) {
        self.0.push(format!("user {user:?}: {problem}"));
    }
}

fn users(tables: Dict, taken: Option<&str>, faults: &mut Faults) -> Vec<UserEntry> {
    if tables.is_empty() {
        faults.0.push("holds no user: write [name] and below it password = \"…\"".to_owned());
    }
    if tables.len() > MOST_USERS {
        faults.0.push(format!("holds {} users, and at most {MOST_USERS} are taken", tables.len()));
    }
    tables.into_iter().filter_map(|(name, value)| user(name, value, taken, faults)).collect()
}

/// Reads one user. `None` where a fault was noted.
fn user(name: String, value: Raw, taken: Option<&str>, faults: &mut Faults) -> Option<UserEntry> {
    let Raw::Dict(_, mut fields) = value else {
        faults.0.push(format!("{name} stands outside of a user: write [name] above it"));
        return None;
    };
    let before = faults.0.len();
    if let Some(problem) = name_problem(&name, taken) {
        faults.add(&name, problem);
    }
    let password = password(&name, fields.remove("password"), faults);
    let allow = rules(&name, "allow", fields.remove("allow"), faults);
    let deny = rules(&name, "deny", fields.remove("deny"), faults);
    let max_connections = single(&name, "max_connections", fields.remove("max_connections"), faults);
    let disabled = single(&name, "disabled", fields.remove("disabled"), faults).unwrap_or(false);
    for (key, value) in fields {
        let hint = if matches!(value, Raw::Dict(..)) {
            format!("a name with a dot is written in quotes, as in [\"{name}.{key}\"]")
        } else {
            format!("a user has {KEYS}")
        };
        faults.add(&name, format_args!("{key} is not known: {hint}"));
    }
    let password = password.filter(|_| faults.0.len() == before)?;
    Some(UserEntry { name, password, allow, deny, max_connections, disabled })
}

/// What is wrong with the name of a user; `None` where nothing is.
fn name_problem(name: &str, taken: Option<&str>) -> Option<&'static str> {
    if name.is_empty() {
        Some("the name is empty")
    } else if name.len() > LONGEST_CREDENTIAL {
        Some("the name is longer than the 255 bytes that SOCKS5 can carry")
    } else if name.contains(':') {
        // RFC 7617, section 2.
        Some("the name has a colon, which HTTP's Basic cannot carry in a user")
    } else if name.chars().any(char::is_control) {
        Some("the name has a control character")
    } else if taken == Some(name) {
        Some("is socks_user as well, with another password: take one of the two away")
    } else {
        None
    }
}

fn password(user: &str, value: Option<Raw>, faults: &mut Faults) -> Option<PasswordHash> {
    let Some(value) = value else {
        faults.add(user, "password is missing: make its hash by `tetherd hash-password` or `htpasswd -nB`");
        return None;
    };
    let Raw::String(_, text) = value else {
        faults.add(user, "password is no text in quotes");
        return None;
    };
    let text = Zeroizing::new(text);
    PasswordHash::parse(&text).map_err(|error| faults.add(user, format_args!("password {error}"))).ok()
}

/// Reads the rules of `allow` or `deny`, if there are any.
fn rules(user: &str, key: &str, value: Option<Raw>, faults: &mut Faults) -> Vec<Rule> {
    let Some(value) = value else { return Vec::new() };
    let items = texts(&value).unwrap_or_default();
    if items.is_empty() {
        // Nobody could tell whether that allows nothing or all.
        faults.add(user, format_args!("{key} has no rule: leave it out, or write rules such as [\"db:5432\"]"));
    }
    let items = items.iter().flat_map(|item| item.split(',')).map(str::trim);
    let mut rules = Vec::new();
    for item in items {
        match Rule::parse(item) {
            Some(rule) => rules.push(rule),
            None => {
                let (item, expected) = (mask_secrets(item), Rule::EXPECTED);
                faults.add(user, format_args!("{key} has {item:?}, expected {expected}"));
            }
        }
    }
    rules
}

/// Reads a single value, if there is one.
fn single<T: Value>(user: &str, key: &str, value: Option<Raw>, faults: &mut Faults) -> Option<T> {
    let parsed = match texts(&value?).as_deref() {
        Some([text]) => T::parse(text),
        _ => None,
    };
    if parsed.is_none() {
        faults.add(user, format_args!("{key} is not {}", T::EXPECTED));
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use crate::environment::environment;

    const HASH: &str = "$2y$05$9Ax3TBdYrVsrxPCOkegWFuy0LNb33RcwQWvEciAbO6l2xvlpiwlki";

    fn read(text: &str) -> Result<Vec<UserEntry>, UsersFileError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        read_users(file.path(), Some("app"))
    }

    #[test]
    fn users_have_what_the_file_says() {
        let text = format!(
            "[alice]\npassword = \"{HASH}\"\n\n[\"bob.jones@example\"]\npassword = \"{HASH}\"\nallow = [\"db:5432\", \
             \"*.web\"]\ndeny = \"10.0.0.0/8\"\nmax_connections = 5\ndisabled = true\n"
        );
        let users = read(&text).expect("is usable");
        let [alice, bob] = &users[..] else { panic!("{users:?}") };
        assert_eq!((alice.name.as_str(), bob.name.as_str()), ("alice", "bob.jones@example"));
        assert!(alice.allow.is_empty() && alice.deny.is_empty() && !alice.disabled && alice.max_connections.is_none());
        assert_eq!((bob.allow.len(), bob.deny.len(), bob.max_connections.map(NonZeroUsize::get)), (2, 1, Some(5)));
        assert!(bob.disabled);
        assert!(!format!("{users:?}").contains("9Ax3TBdYrVsr"), "{users:?}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_user_and_key_and_without_the_password() {
        let with = |more: &str| format!("[alice]\npassword = \"{HASH}\"\n{more}");
        let long = format!("[\"{}\"]\npassword = \"{HASH}\"", "x".repeat(256));
        for (text, parts) in [
            (String::new(), &["no user"][..]),
            ("[alice]".to_owned(), &["user \"alice\"", "password is missing", "hash-password"]),
            ("[alice]\npassword = \"hunter2hunter2\"".to_owned(), &["user \"alice\"", "password", "in clear"]),
            ("[alice]\npassword = 12345678".to_owned(), &["alice", "password"]),
            (with("").replace("$05$", "$16$"), &["alice", "password", "cost 16"]),
            (with("").replace("$2y$", "$6$"), &["alice", "password", "another kind"]),
            (with("pasword = \"hunter2hunter2\""), &["alice", "pasword", "password, allow"]),
            (with("allow = []"), &["alice", "allow"]),
            (with("allow = [\"db:x\"]"), &["alice", "allow", "db:x"]),
            (with("deny = [[\"a\"], {}]"), &["alice", "deny"]),
            (with("max_connections = 0"), &["alice", "max_connections", "at least 1"]),
            (with("max_connections = \"many\""), &["alice", "max_connections"]),
            (with("disabled = \"perhaps\""), &["alice", "disabled", "true or false"]),
            (with("").replace("alice", "al.ice"), &["user \"al\"", "[\"al.ice\"]"]),
            (with("").replace("alice", "\"al:ice\""), &["al:ice", "colon"]),
            (with("").replace("alice", "\"\""), &["empty"]),
            (with("").replace("alice", "\"a\\n\""), &["control"]),
            (with("").replace("alice", "app"), &["app", "socks_user"]),
            (long, &["255 bytes"]),
            (format!("password = \"{HASH}\""), &["password", "outside of a user"]),
            ("[alice]\npassword = \"hunter2hunter2".to_owned(), &["not TOML", "line 2"]),
            (format!("{}\n{}", with(""), with("")), &["not TOML", "line 4"]),
        ] {
            let error = read(&text).expect_err(&text).to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
            assert!(!error.contains("hunter2") && !error.contains("9Ax3TBdYrVsr"), "{error}");
        }
        let both = with("max_connections = 0\n[bob]\n");
        let error = read(&both).expect_err(&both).to_string();
        assert!(error.contains("alice") && error.contains("bob"), "all is named at once: {error}");
    }

    #[test]
    fn a_file_that_is_none_is_a_fault_of_the_setting() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = directory.path().join("users.toml").display().to_string();
        for path in [&missing, "/dev/zero", &directory.path().display().to_string()] {
            let settings = load(&environment(&[("TETHERD_USERS", path)]), None, &vec![]).settings;
            let text = settings.expect_err(path).to_string();
            assert!(text.contains("users (from") && text.contains(path), "{text}");
        }
    }
}
