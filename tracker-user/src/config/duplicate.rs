//! Keys that a file has twice. The YAML library reports them at the line of the section that has them.

use std::{cell::RefCell, collections::HashSet, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::path::Path;

/// The first key that stands twice in one section, and the line of its second place.
pub(super) fn find(text: &str) -> Option<(Path, usize)> {
    let found = RefCell::new(None);
    let walk = Walk { path: Path::default(), found: &found };
    let stopped = walk.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    Some((found.into_inner()?, stopped.location()?.line()))
}

/// Reads a document only to fail at a key that its section has already: the parser then says where that is.
struct Walk<'a> {
    path: Path,
    found: &'a RefCell<Option<Path>>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key_seed(Key { section: &self, seen: &mut seen })? {
            map.next_value_seed(Walk { path: self.path.key(&key), found: self.found })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            let element = Walk { path: self.path.index(index), found: self.found };
            if seq.next_element_seed(element)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        // A value with a tag; none of ours has one.
        use serde::de::VariantAccess as _;
        tagged.variant::<IgnoredAny>()?.1.newtype_variant::<IgnoredAny>().map(drop)
    }
}

/// Fails on a key that was seen.
struct Key<'a, 'w> {
    section: &'a Walk<'w>,
    seen: &'a mut HashSet<String>,
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        if self.seen.insert(key.to_owned()) {
            return Ok(key.to_owned());
        }
        *self.section.found.borrow_mut() = Some(self.section.path.key(key));
        Err(E::custom("given twice"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(String, usize)> {
        find(text).map(|(path, line)| (path.to_string(), line))
    }

    #[test]
    fn a_key_that_is_given_twice_is_found_at_its_second_place() {
        let text = "a:\n  b: 1\n  c:\n  - d: x\n    e: [1.5, true, ~]\n    d: y\n  b: 2\n";
        assert_eq!(found(text), Some(("a.c[0].d".to_owned(), 6)));
        assert_eq!(found("a: {b: 1,\n b: 2}"), Some(("a.b".to_owned(), 2)));
        assert_eq!(found("1: a\n1: b"), Some(("1".to_owned(), 2)));
    }

    #[test]
    fn keys_of_different_sections_are_not_twice_the_same() {
        for text in
            ["a: {b: 1}\nc: {b: 2}", "- a: 1\n- a: 2", "", "a: &x {b: 1}\nc: *x", "a: !t 1", "a: ["]
        {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
