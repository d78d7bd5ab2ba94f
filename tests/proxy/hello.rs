//! Client hellos, as bytes.

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(content)].concat()
}

/// For `name`, with a key share of `share` bytes, in records of at most `record` bytes.
pub(crate) fn hello(name: &str, share: usize, record: usize) -> Vec<u8> {
    let names = vector16(&[&[0][..], &vector16(name.as_bytes())].concat());
    let extensions = [
        extension(0x3a3a, &[]),
        extension(51, &vec![7; share]),
        extension(0, &names),
        extension(16, &vector16(&vector8(b"h2"))),
        extension(43, &vector8(&[3, 4, 3, 3])),
    ];
    let body = [
        &[3, 3][..],
        &[9; 32],
        &vector8(&[5; 32]),
        &vector16(&[0x13, 1]),
        &vector8(&[0]),
        &vector16(&extensions.concat()),
    ]
    .concat();
    let message = [&[1][..], &(body.len() as u32).to_be_bytes()[1..], &body].concat();
    message.chunks(record).flat_map(|part| [&[22, 3, 1][..], &vector16(part)].concat()).collect()
}

/// In one record, with a key share of today.
pub(crate) fn plain(name: &str) -> Vec<u8> {
    hello(name, 36, 16_384)
}
