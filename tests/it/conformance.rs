//! RFC 6455, by a third-party suite: Autobahn's cases, run by `kosoku` against the real binary, and
//! checked against the lists in `tests/conformance`.
//!
//! `kosoku` is installed next to the Python that `SOCKWAY_PEER_PYTHON` names; `make test` installs
//! it.

mod own_rooms;

use crate::rig::{
    Endpoint, Gateway, Redis, Settings, left_out, process::Process, settings::rooms, token,
};
use own_rooms::OwnRooms;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// The result of one case in kosoku's `index.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    behavior: String,
    /// The code of the gateway's close frame; `None` if kosoku disconnected first.
    remote_close_code: Option<u16>,
}

impl Outcome {
    fn is_valid(&self) -> bool {
        matches!(self.behavior.as_str(), "OK" | "NON-STRICT" | "INFORMATIONAL")
    }

    /// Whether the case failed only because no message came back.
    fn is_without_objection(&self) -> bool {
        matches!(self.remote_close_code, None | Some(1000))
    }
}

/// The path of kosoku; `None` if it is not installed and not required.
fn kosoku() -> Option<PathBuf> {
    let promised = env::var("SOCKWAY_PEER_PYTHON").ok();
    let program = promised.as_ref().map_or_else(
        || PathBuf::from("kosoku"),
        |python| Path::new(python).with_file_name("kosoku"),
    );
    let works = Command::new(&program)
        .arg("--help")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let required = promised.is_some() || env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(works || !required, "{} does not run: `make test` installs it", program.display());
    works.then_some(program)
}

/// The cases of a list: one a line; `#` starts a comment.
fn list(name: &str) -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name);
    let text = fs::read_to_string(file).expect("the list is in the repository");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// Runs the cases of these patterns; but those that need compression or are about throughput.
fn run(kosoku: &Path, url: &str, cases: &str) -> BTreeMap<String, Outcome> {
    let out = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new(kosoku);
    command.args(["-p", "8", "-i", cases, "-x", "9.*", "-x", "12.*", "-x", "13.*", "-o"]);
    let mut process = Process::start(command.arg(out.path()).arg(url));
    // Cases that wait for an echo take a second each, eight at a time.
    let start = Instant::now();
    while process.is_running() {
        assert!(start.elapsed() < Duration::from_secs(300), "kosoku does not end");
        std::thread::sleep(Duration::from_millis(100));
    }
    let index = fs::read(out.path().join("index.json")).expect("kosoku has written its report");
    let report: BTreeMap<String, BTreeMap<String, Outcome>> =
        serde_json::from_slice(&index).expect("the report is JSON");
    report.into_values().next().expect("the report has its one server")
}

/// The differences, one a line.
fn changes(outcomes: &BTreeMap<String, Outcome>) -> Vec<String> {
    let (valid, needs_echo) = (list("valid.txt"), list("needs-echo.txt"));
    let mut changes = Vec::new();
    for case in valid.union(&needs_echo) {
        match outcomes.get(case) {
            None => changes.push(format!("{case}: was not run")),
            Some(outcome) if valid.contains(case) && !outcome.is_valid() => {
                changes.push(format!("- {case}: was valid, is now {outcome:?}"));
            }
            Some(outcome) if needs_echo.contains(case) && outcome.is_valid() => {
                changes.push(format!("+ {case}: is now valid; move it to valid.txt"));
            }
            Some(outcome) if needs_echo.contains(case) && !outcome.is_without_objection() => {
                changes.push(format!("- {case}: is now refused as wrong, {outcome:?}"));
            }
            Some(_) => {}
        }
    }
    let known = |case: &&String| !valid.contains(*case) && !needs_echo.contains(*case);
    changes.extend(outcomes.keys().filter(known).map(|case| format!("{case}: is in no list")));
    changes
}

#[test]
fn autobahn_s_cases_come_out_as_the_lists_say() {
    let Some(kosoku) = kosoku() else { return left_out("no `kosoku`; `make test` installs one") };
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(rooms().set("max_message", "1MiB"));
    let gateway = Gateway::start(&settings);
    let outcomes = run(&kosoku, &format!("ws://{}/ws/rooms/1", gateway.address), "*");
    let changes = changes(&outcomes);
    assert!(changes.is_empty(), "{} of the cases changed:\n{}", changes.len(), changes.join("\n"));
}

/// An endpoint where clients publish to the very room that they hear. All cases are one user's, and eight at a time: far
/// beyond what people type.
fn echoing(format: &str) -> Endpoint {
    let publish =
        "channel = \"room:{path.room}\"\nstamp = false\nper_second = 10000\nburst = 10000";
    Endpoint::new(format, &format!("/ws/{format}/{{room}}"), &["room:{path.room}"])
        .set("format", format)
        .set("max_message", "1MiB")
        .set("publish", publish.parse::<toml::Table>().expect("TOML"))
}

#[test]
fn where_clients_publish_every_case_is_valid_its_echo_coming_through_redis() {
    let Some(kosoku) = kosoku() else { return left_out("no `kosoku`; `make test` installs one") };
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(echoing("raw")).endpoint(echoing("binary"));
    let gateway = Gateway::start(&settings);
    let run = |format: &str, cases: &str| {
        let own_rooms = OwnRooms::before(gateway.address, &format!("/ws/{format}/"));
        run(&kosoku, &own_rooms.url(&token::of("autobahn")), cases)
    };
    let mut outcomes = run("raw", "*");
    // Redis carries bytes, and not of what kind a message was: by its bytes, an empty one is text.
    let empty_binary = "1.2.1";
    assert!(
        !outcomes[empty_binary].is_valid(),
        "raw endpoints can tell now: no exception is needed"
    );
    outcomes.extend(run("binary", empty_binary));
    let invalid: Vec<_> = outcomes.iter().filter(|(_, outcome)| !outcome.is_valid()).collect();
    assert!(invalid.is_empty(), "{} are not valid: {invalid:#?}", invalid.len());
    let cases: BTreeSet<String> = outcomes.into_keys().collect();
    assert_eq!(cases, list("valid.txt").union(&list("needs-echo.txt")).cloned().collect());
}

#[test]
fn the_lists_hold_what_a_subscribe_only_endpoint_must_pass() {
    let (valid, needs_echo) = (list("valid.txt"), list("needs-echo.txt"));
    assert!(valid.is_disjoint(&needs_echo));
    assert_eq!((valid.len(), valid.len() + needs_echo.len()), (151, 247));
    let whole = |group: &str| needs_echo.iter().all(|case| !case.starts_with(group));
    assert!(whole("2.") && whole("3.") && whole("4."), "groups 2, 3 and 4 need no echo");
}
