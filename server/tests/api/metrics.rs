//! The page of metrics says what a server exposes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use vicar::metrics::{About, Metrics, RequestLabels};
use vicar::{queue, store};

use crate::support::{Server, reviewed};

/// What a metric says about itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Metric {
    kind: String,
    unit: String,
    labels: BTreeSet<String>,
    help: String,
}

/// Metrics by name, from the text that Prometheus reads. A counter has the name that its samples have.
fn metrics(text: &str) -> BTreeMap<String, Metric> {
    let mut found: BTreeMap<String, Metric> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                names.insert(name.to_owned(), help.trim_end_matches('.').to_owned());
            }
            (Some("#"), Some("TYPE"), Some(family), Some(kind)) => {
                let name = match kind {
                    "counter" => format!("{family}_total"),
                    "info" => format!("{family}_info"),
                    _ => family.to_owned(),
                };
                let metric = Metric {
                    kind: kind.to_owned(),
                    unit: String::new(),
                    labels: BTreeSet::new(),
                    help: names[family].clone(),
                };
                assert!(found.insert(name, metric).is_none(), "{family} appears twice");
            }
            (Some("#"), Some("UNIT"), Some(family), Some(unit)) => {
                found.get_mut(family).expect("its type comes before").unit = unit.to_owned();
            }
            _ => {
                let Some((name, labels)) = line.split_once('{') else { continue };
                let name = name.trim_end_matches("_bucket");
                let labels = labels.split_once('}').expect("an end").0;
                let metric = found.get_mut(name).expect("its type comes before");
                metric
                    .labels
                    .extend(labels.split(',').filter_map(|l| l.split_once('=')).map(|l| l.0.to_owned()));
            }
        }
    }
    found
}

const PAGE: &str = "docs/metrics.md";
const HEAD: &str =
    "| Metric | Kind | Unit | Labels | Meaning | When to worry |\n| --- | --- | --- | --- | --- | --- |\n";

/// `VICAR_BLESS=1 cargo test -p vicar --test api every_metric` writes all of a row but its last cell.
#[test]
fn every_metric_is_documented() {
    let s = Server::start();
    s.admin();
    let text = s.app.metrics.render();
    let served = metrics(&text);
    let labels = ["method", "route", "status"].map(str::to_owned).into();
    assert_eq!(served["vicar_http_requests_total"].labels, labels, "{text}");

    // With the parts that a server on another engine has.
    let all = Metrics::default()
        .with_pool(&store::Gauges::default())
        .with_memory(&store::memory::Counts::default());
    all.watch_log(&Default::default());
    all.watch_queues(&queue::Gauges::default(), &queue::Gauges::default());
    // A family appears with its first member.
    let one = RequestLabels { method: "GET", route: "/v3", status: 200 };
    all.requests.get_or_create(&one).inc();
    all.describe(&About {
        started_at: 0,
        address: String::new(),
        url: String::new(),
        tls: false,
        engine: "SQLite",
        schema: 0,
    });
    all.note_keys("fernet", 2, 0);
    let mut all = metrics(&all.render());
    for (name, metric) in &served {
        let known = all.get_mut(name).unwrap_or_else(|| panic!("{name} is served and is not registered"));
        known.labels.clone_from(&metric.labels);
        assert_eq!(known, metric, "{name}");
    }

    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE));
    let page = page.expect("the page");
    let at = page.find(HEAD).expect("it has a table of metrics") + HEAD.len();
    let end = page[at..].find("\n\n").map_or(page.len(), |end| at + end + 1);
    let worries: BTreeMap<&str, &str> = page[at..end]
        .lines()
        .filter_map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            Some((cells.first()?.trim_matches('`'), *cells.get(5)?))
        })
        .collect();
    let mut table = String::new();
    for (name, m) in &all {
        let labels: Vec<String> = m.labels.iter().filter(|l| *l != "le").map(|l| format!("`{l}`")).collect();
        let labels = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
        let unit = if m.unit.is_empty() { "number" } else { &m.unit };
        let worry = worries.get(name.as_str()).copied().unwrap_or_default();
        table.push_str(&format!("| `{name}` | {} | {unit} | {labels} | {} | {worry} |\n", m.kind, m.help));
    }
    reviewed(PAGE, &format!("{}{table}{}", &page[..at], &page[end..]));
    for name in all.keys() {
        assert!(
            worries.get(name.as_str()).is_some_and(|w| !w.is_empty()),
            "{PAGE}: when to worry about {name}?"
        );
    }
}
