//! The documents on disk, and whether they changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model::Source;

/// Reads a file, or every `*.json` of a folder but hidden ones, in the order of their names.
pub(crate) fn read(path: &Path) -> Result<Vec<Source>, (PathBuf, io::Error)> {
    let mut sources = Vec::new();
    for file in files(path).map_err(|cause| (path.to_owned(), cause))? {
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            // It went away between listing and reading; the next look will not list it.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && file != path => continue,
            Err(cause) => return Err((file, cause)),
        };
        let name = file
            .file_name()
            .map_or_else(|| file.display().to_string(), |name| name.to_string_lossy().into_owned());
        sources.push(Source { name, text });
    }
    Ok(sources)
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What tells one state of the documents from another without reading them: of each file its inode, length and time.
pub(crate) type Fingerprint = Vec<(PathBuf, u64, u64, i64, i64)>;

/// The state the documents are in. Symbolic links are followed, so that a folder whose files
/// are swapped by a link is seen to change.
pub(crate) fn fingerprint(path: &Path) -> Fingerprint {
    let Ok(files) = files(path) else { return Vec::new() };
    files
        .into_iter()
        .filter_map(|file| {
            let facts = fs::metadata(&file).ok()?;
            Some((file, facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_json_files_but_hidden_ones() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.json", "a.json", ".c.json", "notes.txt"] {
            fs::write(folder.path().join(name), "{}").unwrap();
        }
        let names: Vec<String> = read(folder.path()).unwrap().into_iter().map(|source| source.name).collect();
        assert_eq!(names, ["a.json", "b.json"]);
    }

    #[test]
    fn every_way_of_changing_a_file_changes_the_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.json");
        let mut seen = vec![fingerprint(folder.path())];
        fs::write(&file, "1").unwrap();
        seen.push(fingerprint(folder.path()));
        fs::write(&file, "12").unwrap();
        seen.push(fingerprint(folder.path()));
        fs::write(folder.path().join(".new"), "34").unwrap();
        fs::rename(folder.path().join(".new"), &file).unwrap();
        seen.push(fingerprint(folder.path()));
        fs::remove_file(&file).unwrap();
        assert_eq!(fingerprint(folder.path()), seen[0]);
        seen.dedup();
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn a_path_that_is_not_there_is_named() {
        let (path, _) = read(Path::new("/nowhere/lb.json")).unwrap_err();
        assert_eq!(path, Path::new("/nowhere/lb.json"));
    }
}
