//! Finds the numbers of promises in a line of text.

/// Promises are numbered within these subjects.
const SUBJECTS: &[&str] = &[
    "ACL", "API", "AUTH", "CLUS", "DIST", "FIP", "FLOW", "GUEST", "HA", "HAIR", "ICMP", "K8S", "LIM", "MTU",
    "NAT", "PROBE", "RULE", "SNAT",
];

/// Every number in the line, such as the fifth of the subject "distribution".
pub fn cited(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices('-').filter_map(|(dash, _)| {
        let (before, after) = (&line[..dash], &line[dash + 1..]);
        let subject = &before[before.trim_end_matches(|c: char| c.is_ascii_alphanumeric()).len()..];
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let start = dash - subject.len();
        // A longer word, such as the name of a variable or of a kernel's option, cites nothing.
        let joined_before = line[..start].ends_with(['-', '_']);
        let joined_after = after[digits..].starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-');
        (SUBJECTS.contains(&subject) && digits > 0 && !joined_before && !joined_after)
            .then(|| &line[start..dash + 1 + digits])
    })
}
