//! What shall become of which resource: decided here, printed, and only then done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use client::{Action, Everything, Outcome, Transaction};
use model::{Document, ResourceId};

use super::diff::{self, Difference, What};
use super::place;

/// What a set of documents means for what is there.
#[derive(Debug)]
pub(super) struct Plan {
    /// What it was made for.
    revision: u64,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    id: ResourceId,
    action: Action,
    document: Option<Document>,
    differences: Vec<Difference>,
}

impl Plan {
    /// These documents shall be there.
    pub(super) fn of_documents(documents: BTreeMap<ResourceId, Document>, there: &Everything) -> Self {
        let before: BTreeMap<&ResourceId, Option<Document>> =
            there.resources.iter().map(|resource| (&resource.id, resource.document().ok())).collect();
        let step = |(id, document): (ResourceId, Document)| match before.get(&id) {
            None => Step::create(id, document),
            Some(before) => Step::update(id, before.as_ref(), document),
        };
        let steps = documents.into_iter().map(step).collect();
        Self { revision: there.revision, steps }
    }

    /// These shall not be there.
    pub(super) fn of_absence(ids: impl Iterator<Item = ResourceId>, there: &Everything) -> Self {
        let known: BTreeSet<&ResourceId> = there.resources.iter().map(|resource| &resource.id).collect();
        let steps = ids.filter(|id| known.contains(id)).map(Step::delete).collect();
        Self { revision: there.revision, steps }
    }

    /// Whether nothing would change.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.action == Action::Unchanged)
    }

    /// As the server is asked for it.
    pub(super) fn transaction(&self, dry_run: bool) -> Transaction {
        let deleted = self.steps.iter().filter(|step| step.action == Action::Delete);
        Transaction {
            dry_run,
            put: self.steps.iter().filter_map(|step| step.document.clone()).collect(),
            delete: deleted.map(|step| step.id.to_string()).collect(),
            if_revision: Some(self.revision),
        }
    }

    /// The server has the last word: it may fill in what no document says.
    pub(super) fn believe(&mut self, outcome: &Outcome) {
        for change in &outcome.changes {
            let Some((id, _)) = ResourceId::parse(&change.id) else { continue };
            if let Some(step) = self.steps.iter_mut().find(|step| step.id == id) {
                step.action = change.action;
            }
        }
    }

    /// Resource by resource and field by field.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for step in self.steps.iter().filter(|step| step.action != Action::Unchanged) {
            let _ = writeln!(text, "{} {} in {}", verb(step.action), place::name(&step.id), step.id.group());
            if step.action == Action::Update && step.differences.is_empty() {
                text.push_str("  (only what the server fills in)\n");
            }
            for difference in &step.differences {
                write_difference(&mut text, difference);
            }
        }
        text
    }

    /// `1 to create, 2 to update`, with the ending given.
    pub(super) fn counts(&self, words: [&str; 3]) -> String {
        let number = |action| self.steps.iter().filter(|step| step.action == action).count();
        let actions = [Action::Create, Action::Update, Action::Delete];
        let mut said: Vec<String> = actions
            .into_iter()
            .zip(words)
            .map(|(action, word)| (number(action), word))
            .filter(|(number, _)| *number > 0)
            .map(|(number, word)| format!("{number} {word}"))
            .collect();
        match number(Action::Unchanged) {
            1 if said.is_empty() => said.push("1 resource as it should be".to_owned()),
            unchanged if said.is_empty() => said.push(format!("{unchanged} resources as they should be")),
            0 => {}
            unchanged => said.push(format!("{unchanged} unchanged")),
        }
        said.join(", ")
    }
}

impl Step {
    fn create(id: ResourceId, document: Document) -> Self {
        let differences = vec![Difference { path: String::new(), what: What::Added(diff::all(&document)) }];
        Self { id, action: Action::Create, document: Some(document), differences }
    }

    /// What is there may come from a newer server and not be readable here; then it is simply replaced.
    fn update(id: ResourceId, before: Option<&Document>, document: Document) -> Self {
        let differences = before.map(|before| diff::between(before, &document));
        let action = match &differences {
            Some(differences) if differences.is_empty() => Action::Unchanged,
            Some(_) | None => Action::Update,
        };
        Self { id, action, document: Some(document), differences: differences.unwrap_or_default() }
    }

    fn delete(id: ResourceId) -> Self {
        Self { id, action: Action::Delete, document: None, differences: Vec::new() }
    }
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Delete => "delete",
        Action::Unchanged => "leave",
    }
}

/// `~` changes, `+` comes and `-` goes.
pub(super) fn write_difference(text: &mut String, Difference { path, what }: &Difference) {
    let _ = match what {
        What::Changed(before, after) => writeln!(text, "  ~ {path}: {before} -> {after}"),
        What::Removed => writeln!(text, "  - {path}"),
        What::Added(fields) => match fields.as_slice() {
            // A single value, and not a child with one field.
            [(within, value)] if within.is_empty() => writeln!(text, "  + {path}: {value}"),
            fields => {
                if !path.is_empty() {
                    let _ = writeln!(text, "  + {path}");
                }
                let (sign, indent) = if path.is_empty() { ("+ ", "  ") } else { ("", "      ") };
                for (field, value) in fields {
                    let _ = match value.as_str() {
                        "" => writeln!(text, "{indent}{sign}{field}"),
                        value => writeln!(text, "{indent}{sign}{field}: {value}"),
                    };
                }
                Ok(())
            }
        },
    };
}
