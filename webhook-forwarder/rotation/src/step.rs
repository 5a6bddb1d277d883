//! What Secrets Manager asks of a rotation function, step by step, and what the stack's schedule asks beside it.
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

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    CreateSecret,
    SetSecret,
    TestSecret,
    FinishSecret,
    /// Of the schedule: for how long does the current key still serve?
    CheckKey,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateSecret => "createSecret",
            Self::SetSecret => "setSecret",
            Self::TestSecret => "testSecret",
            Self::FinishSecret => "finishSecret",
            Self::CheckKey => "checkKey",
        })
    }
}
