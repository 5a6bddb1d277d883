//! Tests which of AWS's hosts is asked.
//!
//! A proxy on the way sees it, and lets nobody through.

use testbed::api::Api;
use testbed::wait::wait_until;

use crate::scene::{END, bare, with_credentials};

/// The first host that is asked for with these settings.
fn asked(settings: &[(&str, &str)]) -> String {
    let proxy = Api::start(|_| (502, "nobody passes".into())).expect("proxy");
    let builder = bare().env("HTTPS_PROXY", &proxy.url()).env("AWS_REGION", "us-east-1").env("HOME", "/nowhere");
    let builder = builder.env("TETHERD_AUTH_SECRET", "ts");
    let daemon = settings.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).start();
    let daemon = daemon.expect("starts");
    let is_of_aws = |path: &String| path.starts_with("secretsmanager") || path.starts_with("sts");
    let first = || proxy.seen().into_iter().map(|request| request.path).find(is_of_aws);
    wait_until("AWS is asked", END, first).unwrap_or_else(|error| panic!("{error}:\n{}", daemon.output()))
}

#[test]
fn of_secrets_manager_as_settings_and_profile_say() {
    testbed::netns::enter_new().expect("a network namespace");
    let config = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(config.path(), "[default]\nuse_fips_endpoint = true\n").expect("written");
    let (fips, dual) = (("AWS_USE_FIPS_ENDPOINT", "true"), ("AWS_USE_DUALSTACK_ENDPOINT", "true"));
    let arn = ("TETHERD_AUTH_SECRET", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ts-AbCdEf");
    let in_europe = ("AWS_REGION", "eusc-de-east-1");
    let profile = ("AWS_CONFIG_FILE", &*config.path().to_string_lossy());
    let keys = [("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "0123456789")];
    for (settings, host) in [
        (&[][..], "secretsmanager.us-east-1.amazonaws.com:443"),
        (&[arn], "secretsmanager.eu-west-1.amazonaws.com:443"),
        (&[fips], "secretsmanager-fips.us-east-1.amazonaws.com:443"),
        (&[profile], "secretsmanager-fips.us-east-1.amazonaws.com:443"),
        // There the usual names have addresses of both kinds.
        (&[dual], "secretsmanager.us-east-1.amazonaws.com:443"),
        (&[dual, in_europe], "secretsmanager.eusc-de-east-1.api.amazonwebservices.eu:443"),
    ] {
        assert_eq!(asked(&[settings, &keys].concat()), host, "{settings:?}");
    }
}

#[test]
fn of_sts_when_a_pod_asks_for_credentials() {
    testbed::netns::enter_new().expect("a network namespace");
    let token = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(token.path(), "token").expect("written");
    let file = token.path().to_string_lossy();
    let pod = [("AWS_WEB_IDENTITY_TOKEN_FILE", &*file), ("AWS_ROLE_ARN", testbed::aws::ROLE)];
    assert_eq!(asked(&pod), "sts.us-east-1.amazonaws.com:443");
    let with_fips = [&pod[..], &[("AWS_USE_FIPS_ENDPOINT", "true")]].concat();
    assert_eq!(asked(&with_fips), "sts-fips.us-east-1.amazonaws.com:443");
    let dual = [&pod[..], &[("AWS_USE_DUALSTACK_ENDPOINT", "true")]].concat();
    assert_eq!(asked(&dual), "sts.us-east-1.api.aws:443");
}

/// An endpoint of one's own counts before all that, the one for this service before the one for all.
#[test]
fn of_ones_own() {
    testbed::netns::enter_new().expect("a network namespace");
    let own = Api::start(|_| (503, String::new())).expect("AWS");
    let builder = with_credentials(bare()).env("TETHERD_AUTH_SECRET", "ts").env("AWS_REGION", "us-east-1");
    let builder = builder.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let _daemon = builder.env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &own.url()).start().expect("starts");
    wait_until("it is asked", END, || own.seen().first().cloned()).expect("its own endpoint");
}
