//! Where in the file something stands.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// The keys and indices that lead to a value, written `chihaya.prehooks[0].options`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(usize),
}

impl Path {
    /// The path of a key below this one.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    /// The path of an element of the list at this path.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// This path, and another that begins where it ends.
    pub(super) fn join(&self, rest: &Self) -> Self {
        Self(self.0.iter().chain(&rest.0).cloned().collect())
    }

    /// What leads from `ancestor` to this path; `None` where it is no ancestor, nor this path itself.
    pub(super) fn below(&self, ancestor: &Self) -> Option<Self> {
        Some(Self(self.0.strip_prefix(&*ancestor.0)?.to_vec()))
    }

    /// The last of its keys.
    pub(super) fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            Segment::Index(_) => None,
        })
    }

    fn with(&self, segment: Segment) -> Self {
        Self(self.0.iter().cloned().chain([segment]).collect())
    }
}

impl From<&serde_path_to_error::Path> for Path {
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment as Theirs;
        let segment = |segment: &Theirs| match segment {
            Theirs::Seq { index } => Some(Segment::Index(*index)),
            Theirs::Map { key } => Some(Segment::Key(key.clone())),
            // Neither is a step in the file.
            Theirs::Enum { .. } | Theirs::Unknown => None,
        };
        Self(path.iter().filter_map(segment).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if i == 0 => write!(f, "{key}")?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The line of the key (or list element) at `path`, or of the nearest ancestor that is written out.
///
/// `aliases` are pairs of another spelling of a key and the spelling used in paths.
pub(super) fn locate(text: &str, path: &Path, aliases: &[(&str, &str)]) -> Option<usize> {
    (1..=path.0.len()).rev().find_map(|length| {
        let seek = Seek { path: &path.0[..length], aliases };
        let stopped = seek.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
        // An error of any other kind means that the path leads nowhere.
        let location = stopped.location().filter(|_| stopped.to_string().contains(HERE))?;
        Some(location.line())
    })
}

/// The text of the error that [`Seek`] fails with on arrival. A control character keeps it apart
/// from whatever the file may say.
const HERE: &str = "\u{1}here";

/// Reads a document only to fail at the end of the path: the parser then says where that is.
///
/// The parser knows the position of everything but hands it out with errors alone; this spares
/// a second YAML parser.
#[derive(Clone, Copy)]
struct Seek<'a> {
    path: &'a [Segment],
    aliases: &'a [(&'a str, &'a str)],
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            return deserializer.deserialize_any(Arrived);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the way to a key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(is_next) = map.next_key_seed(SeekKey(self))? {
            if is_next {
                map.next_value_seed(Seek { path: &self.path[1..], ..self })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let [Segment::Index(index), rest @ ..] = self.path else {
            return Err(Error::custom("a list where a key was sought"));
        };
        for _ in 0..*index {
            seq.next_element::<IgnoredAny>()?;
        }
        seq.next_element_seed(Seek { path: rest, ..self })?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Whether the key is the next on the path. If it is also the last, the search ends here.
struct SeekKey<'a>(Seek<'a>);

impl<'de> DeserializeSeed<'de> for SeekKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for SeekKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        let [Segment::Key(sought), rest @ ..] = self.0.path else {
            return Ok(false);
        };
        let is_next = key == sought || self.0.aliases.contains(&(key, sought));
        if is_next && rest.is_empty() { Err(E::custom(HERE)) } else { Ok(is_next) }
    }
}

/// Fails on any value: the end of the path is a list element.
struct Arrived;

impl<'de> Visitor<'de> for Arrived {
    type Value = ();

    // The message of every "invalid type" error, so that each kind of scalar fails with it.
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HERE)
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(Error::custom(HERE))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(Error::custom(HERE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
chihaya:
  http: { addr: one,
    idle_timeout: 3 }
  hooks:
    - name: first
      config:
        list: [a,
               b]
    - name: second
  1: number
";

    fn line(path: &Path) -> Option<usize> {
        locate(TEXT, path, &[("config", "options")])
    }

    #[test]
    fn keys_and_elements_are_found_by_line() {
        let root = Path::default().key("chihaya");
        assert_eq!(line(&root), Some(1));
        assert_eq!(line(&root.key("http").key("idle_timeout")), Some(3));
        assert_eq!(line(&root.key("hooks").index(1)), Some(9));
        assert_eq!(line(&root.key("hooks").index(0).key("options").key("list").index(1)), Some(8));
        assert_eq!(line(&root.key("1")), Some(10));
    }

    #[test]
    fn what_is_missing_is_found_at_its_parent() {
        let root = Path::default().key("chihaya");
        assert_eq!(line(&root.key("http").key("addr").key("below")), Some(2));
        assert_eq!(line(&root.key("hooks").index(7)), Some(4));
        assert_eq!(line(&root.key("hooks").key("name")), Some(4));
        assert_eq!(line(&Path::default().key("other")), None);
    }

    #[test]
    fn a_path_reads_as_people_write_it() {
        let path = Path::default().key("chihaya").key("prehooks").index(2).key("options");
        assert_eq!(path.to_string(), "chihaya.prehooks[2].options");
    }
}
