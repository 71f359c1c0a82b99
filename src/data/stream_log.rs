//! The entries of a stream, in the order of their ids, and what it remembers of them.
//!
//! The blocks hold what Redis' listpacks hold and are filled by the same rules, so that trimming by
//! whole blocks takes the same entries, and each is a listpack of a dump. They stand in a row by
//! their first ids, which is searched by halving; entries are added to the last.
//! A radix tree was rejected: ids only grow, and the row takes 24 bytes a block.
//!
//! Blocks, and pieces of the row, are shared by reference count: cloning copies one pointer for
//! each piece, and a change afterwards copies only the block that it touches and its piece.

use crate::data::id_sequence::{HasId, IdSequence, Position};
use crate::data::stream_block::{Block, Place, Places};
pub use crate::data::stream_block::{Pairs, StreamEntry};
use crate::data::stream_group::{Cursor, Group};
use crate::data::stream_id::StreamId;
pub use crate::data::stream_listpack::BlockFault;
use std::cmp::Ordering;
use std::sync::Arc;

/// So many blocks at most stand for all when the memory is judged.
const SAMPLED_BLOCKS_MAX: usize = 16;
/// Redis lets no block grow beyond this, whatever is configured.
const BLOCK_BYTES_LIMIT: usize = 1 << 30;
/// Fields and values of one entry have so many bytes together at most.
pub const ENTRY_BYTES_MAX: usize = 1 << 30;

/// How large blocks become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockLimits {
    /// Bytes (stream-node-max-bytes); 0 for no limit.
    pub bytes: u64,
    /// Entries, deleted ones included (stream-node-max-entries); 0 for no limit.
    pub entries: u64,
}

impl Default for BlockLimits {
    fn default() -> Self {
        Self { bytes: 4096, entries: 100 }
    }
}

/// Which entries trimming takes from the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trim {
    /// Those beyond so many.
    Length(u64),
    /// Those with lower ids.
    Below(StreamId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    first: StreamId,
    block: Arc<Block>,
}

impl HasId for Slot {
    #[inline]
    fn id(&self) -> StreamId {
        self.first
    }
}

/// The entries of a stream; see the head of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryLog {
    blocks: IdSequence<Slot>,
    figures: LogFigures,
    /// Bytes of blocks that were copied because a clone shared them.
    copied_bytes: usize,
}

/// What a stream remembers beside its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogFigures {
    /// Number of entries.
    pub len: u64,
    /// The highest id that there ever was.
    pub last_id: StreamId,
    /// The id of the first entry, 0-0 when there is none.
    pub first_id: StreamId,
    /// The highest id that was deleted by itself.
    pub max_deleted_id: StreamId,
    /// How many entries were ever added.
    pub entries_added: u64,
}

/// The block for changing; a shared one is copied and counted.
fn own<'a>(block: &'a mut Arc<Block>, copied_bytes: &mut usize) -> &'a mut Block {
    if Arc::strong_count(block) > 1 {
        *copied_bytes += block.len_bytes();
    }
    Arc::make_mut(block)
}

impl EntryLog {
    /// What it remembers.
    #[must_use]
    pub fn figures(&self) -> LogFigures {
        self.figures
    }

    /// Number of entries. Cost: O(1).
    #[must_use]
    pub fn len(&self) -> u64 {
        self.figures.len
    }

    /// True when there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.figures.len == 0
    }

    /// The highest id that there ever was.
    #[must_use]
    pub fn last_id(&self) -> StreamId {
        self.figures.last_id
    }

    /// Number of blocks.
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// The first id of each block, in order.
    pub fn block_ids(&self) -> impl Iterator<Item = StreamId> {
        self.blocks.iter().map(|slot| slot.first)
    }

    /// Calls `each` with each block: its first id, and a function that appends its listpack.
    pub fn for_each_block(&self, mut each: impl FnMut(StreamId, &dyn Fn(&mut Vec<u8>))) {
        for slot in self.blocks.iter() {
            each(slot.first, &|out| slot.block.write_listpack(out));
        }
    }

    /// Roughly how many bytes it takes, judged by some blocks. Cost: O(1).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let sampled = self.blocks.some(SAMPLED_BLOCKS_MAX);
        let (count, bytes) = sampled.fold((0_usize, 0_usize), |(count, bytes), slot| {
            (count + 1, bytes + slot.block.room() + size_of::<Block>() + size_of::<Slot>())
        });
        bytes / count.max(1) * self.blocks.len()
    }

    pub(super) fn take_copied_bytes(&mut self) -> usize {
        std::mem::take(&mut self.copied_bytes) + self.blocks.take_copied_bytes()
    }

    /// Adds an entry, whose id must be above all that there ever were. Cost: O(bytes) amortized.
    pub fn append<'p>(&mut self, id: StreamId, pairs: impl Pairs<'p>, limits: BlockLimits) {
        let (count, bytes) = pairs.clone().fold((0, 0), |(count, bytes), (field, value)| {
            (count + 1, bytes + field.len() + value.len())
        });
        let bytes_max = match usize::try_from(limits.bytes) {
            Ok(bytes_max @ 1..=BLOCK_BYTES_LIMIT) => bytes_max,
            _ => BLOCK_BYTES_LIMIT,
        };
        let is_full = |block: &Block| {
            let entries = u64::from(block.count + block.deleted);
            block.listpack_bytes() + bytes >= bytes_max
                || (limits.entries != 0 && entries >= limits.entries)
        };
        if self.blocks.last().is_none_or(|slot| is_full(&slot.block)) {
            if let Some(slot) = self.blocks.last_mut() {
                own(&mut slot.block, &mut self.copied_bytes).close();
            }
            let before = self.blocks.last().map(|slot| &*slot.block);
            let block = Arc::new(Block::new(id, pairs.clone(), before));
            self.blocks.insert(Slot { first: id, block });
        }
        if let Some(slot) = self.blocks.last_mut() {
            own(&mut slot.block, &mut self.copied_bytes).push(id, pairs, (count, bytes));
        }
        self.figures.len += 1;
        self.figures.entries_added = self.figures.entries_added.wrapping_add(1);
        self.figures.last_id = id;
        if self.figures.len == 1 {
            self.figures.first_id = id;
        }
    }

    /// The entries from `from` to `to` in order. Cost: O(log n) to find the first.
    #[must_use]
    pub fn range(&self, from: StreamId, to: StreamId) -> Range<'_> {
        let position = self.blocks.position_up_to(from);
        let find = |slot: &Slot| slot.block.find(from);
        let place = self.blocks.at(position).map_or(Place::default(), find);
        Range { blocks: &self.blocks, position, place, to }
    }

    /// The entries from `to` back to `from`. Cost: O(log n) to find the first.
    #[must_use]
    pub fn range_back(&self, from: StreamId, to: StreamId) -> RangeBack<'_> {
        let position = self.blocks.position_up_to(to);
        let up_to = |block: &Block| match to.next() {
            Some(behind) => block.group_up_to(block.find(behind)),
            None => block.group_up_to(block.end()),
        };
        let (group, places) =
            self.blocks.at(position).map(|slot| up_to(&slot.block)).unwrap_or_default();
        RangeBack { blocks: &self.blocks, position, group, places, from }
    }

    /// The entry with this id. Cost: O(log n).
    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<StreamEntry<'_>> {
        let slot = self.blocks.at(self.blocks.position_up_to(id))?;
        slot.block.get(id).map(|(entry, _)| entry)
    }

    /// The id of the first entry.
    #[must_use]
    pub fn first_living(&self) -> Option<StreamId> {
        self.range(StreamId::MIN, StreamId::MAX).next().map(|entry| entry.id)
    }

    /// The id of the last entry.
    #[must_use]
    pub fn last_living(&self) -> Option<StreamId> {
        self.range_back(StreamId::MIN, StreamId::MAX).next().map(|entry| entry.id)
    }

    fn find_first_id(&mut self) {
        self.figures.first_id = self.first_living().unwrap_or(StreamId::MIN);
    }

    /// Deletes entries; returns how many were there. Cost: O(log n) for each.
    pub fn delete(&mut self, ids: impl Iterator<Item = StreamId>) -> usize {
        let (mut deleted, mut was_first) = (0, false);
        for id in ids {
            let position = self.blocks.position_up_to(id);
            let Some(slot) = self.blocks.at(position) else { break };
            let Some((_, place)) = slot.block.get(id) else { continue };
            if slot.block.count == 1 {
                let first = slot.first;
                self.blocks.remove(first);
            } else if let Some(slot) = self.blocks.at_mut(position) {
                own(&mut slot.block, &mut self.copied_bytes).delete(place);
            }
            self.figures.len -= 1;
            deleted += 1;
            was_first |= id == self.figures.first_id;
            self.figures.max_deleted_id = self.figures.max_deleted_id.max(id);
        }
        if was_first || (deleted > 0 && self.figures.len == 0) {
            self.find_first_id();
        }
        deleted
    }

    /// True when all of the first block goes.
    fn goes_whole(&self, block: &Block, trim: Trim) -> bool {
        match trim {
            Trim::Length(len) => self.figures.len - u64::from(block.count) >= len,
            Trim::Below(id) => block.last < id,
        }
    }

    /// True when [`trim`](Self::trim) would take anything. Cost: O(block).
    #[must_use]
    pub fn trims(&self, trim: Trim, by_blocks: bool, limit: u64) -> bool {
        let Some((Slot { block, .. }, _)) = self.blocks.ends() else { return false };
        let is_too_much = limit > 0 && u64::from(block.count) > limit;
        let has_surplus = match trim {
            Trim::Length(len) => self.figures.len > len,
            Trim::Below(id) => self.first_living().is_some_and(|first| first < id),
        };
        has_surplus && !is_too_much && (!by_blocks || self.goes_whole(block, trim))
    }

    /// Takes entries from the front: only whole blocks if `by_blocks`, and no block after which
    /// there would be more than `limit` (0 for no limit); returns how many, and the blocks, which
    /// are yet to be freed. Cost: O(blocks).
    pub fn trim(&mut self, trim: Trim, by_blocks: bool, limit: u64) -> (u64, Self) {
        let (mut deleted, mut gone) = (0, IdSequence::default());
        while let Some((slot, _)) = self.blocks.ends() {
            let entries = u64::from(slot.block.count);
            if matches!(trim, Trim::Length(len) if self.figures.len <= len)
                || (limit > 0 && deleted + entries > limit)
            {
                break;
            }
            if self.goes_whole(&slot.block, trim) {
                self.figures.len -= entries;
                deleted += entries;
                if let Some(slot) = self.blocks.pop_first() {
                    gone.insert(slot);
                }
                continue;
            }
            if !by_blocks {
                let surplus = match trim {
                    Trim::Length(len) => (self.figures.len - len) as usize,
                    Trim::Below(_) => usize::MAX,
                };
                let goes = |id, gone: usize| match trim {
                    Trim::Length(_) => gone < surplus,
                    Trim::Below(first) => id < first,
                };
                let first = self.blocks.position_up_to(StreamId::MIN);
                let Some(slot) = self.blocks.at_mut(first) else { break };
                let block = own(&mut slot.block, &mut self.copied_bytes);
                let count = block.delete_front(goes) as u64;
                self.figures.len -= count;
                deleted += count;
            }
            break;
        }
        if deleted > 0 {
            self.find_first_id();
        }
        (deleted, Self { blocks: gone, ..Self::default() })
    }

    /// Sets the last id, which must not be below that of an entry, and the rest if it is given.
    pub(super) fn set_figures(
        &mut self,
        last_id: StreamId,
        entries_added: Option<u64>,
        max_deleted_id: Option<StreamId>,
    ) {
        if self.figures.len == 0 {
            // Ids may begin again below those of entries that are gone.
            self.blocks = IdSequence::default();
        }
        self.figures.last_id = last_id;
        self.figures.entries_added = entries_added.unwrap_or(self.figures.entries_added);
        self.figures.max_deleted_id = max_deleted_id.unwrap_or(self.figures.max_deleted_id);
    }

    /// The entries that a group has not read.
    pub(super) fn range_behind(&self, group: &Group) -> Range<'_> {
        let blocks = &self.blocks;
        let to = StreamId::MAX;
        let Some(from) = group.last_id().next() else {
            return Range { blocks, position: Position::NOWHERE, place: Place::default(), to };
        };
        if let Some((first, place)) = group.cursor.place {
            let position = blocks.position_up_to(first);
            if blocks.at(position).is_some_and(|slot| slot.first == first) {
                return Range { blocks, position, place, to };
            }
        }
        self.range(from, to)
    }

    /// How many entries a group has read, by its own count, once the next one is that with `id`.
    pub(super) fn read_count(&self, read: Option<i64>, id: StreamId) -> Option<i64> {
        match read {
            Some(read) if !self.has_gap_from(id) => Some(read.wrapping_add(1)),
            _ if self.figures.entries_added > 0 => self.distance_from_start(id),
            read => read,
        }
    }

    /// True when an entry was deleted by itself at or behind `id`, among those that there are.
    fn has_gap_from(&self, id: StreamId) -> bool {
        self.figures.len > 0
            && self.figures.max_deleted_id != StreamId::MIN
            && self.figures.first_id <= self.figures.max_deleted_id
            && id <= self.figures.max_deleted_id
    }

    /// How many of all entries that were ever added come up to `id`; `None` when that cannot be
    /// known: entries were deleted, or it is one in the middle or in the future.
    #[must_use]
    pub fn distance_from_start(&self, id: StreamId) -> Option<i64> {
        let added = self.figures.entries_added as i64;
        if self.figures.entries_added == 0 {
            return Some(0);
        }
        if (self.figures.len == 0 && id < self.figures.last_id) || id == self.figures.last_id {
            return Some(added);
        }
        let before_first = added.wrapping_sub(self.figures.len as i64);
        let is_whole = self.figures.max_deleted_id == StreamId::MIN
            || self.figures.max_deleted_id < self.figures.first_id;
        match id.cmp(&self.figures.first_id) {
            _ if id > self.figures.last_id || !is_whole => None,
            Ordering::Less => Some(before_first),
            Ordering::Equal => Some(before_first.wrapping_add(1)),
            Ordering::Greater => None,
        }
    }

    /// How many entries a group has yet to read that has come to `last_id` and by its own count
    /// read so many; `None` when that cannot be known.
    pub(super) fn lag(&self, last_id: StreamId, read: Option<i64>) -> Option<i64> {
        let added = self.figures.entries_added as i64;
        if self.figures.entries_added == 0 {
            return Some(0);
        }
        let read = match read {
            Some(read) if !self.has_gap_from(last_id) => Some(read),
            _ => self.distance_from_start(last_id),
        };
        read.map(|read| added.wrapping_sub(read))
    }

    /// Adds a block of a dump behind those that are there. Cost: O(bytes).
    ///
    /// # Errors
    /// What does not fit together, or comes out of order.
    pub fn restore_block(&mut self, first: StreamId, listpack: &[u8]) -> Result<(), BlockFault> {
        let block = Block::parse_listpack(first, listpack)?;
        let is_behind = self.blocks.last().is_none_or(|before| {
            before.first < first && before.block.last_living().is_none_or(|last| last < first)
        });
        if !is_behind {
            return Err(BlockFault { problem: "the blocks are not in ascending order", at: 0 });
        }
        self.figures.len += u64::from(block.count);
        self.blocks.insert(Slot { first, block: Arc::new(block) });
        Ok(())
    }

    /// Takes over the figures of a dump once all blocks are there; the old forms of dumps have no
    /// first id, no deleted one and no count.
    ///
    /// # Errors
    /// What does not fit the blocks.
    pub fn restore_figures(
        &mut self,
        len: u64,
        last_id: StreamId,
        rest: Option<(StreamId, StreamId, u64)>,
    ) -> Result<(), &'static str> {
        if len != self.figures.len {
            return Err("the number of entries is not the one stated");
        }
        if self.last_living().is_some_and(|last| last > last_id) {
            return Err("the last id is below that of an entry");
        }
        self.figures.last_id = last_id;
        match rest {
            Some((first_id, max_deleted_id, entries_added)) => {
                self.figures.first_id = first_id;
                self.figures.max_deleted_id = max_deleted_id;
                self.figures.entries_added = entries_added;
            }
            None => {
                self.find_first_id();
                self.figures.entries_added = len;
            }
        }
        Ok(())
    }
}

/// Entries in ascending order; see [`Stream::range`].
#[derive(Debug, Clone)]
pub struct Range<'a> {
    blocks: &'a IdSequence<Slot>,
    position: Position,
    place: Place,
    to: StreamId,
}

impl Range<'_> {
    /// The first id of the block of the entry that came last, and where that entry ends.
    pub(super) fn place(&self) -> Cursor {
        let first = self.blocks.at(self.position).map_or(StreamId::MAX, |slot| slot.first);
        Cursor { place: Some((first, self.place)) }
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = StreamEntry<'a>;

    #[inline]
    fn next(&mut self) -> Option<StreamEntry<'a>> {
        loop {
            let block = &self.blocks.at(self.position)?.block;
            if let Some((entry, end)) = block.living(self.place) {
                if entry.id > self.to {
                    self.position = Position::NOWHERE;
                    return None;
                }
                self.place = end;
                return Some(entry);
            }
            self.position = self.blocks.behind(self.position);
            self.place = self.blocks.at(self.position)?.block.start();
        }
    }
}

/// Entries in descending order; see [`Stream::range_back`].
#[derive(Debug, Clone)]
pub struct RangeBack<'a> {
    blocks: &'a IdSequence<Slot>,
    position: Position,
    /// Where in the block the group begins that is walked through,
    group: usize,
    /// and which of its entries are yet to come.
    places: Places,
    from: StreamId,
}

impl<'a> Iterator for RangeBack<'a> {
    type Item = StreamEntry<'a>;

    fn next(&mut self) -> Option<StreamEntry<'a>> {
        loop {
            let block = &self.blocks.at(self.position)?.block;
            if let Some(place) = self.places.pop() {
                let entry = block.entry_at(place)?;
                if entry.id < self.from {
                    self.position = Position::NOWHERE;
                    return None;
                }
                return Some(entry);
            }
            if let Some(before) = block.group_before(self.group) {
                self.places = block.living_places(before, self.group);
                self.group = before;
                continue;
            }
            self.position = self.blocks.before(self.position).unwrap_or(Position::NOWHERE);
            let block = &self.blocks.at(self.position)?.block;
            (self.group, self.places) = block.group_up_to(block.end());
        }
    }
}
