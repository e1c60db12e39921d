//! Paths → texts, and a text → its file. The only part of this folder that touches the file system.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{InputError, Place};

/// Most bytes of one file of manifests: room for a dump of a very large cluster.
pub const MAX_MANIFEST_BYTES: u64 = 256 << 20;
/// Most bytes of one configuration file (guide's values, MAS's config, TrafficMatrix, assertions).
pub const MAX_CONFIG_BYTES: u64 = 32 << 20;
/// Most files below one folder.
const MAX_FILES: usize = 100_000;

/// One file, read.
#[derive(Debug, Clone)]
pub struct Text {
    /// The path as the user gave it; `-` for standard input.
    pub name: Arc<str>,
    /// Its content.
    pub text: String,
}

/// Reads one file, or standard input for `-`.
pub fn read(path: &Path, limit: u64) -> Result<Text, InputError> {
    let name: Arc<str> = Arc::from(path.to_string_lossy());
    let fail = |message: String| InputError::new(Place::whole(&name), message);
    let mut bytes = Vec::new();
    let count = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes)
    } else {
        let file = File::open(path)
            .map_err(|error| fail(format!("cannot be read ({}): check the path and its permissions", error.kind())))?;
        if file.metadata().is_ok_and(|meta| meta.is_dir()) {
            return Err(fail("is a folder; a file is wanted here".to_owned()));
        }
        file.take(limit + 1).read_to_end(&mut bytes)
    };
    let count = count.map_err(|error| fail(format!("cannot be read ({})", error.kind())))?;
    if count as u64 > limit {
        return Err(fail(format!("is larger than {} MiB: split it", limit >> 20)));
    }
    let text = String::from_utf8(bytes).map_err(|_| fail("is not UTF-8 text: is it a binary file?".to_owned()))?;
    if text.contains('\0') {
        return Err(fail("holds NUL bytes: is it a binary file?".to_owned()));
    }
    Ok(Text { name, text })
}

/// All manifest files of a path: itself, or what lies below a folder (`.yaml`, `.yml`, `.json`), sorted.
///
/// Hidden folders are passed over, and each folder is entered once, so links cannot loop.
pub fn manifests(path: &Path) -> Result<Vec<PathBuf>, InputError> {
    let mut found = Vec::new();
    if path.as_os_str() != "-" && path.is_dir() {
        walk(path, &mut HashSet::new(), &mut found)?;
        found.sort();
        if found.is_empty() {
            return Err(InputError::new(
                Place::whole(&path.to_string_lossy()),
                "no .yaml, .yml or .json file in this folder",
            ));
        }
    } else {
        found.push(path.to_path_buf());
    }
    Ok(found)
}

/// Puts a file in place, whole or not at all: whoever reads it meanwhile sees the old text or the new one.
pub fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    // Temporary files are private; a manifest is not.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn walk(folder: &Path, entered: &mut HashSet<PathBuf>, found: &mut Vec<PathBuf>) -> Result<(), InputError> {
    let fail = |path: &Path, error: &std::io::Error| {
        InputError::new(Place::whole(&path.to_string_lossy()), format!("cannot be read ({})", error.kind()))
    };
    let canonical = folder.canonicalize().map_err(|error| fail(folder, &error))?;
    if !entered.insert(canonical) {
        return Ok(());
    }
    for entry in folder.read_dir().map_err(|error| fail(folder, &error))? {
        let path = entry.map_err(|error| fail(folder, &error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let is_manifest = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if path.is_dir() {
            if !hidden {
                walk(&path, entered, found)?;
            }
        } else if is_manifest && !hidden {
            found.push(path);
        }
        if found.len() > MAX_FILES {
            return Err(InputError::new(
                Place::whole(&folder.to_string_lossy()),
                format!("more than {MAX_FILES} files below this folder"),
            ));
        }
    }
    Ok(())
}
