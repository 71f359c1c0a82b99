//! Fuzz target: any bytes as a number, and any number as text. What is read is what the standard
//! library and C's `strtod` read, as strictly as Redis does; what is printed is what C's `%.17g`
//! prints, and is read again as the same number.

#![no_main]

use libfuzzer_sys::fuzz_target;
use my_redis::util::extended::Extended;
use my_redis::util::number::{
    IntegerText, format_f64, parse_cursor, parse_f64, parse_i64, parse_prefix, parse_u64,
};
use std::ffi::CString;

/// A number of the standard library whose text is the one in which it is printed.
fn canonical<N: std::str::FromStr + ToString>(text: &[u8]) -> Option<N> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse::<N>().ok().filter(|number| number.to_string() == text)
}

/// `string2d` of Redis 7.0.15.
fn string_to_double(text: &[u8]) -> Option<f64> {
    let c_text = CString::new(text).ok()?;
    let mut end = std::ptr::null_mut();
    // SAFETY: the text ends with a zero byte, and `end` is set to a place in it.
    let (number, used, is_out_of_range) = unsafe {
        *libc::__errno_location() = 0;
        let number = libc::strtod(c_text.as_ptr(), &raw mut end);
        let used = end.offset_from(c_text.as_ptr());
        (number, used, *libc::__errno_location() == libc::ERANGE)
    };
    let is_blank = text.first().is_some_and(|byte| byte.is_ascii_whitespace() || *byte == 0x0b);
    let is_lost = is_out_of_range && (number.is_infinite() || number == 0.0);
    let is_whole = used == text.len() as isize && !text.is_empty();
    (is_whole && !is_blank && !is_lost && !number.is_nan()).then_some(number)
}

/// `%.17g` of C.
fn printed(number: f64) -> Vec<u8> {
    let mut buffer = [0_u8; 64];
    // SAFETY: the length is that of the buffer, and the format wants one double.
    let len = unsafe {
        libc::snprintf(buffer.as_mut_ptr().cast(), buffer.len(), c"%.17g".as_ptr(), number)
    };
    buffer[..usize::try_from(len).expect("a short text")].to_vec()
}

fn check_float(number: f64) {
    let text = format_f64(number);
    if number.is_nan() {
        assert_eq!(&text[..], b"nan");
        return;
    }
    let expected = printed(number);
    let shown = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(&text[..], expected, "{number:e} is printed as {shown}");
    let read = parse_f64(&text);
    assert_eq!(read.map(f64::to_bits), Some(number.to_bits()), "{shown} is read as {read:?}");
}

fuzz_target!(|input: &[u8]| {
    assert_eq!(parse_i64(input), canonical::<i64>(input));
    assert_eq!(parse_u64(input), canonical::<u64>(input));
    let (read, expected) = (parse_f64(input), string_to_double(input));
    if !input.contains(&0) {
        assert_eq!(read.map(f64::to_bits), expected.map(f64::to_bits), "{input:?}");
    }
    if let Some(number) = canonical::<i64>(input) {
        assert_eq!(IntegerText::new().format_i64(number), input);
        if number != i64::MIN {
            assert_eq!(parse_prefix(input), number);
        }
    }
    if let Some(number) = canonical::<u64>(input) {
        assert_eq!(parse_cursor(input), Some(number));
    }
    let _any = parse_cursor(input);
    let _any = parse_prefix(input);
    if let Some(number) = Extended::parse(input)
        && !number.is_infinite()
    {
        let text = number.to_text();
        assert!(Extended::parse(&text).is_some(), "{}", String::from_utf8_lossy(&text));
    }
    if let Some(bytes) = input.first_chunk::<8>() {
        let bits = u64::from_le_bytes(*bytes);
        check_float(f64::from_bits(bits));
        check_float(bits as f64);
        check_float(bits as i64 as f64 / 1_000.0);
        assert_eq!(IntegerText::new().format_u64(bits), bits.to_string().as_bytes());
    }
});
