//! The info-hashes of `.torrent` files (BEP 3 and 52).

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use tracker_common::id::InfoHash;

/// The names that clients announce a torrent by: that of version 1, that of version 2 (cut to 20
/// bytes), or both. `None` if the bytes are not those of a torrent.
pub(super) fn info_hashes(metainfo: &[u8]) -> Option<[Option<InfoHash>; 2]> {
    let info = get(metainfo, b"info")?;
    let is_version_2 = get(info, b"meta version") == Some(b"i2e");
    let is_version_1 = get(info, b"pieces").is_some();
    let cut = |digest: &[u8]| digest.first_chunk().copied().map(InfoHash);
    let version_1 = is_version_1.then(|| cut(digest(&SHA1_FOR_LEGACY_USE_ONLY, info).as_ref()));
    let version_2 = is_version_2.then(|| cut(digest(&SHA256, info).as_ref()));
    (is_version_1 || is_version_2).then_some([version_1.flatten(), version_2.flatten()])
}

/// The value of a key, still encoded. `None` if there is none, or no dictionary to look into.
fn get<'a>(dictionary: &'a [u8], sought: &[u8]) -> Option<&'a [u8]> {
    let mut rest = dictionary.strip_prefix(b"d")?;
    while rest.first() != Some(&b'e') {
        let (key, after) = split_string(rest)?;
        let (value, after) = split_value(after)?;
        if key == sought {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// Cuts the encoded value at the front off.
fn split_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes;
    let mut open = 0_usize;
    loop {
        match rest.first()? {
            b'd' | b'l' => {
                open += 1;
                rest = &rest[1..];
            }
            b'e' => {
                open = open.checked_sub(1)?;
                rest = &rest[1..];
            }
            b'i' => rest = &rest[rest.iter().position(|byte| *byte == b'e')? + 1..],
            _ => rest = split_string(rest)?.1,
        }
        if open == 0 {
            return Some(bytes.split_at(bytes.len() - rest.len()));
        }
    }
}

/// Cuts the string at the front off and decodes it.
fn split_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = bytes.iter().take(DIGITS_MAX + 1).position(|byte| *byte == b':')?;
    let (length, rest) = bytes.split_at(colon);
    let is_number = length.iter().all(u8::is_ascii_digit);
    let length = str::from_utf8(length).ok().filter(|_| is_number)?.parse().ok()?;
    rest[1..].split_at_checked(length)
}

/// Of the length of a string: more than any file has.
const DIGITS_MAX: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V1_INFO: &str =
        "d6:lengthi1e4:name1:x12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    const V2_INFO: &str = "d9:file treed1:xd0:d6:lengthi1eeee12:meta versioni2e4:name1:xe";

    fn torrent(info: &str) -> Vec<u8> {
        format!("d8:announce3:a:b13:announce-listll3:a:bee4:info{info}5:otheri-7ee").into_bytes()
    }

    fn hex(torrent: &[u8]) -> Option<[Option<String>; 2]> {
        info_hashes(torrent).map(|hashes| hashes.map(|hash| hash.map(|hash| hash.to_string())))
    }

    fn sha1(info: &str) -> String {
        cut(digest(&SHA1_FOR_LEGACY_USE_ONLY, info.as_bytes()).as_ref())
    }

    fn sha256(info: &str) -> String {
        cut(digest(&SHA256, info.as_bytes()).as_ref())
    }

    fn cut(digest: &[u8]) -> String {
        InfoHash(*digest.first_chunk().unwrap()).to_string()
    }

    #[test]
    fn a_torrent_of_version_1_is_known_by_the_sha_1_of_its_info() {
        assert_eq!(hex(&torrent(V1_INFO)), Some([Some(sha1(V1_INFO)), None]));
    }

    #[test]
    fn a_torrent_of_version_2_is_known_by_the_sha_256_cut_short() {
        assert_eq!(hex(&torrent(V2_INFO)), Some([None, Some(sha256(V2_INFO))]));
    }

    #[test]
    fn a_hybrid_is_known_by_both() {
        let both = V2_INFO.replace("1:xe", "1:x6:pieces20:aaaaaaaaaaaaaaaaaaaae");
        assert_eq!(hex(&torrent(&both)), Some([Some(sha1(&both)), Some(sha256(&both))]));
    }

    #[test]
    fn the_hashes_are_those_that_others_compute() {
        // By `printf %s "$info" | sha1sum` and `sha256sum`.
        assert_eq!(sha1(V1_INFO), "fd1ecef9f83ef3d11c63557b271320a134a6add7");
        assert_eq!(sha256(V2_INFO), "bc7ee9fbbe16915a735621c938b5df3cd5fd4a65");
    }

    #[test]
    fn what_is_no_torrent_has_no_hash() {
        for bytes in
            ["", "d", "de", "i1e", "d4:infoe", "d4:infode", "d4:infodee", "4:info", "d4:info9:x"]
        {
            assert_eq!(info_hashes(bytes.as_bytes()), None, "{bytes}");
        }
        let torrent = torrent(V1_INFO);
        // Not without the end of `info`; what follows that does not matter.
        let info_end = torrent.len() - "5:otheri-7ee".len();
        for end in 0..info_end {
            assert_eq!(info_hashes(&torrent[..end]), None, "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            info_hashes(&bytes);
        }

        #[test]
        fn bytes_of_the_syntax_s_own_do_not_panic(text in "(d4:info)?[deil0-9:-]{0,40}") {
            info_hashes(text.as_bytes());
        }
    }
}
