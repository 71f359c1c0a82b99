//! Members in the order of their scores, with the rank of each: a B+ tree that counts.
//!
//! ```text
//!   inner:  [ low | count | node ] [ low | count | node ] ...    at most INNER_MAX children
//!   leaf:   [ score | member ] [ score | member ] ...            at most LEAF_MAX entries
//! ```
//!
//! Every child carries the number of entries below it, so the rank of an entry and the entry of a
//! rank are found on one way down. `low` is a bound, not an entry: all entries of a child are at
//! or above it, all of the child before are below it. That of a first child says nothing. Nodes
//! are shared by reference count; a clone of the tree is one pointer, and a change copies only the
//! nodes on its way. A skip list was rejected for its memory and because it cannot be shared so.

use crate::data::member::Member;
use std::cmp::Ordering;
use std::sync::Arc;

/// Entries of a leaf at most.
const LEAF_MAX: usize = 64;
/// Children of an inner node at most.
const INNER_MAX: usize = 32;
/// A leaf or inner node with less than a quarter of the most is joined with a neighbour.
const FILL_MIN_DIVISOR: usize = 4;
/// Room is made for so many entries at once.
const GROWTH: usize = 8;

/// A member with its score, which is never NaN.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scored {
    /// The score.
    pub score: f64,
    /// The member.
    pub member: Member,
}

impl Scored {
    /// Where this entry stands to one with this score and member.
    #[inline]
    #[must_use]
    pub fn order(&self, score: f64, member: &[u8]) -> Ordering {
        order((self.score, self.member.bytes()), (score, member))
    }
}

/// The order of sorted sets: by score, then by member; -0 and 0 are the same score.
#[inline]
#[must_use]
pub fn order(left: (f64, &[u8]), right: (f64, &[u8])) -> Ordering {
    let scores = left.0.partial_cmp(&right.0).unwrap_or(Ordering::Equal);
    scores.then_with(|| left.1.cmp(right.1))
}

#[derive(Debug, Clone)]
struct Child {
    low: Scored,
    count: usize,
    node: Arc<Node>,
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(Vec<Scored>),
    Inner(Vec<Child>),
}

/// The node for changing; a shared one is copied and counted.
fn own<'a>(node: &'a mut Arc<Node>, copied_bytes: &mut usize) -> &'a mut Node {
    if Arc::strong_count(node) > 1 {
        *copied_bytes += match node.as_ref() {
            Node::Leaf(entries) => entries.len() * size_of::<Scored>(),
            Node::Inner(children) => children.len() * size_of::<Child>(),
        };
    }
    Arc::make_mut(node)
}

/// Which entry a removal means.
#[derive(Debug, Clone, Copy)]
enum Target<'a> {
    Rank(usize),
    Entry(f64, &'a [u8]),
}

/// Whether a node has the first or the last entry of the whole tree: those that arrive in order
/// leave full nodes behind.
#[derive(Debug, Clone, Copy)]
struct Edges {
    first: bool,
    last: bool,
}

impl Node {
    /// Entries below.
    fn count(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Inner(children) => children.iter().map(|child| child.count).sum(),
        }
    }

    fn is_sparse(&self) -> bool {
        match self {
            Self::Leaf(entries) => entries.len() < LEAF_MAX / FILL_MIN_DIVISOR,
            Self::Inner(children) => children.len() < INNER_MAX / FILL_MIN_DIVISOR,
        }
    }

    /// Adds an entry that is not there; returns a new right neighbour when the node was full.
    fn insert(&mut self, entry: Scored, edges: Edges, copied: &mut usize) -> Option<Child> {
        match self {
            Self::Leaf(entries) => {
                let bytes = entry.member.bytes();
                let at =
                    entries.partition_point(|own| own.order(entry.score, bytes) == Ordering::Less);
                make_room(entries);
                entries.insert(at, entry);
                let cut = cut_at(entries.len(), LEAF_MAX, at, edges)?;
                let upper = split_off(entries, cut);
                let low = upper.first()?.clone();
                Some(Child { low, count: upper.len(), node: Arc::new(Self::Leaf(upper)) })
            }
            Self::Inner(children) => {
                let at = child_of(children, |low| {
                    low.order(entry.score, entry.member.bytes()) != Ordering::Greater
                });
                let inside = Edges {
                    first: edges.first && at == 0,
                    last: edges.last && at + 1 == children.len(),
                };
                let child = children.get_mut(at)?;
                child.count += 1;
                let right = own(&mut child.node, copied).insert(entry, inside, copied)?;
                child.count -= right.count;
                make_room(children);
                children.insert(at + 1, right);
                let cut = cut_at(children.len(), INNER_MAX, at + 1, edges)?;
                let upper = Self::Inner(split_off(children, cut));
                let low = match &upper {
                    Self::Inner(children) => children.first()?.low.clone(),
                    Self::Leaf(_) => return None,
                };
                Some(Child { low, count: upper.count(), node: Arc::new(upper) })
            }
        }
    }

    /// Removes the entry that `target` names, which must be there.
    fn remove(&mut self, target: Target<'_>, copied: &mut usize) -> Option<Scored> {
        match self {
            Self::Leaf(entries) => {
                let at = match target {
                    Target::Rank(rank) => rank,
                    Target::Entry(score, member) => {
                        entries.binary_search_by(|own| own.order(score, member)).ok()?
                    }
                };
                (at < entries.len()).then(|| entries.remove(at))
            }
            Self::Inner(children) => {
                let (at, target) = match target {
                    Target::Rank(rank) => {
                        let (at, inside) = child_of_rank(children, rank)?;
                        (at, Target::Rank(inside))
                    }
                    Target::Entry(score, member) => {
                        let reaches = |low: &Scored| low.order(score, member) != Ordering::Greater;
                        (child_of(children, reaches), target)
                    }
                };
                let child = children.get_mut(at)?;
                let node = own(&mut child.node, copied);
                let removed = node.remove(target, copied)?;
                let sparse = node.is_sparse();
                child.count -= 1;
                if child.count == 0 {
                    children.remove(at);
                } else if sparse {
                    join(children, at, copied);
                }
                Some(removed)
            }
        }
    }

    /// Moves all of `right`, which begins at `low`, behind the own entries.
    fn append(&mut self, right: Self, low: Scored) {
        match (self, right) {
            (Self::Leaf(own), Self::Leaf(other)) => {
                own.reserve_exact(other.len());
                own.extend(other);
            }
            (Self::Inner(own), Self::Inner(mut other)) => {
                // The first child's bound begins to count.
                if let Some(first) = other.first_mut() {
                    first.low = low;
                }
                own.reserve_exact(other.len());
                own.extend(other);
            }
            // All leaves are equally deep.
            _ => {}
        }
    }

    /// Cuts an overfull node in the middle; `None` when it fits, even with something to spare.
    fn halve(&mut self) -> Option<Child> {
        match self {
            Self::Leaf(entries) if entries.len() > LEAF_MAX * 3 / 4 => {
                let half = entries.len() / 2;
                let upper = split_off(entries, half);
                let low = upper.first()?.clone();
                Some(Child { low, count: upper.len(), node: Arc::new(Self::Leaf(upper)) })
            }
            Self::Inner(children) if children.len() > INNER_MAX * 3 / 4 => {
                let half = children.len() / 2;
                let upper = split_off(children, half);
                let low = upper.first()?.low.clone();
                let upper = Self::Inner(upper);
                Some(Child { low, count: upper.count(), node: Arc::new(upper) })
            }
            _ => None,
        }
    }

    fn walk<'a>(&'a self, range: &mut Walk, each: &mut impl FnMut(&'a Scored)) {
        match self {
            Self::Leaf(entries) => {
                let chosen = entries.iter().skip(range.skip).take(range.left);
                let count = chosen.len();
                chosen.for_each(each);
                range.passed(entries.len(), count);
            }
            Self::Inner(children) => {
                for child in children {
                    if range.left == 0 {
                        break;
                    }
                    if !range.skips(child.count) {
                        child.node.walk(range, each);
                    }
                }
            }
        }
    }

    fn walk_back<'a>(&'a self, range: &mut Walk, each: &mut impl FnMut(&'a Scored)) {
        match self {
            Self::Leaf(entries) => {
                let chosen = entries.iter().rev().skip(range.skip).take(range.left);
                let count = chosen.len();
                chosen.for_each(each);
                range.passed(entries.len(), count);
            }
            Self::Inner(children) => {
                for child in children.iter().rev() {
                    if range.left == 0 {
                        break;
                    }
                    if !range.skips(child.count) {
                        child.node.walk_back(range, each);
                    }
                }
            }
        }
    }
}

/// What is left of a walk: entries to pass over, then entries to visit.
struct Walk {
    skip: usize,
    left: usize,
}

impl Walk {
    /// Passes over `count` entries if all of them are to be.
    fn skips(&mut self, count: usize) -> bool {
        let skips = self.skip >= count;
        if skips {
            self.skip -= count;
        }
        skips
    }

    fn passed(&mut self, entries: usize, visited: usize) {
        self.skip = self.skip.saturating_sub(entries);
        self.left -= visited;
    }
}

/// Where a node with `len` places, `max` allowed, is to be cut after an insertion at `at`.
fn cut_at(len: usize, max: usize, at: usize, edges: Edges) -> Option<usize> {
    if len <= max {
        None
    } else if edges.last && at + 1 == len {
        Some(len - 1)
    } else if edges.first && at <= 1 {
        Some(1)
    } else {
        Some(len / 2)
    }
}

fn make_room<T>(places: &mut Vec<T>) {
    if places.len() == places.capacity() {
        places.reserve_exact(GROWTH);
    }
}

/// The upper part, in exactly the room it needs; the lower one gives back most of its own.
fn split_off<T>(places: &mut Vec<T>, cut: usize) -> Vec<T> {
    let upper = places.split_off(cut);
    places.shrink_to(cut + 1);
    upper
}

/// The last child whose bound `reaches` accepts; the first one, whose bound says nothing, if none.
fn child_of(children: &[Child], reaches: impl Fn(&Scored) -> bool) -> usize {
    let behind_first = children.get(1..).unwrap_or_default();
    behind_first.partition_point(|child| reaches(&child.low))
}

/// The child that holds the entry of this rank, and its rank there.
fn child_of_rank(children: &[Child], mut rank: usize) -> Option<(usize, usize)> {
    for (at, child) in children.iter().enumerate() {
        if rank < child.count {
            return Some((at, rank));
        }
        rank -= child.count;
    }
    None
}

/// Joins child `at` with a neighbour, in one node or in two that are equally full.
fn join(children: &mut Vec<Child>, at: usize, copied: &mut usize) {
    let left = at.saturating_sub(1);
    if left + 1 >= children.len() {
        return;
    }
    let mut right = children.remove(left + 1);
    own(&mut right.node, copied);
    let Some(child) = children.get_mut(left) else {
        return;
    };
    let node = own(&mut child.node, copied);
    node.append(Arc::unwrap_or_clone(right.node), right.low);
    child.count += right.count;
    if let Some(upper) = node.halve() {
        child.count -= upper.count;
        children.insert(left + 1, upper);
    }
}

/// Entries in order; see the head of the file.
#[derive(Debug, Clone, Default)]
pub struct RankedTree {
    root: Option<Arc<Node>>,
    len: usize,
    /// Bytes of nodes that were copied because a clone shared them.
    copied_bytes: usize,
}

impl RankedTree {
    /// Number of entries. Cost: O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of nodes that were copied because a clone of the tree shared them, since the last
    /// call.
    pub fn take_copied_bytes(&mut self) -> usize {
        std::mem::take(&mut self.copied_bytes)
    }

    /// Roughly how many bytes it takes, the members themselves left out. Cost: O(1).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        // Leaves are between half full and full.
        self.len * size_of::<Scored>() * 4 / 3
    }

    /// Adds an entry that is not there. Cost: O(log n).
    pub fn insert(&mut self, entry: Scored) {
        self.len += 1;
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node::Leaf(vec![entry])));
            return;
        };
        let low = entry.clone();
        let (edges, copied) = (Edges { first: true, last: true }, &mut self.copied_bytes);
        let right = own(root, copied).insert(entry, edges, copied);
        if let Some(right) = right {
            let left = Child { low, count: self.len - right.count, node: Arc::clone(root) };
            self.root = Some(Arc::new(Node::Inner(vec![left, right])));
        }
    }

    /// Removes the entry with this score and member, which must be there. Cost: O(log n).
    pub fn remove(&mut self, score: f64, member: &[u8]) -> Option<Scored> {
        self.remove_target(Target::Entry(score, member))
    }

    /// Removes the entry of this rank. Cost: O(log n).
    pub fn remove_rank(&mut self, rank: usize) -> Option<Scored> {
        self.remove_target(Target::Rank(rank))
    }

    fn remove_target(&mut self, target: Target<'_>) -> Option<Scored> {
        let root = self.root.as_mut()?;
        let copied = &mut self.copied_bytes;
        let node = own(root, copied);
        let removed = node.remove(target, copied)?;
        self.len -= 1;
        if let Node::Inner(children) = node
            && let [only] = children.as_slice()
        {
            *root = Arc::clone(&only.node);
        }
        if self.len == 0 {
            self.root = None;
        }
        Some(removed)
    }

    /// How many entries at the front `is_before` accepts; it must accept none behind one that it
    /// refuses. Cost: O(log n).
    #[must_use]
    pub fn count_before(&self, is_before: impl Fn(f64, &[u8]) -> bool) -> usize {
        let is_before = |entry: &Scored| is_before(entry.score, entry.member.bytes());
        let mut before = 0;
        let mut node = self.root.as_ref();
        while let Some(place) = node {
            match place.as_ref() {
                Node::Leaf(entries) => {
                    before += entries.partition_point(is_before);
                    node = None;
                }
                Node::Inner(children) => {
                    let at = child_of(children, is_before);
                    before += children.iter().take(at).map(|child| child.count).sum::<usize>();
                    node = children.get(at).map(|child| &child.node);
                }
            }
        }
        before
    }

    /// The entry of this rank. Cost: O(log n).
    #[must_use]
    pub fn get(&self, mut rank: usize) -> Option<&Scored> {
        let mut node = self.root.as_ref()?;
        loop {
            match node.as_ref() {
                Node::Leaf(entries) => return entries.get(rank),
                Node::Inner(children) => {
                    let (at, inside) = child_of_rank(children, rank)?;
                    node = &children.get(at)?.node;
                    rank = inside;
                }
            }
        }
    }

    /// Calls `each` for `count` entries from rank `start` on. Cost: O(log n + count).
    pub fn for_each<'a>(&'a self, start: usize, count: usize, mut each: impl FnMut(&'a Scored)) {
        if let Some(root) = &self.root {
            root.walk(&mut Walk { skip: start, left: count }, &mut each);
        }
    }

    /// The same from the end backwards: `start` is the rank counted from the last entry.
    pub fn for_each_back<'a>(
        &'a self,
        start: usize,
        count: usize,
        mut each: impl FnMut(&'a Scored),
    ) {
        if let Some(root) = &self.root {
            root.walk_back(&mut Walk { skip: start, left: count }, &mut each);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::util::random::Random;
    use proptest::prelude::*;

    type Key = (i64, Vec<u8>);

    fn scored(key: &Key) -> Scored {
        Scored { score: key.0 as f64, member: Member::new(&key.1) }
    }

    /// Counts, bounds and sizes of every node below; returns its depth.
    fn check(node: &Node, low: Option<&Scored>, high: Option<&Scored>) -> usize {
        let inside = |entry: &Scored| {
            let order = |bound: &Scored| entry.order(bound.score, bound.member.bytes());
            low.is_none_or(|low| order(low) != Ordering::Less)
                && high.is_none_or(|high| order(high) == Ordering::Less)
        };
        match node {
            Node::Leaf(entries) => {
                assert!(entries.iter().all(inside));
                assert!(!entries.is_empty() && entries.len() <= LEAF_MAX);
                assert!(entries.capacity() <= LEAF_MAX + GROWTH + 1);
                1
            }
            Node::Inner(children) => {
                assert!(!children.is_empty() && children.len() <= INNER_MAX);
                let mut depths = Vec::new();
                for (at, child) in children.iter().enumerate() {
                    let low = if at == 0 { low } else { Some(&child.low) };
                    let high = children.get(at + 1).map(|next| &next.low).or(high);
                    assert_eq!(child.count, child.node.count());
                    depths.push(check(&child.node, low, high));
                }
                depths.dedup();
                assert_eq!(depths.len(), 1, "leaves are not equally deep");
                depths[0] + 1
            }
        }
    }

    fn assert_is(tree: &RankedTree, model: &[Key]) {
        assert_eq!(tree.len(), model.len());
        let (mut all, mut back) = (Vec::new(), Vec::new());
        tree.for_each(0, usize::MAX, |e| all.push((e.score as i64, e.member.bytes().to_vec())));
        tree.for_each_back(0, usize::MAX, |e| {
            back.push((e.score as i64, e.member.bytes().to_vec()));
        });
        assert_eq!(all, model);
        back.reverse();
        assert_eq!(back, model);
        if let Some(root) = &tree.root {
            check(root, None, None);
        }
    }

    #[test]
    fn many_entries_in_every_order_and_out_again() {
        const COUNT: usize = 20_000;
        let mut random = Random::new(5);
        for order in 0..3 {
            let mut keys: Vec<Key> =
                (0..COUNT).map(|n| (n as i64 / 3, n.to_string().into_bytes())).collect();
            let mut sorted = keys.clone();
            sorted.sort();
            match order {
                0 => keys = sorted.clone(),
                1 => keys = sorted.iter().rev().cloned().collect(),
                _ => (1..COUNT).for_each(|n| keys.swap(n, random.below(n + 1))),
            }
            let mut tree = RankedTree::default();
            keys.iter().for_each(|key| tree.insert(scored(key)));
            assert_is(&tree, &sorted);
            let mut leaves = 0;
            count_leaves(tree.root.as_ref().unwrap(), &mut leaves);
            let fill = COUNT as f64 / leaves as f64 / LEAF_MAX as f64;
            assert!(fill > if order == 2 { 0.6 } else { 0.95 }, "order {order}: {fill}");
            for (rank, key) in sorted.iter().enumerate() {
                assert_eq!(tree.get(rank).unwrap().member.bytes(), key.1);
            }
            let mut left = sorted;
            for step in 0..COUNT {
                let rank = random.below(left.len());
                let key = left.remove(rank);
                let removed = if step % 2 == 0 {
                    tree.remove_rank(rank)
                } else {
                    tree.remove(key.0 as f64, &key.1)
                };
                assert_eq!(removed.unwrap().member.bytes(), key.1);
                if step % 1_000 == 0 && !left.is_empty() {
                    assert_is(&tree, &left);
                    let mut leaves = 0;
                    count_leaves(tree.root.as_ref().unwrap(), &mut leaves);
                    let leaves_max = left.len() / (LEAF_MAX / FILL_MIN_DIVISOR) + 4;
                    assert!(leaves <= leaves_max, "{leaves} leaves for {}", left.len());
                }
            }
            assert!(tree.root.is_none() && tree.is_empty());
        }
    }

    fn count_leaves(node: &Node, leaves: &mut usize) {
        match node {
            Node::Leaf(_) => *leaves += 1,
            Node::Inner(children) => {
                children.iter().for_each(|child| count_leaves(&child.node, leaves));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]
        #[test]
        fn behaves_like_a_sorted_vector(
            changes in prop::collection::vec((-20_i64..20, 0_u16..700, 0_u8..7), 0..3_000),
            window in (0_usize..1_500, 0_usize..200),
        ) {
            let mut tree = RankedTree::default();
            let mut model: Vec<Key> = Vec::new();
            let mut held = Vec::new();
            for (step, (score, number, change)) in changes.into_iter().enumerate() {
                let key = (score, format!("{number}").into_bytes());
                if step % 600 == 300 {
                    held.push((tree.clone(), model.clone()));
                }
                match (model.binary_search(&key), change) {
                    (Ok(at), 0..5) => {
                        prop_assert_eq!(tree.remove(score as f64, &key.1), Some(scored(&key)));
                        model.remove(at);
                    }
                    (Err(at), 0..5) => {
                        tree.insert(scored(&key));
                        model.insert(at, key);
                    }
                    (Ok(at) | Err(at), _) => {
                        let before = tree.count_before(|s, m| {
                            order((s, m), (score as f64, &key.1)) == Ordering::Less
                        });
                        prop_assert_eq!(before, at);
                        let next = tree.remove_rank(at);
                        prop_assert_eq!(&next, &model.get(at).map(scored));
                        if next.is_some() {
                            model.remove(at);
                        }
                    }
                }
            }
            assert_is(&tree, &model);
            let (start, count) = window;
            let mut part = Vec::new();
            tree.for_each(start, count, |e| part.push(e.member.bytes()));
            let expected: Vec<_> =
                model.iter().skip(start).take(count).map(|key| key.1.as_slice()).collect();
            prop_assert_eq!(part, expected);
            let mut part = Vec::new();
            tree.for_each_back(start, count, |e| part.push(e.member.bytes()));
            let expected: Vec<_> =
                model.iter().rev().skip(start).take(count).map(|key| key.1.as_slice()).collect();
            prop_assert_eq!(part, expected);
            for (copy, before) in held {
                assert_is(&copy, &before);
            }
        }
    }
}
