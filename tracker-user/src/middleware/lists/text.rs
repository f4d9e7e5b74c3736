//! Text files with one entry a line.

use std::{fmt::Display, io, path::Path, str::FromStr};

use super::ListError;
use crate::files::Lines;

/// Calls `add` with each entry: the first word of a line. The rest of the line, empty lines and those
/// that begin with `#` are comments.
///
/// # Errors
/// When the file cannot be read, or an entry does not parse.
pub(in crate::middleware) fn read_text<T: FromStr<Err: Display>>(
    path: &Path,
    mut add: impl FnMut(T),
) -> Result<(), ListError> {
    let failed = |source: io::Error| ListError::Read { path: path.to_owned(), source };
    let mut lines = Lines::open(path).map_err(failed)?;
    while let Some((line, text)) = lines.next().map_err(failed)? {
        let Some(word) = text.split_whitespace().next().filter(|word| !word.starts_with('#'))
        else {
            continue;
        };
        let entry = word.parse().map_err(|error: T::Err| ListError::Entry {
            path: path.to_owned(),
            line,
            word: word.to_owned(),
            reason: error.to_string(),
        })?;
        add(entry);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<u8>, ListError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut entries = Vec::new();
        read_text(file.path(), |entry| entries.push(entry)).map(|()| entries)
    }

    #[test]
    fn an_entry_is_the_first_word_of_a_line() {
        assert_eq!(read("1 one\r\n\n# none\n  2\t# two\n3").unwrap(), [1, 2, 3]);
    }

    #[test]
    fn a_line_that_is_no_entry_is_named() {
        let error = read("1\n2\nmany").unwrap_err().to_string();
        assert!(error.ends_with(":3: `many`: invalid digit found in string"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read_text(Path::new("/no/such/list"), |_: u8| ()).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the list /no/such/list");
    }
}
