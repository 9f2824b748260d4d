//! Words that OpenStack's libraries read alike everywhere: in configuration files, in queries, in URLs.

/// A boolean as oslo writes it, in any case; nothing when it is neither.
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
        "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        for (text, wanted) in [
            ("True", Some(true)),
            ("ON", Some(true)),
            ("y", Some(true)),
            ("off", Some(false)),
            ("N", Some(false)),
            ("0", Some(false)),
            ("", None),
            ("2", None),
            (" true", None),
        ] {
            assert_eq!(boolean(text), wanted, "{text:?}");
        }
    }
}
