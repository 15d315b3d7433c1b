//! Which crate may use which, and which crates from elsewhere belong to one of ours.

use super::Finding;
use super::tree::Tree;
use serde_json::Value;

/// The arrows of ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("benches", &["kernel", "plane", "engine", "model"]),
    ("client", &["model"]),
    ("engine", &["model", "plane"]),
    ("forebay", &["server", "node", "kubernetes", "client", "model", "engine", "sim", "guest"]),
    ("guest", &[]),
    ("kernel", &["engine", "plane"]),
    ("kubernetes", &["client", "model"]),
    ("model", &[]),
    ("node", &["engine", "kernel", "model", "plane"]),
    ("plane", &[]),
    ("server", &["model", "engine", "node"]),
    ("sim", &["model", "engine", "plane"]),
    ("xdp", &["plane"]),
    ("xtask", &[]),
];
/// What tests may use beyond that: everyone the simulator, and who has no documents otherwise, documents.
const ARROWS_OF_TESTS: &[(&str, &[&str])] = &[("kernel", &["model"]), ("node", &["model"])];
const USED_BY_ALL_TESTS: &str = "sim";
/// Crates from elsewhere that few of ours keep to themselves, by the beginning of their names; the longest that fits decides.
const KEPT: &[(&str, &[&str])] = &[
    ("aya", &["kernel"]),
    ("aya-ebpf", &["xdp"]),
    ("aya-log-ebpf", &["xdp"]),
    // The controller of a cluster tells its numbers, as the server does.
    ("axum", &["server", "kubernetes"]),
    ("hyper", &["server"]),
    ("kube", &["kubernetes"]),
    ("k8s-openapi", &["kubernetes"]),
    ("prometheus-client", &["server", "kubernetes"]),
    ("rcgen", &["server"]),
    ("redb", &["server"]),
    // The server accepts TLS; the node probes members over it.
    ("tokio-rustls", &["server", "node"]),
];
/// Those that tests may use beyond that: who asks members over TLS needs members with certificates, and a controller needs a
/// cluster that answers.
const KEPT_OF_TESTS: &[(&str, &[&str])] = &[("forebay", &["axum", "rcgen"]), ("node", &["rcgen"])];

pub fn check(tree: &Tree, packages: &[Value]) -> Vec<Finding> {
    packages.iter().flat_map(|package| package_findings(tree, package)).collect()
}

fn package_findings(tree: &Tree, package: &Value) -> Vec<Finding> {
    let name = package["name"].as_str().unwrap_or_default();
    let from = short(name);
    let manifest = manifest(tree, name);
    let finding = |dependency: &Value, wrong: String, mend: &str| Finding {
        line: line_of(tree, &manifest, dependency),
        file: manifest.clone(),
        wrong,
        mend: mend.to_owned(),
    };
    let Some(allowed) = allowed(ARROWS, from) else {
        let wrong = format!("the crate {name} is not in the plan");
        return vec![finding(
            &Value::Null,
            wrong,
            "give it a place in ARCHITECTURE.md and in crates/xtask/src/tidy/arrows.rs",
        )];
    };
    let mut findings = Vec::new();
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let to = dependency["name"].as_str().unwrap_or_default();
        let of_tests = dependency["kind"] == "dev";
        let inside = dependency["path"].is_string();
        if inside && !allowed.contains(&short(to)) && !(of_tests && tests_may_use(from, short(to))) {
            let wrong = format!("{from} must not use {}", short(to));
            findings.push(finding(
                dependency,
                wrong,
                "move what needs it to a crate that may (ARCHITECTURE.md, Crates)",
            ));
        }
        let for_tests = of_tests && tests_may_keep(from, to);
        if let Some(keepers) = keepers(to).filter(|keepers| !keepers.contains(&from) && !for_tests) {
            let know = if keepers.len() == 1 { "knows" } else { "know" };
            let wrong = format!("{from} must not use {to}, which only {} {know}", keepers.join(" and "));
            findings.push(finding(dependency, wrong, "say what is needed of it as a function of that crate"));
        }
        if from == "plane" && !of_tests && !inside {
            let wrong = format!("plane must not use {to}, nor any other crate");
            findings.push(finding(dependency, wrong, "write the few lines that are needed of it"));
        }
    }
    findings
}

fn tests_may_use(from: &str, to: &str) -> bool {
    to == USED_BY_ALL_TESTS || allowed(ARROWS_OF_TESTS, from).is_some_and(|allowed| allowed.contains(&to))
}

fn tests_may_keep(from: &str, to: &str) -> bool {
    allowed(KEPT_OF_TESTS, from).is_some_and(|allowed| allowed.contains(&to))
}

fn allowed(arrows: &[(&str, &'static [&'static str])], from: &str) -> Option<&'static [&'static str]> {
    arrows.iter().find(|(name, _)| *name == from).map(|(_, allowed)| *allowed)
}

fn keepers(dependency: &str) -> Option<&'static [&'static str]> {
    let fits = |name: &str| {
        dependency.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    KEPT.iter().filter(|(name, _)| fits(name)).max_by_key(|(name, _)| name.len()).map(|(_, keepers)| *keepers)
}

/// The word by which the house calls a crate.
pub fn short(package: &str) -> &str {
    package.strip_prefix("forebay-").unwrap_or(package)
}

fn manifest(tree: &Tree, package: &str) -> String {
    let inside = format!("crates/{}/Cargo.toml", short(package));
    match tree.file(&inside) {
        Some(_) => inside,
        None => format!("{}/Cargo.toml", short(package)),
    }
}

/// The line that declares a dependency, under the name that the manifest gives it.
fn line_of(tree: &Tree, manifest: &str, dependency: &Value) -> usize {
    let name = dependency["rename"].as_str().or(dependency["name"].as_str()).unwrap_or_default();
    let declares = |line: &str| {
        let line = line.trim_start().trim_start_matches('"');
        !name.is_empty() && line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '.', '=', '"']))
    };
    let lines = tree.file(manifest).into_iter().flat_map(|file| file.lines());
    let mut in_dependencies = false;
    for (at, line) in lines {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
            if in_dependencies && line.trim_end().ends_with(&format!(".{name}]")) {
                return at;
            }
        } else if in_dependencies && declares(line) {
            return at;
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_arrow_of_the_plan_is_fine() {
        check("forebay-kernel", json!([{"name": "forebay-plane", "path": "", "kind": null}]), &[]);
        check("forebay", json!([{"name": "forebay-sim", "path": "", "kind": null}]), &[]);
        check("forebay-benches", json!([{"name": "forebay-kernel", "path": "", "kind": null}]), &[]);
    }

    #[test]
    fn another_arrow_is_not() {
        check(
            "forebay-plane",
            json!([{"name": "forebay-engine", "path": "", "kind": null}]),
            &["plane must not use engine"],
        );
        check(
            "xtask",
            json!([{"name": "forebay-model", "path": "", "kind": null}]),
            &["xtask must not use model"],
        );
        check(
            "forebay",
            json!([{"name": "forebay-kernel", "path": "", "kind": null}]),
            &["forebay must not use kernel"],
        );
    }

    #[test]
    fn tests_may_use_the_simulator_and_a_little_more() {
        check("forebay-plane", json!([{"name": "forebay-sim", "path": "", "kind": "dev"}]), &[]);
        check("forebay-kernel", json!([{"name": "forebay-model", "path": "", "kind": "dev"}]), &[]);
        check(
            "forebay-kernel",
            json!([{"name": "forebay-model", "path": "", "kind": null}]),
            &["kernel must not use model"],
        );
        check(
            "forebay-plane",
            json!([{"name": "forebay-model", "path": "", "kind": "dev"}]),
            &["plane must not use model"],
        );
    }

    #[test]
    fn a_crate_from_elsewhere_stays_with_its_keeper() {
        check("forebay-kernel", json!([{"name": "aya"}, {"name": "aya-obj"}]), &[]);
        check("forebay-xdp", json!([{"name": "aya-ebpf"}]), &[]);
        check(
            "forebay-kernel",
            json!([{"name": "aya-ebpf"}]),
            &["kernel must not use aya-ebpf, which only xdp knows"],
        );
        check("forebay-node", json!([{"name": "aya"}]), &["node must not use aya, which only kernel knows"]);
        check(
            "forebay-model",
            json!([{"name": "kube"}]),
            &["model must not use kube, which only kubernetes knows"],
        );
        check("forebay-model", json!([{"name": "kubelike"}]), &[]);
        check("forebay-server", json!([{"name": "redb"}, {"name": "hyper-util"}]), &[]);
        check(
            "forebay-node",
            json!([{"name": "axum"}]),
            &["node must not use axum, which only server and kubernetes know"],
        );
    }

    #[test]
    fn a_crate_may_have_two_keepers_and_be_used_by_tests_beyond_them() {
        check("forebay-node", json!([{"name": "tokio-rustls"}, {"name": "rcgen", "kind": "dev"}]), &[]);
        check(
            "forebay-node",
            json!([{"name": "rcgen"}]),
            &["node must not use rcgen, which only server knows"],
        );
        check(
            "forebay-model",
            json!([{"name": "tokio-rustls"}]),
            &["model must not use tokio-rustls, which only server and node know"],
        );
    }

    #[test]
    fn plane_uses_nothing_but_in_its_tests() {
        check("forebay-plane", json!([{"name": "proptest", "kind": "dev"}]), &[]);
        check(
            "forebay-plane",
            json!([{"name": "zerocopy", "kind": null}]),
            &["plane must not use zerocopy, nor any other crate"],
        );
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        check("forebay-utils", json!([]), &["the crate forebay-utils is not in the plan"]);
    }

    #[test]
    fn a_finding_names_the_line_that_declares_the_dependency() {
        let text = "[package]\nname = \"forebay-client\"\nplane = 1\n[dependencies]\nplanet = 1\nplane.workspace = true\n";
        let tree = Tree::of(&[("crates/client/Cargo.toml", text)]);
        let package = json!({"name": "forebay-client", "dependencies": [{"name": "forebay-plane", "rename": "plane", "path": ""}]});
        let findings = super::check(&tree, &[package]);
        let places: Vec<_> = findings.iter().map(|finding| (finding.file.as_str(), finding.line)).collect();
        assert_eq!(places, [("crates/client/Cargo.toml", 6)]);
    }

    fn check(name: &str, dependencies: Value, wrong: &[&str]) {
        let findings = super::check(&Tree::default(), &[json!({"name": name, "dependencies": dependencies})]);
        let found: Vec<_> = findings.iter().map(|finding| finding.wrong.as_str()).collect();
        assert_eq!(found, wrong);
    }
}
