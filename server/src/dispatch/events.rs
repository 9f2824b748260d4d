//! What a route is in the security log.

use super::follows;
use super::route::{Auth, Route};
use crate::security::Event;

/// The event of a route that succeeds, with the statuses of that. `None` for what changes nothing of who may do what.
pub fn of(route: &Route) -> Option<(Event, [u16; 2])> {
    let event = match route.declared.ops.first() {
        Some(op) => follows::of(*op).event?,
        None if route.auth == Auth::Login => Event::Login,
        None if route.path == "/v3/OS-OAUTH1/access_token" => Event::AccessTokenCreate,
        None => return None,
    };
    Some((event, successes(route)?))
}

/// The statuses with which a route has done what it is for: the first one, and another of the same body.
pub fn successes(route: &Route) -> Option<[u16; 2]> {
    let first = route.answers.first()?;
    let last = route.answers.iter().rfind(|a| a.shape == first.shape && a.status < 400).unwrap_or(first);
    Some([first.status, last.status])
}

#[cfg(test)]
mod tests {
    use vicar_rules::policy::Op;

    use super::*;
    use crate::dispatch::Handler;
    use crate::reason::Reason;
    use crate::routes::ROUTES;
    use crate::security::Outcome;

    #[test]
    fn what_reads_is_no_event_and_what_writes_is_one_or_is_named_here() {
        let mut quiet = Vec::new();
        for route in ROUTES {
            match (&route.handler, of(route)) {
                (Handler::Write(_), None) => quiet.push(route.path.split('/').nth(2).unwrap_or_default()),
                (Handler::Write(_), Some((_, statuses))) => {
                    assert!(statuses.iter().all(|status| (200..205).contains(status)), "{route:?}");
                }
                (Handler::Read(_) | Handler::Plain(_), event) => assert_eq!(event, None, "{route:?}"),
            }
            // What a route may ask for besides is the same in the log.
            let [first, others @ ..] = route.declared.ops else { continue };
            for other in others {
                let same = follows::of(*other).event == follows::of(*first).event
                    || *other == Op::Ec2CreateCredential && *first == Op::CreateCredential;
                assert!(same, "{route:?}");
            }
        }
        quiet.dedup();
        assert_eq!(quiet, ["registered_limits", "limits", "projects", "OS-OAUTH1"]);
    }

    #[test]
    fn each_event_of_a_request_has_a_route() {
        let of_routes: Vec<Event> = ROUTES.iter().filter_map(of).map(|(event, _)| event).collect();
        for event in Event::ALL {
            let elsewhere = matches!(
                event,
                Event::Access
                    | Event::PasswordReset
                    | Event::TrustReap
                    | Event::Start
                    | Event::Stop
                    | Event::KeysReload
                    | Event::PolicyReload
                    | Event::CertificateReload
                    | Event::PinnedKeysReload
            );
            assert_eq!(of_routes.contains(event), !elsewhere, "{}", event.word());
        }
    }

    /// `VICAR_BLESS=1 cargo test -p vicar --lib events` rewrites the page.
    #[test]
    fn the_docs_have_these_tables() {
        const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let table = |head: &str, rows: Vec<(&str, String)>| {
            let head = format!("| {head} | |\n| --- | --- |\n");
            let rows: String = rows.iter().map(|(word, doc)| format!("| `{word}` | {doc} |\n")).collect();
            (head.clone(), head + &rows)
        };
        let events = Event::ALL.iter().map(|e| (e.word(), e.meaning().to_owned())).collect();
        let reasons = Reason::ALL.iter().map(|r| (r.word(), r.meaning().to_owned())).collect();
        let mut page = std::fs::read_to_string(DOCS).expect("the page");
        let before = page.clone();
        for outcome in Outcome::ALL {
            assert!(page.contains(&format!("`{}`", outcome.word())), "{}", outcome.word());
        }
        for (head, table) in [table("Event", events), table("Reason", reasons)] {
            let at = page.find(&head).expect("the page has the table");
            let end = at + page[at..].find("\n\n").expect("it ends") + 1;
            page.replace_range(at..end, &table);
        }
        if std::env::var_os("VICAR_BLESS").is_some() {
            std::fs::write(DOCS, page).expect("written");
        } else {
            assert!(page == before, "docs/operations.md has other tables; VICAR_BLESS=1 puts these there");
        }
    }
}
