//! What JSON's grammar allows and other readers may choke on: lone surrogates, and nesting without end.

/// How deep arrays and objects may stand within one another.
const DEEPEST: usize = 128;

/// Whether a JSON text, whose grammar is checked, has no escaped surrogate without its other half and is
/// nested at most [`DEEPEST`] deep.
#[must_use]
pub fn is_sound(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' if depth == DEEPEST => return false,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => match string_end(bytes, at) {
                Some(end) => at = end,
                None => return false,
            },
            _ => {}
        }
    }
    true
}

/// Behind the closing quote of the string that begins here; `None`: it has a lone surrogate.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' if bytes.get(at + 1) == Some(&b'u') => at += escape(&bytes[at..])?,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The length of an escape by number, or of a pair of them that makes one character.
fn escape(bytes: &[u8]) -> Option<usize> {
    const LENGTH: usize = r"\uXXXX".len();
    match unit(bytes)? {
        0xD800..=0xDBFF => {
            let low = unit(&bytes[LENGTH..])?;
            (0xDC00..=0xDFFF).contains(&low).then_some(2 * LENGTH)
        }
        0xDC00..=0xDFFF => None,
        _ => Some(LENGTH),
    }
}

/// The number of the escape that begins here.
fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(br"\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surrogate_must_have_its_other_half() {
        for (text, sound) in [
            (r#""plain""#, true),
            (r#""\ud83d\ude00""#, true),
            (r#""\uD83D\uDE00x""#, true),
            (r#"["\u00e9", "\\ud800", "\"\\"]"#, true),
            (r#""\ud83d""#, false),
            (r#""\ud83dx\ude00""#, false),
            (r#""\ud83d\ud83d\ude00""#, false),
            (r#""\ude00""#, false),
            (r#"{"\udfff":1}"#, false),
            (r#"[[{"a":"\ud800"}]]"#, false),
        ] {
            assert_eq!(is_sound(text), sound, "{text}");
        }
    }

    #[test]
    fn nesting_has_an_end_and_brackets_in_strings_do_not_count() {
        let nested = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_sound(&nested(DEEPEST)));
        assert!(!is_sound(&nested(DEEPEST + 1)));
        assert!(is_sound(&format!("\"{}\"", "[{".repeat(500))));
        assert!(is_sound(&format!("[{}]", vec!["[]"; 1_000].join(","))), "side by side");
        assert!(!is_sound(&format!("{}1{}", "{\"a\":".repeat(129), "}".repeat(129))));
    }
}
