//! Bytes as hexadecimal digits.

pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The 32 bytes of a SHA-256, written in any case and with or without colons.
pub(crate) fn sha256(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|digit| *digit != b':').collect();
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bytes: [u8; 32] = std::array::from_fn(|index| index as u8 * 7);
        let text = encode(&bytes);
        assert_eq!(sha256(&text), Some(bytes));
        assert_eq!(sha256(&text.to_uppercase()), Some(bytes));
        let with_colons: Vec<&str> = (0..32).map(|at| &text[2 * at..2 * at + 2]).collect();
        assert_eq!(sha256(&with_colons.join(":")), Some(bytes));
        for wrong in ["", "00", &text[1..], &text.replace('0', "g"), &text.replace("00", "+0")] {
            assert_eq!(sha256(wrong), None, "{wrong}");
        }
    }
}
