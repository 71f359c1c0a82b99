//! Places on the earth: held against redis-server, digit for digit.

use super::{OK, WRONG_TYPE, elements, expect_alike, expect_wrong_arity};
use crate::harness::random::{Random, seed};
use crate::harness::wire::{Wire, bulks};
use crate::it;

/// Places that are near each other, far apart, and at the edges of the map.
const SETUP: &[&str] = &[
    "GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "GEOADD g 13.583333 37.316667 Agrigento 12.758489 38.788135 edge1 17.241510 38.788135 edge2",
    "GEOADD g 0 0 origin 180 85.05112878 corner -180 -85.05112878 opposite 180 0 east -180 0 west",
    "GEOADD g -73.9733487 40.7648057 park -0.1277 51.5073 london 179.9 -89 south",
    "GEOADD g 151.2093 -33.8688 sydney -70.6693 -33.4489 santiago 18.0686 79.3293 north",
    "GEOADD near 13.0 38.0 a 13.0 38.0 b 13.00001 38.0 c 13.0 38.00001 d -13 38 e",
];

const CENTRES: &[&str] = &[
    "FROMLONLAT 15 37",
    "FROMLONLAT -180 0",
    "FROMLONLAT 180 85.05112878",
    "FROMLONLAT 0 -85.05112878",
    "FROMMEMBER Palermo",
    "FROMMEMBER sydney",
    "FROMMEMBER north",
    "FROMMEMBER corner",
];

const SHAPES: &[&str] = &[
    "BYRADIUS 200 km",
    "BYRADIUS 0 m",
    "BYRADIUS 0.001 ft",
    "BYRADIUS 5000 KM",
    "BYRADIUS 12000 mi",
    "BYRADIUS 30000 km",
    "BYRADIUS inf m",
    "BYRADIUS 1e300 m",
    "BYBOX 400 400 km",
    "BYBOX 0 0 m",
    "BYBOX 10000 100 mi",
    "BYBOX 40000 40000 km",
    "BYBOX 1 inf ft",
];

const WISHES: &[&str] = &[
    "",
    "ASC",
    "DESC WITHDIST",
    "COUNT 3 WITHCOORD WITHDIST WITHHASH",
    "COUNT 2 DESC",
    "COUNT 100 ANY withhash",
];

#[test]
fn searches_find_the_same_in_the_same_order() {
    let mut lines: Vec<String> = SETUP.iter().map(|line| (*line).to_owned()).collect();
    for centre in CENTRES {
        for shape in SHAPES {
            for wish in WISHES {
                lines.push(format!("GEOSEARCH g {centre} {shape} {wish}"));
            }
            lines.push(format!("GEOSEARCHSTORE d g {shape} {centre} COUNT 5"));
            lines.push("ZRANGE d 0 -1 WITHSCORES".to_owned());
            lines.push(format!("GEOSEARCHSTORE d g {shape} STOREDIST {centre}"));
            lines.push("ZRANGE d 0 -1 WITHSCORES".to_owned());
        }
    }
    lines.push("GEOSEARCH near FROMMEMBER a BYRADIUS 9999 km ASC".to_owned());
    lines.push("GEOSEARCH near FROMMEMBER a BYRADIUS 9999 km DESC".to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    expect_alike(false, &lines);
    expect_alike(true, &lines);
}

#[test]
fn members_have_the_same_places_hashes_and_distances() {
    let members =
        ["Palermo", "Catania", "corner", "opposite", "east", "west", "sydney", "none", "origin"];
    let mut lines: Vec<String> = SETUP.iter().map(|line| (*line).to_owned()).collect();
    lines.push("GEOPOS g Palermo none corner opposite park".to_owned());
    lines.push("GEOHASH g Palermo none corner opposite park london".to_owned());
    // Scores that are no places.
    lines.push("ZADD odd -1 a 1e300 b inf c -inf d 0.5 e 4503599627370497.5 f 1.8e19 g".to_owned());
    lines.push("ZADD odd -1e17 h 9223372036854775808 i -9223372036854775808 j".to_owned());
    lines.push("GEOPOS odd a b c d e f g h i j".to_owned());
    lines.push("GEOHASH odd a b c d e f g h i j".to_owned());
    lines.push("GEOSEARCH odd FROMMEMBER a BYRADIUS 100 km ASC WITHHASH WITHDIST".to_owned());
    lines.push("GEOSEARCH odd FROMMEMBER e BYBOX 9000 9000 km ASC WITHHASH WITHDIST".to_owned());
    for other in ["b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        lines.push(format!("GEODIST odd a {other}"));
    }
    for one in members {
        for other in members {
            for unit in ["", "m", "KM", "ft", "Mi"] {
                lines.push(format!("GEODIST g {one} {other} {unit}"));
            }
        }
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    expect_alike(false, &lines);
    expect_alike(true, &lines);
}

#[test]
fn many_random_places_are_found_alike() {
    let mut random = Random::new(seed("geo"));
    let mut degrees = |max: u64| {
        let part = random.next() % (2_000_000 * max);
        part as f64 / 1e6 - max as f64
    };
    let mut lines: Vec<String> = (0..2_000)
        .map(|n| format!("GEOADD g {:.6} {:.6} m{n}", degrees(180), degrees(85)))
        .collect();
    for round in 0..300_u32 {
        let centre = format!("{:.4} {:.4}", degrees(180), degrees(85));
        let extent = 1.1_f64.powi(round as i32 % 120) * 10.0;
        lines.push(format!(
            "GEOSEARCH g FROMLONLAT {centre} BYRADIUS {extent:.3} km WITHDIST COUNT 50"
        ));
        lines.push(format!("GEORADIUS_RO g {centre} {extent:.3} mi"));
        lines.push(format!(
            "GEOSEARCH g FROMLONLAT {centre} BYBOX {extent:.3} {:.3} km WITHCOORD",
            extent / 3.0
        ));
        lines.push(format!("GEOSEARCH g FROMLONLAT {centre} BYRADIUS {extent:.3} km COUNT 7 ANY"));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    expect_alike(false, &lines);
}

#[test]
fn what_is_wrong_is_refused_alike() {
    let lines = &[
        "SET s v",
        "GEOADD g 1 2 a",
        "GEOADD g",
        "GEOADD g 1 2",
        "GEOADD g 1 2 a 3",
        "GEOADD g 181 2 a",
        "GEOADD g 1 86 a",
        "GEOADD g -181.5 -1e300 a",
        "GEOADD g inf 1 a",
        "GEOADD g nan 1 a",
        "GEOADD g x 1 a",
        "GEOADD g 1 y a",
        "GEOADD g NX XX 1 2 a",
        "GEOADD g NX CH",
        "GEOADD g NX CH CH",
        "GEOADD g XX CH CH",
        "GEOADD g GT 1 2 a",
        "GEOADD s 1 2 a",
        "GEOADD s 181 2 a",
        "GEOADD g CH XX 1 2.5 a",
        "GEOADD g NX 1 3 a 4 5 b",
        "GEOADD g nx ch 1 3 a 4 5 b 6 7 c",
        "GEOADD new XX 1 2 a",
        "EXISTS new",
        "GEODIST g a",
        "GEODIST g a b yard",
        "GEODIST g a b m m",
        "GEODIST s a b",
        "GEODIST none a b",
        "GEODIST none a b yard",
        "GEOPOS g",
        "GEOPOS none a b",
        "GEOPOS s",
        "GEOPOS",
        "GEOHASH g",
        "GEOHASH none a",
        "GEOHASH s a",
        "GEOSEARCH s x x x x x",
        "GEOSEARCH g FROMMEMBER a BYRADIUS 1",
        "GEOSEARCH g FROMMEMBER none BYRADIUS 1 m",
        "GEOSEARCH g FROMMEMBER a BYRADIUS 1 yard",
        "GEOSEARCH g FROMMEMBER a BYRADIUS -1 m",
        "GEOSEARCH g FROMMEMBER a BYRADIUS x m",
        "GEOSEARCH g FROMMEMBER a BYBOX x 1 m",
        "GEOSEARCH g FROMMEMBER a BYBOX 1 x m",
        "GEOSEARCH g FROMMEMBER a BYBOX 1 -1 m",
        "GEOSEARCH g FROMMEMBER a BYBOX 1 1 m BYRADIUS 1 m",
        "GEOSEARCH g FROMMEMBER a BYRADIUS 1 m BYBOX 1 1 m",
        "GEOSEARCH g FROMMEMBER a BYRADIUS 1 m BYRADIUS 900 km",
        "GEOSEARCH g FROMMEMBER a FROMLONLAT 1 1 BYRADIUS 1 m",
        "GEOSEARCH g FROMLONLAT 1 1 FROMMEMBER a BYRADIUS 1 m",
        "GEOSEARCH g FROMLONLAT 1 1 FROMLONLAT 1 2 BYRADIUS 1 m",
        "GEOSEARCH g FROMMEMBER a FROMMEMBER b BYRADIUS 1 m",
        "GEOSEARCH none FROMMEMBER a FROMLONLAT 1 1 BYRADIUS 1 m",
        "GEOSEARCH none FROMMEMBER a BYRADIUS 1 m",
        "GEOSEARCH none FROMMEMBER a BYRADIUS 1 yard",
        "GEOSEARCH g FROMMEMBER a ASC ASC ASC ASC",
        "GEOSEARCH g BYRADIUS 1 m ASC ASC ASC",
        "geoSearch g BYRADIUS 1 m ASC ASC ASC",
        "GEOSEARCH g FROMMEMBER a BYRADIUS 1 m COUNT 0",
        "GEOSEARCH g FROMMEMBER a BYRADIUS 1 m COUNT -1",
        "GEOSEARCH g FROMMEMBER a BYRADIUS 1 m COUNT x",
        "GEOSEARCH g FROMMEMBER a BYRADIUS 1 m COUNT",
        "GEOSEARCH g FROMMEMBER a BYRADIUS 1 m ANY",
        "GEOSEARCH g FROMMEMBER a BYRADIUS 1 m ANY COUNT 1",
        "GEOSEARCH g FROMMEMBER a BYRADIUS 1 m STOREDIST",
        "GEOSEARCH g FROMMEMBER a BYRADIUS 1 m STORE d",
        "GEOSEARCHSTORE d g FROMMEMBER a BYRADIUS 1 m WITHDIST",
        "GEOSEARCHSTORE d g FROMMEMBER a BYRADIUS 1 m STORE d",
        "GEOSEARCHSTORE d s FROMMEMBER a BYRADIUS 1 m",
        "GEOSEARCHSTORE s g FROMMEMBER a BYRADIUS 1 m",
        "TYPE s",
        "GEORADIUS g 1 2 1",
        "GEORADIUS g 1 2 1 yard",
        "GEORADIUS g 181 2 1 m",
        "GEORADIUS g 1 2 -1 m",
        "GEORADIUS g 1 2 1 m STORE",
        "GEORADIUS g 1 2 1 m STORE d WITHDIST",
        "GEORADIUS g 1 2 1 m STOREDIST d WITHHASH",
        "GEORADIUS g 1 2 1 m FROMMEMBER a",
        "GEORADIUS g 1 2 1 m COUNT STORE d",
        "GEORADIUS g 1 2 900 km STORE d STOREDIST e",
        "EXISTS d e",
        "GEORADIUS g 1 2 900 km STORE STORE STORE d",
        "ZRANGE d 0 -1 WITHSCORES",
        "ZRANGE STORE 0 -1 WITHSCORES",
        "GEORADIUS g 1 2 900 km STORE STORE",
        "ZRANGE STORE 0 -1 WITHSCORES",
        "GEORADIUS_RO g 1 2 900 km STORE d",
        "GEORADIUS_RO g 1 2 900 km",
        "GEORADIUSBYMEMBER g a 900 km STORE g",
        "GEORADIUSBYMEMBER g none 900 km",
        "GEORADIUSBYMEMBER none a x y",
        "GEORADIUSBYMEMBER none a x y STORE d",
        "EXISTS d",
        "GEORADIUSBYMEMBER none a x y nonsense",
        "GEORADIUSBYMEMBER_RO g a 900 km STORE d",
        "GEORADIUSBYMEMBER_RO g a 900 km WITHDIST",
        "GEORADIUSBYMEMBER g a 900 km DESC STOREDIST g",
        "ZRANGE g 0 -1 WITHSCORES",
        "COMMAND GETKEYS GEORADIUS k 1 2 3 m store a STORE b STOREDIST c STOREDIST",
        "COMMAND GETKEYS GEORADIUS k STORE b 3 m",
        "COMMAND GETKEYSANDFLAGS GEORADIUSBYMEMBER k m 3 m STOREDIST a",
        "COMMAND GETKEYSANDFLAGS GEOSEARCHSTORE d s x x x x x",
    ];
    expect_alike(false, lines);
    expect_alike(true, lines);
}

transcript!(found_members_are_stored, |wire| {
    wire.expect("GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", ":2\r\n");
    wire.expect("SET d v EX 100", OK);
    wire.expect("GEORADIUS g 15 37 200 km STORE d", ":2\r\n").expect("TTL d", ":-1\r\n");
    wire.expect("ZRANGE d 0 -1", bulks(&["Palermo", "Catania"]));
    wire.expect("GEORADIUSBYMEMBER g Catania 200 km STOREDIST d", ":2\r\n");
    wire.expect("ZRANGE d 0 0 WITHSCORES", bulks(&["Catania", "0"]));
    wire.expect("GEOSEARCHSTORE d g FROMLONLAT 0 0 BYRADIUS 1 m", ":0\r\n");
    wire.expect("EXISTS d", ":0\r\n").expect("SET s v", OK);
    wire.expect("GEORADIUS s 1 1 1 m STORE d", WRONG_TYPE);
    wire.expect("MULTI", OK).expect("GEORADIUS g 15 37 200 km STORE d", "+QUEUED\r\n");
    wire.expect("GEORADIUS g 15 37 200 km COUNT 1", "+QUEUED\r\n");
    wire.expect("GEOSEARCHSTORE g d FROMMEMBER Palermo BYBOX 1 1 m", "+QUEUED\r\n");
    wire.expect("EXEC", "*3\r\n:2\r\n*1\r\n$7\r\nCatania\r\n:1\r\n");
    wire.expect("ZRANGE g 0 -1", bulks(&["Palermo"]));
    expect_wrong_arity(&mut wire, &["GEOADD a 1 2", "GEOSEARCH a b c", "GEOSEARCHSTORE a b"]);
    expect_wrong_arity(&mut wire, &["GEORADIUS a 1 2 3", "GEORADIUSBYMEMBER a b 1"]);
});

it!(a_search_for_any_stops_early_in_a_large_set, |server| {
    let mut wire: Wire = server.wire();
    let mut request = vec!["GEOADD".to_owned(), "g".to_owned()];
    for n in 0..5_000 {
        request.extend([format!("{:.3}", f64::from(n) / 5_000.0), "0".to_owned(), format!("m{n}")]);
    }
    wire.send_args(&request).expect_reply(":5000\r\n");
    let found = elements(&wire.run("GEOSEARCH g FROMLONLAT 0 0 BYRADIUS 999 km COUNT 100 ANY"));
    assert_eq!(found.len(), 100);
    let found = elements(&wire.run("GEOSEARCH g FROMLONLAT 0 0 BYRADIUS 999 km"));
    assert_eq!(found.len(), 5_000);
});
