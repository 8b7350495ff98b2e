//! Fields of a `multipart/form-data` body (`curl -F query=up`), which Go's `FormValue` takes, too.
//!
//! Files are left out. A body that is none gives what was read of it: Go's handlers do not look at the error.

/// The boundary that a Content-Type names, when it is that of a form.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (media_type, parameters) = content_type.split_once(';')?;
    if !media_type
        .trim()
        .eq_ignore_ascii_case("multipart/form-data")
    {
        return None;
    }
    let value = parameter(parameters, "boundary")?;
    (!value.is_empty()).then_some(value)
}

/// A parameter of a header; quoted ones without their quotes.
fn parameter<'t>(parameters: &'t str, name: &str) -> Option<&'t str> {
    parameters.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        let is_it = key.trim().eq_ignore_ascii_case(name);
        is_it.then(|| value.trim().trim_matches('"'))
    })
}

/// Names and values of the fields in their order.
pub(super) fn fields<'b>(body: &'b [u8], boundary: &str) -> Vec<(String, &'b [u8])> {
    let first = format!("--{boundary}");
    let between = format!("\r\n{first}");
    let mut found = Vec::new();
    // What stands before the first boundary does not count.
    let mut rest = if body.starts_with(first.as_bytes()) {
        Some(&body[first.len()..])
    } else {
        split_at(body, between.as_bytes()).map(|(_, rest)| rest)
    };
    while let Some(part) = rest.and_then(|rest| rest.strip_prefix(b"\r\n")) {
        let Some((part, following)) = split_at(part, between.as_bytes()) else {
            break;
        };
        found.extend(field(part));
        rest = Some(following);
    }
    found
}

fn field(part: &[u8]) -> Option<(String, &[u8])> {
    let (head, value) = split_at(part, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(head);
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.trim().eq_ignore_ascii_case("content-disposition");
        is_it.then(|| value.trim())
    })?;
    let (kind, parameters) = disposition.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") || parameter(parameters, "filename").is_some()
    {
        return None;
    }
    Some((parameter(parameters, "name")?.to_owned(), value))
}

/// What stands before and behind the first `separator`.
fn split_at<'b>(bytes: &'b [u8], separator: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = bytes
        .windows(separator.len())
        .position(|w| w == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_files_left_out() {
        assert_eq!(boundary("multipart/form-data; boundary=\"B\""), Some("B"));
        assert_eq!(
            boundary("Multipart/Form-Data;charset=x; boundary=B"),
            Some("B")
        );
        for none in [
            "multipart/form-data",
            "multipart/mixed; boundary=B",
            "multipart/form-data; boundary=",
        ] {
            assert_eq!(boundary(none), None);
        }
        let body = b"before\r\n--B\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nup\r\n--x\r\n\
            --B\r\ncontent-disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\nfile\r\n\
            --B\r\nContent-Disposition: form-data; name=time\r\nContent-Type: text/plain\r\n\r\n\r\n--B--\r\n";
        let read = fields(body, "B");
        assert_eq!(
            read,
            [
                ("query".to_owned(), b"up\r\n--x".as_slice()),
                ("time".to_owned(), b"".as_slice()),
            ]
        );
        for wrong in [b"".as_slice(), b"--B", b"--B\r\n", b"--B\r\njunk", b"--B--"] {
            assert!(fields(wrong, "B").is_empty());
        }
    }
}
