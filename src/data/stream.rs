//! Streams: entries in the order of their ids, and the groups that read them.
//!
//! Entries ([`EntryLog`]), groups and consumers are shared by reference count, so that a snapshot
//! keeps the old form of a stream for a pointer each. Unlike other collections a stream without
//! entries is one: it remembers ids and groups.

use crate::data::stream_group::{ConsumerNumber, Group, Pending};
use crate::data::stream_id::StreamId;
use crate::data::stream_log::{EntryLog, StreamEntry};
use crate::data::{Collection, Form, InOwner, LargeValue, Value, ValueType};
use crate::util::clock::UnixMillis;
use std::sync::Arc;

/// A stream; see the head of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// Its entries.
    pub entries: EntryLog,
    /// In the order of their names.
    groups: Vec<Arc<Group>>,
    /// Bytes of parts of groups that were copied because a clone shared them.
    copied_bytes: usize,
}

impl From<EntryLog> for Stream {
    fn from(entries: EntryLog) -> Self {
        Self { entries, ..Self::default() }
    }
}

/// To whom the next entries of a group go.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// The consumer.
    pub consumer: ConsumerNumber,
    /// Whether they are pending until they are acknowledged.
    pub is_pending: bool,
    /// How many at most.
    pub count: usize,
    /// The present moment.
    pub now: UnixMillis,
}

impl Stream {
    /// Number of pieces that clones share. Cost: O(groups).
    #[must_use]
    pub fn pieces(&self) -> usize {
        let of_groups = self.groups.iter().map(|group| group.pieces()).sum::<usize>();
        self.entries.block_count() + of_groups
    }

    /// Roughly how many bytes it takes. Cost: O(groups).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let of_groups: usize = self.groups.iter().map(|group| group.memory_bytes()).sum();
        size_of::<Self>() + self.entries.memory_bytes() + of_groups
    }

    /// Sets what XSETID sets: the last id, which must not be below that of an entry, and the rest
    /// if it is given.
    pub fn set_figures(
        &mut self,
        last_id: StreamId,
        entries_added: Option<u64>,
        max_deleted_id: Option<StreamId>,
    ) {
        if last_id < self.entries.last_id() {
            // Blocks may come that begin as those did which groups remember.
            for position in 0..self.groups.len() {
                self.change_group(position, |group| group.set_last_id(group.last_id()));
            }
        }
        self.entries.set_figures(last_id, entries_added, max_deleted_id);
    }

    /// How many entries a group has yet to read; `None` when that cannot be known.
    #[must_use]
    pub fn lag(&self, group: &Group) -> Option<i64> {
        self.entries.lag(group.last_id(), group.entries_read)
    }

    /// The groups in the order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &Group> {
        self.groups.iter().map(|group| &**group)
    }

    fn position(&self, name: &[u8]) -> Result<usize, usize> {
        self.groups.binary_search_by(|group| (*group.name).cmp(name))
    }

    /// The group with this name. Cost: O(log n) for n groups.
    #[must_use]
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(self.position(name).ok()?).map(|group| &**group)
    }

    /// Adds a group; false when there is one with its name.
    pub fn add_group(&mut self, group: Group) -> bool {
        match self.position(&group.name) {
            Ok(_) => false,
            Err(position) => {
                self.groups.insert(position, Arc::new(group));
                true
            }
        }
    }

    /// Removes a group; returns it as a stream without entries, yet to be freed.
    pub fn remove_group(&mut self, name: &[u8]) -> Option<Box<Self>> {
        let position = self.position(name).ok()?;
        let groups = vec![self.groups.remove(position)];
        Some(Box::new(Self { groups, ..Self::default() }))
    }

    fn change_group<R>(
        &mut self,
        position: usize,
        change: impl FnOnce(&mut Group) -> R,
    ) -> Option<R> {
        change_group(&mut self.groups, &mut self.copied_bytes, position, change)
    }

    /// Lends the group with this name to `change`; `None` when there is none.
    pub fn with_group<R>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut Group) -> R,
    ) -> Option<R> {
        let position = self.position(name).ok()?;
        self.change_group(position, change)
    }

    /// Gives the next entries of a group to a consumer, and each to `each` after `begin` was told
    /// how many there are. Cost: O(entries + log n).
    pub fn deliver<T>(
        &mut self,
        group: &[u8],
        to: Delivery,
        target: &mut T,
        begin: impl FnOnce(&mut T, usize),
        mut each: impl FnMut(&mut T, &StreamEntry<'_>),
    ) {
        let Ok(position) = self.position(group) else { return };
        let Self { entries, groups, copied_bytes } = self;
        change_group(groups, copied_bytes, position, |group| {
            let mut range = entries.range_behind(group);
            begin(target, range.clone().take(to.count).count());
            for _ in 0..to.count {
                let Some(entry) = range.next() else { break };
                group.entries_read = entries.read_count(group.entries_read, entry.id);
                group.note_delivered(entry.id, range.place());
                each(target, &entry);
                if to.is_pending {
                    let (id, consumer) = (entry.id, to.consumer);
                    group.deliver(Pending { id, delivered: to.now, deliveries: 1, consumer });
                }
            }
        });
    }
}

/// Lends a group to `change`, copied before if a clone shares it.
fn change_group<R>(
    groups: &mut [Arc<Group>],
    copied_bytes: &mut usize,
    position: usize,
    change: impl FnOnce(&mut Group) -> R,
) -> Option<R> {
    let group = groups.get_mut(position)?;
    if Arc::strong_count(group) > 1 {
        *copied_bytes += group.clone_bytes();
    }
    let group = Arc::make_mut(group);
    let result = change(group);
    *copied_bytes += group.take_copied_bytes();
    Some(result)
}

impl Collection for Box<Stream> {
    const TYPE: ValueType = ValueType::Stream;

    fn is_empty(&self) -> bool {
        // A stream without entries is kept.
        false
    }

    fn from_packed(_: InOwner) -> Self {
        // There is no packed form of a stream.
        Self::default()
    }

    fn take_large(stored: &mut LargeValue) -> Option<Self> {
        if !matches!(stored, LargeValue::Stream(_)) {
            return None;
        }
        match std::mem::replace(stored, LargeValue::String(bytes::Bytes::new())) {
            LargeValue::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    #[inline]
    fn in_place(stored: &mut LargeValue) -> Option<&mut Self> {
        match stored {
            LargeValue::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    fn into_form(self) -> Form {
        Form::Large(LargeValue::Stream(self))
    }

    fn into_value(self) -> Value {
        Value::Stream(self)
    }

    fn take_copied_bytes(&mut self) -> usize {
        self.entries.take_copied_bytes() + std::mem::take(&mut self.copied_bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::data::stream_log::{BlockLimits, Trim};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Pairs = Vec<(Vec<u8>, Vec<u8>)>;
    type Owner = (Vec<u8>, i64, u64);

    /// A stream as simple as can be, with one group.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    struct Model {
        entries: BTreeMap<StreamId, Pairs>,
        last_id: StreamId,
        max_deleted_id: StreamId,
        added: u64,
        group_last_id: StreamId,
        pending: BTreeMap<StreamId, Owner>,
        /// Blocks may hold deleted entries with higher ids than those behind them.
        has_lowered: bool,
    }

    #[derive(Debug, Clone)]
    enum Change {
        Add(u64, u64, Pairs, usize),
        Delete(Vec<usize>),
        Trim(u64),
        TrimBelow(usize),
        TrimBlocks(u64, u64),
        Deliver(u8, usize, bool),
        Acknowledge(usize, usize),
        RemoveConsumer(u8),
        SetGroup(usize),
        LowerLastId,
        Hold,
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => (-300_i64..300).prop_map(|n| n.to_string().into_bytes()),
            3 => prop::collection::vec(any::<u8>(), 0..12),
            1 => prop::collection::vec(any::<u8>(), 60..300),
        ]
    }

    fn pairs() -> impl Strategy<Value = Pairs> {
        prop_oneof![
            5 => text().prop_map(|value| vec![(b"name".to_vec(), value)]),
            1 => prop::collection::vec((text(), text()), 1..5),
        ]
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            8 => (0_u64..3, 0_u64..4, pairs(), 1_usize..30)
                .prop_map(|(ms, seq, pairs, times)| Change::Add(ms, seq, pairs, times)),
            3 => prop::collection::vec(any::<usize>(), 1..9).prop_map(Change::Delete),
            1 => (0_u64..60).prop_map(Change::Trim),
            1 => any::<usize>().prop_map(Change::TrimBelow),
            1 => (0_u64..60, 0_u64..40).prop_map(|(len, limit)| Change::TrimBlocks(len, limit)),
            4 => (0_u8..4, 0_usize..20, any::<bool>())
                .prop_map(|(who, count, pends)| Change::Deliver(who, count, pends)),
            3 => (any::<usize>(), 1_usize..20).prop_map(|(at, n)| Change::Acknowledge(at, n)),
            1 => (0_u8..4).prop_map(Change::RemoveConsumer),
            1 => any::<usize>().prop_map(Change::SetGroup),
            1 => Just(Change::LowerLastId),
            1 => Just(Change::Hold),
        ]
    }

    const GROUP: &[u8] = b"group";
    const LIMITS: BlockLimits = BlockLimits { bytes: 2_000, entries: 37 };

    /// An id that there is, or was, or may be.
    fn some_id(model: &Model, index: usize) -> StreamId {
        let there = model.entries.keys().nth(index % (model.entries.len() + 2)).copied();
        there.unwrap_or(StreamId::new(index as u64 % 50, index as u64 % 3))
    }

    fn pairs_of(entry: &StreamEntry<'_>) -> Pairs {
        let mut pairs = Vec::new();
        entry.for_each(|field, value| pairs.push((field.to_vec(), value.to_vec())));
        assert_eq!(pairs.len(), entry.pairs);
        pairs
    }

    fn add(stream: &mut Stream, model: &mut Model, (ms, seq): (u64, u64), pairs: &Pairs) {
        let last = model.last_id;
        let seq = if ms == 0 { last.seq + 1 + seq } else { seq };
        let id = StreamId::new(last.ms + ms, seq);
        let texts = pairs.iter().map(|(field, value)| (&field[..], &value[..]));
        stream.entries.append(id, texts, LIMITS);
        model.entries.insert(id, pairs.clone());
        (model.last_id, model.added) = (id, model.added + 1);
    }

    fn drop_front(model: &mut Model, count: u64) {
        for _ in 0..count {
            model.entries.pop_first().unwrap();
        }
    }

    fn deliver(stream: &mut Stream, model: &mut Model, name: &[u8], count: usize, pends: bool) {
        let now = UnixMillis(model.added as i64);
        let added = stream.with_group(GROUP, |group| group.add_consumer(name, now).0);
        let to = Delivery { consumer: added.unwrap(), is_pending: pends, count, now };
        let (mut told, mut got) = (None, Vec::new());
        let mut both = (&mut told, &mut got);
        stream.deliver(
            GROUP,
            to,
            &mut both,
            |both, count| *both.0 = Some(count),
            |both, entry| both.1.push((entry.id, pairs_of(entry))),
        );
        let new = model.entries.range(model.group_last_id.next().unwrap()..).take(count);
        let expected: Vec<_> = new.map(|(id, pairs)| (*id, pairs.clone())).collect();
        assert_eq!((told, &got), (Some(expected.len()), &expected));
        for (id, _) in expected {
            model.group_last_id = id;
            if pends {
                model.pending.insert(id, (name.to_vec(), now.0, 1));
            }
        }
    }

    fn apply(change: &Change, stream: &mut Stream, model: &mut Model) {
        match change {
            Change::Add(ms, seq, pairs, times) => {
                (0..*times).for_each(|_| add(stream, model, (*ms, *seq), pairs));
            }
            Change::Delete(indexes) => {
                let ids: Vec<_> = indexes.iter().map(|index| some_id(model, *index)).collect();
                let gone = ids.iter().filter(|id| model.entries.remove(id).is_some());
                let gone: Vec<_> = gone.copied().collect();
                assert_eq!(stream.entries.delete(ids.into_iter()), gone.len());
                let highest = gone.into_iter().max().unwrap_or_default();
                model.max_deleted_id = model.max_deleted_id.max(highest);
            }
            Change::Trim(len) => {
                let surplus = (model.entries.len() as u64).saturating_sub(*len);
                assert_eq!(stream.entries.trims(Trim::Length(*len), false, 0), surplus > 0);
                assert_eq!(stream.entries.trim(Trim::Length(*len), false, 0).0, surplus);
                drop_front(model, surplus);
            }
            Change::TrimBelow(index) => {
                let id = some_id(model, *index);
                let below = model.entries.range(..id).count() as u64;
                assert_eq!(stream.entries.trims(Trim::Below(id), false, 0), below > 0);
                let (gone, _) = stream.entries.trim(Trim::Below(id), false, 0);
                // As Redis it stops at a deleted entry that is not below.
                assert!(gone == below || (model.has_lowered && gone < below), "{gone} {below}");
                drop_front(model, gone);
            }
            Change::TrimBlocks(len, limit) => {
                let (gone, _) = stream.entries.trim(Trim::Length(*len), true, *limit);
                assert!(*limit == 0 || gone <= *limit);
                let left = model.entries.len() as u64 - gone;
                assert!(gone == 0 || left >= *len);
                assert!(*limit > 0 || left < len + LIMITS.entries, "{left} {len}");
                drop_front(model, gone);
            }
            Change::Deliver(who, count, pends) => deliver(stream, model, &[*who], *count, *pends),
            Change::Acknowledge(at, times) => {
                for index in *at..at.saturating_add(*times) {
                    let known = model.pending.keys().nth(index % (model.pending.len() + 1));
                    let id = known.copied().unwrap_or_else(|| some_id(model, index));
                    let was_pending = model.pending.remove(&id).is_some();
                    let acknowledged = stream.with_group(GROUP, |group| group.acknowledge(id));
                    assert_eq!(acknowledged, Some(was_pending));
                }
            }
            Change::RemoveConsumer(who) => {
                let before = model.pending.len();
                model.pending.retain(|_, owner| owner.0 != [*who]);
                let removed = stream.with_group(GROUP, |group| group.remove_consumer(&[*who]));
                assert_eq!(removed.flatten().unwrap_or(0), before - model.pending.len());
            }
            Change::SetGroup(index) => {
                model.group_last_id = some_id(model, *index);
                stream.with_group(GROUP, |group| group.set_last_id(model.group_last_id));
            }
            Change::LowerLastId => {
                let last = model.entries.keys().next_back().copied().unwrap_or_default();
                stream.set_figures(last, None, None);
                (model.last_id, model.has_lowered) = (last, true);
            }
            Change::Hold => {}
        }
    }

    fn contents(stream: &Stream) -> Model {
        let entries = stream.entries.range(StreamId::MIN, StreamId::MAX);
        let figures = stream.entries.figures();
        let group = stream.group(GROUP).unwrap();
        let pending = group.pending().iter().map(|pending| {
            let owner = group.consumer(pending.consumer).unwrap();
            assert!(owner.pending.get(pending.id).is_some());
            (pending.id, (owner.name.to_vec(), pending.delivered.0, pending.deliveries))
        });
        assert!(group.is_whole());
        assert_eq!(figures.first_id, stream.entries.first_living().unwrap_or_default());
        Model {
            entries: entries.map(|entry| (entry.id, pairs_of(&entry))).collect(),
            last_id: figures.last_id,
            max_deleted_id: figures.max_deleted_id,
            added: figures.entries_added,
            group_last_id: group.last_id(),
            pending: pending.collect(),
            has_lowered: false,
        }
    }

    fn check_ranges(stream: &Stream, model: &Model, (a, b): (usize, usize)) {
        let (from, to) = (some_id(model, a), some_id(model, b));
        let found: Vec<_> = stream.entries.range(from, to).map(|entry| entry.id).collect();
        let ids = model.entries.keys();
        let expected: Vec<_> = ids.filter(|id| (from..=to).contains(*id)).copied().collect();
        assert_eq!(found, expected);
        let mut back: Vec<_> = stream.entries.range_back(from, to).map(|entry| entry.id).collect();
        back.reverse();
        assert_eq!(back, expected);
        let entry = stream.entries.get(from).map(|entry| pairs_of(&entry));
        assert_eq!(entry.as_ref(), model.entries.get(&from));
        assert_eq!(stream.entries.last_living(), model.entries.keys().next_back().copied());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn behaves_like_its_model_and_never_changes_a_held_copy(
            changes in prop::collection::vec((change(), any::<(usize, usize)>()), 0..60)
        ) {
            let (mut stream, mut model) = (Stream::default(), Model::default());
            stream.add_group(Group::new(GROUP, StreamId::MIN, None));
            let mut held = None;
            for (change, probe) in &changes {
                if matches!(change, Change::Hold) {
                    held = Some((stream.clone(), model.clone()));
                }
                apply(change, &mut stream, &mut model);
                prop_assert_eq!(stream.entries.len() as usize, model.entries.len());
                check_ranges(&stream, &model, *probe);
            }
            model.has_lowered = false;
            prop_assert_eq!(contents(&stream), model);
            if let Some((copy, mut before)) = held {
                before.has_lowered = false;
                prop_assert_eq!(contents(&copy), before);
            }
        }

        #[test]
        fn blocks_come_back_from_their_listpacks(
            changes in prop::collection::vec(change(), 0..40), flip in any::<(usize, u8)>()
        ) {
            let (mut stream, mut model) = (Stream::default(), Model::default());
            stream.add_group(Group::new(GROUP, StreamId::MIN, None));
            for change in changes.iter().filter(|change| !matches!(change, Change::LowerLastId)) {
                apply(change, &mut stream, &mut model);
            }
            let (mut restored, mut damaged) = (Stream::default(), Stream::default());
            let mut faults = 0;
            stream.entries.for_each_block(|first, write| {
                let mut listpack = Vec::new();
                write(&mut listpack);
                restored.entries.restore_block(first, &listpack).unwrap();
                let at = flip.0 % listpack.len();
                listpack[at] = flip.1;
                faults += usize::from(damaged.entries.restore_block(first, &listpack).is_err());
            });
            let figures = stream.entries.figures();
            let rest = (figures.first_id, figures.max_deleted_id, figures.entries_added);
            restored.entries.restore_figures(figures.len, figures.last_id, Some(rest)).unwrap();
            prop_assert_eq!(&restored.entries, &stream.entries);
            // Whatever was taken over can be walked through.
            let _ = damaged.entries.range(StreamId::MIN, StreamId::MAX).count();
            let _ = damaged.entries.range_back(StreamId::MIN, StreamId::MAX).count();
        }
    }

    #[test]
    fn a_change_copies_only_what_it_touches() {
        let mut stream = Box::<Stream>::default();
        for n in 1..=10_000 {
            let pairs = [(&b"field"[..], &b"value"[..])];
            stream.entries.append(StreamId::new(n, 0), pairs.into_iter(), BlockLimits::default());
        }
        stream.add_group(Group::new(GROUP, StreamId::MIN, Some(0)));
        deliver_all(&mut stream);
        stream.take_copied_bytes();
        let held = stream.clone();
        stream.entries.delete([StreamId::new(5_010, 0)].into_iter());
        assert!((500..5_000).contains(&stream.take_copied_bytes()));
        stream.with_group(GROUP, |group| group.acknowledge(StreamId::new(5_010, 0)));
        let copied = stream.take_copied_bytes();
        // A pointer for each piece, and two pieces.
        assert!((2_000..60_000).contains(&copied), "{copied}");
        stream.with_group(GROUP, |group| group.acknowledge(StreamId::new(5_011, 0)));
        assert_eq!(stream.take_copied_bytes(), 0);
        assert_eq!((held.entries.len(), stream.entries.len()), (10_000, 9_999));
        assert_eq!(held.group(GROUP).unwrap().pending().len(), 10_000);
    }

    fn deliver_all(stream: &mut Stream) {
        let now = UnixMillis(1);
        let (consumer, _) = stream.with_group(GROUP, |g| g.add_consumer(b"c", now)).unwrap();
        let to = Delivery { consumer, is_pending: true, count: usize::MAX, now };
        stream.deliver(GROUP, to, &mut (), |(), _| (), |(), _| ());
    }
}
