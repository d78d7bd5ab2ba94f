//! Numbers of variable length: less than 0xf0 in one byte; else four bits in the first and seven in each further one, each
//! byte having what the former ones can express already subtracted.

use super::Malformed;

/// Appends a number.
pub(super) fn put(out: &mut Vec<u8>, number: u64) {
    if number < 0xf0 {
        out.push(number as u8);
        return;
    }
    out.push(number as u8 | 0xf0);
    let mut rest = (number - 0xf0) >> 4;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest = (rest - 0x80) >> 7;
    }
    out.push(rest as u8);
}

/// Takes a number from the beginning of `bytes`; none while it is not complete.
pub(super) fn take(bytes: &mut &[u8]) -> Result<Option<u64>, Malformed> {
    let Some((&first, mut rest)) = bytes.split_first() else { return Ok(None) };
    let mut number = u64::from(first);
    if first >= 0xf0 {
        let mut shift = 4;
        loop {
            let Some((&byte, after)) = rest.split_first() else {
                // Ten bytes hold any number.
                return if bytes.len() > 10 { Err(Malformed::Number) } else { Ok(None) };
            };
            rest = after;
            let part = u64::from(byte).checked_shl(shift).filter(|part| part >> shift == u64::from(byte));
            number = part.and_then(|part| number.checked_add(part)).ok_or(Malformed::Number)?;
            if byte < 0x80 {
                break;
            }
            shift += 7;
        }
    }
    *bytes = rest;
    Ok(Some(number))
}
