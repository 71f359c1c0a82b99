//! Blocks of streams beside a row of entries as simple as can be, and beside Redis' listpack of
//! them as written by code of its own.

use super::*;
use crate::data::stream_element::tests::text;
use proptest::prelude::*;

/// An entry: its id, its texts in turn, and whether it was deleted.
type Entry = (StreamId, Vec<Vec<u8>>, bool);

#[derive(Debug, Clone)]
enum Change {
    /// So much later in milliseconds and numbers, several times, with these texts.
    Add(u64, u64, usize, Vec<Vec<u8>>),
    Delete(Vec<usize>),
    DeleteFront(usize),
}

fn far() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0_u64..2,
        2 => 0_u64..40,
        1 => (0_u32..50).prop_map(|bits| 1 << bits),
    ]
}

fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop_oneof![
        4 => text().prop_map(|value| vec![b"name".to_vec(), value]),
        2 => (text(), text()).prop_map(|(field, value)| vec![field, value]),
        1 => prop::collection::vec((text(), text()), 1..70)
            .prop_map(|pairs| pairs.into_iter().flat_map(|(a, b)| [a, b]).collect()),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (far(), far(), 1_usize..20, texts())
            .prop_map(|(ms, seq, times, texts)| Change::Add(ms, seq, times, texts)),
        2 => prop::collection::vec(any::<usize>(), 1..9).prop_map(Change::Delete),
        1 => (0_usize..20).prop_map(Change::DeleteFront),
    ]
}

/// What may be added behind these entries: an id above all that are there. Deleted ones may
/// have higher ids, because XSETID can set the last id of a stream below theirs.
fn id_behind(entries: &[Entry], ms: u64, seq: u64) -> StreamId {
    let living = entries.iter().rev().find(|entry| !entry.2);
    let last = living.map_or(entries[0].0, |entry| entry.0);
    match last.ms.checked_add(ms) {
        Some(later) if ms > 0 => StreamId::new(later, seq),
        _ => StreamId::new(last.ms, last.seq.saturating_add(1).saturating_add(seq)),
    }
}

fn pairs(texts: &[Vec<u8>]) -> impl Pairs<'_> {
    texts.chunks(2).map(|pair| (&pair[0][..], &pair[1][..]))
}

fn push(block: &mut Block, id: StreamId, texts: &[Vec<u8>]) {
    let bytes = texts.iter().map(Vec::len).sum();
    block.push(id, pairs(texts), (texts.len() / 2, bytes));
}

fn delete(block: &mut Block, entries: &mut [Entry], index: usize) {
    let id = entries[index].0;
    if let Some((_, place)) = block.get(id) {
        block.delete(place);
        entries.iter_mut().find(|entry| entry.0 == id && !entry.2).unwrap().2 = true;
    }
}

fn apply(change: &Change, block: &mut Block, entries: &mut Vec<Entry>) {
    match change {
        Change::Add(ms, seq, times, texts) => {
            for _ in 0..*times {
                let id = id_behind(entries, *ms, *seq);
                push(block, id, texts);
                entries.push((id, texts.clone(), false));
            }
        }
        Change::Delete(indexes) => {
            for index in indexes {
                let index = index % entries.len();
                delete(block, entries, index);
            }
        }
        Change::DeleteFront(count) => {
            let living = entries.iter_mut().filter(|entry| !entry.2);
            let gone = living.take(*count).map(|entry| entry.2 = true).count();
            assert_eq!(block.delete_front(|_, gone| gone < *count), gone);
        }
    }
}

fn texts_of(entry: &StreamEntry<'_>) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    entry.for_each(|field, value| texts.extend([field.to_vec(), value.to_vec()]));
    assert_eq!(texts.len(), 2 * entry.pairs);
    texts
}

fn block_of(changes: &[Change], first: StreamId, texts: &[Vec<u8>]) -> (Block, Vec<Entry>) {
    let mut block = Block::new(first, pairs(texts), None);
    push(&mut block, first, texts);
    let mut entries = vec![(first, texts.to_vec(), false)];
    changes.iter().for_each(|change| apply(change, &mut block, &mut entries));
    (block, entries)
}

/// All entries, read forward.
fn all(block: &Block) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut place = block.start();
    while let Some((entry, next)) = block.entry(place) {
        entries.push((entry.id, texts_of(&entry), entry.is_deleted));
        place = next;
    }
    assert_eq!(place, block.end());
    entries
}

/// The ids of those that are there, read backwards from before `end`.
fn ids_back(block: &Block, end: Place) -> Vec<StreamId> {
    let (mut group, mut places) = block.group_up_to(end);
    let mut ids = Vec::new();
    loop {
        ids.extend(places.iter().rev().map(|place| block.entry_at(*place).unwrap().id));
        let Some(before) = block.group_before(group) else { return ids };
        (places, group) = (block.living_places(before, group), before);
    }
}

fn check_search(block: &Block, living: &[StreamId], id: StreamId) {
    let place = block.find(id);
    let behind = block.living(place).map(|(entry, _)| entry.id);
    assert_eq!(behind, living.iter().copied().find(|there| *there >= id), "{id:?}");
    let before = living.iter().rev().copied().filter(|there| *there < id);
    assert_eq!(ids_back(block, place), before.collect::<Vec<_>>(), "{id:?}");
    let found = block.get(id).map(|(entry, _)| entry.id);
    assert_eq!(found, living.contains(&id).then_some(id));
}

/// An element as Redis writes it, told apart from the code that is tested.
fn redis_element(out: &mut Vec<u8>, text: &[u8]) {
    let start = out.len();
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    match number.filter(|number| number.to_string().as_bytes() == text) {
        Some(number @ 0..=127) => out.push(number as u8),
        Some(number @ -4096..=4095) => {
            out.extend(((number as u16 & 0x1FFF) | 0xC000).to_be_bytes());
        }
        Some(number) => {
            let widths = [(0xF1, 2), (0xF2, 3), (0xF3, 4), (0xF4, 8)];
            let fits = |(_, width): &(u8, usize)| matches!(number >> (8 * width - 1), 0 | -1);
            let (code, width) = widths.into_iter().find(fits).unwrap();
            out.push(code);
            out.extend(&number.to_le_bytes()[..width]);
        }
        None => {
            match text.len() {
                len @ ..64 => out.push(0x80 + len as u8),
                len @ ..4096 => out.extend([0xE0 + (len >> 8) as u8, len as u8]),
                len => out.extend([&[0xF0][..], &(len as u32).to_le_bytes()].concat()),
            }
            out.extend(text);
        }
    }
    match out.len() - start {
        len @ ..128 => out.push(len as u8),
        len => out.extend([(len >> 7) as u8, len as u8 & 0x7F | 0x80]),
    }
}

/// The listpack that Redis would have of these entries.
fn redis_listpack(entries: &[Entry]) -> Vec<u8> {
    let (mut body, mut elements) = (Vec::new(), 0_usize);
    let mut put = |text: &[u8]| {
        redis_element(&mut body, text);
        elements += 1;
    };
    let (first, texts, _) = &entries[0];
    let deleted = entries.iter().filter(|entry| entry.2).count();
    let fields: Vec<_> = texts.iter().step_by(2).collect();
    for number in [entries.len() - deleted, deleted, fields.len()] {
        put(number.to_string().as_bytes());
    }
    fields.iter().for_each(|field| put(field));
    put(b"0");
    for (id, texts, is_deleted) in entries {
        let is_same = texts.iter().step_by(2).collect::<Vec<_>>() == fields;
        put((u8::from(*is_deleted) + 2 * u8::from(is_same)).to_string().as_bytes());
        put((id.ms.wrapping_sub(first.ms) as i64).to_string().as_bytes());
        put((id.seq.wrapping_sub(first.seq) as i64).to_string().as_bytes());
        if is_same {
            texts.iter().skip(1).step_by(2).for_each(|value| put(value));
            put((3 + texts.len() / 2).to_string().as_bytes());
        } else {
            put((texts.len() / 2).to_string().as_bytes());
            texts.iter().for_each(|text| put(text));
            put((4 + texts.len()).to_string().as_bytes());
        }
    }
    let len = (body.len() + 7) as u32;
    let count = elements.min(0xFFFF) as u16;
    [&len.to_le_bytes()[..], &count.to_le_bytes(), &body, &[0xFF]].concat()
}

fn first_id() -> impl Strategy<Value = StreamId> {
    (far(), far()).prop_map(|(ms, seq)| StreamId::new(ms + 1, seq))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn entries_are_found_and_read_both_ways(
        first in first_id(), texts in texts(), changes in prop::collection::vec(change(), 0..12),
        probes in prop::collection::vec((any::<usize>(), 0_u64..3), 8)
    ) {
        let (block, entries) = block_of(&changes, first, &texts);
        prop_assert_eq!(&all(&block), &entries);
        let living: Vec<_> = entries.iter().filter(|entry| !entry.2).map(|e| e.0).collect();
        prop_assert_eq!(block.count as usize, living.len());
        prop_assert_eq!((block.count + block.deleted) as usize, entries.len());
        prop_assert_eq!(block.last_living(), living.last().copied());
        let mut back = ids_back(&block, block.end());
        back.reverse();
        prop_assert_eq!(&back, &living);
        for (index, by) in probes {
            let id = entries[index % entries.len()].0;
            let near = StreamId::new(id.ms, (id.seq + by).saturating_sub(1));
            check_search(&block, &living, near);
        }
        check_search(&block, &living, StreamId::MIN);
        check_search(&block, &living, StreamId::MAX);
    }

    #[test]
    fn a_block_is_the_listpack_that_redis_would_have(
        first in first_id(), texts in texts(), changes in prop::collection::vec(change(), 0..12),
    ) {
        let (mut block, entries) = block_of(&changes, first, &texts);
        let mut listpack = Vec::new();
        block.write_listpack(&mut listpack);
        prop_assert_eq!(&listpack, &redis_listpack(&entries));
        prop_assert_eq!(listpack.len(), block.listpack_bytes());
        let restored = Block::parse_listpack(first, &listpack).unwrap();
        prop_assert_eq!(&restored, &block);
        // One that came out of a dump goes on as the other one.
        let (mut restored, mut again) = (restored, entries.clone());
        for (block, entries) in [(&mut block, &mut again), (&mut restored, &mut entries.clone())]
        {
            apply(&Change::Add(0, 0, 20, texts.clone()), block, entries);
        }
        prop_assert_eq!(&restored, &block);
        prop_assert_eq!(all(&block), again);
    }

    #[test]
    fn ids_of_deleted_entries_say_nothing(
        added in prop::collection::vec((1_u64..4, any::<bool>(), 0_u64..300), 1..90)
    ) {
        let texts = vec![b"a".to_vec(), b"b".to_vec()];
        let mut last = StreamId::new(100, 0);
        let mut entries = vec![(last, texts.clone(), false)];
        for (by, is_deleted, any) in added {
            let id = if is_deleted { any } else { last.ms + by };
            entries.push((StreamId::new(id, 0), texts.clone(), is_deleted));
            last.ms = if is_deleted { last.ms } else { id };
        }
        let block = Block::parse_listpack(entries[0].0, &redis_listpack(&entries)).unwrap();
        prop_assert_eq!(&all(&block), &entries);
        let living: Vec<_> = entries.iter().filter(|entry| !entry.2).map(|e| e.0).collect();
        for id in 95..last.ms + 5 {
            check_search(&block, &living, StreamId::new(id, 0));
        }
    }

    #[test]
    fn no_listpack_upsets_a_block(
        first in first_id(), texts in texts(), changes in prop::collection::vec(change(), 0..4),
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)
    ) {
        let (block, _) = block_of(&changes, first, &texts);
        let mut listpack = Vec::new();
        block.write_listpack(&mut listpack);
        for (at, byte) in damage {
            let at = at % listpack.len();
            listpack[at] = byte;
        }
        if let Ok(mut block) = Block::parse_listpack(first, &listpack) {
            let entries = all(&block);
            let mut again = Vec::new();
            block.write_listpack(&mut again);
            prop_assert_eq!(again.len(), block.listpack_bytes());
            prop_assert_eq!(&Block::parse_listpack(first, &again).unwrap(), &block);
            let back = ids_back(&block, block.end());
            prop_assert_eq!(back.len(), block.count as usize);
            for (id, _, _) in &entries {
                if let Some((_, place)) = block.get(*id) {
                    block.delete(place);
                }
            }
            let count = block.count as usize;
            prop_assert_eq!(block.delete_front(|_, _| true), count);
        }
    }
}

#[test]
fn an_entry_takes_little_more_than_its_values() {
    let texts = ["field0", "xxxxxxxx", "field1", "xxxxxxxx"].map(|text| text.as_bytes().to_vec());
    let first = StreamId::new(1_700_000_000_000, 0);
    let mut block = Block::new(first, pairs(&texts), None);
    for number in 0..100 {
        push(&mut block, StreamId::new(first.ms + number, 0), &texts);
    }
    // One byte beside the values and their two heads; links and steps of six groups.
    assert_eq!(block.len_bytes() - block.start_at(), 100 * (2 * 9 + 1) + 1 + 6 * 2 + 5);
    block.close();
    assert_eq!((block.room(), block.count), (2048, 100));
    let next = Block::new(first, pairs(&texts), Some(&block));
    assert_eq!(next.room(), 2048);
}

#[test]
fn room_is_of_the_allocators_sizes() {
    let sizes = [1, 16, 17, 128, 129, 160, 161, 2048, 2049, 3000, 4096, 4097, 1 << 20];
    let expected = [16, 16, 32, 128, 160, 160, 192, 2048, 2560, 3072, 4096, 5120, 1 << 20];
    assert_eq!(sizes.map(allocated_bytes), expected);
}
