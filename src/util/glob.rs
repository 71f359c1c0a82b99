//! Glob patterns of KEYS, SCAN and the like, with the byte semantics of Redis' `stringmatchlen`.
//!
//! `*` any bytes, `?` one byte, `[abc]` `[a-z]` `[^a]` one byte of a class, `\x` the byte x. The
//! matcher is a loop with a single point to come back to, the last star: whatever an earlier star
//! could swallow, the last one can swallow too, so trying earlier stars again never helps. The
//! cost is bounded by pattern length times text length, where a recursive matcher is exponential.
//!
//! Oddities kept on purpose, because patterns in the wild meet them in Redis: an unterminated
//! class ends with the pattern; a reversed range is turned round; ranges compare signed bytes; a
//! range folds its ends only after they were put in order; an escaped byte of a class is compared
//! with its case; nothing but the empty pattern matches the empty text, not even `*`, for which
//! Redis' KEYS and SCAN have a short cut of their own ([`matches_everything`]).

/// True if the whole of `text` matches `pattern`; with `nocase`, ASCII letters match in any case.
///
/// Cost: O(pattern * text) at worst, O(pattern + text) for ordinary patterns.
#[must_use]
pub fn glob_match(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let mut pattern_rest = pattern;
    let mut text_rest = text;
    // Where to go on when a byte does not match: behind the last star, one byte further.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', after_star @ ..] = pattern_rest {
            pattern_rest = after_star;
            retry = Some((after_star, text_rest));
            continue;
        }
        let Some((&byte, text_tail)) = text_rest.split_first() else {
            return pattern_rest.is_empty();
        };
        if let (true, pattern_tail) = match_one(pattern_rest, byte, nocase) {
            pattern_rest = pattern_tail;
            text_rest = text_tail;
            continue;
        }
        let Some((after_star, from)) = retry else {
            return false;
        };
        if after_star.is_empty() {
            return true;
        }
        let Some(next) = skip_to_candidate(after_star, from, nocase) else {
            return false;
        };
        retry = Some((after_star, next));
        pattern_rest = after_star;
        text_rest = next;
    }
}

/// True for the pattern that KEYS, SCAN and HSCAN take as "no pattern": it matches even the empty
/// key, which [`glob_match`] denies.
#[must_use]
pub fn matches_everything(pattern: &[u8]) -> bool {
    pattern == b"*"
}

/// The next text behind the first byte of `from` at which `pattern` could match.
fn skip_to_candidate<'a>(pattern: &[u8], from: &'a [u8], nocase: bool) -> Option<&'a [u8]> {
    let (_, tail) = from.split_first()?;
    match pattern.first() {
        Some(&literal) if !nocase && !matches!(literal, b'*' | b'?' | b'[' | b'\\') => {
            tail.get(memchr::memchr(literal, tail)?..)
        }
        _ => Some(tail),
    }
}

/// Matches one byte against the first element of `pattern`, which is no star; returns the rest.
#[inline]
fn match_one(pattern: &[u8], byte: u8, nocase: bool) -> (bool, &[u8]) {
    match pattern {
        [] => (false, pattern),
        [b'?', rest @ ..] => (true, rest),
        [b'[', class @ ..] => match_class(class, byte, nocase),
        [b'\\', escaped, rest @ ..] => (equal(*escaped, byte, nocase), rest),
        [literal, rest @ ..] => (equal(*literal, byte, nocase), rest),
    }
}

fn match_class(class: &[u8], byte: u8, nocase: bool) -> (bool, &[u8]) {
    let (negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    loop {
        class = match class {
            [] => return (found != negated, class),
            [b'\\', escaped, rest @ ..] => {
                found |= *escaped == byte;
                rest
            }
            [b']', rest @ ..] => return (found != negated, rest),
            [start, b'-', end, rest @ ..] => {
                found |= in_range(*start, *end, byte, nocase);
                rest
            }
            [literal, rest @ ..] => {
                found |= equal(*literal, byte, nocase);
                rest
            }
        };
    }
}

fn in_range(start: u8, end: u8, byte: u8, nocase: bool) -> bool {
    let (start, end) =
        if start.cast_signed() > end.cast_signed() { (end, start) } else { (start, end) };
    let fold = |byte: u8| if nocase { byte.to_ascii_lowercase() } else { byte }.cast_signed();
    (fold(start)..=fold(end)).contains(&fold(byte))
}

#[inline]
fn equal(left: u8, right: u8, nocase: bool) -> bool {
    left == right || (nocase && left.eq_ignore_ascii_case(&right))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    /// Each row agrees with what KEYS of a real server answers.
    const CASES: &[(&[u8], &[u8], bool)] = &[
        (b"", b"", true),
        (b"", b"a", false),
        (b"*", b"a", true),
        (b"**", b"", false),
        (b"*", b"", false),
        (b"a*", b"a", true),
        (b"a**", b"a", true),
        (b"a*b", b"ab", true),
        (b"a*b", b"axxb", true),
        (b"a*b", b"axxbc", false),
        (b"*a*b*", b"xxaxxbxx", true),
        (b"*ab", b"aab", true),
        (b"?", b"a", true),
        (b"?", b"ab", false),
        (b"a?", b"a", false),
        (b"h[ae]llo", b"hello", true),
        (b"h[ae]llo", b"hillo", false),
        (b"h[^e]llo", b"hello", false),
        (b"h[^e]llo", b"hallo", true),
        (b"h[a-c]llo", b"hbllo", true),
        (b"h[c-a]llo", b"hbllo", true),
        (b"h[a-c]llo", b"hdllo", false),
        (b"[a-]", b"-", false),
        (b"[a-]", b"a", true),
        (b"[a-]", b"^", true),
        (b"[a-", b"-", true),
        (b"[a-z", b"m", true),
        (b"[abc", b"b", true),
        (b"[abc", b"d", false),
        (b"[", b"[", false),
        (b"[", b"a", false),
        (b"[^", b"a", true),
        (b"[^", b"ab", false),
        (b"[]", b"]", false),
        (b"[]a]", b"a]", false),
        (b"[^]", b"a", true),
        (b"[^]a", b"xa", true),
        (b"[\\]]", b"]", true),
        (b"[\\-a]", b"-", true),
        (b"[a\\", b"\\", true),
        (b"[\\", b"\\", true),
        (b"[a-\\]]", b"]", false),
        (b"[a-\\]]", b"a]", true),
        (b"\\*", b"*", true),
        (b"\\*", b"a", false),
        (b"\\", b"\\", true),
        (b"a\\", b"a\\", true),
        (b"\\\\", b"\\", true),
        (b"\\a", b"a", true),
        (b"\\[a]", b"[a]", true),
        (b"]", b"]", true),
        (b"-", b"-", true),
        (b"^", b"^", true),
        (b"[*]", b"*", true),
        (b"[?]", b"a", false),
        (b"a*[bc]d*", b"axxcdyy", true),
        (b"*?", b"a", true),
        (b"?*?", b"a", false),
        (b"[\x80-\x01]", b"\x00", true),
        (b"[\x80-\x01]", b"\xff", true),
        (b"[\x01-\x80]", b"\x7f", false),
        (b"\x00*", b"\x00a", true),
        (b"a\x00b", b"a\x00b", true),
        (b"A", b"a", false),
    ];

    #[test]
    fn patterns_match_as_in_redis() {
        for &(pattern, text, expected) in CASES {
            let (shown, at) = (pattern.escape_ascii(), text.escape_ascii());
            assert_eq!(glob_match(pattern, text, false), expected, "{shown} {at}");
        }
    }

    #[test]
    fn case_is_folded_as_in_redis() {
        let cases: &[(&[u8], &[u8], bool)] = &[
            (b"HELLO", b"hello", true),
            (b"h[AE]llo", b"hello", true),
            (b"h[A-E]llo", b"Hbllo", true),
            (b"[\\A]", b"a", false),
            (b"\\A", b"a", true),
            (b"[Z-a]", b"z", false),
            (b"\xc4", b"\xe4", false),
        ];
        for &(pattern, text, expected) in cases {
            let (shown, at) = (pattern.escape_ascii(), text.escape_ascii());
            assert_eq!(glob_match(pattern, text, true), expected, "{shown} {at}");
        }
    }

    #[test]
    fn hostile_patterns_cost_no_more_than_their_length_times_the_text() {
        let stars = [b"a*".repeat(5_000), b"b".to_vec()].concat();
        let text = vec![b'a'; 10_000];
        let start = Instant::now();
        assert!(!glob_match(&stars, &text, false));
        assert!(!glob_match(&[b"*".as_slice(), &[b'a'; 5_000], b"b"].concat(), &text, false));
        assert!(!glob_match(&[b"*?".repeat(4_000), b"b".to_vec()].concat(), &text, true));
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    /// The plain recursive definition, exponential but obvious.
    fn naive(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|cut| naive(rest, &text[cut..], nocase)),
            (_, []) => false,
            (_, [byte, tail @ ..]) => match match_one(pattern, *byte, nocase) {
                (true, rest) => naive(rest, tail, nocase),
                _ => false,
            },
        }
    }

    proptest! {
        #[test]
        fn one_way_back_is_enough(
            pattern in r"[ab*?\[\]^\\-]{0,9}", text in "[abAB]{1,9}", nocase: bool,
        ) {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(glob_match(pattern, text, nocase), naive(pattern, text, nocase));
        }

        #[test]
        fn no_bytes_upset_the_matcher(pattern: Vec<u8>, text: Vec<u8>, nocase: bool) {
            let _ = glob_match(&pattern, &text, nocase);
        }
    }
}
