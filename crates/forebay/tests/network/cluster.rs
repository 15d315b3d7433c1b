//! The demo of a cluster, which checks what it shows itself.

use std::process::Command;

use forebay::lab::{Need, require, skip_or_fail};

use crate::balancer::FOREBAY;

#[test]
fn the_cluster_fails_over_within_what_its_probe_settings_imply() {
    // CLUS-1, CLUS-2, HAIR-1
    if let Err(missing) = require(&[Need::Namespaces, Need::Bpf]) {
        return skip_or_fail(missing);
    }
    // It measures tenths of a second, and other tests run beside it.
    let output = Command::new("nice").args(["-n", "-20", FOREBAY, "demo", "cluster"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}:\n{said}\n{complaints}", output.status);
    for loss in ["service stopped", "process killed", "link down"] {
        assert!(said.contains(&format!("   {loss} ")), "{loss}: {said}");
    }
    eprintln!("{said}");
}

#[test]
fn the_document_of_the_page_about_clusters_is_valid() {
    let page = include_str!("../../../../docs/clusters.md");
    let text = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let source = model::Source { name: "cluster.json".to_owned(), text: text.to_owned() };
    let problems = model::check(&[source]).err().unwrap_or_default();
    assert!(problems.is_empty(), "{problems:?}");
}
