//! Text that must not be shown.

/// A secret, such as a password from the configuration. `Debug` does not show it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let shown = format!("{:?} {:#?}", Secret("topsecret".into()), Some(Secret(String::new())));
        assert!(!shown.contains("topsecret") && shown.matches("***").count() == 2, "{shown}");
    }
}
