//! What a client and a server of TLS 1.3 say in the clear, as long as a request and a reply are.

use crate::server::{REPLY, REQUEST};

/// Bytes of a client's hello: as many as most browsers pad it to.
pub(crate) const HELLO_LENGTH: usize = 8 * REQUEST;

/// A hello that goes on with a session.
pub(crate) fn client_hello() -> Vec<u8> {
    let identity = [&vector(2, &[7; 160])[..], &[0, 0, 0, 1]].concat();
    let binders = vector(2, &vector(1, &[8; 32]));
    let last = extension(41, &[vector(2, &identity), binders].concat());
    let first = [
        extension(0, &vector(2, &[&[0][..], &vector(2, b"bench.example")].concat())),
        extension(43, &[2, 3, 4]),
        extension(51, &vector(2, &[&[0, 29][..], &vector(2, &[9; 32])].concat())),
    ]
    .concat();
    // Record, message, version, random, session id, ciphers, compression, length of the extensions, head of the padding.
    let fixed = 5 + 4 + 2 + 32 + 33 + 4 + 2 + 2 + 4;
    let padding = extension(21, &vec![0; HELLO_LENGTH - fixed - first.len() - last.len()]);
    let extensions = vector(2, &[first, padding, last].concat());
    let body = [&[3, 3][..], &[1; 32], &vector(1, &[2; 32]), &vector(2, &[0x13, 1]), &[1, 0], &extensions].concat();
    record(22, &[&[1][..], &vector(3, &body)].concat())
}

/// The server goes on with the session; what follows is encrypted.
pub(crate) fn server_flight() -> Vec<u8> {
    let extensions = [extension(41, &[0, 0]), extension(51, &[&[0, 29][..], &vector(2, &[9; 32])].concat())];
    let extensions = vector(2, &[&extensions.concat()[..], &extension(43, &[3, 4])].concat());
    let body = [&[3, 3][..], &[1; 32], &vector(1, &[2; 32]), &[0x13, 1, 0], &extensions].concat();
    let mut flight = [record(22, &[&[2][..], &vector(3, &body)].concat()), record(20, &[1])].concat();
    flight.extend(record(23, &vec![3; REPLY - flight.len() - 5]));
    flight
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &vector(2, content)].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(2, content)].concat()
}

/// Its length in so many bytes, and then the content.
fn vector(bytes: usize, content: &[u8]) -> Vec<u8> {
    [&content.len().to_be_bytes()[8 - bytes..], content].concat()
}
