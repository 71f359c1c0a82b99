//! Fuzz target: any pattern against any text. The matcher, which is a loop, agrees with a plain
//! transcription of the recursive one of Redis 7.0.15, and takes no longer than the product of the
//! two lengths allows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use my_redis::util::glob::glob_match;

/// The recursive matcher may take long for longer ones.
const REFERENCE_BYTES_MAX: usize = 40;

/// A byte of a pattern, and behind its end the zero byte with which a string ends in C.
fn at(pattern: &[u8], index: usize) -> u8 {
    pattern.get(index).copied().unwrap_or(0)
}

fn lower(byte: u8) -> i32 {
    i32::from(byte.to_ascii_lowercase() as i8)
}

/// Whether a byte is of a class, and what is left of the pattern: its last byte, or nothing.
fn class(mut pattern: &[u8], byte: u8, nocase: bool) -> (bool, &[u8]) {
    let mut last = pattern;
    pattern = &pattern[1..];
    let negated = at(pattern, 0) == b'^';
    if negated {
        last = pattern;
        pattern = &pattern[1..];
    }
    let mut found = false;
    loop {
        if pattern.len() >= 2 && pattern[0] == b'\\' {
            pattern = &pattern[1..];
            found |= pattern[0] == byte;
        } else if at(pattern, 0) == b']' {
            break;
        } else if pattern.is_empty() {
            pattern = &last[last.len().saturating_sub(1)..];
            break;
        } else if pattern.len() >= 3 && pattern[1] == b'-' {
            let (mut start, mut end) = (i32::from(pattern[0] as i8), i32::from(pattern[2] as i8));
            let mut c = i32::from(byte as i8);
            if start > end {
                (start, end) = (end, start);
            }
            if nocase {
                (start, end, c) = (lower(start as u8), lower(end as u8), lower(byte));
            }
            pattern = &pattern[2..];
            found |= c >= start && c <= end;
        } else {
            found |= if nocase { lower(pattern[0]) == lower(byte) } else { pattern[0] == byte };
        }
        last = pattern;
        pattern = &pattern[1..];
    }
    (found != negated, pattern)
}

/// `stringmatchlen_impl` of Redis, step by step.
fn reference(mut pattern: &[u8], mut text: &[u8], nocase: bool, skip: &mut bool) -> bool {
    while !pattern.is_empty() && !text.is_empty() {
        match pattern[0] {
            b'*' => {
                while !pattern.is_empty() && at(pattern, 1) == b'*' {
                    pattern = &pattern[1..];
                }
                if pattern.len() == 1 {
                    return true;
                }
                while !text.is_empty() {
                    if reference(&pattern[1..], text, nocase, skip) {
                        return true;
                    }
                    if *skip {
                        return false;
                    }
                    text = &text[1..];
                }
                *skip = true;
                return false;
            }
            b'?' => text = &text[1..],
            b'[' => {
                let (matches, rest) = class(pattern, text[0], nocase);
                pattern = rest;
                if !matches {
                    return false;
                }
                text = &text[1..];
            }
            first => {
                if first == b'\\' && pattern.len() >= 2 {
                    pattern = &pattern[1..];
                }
                let is_equal = if nocase {
                    lower(pattern[0]) == lower(text[0])
                } else {
                    pattern[0] == text[0]
                };
                if !is_equal {
                    return false;
                }
                text = &text[1..];
            }
        }
        pattern = pattern.get(1..).unwrap_or_default();
        if text.is_empty() {
            while at(pattern, 0) == b'*' {
                pattern = &pattern[1..];
            }
            break;
        }
    }
    pattern.is_empty() && text.is_empty()
}

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else { return };
    let (nocase, share) = (first & 1 == 1, usize::from(first >> 1));
    let (pattern, text) = input.split_at(input.len() * share / 127);
    let matches = glob_match(pattern, text, nocase);
    if pattern.len() <= REFERENCE_BYTES_MAX && text.len() <= REFERENCE_BYTES_MAX {
        let expected = reference(pattern, text, nocase, &mut false);
        assert_eq!(matches, expected, "{pattern:?} and {text:?}, nocase {nocase}");
    }
});
