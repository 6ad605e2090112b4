//! Writing values into URLs.

use url::form_urlencoded::byte_serialize;

/// A value as one segment of a path: no slash in it leads elsewhere. A segment of dots alone would; nothing that is
/// put into paths here is one.
pub(super) fn segment(value: &str) -> String {
    query_value(value).replace('+', "%20")
}

/// A value in a query.
pub(super) fn query_value(value: &str) -> String {
    byte_serialize(value.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    #[rstest]
    #[case("oac-7f3a-00ff", "oac-7f3a-00ff")]
    #[case("team a/reports?x=1#y", "team%20a%2Freports%3Fx%3D1%23y")]
    #[case("a+b%2F", "a%2Bb%252F")]
    fn segments(#[case] value: &str, #[case] written: &str) {
        assert_eq!(super::segment(value), written);
    }
}
