//! `[security_compliance] password_regex`, which the configuration checks and passwords must match.

use fancy_regex::Regex;

/// Compiles a `password_regex`. As in Keystone it must match from the beginning, not to the end.
///
/// # Errors
/// What is wrong with the expression.
pub fn compile(expression: &str) -> Result<Regex, String> {
    Regex::new(&format!(r"\A(?:{expression})")).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_matches_from_the_beginning() {
        let matches = |expression: &str, text: &str| {
            compile(expression).expect("compiles").is_match(text).expect("ends")
        };
        let keystones = r"^(?=.*\d)(?=.*[a-zA-Z]).{7,}$";
        assert!(matches(keystones, "abc4567") && !matches(keystones, "abcdefg"));
        assert!(matches("a|b", "bc") && !matches("a|b", "cb"));
        assert!(compile("(").is_err());
    }
}
