//! The AWS region of the test bed, and the name of its Secrets Manager.

/// Region of every AWS service that the test bed answers for.
pub const REGION: &str = "eu-west-1";

/// Host name under which AWS serves Secrets Manager in [`REGION`].
pub fn secrets_manager_host() -> String {
    format!("secretsmanager.{REGION}.amazonaws.com")
}
