//! `data:` addresses (RFC 2397).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base64 with or without the `=` at its end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of an address, or why there are none. Its media type does not count: the content's
/// first bytes tell what it is.
pub fn decode(address: &str, limit_bytes: u64) -> Result<Vec<u8>, String> {
    let rest = address.get(5..).unwrap_or_default();
    let Some((kind, content)) = rest.split_once(',') else {
        return Err("has no comma before its content".into());
    };
    let too_large = || format!("is over the limit of {} MB", limit_bytes / 1_000_000);
    let is_base64 = kind
        .rsplit_once(';')
        .is_some_and(|(_, last)| last.trim().eq_ignore_ascii_case("base64"));
    // Base64 takes four characters for three bytes; anything else at least one for one.
    let shortest = if is_base64 { content.len() / 4 * 3 } else { 0 } as u64;
    if shortest > limit_bytes.saturating_mul(2) {
        return Err(too_large());
    }
    let mut bytes = percent_decoded(content).ok_or("has a `%` without two hexadecimal digits")?;
    if is_base64 {
        bytes.retain(|b| !b.is_ascii_whitespace());
        bytes = LENIENT.decode(&bytes).map_err(|_| "holds no valid Base64")?;
    }
    match bytes.len() as u64 > limit_bytes {
        true => Err(too_large()),
        false => Ok(bytes),
    }
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = std::str::from_utf8(after.get(..2)?).ok()?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_and_percent_codes_are_decoded() {
        for (address, bytes) in [
            ("data:image/png;base64,AQID", &[1, 2, 3][..]),
            ("DATA:;BASE64,AQI", &[1, 2]),
            ("data:;base64,AQI%3D", &[1, 2]),
            ("data:image/png;name=a;base64,A Q\nID", &[1, 2, 3]),
            ("data:,%00a%FF", &[0, b'a', 255]),
            ("data:,", &[]),
        ] {
            assert_eq!(decode(address, 10).as_deref(), Ok(bytes), "{address}");
        }
    }

    #[test]
    fn what_is_broken_or_too_large_is_told() {
        for (address, why) in [
            ("data:image/png;base64", "comma"),
            ("data:;base64,A*", "Base64"),
            ("data:,%4", "%"),
            ("data:,%+1", "%"),
            ("data:,%é", "%"),
            ("data:,12345678901", "limit"),
            ("data:;base64,AAAAAAAAAAAAAAAA", "limit"),
            ("data:é", "comma"),
            ("data", "comma"),
        ] {
            let error = decode(address, 10).unwrap_err();
            assert!(error.contains(why), "{address}: {error}");
        }
    }
}
