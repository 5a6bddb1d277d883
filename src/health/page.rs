//! Renders the status as a web page without scripts, of the facts of `/status`.

use std::fmt::Write;

use crate::state::State;
use crate::status::{Document, NodeStatus};

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=5>\
<meta name=viewport content='width=device-width'><title>tetherd</title><style>\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
h1{font-size:1.4rem}table{border-collapse:collapse}th,td{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}\
th{font-weight:600;color:#555}.yes{color:#06702b}.no{color:#a8071a}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}th{color:#aaa}.yes{color:#5fd38a}.no{color:#ff8f8f}}\
</style>";

/// Most peers on the page; a page of thousands serves nobody.
const PEERS_SHOWN: usize = 100;

/// Renders the page for those who may know phase and reason alone.
pub fn render_verdict(state: &State) -> String {
    let mut page = headed(state.is_ready());
    let since = humantime::format_rfc3339_seconds(state.since);
    let _ = writeln!(page, "<tr><th>state<td>{:?} since {since}: {}</table>", state.phase, escape(&state.reason));
    page
}

/// Renders the page.
pub fn render_page(document: &Document) -> String {
    let mut page = headed(document.ready);
    for (label, text) in document.lines() {
        let _ = write!(page, "<tr><th>{label}<td>{}", escape(&text));
    }
    page.push_str("</table>");
    if !document.snapshot.peers.is_empty() {
        peers(&mut page, &document.snapshot.peers);
    }
    // Relative: the path may begin with the name of a tailnet.
    page.push_str("<p><a href=status>as JSON</a>\n");
    page
}

/// Renders the page of several tailnets, of which each row has the name, a plain word, and phase and reason.
pub fn render_tailnets(ready: bool, rows: &[(String, String)]) -> String {
    let mut page = headed(ready);
    for (name, verdict) in rows {
        let _ = write!(page, "<tr><th><a href=/tailnet/{name}/>{name}</a><td>{}", escape(verdict));
    }
    page.push_str("</table><p><a href=/status>as JSON</a>\n");
    page
}

/// The page up to its table.
fn headed(ready: bool) -> String {
    let (class, verdict) = if ready { ("yes", "ready") } else { ("no", "not ready") };
    format!("{HEAD}<h1>tetherd is <span class={class}>{verdict}</span></h1><table>")
}

fn peers(page: &mut String, peers: &[NodeStatus]) {
    page.push_str("<h2>Peers</h2><table><tr><th>name<th>addresses<th>online");
    for peer in peers.iter().take(PEERS_SHOWN) {
        let addresses: Vec<String> = peer.addresses.iter().map(ToString::to_string).collect();
        let online = if peer.online { "yes" } else { "no" };
        let _ = write!(page, "<tr><td>{}<td>{}<td class={online}>{online}", escape(&peer.name), addresses.join(" "));
    }
    page.push_str("</table>");
    if let Some(more) = peers.len().checked_sub(PEERS_SHOWN).filter(|more| *more > 0) {
        let _ = write!(page, "<p>and {more} more");
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Publisher;
    use crate::status::Snapshot;

    #[test]
    fn names_from_the_tailnet_cannot_inject_markup() {
        let peer = NodeStatus { name: "<script>alert(1)</script>".into(), ..NodeStatus::default() };
        let snapshot = Snapshot { peers: vec![peer], ..Snapshot::default() };
        let page = render_page(&Document::new(&Publisher::new().watch().borrow(), snapshot));
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"));
    }
}
