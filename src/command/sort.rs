//! SORT: the elements of a collection in order, or what stands in other keys for them.
//!
//! BY and GET take patterns with a `*` in the place of an element: `weight_*` is a key, and
//! `object_*->name` a field of a hash. Redis reads such keys without having been told of them.
//! Here every shard is locked for that, all at one moment; without a pattern only the shards of
//! the keys that the request names. Then very many elements are sorted while nothing is locked
//! (`made_ahead.rs`).

use crate::command::args::{integer, is_word};
use crate::command::context::Call;
use crate::command::dispatch::blocking_if;
use crate::command::error::CommandError;
use crate::command::many::MANY;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::command::sweep::Sweeper;
use crate::data::list::{End, ListRef};
use crate::data::{List, StringRef, Value, ValueRef};
use crate::keyspace::{KeptKey, ReadAnyView, ReadView, WriteAnyView};
use crate::protocol::Args;
use crate::util::events::EventSet;
use crate::util::number::parse_f64;
use crate::util::text::until_zero_byte;
use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

const CATEGORIES: &[&str] = &["set", "sortedset", "list"];

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "SORT", group: Group::Generic, arity: Arity::AtLeast(2),
        keys: &[
            KeySpec::one(&["RO", "ACCESS"]),
            KeySpec::unknown(&["RO", "ACCESS"]),
            KeySpec::unknown(&["OW", "UPDATE"]),
        ],
        flags: Flags::WRITE.and(Flags::DENY_OOM).and(Flags::DANGEROUS),
        since: "1.0.0",
        cost: "O(n log n) for n elements; with BY or GET patterns all shards are locked meanwhile",
        syntax: "SORT key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] \
                 [ASC | DESC] [ALPHA] [STORE destination]",
        summary: "Sorts the elements of a list, a set or a sorted set, or stores them sorted.",
        categories: CATEGORIES, run: Run::Sweep(sort), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SORT_RO", group: Group::Generic, arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"]), KeySpec::unknown(&["RO", "ACCESS"])],
        flags: Flags::READONLY.and(Flags::DANGEROUS),
        since: "7.0.0",
        cost: "O(n log n) for n elements; with BY or GET patterns all shards are locked meanwhile",
        syntax: "SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] \
                 [ASC | DESC] [ALPHA]",
        summary: "Sorts the elements of a list, a set or a sorted set.",
        categories: CATEGORIES, run: Run::Sweep(sort_ro), ..CommandSpec::BASE
    },
];

/// What a request asks for.
struct Options<'a> {
    by: Option<Pattern<'a>>,
    get: Vec<Pattern<'a>>,
    offset: i64,
    /// Negative for all.
    count: i64,
    descending: bool,
    alpha: bool,
    store: Option<&'a [u8]>,
    /// BY names no element: they stay in the order they have.
    unsorted: bool,
    /// What has no order of its own gets one: it is stored, or a script looks at it.
    ordered: bool,
}

impl<'a> Options<'a> {
    fn parse(call: &Call<'a>, may_store: bool) -> Result<Self, CommandError> {
        let mut options = Self {
            by: None,
            get: Vec::new(),
            offset: 0,
            count: -1,
            descending: false,
            alpha: false,
            store: None,
            unsorted: false,
            ordered: call.is_in_script,
        };
        let args = call.args;
        let mut next = 2;
        while next < args.len() {
            let (word, left) = (args.at(next), args.len() - next - 1);
            if is_word(word, "ASC") {
                options.descending = false;
            } else if is_word(word, "DESC") {
                options.descending = true;
            } else if is_word(word, "ALPHA") {
                options.alpha = true;
            } else if is_word(word, "LIMIT") && left >= 2 {
                options.offset = integer(args.at(next + 1))?;
                options.count = integer(args.at(next + 2))?;
                next += 2;
            } else if may_store && is_word(word, "STORE") && left >= 1 {
                options.store = Some(args.at(next + 1));
                options.ordered = true;
                next += 1;
            } else if is_word(word, "BY") && left >= 1 {
                let pattern = Pattern::new(args.at(next + 1));
                if pattern.names_keys() && !call.may_read_every_key {
                    return Err(CommandError::Text(
                        "ERR BY option of SORT denied due to insufficient ACL permissions.",
                    ));
                }
                // Once nothing is to be sorted, a later pattern does not change that.
                options.unsorted |= !pattern.names_keys();
                options.by = Some(pattern);
                next += 1;
            } else if is_word(word, "GET") && left >= 1 {
                if !call.may_read_every_key {
                    return Err(CommandError::Text(
                        "ERR GET option of SORT denied due to insufficient ACL permissions.",
                    ));
                }
                options.get.push(Pattern::new(args.at(next + 1)));
                next += 1;
            } else {
                return Err(CommandError::Syntax);
            }
            next += 1;
        }
        Ok(options)
    }

    /// True when keys are read that the request does not name.
    fn names_keys(&self) -> bool {
        let by = self.by.iter().filter(|_| !self.unsorted);
        by.chain(&self.get).any(Pattern::names_keys)
    }

    /// Which of `len` sorted elements are wanted.
    fn range(&self, len: usize) -> Range<usize> {
        let clamp = |n: i64| usize::try_from(n.max(0)).unwrap_or(usize::MAX).min(len);
        let start = clamp(self.offset);
        let count = if self.count < 0 { len } else { clamp(self.count) };
        start..start.saturating_add(count).min(len)
    }

    /// The same, once: what is left are all of those.
    fn take_range(&mut self, len: usize) -> Range<usize> {
        let range = self.range(len);
        (self.offset, self.count) = (0, -1);
        range
    }
}

/// A pattern of BY or GET.
#[derive(Clone, Copy)]
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// Without a `*`: nothing.
    Fixed,
    /// A key, or the field of a hash under a key, that has the element in it.
    Key { before: &'a [u8], after: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    /// Reads it as Redis does: `*` and `->` are looked for only up to a zero byte.
    fn new(pattern: &'a [u8]) -> Self {
        let visible = until_zero_byte(pattern);
        if visible == b"#" {
            return Self::Element;
        }
        let Some(star) = visible.iter().position(|byte| *byte == b'*') else {
            return Self::Fixed;
        };
        let (before, rest) = pattern.split_at_checked(star).unwrap_or((pattern, &[]));
        let rest = rest.get(1..).unwrap_or_default();
        let shown = visible.get(star + 1..).unwrap_or_default();
        let arrow = shown.windows(2).position(|pair| pair == b"->");
        match arrow.filter(|arrow| arrow + 2 < shown.len()) {
            Some(arrow) => Self::Key {
                before,
                after: rest.get(..arrow).unwrap_or_default(),
                field: rest.get(arrow + 2..),
            },
            None => Self::Key { before, after: rest, field: None },
        }
    }

    fn names_keys(&self) -> bool {
        matches!(self, Self::Key { .. })
    }

    /// What stands for `element`.
    fn look_up(self, element: &[u8], keys: &mut dyn Keys) -> Option<Vec<u8>> {
        let Self::Key { before, after, field } = self else {
            return matches!(self, Self::Element).then(|| element.to_vec());
        };
        let mut found = None;
        keys.with(&[before, element, after].concat(), &mut |key| {
            found = match field {
                Some(field) => key.hash().ok().flatten().and_then(|hash| hash.get(field)),
                None => key.string().ok().flatten().map(StringRef::bytes),
            }
            .map(<[u8]>::to_vec);
        });
        found
    }
}

/// The keys that are locked, for reading.
trait Keys {
    fn with(&mut self, key: &[u8], each: &mut dyn FnMut(&ReadView<'_>));
}

impl Keys for &ReadAnyView<'_, '_> {
    fn with(&mut self, key: &[u8], each: &mut dyn FnMut(&ReadView<'_>)) {
        each(&self.key(key));
    }
}

impl Keys for WriteAnyView<'_, '_> {
    fn with(&mut self, key: &[u8], each: &mut dyn FnMut(&ReadView<'_>)) {
        each(&self.key(key).read());
    }
}

/// The one key there is.
impl Keys for KeptKey {
    fn with(&mut self, _key: &[u8], each: &mut dyn FnMut(&ReadView<'_>)) {
        each(&self.view());
    }
}

/// The argument number of the key in which SORT stores, the last one named.
///
/// As in Redis the other options are only skipped here, not checked.
#[must_use]
pub fn destination(args: Args<'_>) -> Option<usize> {
    let (mut found, mut number) = (None, 2);
    while number < args.len() {
        let word = args.at(number);
        if is_word(word, "LIMIT") {
            number += 2;
        } else if is_word(word, "GET") || is_word(word, "BY") {
            number += 1;
        } else if is_word(word, "STORE") && number + 1 < args.len() {
            number += 1;
            found = Some(number);
        }
        number += 1;
    }
    found
}

/// By what an element is sorted.
enum Weight {
    Number(f64),
    /// `None` where BY found nothing: before all others.
    Text(Option<Vec<u8>>),
    /// The element itself, as text.
    Element,
}

/// The sorted output: GET may have found nothing for some elements.
type Output = Vec<Option<Vec<u8>>>;

/// The elements of the key; when they are not to be sorted, in their order and only the wanted.
fn elements(key: &ReadView<'_>, options: &mut Options<'_>) -> Result<Vec<Vec<u8>>, CommandError> {
    let mut all = Vec::new();
    match key.value() {
        None => {}
        Some(ValueRef::List(list)) if options.unsorted => {
            return Ok(range_of_list(list, options));
        }
        Some(ValueRef::List(list)) => {
            list.for_each(0, usize::MAX, |element| all.push(element.to_vec()));
        }
        Some(ValueRef::Set(set)) => {
            set.for_each(|member| all.push(member.to_vec()));
            if options.unsorted && options.ordered {
                (options.unsorted, options.alpha, options.by) = (false, true, None);
            }
        }
        Some(ValueRef::SortedSet(set)) => {
            let is_reverse = options.unsorted && options.descending;
            let ranks = match options.unsorted {
                true if is_reverse => from_the_end(options.take_range(set.len()), set.len()),
                true => options.take_range(set.len()),
                false => 0..set.len(),
            };
            set.for_each(ranks, is_reverse, |member, _| all.push(member.to_vec()));
        }
        Some(ValueRef::String(_) | ValueRef::Hash(_) | ValueRef::Stream(_)) => {
            return Err(CommandError::WrongType);
        }
    }
    Ok(all)
}

/// How many elements there are to sort.
fn element_count(key: &ReadView<'_>) -> usize {
    match key.value() {
        Some(ValueRef::List(list)) => list.len(),
        Some(ValueRef::Set(set)) => set.len(),
        Some(ValueRef::SortedSet(set)) => set.len(),
        _ => 0,
    }
}

/// The same places, counted from the other end of `len` elements.
fn from_the_end(range: Range<usize>, len: usize) -> Range<usize> {
    len.saturating_sub(range.end)..len.saturating_sub(range.start)
}

fn range_of_list(list: ListRef<'_>, options: &mut Options<'_>) -> Vec<Vec<u8>> {
    let range = options.take_range(list.len());
    let end = if options.descending { End::Right } else { End::Left };
    let mut all = Vec::new();
    list.walk(end, |distance, element| {
        if distance >= range.end {
            return ControlFlow::Break(());
        }
        if distance >= range.start {
            all.push(element.to_vec());
        }
        ControlFlow::Continue(())
    });
    all
}

fn sorted(
    key: &[u8],
    options: &mut Options<'_>,
    keys: &mut dyn Keys,
) -> Result<Output, CommandError> {
    let mut found = Err(CommandError::NoSuchKey);
    keys.with(key, &mut |key| {
        found = blocking_if(element_count(key) > MANY, || elements(key, options));
    });
    let elements = found?;
    blocking_if(elements.len() > MANY, || arranged(elements, options, keys))
}

/// The elements, sorted if they are to be, and what stands for them.
fn arranged(
    mut elements: Vec<Vec<u8>>,
    options: &Options<'_>,
    keys: &mut dyn Keys,
) -> Result<Output, CommandError> {
    if !options.unsorted {
        elements = in_order(elements, options, keys)?;
    }
    let range = options.range(elements.len());
    let wanted = elements.into_iter().skip(range.start).take(range.len());
    if options.get.is_empty() {
        return Ok(wanted.map(Some).collect());
    }
    let mut output = Vec::new();
    for element in wanted {
        output.extend(options.get.iter().map(|pattern| pattern.look_up(&element, keys)));
    }
    Ok(output)
}

fn in_order(
    elements: Vec<Vec<u8>>,
    options: &Options<'_>,
    keys: &mut dyn Keys,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let mut is_number = true;
    let mut number = |text: &[u8]| {
        let number = weight_number(text);
        is_number &= number.is_some();
        number.unwrap_or(0.0)
    };
    let weigh = |element: Vec<u8>| {
        let weight = match (&options.by, options.alpha) {
            (None, true) => Weight::Element,
            (None, false) => Weight::Number(number(&element)),
            (Some(by), true) => Weight::Text(by.look_up(&element, keys)),
            (Some(by), false) => {
                Weight::Number(by.look_up(&element, keys).map_or(0.0, |text| number(&text)))
            }
        };
        (weight, element)
    };
    let mut weighed: Vec<(Weight, Vec<u8>)> = elements.into_iter().map(weigh).collect();
    if !is_number {
        return Err(CommandError::Text("ERR One or more scores can't be converted into double"));
    }
    let is_stored = options.store.is_some();
    weighed.sort_by(|one, other| {
        let order = compare(one, other, is_stored);
        if options.descending { order.reverse() } else { order }
    });
    Ok(weighed.into_iter().map(|(_, element)| element).collect())
}

/// Text is compared as C strings, unless it is stored: as in Redis.
fn compare(one: &(Weight, Vec<u8>), other: &(Weight, Vec<u8>), is_stored: bool) -> Ordering {
    let text = |one: &[u8], other: &[u8]| {
        if is_stored { one.cmp(other) } else { until_zero_byte(one).cmp(until_zero_byte(other)) }
    };
    match (&one.0, &other.0) {
        (Weight::Number(a), Weight::Number(b)) => {
            a.partial_cmp(b).unwrap_or(Ordering::Equal).then_with(|| one.1.cmp(&other.1))
        }
        (Weight::Text(Some(a)), Weight::Text(Some(b))) => text(a, b),
        (Weight::Text(a), Weight::Text(b)) => a.is_some().cmp(&b.is_some()),
        _ => text(&one.1, &other.1),
    }
}

/// A number as `strtod` reads it: blanks may come first, a zero byte ends it, and no text is 0.
fn weight_number(text: &[u8]) -> Option<f64> {
    match until_zero_byte(text) {
        [] => Some(0.0),
        text => {
            let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
            let blanks = text.iter().take_while(|byte| is_blank(byte)).count();
            parse_f64(text.get(blanks..).unwrap_or_default())
        }
    }
}

fn sort(sweeper: &mut Sweeper<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let mut options = Options::parse(call, true)?;
    let key = call.args.at(1);
    let Some(destination) = options.store else {
        return sort_and_reply(sweeper, call, &mut options);
    };
    let named = [key, destination];
    let locked = (!options.names_keys()).then_some(&named[..]);
    let ahead = sorted_ahead(sweeper, key, &mut options)?;
    let ahead = ahead.map(|(kept, output)| (kept, Value::List(list_of(output))));
    let stored = sweeper.write_any(locked, |view| {
        let made = ahead.and_then(|(kept, list)| view.key(key).accept(vec![kept], list));
        let list = match made {
            Some(Value::List(list)) => list,
            _ => list_of(sorted(key, &mut Options::parse(call, true)?, view)?),
        };
        let len = list.len();
        let mut destination = view.key(destination);
        if len > 0 {
            destination.set_value(Value::List(list), None);
            destination.note_more_changes(len - 1);
            destination.notify(EventSet::LIST, "sortstore");
        } else if destination.remove() {
            destination.notify(EventSet::GENERIC, "del");
        }
        Ok::<usize, CommandError>(len)
    })??;
    call.reply.count(stored);
    Ok(())
}

/// What is stored of an output.
fn list_of(output: Output) -> List {
    blocking_if(output.len() > MANY, || {
        let mut list = List::new();
        output.iter().for_each(|element| list.push(End::Right, element.as_deref().unwrap_or(b"")));
        list
    })
}

/// The output if there are very many elements and no other key is needed: of the key as it was at
/// one moment, with that, and made while nothing is locked.
fn sorted_ahead(
    sweeper: &Sweeper<'_, '_>,
    key: &[u8],
    options: &mut Options<'_>,
) -> Result<Option<(KeptKey, Output)>, CommandError> {
    if options.names_keys() || sweeper.is_of_held() {
        return Ok(None);
    }
    let kept = sweeper.read_any(Some(&[key]), |view| {
        let view = view.key(key);
        (element_count(&view) > MANY).then(|| view.keep())
    })?;
    let Some(mut kept) = kept else { return Ok(None) };
    let output = sorted(key, options, &mut kept)?;
    Ok(Some((kept, output)))
}

fn sort_ro(sweeper: &mut Sweeper<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let mut options = Options::parse(call, false)?;
    sort_and_reply(sweeper, call, &mut options)
}

fn sort_and_reply(
    sweeper: &mut Sweeper<'_, '_>,
    call: &mut Call<'_>,
    options: &mut Options<'_>,
) -> Outcome {
    let key = call.args.at(1);
    let named = [key];
    let locked = (!options.names_keys()).then_some(&named[..]);
    let output = match sorted_ahead(sweeper, key, options)? {
        Some((_, output)) => output,
        None => sweeper.read_any(locked, |mut view| sorted(key, options, &mut view))??,
    };
    call.reply.array(output.len());
    for element in output {
        match element {
            Some(element) => call.reply.bulk(&element),
            None => call.reply.null(),
        }
    }
    Ok(())
}
