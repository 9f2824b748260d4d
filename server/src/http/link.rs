//! Paths of links. Ids can be any text, so each is encoded as one segment.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One segment of a path, percent-encoded: `a/b` is `a%2Fb`.
pub fn path_segment(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

/// A path of such segments: `["regions", "a/b"]` is `/regions/a%2Fb`.
pub fn link_path(segments: &[&str]) -> String {
    segments.iter().map(|segment| format!("/{}", path_segment(segment))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_one_segment() {
        assert_eq!(link_path(&["regions", "Region-One_1.a~"]), "/regions/Region-One_1.a~");
        assert_eq!(
            link_path(&["regions", "a&b/c?d#e%2F ü+", "x"]),
            "/regions/a%26b%2Fc%3Fd%23e%252F%20%C3%BC%2B/x"
        );
        assert_eq!(link_path(&[]), "");
    }
}
