//! `--manifests` paths → API objects, one after the other.
//!
//! Trees are handed on as they are read and never pile up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Loaded;
use crate::source::files::{self, MAX_MANIFEST_BYTES};
use crate::source::yaml::Part;
use crate::source::{InputError, yaml};
use crate::world::{Object, objects};

/// Reads manifests (files, folders, `-` for standard input) and hands each object to `sink`, in the order of the paths.
///
/// JSON goes through the same parser: every JSON text is a YAML text.
///
/// # Errors
/// A path that was given and cannot be read. A file below a given folder that cannot be read is unread instead.
pub(crate) fn each(paths: &[PathBuf], sink: &mut dyn FnMut(Object)) -> Result<Loaded, InputError> {
    let mut loaded = Loaded::default();
    for path in paths {
        for file in files::manifests(path)? {
            match read(&file, &mut loaded, sink) {
                Err(error) if file == *path => return Err(error),
                Err(error) => loaded.unread.push(error),
                Ok(()) => {}
            }
        }
    }
    Ok(loaded)
}

/// Bytes of text that are read as one piece, at least. Small enough that what waits to be taken is small, too.
const PART_BYTES: usize = 256 << 10;
/// Most readers; beyond it the one thread that takes the objects is the limit.
const MAX_READERS: usize = 8;

/// What came out of one part of a file.
#[derive(Default)]
struct Parsed {
    objects: Vec<Object>,
    problems: Vec<InputError>,
    broken: Option<InputError>,
}

fn read(file: &Path, loaded: &mut Loaded, sink: &mut dyn FnMut(Object)) -> Result<(), InputError> {
    let text = files::read(file, MAX_MANIFEST_BYTES)?;
    loaded.files += 1;
    let parts = yaml::split(&text.text, PART_BYTES);
    if let [whole] = parts.as_slice() {
        let Loaded { problems, unread, objects: count, .. } = loaded;
        let broken = yaml::parse_objects(&text.name, whole, |document| {
            for object in objects(document, problems) {
                *count += 1;
                sink(object);
            }
        });
        unread.extend(broken.err().map(not_covered));
    } else {
        read_parts(&text.name, &parts, loaded, sink);
    }
    Ok(())
}

/// Reads the parts side by side and takes the objects in order.
///
/// Reader `k` of `n` reads the parts `k`, `k + n`, …, and may be one part ahead, so that memory is bounded by the readers and order needs no lock.
fn read_parts(file: &Arc<str>, parts: &[Part<'_>], loaded: &mut Loaded, sink: &mut dyn FnMut(Object)) {
    let readers = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, MAX_READERS);
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..readers)
            .map(|reader| {
                let (give, take) = std::sync::mpsc::sync_channel(1);
                scope.spawn(move || {
                    // Nobody takes any more once a part was broken.
                    parts.iter().skip(reader).step_by(readers).try_for_each(|part| give.send(parse_part(file, part)))
                });
                take
            })
            .collect();
        for lane in lanes.iter().cycle().take(parts.len()) {
            let Ok(Parsed { objects, problems, broken }) = lane.recv() else { break };
            loaded.problems.extend(problems);
            loaded.objects += objects.len();
            objects.into_iter().for_each(&mut *sink);
            if let Some(error) = broken {
                loaded.unread.push(not_covered(error));
                break;
            }
        }
    });
}

fn parse_part(file: &Arc<str>, part: &Part<'_>) -> Parsed {
    let mut parsed = Parsed::default();
    let Parsed { objects: found, problems, broken } = &mut parsed;
    *broken = yaml::parse_objects(file, part, |document| found.extend(objects(document, problems))).err();
    parsed
}

fn not_covered(mut error: InputError) -> InputError {
    error.message.push_str("; the rest of this file is not covered");
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &Path, objects: &[&str], problems: &[&str], unread: &[&str]) {
        let mut labels = Vec::new();
        let loaded = each(&[path.to_path_buf()], &mut |object| labels.push(object.label())).unwrap();
        assert_eq!(labels, objects);
        let told = |errors: &[InputError]| -> Vec<String> {
            let told = errors.iter().map(ToString::to_string);
            told.map(|text| text.rsplit_once('/').map_or_else(String::new, |(_, tail)| tail.to_owned())).collect()
        };
        assert_eq!(told(&loaded.problems), problems);
        assert_eq!(told(&loaded.unread), unread);
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
        std::fs::write(folder.path().join("d.yaml"), [0xff, 0xfe]).unwrap();
        check(
            folder.path(),
            &["Namespace/a", "Pod/n/p"],
            &["c.yaml:1:1: not a Kubernetes object: `apiVersion` and `kind` are needed; it was skipped"],
            &[
                "a.yaml:5:6: this is not valid YAML: check indentation, quotes and brackets on this line and the one before; the rest of this file is not covered",
                "d.yaml: is not UTF-8 text: is it a binary file?",
            ],
        );
    }

    /// Several parts: order, places and the end at the first broken document are those of one.
    #[test]
    fn a_large_file_is_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.yaml");
        let pod =
            |index: usize| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p{index}, namespace: n}}\n---\n");
        let text: String = (0..30_000).map(pod).collect();
        assert!(text.len() > 4 * PART_BYTES);
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let mut seen = Vec::new();
            let loaded = each(std::slice::from_ref(&path), &mut |object| {
                seen.push((object.name.clone(), object.place().position.line));
            });
            (seen, loaded.unwrap())
        };
        let expect: Vec<_> = (0..30_000_u32).map(|index| (format!("p{index}"), index * 4 + 1)).collect();
        let (seen, loaded) = read(&text);
        assert_eq!((seen == expect, loaded.unread, loaded.objects), (true, vec![], 30_000));
        let (seen, loaded) = read(&text.replace("name: p20000,", "name: [p20000,"));
        assert_eq!((seen == expect[..20_000], loaded.objects), (true, 20_000));
        let told: Vec<_> = loaded.unread.iter().map(|problem| problem.place.position.line).collect();
        assert_eq!(told, [80_003]);
    }

    #[test]
    fn a_path_that_is_not_there_is_an_error() {
        let error = each(&[PathBuf::from("not/there.yaml")], &mut |_| ()).unwrap_err();
        assert!(error.to_string().starts_with("not/there.yaml: cannot be read"), "{error}");
    }
}
