//! Links in answers.

use super::link::link_path;

/// What links begin with: scheme, host, port, and the path below which everything is.
#[derive(Debug, Clone)]
pub struct Links {
    base: String,
}

impl Default for Links {
    fn default() -> Self {
        Self::to_base("http://localhost".to_owned())
    }
}

impl Links {
    /// Links that begin with this URL, which has no slash at its end.
    pub fn to_base(base: String) -> Self {
        Self { base }
    }

    /// What comes before `/v3`.
    pub fn base(&self) -> &str {
        &self.base
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
