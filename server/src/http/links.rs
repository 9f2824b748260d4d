//! Links in answers.

use super::link::link_path;

/// What links begin with: scheme, host, port, and the path below which everything is.
#[derive(Debug, Clone)]
pub struct Links {
    base: String,
    asked: Vec<String>,
}

impl Default for Links {
    fn default() -> Self {
        Self::to_base("http://localhost".to_owned())
    }
}

impl Links {
    /// Links that begin with this URL, which has no slash at its end.
    pub fn to_base(base: String) -> Self {
        Self { base, asked: Vec::new() }
    }

    /// The same of a client that may have asked by other URLs.
    #[must_use]
    pub fn asked_by(self, asked: impl IntoIterator<Item = String>) -> Self {
        Self { asked: asked.into_iter().filter(|asked| *asked != self.base).collect(), ..self }
    }

    /// What comes before `/v3`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The same in each URL that the client may have asked by: the public one, then its own.
    pub fn bases(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.base).chain(&self.asked).map(String::as_str)
    }

    /// A link to a path below `/v3` of these segments, each of which can be any string.
    pub fn of(&self, segments: &[&str]) -> String {
        self.to(&link_path(segments))
    }

    /// A link to a path below `/v3`, encoded already.
    pub fn to(&self, path: &str) -> String {
        format!("{}/v3{path}", self.base)
    }
}
