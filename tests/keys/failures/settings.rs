//! Tests settings of sources that do not fit together.

use testbed::tailscale_api::{CLIENT_SECRET, ID_TOKEN, TAG};

use super::{Case, HIDDEN, MISCONFIGURED};

#[test]
fn settings_that_do_not_fit() {
    let tags = ("TETHERD_TAGS", TAG.to_owned());
    let id = ("TETHERD_OAUTH_CLIENT_ID", "another".to_owned());
    let token = ("TETHERD_ID_TOKEN", ID_TOKEN.to_owned());
    let secret = ("TETHERD_OAUTH_CLIENT_SECRET", CLIENT_SECRET.to_owned());
    let both = vec![("TETHERD_AUTH_KEY", HIDDEN.to_owned()), ("SECRET_NAME", "ts".to_owned())];
    let two_proofs = vec![tags.clone(), id.clone(), token.clone(), secret.clone()];
    let key_as_name = vec![("TETHERD_AUTH_SECRET", format!("tskey-auth-{HIDDEN}"))];
    for (name, settings, parts) in [
        ("two sources", both, vec!["auth_key (from TETHERD_AUTH_KEY)", "auth_secret (from SECRET_NAME)"]),
        ("two proofs", two_proofs, vec!["oauth_client_secret", "id_token"]),
        ("no proof", vec![tags.clone(), id], vec!["oauth_client_id", "id_token_file"]),
        ("no id", vec![tags, token], vec!["id_token", "needs oauth_client_id"]),
        ("no tags", vec![secret], vec!["oauth_client_secret", "needs tags"]),
        ("a key as a name", key_as_name, vec!["auth_secret", "auth_key"]),
    ] {
        Case { name, settings, ends: MISCONFIGURED, parts }.run();
    }
}
