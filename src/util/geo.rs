//! Places on the earth as numbers: what scores of the geo commands mean.
//!
//! A place becomes a whole number of 52 bits, half of them from its latitude and half from its
//! longitude, taken by turns. So all places of a cell, which is what the first `2 * step` of the
//! bits choose, have numbers that follow one another, and the places around a centre are found in
//! nine ranges of numbers: those of its cell and of the eight around it.
//!
//! ```text
//!   longitude  1   0   1   ...        each bit halves what is left of the range,
//!   latitude     0   1   1 ...        -180..180 or -85.05..85.05 degrees
//!   number     1 0 0 1 1 1 ...
//! ```
//!
//! Every sum is done in the order in which Redis does it, so that all digits are Redis'. Numbers
//! that are no place are decoded as its conversions on x86-64 do.

use smallvec::SmallVec;
use std::f64::consts::PI;
use std::ops::Range;

/// Longitudes go from its negative to this, in degrees.
pub const LONGITUDE_MAX: f64 = 180.0;
/// Latitudes go from its negative to this, in degrees: beyond, a square map has no place for them.
pub const LATITUDE_MAX: f64 = 85.051_128_78;
/// Latitudes of the geohashes that others use go this far.
const LATITUDE_MAX_ELSEWHERE: f64 = 90.0;
/// How often both ranges are halved for a whole number.
const STEP_MAX: u32 = 26;
/// The radius of the earth in metres, as Redis has it.
const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
/// Half of the width of the square map, in metres.
const MAP_HALF_M: f64 = 20_037_726.37;
/// Bits of a number that come from the latitude, and those from the longitude.
const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;
const LONGITUDE_BITS: u64 = !LATITUDE_BITS;
const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
/// Letters of a geohash.
pub const GEOHASH_LETTERS: usize = 11;
/// The cell of a centre and those around it, in the order in which they are searched: how far to
/// the east and to the north.
const AROUND: [(i8, i8); 9] =
    [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];

fn radians(degrees: f64) -> f64 {
    degrees * (PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (PI / 180.0)
}

/// A number that C's conversion of a double gives, also where the double is no such number.
fn whole_bits(score: f64) -> u64 {
    const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
    let signed = |score: f64| {
        // What does not fit becomes the least number.
        if score.abs() < TOO_LARGE { score as i64 } else { i64::MIN }
    };
    if score < TOO_LARGE {
        signed(score).cast_unsigned()
    } else {
        (signed(score - TOO_LARGE) ^ i64::MIN).cast_unsigned()
    }
}

/// Puts a zero bit before each of the bits.
fn spread(bits: u32) -> u64 {
    let mut bits = u64::from(bits);
    bits = (bits | (bits << 16)) & 0x0000_ffff_0000_ffff;
    bits = (bits | (bits << 8)) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | (bits << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | (bits << 2)) & 0x3333_3333_3333_3333;
    (bits | (bits << 1)) & LATITUDE_BITS
}

/// Takes every second bit, from the lowest on.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & LATITUDE_BITS;
    bits = (bits | (bits >> 1)) & 0x3333_3333_3333_3333;
    bits = (bits | (bits >> 2)) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | (bits >> 4)) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | (bits >> 8)) & 0x0000_ffff_0000_ffff;
    (bits | (bits >> 16)) as u32
}

/// A place, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// To the east.
    pub longitude: f64,
    /// To the north.
    pub latitude: f64,
}

impl Place {
    /// True when it is on the map.
    #[must_use]
    pub fn is_on_map(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    /// Its number, which is whole.
    #[must_use]
    pub fn to_score(self) -> f64 {
        Cell::of(self, STEP_MAX, LATITUDE_MAX).bits as f64
    }

    /// The middle of what a number stands for; any number stands for a place on the map.
    #[must_use]
    pub fn from_score(score: f64) -> Self {
        let bounds = Cell { bits: whole_bits(score), step: STEP_MAX }.bounds();
        let middle = |low: f64, high: f64, max: f64| f64::midpoint(low, high).clamp(-max, max);
        Self {
            longitude: middle(bounds.west, bounds.east, LONGITUDE_MAX),
            latitude: middle(bounds.south, bounds.north, LATITUDE_MAX),
        }
    }

    /// Metres to the other place along the surface. Rounding might make it NaN for places that are
    /// opposite.
    #[must_use]
    pub fn distance_m(self, other: Self) -> f64 {
        let east = ((radians(other.longitude) - radians(self.longitude)) / 2.0).sin();
        if east == 0.0 {
            return self.latitude_distance_m(other);
        }
        let (here, there) = (radians(self.latitude), radians(other.latitude));
        let north = ((there - here) / 2.0).sin();
        let a = north * north + here.cos() * there.cos() * east * east;
        2.0 * EARTH_RADIUS_M * a.sqrt().asin()
    }

    fn latitude_distance_m(self, other: Self) -> f64 {
        EARTH_RADIUS_M * (radians(other.latitude) - radians(self.latitude)).abs()
    }

    /// Its geohash as others write it; the last letter would need more bits than there are.
    #[must_use]
    pub fn geohash(self) -> [u8; GEOHASH_LETTERS] {
        let bits = Cell::of(self, STEP_MAX, LATITUDE_MAX_ELSEWHERE).bits;
        let mut letters = [b'0'; GEOHASH_LETTERS];
        let places = (0..2 * STEP_MAX - 4).rev().step_by(5);
        for (letter, place) in letters.iter_mut().zip(places) {
            let index = (bits >> place) as usize % ALPHABET.len();
            *letter = ALPHABET.get(index).copied().unwrap_or(b'0');
        }
        letters
    }
}

/// The longest distance that two places can have, in metres.
#[must_use]
pub fn distance_max_m() -> f64 {
    PI * EARTH_RADIUS_M
}

/// The edges of a part of the map, in degrees.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

/// All places whose numbers begin with the same `2 * step` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    bits: u64,
    step: u32,
}

impl Cell {
    /// The cell of a place on a map whose latitudes go up to `latitude_max`.
    fn of(place: Place, step: u32, latitude_max: f64) -> Self {
        let part = |degrees: f64, max: f64| {
            let offset = (degrees + max) / (max + max);
            spread((offset * (1_u64 << step) as f64) as u32)
        };
        let longitude = part(place.longitude, LONGITUDE_MAX);
        Self { bits: part(place.latitude, latitude_max) | (longitude << 1), step }
    }

    fn bounds(self) -> Bounds {
        let edge = |number: u32, max: f64| {
            -max + (f64::from(number) / (1_u64 << self.step) as f64) * (max + max)
        };
        let (east, north) = (gather(self.bits >> 1), gather(self.bits));
        Bounds {
            west: edge(east, LONGITUDE_MAX),
            east: edge(east.wrapping_add(1), LONGITUDE_MAX),
            south: edge(north, LATITUDE_MAX),
            north: edge(north.wrapping_add(1), LATITUDE_MAX),
        }
    }

    /// The cell beside it; behind the edge of the map comes the other edge.
    fn beside(self, east: i8, north: i8) -> Self {
        self.moved(east, LONGITUDE_BITS).moved(north, LATITUDE_BITS)
    }

    /// Adds to the bits that `own` has. The others are filled so that a carry runs through them.
    fn moved(self, by: i8, own: u64) -> Self {
        let unused = 64 - 2 * self.step;
        let others = !own >> unused;
        let moved = match by {
            0 => return self,
            1.. => (self.bits & own).wrapping_add(others.wrapping_add(1)),
            _ => ((self.bits & own) | others).wrapping_sub(others.wrapping_add(1)),
        };
        Self { bits: (moved & (own >> unused)) | (self.bits & !own), step: self.step }
    }

    /// The numbers of its places.
    fn scores(self) -> Range<f64> {
        let unused = 2 * (STEP_MAX - self.step);
        ((self.bits << unused) as f64)..((self.bits.wrapping_add(1) << unused) as f64)
    }
}

/// What is searched around a centre, in the unit of the [`Area`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// All that is not farther away.
    Circle {
        /// How far.
        radius: f64,
    },
    /// All in a box whose edges run along the degrees.
    Box {
        /// From west to east.
        width: f64,
        /// From south to north.
        height: f64,
    },
}

/// A part of the map around a centre.
#[derive(Debug, Clone, Copy)]
pub struct Area {
    /// Its middle.
    pub centre: Place,
    /// Its extent.
    pub shape: Shape,
    /// Metres of the unit of its extent.
    pub unit_m: f64,
}

impl Area {
    /// Metres from the centre to `place`, `None` when it is outside; what is no number is inside.
    #[must_use]
    pub fn distance_m(&self, place: Place) -> Option<f64> {
        match self.shape {
            Shape::Circle { radius } => {
                let distance = self.centre.distance_m(place);
                let is_outside = distance > radius * self.unit_m;
                (!is_outside).then_some(distance)
            }
            Shape::Box { width, height } => {
                if place.latitude_distance_m(self.centre) > height * self.unit_m / 2.0 {
                    return None;
                }
                let beside = Place { longitude: self.centre.longitude, ..place };
                if place.distance_m(beside) > width * self.unit_m / 2.0 {
                    return None;
                }
                Some(self.centre.distance_m(place))
            }
        }
    }

    /// The ranges of numbers in which all places of the area are, in the order of the search.
    ///
    /// A very large area may have more places than these have, as in Redis. Cost: O(1).
    #[must_use]
    pub fn score_ranges(&self) -> SmallVec<[Range<f64>; 9]> {
        let bounds = self.bounds();
        let mut step = self.step();
        let mut cell = Cell::of(self.centre, step, LATITUDE_MAX);
        if step > 1 && !is_covered(cell, bounds) {
            step -= 1;
            cell = Cell::of(self.centre, step, LATITUDE_MAX);
        }
        let own = cell.bounds();
        // Nothing of the area is beyond an edge of its centre's cell that the area does not reach.
        let is_needed = |east: i8, north: i8| {
            step < 2
                || !((north < 0 && own.south < bounds.south)
                    || (north > 0 && own.north > bounds.north)
                    || (east < 0 && own.west < bounds.west)
                    || (east > 0 && own.east > bounds.east))
        };
        let mut ranges = SmallVec::new();
        let mut last = None;
        for (number, (east, north)) in AROUND.into_iter().enumerate() {
            let next = cell.beside(east, north);
            // Where cells are few, one may be on both sides of the centre.
            if is_needed(east, north) && last != Some(next) {
                ranges.push(next.scores());
                last = (number > 0).then_some(next);
            }
        }
        ranges
    }

    fn bounds(&self) -> Bounds {
        let Place { longitude, latitude } = self.centre;
        let (width, height) = match self.shape {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let north = degrees(self.unit_m * height / EARTH_RADIUS_M);
        let wider = if latitude < 0.0 { latitude - north } else { latitude + north };
        let east = degrees(self.unit_m * width / EARTH_RADIUS_M / radians(wider).cos());
        Bounds {
            west: longitude - east,
            east: longitude + east,
            south: latitude - north,
            north: latitude + north,
        }
    }

    /// How often the map is halved for cells that are as large as the area.
    fn step(&self) -> u32 {
        let extent = match self.shape {
            Shape::Circle { radius } => radius,
            Shape::Box { width, height } => {
                let (east, north) = (width / 2.0, height / 2.0);
                (east * east + north * north).sqrt()
            }
        };
        let mut extent_m = extent * self.unit_m;
        if extent_m == 0.0 {
            return STEP_MAX;
        }
        let mut step: i32 = -1;
        while extent_m < MAP_HALF_M {
            extent_m *= 2.0;
            step += 1;
        }
        // Towards the poles cells are narrower.
        let latitude = self.centre.latitude.abs();
        step -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        step.clamp(1, STEP_MAX.cast_signed()).cast_unsigned()
    }
}

/// True when `cell` and those around it reach as far as `bounds` in all four directions.
fn is_covered(cell: Cell, bounds: Bounds) -> bool {
    let falls_short = cell.beside(0, 1).bounds().north < bounds.north
        || cell.beside(0, -1).bounds().south > bounds.south
        || cell.beside(1, 0).bounds().east < bounds.east
        || cell.beside(-1, 0).bounds().west > bounds.west;
    !falls_short
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PALERMO: Place = Place { longitude: 13.361_389, latitude: 38.115_556 };
    const CATANIA: Place = Place { longitude: 15.087_269, latitude: 37.502_669 };

    #[test]
    fn places_have_the_numbers_and_names_that_redis_documents() {
        assert_eq!(PALERMO.to_score(), 3_479_099_956_230_698.0);
        assert_eq!(CATANIA.to_score(), 3_479_447_370_796_909.0);
        let [palermo, catania] = [PALERMO, CATANIA].map(|p| Place::from_score(p.to_score()));
        assert_eq!(&palermo.geohash(), b"sqc8b49rny0");
        assert_eq!(&catania.geohash(), b"sqdtr74hyu0");
        assert_eq!(palermo.longitude, 13.361_389_338_970_184);
        assert!((palermo.distance_m(catania) - 166_274.151_6).abs() < 1e-4);
    }

    #[test]
    fn any_number_is_decoded_as_c_on_x86_converts_it() {
        assert_eq!(whole_bits(-1.0), u64::MAX);
        assert_eq!(whole_bits(-1.9), u64::MAX);
        assert_eq!(whole_bits(1.9), 1);
        assert_eq!(whole_bits(9_223_372_036_854_775_808.0), 1 << 63);
        assert_eq!(whole_bits(1e300), 0);
        assert_eq!(whole_bits(f64::INFINITY), 0);
        assert_eq!(whole_bits(-1e300), 1 << 63);
        assert_eq!(whole_bits(f64::NEG_INFINITY), 1 << 63);
        for score in [-1.0, 1e300, f64::INFINITY, f64::NEG_INFINITY, -0.5, 4.5e15, 9.3e18] {
            assert!(Place::from_score(score).is_on_map(), "{score}");
        }
    }

    #[test]
    fn cells_beside_a_cell_wrap_around_the_map() {
        let cell = Cell::of(PALERMO, 2, LATITUDE_MAX);
        let mut other = cell;
        for _ in 0..4 {
            other = other.beside(1, 1);
        }
        assert_eq!(other, cell);
        assert_eq!(cell.beside(1, -1).beside(-1, 1), cell);
        assert_eq!(gather(spread(0xdead_beef)), 0xdead_beef);
    }

    fn any_place() -> impl Strategy<Value = Place> {
        (-LONGITUDE_MAX..LONGITUDE_MAX, -80.0..80.0_f64)
            .prop_map(|(longitude, latitude)| Place { longitude, latitude })
    }

    proptest! {
        #[test]
        fn a_place_is_found_again_within_a_metre(place in any_place()) {
            let found = Place::from_score(place.to_score());
            prop_assert!(place.distance_m(found) < 1.0, "{place:?} {found:?}");
        }

        #[test]
        fn a_search_goes_through_all_that_is_inside(
            centre in any_place(),
            away in (-0.5..0.5_f64, -0.5..0.5_f64),
            extent in 1.0..300.0_f64,
            is_box in any::<bool>(),
        ) {
            let place = Place {
                longitude: centre.longitude + away.0,
                latitude: centre.latitude + away.1,
            };
            prop_assume!(place.is_on_map());
            let shape = if is_box {
                Shape::Box { width: extent, height: extent / 2.0 }
            } else {
                Shape::Circle { radius: extent }
            };
            let area = Area { centre, shape, unit_m: 1000.0 };
            let score = place.to_score();
            let found = area.score_ranges().iter().filter(|range| range.contains(&score)).count();
            prop_assert!(found <= 1);
            if area.distance_m(place).is_some() {
                prop_assert_eq!(found, 1);
            }
        }
    }
}
