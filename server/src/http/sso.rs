//! The page that takes a token to a dashboard: a form that submits itself.

use std::path::Path;
use std::sync::LazyLock;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::request::with_header;

/// The page with the form, which is ours or a file's.
#[derive(Debug)]
pub struct Page(Option<Vec<Part>>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Host,
    Token,
}

/// What our page runs, and nothing else.
const SCRIPT: &str = "document.forms['sso'].submit();";

/// The headers of both: nobody keeps a page with a token, or shows it within another.
static OURS: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(SCRIPT));
    format!("default-src 'none'; script-src 'sha256-{hash}'; base-uri 'none'; frame-ancestors 'none'")
});
const THEIRS: &str = "base-uri 'none'; frame-ancestors 'none'";

impl Page {
    /// Reads `[federation] sso_callback_template`; without one the page is ours.
    ///
    /// # Errors
    /// In words for the operator, when the file cannot be read or has another `$` than a Keystone could fill in.
    pub fn read(file: Option<&Path>) -> Result<Self, String> {
        let Some(file) = file else { return Ok(Self(None)) };
        let parts = std::fs::read_to_string(file).map_err(|e| e.to_string()).and_then(|text| parts(&text));
        let parts =
            parts.map_err(|why| format!("[federation] sso_callback_template: {}: {why}", file.display()))?;
        Ok(Self(Some(parts)))
    }

    /// The answer that carries a token to a dashboard.
    pub fn answer(&self, host: &str, token: &str) -> Response {
        let (body, policy) = match &self.0 {
            None => (own(host, token), OURS.as_str()),
            Some(parts) => {
                let text = |part: &Part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Host => host.to_owned(),
                    Part::Token => token.to_owned(),
                };
                (parts.iter().map(text).collect(), THEIRS)
            }
        };
        let answer = (StatusCode::OK, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], body);
        let answer = with_header(answer.into_response(), header::CACHE_CONTROL, "no-store");
        let answer = with_header(answer, header::CONTENT_SECURITY_POLICY, policy);
        // A dashboard may look at which server it was, and is shown no more.
        with_header(answer, header::REFERRER_POLICY, "strict-origin-when-cross-origin")
    }
}

/// The parts of a template, as Python's `string.Template` has them.
fn parts(text: &str) -> Result<Vec<Part>, String> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        parts.push(Part::Text(before.to_owned()));
        if let Some(after) = after.strip_prefix('$') {
            parts.push(Part::Text("$".to_owned()));
            rest = after;
            continue;
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, after) =
            braced.unwrap_or_else(|| after.split_at(after.find(|c| !is_word(c)).unwrap_or(after.len())));
        parts.push(match name {
            "host" => Part::Host,
            "token" => Part::Token,
            _ => return Err("has a `$` that is neither $host nor $token; write $$ for the sign".to_owned()),
        });
        rest = after;
    }
    parts.push(Part::Text(rest.to_owned()));
    Ok(parts)
}

fn own(host: &str, token: &str) -> String {
    let (host, token) = (escaped(host), escaped(token));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Logging in</title>\n</head>\n<body>\n\
         <form id=\"sso\" name=\"sso\" action=\"{host}\" method=\"post\">\n<p>Please wait.</p>\n\
         <input type=\"hidden\" name=\"token\" id=\"token\" value=\"{token}\">\n\
         <noscript><input type=\"submit\" value=\"Continue\"></noscript>\n</form>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

/// A text as it is written between the quotes of an attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_in_as_python_does() {
        let page = Page(Some(parts("<a $host>$$5 ${token}$token\u{e9}</a>").expect("reads")));
        let Some(parts_of_it) = &page.0 else { panic!("no template") };
        let fixed = |text: &str| Part::Text(text.to_owned());
        assert_eq!(
            parts_of_it.as_slice(),
            [
                fixed("<a "),
                Part::Host,
                fixed(">"),
                fixed("$"),
                fixed("5 "),
                Part::Token,
                fixed(""),
                Part::Token,
                fixed("\u{e9}</a>"),
            ]
        );
        for wrong in ["$other", "$", "$(x)", "${host", "$hosts", "${ host }"] {
            assert!(parts(wrong).is_err(), "{wrong}");
        }
        let e = Page::read(Some(Path::new("/nonexistent/page"))).expect_err("no file");
        assert!(e.starts_with("[federation] sso_callback_template: /nonexistent/page: "), "{e}");
    }

    #[test]
    fn nothing_breaks_out_of_the_form() {
        let page = own("https://d/?a=1&b='\"><script>", "t<");
        assert!(page.contains("action=\"https://d/?a=1&amp;b=&#39;&quot;&gt;&lt;script&gt;\""), "{page}");
        assert!(page.contains("value=\"t&lt;\"") && page.matches("<script>").count() == 1, "{page}");
    }
}
