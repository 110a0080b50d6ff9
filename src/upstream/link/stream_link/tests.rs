//! A connection for streams and a server that says exactly what a test lets it say.

use super::{
    fuzz::{Outcome, command, outcome},
    *,
};
use proptest::{collection::vec, prelude::*};

mod entries;
mod xinfo;

const MAX_PAYLOAD: usize = 100;

const BOTH: u8 = 0;
const ENTRIES: u8 = 1;
const FACTS: u8 = 2;
const ONLY: u8 = 3;
const RUN: u8 = 5;
const ROLE: u8 = 6;
const PING: u8 = 7;

/// How every server ends here.
const CLOSED: &str = "ended: Redis closed the connection";

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn list(values: &[String]) -> String {
    format!("*{}\r\n{}", values.len(), values.concat())
}

fn entry(id: &str, fields: &[&str]) -> String {
    let fields: Vec<_> = fields.iter().map(|it| bulk(it)).collect();
    list(&[bulk(id), list(&fields)])
}

fn changed(keys: &[&str]) -> String {
    let keys: Vec<_> = keys.iter().map(|it| bulk(it)).collect();
    format!(">2\r\n{}{}", bulk("invalidate"), list(&keys))
}

/// What XINFO says of a stream of one entry.
fn facts() -> String {
    let one = entry("1-0", &["data", "a"]);
    let pairs = [
        bulk("length") + ":1\r\n",
        bulk("radix-tree-keys") + ":1\r\n",
        bulk("last-generated-id") + &bulk("1-0"),
        bulk("max-deleted-entry-id") + &bulk("0-0"),
        bulk("entries-added") + ":4\r\n",
        bulk("recorded-first-entry-id") + &bulk("1-0"),
        bulk("groups") + ":0\r\n",
        bulk("first-entry") + &one,
        bulk("last-entry") + &one,
    ];
    format!("%{}\r\n{}", pairs.len(), pairs.concat())
}

const FACTS_TOLD: &str = r#"last 1-0 added Some(4) length 1 first Some("1-0") deleted Some("0-0")"#;

/// Received whole, byte by byte and in pieces of seven, which must be the same.
fn read(asked: &[u8], said: &str) -> Outcome {
    let asked: Vec<_> = asked.iter().map(|&number| command(number)).collect();
    let [whole, single, seven] =
        [said.len(), 1, 7].map(|piece| outcome(&asked, said.as_bytes(), piece, MAX_PAYLOAD));
    assert_eq!(whole.arrivals, single.arrivals);
    assert_eq!(whole.arrivals, seven.arrivals);
    whole
}

/// What arrives before the server closes.
#[track_caller]
fn arrivals(asked: &[u8], said: &str) -> Vec<String> {
    let mut arrivals = read(asked, said).arrivals;
    assert_eq!(arrivals.pop().as_deref(), Some(CLOSED), "behind {arrivals:?}");
    arrivals
}

#[test]
fn pushes_are_told_wherever_they_stand_between_answers() {
    let said = [
        &*changed(&["a", "b"]),
        "+OK\r\n",
        &changed(&["c"]),
        "+QUEUED\r\n",
        &changed(&["d"]),
        "+QUEUED\r\n",
        &changed(&["e"]),
        &list(&[facts(), list(&[entry("1-0", &["data", "a"])])]),
        &changed(&["f"]),
        "+PONG\r\n",
    ]
    .concat();
    let told = ["a", "b", "c", "d", "e"].map(|key| format!("changed: {key}"));
    let rest = [FACTS_TOLD, "1-0=a", "done", "changed: f", "done"].map(str::to_owned);
    assert_eq!(arrivals(&[BOTH, PING], &said), [&told[..], &rest[..]].concat());
}

#[test]
fn a_push_within_the_answer_to_exec_is_told_too() {
    // Redis before 7.0.5 writes it there when XINFO finds a key whose time is over.
    let said = format!(
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n{}-ERR no such key\r\n{}*0\r\n",
        changed(&["s"]),
        changed(&["t"])
    );
    let told = ["changed: s", "no such key", "changed: t", "done"];
    assert_eq!(arrivals(&[BOTH], &said), told);
}

#[test]
fn null_means_that_any_key_may_have_changed() {
    for null in ["_\r\n", "*-1\r\n", "$-1\r\n"] {
        let said = format!(">2\r\n$10\r\ninvalidate\r\n{null}");
        assert_eq!(arrivals(&[], &said), ["changed: all"]);
    }
}

#[test]
fn pushes_of_another_kind_are_skipped_whatever_is_in_them() {
    let long = bulk(&"k".repeat(100_000));
    for push in [
        ">0\r\n".to_owned(),
        ">1\r\n*2\r\n:1\r\n%1\r\n+a\r\n#t\r\n".to_owned(),
        ">3\r\n$10\r\ninvalidate\r\n:1\r\n:2\r\n".to_owned(),
        format!(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n{long}"),
        format!(">2\r\n{long}*1\r\n:1\r\n"),
        format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n{long}"),
    ] {
        let outcome = read(&[PING], &format!("{push}+PONG\r\n"));
        assert_eq!(outcome.arrivals, ["done", CLOSED], "{:?}", &push[..20.min(push.len())]);
        assert!(outcome.capacity <= 128 << 10, "{}", outcome.capacity);
    }
}

#[test]
fn an_error_within_a_transaction_is_its_answer_and_the_next_command_is_not_hurt() {
    let wrong = "-WRONGTYPE no stream\r\n";
    for said in [
        // Both commands, or one of them.
        format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n{wrong}{wrong}"),
        format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n{wrong}*0\r\n"),
        // One of them may not be queued.
        "+OK\r\n-WRONGTYPE no stream\r\n+QUEUED\r\n-EXECABORT Transaction discarded\r\n".to_owned(),
        // MULTI may not be used: the rest is carried out at once.
        format!("{wrong}{}*0\r\n-ERR EXEC without MULTI\r\n", facts()),
        format!("{wrong}-ERR no such key\r\n*0\r\n-ERR EXEC without MULTI\r\n"),
    ] {
        let told = arrivals(&[BOTH, PING], &format!("{said}+PONG\r\n"));
        assert_eq!(told, ["failed: Redis answers: WRONGTYPE no stream", "done"], "{said:?}");
    }
    let behind_facts = format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n{}{wrong}+PONG\r\n", facts());
    let told = [FACTS_TOLD, "failed: Redis answers: WRONGTYPE no stream", "done"];
    assert_eq!(arrivals(&[BOTH, PING], &behind_facts), told);
}

#[test]
fn each_answer_belongs_to_the_oldest_command() {
    let info = "# Server\r\nredis_version:8.2.3\r\nrun_id:0123ab\r\nuptime:1\r\n";
    let role = "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
    let said = [&*bulk(info), role, &bulk("5-0"), ":1\r\n", "*0\r\n", "+PONG\r\n"].concat();
    let told = [r#"Run(Some("0123ab"))"#, "Role(Primary)", "done", "done", "done"];
    assert_eq!(arrivals(&[RUN, ROLE, ONLY, ENTRIES, PING], &said), told);
    for unknown in [bulk("# Server\r\nrun_id:\r\n"), bulk(""), "-NOPERM no\r\n".to_owned()] {
        assert_eq!(arrivals(&[RUN], &unknown), ["Run(None)"]);
    }
}

#[test]
fn a_refused_command_of_the_canary_is_told_once() {
    let told = ["failed: Redis answers: NOPERM xadd", "done"];
    let said = "-NOPERM xadd\r\n:0\r\n+PONG\r\n";
    assert_eq!(arrivals(&[ONLY, PING], said), told);
    let told = ["failed: Redis answers: NOPERM pexpire", "done"];
    let said = "$3\r\n1-0\r\n-NOPERM pexpire\r\n+PONG\r\n";
    assert_eq!(arrivals(&[ONLY, PING], said), told);
}

#[test]
fn what_no_server_says_ends_the_link() {
    for (asked, said) in [
        (PING, "+PONG\r\n+PONG\r\n"),
        (ENTRIES, "+OK\r\n"),
        (ENTRIES, "_\r\n"),
        (FACTS, "+OK\r\n"),
        (FACTS, "*3\r\n"),
        (BOTH, "+OK\r\n+QUEUED\r\n+QUEUED\r\n_\r\n"),
        (BOTH, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n"),
        (PING, ">2\r\n$10\r\ninvalidate\r\n:1\r\n"),
        (PING, ">2\r\n$10\r\ninvalidate\r\n*1\r\n:1\r\n"),
        (PING, ">-2\r\n"),
        (ENTRIES, "HTTP/1.1 400 Bad Request\r\n"),
    ] {
        let arrivals = read(&[asked], said).arrivals;
        let last = arrivals.last().unwrap();
        assert!(last.starts_with("ended: ") && last != CLOSED, "{said:?}: {arrivals:?}");
    }
    let said = "-ERR max number of clients reached\r\n";
    let told = ["ended: Redis answers: ERR max number of clients reached"];
    assert_eq!(read(&[], said).arrivals, told);
}

#[test]
fn nothing_is_allocated_for_what_a_server_only_announces() {
    let deep = format!(">2\r\n+x\r\n{}", "*1\r\n".repeat(10_000));
    for (asked, said) in [
        (ENTRIES, "*4294967296\r\n*2\r\n$3\r\n1-0\r\n*4294967296\r\n$4294967296\r\nxx"),
        (ENTRIES, "*9223372036854775807\r\n"),
        (ENTRIES, "*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$4\r\ndata\r\n$9223372036854775807\r\n"),
        (ENTRIES, "*1\r\n*2\r\n$3\r\n1-0\r\n*-2\r\n"),
        (ENTRIES, "*1\r\n*2\r\n$3\r\n1-0\r\n%4294967296\r\n"),
        (FACTS, "%4294967296\r\n$4294967296\r\nxx"),
        (FACTS, "%1\r\n$11\r\nfirst-entry\r\n*4294967296\r\n$3\r\n1-0\r\n"),
        (PING, ">4294967296\r\n*4294967296\r\n"),
        (PING, ">2\r\n$10\r\ninvalidate\r\n*4294967296\r\n$4294967296\r\n"),
        (PING, &deep),
    ] {
        let outcome = read(&[asked], said);
        assert!(outcome.arrivals.last().unwrap().starts_with("ended"), "{said:?}");
        assert!(outcome.capacity <= 64 << 10, "{said:?}: {}", outcome.capacity);
        assert!(outcome.kept <= 1_024, "{said:?}: {}", outcome.kept);
    }
}

/// What a server may say to one command, and pushes in front of it.
fn answer() -> impl Strategy<Value = (u8, String)> {
    let value = "[ -~]{0,150}";
    let fields = vec((prop_oneof![Just("data".to_owned()), value], value), 0..4);
    let one = (1..9_u64, fields).prop_map(|(id, fields)| {
        let fields: Vec<_> = fields.iter().flat_map(|(name, it)| [&**name, &**it]).collect();
        entry(&format!("{id}-0"), &fields)
    });
    let entries = vec(one, 0..4).prop_map(|entries| list(&entries));
    let multi = "+OK\r\n+QUEUED\r\n+QUEUED\r\n";
    let plain = prop_oneof![
        entries.clone().prop_map(|it| (ENTRIES, it)),
        entries.prop_map(move |it| (BOTH, format!("{multi}*2\r\n{}{it}", facts()))),
        Just((FACTS, facts())),
        Just((FACTS, "-ERR no such key\r\n".to_owned())),
        Just((BOTH, format!("{multi}*2\r\n-ERR no such key\r\n*0\r\n"))),
        Just((ENTRIES, "-WRONGTYPE no stream\r\n".to_owned())),
        Just((ONLY, bulk("1-0") + ":1\r\n")),
        Just((PING, "+PONG\r\n".to_owned())),
    ];
    let push = prop_oneof![
        4 => Just(String::new()),
        1 => Just(changed(&["s", "t"])),
        1 => Just(">2\r\n$10\r\ninvalidate\r\n_\r\n".to_owned()),
    ];
    (push, plain).prop_map(|(push, (asked, said))| (asked, push + &said))
}

proptest! {
    #[test]
    fn any_pieces_give_the_same_arrivals_and_every_command_is_answered_once(
        answers in vec(answer(), 0..12),
        pieces in vec(1..50_usize, 1..6),
    ) {
        let asked: Vec<_> = answers.iter().map(|(asked, _)| command(*asked)).collect();
        let said: String = answers.iter().map(|(_, said)| &**said).collect();
        let whole = outcome(&asked, said.as_bytes(), said.len(), MAX_PAYLOAD);
        let is_answer = |it: &&String| *it == "done" || it.starts_with("failed");
        prop_assert_eq!(whole.arrivals.iter().filter(is_answer).count(), asked.len());
        prop_assert_eq!(whole.arrivals.last().map(String::as_str), Some(CLOSED));
        for piece in pieces {
            let cut = outcome(&asked, said.as_bytes(), piece, MAX_PAYLOAD);
            prop_assert_eq!(&cut.arrivals, &whole.arrivals);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_the_same_in_any_pieces(
        bytes in vec(prop_oneof![
            3 => proptest::sample::select(b"$*>|%~+-:_1230\r\n".as_slice()),
            1 => any::<u8>(),
        ], 0..200),
        head in any::<[u8; 4]>(),
    ) {
        fuzz::stream_answers(&[&head[..], &bytes].concat());
    }
}
