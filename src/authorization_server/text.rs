//! Words of others, made fit to be kept: no secret of ours, no control characters, not long.

use secrecy::{ExposeSecret, SecretString};

/// The longest text of a server that is kept, in characters.
const LONGEST: usize = 200;

/// A run of this many characters that also stands in a secret counts as a piece of it.
const PIECE: usize = 8;

/// Cleans a server's text: pieces of the given secrets are replaced, control, bidirectional and invisible characters
/// removed, and what is left cut to 200 characters. `None` when nothing is left.
pub(super) fn clean(text: &str, secrets: &[SecretString]) -> Option<String> {
    // Bounds the search below; no server says anything useful in more.
    let mut kept = String::new();
    for c in text.chars().take(4096) {
        if c.is_whitespace() {
            if !kept.is_empty() && !kept.ends_with(' ') {
                kept.push(' ');
            }
        } else if !is_invisible(c) {
            kept.push(c);
        }
    }
    let kept = without(kept.trim_end(), secrets);
    let cut = match kept.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &kept[..end]),
        None => kept,
    };
    Some(cut).filter(|text| !text.is_empty())
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Replaces the secrets, and pieces of them: a server that quotes the first twenty characters of a token has told
/// too much already.
fn without(text: &str, secrets: &[SecretString]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        let secret = secret.expose_secret();
        if secret.is_empty() {
            continue;
        }
        if secret.chars().count() <= PIECE {
            text = text.replace(secret, "[redacted]");
            continue;
        }
        let mut kept = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let piece = longest_piece(rest, secret);
            if piece > 0 {
                kept.push_str("[redacted]");
                rest = &rest[piece..];
            } else {
                kept.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        text = kept;
    }
    text
}

/// Bytes at the start of `text` that are a piece of the secret; 0 when there are not enough.
fn longest_piece(text: &str, secret: &str) -> usize {
    let mut longest = 0;
    for (count, (start, c)) in text.char_indices().enumerate() {
        let end = start + c.len_utf8();
        if count + 1 < PIECE {
            continue;
        }
        if !secret.contains(&text[..end]) {
            break;
        }
        longest = end;
    }
    longest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("redirect_uris is mandatory property", Some("redirect_uris is mandatory property"))]
    #[case("  two\r\n\tlines \u{85} ", Some("two lines"))]
    #[case("\u{202e}drow\u{2066}ssap\u{0}\u{1b}[31m", Some("drowssap[31m"))]
    #[case("zero\u{200b}width\u{feff} and \u{e0041}tags", Some("zerowidth and tags"))]
    #[case("ungültiger Bereich", Some("ungültiger Bereich"))]
    #[case("\u{7}\u{200f}", None)]
    #[case("", None)]
    fn cleaning(#[case] text: &str, #[case] kept: Option<&str>) {
        assert_eq!(clean(text, &[]).as_deref(), kept);
    }

    #[test]
    fn long_texts_are_cut_at_characters() {
        let kept = clean(&"é".repeat(10_000), &[]).unwrap();
        assert_eq!(kept.chars().count(), LONGEST + 1);
        assert!(kept.ends_with('…'));
    }

    #[rstest]
    #[case("token s3cr3t-t0k3n-of-ours is wrong", "token [redacted] is wrong")]
    #[case("token s3cr3t-t… is wrong", "token [redacted]… is wrong")]
    #[case("token …k3n-of-ours is wrong", "token …[redacted] is wrong")]
    #[case("s3cr3t-t0k3n-of-ourss3cr3t-t0k3n-of-ours", "[redacted][redacted]")]
    #[case("s3cr3t\u{200b}-t0k3n-of-ours", "[redacted]")]
    #[case("pin 1234, not 12345", "pin [redacted], not [redacted]5")]
    #[case("nothing of ours", "nothing of ours")]
    fn secrets_and_pieces_of_them_go(#[case] text: &str, #[case] kept: &str) {
        let secrets = [SecretString::from("s3cr3t-t0k3n-of-ours"), SecretString::from("1234"), SecretString::from("")];
        assert_eq!(clean(text, &secrets).as_deref(), Some(kept));
    }

    #[test]
    fn a_secret_across_the_cut_goes_too() {
        let text = format!("{}s3cr3t-t0k3n-of-ours", "x".repeat(190));
        let kept = clean(&text, &[SecretString::from("s3cr3t-t0k3n-of-ours")]).unwrap();
        assert!(!kept.contains("s3c"), "{kept}");
    }

    proptest! {
        #[test]
        fn whatever_comes(before in ".{0,60}", after in ".{0,300}", secret in "[!-~]{8,40}", from in 0..32usize, to in 0..40usize) {
            let piece: String = secret.chars().skip(from).take(to).collect();
            let kept = clean(&format!("{before}{piece}{after}"), &[SecretString::from(secret.clone())]).unwrap_or_default();
            prop_assert!(kept.chars().count() <= LONGEST + 1);
            prop_assert!(!kept.chars().any(is_invisible));
            for at in 0..=secret.len() - PIECE {
                let piece = &secret[at..at + PIECE];
                prop_assert!(!kept.contains(piece) || "[redacted]".contains(piece), "{piece:?} in {kept:?}");
            }
        }
    }
}
