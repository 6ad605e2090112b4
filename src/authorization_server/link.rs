//! The `Link` header (RFC 8288 section 3), as far as paging needs it.

/// The target of the first link whose relation is `next`. Targets may hold commas and semicolons; they stand between
/// angle brackets.
pub(super) fn next(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let mut quoted = false;
        let end = after.find(|c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        });
        let (parameters, further) = after.split_at(end.unwrap_or(after.len()));
        if parameters.split(';').any(is_next) {
            return Some(target.trim().to_owned());
        }
        rest = further;
    }
    None
}

fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let relations = value.trim().trim_matches('"');
    name.trim().eq_ignore_ascii_case("rel") && relations.split(' ').any(|r| r.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::hydra(r#"</admin/clients?owner=a%2Fb&page_token=x%3D>; rel="first",</admin/clients?owner=a%2Fb&page_token=y%3D>; rel="next""#, Some("/admin/clients?owner=a%2Fb&page_token=y%3D"))]
    #[case::last_page(r#"</admin/clients?page_token=x>; rel="first""#, None)]
    #[case::spaces(r#"<a>; rel="prev first", <b>; title="x"; REL=Next"#, Some("b"))]
    #[case::several_relations(r#"<a>; rel="last next""#, Some("a"))]
    #[case::commas_in_the_target("<a?x=1,2;3>; rel=next", Some("a?x=1,2;3"))]
    #[case::another_word(r#"<a>; rel="nextcloud""#, None)]
    #[case::no_link("next", None)]
    #[case::open("<a", None)]
    #[case::empty("", None)]
    fn the_next_page(#[case] header: &str, #[case] target: Option<&str>) {
        assert_eq!(next(header).as_deref(), target);
    }
}
