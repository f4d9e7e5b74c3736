//! Text files with one entry a line.
//!
//! Lists come from many hands: lines may end in LF, CRLF or CR, a byte order mark may stand before the first
//! entry, and comments may be in any encoding. What is not understood is an error with its line, never left
//! out in silence.

use std::{fmt::Display, io, path::Path, str::FromStr};

use super::ListError;
use crate::files::Lines;

/// How much of a wrong entry a message shows.
const SHOWN_CHARS_MAX: usize = 60;

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The words that are no entry.
    pub(super) word: String,
    /// What should stand there.
    pub(super) reason: String,
}

impl Wrong {
    pub(super) fn new(word: &str, reason: impl Display) -> Self {
        let word = word.trim_ascii();
        let mut shown: String =
            word.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
        if word.chars().nth(SHOWN_CHARS_MAX).is_some() {
            shown.push('…');
        }
        Self { word: shown, reason: reason.to_string() }
    }
}

/// Calls `add` with each entry: one word a line. A comment begins with a `#` at the beginning of a word.
///
/// # Errors
/// When the file cannot be read, when an entry does not parse, or when more words follow it.
pub(in crate::middleware) fn read_words<T: FromStr<Err: Display>>(
    path: &Path,
    mut add: impl FnMut(T),
) -> Result<(), ListError> {
    read_lines(path, |line| {
        let mut words = without_comment(line, &["#"]).split_whitespace();
        let Some(word) = words.next() else { return Ok(()) };
        let entry = word.parse().map_err(|error: T::Err| Wrong::new(word, error))?;
        if let Some(second) = words.next() {
            return Err(Wrong::new(second, "a line has one entry; put a # before a comment"));
        }
        add(entry);
        Ok(())
    })
}

/// The part of a line before the first word that begins with one of `marks`.
pub(super) fn without_comment<'l>(line: &'l str, marks: &[&str]) -> &'l str {
    let mut is_within_word = false;
    for (at, character) in line.char_indices() {
        if !is_within_word && marks.iter().any(|mark| line[at..].starts_with(mark)) {
            return &line[..at];
        }
        is_within_word = !character.is_whitespace();
    }
    line
}

/// Calls `take` with each line, without its end and without a byte order mark. Bytes that are no UTF-8 become
/// U+FFFD, which is in no entry, so they matter in comments and names only.
///
/// # Errors
/// When the file cannot be read, or when `take` finds a line wrong.
pub(super) fn read_lines(
    path: &Path,
    mut take: impl FnMut(&str) -> Result<(), Wrong>,
) -> Result<(), ListError> {
    let failed = |source: io::Error| ListError::Read { path: path.to_owned(), source };
    let mut lines = Lines::open(path).map_err(failed)?;
    while let Some((line, bytes)) = lines.next().map_err(failed)? {
        if line == 1 && (bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff")) {
            let reason = "the list is UTF-16; save it as UTF-8";
            return Err(ListError::Line { path: path.to_owned(), line, reason });
        }
        // Lists that were put together have a mark before the first line of each.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        take(&String::from_utf8_lossy(bytes)).map_err(|Wrong { word, reason }| {
            ListError::Entry { path: path.to_owned(), line, word, reason }
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: impl AsRef<[u8]>) -> Result<Vec<u8>, ListError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut entries = Vec::new();
        read_words(file.path(), |entry| entries.push(entry)).map(|()| entries)
    }

    #[track_caller]
    fn assert_fails(text: impl AsRef<[u8]>, expected: &str) {
        let error = read(text).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn a_line_has_one_entry_and_perhaps_a_comment() {
        assert_eq!(read("1 # one\r\n\n# none\n  2\t#two\n3").unwrap(), [1, 2, 3]);
    }

    #[test]
    fn lines_end_in_lf_in_crlf_or_in_cr() {
        for text in ["1\n2\n\n3\n", "1\r\n2\r\n\r\n3\r\n", "1\r2\r\r3\r", "1\r2\n\r\n3\r"] {
            assert_eq!(read(text).unwrap(), [1, 2, 3], "{text:?}");
            assert_fails(format!("{text}x"), ":5: `x`: invalid digit found in string");
        }
        assert_eq!(read("1\r2").unwrap(), [1, 2]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_an_entry() {
        assert_eq!(read("\u{feff}1\r\n2").unwrap(), [1, 2]);
        assert_eq!(read("\u{feff}# mine\n1\n\u{feff}2\n").unwrap(), [1, 2]);
    }

    #[test]
    fn a_comment_may_be_in_any_encoding_and_an_entry_may_not() {
        assert_eq!(read(b"1 # caf\xe9\n#\xff\xfe\x80\n2").unwrap(), [1, 2]);
        assert_fails(b"1\ncaf\xe9", ":2: `caf\u{fffd}`: invalid digit found in string");
        assert_fails(b"\xff\xfe1\0\n\0", ":1: the list is UTF-16; save it as UTF-8");
    }

    #[test]
    fn a_line_that_is_no_entry_is_named() {
        assert_fails("1\n2\nmany", ":3: `many`: invalid digit found in string");
        let long = "x".repeat(100);
        assert_fails(&long, &format!("`{}…`: invalid digit found in string", &long[..60]));
    }

    #[test]
    fn words_behind_an_entry_are_an_error_unless_they_are_a_comment() {
        assert_fails("1\n2 two", ":2: `two`: a line has one entry; put a # before a comment");
        assert_fails("1 2", ":1: `2`: a line has one entry; put a # before a comment");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read_words(Path::new("/no/such/list"), |_: u8| ()).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the list /no/such/list");
    }
}
