//! Patterns in policies: `*` stands for any run of characters, everything else for itself. No regular expressions, and
//! time linear in the text for each `*`.

/// Whether the whole text is what the pattern stands for.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(found) = rest.find(part) else { return false };
        rest = &rest[found + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether an e-mail address is what the pattern stands for: a `*` stays on its side of the `@`. The domain's case does
/// not matter (RFC 5321 section 2.4).
pub fn matches_email(pattern: &str, email: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (Some((name, domain)), Some((of_name, of_domain))) = (email.rsplit_once('@'), pattern.rsplit_once('@')) else {
        return false;
    };
    matches(of_name, name) && matches(&of_domain.to_ascii_lowercase(), &domain.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("reports.*", "reports.read", true)]
    #[case("reports.*", "reports.", true)]
    #[case("reports.*", "reports", false)]
    #[case("reports.*", "my-reports.read", false)]
    #[case("*.read", "reports.read", true)]
    #[case("*.read", "reports.read.write", false)]
    #[case("a*b*c", "abc", true)]
    #[case("a*b*c", "axbxxbxc", true)]
    #[case("a*b*c", "acb", false)]
    #[case("ab*ba", "aba", false)]
    #[case("**", "", true)]
    #[case("*", "anything", true)]
    #[case("exact", "exact", true)]
    #[case("exact", "exactly", false)]
    #[case("", "", true)]
    #[case("", "a", false)]
    #[case("r.ports", "reports", false)]
    fn whole_texts(#[case] pattern: &str, #[case] text: &str, #[case] expected: bool) {
        assert_eq!(matches(pattern, text), expected);
    }

    #[rstest]
    #[case("*@corp.example", "data@corp.example", true)]
    #[case("*@corp.example", "data@CORP.example", true)]
    #[case("*@corp.example", "data@corp.example.evil.example", false)]
    #[case("*@corp.example", "data@evil.example", false)]
    #[case("data*@*.example", "data-platform@corp.example", true)]
    #[case("data*", "data@corp.example", false)]
    #[case("*", "data@corp.example", true)]
    fn emails(#[case] pattern: &str, #[case] email: &str, #[case] expected: bool) {
        assert_eq!(matches_email(pattern, email), expected);
    }
}
