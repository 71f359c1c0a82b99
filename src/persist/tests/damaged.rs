//! What is no dump, or was one: it is refused, and the reason says where and why.

use super::*;

#[test]
fn every_truncation_is_refused() {
    for name in SAMPLES {
        let file = sample(name);
        for length in 0..file.len() {
            let cut = &file[..length];
            let error = read(cut, UNCHECKED).expect_err("a cut file was accepted");
            assert!(error.offset <= length as u64, "{name} cut at {length}: {error}");
            // A file that becomes shorter while it is read.
            let error = read_from(cut, file.len() as u64, UNCHECKED).expect_err("as above");
            assert!(error.offset <= length as u64, "{name} cut at {length}: {error}");
        }
    }
}

#[test]
fn every_change_of_one_byte_is_refused_by_the_checksum_and_harmless_without_it() {
    let mut random = Random::seeded();
    for name in SAMPLES {
        let file = sample(name);
        let has_checksum = file[file.len() - 8..] != [0; 8] && name != "redis-2.4.18";
        for _ in 0..2_000 {
            let mut changed = file.clone();
            let at = random.below(file.len() as u64) as usize;
            changed[at] ^= 1 + random.below(255) as u8;
            if has_checksum {
                let error = read(&changed, ReadOptions::default());
                assert!(error.is_err(), "{name}: byte {at} = {}", changed[at]);
            }
            match read(&changed, UNCHECKED) {
                Ok(items) => assert!(matches!(items.last(), Some(Item::End(_)))),
                Err(error) => assert!(error.to_string().len() < 2_000, "{error}"),
            }
        }
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut file = sample("redis-7.0.15");
    file.push(0);
    let error = read(&file, ReadOptions::default()).unwrap_err();
    assert!(matches!(error.reason, Reason::TrailingBytes(1)), "{error}");
}

#[test]
fn files_that_are_no_dump_are_refused() {
    let reason = |file: &[u8]| read(file, ReadOptions::default()).unwrap_err().reason;
    assert!(matches!(reason(b""), Reason::Truncated { wanted_bytes: 9, remaining_bytes: 0 }));
    assert!(matches!(reason(b"#!/bin/sh\nexit"), Reason::NotADump));
    assert!(matches!(reason(b"REDIS00x9\xFF12345678"), Reason::NotADump));
    assert!(matches!(reason(b"REDIS0013\xFF12345678"), Reason::UnsupportedVersion(13)));
    assert!(matches!(reason(b"REDIS0000\xFF12345678"), Reason::UnsupportedVersion(0)));
    assert!(matches!(reason(b"VALKEY080\xFF12345678"), Reason::ValkeyFormat));
    assert!(read(b"REDIS0001\xFF", ReadOptions::default()).is_ok());
    assert!(read(b"REDIS0012\xFF\0\0\0\0\0\0\0\0", ReadOptions::default()).is_ok());
}

#[test]
fn announced_lengths_are_held_against_the_bytes_left() {
    for body in [
        &b"\x00\x01k\x81\x40\0\0\0\0\0\0\0"[..],
        b"\x00\x81\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\x00\x01k\x80\x7F\xFF\xFF\xFF",
        b"\x00\x01k\xC3\x81\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x05",
    ] {
        assert!(matches!(refusal(body).reason, Reason::Truncated { .. }), "{body:x?}");
    }
    for kind in [1, 2, 3, 4, 5, 14, 18] {
        let mut body = vec![kind, 1, b'k', 0x81];
        body.extend_from_slice(&u64::MAX.to_be_bytes());
        let error = refusal(&body);
        assert!(matches!(error.reason, Reason::CountBeyondFile { .. }), "{error}");
        assert_eq!(error.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(error.offset, 12);
    }
    for plain in [&b"\x80\x00\x00\x02\x0A"[..], b"\x81\0\0\0\x7F\0\0\0\0", b"\x80\xFF\xFF\xFF\xFF"]
    {
        let body = [b"\x00\x01k\xC3\x05", plain, b"\x00aaaa"].concat();
        let error = refusal(&body);
        match error.reason {
            Reason::LzfTooLong { packed_bytes, .. } => assert_eq!(packed_bytes, 5),
            // 522 = 6 x 88 - 6 is within the ratio, but not what these bytes unpack to.
            Reason::Lzf(_) => assert_eq!(plain[3..], [0x02, 0x0A]),
            _ => panic!("{error}"),
        }
    }
}

#[test]
fn records_before_a_key_belong_to_that_key_alone() {
    let body = [
        &b"\xF4\x05\x40\x64\x03"[..], // slot 5, 100 keys, 3 with a deadline
        b"\xFC\x10\x27\0\0\0\0\0\0\xF8\x40\xFF\x00\x01a\x01x",
        b"\xF9\x07\x00\x01b\x01y",
        b"\xFD\x02\0\0\0\x00\x01c\x01z",
        b"\xFC\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x00\x01d\x01w",
    ]
    .concat();
    let items = read(&file_of(&body), ReadOptions::default()).unwrap();
    let read: Vec<_> =
        entries(&items).iter().map(|entry| (entry.key[0], entry.deadline_ms)).collect();
    assert_eq!(read, [(b'a', Some(10_000)), (b'b', None), (b'c', Some(2_000)), (b'd', None)]);
}

#[test]
fn damaged_values_are_refused_with_their_key() {
    let nan = f64::NAN.to_le_bytes();
    let cases: [(&str, Vec<u8>); 12] = [
        ("\"x\" is in it twice", b"\x02\x01k\x02\x01x\x01x".to_vec()),
        ("\"1\" is in it twice", b"\x02\x01k\x02\x011\xC0\x01".to_vec()),
        ("\"f\" is in it twice", b"\x04\x01k\x02\x01f\x01v\x01f\x01w".to_vec()),
        ("\"m\" is in it twice", b"\x03\x01k\x02\x01m\x011\x01m\x012".to_vec()),
        ("a score is not a number", [b"\x05\x01k\x01\x01m", &nan[..]].concat()),
        ("a score is not a number", b"\x03\x01k\x01\x01m\xFD".to_vec()),
        ("a score is not a number", b"\x03\x01k\x01\x01m\x03abc".to_vec()),
        ("a score is not a number", b"\x03\x01k\x01\x01m\x03nan".to_vec()),
        ("type 7 (module value) is not supported", b"\x07\x01k".to_vec()),
        ("a list node of the unknown form 3", b"\x12\x01k\x01\x03\x01x".to_vec()),
        ("starts with the unknown byte 0xc4", b"\x00\x01k\xC4".to_vec()),
        ("starts with the unknown byte 0x82", b"\x00\x01k\x82".to_vec()),
    ];
    for (message, body) in cases {
        let error = refusal(&body).to_string();
        assert!(error.contains(", key \"k\": ") && error.contains(message), "{error}");
    }
}

#[test]
fn unknown_and_unsupported_records_are_refused() {
    for code in [8, 26, 100, 243] {
        let error = refusal(&[code, 1, b'k']);
        assert!(matches!(error.reason, Reason::UnknownCode(byte) if byte == code), "{error}");
    }
    let error = refusal(&[247, 1, b'k']);
    assert!(matches!(error.reason, Reason::UnsupportedRecord { .. }), "{error}");
}

#[test]
fn duplicates_among_many_are_found_and_can_be_left_to_others() {
    let mut members: Vec<String> = (0..5_000).map(|i| format!("member {i}")).collect();
    members[4_999] = members[17].clone();
    let record = |value| [(b"k".to_vec(), None, value)];
    let file = write(&record(RdbValue::Set(members.iter().collect())), true, true);
    let error = read(&file, ReadOptions::default()).unwrap_err();
    assert!(matches!(&error.reason, Reason::Duplicate(member) if member == b"member 17"));
    let options = ReadOptions { check_duplicates: false, ..ReadOptions::default() };
    assert_eq!(entries(&read(&file, options).unwrap())[0].value.len(), 5_000);
    // The same value under two fields, the same element twice in a list: no duplicates.
    let mut pairs = Pairs::default();
    (0..100).for_each(|i| pairs.push(format!("{i}").as_bytes(), b"1"));
    let list: Elements = std::iter::repeat_n("1", 100).collect();
    for value in [RdbValue::Hash(pairs), RdbValue::List(list)] {
        assert!(read(&write(&record(value), true, true), ReadOptions::default()).is_ok());
    }
}

#[test]
fn empty_collections_are_told_apart() {
    for kind in [1, 2, 3, 4, 5, 14, 18] {
        let items = read(&file_of(&[kind, 1, b'k', 0]), ReadOptions::default()).unwrap();
        assert_eq!(items[0], Item::EmptyCollection { key: b"k".to_vec() });
        assert_eq!(items.len(), 2);
    }
}

#[test]
fn long_keys_are_escaped_and_cut_in_messages() {
    let mut body = vec![0x07];
    encode_string(&mut body, &b"\r\n\"\xFF".repeat(1_000), None);
    let message = refusal(&body).to_string();
    assert!(message.starts_with("at byte 9, key \"\\r\\n\\\"\\xff\\r"), "{message}");
    assert!(message.contains("... (4000 bytes)") && message.len() < 400, "{message}");
    assert!(!message.contains('\n'));
}

#[test]
fn a_large_string_is_read_past_the_buffer() {
    for length in [BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 1_500_000] {
        let record = [(noise(40, 1), None, RdbValue::String(noise(length, 2)))];
        let file = write(&record, true, true);
        let items = read(&file, ReadOptions::default()).unwrap();
        assert_eq!(end_state(&items), ChecksumState::Verified);
        assert_eq!(entries(&items)[0].value, record[0].2);
        let repeated = RdbValue::String(noise(1_000, 3).repeat(length / 500));
        let file = write(&[(b"k".to_vec(), None, repeated.clone())], true, true);
        assert!(file.len() < length);
        let items = read(&file, ReadOptions::default()).unwrap();
        assert_eq!(entries(&items)[0].value, repeated);
    }
}
