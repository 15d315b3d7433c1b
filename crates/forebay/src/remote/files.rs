//! Documents out of files of JSON and YAML, each with its id.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::{Code, Document, Problem, ResourceId, Source};
use serde_json::Value;

use crate::command::{self, Done};

#[cfg(test)]
mod tests;

/// Endings of the files of a folder that are read.
const ENDINGS: [&str; 3] = ["json", "yaml", "yml"];

/// The texts of these files, of the files of these folders, and of standard input.
pub(super) fn sources(paths: &[PathBuf]) -> Done<Vec<Source>> {
    command::sources(paths, &ENDINGS)
}

/// Reads documents. Those without an id are put into the subscription and group of `home`.
pub(super) fn documents(
    sources: &[Source],
    home: (&str, &str),
) -> Result<BTreeMap<ResourceId, Document>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut documents = BTreeMap::new();
    for source in sources {
        let texts = match json(source) {
            Ok(texts) => texts,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        for text in &texts {
            match model::parse(text) {
                Err(mut more) => problems.append(&mut more),
                Ok(read) => {
                    for document in read {
                        match place(document, &text.name, home) {
                            Err(problem) => problems.push(problem),
                            Ok((id, document)) => {
                                if documents.contains_key(&id) {
                                    let message =
                                        format!("there are two documents of `{}`: keep one", id.name());
                                    problems.push(problem(id.name(), "", Code::DuplicateName, message));
                                }
                                documents.insert(id, document);
                            }
                        }
                    }
                }
            }
        }
    }
    if problems.is_empty() { Ok(documents) } else { Err(problems) }
}

/// YAML becomes JSON, each of its documents a source. JSON stays as it is, for the better messages.
fn json(source: &Source) -> Result<Vec<Source>, Problem> {
    let is_json = match Path::new(&source.name).extension() {
        Some(ending) if ending == "json" => true,
        Some(ending) if ENDINGS.iter().any(|yaml| ending == *yaml) => false,
        // Standard input says nothing about itself. JSON begins with a bracket, and where YAML does it is JSON too.
        Some(_) | None => source.text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[']),
    };
    if is_json {
        return Ok(vec![source.clone()]);
    }
    let values: Vec<Value> = serde_saphyr::from_multiple(&source.text).map_err(|error| {
        let at = error.location().map(|at| format!("line {}, column {}: ", at.line(), at.column()));
        // The first line says it; those after it repeat the file.
        let said = error.to_string();
        let said = said.lines().next().unwrap_or_default();
        let said =
            said.rsplit_once("column ").and_then(|(_, rest)| rest.split_once(": ")).map_or(said, |it| it.1);
        let message = format!("not YAML that can be read: {}{said}", at.unwrap_or_default());
        problem(&source.name, "", Code::InvalidRequestFormat, message)
    })?;
    let several = values.len() > 1;
    let named = (1..).zip(values).map(|(number, value)| {
        let name = if several { format!("{}#{number}", source.name) } else { source.name.clone() };
        Source { name, text: value.to_string() }
    });
    Ok(named.collect())
}

fn place(
    mut document: Document,
    source: &str,
    (subscription, group): (&str, &str),
) -> Result<(ResourceId, Document), Problem> {
    let label = if document.name().is_empty() { source } else { document.name() };
    let id = match (document.resource_id(), document.id()) {
        (Some(id), _) => id,
        (None, Some(id)) => {
            let wanted = format!(
                "/subscriptions/ID/resourceGroups/NAME/providers/{}/{}",
                document.kind().type_name(),
                document.name()
            );
            let message =
                format!("`{id}` is no id of {}: write {wanted}, or leave it out", document.kind().in_words());
            return Err(problem(label, "id", Code::InvalidResourceReference, message));
        }
        (None, None) => ResourceId::new(subscription, group, document.kind(), document.name())
            .map_err(|error| problem(label, "name", Code::InvalidResourceName, error.to_string()))?,
    };
    if !document.name().eq_ignore_ascii_case(id.name()) {
        let message = format!("the id ends with `{}`: let both be the same", id.name());
        return Err(problem(label, "name", Code::InvalidResourceName, message));
    }
    document.identify(&id);
    Ok((id, document))
}

fn problem(document: &str, path: &str, code: Code, message: String) -> Problem {
    Problem { document: document.to_owned(), path: path.to_owned(), code, message }
}
