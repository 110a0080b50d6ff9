//! Entries: what is the payload, and what is above the cap.

use super::*;

/// What the entries come to.
#[track_caller]
fn told(entries: &[String]) -> Vec<String> {
    let mut told = arrivals(&[ENTRIES], &list(entries));
    assert_eq!(told.pop().as_deref(), Some("done"));
    told
}

#[test]
fn the_field_is_the_payload_and_without_it_all_fields_are_an_object() {
    let entries = [
        entry("1-0", &["data", "a"]),
        entry("1-1", &["x", "1", "data", "b", "y", "2"]),
        entry("1-2", &["x", "1", "y", "\"2\""]),
        entry("1-3", &["Data", "3"]),
        entry("1-4", &["data", ""]),
        entry("18446744073709551615-18446744073709551615", &["data", "last"]),
    ];
    let expected = [
        "1-0=a",
        "1-1=b",
        r#"1-2={\"x\":\"1\",\"y\":\"\\\"2\\\"\"}"#,
        r#"1-3={\"Data\":\"3\"}"#,
        "1-4=",
        "18446744073709551615-18446744073709551615=last",
    ];
    assert_eq!(told(&entries), expected);
}

#[test]
fn fields_may_be_a_map_or_none_at_all() {
    let map = format!("*2\r\n{}%1\r\n{}{}", bulk("1-0"), bulk("data"), bulk("a"));
    let none = format!("*2\r\n{}*0\r\n", bulk("2-0"));
    let null = format!("*2\r\n{}*-1\r\n", bulk("3-0"));
    assert_eq!(told(&[map, none, null]), ["1-0=a", "2-0={}", "3-0={}"]);
}

#[test]
fn the_cap_is_on_the_payload_alone() {
    let [fits, large] = [MAX_PAYLOAD, MAX_PAYLOAD + 1].map(|length| "x".repeat(length));
    let other = "y".repeat(5_000);
    let entries = [
        entry("1-0", &["data", &fits]),
        entry("2-0", &["data", &large]),
        // Large fields beside it, or a large name, do no harm.
        entry("3-0", &["data", "a", "other", &other]),
        entry("4-0", &["other", &other, "data", "b"]),
        entry("5-0", &[&other, "", "data", "c"]),
        entry("6-0", &["data", "d"]),
    ];
    let expected = [&*format!("1-0={fits}"), "2-0 too large", "3-0=a", "4-0=b", "5-0=c", "6-0=d"];
    assert_eq!(told(&entries), expected);
}

#[test]
fn an_object_above_the_cap_is_too_large_whatever_makes_it_so() {
    // {"n":"…"} has 8 bytes beside the value.
    let [fits, large] = [92, 93].map(|length| "x".repeat(length));
    let quotes = "\"".repeat(50);
    let many: Vec<_> = (0..40).flat_map(|_| ["", ""]).collect();
    let entries = [
        entry("1-0", &["n", &fits]),
        entry("2-0", &["n", &large]),
        entry("3-0", &["n", &quotes]),
        entry("4-0", &many),
        entry("5-0", &[&large, "v"]),
        entry("6-0", &["n", "v"]),
    ];
    let told = told(&entries);
    assert!(told[0].starts_with("1-0={"), "{told:?}");
    let too_large = ["2-0", "3-0", "4-0", "5-0"].map(|id| format!("{id} too large"));
    assert_eq!(told[1..5], too_large);
    assert_eq!(told[5], r#"6-0={\"n\":\"v\"}"#);
}

#[test]
fn an_entry_above_the_cap_is_never_in_memory() {
    let huge = "x".repeat(5 << 20);
    let said = list(&[
        entry("1-0", &["data", &huge]),
        entry("2-0", &[&huge, &huge]),
        entry("3-0", &["data", "a"]),
    ]);
    let outcome = outcome(&[command(ENTRIES)], said.as_bytes(), 50_000, MAX_PAYLOAD);
    assert_eq!(outcome.arrivals, ["1-0 too large", "2-0 too large", "3-0=a", "done", CLOSED]);
    assert!(outcome.capacity <= 64 << 10, "{}", outcome.capacity);
    assert!(outcome.kept <= 1_024, "{}", outcome.kept);
}

#[test]
fn of_fields_that_are_empty_no_more_is_kept_than_of_others() {
    let many: Vec<_> = (0..50_000).flat_map(|_| ["", ""]).collect();
    let said = list(&[entry("1-0", &many)]);
    let outcome = outcome(&[command(ENTRIES)], said.as_bytes(), 50_000, MAX_PAYLOAD);
    assert_eq!(outcome.arrivals, ["1-0 too large", "done", CLOSED]);
    assert!(outcome.kept <= 1_024, "{}", outcome.kept);
}

#[test]
fn what_a_large_payload_took_is_freed_behind_it() {
    let large = "x".repeat(1 << 20);
    let said = list(&[entry("1-0", &["data", &large]), entry("2-0", &["data", "a"])]);
    let outcome = outcome(&[command(ENTRIES)], said.as_bytes(), 50_000, 8 << 20);
    assert_eq!((outcome.arrivals.len(), outcome.payload), (4, 1 << 20));
    assert!(outcome.kept <= 128 << 10, "{}", outcome.kept);
}

#[test]
fn what_is_no_entry_ends_the_link() {
    for wrong in [
        "*1\r\n".to_owned() + &bulk("1-0"),
        "*2\r\n".to_owned() + &bulk("one") + "*0\r\n",
        "*2\r\n".to_owned() + &bulk("1") + "*0\r\n",
        "*2\r\n".to_owned() + &bulk(&"1".repeat(60)) + "*0\r\n",
        "*2\r\n:1\r\n*0\r\n".to_owned(),
        "*2\r\n".to_owned() + &bulk("1-0") + "*1\r\n" + &bulk("odd"),
        "*2\r\n".to_owned() + &bulk("1-0") + "*2\r\n:1\r\n:2\r\n",
        "*2\r\n".to_owned() + &bulk("1-0") + "*2\r\n" + &bulk("a") + "_\r\n",
        "_\r\n".to_owned(),
        changed(&["s"]),
    ] {
        let arrivals = read(&[ENTRIES], &list(std::slice::from_ref(&wrong))).arrivals;
        assert_eq!(arrivals.len(), 1, "{wrong:?}: {arrivals:?}");
        assert!(arrivals[0].contains("not an answer of Redis"), "{wrong:?}: {arrivals:?}");
    }
}
