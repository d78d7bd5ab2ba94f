//! Whether a client speaks HTTP/1 (RFC 9112), from what it has sent so far.

/// More headers than this are no request that is waited for: as many as HAProxy takes.
const MOST_HEADERS: usize = 101;

/// Whether these bytes begin with a whole request: its line and its headers. None: they may yet become one.
#[must_use]
pub fn is_whole(bytes: &[u8]) -> Option<bool> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    match httparse::Request::new(&mut headers).parse(bytes) {
        Ok(httparse::Status::Complete(_)) => Some(true),
        Ok(httparse::Status::Partial) => None,
        Err(_) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_with_its_last_empty_line() {
        let request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\nbody";
        for (length, whole) in
            [(0, None), (3, None), (16, None), (33, None), (35, Some(true)), (request.len(), Some(true))]
        {
            assert_eq!(is_whole(&request[..length]), whole, "{length}");
        }
        for other in [&b"\x16\x03\x01"[..], b"SSH-2.0-x\r\n", b"GET / FTP/1.1\r\n\r\n", b"\0"] {
            assert_eq!(is_whole(other), Some(false), "{other:?}");
        }
    }
}
