//! `forebay token new`: a random token, and what the server needs to know of it.

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use super::args::Role;

/// Which is more than can be guessed.
const BYTES: usize = 32;
/// By which scanners of repositories recognise a token that was committed.
const PREFIX: &str = "forebay_";

/// The text to print.
pub(super) fn new(name: &str, role: Role) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
    if name.is_empty() || !name.chars().all(fits) {
        return Err(format!(
            "`{name}` cannot be the name of a token: use letters, digits, `.`, `-`, `_` and `@`"
        ));
    }
    let mut random = [0; BYTES];
    SystemRandom::new().fill(&mut random).map_err(|_| "this machine has no random numbers to give")?;
    let token = format!("{PREFIX}{}", hex(&random));
    let role = match role {
        Role::Read => "read",
        Role::Write => "write",
    };
    let sha256 = hex(digest(&SHA256, token.as_bytes()).as_ref());
    Ok(format!(
        "# The token of `{name}`. It is shown this once:\n\
         {token}\n\
         \n\
         # These lines go into forebay.toml on the server:\n\
         [[server.tokens]]\n\
         name = \"{name}\"\n\
         role = \"{role}\"\n\
         sha256 = \"{sha256}\"\n"
    ))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_once_and_known_by_its_digest() {
        let text = new("ops", Role::Write).unwrap();
        let token = text.lines().nth(1).unwrap();
        let digest = hex(digest(&SHA256, token.as_bytes()).as_ref());
        assert!(token.starts_with("forebay_") && token.len() == 8 + 64, "{text}");
        assert!(text.ends_with(&format!(
            "[[server.tokens]]\nname = \"ops\"\nrole = \"write\"\nsha256 = \"{digest}\"\n"
        )));
        assert_eq!(text.matches(token).count(), 1);
        assert_ne!(text, new("ops", Role::Write).unwrap());
    }

    #[test]
    fn a_name_fits_into_the_settings() {
        assert!(new("", Role::Read).is_err());
        assert!(new("a\"b", Role::Read).is_err());
        assert!(new("ci@build-1.example_x", Role::Read).is_ok());
    }
}
