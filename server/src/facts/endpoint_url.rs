//! Endpoint URLs with variable parts: `http://host/v1/$(project_id)s`. The language is Python's formatting,
//! of which strings are used: `$(name)s` or `%(name)s`, and `%%` for a percent sign.

/// What the variable parts are filled with; what is absent leaves the endpoint out.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// `project_id`, `tenant_id`
    pub project: Option<&'a str>,
    /// `user_id`
    pub user: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Part<'a> {
    Text(&'a str),
    Project,
    User,
    /// A name that Keystone fills in from its own configuration, which clients must not see.
    Configured,
}

/// Splits a URL; nothing when it is not well formed or names a variable part that is not known.
fn parts(url: &str) -> Option<Vec<Part<'_>>> {
    let mut out = Vec::new();
    let mut rest = url;
    loop {
        // A dollar sign counts before a parenthesis only.
        let Some(at) = rest.find('%').into_iter().chain(rest.find("$(")).min() else {
            out.push(Part::Text(rest));
            return Some(out);
        };
        let (before, variable) = rest.split_at(at);
        out.push(Part::Text(before));
        let after = variable.get(1..)?;
        if let Some(tail) = after.strip_prefix('%') {
            out.push(Part::Text("%"));
            rest = tail;
            continue;
        }
        let (name, tail) = after.strip_prefix('(')?.split_once(")s")?;
        out.push(match name {
            "project_id" | "tenant_id" => Part::Project,
            "user_id" => Part::User,
            "public_endpoint" | "compute_host" => Part::Configured,
            _ => return None,
        });
        rest = tail;
    }
}

/// Whether an endpoint may have this URL.
pub fn is_sound(url: &str) -> bool {
    parts(url).is_some()
}

/// The URL with its variable parts filled in; nothing when it is not sound or a value is missing.
pub fn fill(url: &str, values: &Values<'_>) -> Option<String> {
    parts(url)?
        .into_iter()
        .map(|part| match part {
            Part::Text(text) => Some(text),
            Part::Project => values.project,
            Part::User => Some(values.user),
            Part::Configured => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(url: &str, project: Option<&str>) -> Option<String> {
        fill(url, &Values { project, user: "u" })
    }

    #[test]
    fn urls_are_filled_or_left_out() {
        assert_eq!(filled("http://h/v1/$(project_id)s/x", Some("p")).as_deref(), Some("http://h/v1/p/x"));
        assert_eq!(filled("http://h/%(tenant_id)s%(user_id)s", Some("p")).as_deref(), Some("http://h/pu"));
        assert_eq!(filled("$(public_endpoint)s/v3", None), None);
        assert_eq!(filled("http://h/$(project_id)s", None), None);
        assert_eq!(filled("http://$(compute_host)s", Some("p")), None);
        assert_eq!(filled("http://h/plain$1", None).as_deref(), Some("http://h/plain$1"));
        assert_eq!(filled("http://h/100%%", None).as_deref(), Some("http://h/100%"));
    }

    #[test]
    fn urls_that_python_would_refuse_are_not_sound() {
        for url in
            ["$(secret)s", "$(project_id)", "$(project_id)d", "%zz", "100%", "$(", "%s", "%(user_id)5s"]
        {
            assert!(!is_sound(url), "{url}");
        }
        assert!(is_sound("http://h:5000/v3"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(url in "[$%()sa-z€]{0,40}") {
            let _ = filled(&url, Some("p"));
        }
    }
}
