//! The subject alternative names of a client's certificate.
//!
//! The certificate has already been verified; this only walks to one extension (RFC 5280, 4.2.1.6).
//! Whatever has another form gives no names.

use std::net::IpAddr;

/// DER tags.
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const EXTENSIONS: u8 = 0xa3;
/// `subjectAltName`, 2.5.29.17.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

/// Takes one element: its tag, its content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        let length = digits
            .iter()
            .fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn content_of(der: &[u8], wanted: u8) -> Option<&[u8]> {
    element(der).and_then(|(tag, content, _)| (tag == wanted).then_some(content))
}

/// The elements in a row.
fn elements(der: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = der;
    std::iter::from_fn(move || {
        let (tag, content, after) = element(rest)?;
        rest = after;
        Some((tag, content))
    })
}

fn alt_names(certificate: &[u8]) -> Option<&[u8]> {
    let to_be_signed = content_of(content_of(certificate, SEQUENCE)?, SEQUENCE)?;
    let (_, extensions) = elements(to_be_signed).find(|(tag, _)| *tag == EXTENSIONS)?;
    let extensions = content_of(extensions, SEQUENCE)?;
    let (_, extension) = elements(extensions).find(|(_, extension)| {
        content_of(extension, OBJECT_IDENTIFIER) == Some(SUBJECT_ALT_NAME.as_slice())
    })?;
    let (_, value) = elements(extension).find(|(tag, _)| *tag == OCTET_STRING)?;
    content_of(value, SEQUENCE)
}

/// The names as text: DNS names, mail addresses, URIs and IP addresses.
#[must_use]
pub fn client_names(certificate: &[u8]) -> Vec<String> {
    let text = |content: &[u8]| String::from_utf8(content.to_vec()).ok();
    let address = |content: &[u8]| match content.len() {
        4 => <[u8; 4]>::try_from(content).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(content).ok().map(IpAddr::from),
        _ => None,
    };
    elements(alt_names(certificate).unwrap_or_default())
        .filter_map(|(tag, content)| match tag {
            0x81 | 0x82 | 0x86 => text(content),
            0x87 => address(content).map(|a| a.to_string()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_a_certificate_are_found() {
        let names = ["a.example", "10.1.2.3", "::1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names.to_vec()).unwrap();
        let der = made.cert.der();
        assert_eq!(client_names(der), names);
        for length in 0..der.len() {
            let cut = client_names(&der[..length]);
            assert!(cut.is_empty(), "{cut:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = client_names(&bytes);
        }
    }
}
