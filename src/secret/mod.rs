//! Secrets: zeroed when dropped, masked by Debug, without Display or Serialize.
//!
//! `redactor` takes secrets out of text written by others (tailscaled, the control server).

pub mod password_hash;
pub(crate) mod redactor;

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use hyper::body::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::text::bare;

/// Text that every output has instead of a secret.
pub const MASK: &str = "***";

/// Bytes reserved for the text of a JSON document: growing would move the text and leave a copy of the secret in freed
/// memory.
const RESERVED_LENGTH: usize = 4096;

/// Longest file of a secret that is read, in bytes.
const LONGEST_FILE: usize = 64 << 10;

/// A secret string.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself. Only for the code that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` equals the secret, compared in a time that does not depend on where the two differ.
    pub fn matches(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// A JSON document with secrets among its texts, all of which are zeroed when it is dropped.
pub struct SecretJson(Value);

impl SecretJson {
    pub fn new(document: Value) -> Self {
        Self(document)
    }

    /// The document itself. Only for the code that needs a secret of it.
    pub fn expose(&self) -> &Value {
        &self.0
    }

    /// The document's text, zeroed when it has been sent.
    pub fn to_bytes(&self) -> Bytes {
        let mut text = Vec::with_capacity(RESERVED_LENGTH);
        // Writing a JSON value to memory does not fail.
        let _ = serde_json::to_writer(&mut text, &self.0);
        zeroed_when_sent(text)
    }
}

impl Drop for SecretJson {
    fn drop(&mut self) {
        zero_texts(&mut self.0);
    }
}

/// Zeroes every text of a document, however deep.
fn zero_texts(document: &mut Value) {
    match document {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(zero_texts),
        Value::Object(fields) => fields.values_mut().for_each(zero_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Wraps the bytes of a message to be sent. They are zeroed when the last of them has been sent.
pub fn zeroed_when_sent(bytes: impl Into<Vec<u8>>) -> Bytes {
    Bytes::from_owner(Zeroizing::new(bytes.into()))
}

/// Where a secret is kept.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// The secret itself.
    Inline(Secret),
    /// A file that is read anew each time the secret is needed, so that a rotated file counts.
    File(PathBuf),
    /// The secret as read from something that can be read only once, such as a pipe.
    Once(Secret),
}

/// A secret's file could not be used. The text never holds the secret.
#[derive(Debug, Error)]
pub enum SecretError {
    #[error("cannot be read: {}: {source}", .path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("is no text in UTF-8: {}; Windows PowerShell writes UTF-16 by >, use Out-File -Encoding ascii", .0.display())]
    NotText(PathBuf),
    #[error("is empty: {}", .0.display())]
    Empty(PathBuf),
    #[error("is longer than any secret ({} KiB): {}", LONGEST_FILE >> 10, .0.display())]
    TooLong(PathBuf),
}

impl SecretSource {
    /// Makes a source of a setting's text: the secret itself, or `file:/path`, as Tailscale's own programs take it.
    pub fn from_text(text: &str) -> Self {
        match text.strip_prefix("file:") {
            Some(path) => Self::File(path.into()),
            None => Self::Inline(Secret::new(trim_secret(text))),
        }
    }

    /// Checks that the secret can be read now. What can be read only once is kept in memory.
    pub fn kept(self) -> Result<Self, SecretError> {
        let secret = self.read()?;
        Ok(match self {
            Self::File(path) if !path.is_file() => Self::Once(secret),
            source => source,
        })
    }

    /// Reads the secret as it is now, without white space around it.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Inline(secret) | Self::Once(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let text = read_bounded(path).map_err(|source| match source.kind() {
                    ErrorKind::InvalidData => SecretError::NotText(path.clone()),
                    _ => SecretError::Unreadable { path: path.clone(), source },
                })?;
                match trim_secret(&text) {
                    _ if text.len() > LONGEST_FILE => Err(SecretError::TooLong(path.clone())),
                    "" => Err(SecretError::Empty(path.clone())),
                    secret => Ok(Secret::new(secret)),
                }
            }
        }
    }
}

/// Reads at most one byte more than [`LONGEST_FILE`], since there are files without an end.
fn read_bounded(path: &Path) -> std::io::Result<Zeroizing<String>> {
    // Allocated once at its full size: growing would move the text and leave a copy of the secret in freed memory.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST_FILE + 1));
    File::open(path)?.take(LONGEST_FILE as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Removes white space around a secret, and the byte order mark that editors of Windows put before it.
pub fn trim_secret(text: &str) -> &str {
    bare(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_windows_are_read_and_files_without_an_end_are_not() {
        let file = std::env::temp_dir().join(format!("tetherd-secret-{}", std::process::id()));
        std::fs::write(&file, "\u{feff}key \r\n").expect("written");
        let read = |path: &Path| SecretSource::File(path.into()).read();
        assert_eq!(read(&file).expect("is read").expose(), "key");
        std::fs::remove_file(file).expect("removed");
        assert!(matches!(read(Path::new("/dev/zero")), Err(SecretError::TooLong(_))));
    }

    #[test]
    fn debug_shows_the_mask_only() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2hunter2"))), "Some(***)");
    }

    #[test]
    fn every_text_of_a_document_is_zeroed() {
        let mut document = serde_json::json!({ "a": "hidden", "b": [{ "c": "hidden" }], "d": 7 });
        zero_texts(&mut document);
        assert_eq!(document, serde_json::json!({ "a": "", "b": [{ "c": "" }], "d": 7 }));
    }

    #[test]
    fn comparison_sees_equal_and_different() {
        let secret = Secret::new("pass");
        assert!(secret.matches("pass"));
        assert!(!secret.matches("pasS"));
        assert!(!secret.matches("passes"));
    }
}
