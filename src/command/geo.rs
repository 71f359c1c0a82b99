//! Places on the earth: members of sorted sets whose scores are places.
//!
//! A search goes through the ranges of scores around its centre and keeps what is inside
//! ([`crate::util::geo`]). GEORADIUS and GEORADIUSBYMEMBER are the same search with its parts in
//! fixed places; they may write a key that stands behind a word among the options.

use crate::command::args::{integer, is_word};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::sorted_set::{AddOptions, put};
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::command::sweep::Sweeper;
use crate::data::{SortedSet, SortedSetRef, Value};
use crate::keyspace::{ReadView, WriteManyView, WriteView};
use crate::protocol::{Args, ReplyWriter};
use crate::util::events::EventSet;
use crate::util::geo::{Area, Place, Shape, distance_max_m};
use crate::util::number::parse_f64;
use smallvec::SmallVec;
use std::cmp::Ordering;

const SEARCH_COST: &str = "O(n + log m) for n of m members in the boxes around the centre";
const READS: &[KeySpec] = &[KeySpec::one(&["RO", "ACCESS"])];
const STORE: &[&str] = &["OW", "UPDATE"];
const BY_PLACE: &[KeySpec] = &with_stores(6);
const BY_MEMBER: &[KeySpec] = &with_stores(5);

const fn with_stores(first: usize) -> [KeySpec; 3] {
    let [store, store_distances] = KeySpec::stores(first, STORE);
    [KeySpec::one(&["RO", "ACCESS"]), store, store_distances]
}

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "GEOADD", group: Group::Geo, arity: Arity::AtLeast(5),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::DENY_OOM,
        since: "3.2.0", cost: "O(m*log n) for m members",
        syntax: "GEOADD key [NX | XX] [CH] longitude latitude member \
                 [longitude latitude member ...]",
        summary: "Puts members of a sorted set at places.",
        run: Run::Write(geoadd), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GEODIST", group: Group::Geo, arity: Arity::AtLeast(4), keys: READS,
        since: "3.2.0", cost: "O(1)", syntax: "GEODIST key member1 member2 [M | KM | FT | MI]",
        summary: "Returns the distance of two members.",
        run: Run::Read(geodist), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GEOHASH", group: Group::Geo, arity: Arity::AtLeast(2), keys: READS,
        since: "3.2.0", cost: "O(m) for m members", syntax: "GEOHASH key [member [member ...]]",
        summary: "Returns the geohashes of members.",
        run: Run::Read(geohash), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GEOPOS", group: Group::Geo, arity: Arity::AtLeast(2), keys: READS,
        since: "3.2.0", cost: "O(m) for m members", syntax: "GEOPOS key [member [member ...]]",
        summary: "Returns the places of members.",
        run: Run::Read(geopos), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GEOSEARCH", group: Group::Geo, arity: Arity::AtLeast(7), keys: READS,
        since: "6.2.0", cost: SEARCH_COST,
        syntax: "GEOSEARCH key <FROMMEMBER member | FROMLONLAT longitude latitude> \
                 <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> \
                 [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
        summary: "Returns the members in a circle or a box.",
        run: Run::Read(geosearch), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GEOSEARCHSTORE", group: Group::Geo, arity: Arity::AtLeast(8),
        keys: &[
            KeySpec::one(STORE),
            KeySpec { first: 2, last: 0, step: 1, access: &["RO", "ACCESS"] },
        ],
        flags: Flags::DENY_OOM, since: "6.2.0", cost: SEARCH_COST,
        syntax: "GEOSEARCHSTORE destination source \
                 <FROMMEMBER member | FROMLONLAT longitude latitude> \
                 <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> \
                 [ASC | DESC] [COUNT count [ANY]] [STOREDIST]",
        summary: "Stores the members in a circle or a box with their places or distances.",
        run: Run::WriteMany(geosearchstore), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GEORADIUS", group: Group::Geo, arity: Arity::AtLeast(6), keys: BY_PLACE,
        flags: Flags::WRITE.and(Flags::DENY_OOM), since: "3.2.0", cost: SEARCH_COST,
        syntax: "GEORADIUS key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] \
                 [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] \
                 [STORE destination | STOREDIST destination]",
        summary: "Returns the members in a circle around a place, or stores them.",
        run: Run::Sweep(georadius), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GEORADIUS_RO", group: Group::Geo, arity: Arity::AtLeast(6), keys: READS,
        since: "3.2.10", cost: SEARCH_COST,
        syntax: "GEORADIUS_RO key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] \
                 [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        summary: "Returns the members in a circle around a place.",
        run: Run::Read(georadius_ro), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GEORADIUSBYMEMBER", group: Group::Geo, arity: Arity::AtLeast(5), keys: BY_MEMBER,
        flags: Flags::WRITE.and(Flags::DENY_OOM), since: "3.2.0", cost: SEARCH_COST,
        syntax: "GEORADIUSBYMEMBER key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] \
                 [WITHHASH] [COUNT count [ANY]] [ASC | DESC] \
                 [STORE destination | STOREDIST destination]",
        summary: "Returns the members in a circle around a member, or stores them.",
        run: Run::Sweep(georadiusbymember), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GEORADIUSBYMEMBER_RO", group: Group::Geo, arity: Arity::AtLeast(5), keys: READS,
        since: "3.2.10", cost: SEARCH_COST,
        syntax: "GEORADIUSBYMEMBER_RO key member radius <M | KM | FT | MI> [WITHCOORD] \
                 [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        summary: "Returns the members in a circle around a member.",
        run: Run::Read(georadiusbymember_ro), ..CommandSpec::BASE
    },
];

/// Members that a search which may stop early looks at before it asks whether it has enough.
const LOOK_MEMBERS: usize = 64;
/// Digits of a distance behind the point, as a factor.
const DISTANCE_SCALE: f64 = 10_000.0;

fn place(args: Args<'_>, at: usize) -> Result<Place, CommandError> {
    let number = |at| parse_f64(args.at(at)).ok_or(CommandError::NotAFloat);
    let place = Place { longitude: number(at)?, latitude: number(at + 1)? };
    if !place.is_on_map() {
        let Place { longitude, latitude } = place;
        let text = format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}");
        return Err(CommandError::Owned(text.into_bytes()));
    }
    Ok(place)
}

fn place_of(set: SortedSetRef<'_>, member: &[u8]) -> Result<Place, CommandError> {
    let score = set.score(member);
    let text = "ERR could not decode requested zset member";
    score.map(Place::from_score).ok_or(CommandError::Text(text))
}

/// Metres of a unit.
fn unit(arg: &[u8]) -> Result<f64, CommandError> {
    const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let found = UNITS.iter().find(|(name, _)| is_word(arg, name));
    let text = "ERR unsupported unit provided. please use M, KM, FT, MI";
    found.map(|(_, metres)| *metres).ok_or(CommandError::Text(text))
}

/// A radius with its unit.
fn circle(args: Args<'_>, at: usize) -> Result<(Shape, f64), CommandError> {
    let text = CommandError::Text("ERR need numeric radius");
    let radius = parse_f64(args.at(at)).ok_or(text)?;
    if radius < 0.0 {
        return Err(CommandError::Text("ERR radius cannot be negative"));
    }
    Ok((Shape::Circle { radius }, unit(args.at(at + 1))?))
}

/// Width and height with their unit.
fn rectangle(args: Args<'_>, at: usize) -> Result<(Shape, f64), CommandError> {
    let number = |at: usize, text| parse_f64(args.at(at)).ok_or(CommandError::Text(text));
    let width = number(at, "ERR need numeric width")?;
    let height = number(at + 1, "ERR need numeric height")?;
    if width < 0.0 || height < 0.0 {
        return Err(CommandError::Text("ERR height or width cannot be negative"));
    }
    Ok((Shape::Box { width, height }, unit(args.at(at + 2))?))
}

/// The text of a distance, in its unit: four digits behind the point.
fn distance_text(distance: f64) -> String {
    let scaled = (distance * DISTANCE_SCALE).round_ties_even();
    // What is no number becomes the least one, as in C.
    let scaled = if scaled.is_nan() { i64::MIN } else { scaled as i64 };
    let (sign, magnitude) = (if scaled < 0 { "-" } else { "" }, scaled.unsigned_abs());
    format!("{sign}{}.{:04}", magnitude / 10_000, magnitude % 10_000)
}

/// A coordinate with all its digits.
fn reply_degrees(reply: &mut ReplyWriter<'_>, degrees: f64) {
    let text = format!("{degrees:.17}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    reply.double_text(if text == "-0" { b"0" } else { text.as_bytes() });
}

fn reply_place(reply: &mut ReplyWriter<'_>, place: Place) {
    reply.array(2);
    reply_degrees(reply, place.longitude);
    reply_degrees(reply, place.latitude);
}

fn geoadd(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let mut options = AddOptions::default();
    let mut first = 2;
    for word in args.iter_from(2) {
        if is_word(word, "NX") {
            options.is_new_only = true;
        } else if is_word(word, "XX") {
            options.is_old_only = true;
        } else if is_word(word, "CH") {
            options.counts_changed = true;
        } else {
            break;
        }
        first += 1;
    }
    let left = args.len() - first;
    if !left.is_multiple_of(3) || (options.is_new_only && options.is_old_only) {
        return Err(CommandError::Syntax);
    }
    let numbers = (first..args.len()).step_by(3);
    let scores: SmallVec<[f64; 4]> =
        numbers.map(|at| place(args, at).map(Place::to_score)).collect::<Result<_, _>>()?;
    if scores.is_empty() {
        return Err(CommandError::Syntax);
    }
    put(view, call, &options, args.iter_from(first + 2).step_by(3).zip(scores.iter().copied()))
}

fn geodist(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let unit_m = match args.len() {
        4 => 1.0,
        5 => unit(args.at(4))?,
        _ => return Err(CommandError::Syntax),
    };
    let set = view.sorted_set()?;
    let place = |member| set.and_then(|set| set.score(member)).map(Place::from_score);
    match (place(args.at(2)), place(args.at(3))) {
        (Some(from), Some(to)) => {
            call.reply.bulk(distance_text(from.distance_m(to) / unit_m).as_bytes());
        }
        _ => call.reply.null(),
    }
    Ok(())
}

fn geohash(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let set = view.sorted_set()?;
    let members = call.args.iter_from(2);
    call.reply.array(members.len());
    for member in members {
        match set.and_then(|set| set.score(member)) {
            Some(score) => call.reply.bulk(&Place::from_score(score).geohash()),
            None => call.reply.null(),
        }
    }
    Ok(())
}

fn geopos(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let set = view.sorted_set()?;
    let members = call.args.iter_from(2);
    call.reply.array(members.len());
    for member in members {
        match set.and_then(|set| set.score(member)) {
            Some(score) => reply_place(&mut call.reply, Place::from_score(score)),
            None => call.reply.null_array(),
        }
    }
    Ok(())
}

/// How a command says what it searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A place and a radius come first; then maybe where to store.
    Radius { may_store: bool },
    /// A member and a radius come first; then maybe where to store.
    RadiusByMember { may_store: bool },
    /// All is said by options.
    Search { stores: bool },
}

impl Form {
    /// The argument number of the first option.
    fn options_start(self) -> usize {
        match self {
            Self::Radius { .. } => 6,
            Self::RadiusByMember { .. } => 5,
            Self::Search { stores } => 2 + usize::from(stores),
        }
    }
}

/// Where the found members are stored.
#[derive(Debug, Clone, Copy)]
struct Target<'a> {
    /// `None` when the command has a fixed place for it.
    key: Option<&'a [u8]>,
    with_distances: bool,
}

/// A search, read but not yet done.
#[derive(Debug)]
struct Query<'a> {
    centre: Option<Place>,
    /// The shape and the metres of its unit.
    shape: Option<(Shape, f64)>,
    with_distance: bool,
    with_hash: bool,
    with_place: bool,
    /// The nearest first, or the farthest.
    order: Option<Ordering>,
    /// 0 for all.
    count: usize,
    any: bool,
    target: Option<Target<'a>>,
}

impl<'a> Query<'a> {
    /// Reads the arguments; a member that is the centre is looked up in the set at once.
    fn parse(
        args: Args<'a>,
        form: Form,
        set: Option<SortedSetRef<'_>>,
    ) -> Result<Self, CommandError> {
        let mut query = Self {
            centre: None,
            shape: None,
            with_distance: false,
            with_hash: false,
            with_place: false,
            order: None,
            count: 0,
            any: false,
            target: None,
        };
        let mut is_from_member = false;
        match (form, set) {
            (Form::Radius { .. }, _) => {
                query.centre = Some(place(args, 2)?);
                query.shape = Some(circle(args, 4)?);
            }
            (Form::RadiusByMember { .. }, Some(set)) => {
                query.centre = Some(place_of(set, args.at(2))?);
                query.shape = Some(circle(args, 3)?);
            }
            // Without a set Redis does not look at these arguments.
            (Form::RadiusByMember { .. }, None) => {}
            (Form::Search { stores: true }, _) => {
                query.target = Some(Target { key: None, with_distances: false });
            }
            (Form::Search { stores: false }, _) => {}
        }
        let mut at = form.options_start();
        while at < args.len() {
            let taken = match query.plain_option(args, at, form)? {
                0 if matches!(form, Form::Search { .. }) => {
                    query.search_option(args, at, set, &mut is_from_member)?
                }
                taken => taken,
            };
            if taken == 0 {
                return Err(CommandError::Syntax);
            }
            at += taken;
        }
        query.check(args, form, is_from_member)?;
        Ok(query)
    }

    /// Takes an option that all forms have; returns how many arguments that were.
    fn plain_option(
        &mut self,
        args: Args<'a>,
        at: usize,
        form: Form,
    ) -> Result<usize, CommandError> {
        let (word, left) = (args.at(at), args.len() - at - 1);
        let may_store = matches!(
            form,
            Form::Radius { may_store: true } | Form::RadiusByMember { may_store: true }
        );
        let flags = [
            ("WITHDIST", &mut self.with_distance),
            ("WITHHASH", &mut self.with_hash),
            ("WITHCOORD", &mut self.with_place),
            ("ANY", &mut self.any),
        ];
        if let Some((_, flag)) = flags.into_iter().find(|(name, _)| is_word(word, name)) {
            *flag = true;
        } else if is_word(word, "ASC") {
            self.order = Some(Ordering::Less);
        } else if is_word(word, "DESC") {
            self.order = Some(Ordering::Greater);
        } else if is_word(word, "COUNT") && left >= 1 {
            let count = integer(args.at(at + 1))?;
            if count <= 0 {
                return Err(CommandError::Text("ERR COUNT must be > 0"));
            }
            self.count = usize::try_from(count).unwrap_or(usize::MAX);
            return Ok(2);
        } else if may_store && left >= 1 && (is_word(word, "STORE") || is_word(word, "STOREDIST")) {
            let with_distances = is_word(word, "STOREDIST");
            self.target = Some(Target { key: Some(args.at(at + 1)), with_distances });
            return Ok(2);
        } else if form == (Form::Search { stores: true }) && is_word(word, "STOREDIST") {
            self.target = Some(Target { key: None, with_distances: true });
        } else {
            return Ok(0);
        }
        Ok(1)
    }

    /// Takes an option of GEOSEARCH; returns how many arguments that were.
    fn search_option(
        &mut self,
        args: Args<'a>,
        at: usize,
        set: Option<SortedSetRef<'_>>,
        is_from_member: &mut bool,
    ) -> Result<usize, CommandError> {
        let (word, left) = (args.at(at), args.len() - at - 1);
        let is_from_place = self.centre.is_some() && !*is_from_member;
        let is_circle = matches!(self.shape, Some((Shape::Circle { .. }, _)));
        let is_box = self.shape.is_some() && !is_circle;
        if is_word(word, "FROMMEMBER") && left >= 1 && !is_from_place {
            *is_from_member = true;
            if let Some(set) = set {
                self.centre = Some(place_of(set, args.at(at + 1))?);
            }
            return Ok(2);
        }
        if is_word(word, "FROMLONLAT") && left >= 2 && !*is_from_member {
            self.centre = Some(place(args, at + 1)?);
            return Ok(3);
        }
        if is_word(word, "BYRADIUS") && left >= 2 && !is_box {
            self.shape = Some(circle(args, at + 1)?);
            return Ok(3);
        }
        if is_word(word, "BYBOX") && left >= 3 && !is_circle {
            self.shape = Some(rectangle(args, at + 1)?);
            return Ok(4);
        }
        Ok(0)
    }

    fn check(&self, args: Args<'_>, form: Form, is_from_member: bool) -> Result<(), CommandError> {
        if self.target.is_some() && (self.with_distance || self.with_hash || self.with_place) {
            return Err(CommandError::Text(match form {
                Form::Search { .. } => {
                    "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD \
                     options"
                }
                _ => {
                    "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and \
                     WITHCOORD options"
                }
            }));
        }
        let missing = match form {
            Form::Search { .. } if !is_from_member && self.centre.is_none() => {
                Some("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ")
            }
            Form::Search { .. } if self.shape.is_none() => {
                Some("ERR exactly one of BYRADIUS and BYBOX can be specified for ")
            }
            _ => None,
        };
        if let Some(missing) = missing {
            return Err(CommandError::echoing(missing, args.at(0), ""));
        }
        if self.any && self.count == 0 {
            return Err(CommandError::Text("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// Metres of the unit of distances.
    fn unit_m(&self) -> f64 {
        self.shape.map_or(1.0, |(_, unit_m)| unit_m)
    }

    /// The members inside, those that are wanted, in the order that is wanted.
    fn find<'s>(&self, set: SortedSetRef<'s>) -> Vec<Found<'s>> {
        let (Some(centre), Some((shape, unit_m))) = (self.centre, self.shape) else {
            return Vec::new();
        };
        let area = Area { centre, shape, unit_m };
        let enough = if self.any { self.count } else { usize::MAX };
        let mut found = Vec::new();
        for scores in area.score_ranges() {
            let below = |score: f64, _: &[u8]| score < scores.start;
            let mut ranks = set.ranks(false, 0, below, |score, _| score >= scores.end);
            while !ranks.is_empty() && found.len() < enough {
                let end =
                    if self.any { ranks.end.min(ranks.start + LOOK_MEMBERS) } else { ranks.end };
                set.for_each(ranks.start..end, false, |member, score| {
                    let place = Place::from_score(score);
                    if let Some(distance_m) = area.distance_m(place) {
                        found.push(Found { member, score, place, distance_m });
                    }
                });
                ranks.start = end;
            }
        }
        // What is not ordered cannot be limited, unless any will do.
        let limited = (self.count > 0 && !self.any).then_some(Ordering::Less);
        if self.any {
            found.truncate(enough);
        }
        if let Some(order) = self.order.or(limited) {
            found.sort_by(|one, other| one.compare(other, order));
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }

    /// The sorted set that is stored, and its number of members.
    fn to_store(&self, set: SortedSetRef<'_>) -> SortedSet {
        let with_distances = self.target.is_some_and(|target| target.with_distances);
        let mut stored = SortedSet::new();
        for found in self.find(set) {
            // A score must be a number, which the longest distance might not be.
            let distance_m =
                if found.distance_m.is_nan() { distance_max_m() } else { found.distance_m };
            let score = if with_distances { distance_m / self.unit_m() } else { found.score };
            stored.set(score, found.member);
        }
        stored
    }

    fn reply(&self, reply: &mut ReplyWriter<'_>, set: Option<SortedSetRef<'_>>) {
        let found = set.map_or_else(Vec::new, |set| self.find(set));
        let parts = [self.with_distance, self.with_hash, self.with_place];
        let parts = parts.into_iter().filter(|part| *part).count();
        reply.array(found.len());
        for found in found {
            if parts > 0 {
                reply.array(parts + 1);
            }
            reply.bulk(found.member);
            if self.with_distance {
                reply.bulk(distance_text(found.distance_m / self.unit_m()).as_bytes());
            }
            if self.with_hash {
                reply.integer(found.score as i64);
            }
            if self.with_place {
                reply_place(reply, found.place);
            }
        }
    }
}

/// A member that a search found.
#[derive(Debug)]
struct Found<'s> {
    member: &'s [u8],
    score: f64,
    place: Place,
    distance_m: f64,
}

impl Found<'_> {
    /// `nearest` is the order of the smaller distance.
    fn compare(&self, other: &Self, nearest: Ordering) -> Ordering {
        let (own, other) = (self.distance_m, other.distance_m);
        let order = own.partial_cmp(&other).unwrap_or_else(|| own.is_nan().cmp(&other.is_nan()));
        if nearest == Ordering::Less { order } else { order.reverse() }
    }
}

fn search(view: &ReadView<'_>, call: &mut Call<'_>, form: Form) -> Outcome {
    let set = view.sorted_set()?;
    let query = Query::parse(call.args, form, set)?;
    query.reply(&mut call.reply, set);
    Ok(())
}

fn geosearch(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    search(view, call, Form::Search { stores: false })
}

fn georadius_ro(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    search(view, call, Form::Radius { may_store: false })
}

fn georadiusbymember_ro(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    search(view, call, Form::RadiusByMember { may_store: false })
}

/// Makes this set the value of the key, or removes the key, and replies with its number of members;
/// the key's event is `event`.
fn store(mut destination: WriteView<'_>, call: &mut Call<'_>, set: SortedSet, event: &'static str) {
    let count = set.len();
    call.reply.count(count);
    if count > 0 {
        destination.set_value(Value::SortedSet(set), None);
        destination.note_more_changes(count - 1);
        destination.notify(EventSet::SORTED_SET, event);
    } else if destination.remove() {
        destination.notify(EventSet::GENERIC, "del");
    }
}

fn geosearchstore(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let stored = {
        let source = view.reads().nth(1);
        let set = source.as_ref().map_or(Ok(None), ReadView::sorted_set)?;
        let query = Query::parse(call.args, Form::Search { stores: true }, set)?;
        set.map_or_else(SortedSet::new, |set| query.to_store(set))
    };
    if let Some(destination) = view.key(0) {
        store(destination, call, stored, "geosearchstore");
    }
    Ok(())
}

/// A search that may store what it finds: then the keys behind all words that may ask for it are
/// locked, and the options say which of them it is.
fn search_or_store(sweeper: &mut Sweeper<'_, '_>, call: &mut Call<'_>, form: Form) -> Outcome {
    let args = call.args;
    let key = args.at(1);
    let is_store = |word: &[u8]| is_word(word, "STORE") || is_word(word, "STOREDIST");
    let words = args.iter_from(form.options_start()).zip(args.iter_from(form.options_start() + 1));
    let mut named: SmallVec<[&[u8]; 4]> = SmallVec::from_slice(&[key]);
    named.extend(words.filter(|(word, _)| is_store(word)).map(|(_, key)| key));
    if named.len() == 1 {
        return sweeper.read_any(Some(&named), |view| search(&view.key(key), call, form))?;
    }
    sweeper.write_any(Some(&named), |view| {
        let source = view.key(key);
        let source = source.read();
        let set = source.sorted_set()?;
        let query = Query::parse(args, form, set)?;
        let Some(destination) = query.target.and_then(|target| target.key) else {
            query.reply(&mut call.reply, set);
            return Ok(());
        };
        let stored = set.map_or_else(SortedSet::new, |set| query.to_store(set));
        store(view.key(destination), call, stored, "georadiusstore");
        Ok(())
    })?
}

fn georadius(sweeper: &mut Sweeper<'_, '_>, call: &mut Call<'_>) -> Outcome {
    search_or_store(sweeper, call, Form::Radius { may_store: true })
}

fn georadiusbymember(sweeper: &mut Sweeper<'_, '_>, call: &mut Call<'_>) -> Outcome {
    search_or_store(sweeper, call, Form::RadiusByMember { may_store: true })
}
