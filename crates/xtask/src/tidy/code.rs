//! Rust text with its comments and literals blanked, so that a word found in it is code. Lines stay where they are.

/// The same text, with spaces for every character of a comment and of what is inside a literal.
pub fn only(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut blanked = String::with_capacity(text.len());
    let mut at = 0;
    while at < characters.len() {
        let rest = &characters[at..];
        let before = at.checked_sub(1).map(|before| characters[before]);
        let length = comment(rest).or_else(|| literal(rest, before));
        match length {
            Some(length) => {
                let end = (at + length).min(characters.len());
                blanked.extend(characters[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
                at = end;
            }
            None => {
                blanked.push(characters[at]);
                at += 1;
            }
        }
    }
    blanked
}

/// Whether a line holds this word, and not only as a part of a longer one. A word may be a path.
pub fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !(before.is_some_and(is_word) || after.is_some_and(is_word) && word.ends_with(is_word))
    })
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the comment that begins here.
fn comment(rest: &[char]) -> Option<usize> {
    match rest {
        ['/', '/', ..] => Some(rest.iter().position(|&c| c == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => {
            let (mut depth, mut at) = (0_usize, 0);
            while at < rest.len() {
                match &rest[at..] {
                    ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
                    ['*', '/', ..] if depth == 1 => return Some(at + 2),
                    ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
                    _ => at += 1,
                }
            }
            Some(rest.len())
        }
        _ => None,
    }
}

/// The length of the string or character that begins here, with its prefix.
fn literal(rest: &[char], before: Option<char>) -> Option<usize> {
    let first = *rest.first()?;
    if first == '"' {
        return Some(quoted(rest, '"'));
    }
    if first == '\'' {
        // 'a and 'static are lifetimes: nothing closes them after one character.
        return matches!(rest, ['\'', '\\', ..] | ['\'', _, '\'', ..]).then(|| quoted(rest, '\''));
    }
    if before.is_some_and(is_word) {
        return None;
    }
    let prefix = rest.iter().take(2).take_while(|c| matches!(c, 'b' | 'c' | 'r')).count();
    let raw = prefix > 0 && rest[prefix - 1] == 'r';
    match rest.get(prefix)? {
        '"' if raw => Some(prefix + raw_string(&rest[prefix..])),
        '"' if prefix == 1 => Some(prefix + quoted(&rest[prefix..], '"')),
        '\'' if prefix == 1 && first == 'b' => Some(prefix + quoted(&rest[prefix..], '\'')),
        '#' if raw => {
            let hashes = rest[prefix..].iter().take_while(|&&c| c == '#').count();
            // r#type is an identifier.
            (rest.get(prefix + hashes) == Some(&'"')).then(|| prefix + raw_string(&rest[prefix..]))
        }
        _ => None,
    }
}

/// The length of a literal that a backslash can escape in, from its opening quote to its closing one.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a raw string from its first `#` or quote.
fn raw_string(rest: &[char]) -> usize {
    let hashes = rest.iter().take_while(|&&c| c == '#').count();
    let mut at = hashes + 1;
    while at < rest.len() {
        let closes = rest[at] == '"' && rest[at + 1..].iter().take_while(|&&c| c == '#').count() >= hashes;
        if closes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_not_code() {
        check("a(); // unsafe", "a();          ");
        check("a(/* x /* y */ z */);", "a(                 );");
    }

    #[test]
    fn literals_are_not_code() {
        check(r#"f("un\"safe", 1)"#, "f(          , 1)");
        check(r##"f(r#"a "b" c"#)"##, "f(            )");
        check("f(b'\\'', '\"')", "f(     ,    )");
        check("f(b\"x\", c\"y\")", "f(    ,     )");
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_code() {
        check("fn f<'a>(r#type: &'a str)", "fn f<'a>(r#type: &'a str)");
        check("for<'a> bar(x)", "for<'a> bar(x)");
    }

    #[test]
    fn lines_stay_where_they_are() {
        check("a(\"\n\");\n/*\n*/b", "a( \n );\n  \n  b");
    }

    #[test]
    fn a_part_of_a_word_is_not_the_word() {
        assert!(has_word("unsafe { x }", "unsafe"));
        assert!(!has_word("#![forbid(unsafe_code)]", "unsafe"));
        assert!(has_word("let t = std::time::Instant::now();", "Instant::now"));
        assert!(!has_word("operand::x", "rand::"));
        assert!(has_word("use rand::Rng;", "rand::"));
    }

    fn check(text: &str, code: &str) {
        assert_eq!(only(text), code);
    }
}
