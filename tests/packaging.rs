//! The image and the compose file agree with the package, the toolchain and the configuration.
//! A container engine may be missing, so the files are read as text.

use std::{fs, path::Path, process::Command};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn toml(path: &str) -> toml::Table {
    read(path).parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The arguments of each use of a Dockerfile instruction, with continued lines joined.
fn instructions(dockerfile: &str, name: &str) -> Vec<String> {
    let lines = dockerfile.lines().filter(|line| !line.starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let uses = joined.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    uses.map(|rest| rest.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The one use of an instruction.
fn instruction(name: &str) -> String {
    let mut uses = instructions(&read("Dockerfile"), name);
    assert_eq!(uses.len(), 1, "{name}: {uses:?}");
    uses.remove(0)
}

/// The words of an instruction's exec form, `["a", "b"]`.
fn words(exec: &str) -> Vec<String> {
    let array = &exec[exec.find('[').expect("the exec form: there is no shell in the image")..];
    serde_json::from_str(array).expect("an array of strings")
}

#[test]
fn image_is_built_with_the_pinned_toolchain_from_locked_dependencies() {
    let channel = toml("rust-toolchain.toml")["toolchain"]["channel"].as_str().map(str::to_owned);
    let bases = instructions(&read("Dockerfile"), "FROM");
    assert_eq!(bases[0], format!("rust:{}-slim-bookworm AS build", channel.expect("a channel")));
    assert_eq!(bases[1..], ["scratch"]);
    let build = instructions(&read("Dockerfile"), "RUN").concat();
    assert!(build.contains("cargo build --release --locked"), "{build}");
    assert!(build.contains("target-feature=+crt-static"), "nothing to link against in scratch");
}

#[test]
fn image_gets_every_file_that_it_copies() {
    let allowed = read(".dockerignore");
    let copies = instructions(&read("Dockerfile"), "COPY");
    let from_here = copies.iter().filter(|copy| !copy.starts_with("--from="));
    for copy in from_here {
        let mut names: Vec<_> = copy.split(' ').collect();
        names.pop().expect("where to");
        for name in names {
            assert!(allowed.lines().any(|line| line == format!("!{name}")), "{name}");
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists(), "{name}");
        }
    }
}

#[test]
fn image_runs_the_program_that_was_built_and_not_as_root() {
    let program = format!("/usr/bin/{}", env!("CARGO_PKG_NAME"));
    let build = instructions(&read("Dockerfile"), "RUN").concat();
    let installs = format!("release/{}\" /image{program} ", env!("CARGO_PKG_NAME"));
    assert!(build.contains(&installs), "{installs} in {build}");
    assert_eq!(words(&instruction("ENTRYPOINT")), [program.as_str()]);
    assert_eq!(words(&instruction("HEALTHCHECK")), [program.as_str(), "health"]);
    let user = instruction("USER");
    let ids: Vec<u32> = user.split(':').map(|id| id.parse().expect("numbers: no passwd")).collect();
    assert!(ids.len() == 2 && !ids.contains(&0), "{user}");
}

#[test]
fn compose_mounts_the_configuration_where_the_image_reads_it() {
    let command = words(&instruction("CMD"));
    assert_eq!(command[..2], ["serve", "--config"]);
    let compose = read("deploy/compose.yaml");
    let mount = format!("- ./sockway.toml:{}:ro", command[2]);
    assert!(compose.contains(&mount), "{mount}");
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/sockway.toml").exists());
}

#[test]
fn ports_are_those_of_the_configuration() {
    let port = instruction("EXPOSE");
    let listen = format!("0.0.0.0:{port}");
    for path in ["config/sockway.toml", "deploy/sockway.toml"] {
        assert_eq!(toml(path)["server"]["listen"].as_str(), Some(listen.as_str()), "{path}");
    }
    assert!(read("deploy/compose.yaml").contains(&format!("- \"{port}:{port}\"")));
    let admin = toml("config/sockway.toml")["admin"]["listen"].as_str().map(str::to_owned);
    for path in ["Dockerfile", "README.md", "docs/operations.md"] {
        assert!(read(path).contains(admin.as_deref().expect("an address")), "{path}");
    }
}

#[test]
fn compose_gives_sessions_the_time_to_be_told_goodbye() {
    let seconds = |text: &str| text.trim().trim_end_matches('s').parse::<u32>().expect("seconds");
    let compose = read("deploy/compose.yaml");
    let grace = compose.split_once("stop_grace_period: ").expect("a grace period").1;
    let grace = grace.lines().next().map(seconds).expect("a value");
    let timeout = toml("config/sockway.toml")["shutdown"]["timeout"].as_str().map(seconds);
    assert!(Some(grace) > timeout, "{grace} s of grace, {timeout:?} s needed");
}

#[test]
fn scripts_are_valid_shell_and_continuous_integration_is_make_test() {
    for script in ["scripts/prepare", ".ci/run"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
        let checked = Command::new("sh").arg("-n").arg(&path).status().expect("a shell");
        assert!(checked.success(), "{script}");
    }
    assert_eq!(read(".ci/run").lines().last(), Some("exec make test"));
}

#[test]
fn scripts_name_what_is_wrong_with_their_arguments() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/prepare");
    let output = Command::new("sh").arg(script).arg("dinner").output().expect("a shell");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage: scripts/prepare run|test"));
}
