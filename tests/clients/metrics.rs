//! Tests the metrics document with Prometheus' own parsers, in both of its formats.

use crate::scene::Scene;

const PARSE: &str = "
import sys, urllib.request
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

def scrape(accept):
    request = urllib.request.Request('http://127.0.0.1:9002/metrics', headers={'Accept': accept})
    return urllib.request.urlopen(request).read().decode()

for parse, accept in [(prometheus, 'text/plain'), (openmetrics, 'application/openmetrics-text')]:
    families = {family.name: family.type for family in parse(scrape(accept))}
    for name in ['tetherd_connections', 'tetherd_dial_duration_seconds', 'tetherd_phase', 'tailscaled_inbound_bytes']:
        print(name, families[name])
";

#[test]
fn prometheus_own_parsers_read_both_formats() {
    let scene = Scene::web().ready();
    let kinds = ["connections counter", "dial_duration_seconds histogram", "phase gauge"];
    let own: String = kinds.iter().map(|kind| format!("tetherd_{kind}\n")).collect();
    let each = format!("{own}tailscaled_inbound_bytes counter\n");
    assert_eq!(scene.run_text("parsers", "python", PARSE), each.repeat(2));
}
