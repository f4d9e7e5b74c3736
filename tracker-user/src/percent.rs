//! Percent-encoding, read strictly: a `%` without two hexadecimal digits is an error, as in Chihaya. The usual
//! library leaves such a `%` as it is.

/// A `%` without two hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadEscape;

/// What a `+` stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plus {
    /// A space: in a query.
    Space,
    /// Itself: in a path.
    Literal,
}

/// Appends the percent-decoded `text` to `out`.
///
/// # Errors
/// When an escape is not whole; what is before it has been appended.
pub(crate) fn decode(text: &[u8], plus: Plus, out: &mut Vec<u8>) -> Result<(), BadEscape> {
    let digit =
        |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).ok_or(BadEscape);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => (digit(bytes.next())? << 4 | digit(bytes.next())?) as u8,
            b'+' if plus == Plus::Space => b' ',
            _ => *byte,
        });
    }
    Ok(())
}
