//! The files that a configuration names and that a start reads.

use std::{fs, io, path::Path as FilePath};

use serde_json::Value as Schema;
use serde_yaml::Value;

use super::{
    path::Path,
    schema::{kinds, properties},
};
use crate::files;

/// Marks keys in the schema whose files are read: `"file"`, or `"file or folder"`.
const READS: &str = "x-reads";

/// What is wrong with each of the files that `value` names and that cannot be opened for reading.
pub(super) fn unreadable(value: &Value, schema: &Schema, path: &Path) -> Vec<(Path, String)> {
    let mut found = Vec::new();
    walk(value, schema, path, &mut found);
    found
}

fn walk(value: &Value, schema: &Schema, path: &Path, found: &mut Vec<(Path, String)>) {
    if let Some(reads) = schema.get(READS).and_then(Schema::as_str) {
        return look(value, reads == "file or folder", path, found);
    }
    match value {
        Value::Mapping(section) => {
            let name = section.get("name").and_then(Value::as_str);
            let kind =
                kinds(schema).find_map(|(kind, schema)| (Some(kind) == name).then_some(schema));
            for (key, schema) in properties(kind.unwrap_or(schema)).into_iter().flatten() {
                if let Some(value) = section.get(key) {
                    walk(value, schema, &path.key(key), found);
                }
            }
        }
        Value::Sequence(elements) => {
            for (index, element) in elements.iter().enumerate() {
                walk(element, &schema["items"], &path.index(index), found);
            }
        }
        _ => {}
    }
}

fn look(value: &Value, may_be_folder: bool, path: &Path, found: &mut Vec<(Path, String)>) {
    match value {
        Value::Sequence(names) => {
            for (index, name) in names.iter().enumerate() {
                look(name, may_be_folder, &path.index(index), found);
            }
        }
        Value::String(name) => {
            if let Err(error) = open(FilePath::new(name), may_be_folder) {
                let advice = match error.kind() {
                    io::ErrorKind::NotFound => "; make the file, or correct its path",
                    io::ErrorKind::PermissionDenied => "; let the daemon's user read it",
                    _ => "",
                };
                found.push((path.clone(), format!("cannot read {name}: {error}{advice}")));
            }
        }
        _ => {}
    }
}

fn open(path: &FilePath, may_be_folder: bool) -> io::Result<()> {
    if may_be_folder && fs::metadata(path)?.is_dir() {
        return Ok(());
    }
    // How long it may be is for its reader to say.
    files::open(path, u64::MAX).map(drop)
}
