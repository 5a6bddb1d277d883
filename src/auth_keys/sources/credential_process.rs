//! Tells whether an AWS profile has a program started for credentials.

use std::path::PathBuf;

use crate::config::sections::auth::{AuthSource, IdentityToken};
use crate::environment::{Environment, set_variable};

/// The setting of a profile that names such a program.
const SETTING: &str = "credential_process";

/// Variables that name the files of profiles, and where those are otherwise, below the user's home.
const FILES: [(&str, &str); 2] =
    [("AWS_CONFIG_FILE", ".aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")];

/// Whether getting a key from `source` may start a program of the user's, which may want anything: AWS is asked, and one of the
/// profiles there has such a program, whichever profile counts.
pub fn may_start_a_program(source: Option<&AuthSource>, environment: &Environment) -> bool {
    let asks_aws = match source {
        Some(AuthSource::Stored(_) | AuthSource::Identity { token: IdentityToken::For(_), .. }) => true,
        Some(AuthSource::Key(_) | AuthSource::Client { .. } | AuthSource::Identity { .. }) | None => false,
    };
    let home = set_variable(environment, "HOME").map(PathBuf::from);
    let files = FILES.into_iter().filter_map(|(variable, below)| match set_variable(environment, variable) {
        Some(path) => match path.strip_prefix("~/") {
            Some(below) => Some(home.as_ref()?.join(below)),
            None => Some(path.into()),
        },
        None => Some(home.as_ref()?.join(below)),
    });
    asks_aws
        && files
            .filter_map(|file| std::fs::read(file).ok())
            .any(|text| memchr::memmem::find(&text, SETTING.as_bytes()).is_some())
}
