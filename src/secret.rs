//! A value that must not be shown: zeroed when dropped, masked by Debug, without Display or Serialize.
//! And the redactor that takes secrets out of text written by others (tailscaled, the control server).

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

/// What stands in the place of a secret in every output.
pub const MASK: &str = "***";

/// Shorter values are not searched for in text: they would hit ordinary words.
const SHORTEST_SEARCHED: usize = 8;

/// A secret string.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself: only for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in a time that does not depend on where the two differ.
    pub fn matches(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Where a secret is kept.
#[derive(Clone, Debug)]
pub enum SecretSource {
    Inline(Secret),
    /// Read anew each time the secret is needed, so that a rotated file counts.
    File(PathBuf),
    /// From something that can be read only once, such as a pipe.
    Once(Secret),
}

/// A secret's file could not be used. The text never holds the secret.
#[derive(Debug, Error)]
pub enum SecretError {
    #[error("cannot be read: {}: {source}", .path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("is empty: {}", .0.display())]
    Empty(PathBuf),
}

impl SecretSource {
    /// The secret itself, or where to read it: `file:/path`, as Tailscale's own programs take it.
    pub fn from_text(text: &str) -> Self {
        match text.strip_prefix("file:") {
            Some(path) => Self::File(path.into()),
            None => Self::Inline(Secret::new(text.trim())),
        }
    }

    /// The same source, known to be readable now. What can be read only once is kept.
    pub fn kept(self) -> Result<Self, SecretError> {
        let secret = self.read()?;
        Ok(match self {
            Self::File(path) if !path.is_file() => Self::Once(secret),
            source => source,
        })
    }

    /// The secret as it is now, without white space around it.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Inline(secret) | Self::Once(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map(Zeroizing::new)
                    .map_err(|source| SecretError::Unreadable { path: path.clone(), source })?;
                match text.trim() {
                    "" => Err(SecretError::Empty(path.clone())),
                    secret => Ok(Secret::new(secret)),
                }
            }
        }
    }
}

/// Knows the secrets in use and masks them in text of others. Clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<Vec<Secret>>>);

impl Redactor {
    /// From now on `secret` is masked.
    pub fn learn(&self, secret: &Secret) {
        let mut known = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if secret.expose().len() >= SHORTEST_SEARCHED && !known.iter().any(|k| k.matches(secret.expose())) {
            known.push(secret.clone());
        }
    }

    /// `text` with every known secret, and everything that looks like a Tailscale key, masked.
    pub fn redact(&self, text: &str) -> String {
        let known = self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut clean = text.to_owned();
        for secret in known.iter() {
            if clean.contains(secret.expose()) {
                clean = clean.replace(secret.expose(), MASK);
            }
        }
        mask_keys(&clean)
    }
}

/// How keys begin: Tailscale's auth keys, API keys and OAuth secrets, and Headscale's.
/// <https://tailscale.com/kb/1277/key-prefixes>
const KEY_PREFIXES: [&str; 2] = ["tskey-", "hskey-"];

/// Whether `text` is a key, wherever it stands.
pub fn looks_like_a_key(text: &str) -> bool {
    KEY_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

/// Masks everything that looks like a key.
pub fn mask_keys(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = KEY_PREFIXES.iter().filter_map(|prefix| rest.find(prefix)).min() {
        clean.push_str(&rest[..at]);
        clean.push_str(MASK);
        let tail = &rest[at..];
        let end = tail.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(tail.len());
        rest = &tail[end..];
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_mask_only() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2hunter2"))), "Some(***)");
    }

    #[test]
    fn known_secrets_and_tailscale_keys_are_masked() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("0123456789abcdef"));
        assert_eq!(redactor.redact("key 0123456789abcdef and tskey-auth-kAbC_1-xyz, done"), "key *** and ***, done");
    }

    #[test]
    fn an_empty_or_short_secret_does_not_mangle_text() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new(""));
        redactor.learn(&Secret::new("a"));
        assert_eq!(redactor.redact("a plain line"), "a plain line");
    }

    #[test]
    fn comparison_sees_equal_and_different() {
        let secret = Secret::new("pass");
        assert!(secret.matches("pass"));
        assert!(!secret.matches("pasS"));
        assert!(!secret.matches("passes"));
    }
}
