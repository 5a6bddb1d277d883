//! What one version of the secret holds, and whether a key is as it should be.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub const LIFETIME: Duration = Duration::from_secs(90 * 86_400);
/// Until the next rotation. The rest of its lifetime is for one that is late.
const STILL_VALID: Duration = Duration::from_secs(60 * 86_400);

/// As it is stored. It has no `Debug`: the key is secret.
#[derive(Clone, Deserialize, Serialize)]
pub struct StoredKey {
    pub id: String,
    pub key: String,
    pub created: String,
    pub expires: String,
}

/// How the nodes are kept that join with it: the secret's tag `Purpose`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Purpose {
    /// Many, each as good as the other: the key is reusable.
    Cattle,
    /// One: the key is single-use.
    Pet,
}

impl Purpose {
    pub fn is_reusable(self) -> bool {
        self == Self::Cattle
    }
}

impl std::str::FromStr for Purpose {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "Cattle" => Ok(Self::Cattle),
            "Pet" => Ok(Self::Pet),
            _ => Err(()),
        }
    }
}

/// A key that is to be made.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub purpose: Purpose,
    pub tag: String,
    /// Text that marks the key with its version, to find it again where its own text was lost on the way.
    pub mark: String,
}

/// A key as the control server knows it now.
#[derive(Clone, Debug)]
pub struct KeyState {
    pub expires: SystemTime,
    pub revoked: bool,
    pub used: bool,
    pub reusable: bool,
    pub ephemeral: bool,
    pub tags: Vec<String>,
}

/// Why a key must not become the current one.
#[derive(Debug, PartialEq)]
pub enum Unfit {
    Expired(SystemTime),
    ExpiresSoon(SystemTime),
    Revoked,
    Used,
    Reusable { is: bool },
    NotEphemeral,
    Tags(Vec<String>),
}

impl KeyState {
    /// The first thing that is wrong with it.
    pub fn check(&self, purpose: Purpose, tag: &str, now: SystemTime) -> Result<(), Unfit> {
        let is_reusable = self.reusable;
        match () {
            () if self.revoked => Err(Unfit::Revoked),
            () if self.expires <= now => Err(Unfit::Expired(self.expires)),
            () if self.expires < now + STILL_VALID => Err(Unfit::ExpiresSoon(self.expires)),
            () if is_reusable != purpose.is_reusable() => Err(Unfit::Reusable { is: is_reusable }),
            () if self.used && !is_reusable => Err(Unfit::Used),
            () if !self.ephemeral => Err(Unfit::NotEphemeral),
            () if self.tags != [tag] => Err(Unfit::Tags(self.tags.clone())),
            () => Ok(()),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = |time: &SystemTime| humantime::format_rfc3339_seconds(*time).to_string();
        match self {
            Self::Expired(time) => write!(f, "it has expired at {}", date(time)),
            Self::ExpiresSoon(time) => write!(f, "it expires at {}, before the next rotation is due", date(time)),
            Self::Revoked => f.write_str("it has been revoked"),
            Self::Used => f.write_str("it is single-use, and a node has joined with it"),
            Self::Reusable { is: true } => f.write_str("it is reusable, and the secret is tagged Purpose=Pet"),
            Self::Reusable { is: false } => f.write_str("it is single-use, and the secret is tagged Purpose=Cattle"),
            Self::NotEphemeral => f.write_str("it is not for ephemeral nodes"),
            Self::Tags(tags) => write!(f, "its tags are {tags:?}, and not TAG_NAME alone"),
        }
    }
}

impl std::error::Error for Unfit {}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn check(change: impl FnOnce(&mut KeyState, SystemTime)) -> Result<(), Unfit> {
        let now = SystemTime::now();
        let mut state = KeyState {
            expires: now + 90 * DAY,
            revoked: false,
            used: true,
            reusable: true,
            ephemeral: true,
            tags: vec!["tag:web".into()],
        };
        change(&mut state, now);
        state.check(Purpose::Cattle, "tag:web", now)
    }

    #[test]
    fn a_good_key_is_valid_for_sixty_days_more() {
        assert_eq!(check(|_, _| ()), Ok(()));
        assert_eq!(check(|state, now| state.expires = now + 60 * DAY), Ok(()));
        assert!(matches!(check(|state, now| state.expires = now + 59 * DAY), Err(Unfit::ExpiresSoon(_))));
        assert!(matches!(check(|state, now| state.expires = now), Err(Unfit::Expired(_))));
    }

    #[test]
    fn each_thing_wrong_with_a_key_is_named() {
        assert_eq!(check(|state, _| state.revoked = true), Err(Unfit::Revoked));
        assert_eq!(check(|state, _| state.reusable = false), Err(Unfit::Reusable { is: false }));
        assert_eq!(check(|state, _| state.ephemeral = false), Err(Unfit::NotEphemeral));
        let tags = vec!["tag:web".to_owned(), "tag:more".to_owned()];
        assert_eq!(check(|state, _| state.tags.clone_from(&tags)), Err(Unfit::Tags(tags.clone())));
        assert_eq!(check(|state, _| state.tags.clear()), Err(Unfit::Tags(vec![])));
    }

    #[test]
    fn a_pet_s_key_is_single_use_and_unused() {
        let now = SystemTime::now();
        let tags = vec!["tag:web".into()];
        let mut state =
            KeyState { expires: now + LIFETIME, revoked: false, used: false, reusable: false, ephemeral: true, tags };
        assert_eq!(state.check(Purpose::Pet, "tag:web", now), Ok(()));
        state.used = true;
        assert_eq!(state.check(Purpose::Pet, "tag:web", now), Err(Unfit::Used));
        state.reusable = true;
        assert_eq!(state.check(Purpose::Pet, "tag:web", now), Err(Unfit::Reusable { is: true }));
    }
}
