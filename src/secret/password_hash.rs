//! Hashes of passwords by bcrypt, as `htpasswd -B` writes them.

use std::fmt;

use base64::Engine;
use base64::alphabet::BCRYPT;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::secret::MASK;

/// bcrypt's own alphabet of base64.
const BASE64: GeneralPurpose = GeneralPurpose::new(&BCRYPT, NO_PAD);

/// Versions of bcrypt that differ in their name alone. `$2x$` is that of a program with a fault.
const VERSIONS: [&str; 3] = ["2y", "2b", "2a"];

/// Highest cost that is taken: each step doubles the time of a check, which is a second of CPU by then.
pub const HIGHEST_COST: u32 = 14;
const LOWEST_COST: u32 = 4;
/// Cost of new hashes: some 50 ms of CPU.
pub const USUAL_COST: u32 = 10;

/// Longest password, in bytes. bcrypt reads a zero byte behind it, and no more than 72 bytes.
pub const LONGEST_PASSWORD: usize = 71;
/// Bytes that bcrypt reads of a password.
const READ: usize = 72;

/// Characters of the salt in a hash.
const SALT: usize = 22;
/// Bytes of a digest that are kept: the last one is left out, by a slip of the first program.
const KEPT: usize = 23;

/// The hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    cost: u32,
    salt: [u8; 16],
    digest: [u8; KEPT],
}

/// Why a text is no usable hash. Does not hold the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HashError {
    #[error(
        "is no hash, and a password in clear is not taken: make a hash by `tetherd hash-password` or `htpasswd -nB`"
    )]
    Clear,
    #[error("is a hash of another kind than bcrypt: make one by `tetherd hash-password` or `htpasswd -nB`")]
    OtherKind,
    #[error("is a hash by bcrypt that is not whole: copy it again, it has 60 characters")]
    NotWhole,
    #[error(
        "has cost {0}: costs from {LOWEST_COST} to {HIGHEST_COST} are taken, since each check has to be strong and must not hold others up"
    )]
    Cost(u32),
}

impl PasswordHash {
    /// Reads a hash as `htpasswd -B` writes it, such as `$2y$10$` and 53 characters.
    ///
    /// # Errors
    /// When the text is something else, or its cost is too high.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let Some(text) = text.strip_prefix('$') else {
            // MD5 and SHA-1 of htpasswd, and of LDAP.
            return Err(if text.starts_with('{') { HashError::OtherKind } else { HashError::Clear });
        };
        let mut parts = text.splitn(3, '$');
        let version = parts.next().unwrap_or_default();
        if !VERSIONS.contains(&version) {
            return Err(HashError::OtherKind);
        }
        let cost = parts.next().filter(|cost| cost.len() == 2).and_then(|cost| cost.parse().ok());
        let (cost, rest) = cost.zip(parts.next()).ok_or(HashError::NotWhole)?;
        let (salt, digest) = rest.split_at_checked(SALT).ok_or(HashError::NotWhole)?;
        let hash = Self { cost, salt: decode(salt)?, digest: decode(digest)? };
        if (LOWEST_COST..=HIGHEST_COST).contains(&cost) { Ok(hash) } else { Err(HashError::Cost(cost)) }
    }

    /// Makes a hash of `password`, with a salt of its own.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn of(password: &str, cost: u32) -> Result<Self, ring::error::Unspecified> {
        let mut salt = [0; 16];
        SystemRandom::new().fill(&mut salt)?;
        Ok(Self { cost, salt, digest: digest(cost, salt, password) })
    }

    /// Whether the hash is of `password`. Takes 2 to the power of the cost steps of CPU: 50 ms at cost 10.
    pub fn matches(&self, password: &str) -> bool {
        digest(self.cost, self.salt, password).ct_eq(&self.digest).into()
    }

    /// Returns the cost: the binary logarithm of the number of steps.
    pub fn cost(&self) -> u32 {
        self.cost
    }

    /// Returns the bytes that tell this hash from others.
    pub fn bytes(&self) -> [u8; 16 + KEPT] {
        let mut bytes = [0; 16 + KEPT];
        bytes[..16].copy_from_slice(&self.salt);
        bytes[16..].copy_from_slice(&self.digest);
        bytes
    }

    /// Returns the hash as `htpasswd` writes it. For files of users alone: whoever has a hash can guess at it.
    pub fn expose(&self) -> String {
        let (salt, digest) = (BASE64.encode(self.salt), BASE64.encode(self.digest));
        format!("$2y${:02}${salt}{digest}", self.cost)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

fn digest(cost: u32, salt: [u8; 16], password: &str) -> [u8; KEPT] {
    let mut read = Zeroizing::new([0; READ]);
    let length = password.len().min(READ);
    read[..length].copy_from_slice(&password.as_bytes()[..length]);
    let mut whole = bcrypt::bcrypt(cost, salt, &read[..READ.min(length + 1)]);
    let mut kept = [0; KEPT];
    kept.copy_from_slice(&whole[..KEPT]);
    whole.zeroize();
    kept
}

fn decode<const LENGTH: usize>(text: &str) -> Result<[u8; LENGTH], HashError> {
    // Programs leave bits in the last character that count for nothing.
    let lenient = GeneralPurpose::new(&BCRYPT, NO_PAD.with_decode_allow_trailing_bits(true));
    let bytes = lenient.decode(text).map_err(|_| HashError::NotWhole)?;
    bytes.try_into().map_err(|_| HashError::NotWhole)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `htpasswd -nbB` of Debian's apache2-utils, by Python's bcrypt and by OpenBSD.
    const VECTORS: [(&str, &str); 4] = [
        ("secret-of-alice", "$2y$05$9Ax3TBdYrVsrxPCOkegWFuy0LNb33RcwQWvEciAbO6l2xvlpiwlki"),
        ("p\u{e4}ssw\u{f6}rd: x", "$2y$05$mOfCI1jRRkCi1IfkNkTCeeKhluBhnKwRnykXT9R6OPjAuWMauyYhy"),
        ("", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
        ("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
    ];

    #[test]
    fn hashes_of_other_programs_match_their_passwords_and_no_others() {
        for (password, text) in VECTORS {
            let hash = PasswordHash::parse(text).expect(text);
            assert!(hash.matches(password), "{text}");
            for other in ["secret-of-alic", "secret-of-alice ", "Secret-of-alice", "abcd", "ab", "x"] {
                assert!(!hash.matches(other), "{text} {other}");
            }
            let renamed = text.replace("$2y$", "$2b$").replace("$2a$", "$2b$");
            assert_eq!(PasswordHash::parse(&renamed), Ok(hash.clone()));
            assert_eq!(format!("{hash:?}"), MASK);
            assert_eq!(PasswordHash::parse(&hash.expose()), Ok(hash));
        }
    }

    #[test]
    fn a_new_hash_has_another_salt_and_the_form_of_htpasswd() {
        let [one, two] = [(); 2].map(|()| PasswordHash::of("correct horse", LOWEST_COST).expect("random bytes"));
        assert_ne!(one, two);
        assert!(one.matches("correct horse") && two.matches("correct horse") && !one.matches("correct hors"));
        assert!(one.expose().starts_with("$2y$04$") && one.expose().len() == 60, "{}", one.expose());
    }

    #[test]
    fn what_is_no_hash_is_refused_with_its_reason() {
        let whole = VECTORS[0].1;
        for (text, error) in [
            ("", HashError::Clear),
            ("correct horse", HashError::Clear),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", HashError::OtherKind),
            ("$apr1$x5yQ2q1c$Vx2xJ5yQ2q1cVx2xJ5yQ2.", HashError::OtherKind),
            ("$6$rounds=5000$salt$hash", HashError::OtherKind),
            ("$2x$05$9Ax3TBdYrVsrxPCOkegWFuy0LNb33RcwQWvEciAbO6l2xvlpiwlki", HashError::OtherKind),
            (&whole[..59], HashError::NotWhole),
            (&format!("{whole}a"), HashError::NotWhole),
            ("$2y$05", HashError::NotWhole),
            ("$2y$5$9Ax3TBdYrVsrxPCOkegWFuy0LNb33RcwQWvEciAbO6l2xvlpiwlki", HashError::NotWhole),
            (&whole.replace("$05$", "$15$"), HashError::Cost(15)),
            (&whole.replace("$05$", "$31$"), HashError::Cost(31)),
            (&whole.replace("$05$", "$03$"), HashError::Cost(3)),
            (&whole.replace('9', "\u{e4}"), HashError::NotWhole),
        ] {
            assert_eq!(PasswordHash::parse(text), Err(error), "{text}");
            assert!(text.is_empty() || !error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn bcrypt_reads_72_bytes() {
        let long = "x".repeat(READ);
        let hash = PasswordHash::of(&long, LOWEST_COST).expect("random bytes");
        assert!(hash.matches(&long) && hash.matches(&format!("{long}y")) && !hash.matches(&long[1..]));
    }
}
