//! What a client would like best (`Accept`).

/// How much a client likes a media type, from 0 to 1, by the range that names it most closely. A range that
/// cannot be read is passed over.
pub fn liking(accept: &str, media: &str) -> f32 {
    let whole = media.split_once('/').map_or("*", |(kind, _)| kind);
    let ranges = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let nearness = match parts.next()? {
            "*/*" => 0,
            named if named.eq_ignore_ascii_case(media) => 2,
            named if named.strip_suffix("/*").is_some_and(|kind| kind.eq_ignore_ascii_case(whole)) => 1,
            _ => return None,
        };
        let weight = parts.find_map(|p| p.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
        Some((nearness, weight.unwrap_or(0.0_f32)))
    });
    ranges.max_by_key(|(nearness, _)| *nearness).map_or(0.0, |(_, weight)| weight)
}

/// What it likes best of these; of those that it likes alike, the first. Nothing when it likes none.
pub fn best<'m>(accept: &str, offers: &[&'m str]) -> Option<&'m str> {
    let liked =
        offers.iter().map(|offer| (*offer, liking(accept, offer))).filter(|(_, liking)| *liking > 0.0);
    liked.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(offer, _)| offer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_the_nearest_and_then_the_first() {
        let offers = ["text/plain", "text/html", "application/json"];
        for (accept, wanted) in [
            ("*/*", Some("text/plain")),
            ("text/html", Some("text/html")),
            ("TEXT/HTML", Some("text/html")),
            ("text/*", Some("text/plain")),
            ("application/*", Some("application/json")),
            ("application/json, text/html", Some("text/html")),
            ("*/*;q=0.1, application/json", Some("application/json")),
            ("text/plain;q=0, */*", Some("text/html")),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some("text/html")),
            ("application/xml", None),
            ("text/html;q=odd", None),
            ("", None),
        ] {
            assert_eq!(best(accept, &offers), wanted, "{accept}");
        }
    }
}
