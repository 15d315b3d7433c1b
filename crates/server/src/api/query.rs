//! Queries and path segments, as clients write them.

/// The value of a parameter, whose name is found in any case.
#[must_use]
pub fn parameter(query: &str, wanted: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(&name.replace('+', " "))?;
        name.eq_ignore_ascii_case(wanted).then(|| decode(&value.replace('+', " ")))?
    })
}

/// Takes out `%20` and the like. `None`: it is broken, or not UTF-8.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        match (first, others) {
            (b'%', [high, low, others @ ..]) => {
                let digit = |digit: u8| char::from(digit).to_digit(16);
                bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
                rest = others;
            }
            (b'%', _) => return None,
            (plain, others) => {
                bytes.push(*plain);
                rest = others;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_however_they_are_written() {
        check("api-version=1", "api-version", Some("1"));
        check("a=b&API-Version=2024-01-01", "api-version", Some("2024-01-01"));
        check("%24filter=name+eq%20%27a%27", "$filter", Some("name eq 'a'"));
        check("$filter=x=y", "$filter", Some("x=y"));
        check("top", "top", Some(""));
        check("a=%", "a", None);
        check("a=%ff", "a", None);
        check("", "a", None);

        fn check(query: &str, name: &str, wanted: Option<&str>) {
            assert_eq!(parameter(query, name).as_deref(), wanted, "{query}");
        }
    }
}
