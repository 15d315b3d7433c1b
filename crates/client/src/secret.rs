//! The token, which is shown to nobody but the server.

use std::fmt;

/// A bearer token. It prints as `(secret)`, so that no log line and no error can hold it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token as it was given; `None` when it is empty or could not stand in a header.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_printed() {
        let token = Token::new(" forebay_abc\n").expect("a token");
        assert_eq!(format!("{token:?}"), "(secret)");
        assert_eq!(token.reveal(), "forebay_abc");
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_no_token() {
        assert_eq!(Token::new(""), None);
        assert_eq!(Token::new("two words"), None);
        assert_eq!(Token::new("line\nline"), None);
    }
}
