//! The Kubernetes manifests, checked against the API's models and the configuration inside them.

use crate::tools::{assert_accepted, outcome, path, program, read};
use std::{env, fs, process::Command};

const MANIFESTS: [&str; 2] =
    ["deploy/kubernetes/deployment.yaml", "deploy/kubernetes/sidecar.yaml"];

/// The command that checks manifests, run by a Python that has the models.
fn checker() -> Option<Command> {
    let python = env::var("SOCKWAY_PEER_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut python = program(&python, &["-c", "import kubernetes.client.models, yaml"])?;
    python.arg(path("tests/deploy/manifests.py"));
    Some(python)
}

/// The configuration within a manifest's `ConfigMap`.
fn configuration(manifest: &str) -> String {
    let (_, rest) = manifest.split_once("  sockway.toml: |\n").expect("a configuration");
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    lines.map(|line| line.get(4..).unwrap_or("")).collect::<Vec<_>>().join("\n")
}

#[test]
fn manifests_fit_the_api() {
    let Some(mut checker) = checker() else { return };
    assert_accepted(checker.args(MANIFESTS.map(path)));
}

#[test]
fn mistakes_in_manifests_are_found() {
    let mistakes = [
        ("periodSeconds:", "periodSecond:"),
        ("replicas: 2", "replicas: two"),
        ("  selector:", "  selectr:"),
        ("kind: PodDisruptionBudget", "kind: PodDisruptionBudge"),
        ("drop: [ALL]", "drop: ALL"),
    ];
    let Some(mut checker) = checker() else { return };
    let (text, directory) = (read(MANIFESTS[0]), tempfile::tempdir().expect("a directory"));
    let files = [0, 1, 2, 3, 4].map(|at| directory.path().join(format!("{at}.yaml")));
    for (file, (right, wrong)) in files.iter().zip(mistakes) {
        assert!(text.contains(right), "{right}");
        fs::write(file, text.replace(right, wrong)).expect("a file");
    }
    let (accepted, said) = outcome(checker.args(&files));
    assert!(!accepted);
    for (file, (_, wrong)) in files.iter().zip(mistakes) {
        assert!(said.contains(&format!("{}: ", file.display())), "{wrong} is not found in {said}");
    }
}

#[test]
fn configurations_in_manifests_are_accepted() {
    for manifest in MANIFESTS {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, secret) =
            (directory.path().join("sockway.toml"), directory.path().join("secret"));
        fs::write(&secret, "a made-up secret that is long enough for HS256").expect("a file");
        let text = configuration(&read(manifest));
        let mounted = "/run/secrets/sockway/jwt_secret";
        assert!(text.contains(mounted), "{manifest}: {text}");
        fs::write(&file, text.replace(mounted, &secret.display().to_string())).expect("a file");
        let mut sockway = Command::new(env!("CARGO_BIN_EXE_sockway"));
        assert_accepted(sockway.arg("check").arg(&file));
    }
}

#[test]
fn pods_give_sessions_the_time_to_be_told_goodbye() {
    for manifest in MANIFESTS {
        let text = read(manifest);
        let configuration: toml::Table = configuration(&text).parse().expect("TOML");
        let timeout = configuration["shutdown"]["timeout"].as_str();
        let timeout: u32 = timeout.and_then(|it| it.trim_end_matches('s').parse().ok()).expect("s");
        let (_, grace) =
            text.split_once("terminationGracePeriodSeconds: ").expect("a grace period");
        let grace: u32 = grace.lines().next().and_then(|it| it.parse().ok()).expect("seconds");
        // `sockway drain` waits five seconds longer than the timeout before it gives up.
        assert!(grace >= timeout + 10, "{manifest}: {grace} s of grace, {timeout} s needed");
    }
}

#[test]
fn probes_and_hooks_are_those_of_the_gateway() {
    for manifest in MANIFESTS {
        let text = read(manifest);
        assert!(text.contains("command: [\"/usr/bin/sockway\", \"drain\"]"), "{manifest}");
        assert!(text.contains("httpGet: { path: /livez, port: admin }"), "{manifest}");
        assert!(text.contains("{ name: admin, containerPort: 9090 }"), "{manifest}");
        assert!(text.contains("listen = \"0.0.0.0:9090\""), "{manifest}");
    }
    assert!(read(MANIFESTS[0]).contains("httpGet: { path: /readyz, port: admin }"));
    assert!(read(MANIFESTS[1]).contains("restartPolicy: Always"));
}
