//! Tests a platform that gives no identity token.

use testbed::names::NoNames;

use super::{Case, Ends, HIDDEN, MISCONFIGURED, REFUSED, always, fault};
use crate::scene::AWS_SECRET;

#[test]
fn no_identity_token_of_the_platform() {
    testbed::netns::enter_new().expect("a network namespace");
    let _names = NoNames::start().expect("a name server");
    let identity = |more: Vec<(&'static str, String)>| {
        let audience = ("TETHERD_ID_TOKEN_AUDIENCE", "aud".to_owned());
        let client = [("TETHERD_OAUTH_CLIENT_ID", "T/k".to_owned()), ("TETHERD_TAGS", "tag:web".to_owned())];
        [audience].into_iter().chain(client).chain(more).collect::<Vec<_>>()
    };
    let github = |reply| {
        let url = ("ACTIONS_ID_TOKEN_REQUEST_URL", always(reply));
        identity(vec![url, ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", HIDDEN.to_owned())])
    };
    let google = |reply| identity(vec![("GCE_METADATA_HOST", always(reply).replace("http://", ""))]);
    let aws = |reply| {
        let keys = [("AWS_ACCESS_KEY_ID", "AKIA".to_owned()), ("AWS_SECRET_ACCESS_KEY", AWS_SECRET.to_owned())];
        let place = [("AWS_REGION", "eu-west-1".to_owned()), ("AWS_ENDPOINT_URL_STS", always(reply))];
        identity(keys.into_iter().chain(place).collect())
    };
    let sts = |code: &str| format!("<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>");
    for (name, settings, ends, parts) in [
        ("nowhere", identity(Vec::new()), MISCONFIGURED, vec!["neither GitHub", "id_token_file"]),
        ("GitHub says no", github(fault(403, HIDDEN)), REFUSED, vec!["403", "***", "id-token: write"]),
        ("GitHub in trouble", github(fault(503, "later")), Ends::Late, vec!["503", "later"]),
        ("GitHub says nothing", github((200, r#"{"value":""}"#.into())), Ends::Late, vec!["empty identity token"]),
        ("Google has none", google((404, "no account".into())), MISCONFIGURED, vec!["404", "service account"]),
        ("Google in trouble", google((503, String::new())), Ends::Late, vec!["503"]),
        ("STS says no", aws((403, sts("AccessDenied"))), REFUSED, vec!["sts:GetWebIdentityToken", "AccessDenied"]),
        ("STS is off", aws((400, sts("OutboundWebIdentityFederationDisabled"))), REFUSED, vec!["switch outbound"]),
        ("STS knows nobody", aws((403, sts("InvalidClientTokenId"))), REFUSED, vec!["does not accept the credentials"]),
        ("STS throttles", aws((400, sts("Throttling"))), Ends::Late, vec!["Throttling", "trying again"]),
        ("STS in trouble", aws((500, sts("InternalFailure"))), Ends::Late, vec!["500"]),
    ] {
        Case { name, settings, ends, parts }.run();
    }
}
