//! Glob patterns as Redis understands them.
//!
//! `*` any bytes, `?` one byte, `[abc]`, `[a-z]`, `[^a]` one of a class, `\` takes the next byte
//! as it is. There is no recursion, and only the last `*` is ever tried again, so the time is at
//! most the product of both lengths (CVE-2022-36021, CVE-2024-31228).

/// Whether the whole of `text` matches `pattern`.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let mut rest = pattern;
    let mut position = 0;
    // The pattern after the last `*`, and where in the text it was tried.
    let mut retry: Option<(&[u8], usize)> = None;
    loop {
        if let [b'*', after @ ..] = rest {
            rest = after;
            retry = Some((after, position));
            continue;
        }
        match text.get(position) {
            None if rest.is_empty() => return true,
            // A `*` that swallowed more would leave even less for the rest.
            None => return false,
            Some(&byte) => {
                if let Some(after) = match_one(rest, byte) {
                    rest = after;
                    position += 1;
                    continue;
                }
            }
        }
        let Some((after, tried)) = retry else {
            return false;
        };
        rest = after;
        position = tried + 1;
        retry = Some((after, position));
    }
}

/// The pattern after its first element, if that matches `byte`.
fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', class @ ..] => match_class(class, byte),
        [b'\\', escaped, rest @ ..] => (*escaped == byte).then_some(rest),
        [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

/// As [`match_one`] for a class without its `[`. A class that is not closed ends with the pattern.
fn match_class(class: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut rest) = match class {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        rest = match rest {
            [] => break,
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [b'\\', escaped, after @ ..] => {
                found |= *escaped == byte;
                after
            }
            [first, b'-', last, after @ ..] => {
                found |= (*first.min(last)..=*first.max(last)).contains(&byte);
                after
            }
            [literal, after @ ..] => {
                found |= *literal == byte;
                after
            }
        };
    }
    (found != negated).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes())
    }

    #[test]
    fn patterns_match_as_in_redis() {
        let matching = [
            ("", ""),
            ("*", ""),
            ("***", "abc"),
            ("a*c", "abbbc"),
            ("a*b*c", "a1b2b3c"),
            ("h?llo", "hello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            ("\\*", "*"),
            ("[\\]]", "]"),
            ("[abc", "b"),
            ("[a-", "-"),
            ("a\\", "a\\"),
            ("*\u{e4}", "\u{e4}"),
        ];
        for (pattern, text) in matching {
            assert!(check(pattern, text), "{pattern} matches {text}");
        }
        let other = [
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("a*c", "abbb"),
            ("h[^a]llo", "hallo"),
            ("[]a", "a"),
            ("[]", "]"),
            ("\\*", "a"),
            ("*a*b", "b"),
            ("A", "a"),
        ];
        for (pattern, text) in other {
            assert!(!check(pattern, text), "{pattern} does not match {text}");
        }
    }

    #[test]
    fn hostile_patterns_take_no_exponential_time_and_no_stack() {
        let stars = "a*".repeat(10_000) + "b";
        assert!(!check(&stars, &"a".repeat(50_000)));
        assert!(check(&"*".repeat(100_000), "x"));
        assert!(!check(&"[".repeat(100_000), "x"));
    }
}
