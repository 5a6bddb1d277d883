//! Parses what Secrets Manager asks of a rotation function, step by step.
//!
//! The stack's schedule asks for a step of its own.
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>

use std::fmt;

use serde::Deserialize;

/// One invocation.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Event {
    pub step: Step,
    pub secret_id: String,
    /// Also the id of the version that is to become current. The schedule has none.
    #[serde(default)]
    pub client_request_token: String,
}

/// What is asked.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(from = "Name")]
pub enum Step {
    /// Of Secrets Manager, about one version.
    Rotate(VersionStep),
    /// Of the schedule: for how long does the current key still serve?
    CheckKey,
}

/// In this order a version becomes current.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum VersionStep {
    Create,
    Set,
    Test,
    Finish,
}

/// As events have them.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Name {
    CreateSecret,
    SetSecret,
    TestSecret,
    FinishSecret,
    CheckKey,
}

impl From<Name> for Step {
    fn from(name: Name) -> Self {
        match name {
            Name::CreateSecret => Self::Rotate(VersionStep::Create),
            Name::SetSecret => Self::Rotate(VersionStep::Set),
            Name::TestSecret => Self::Rotate(VersionStep::Test),
            Name::FinishSecret => Self::Rotate(VersionStep::Finish),
            Name::CheckKey => Self::CheckKey,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rotate(VersionStep::Create) => "createSecret",
            Self::Rotate(VersionStep::Set) => "setSecret",
            Self::Rotate(VersionStep::Test) => "testSecret",
            Self::Rotate(VersionStep::Finish) => "finishSecret",
            Self::CheckKey => "checkKey",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_logged_by_the_names_that_events_have() {
        for name in ["createSecret", "setSecret", "testSecret", "finishSecret", "checkKey"] {
            let event = format!(r#"{{"Step": "{name}", "SecretId": "arn"}}"#);
            let event: Event = serde_json::from_str(&event).expect(name);
            assert_eq!(event.step.to_string(), name);
        }
        let error =
            serde_json::from_str::<Event>(r#"{"Step": "rotateSecret", "SecretId": "arn"}"#).expect_err("no step");
        assert!(
            error.to_string().contains("unknown variant `rotateSecret`, expected one of `createSecret`"),
            "{error}"
        );
    }
}
