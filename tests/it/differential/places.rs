//! The templates of the geo commands, and what fills them.
//!
//! Their keys are their own. No two members of those that are searched are at the same place: where
//! distances are equal, Redis takes some members for COUNT in a way that is not stable.

use super::generate::Generator;

/// How often a form is taken, and its template.
#[rustfmt::skip]
pub const FORMS: &[(usize, &str)] = &[
    (40, "GEOADD {geokey} {geoadd_options} {places}"),
    (3, "GEOADD {key} {places}"),
    (3, "ZADD {geokey} {word:-1|1e300|inf|-inf|1.8e19|-1e17} {word:w1|w2|w3}"),
    (4, "ZREM {geokey} {geomember} {geomember}"),
    (1, "DEL {geokey}"),
    (12, "GEODIST {geokey} {geomember} {geomember} {unit}"),
    (4, "GEODIST {geokey} {geomember} {geomember}"),
    (12, "GEOPOS {geokey} {geomember} {geomember} {word:w1|w2|w3}"),
    (12, "GEOHASH {geokey} {geomember} {geomember} {word:w1|w2|w3}"),
    (3, "GEOPOS {key} {members}"),
    (3, "GEOHASH {key} {members}"),
    (50, "GEOSEARCH {geokey} {from} {by} {search_options}"),
    (6, "GEOSEARCH {geokey} {by} {search_options} {from} {search_options}"),
    (4, "GEOSEARCH {key} FROMLONLAT {place} {by}"),
    (15, "GEOSEARCHSTORE {geokey} {geokey} {from} {by} {store_options}"),
    (10, "GEOSEARCHSTORE {geodistances} {geokey} {from} {by} {store_options} STOREDIST"),
    (3, "GEOSEARCHSTORE {plain} {geokey} {from} {by}; DEL {same}"),
    (20, "GEORADIUS {geokey} {place} {radius} {unit} {search_options}"),
    (6, "GEORADIUS {geokey} {place} {radius} {unit} {word:STORE|store|ASC|x} {geokey}"),
    (6, "GEORADIUS {geokey} {place} {radius} {unit} STOREDIST {geodistances}"),
    (10, "GEORADIUS_RO {geokey} {place} {radius} {unit} {search_options}"),
    (15, "GEORADIUSBYMEMBER {geokey} {geomember} {radius} {unit} {search_options}"),
    (5, "GEORADIUSBYMEMBER {geokey} {geomember} {radius} {unit} STORE {geokey}"),
    (5, "GEORADIUSBYMEMBER {geokey} {geomember} {radius} {unit} STOREDIST {geodistances}"),
    (8, "GEORADIUSBYMEMBER_RO {geokey} {geomember} {radius} {unit} {search_options}"),
];

/// Places at edges, and what is no place; a member may stand at one of them in all keys.
const EDGES: &[(&str, &str)] = &[
    ("180", "85.05112878"),
    ("-180", "-85.05112878"),
    ("180", "0.5"),
    ("-179.9999", "0"),
    ("0", "0"),
    ("-0", "-85.05112877"),
    ("0.1", "67"),
    ("12.25", "-81"),
];
const WRONG: &[&str] = &["181", "-180.0001", "inf", "-inf", "nan", "x", "", "1e400", "0x10"];

impl Generator {
    /// Fills a placeholder that only these templates have.
    pub(super) fn of_places(&mut self, name: &str, args: &mut Vec<Vec<u8>>) {
        match name {
            "geokey" => args.push(self.pick_bytes(&["geo:1", "geo:2", "geo:3", "geo:none"])),
            "geodistances" => args.push(self.pick_bytes(&["geo:d1", "geo:d2"])),
            "geomember" => {
                let member = self.geomember();
                args.push(member);
            }
            "place" => self.place(args),
            "places" => self.repeat(1, 3, args, |own, args| {
                let edge = own.random.below(EDGES.len() * 8);
                if let Some((longitude, latitude)) = EDGES.get(edge) {
                    args.push((*longitude).into());
                    args.push((*latitude).into());
                    args.push(format!("edge{edge}").into_bytes());
                } else {
                    own.place(args);
                    args.push(own.geomember());
                }
            }),
            "geoadd_options" => self.repeat(0, 2, args, |own, args| {
                let option = own.pick_bytes(&["NX", "XX", "CH", "ch", "CH", "GT", ""]);
                args.extend((!option.is_empty()).then_some(option));
            }),
            "unit" => args.push(self.pick_bytes(&["m", "km", "KM", "ft", "mi", "M", "yd", ""])),
            "radius" => {
                let radius = self.extent();
                args.push(radius);
            }
            "from" => match self.random.below(10) {
                0..5 => {
                    args.push(self.recased(b"FROMMEMBER"));
                    args.push(self.geomember());
                }
                5..9 => {
                    args.push(self.recased(b"FROMLONLAT"));
                    self.place(args);
                }
                _ => {}
            },
            "by" => self.shape(args),
            "search_options" => self.repeat(0, 3, args, |own, args| own.search_option(args, false)),
            "store_options" => self.repeat(0, 2, args, |own, args| own.search_option(args, true)),
            _ => self.of_scripts(name, args),
        }
    }

    fn geomember(&mut self) -> Vec<u8> {
        let number = self.random.below(60);
        if number < EDGES.len() { format!("edge{number}") } else { format!("p{number}") }
            .into_bytes()
    }

    /// A longitude and a latitude that come but once.
    fn place(&mut self, args: &mut Vec<Vec<u8>>) {
        let near = self.random.chance(50);
        for (max, middle) in [(180.0, 13.0), (85.0, 38.0)] {
            let part = self.random.next() as f64 / u64::MAX as f64 * 2.0 - 1.0;
            let degrees = if near { middle + part * 3.0 } else { part * max };
            let wrong = self.random.chance(1);
            let text = if wrong { self.pick_bytes(WRONG) } else { format!("{degrees}").into() };
            args.push(text);
        }
    }

    fn extent(&mut self) -> Vec<u8> {
        let part = self.random.next() as f64 / u64::MAX as f64;
        match self.random.below(20) {
            0 => self.pick_bytes(&["0", "-1", "x", "inf", "1e300", "1e-300", "nan", "-0", ""]),
            power => format!("{}", part * 10_f64.powi((power % 9) as i32)).into_bytes(),
        }
    }

    fn shape(&mut self, args: &mut Vec<Vec<u8>>) {
        let is_box = self.random.chance(50);
        let word = if is_box { "BYBOX" } else { "BYRADIUS" };
        args.push(self.recased(word.as_bytes()));
        for _ in 0..1 + usize::from(is_box) {
            args.push(self.extent());
        }
        args.push(self.pick_bytes(&["m", "km", "km", "mi", "ft", "km", "m", "yd"]));
    }

    fn search_option(&mut self, args: &mut Vec<Vec<u8>>, stores: bool) {
        let words = ["ASC", "DESC", "COUNT", "COUNT", "ANY", "x"];
        let own = ["WITHCOORD", "WITHDIST", "WITHHASH", "STOREDIST", "STOREDIST", "withdist"];
        match self.random.below(30) {
            0..20 => {
                let word = self.pick_bytes(&words[..words.len() - usize::from(!stores)]);
                let counts = word == b"COUNT";
                args.push(self.recased(&word));
                if counts {
                    args.push(self.pick_bytes(&["1", "2", "5", "10", "0", "-1", "x", "100"]));
                    args.extend(self.random.chance(40).then(|| b"ANY".to_vec()));
                }
            }
            // What is stored here is searched later.
            _ if stores => args.push(b"ASC".to_vec()),
            _ => args.push(self.pick_bytes(&own)),
        }
    }
}
