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

/// The line that a request begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// `GET` and its like.
    pub method: &'a str,
    /// What is asked for: path and query, perhaps behind a scheme and a host.
    pub target: &'a str,
}

/// The line of a request that begins with these bytes; none, if there is none or not yet all of it.
#[must_use]
pub fn line(bytes: &[u8]) -> Option<RequestLine<'_>> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let mut words = std::str::from_utf8(&bytes[..end]).ok()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    version.starts_with("HTTP/").then_some(RequestLine { method, target })
}

impl<'a> RequestLine<'a> {
    /// Its path.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.path_and_query().split('?').next().unwrap_or_default()
    }

    /// What stands behind the path and its question mark.
    #[must_use]
    pub fn query(&self) -> &'a str {
        self.path_and_query().split_once('?').map_or("", |(_, query)| query)
    }

    /// Both, without scheme and host.
    #[must_use]
    pub fn path_and_query(&self) -> &'a str {
        match self.target.split_once("://") {
            Some((_, rest)) if !self.target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
            _ => self.target,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_request_has_a_path_and_a_query() {
        let parts = |text: &'static str| line(text.as_bytes()).map(|line| (line.method, line.path(), line.query()));
        assert_eq!(parts("GET /a/b?c=d?e HTTP/1.1\r\n"), Some(("GET", "/a/b", "c=d?e")));
        assert_eq!(parts("HEAD http://h:80/x?y HTTP/1.0\n"), Some(("HEAD", "/x", "y")));
        assert_eq!(parts("GET http://h HTTP/1.1\r\n"), Some(("GET", "/", "")));
        assert_eq!(parts("GET /go?to=http://x/ HTTP/1.1\r\n"), Some(("GET", "/go", "to=http://x/")));
        assert_eq!(parts("OPTIONS * HTTP/1.1\r\n"), Some(("OPTIONS", "*", "")));
        for other in ["GET / HTTP/1.1", "GET /\r\n", "SSH-2.0-x\r\n", "GET / FTP/1.1\r\n"] {
            assert_eq!(parts(other), None, "{other}");
        }
    }

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
