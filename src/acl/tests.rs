//! Users and selectors without a server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

fn acl() -> Acl {
    let listed = |name: &str, categories: &[&str]| Listed {
        name: name.to_owned(),
        categories: Categories::of_names(categories.iter().copied()),
        is_subcommand: name.contains('|'),
    };
    Acl::new(Catalog::new(vec![
        listed("get", &["read", "string", "fast"]),
        listed("set", &["write", "string", "slow"]),
        listed("config", &["slow"]),
        listed("config|get", &["admin", "slow", "dangerous"]),
        listed("config|set", &["admin", "slow", "dangerous"]),
        listed("ping", &["fast", "connection"]),
    ]))
}

fn set(acl: &Acl, name: &str, rules: &str) -> Result<Changed, String> {
    let rules: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    let changed = acl.set_user(name.as_bytes(), &rules, false);
    changed.map_err(|text| String::from_utf8(text).unwrap())
}

fn described(acl: &Acl, name: &str) -> String {
    let user = acl.find(name.as_bytes()).unwrap();
    String::from_utf8(user.describe(acl.catalog())).unwrap()
}

#[test]
fn a_change_is_made_as_a_whole_and_raises_the_epoch() {
    let acl = acl();
    let epoch = acl.epoch();
    assert!(set(&acl, "a", "+get +nosuch").is_err());
    assert!(acl.find(b"a").is_none());
    assert_eq!(acl.epoch(), epoch);
    let changed = set(&acl, "a", "on +get ~k*").unwrap();
    assert!(changed.old.is_none() && acl.epoch() > epoch);
    let before = acl.find(b"a").unwrap();
    set(&acl, "a", "-get").unwrap();
    assert!(before.selectors()[0].allows_command(0, None), "who has the old one keeps it");
    assert_eq!(described(&acl, "a"), "on ~k* resetchannels -@all");
    acl.remove([&b"a"[..]].into_iter());
    set(&acl, "a", "").unwrap();
    assert_ne!(acl.find(b"a").unwrap().id, before.id, "it is another user");
}

#[test]
fn the_line_that_is_kept_follows_every_change() {
    let acl = acl();
    let line = |name: &str| {
        let user = acl.find(name.as_bytes()).unwrap();
        let expected = [format!("user {name} ").as_bytes(), &user.describe(acl.catalog())].concat();
        assert_eq!(user.line(acl.catalog()), expected);
        String::from_utf8(expected).unwrap()
    };
    for rules in ["on", "+get", "~k*", "&c", "(+set ~x)", "clearselectors", ">word", "-@all"] {
        let before = acl.find(b"a").map(|_| line("a"));
        set(&acl, "a", rules).unwrap();
        assert_ne!(Some(line("a")), before, "{rules}");
    }
    let before = line("default");
    acl.set_default_password(|| Some(b"word".to_vec()));
    assert_ne!(line("default"), before);
    acl.set_default_password(|| None);
    assert_eq!(line("default"), before);
}

#[test]
fn whether_clients_must_authenticate_follows_the_default_user() {
    let acl = acl();
    let now = || (acl.requires_auth(), acl.default_needs_no_password());
    assert_eq!(now(), (false, true));
    set(&acl, "default", "off").unwrap();
    assert_eq!(now(), (true, true));
    set(&acl, "default", "on >x").unwrap();
    assert_eq!(now(), (true, false));
    acl.set_default_password(|| None);
    assert_eq!(now(), (false, true));
    acl.set_default_password(|| Some(b"y".to_vec()));
    assert!(acl.authenticate(b"default", b"y").is_some());
    assert!(acl.authenticate(b"default", b"x").is_none());
    assert!(acl.authenticate(b"nosuch", b"y").is_none());
}

#[test]
fn only_a_selector_that_allows_everything_is_unrestricted() {
    let acl = acl();
    assert!(acl.default_user().is_unrestricted());
    for (rules, expected) in [
        ("+@all ~* &*", true),
        ("+@all ~* &* -get", false),
        ("+@all ~* &* -get +get", false),
        ("+@all ~*", false),
        ("+@all &* %RW~*", false),
        ("(+@all ~* &*)", true),
        ("(+@all ~*) (&*)", false),
    ] {
        let changed = set(&acl, "a", &format!("reset {rules}")).unwrap();
        assert_eq!(changed.new.is_unrestricted(), expected, "{rules}");
    }
}

#[test]
fn commands_follow_the_last_rule_and_containers_take_their_subcommands_along() {
    let acl = acl();
    let allowed = |rules: &str| -> Vec<usize> {
        let changed = set(&acl, "a", &format!("reset {rules}")).unwrap();
        let own = changed.new.selectors()[0].clone();
        (0..acl.catalog().len()).filter(|number| own.allows_command(*number, None)).collect()
    };
    assert_eq!(allowed("+@all -config"), [0, 1, 5]);
    assert_eq!(allowed("+config -config|set"), [2, 3]);
    assert_eq!(allowed("+config|set"), [4]);
    assert_eq!(allowed("+@string -@write"), [0]);
    assert_eq!(allowed("+@slow"), [1, 2, 3, 4]);
    assert_eq!(allowed("+@all -@all +ping"), [5]);
    let own = set(&acl, "a", "reset +set|x").unwrap().new.selectors()[0].clone();
    assert!(own.allows_command(1, Some(b"X")) && !own.allows_command(1, Some(b"y")));
    assert!(!own.allows_command(1, None) && !own.allows_command(0, Some(b"x")));
}

#[test]
fn keys_need_all_that_is_done_to_them_from_one_pattern() {
    let acl = acl();
    let own = set(&acl, "a", "%R~r* %W~w* %R~both %W~both").unwrap().new.selectors()[0].clone();
    let (read, write, all) = (KeyUse::READ, KeyUse::WRITE, KeyUse::ALL);
    assert!(own.allows_key(b"r1", read) && !own.allows_key(b"r1", write));
    assert!(own.allows_key(b"w1", write) && !own.allows_key(b"w1", all));
    assert!(own.allows_key(b"both", all) && own.allows_key(b"w1", KeyUse::NONE));
    assert!(!own.allows_key(b"x", KeyUse::NONE) && !own.allows_every_key(KeyUse::NONE));
    let own = set(&acl, "a", "resetkeys %R~*").unwrap().new.selectors()[0].clone();
    assert!(own.allows_every_key(read) && !own.allows_every_key(write));
}

#[test]
fn what_was_heard_before_is_known_to_be_lost() {
    let acl = acl();
    let lost = |rules: &str| set(&acl, "a", rules).unwrap().has_lost_channels();
    assert!(!lost("&a &b"), "it is new");
    assert!(!lost("&c"));
    assert!(lost("resetchannels &a &b"));
    assert!(!lost("(&x)"));
    assert!(lost("clearselectors"));
    assert!(!lost("allchannels"));
    assert!(lost("resetchannels &a &b"));
}

#[test]
fn any_rules_are_read_without_a_panic_and_what_is_told_of_them_is_read_again() {
    use proptest::prelude::*;
    let part = prop_oneof![
        Just("+"),
        Just("-"),
        Just("@"),
        Just("%R~"),
        Just("%"),
        Just("~"),
        Just("&"),
        Just("("),
        Just(")"),
        Just("|"),
        Just("get"),
        Just("config"),
        Just("all"),
        Just("x*"),
        Just("\""),
        Just("'"),
        Just("["),
        Just(">p"),
        Just("<p"),
        Just("#"),
        Just(" "),
        Just("read"),
    ];
    let words = prop::collection::vec(prop::collection::vec(part, 0..6), 0..6);
    proptest!(|(words in words)| {
        let acl = acl();
        let words: Vec<String> = words.iter().map(|parts| parts.concat()).collect();
        let rules: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        if acl.set_user(b"a", &rules, false).is_ok() {
            let told = described(&acl, "a");
            let rules = format!("reset {told}");
            set(&acl, "b", &rules).unwrap();
            // `reset` says that payloads are looked through.
            let again = described(&acl, "b").replacen(" sanitize-payload", "", 1);
            prop_assert_eq!(again, told);
        }
    });
}
