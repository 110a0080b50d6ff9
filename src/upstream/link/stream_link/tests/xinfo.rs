//! What XINFO STREAM says.

use super::*;

#[test]
fn what_every_server_says_is_understood_and_the_rest_is_skipped() {
    let version_2 = facts().replacen("%9", "*18", 1);
    for said in [facts(), version_2] {
        assert_eq!(arrivals(&[FACTS], &said), [FACTS_TOLD, "done"]);
    }
    // Redis 6 and Dragonfly have no counts; a stream may be empty.
    let old = format!(
        "%4\r\n{}:0\r\n{}{}{}*-1\r\n{}_\r\n",
        bulk("length"),
        bulk("last-generated-id"),
        bulk("7-1"),
        bulk("first-entry"),
        bulk("last-entry")
    );
    let told = "last 7-1 added None length 0 first None deleted None";
    assert_eq!(arrivals(&[FACTS], &old), [told, "done"]);
}

#[test]
fn large_entries_and_strange_fields_in_it_are_never_in_memory() {
    let huge = "x".repeat(3 << 20);
    let one = entry("1-0", &["data", &huge]);
    let said = format!(
        "%5\r\n{}{}{}{one}{}{one}{}*1\r\n%1\r\n+a\r\n*2\r\n:1\r\n,1.5\r\n{}:1\r\n+PONG\r\n",
        bulk(&huge),
        bulk(&huge),
        bulk("first-entry"),
        bulk("last-entry"),
        bulk("groups"),
        bulk("length"),
    );
    let asked = [FACTS, PING].map(command);
    let outcome = outcome(&asked, said.as_bytes(), 50_000, MAX_PAYLOAD);
    let told = r#"last 0-0 added None length 1 first Some("1-0") deleted None"#;
    assert_eq!(outcome.arrivals, [told, "done", "done", CLOSED]);
    assert!(outcome.capacity <= 64 << 10, "{}", outcome.capacity);
}

#[test]
fn no_such_key_is_no_error_and_any_other_error_is() {
    for said in ["-ERR no such key\r\n", "-ERR No Such Key\r\n", "!15\r\nERR no such key\r\n"] {
        assert_eq!(
            arrivals(&[FACTS, PING], &format!("{said}+PONG\r\n")),
            ["no such key", "done", "done"]
        );
    }
    let said = "-NOPERM no\r\n+PONG\r\n";
    assert_eq!(arrivals(&[FACTS, PING], said), ["failed: Redis answers: NOPERM no", "done"]);
}

#[test]
fn numbers_and_ids_that_cannot_be_end_the_link() {
    for (name, value) in [
        ("length", ":-1\r\n"),
        ("length", "+1\r\n"),
        ("entries-added", ":-1\r\n"),
        ("entries-added", "_\r\n"),
        ("last-generated-id", "+1\r\n"),
        ("last-generated-id", ":1\r\n"),
        ("max-deleted-entry-id", "+18446744073709551616-0\r\n"),
        ("first-entry", "*2\r\n+no\r\n*0\r\n"),
        ("first-entry", ":1\r\n"),
    ] {
        let said = format!("%1\r\n{}{value}", bulk(name));
        let arrivals = read(&[FACTS], &said).arrivals;
        assert_eq!(arrivals.len(), 1, "{name} {value:?}: {arrivals:?}");
        assert!(arrivals[0].contains("not an answer of Redis"), "{arrivals:?}");
    }
}
