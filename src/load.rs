//! `--manifests` paths → API objects, one after the other.
//!
//! The only way from the file system to [`world`](crate::world): trees are handed on as they are read and never pile up.

pub mod inputs;

use std::path::{Path, PathBuf};

use crate::source::files::{self, MAX_MANIFEST_BYTES};
use crate::source::{InputError, yaml};
use crate::world::{Object, objects};

/// What was read, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Documents that are no API objects, and files that end early because a document is broken (what follows it is not covered).
    pub problems: Vec<InputError>,
    /// Files read, broken ones included.
    pub files: usize,
    /// Objects handed to the sink.
    pub objects: usize,
}

/// Reads manifests (files, folders, `-` for standard input) and hands each object to `sink`, in the order of the paths.
///
/// JSON goes through the same parser: every JSON text is a YAML text.
///
/// # Errors
/// A path that was given and cannot be read. A file below a given folder that cannot be read is a problem instead.
pub fn world(paths: &[PathBuf], sink: &mut dyn FnMut(Object)) -> Result<Loaded, InputError> {
    let mut loaded = Loaded::default();
    for path in paths {
        for file in files::manifests(path)? {
            match read(&file, &mut loaded, sink) {
                Err(error) if file == *path => return Err(error),
                Err(error) => loaded.problems.push(error),
                Ok(()) => {}
            }
        }
    }
    Ok(loaded)
}

fn read(file: &Path, loaded: &mut Loaded, sink: &mut dyn FnMut(Object)) -> Result<(), InputError> {
    let text = files::read(file, MAX_MANIFEST_BYTES)?;
    loaded.files += 1;
    let Loaded { problems, objects: count, .. } = loaded;
    let broken = yaml::parse_each(&text.name, &text.text, |document| {
        for object in objects(document, problems) {
            *count += 1;
            sink(object);
        }
    });
    if let Err(mut error) = broken {
        error.message.push_str("; the rest of this file is not covered");
        problems.push(error);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &Path, objects: &[&str], problems: &[&str]) {
        let mut labels = Vec::new();
        let loaded = world(&[path.to_path_buf()], &mut |object| labels.push(object.label())).unwrap();
        assert_eq!(labels, objects);
        let got: Vec<_> = loaded
            .problems
            .iter()
            .map(|problem| problem.to_string().rsplit_once('/').map_or_else(String::new, |(_, tail)| tail.to_owned()))
            .collect();
        assert_eq!(got, problems);
        assert_eq!(loaded.objects, objects.len());
    }

    #[test]
    fn one_broken_file_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\nkey: [\n");
        put("b.json", r#"{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"p","namespace":"n"}}]}"#);
        put("c.yaml", "just: values\n");
        put("notes.txt", "not read");
        check(
            folder.path(),
            &["Namespace/a", "Pod/n/p"],
            &[
                "a.yaml:5:6: this is not valid YAML: check indentation, quotes and brackets on this line and the one before; the rest of this file is not covered",
                "c.yaml:1:1: not a Kubernetes object: `apiVersion` and `kind` are needed; it was skipped",
            ],
        );
    }

    #[test]
    fn a_path_that_is_not_there_is_an_error() {
        let error = world(&[PathBuf::from("not/there.yaml")], &mut |_| ()).unwrap_err();
        assert!(error.to_string().starts_with("not/there.yaml: cannot be read"), "{error}");
    }
}
