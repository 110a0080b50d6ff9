//! Takes the password out of Redis's error texts.

use super::LinkError;
use crate::secret::Secret;
use std::sync::Arc;

/// Of an error text, so many characters are shown.
const LONGEST_TEXT: usize = 500;

/// Shows what Redis says without the password. Some servers repeat a HELLO that they do not know, the
/// password included.
#[derive(Debug, Clone, Default)]
pub(in crate::upstream) struct Redactor(Option<Arc<Secret>>);

impl Redactor {
    pub(in crate::upstream) fn new(password: Option<Secret>) -> Self {
        Self(password.filter(|password| !password.expose().is_empty()).map(Arc::new))
    }

    /// An error that concerns the whole connection.
    pub(super) fn answered(&self, text: &str) -> LinkError {
        LinkError::Answered(self.text(text))
    }

    /// An error in answer to a SUBSCRIBE.
    pub(super) fn refused(&self, text: &str) -> LinkError {
        // "… has no permissions to access the 'x' channel", "… one of the channels …": all versions.
        // The other NOPERM is about a command, and then no channel can be had.
        let is_of_channel = text.starts_with("NOPERM")
            && text.to_ascii_lowercase().contains("permissions to access")
            && text.contains("channel");
        match is_of_channel {
            true => LinkError::ChannelRefused(self.text(text)),
            false => self.answered(text),
        }
    }

    /// One line, of bounded length.
    pub(in crate::upstream) fn text(&self, text: &str) -> String {
        let text = text.split(", with args beginning with").next().unwrap_or_default();
        let text = match &self.0 {
            Some(secret) => mask(text, secret.expose()),
            None => text.to_owned(),
        };
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        text.chars().take(LONGEST_TEXT).map(shown).collect()
    }
}

/// Also where the server has put blanks in place of line breaks, as an error text demands.
fn mask(text: &str, secret: &str) -> String {
    text.replace(secret, "***").replace(&secret.replace(['\r', '\n'], " "), "***")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(password: &str, text: &str) -> String {
        let redactor = Redactor::new(Some(Secret::new(password.to_owned())));
        redactor.answered(text).to_string()
    }

    #[test]
    fn no_answer_shows_the_password() {
        for text in [
            "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'me' 'hunter2' ",
            "ERR unknown command `HELLO 3 AUTH me hunter2 SETNAME sockway`",
        ] {
            assert!(!shown("hunter2", text).contains("hunter2"));
        }
        assert_eq!(shown("a\r\nb", "ERR bad 'a  b'"), "Redis answers: ERR bad '***'");
        assert_eq!(shown("", "ERR bad"), "Redis answers: ERR bad");
    }

    #[test]
    fn a_text_is_one_line_of_bounded_length() {
        assert_eq!(shown("x", "ERR a\u{1b}b\tc"), "Redis answers: ERR a b c");
        assert!(shown("x", &"ü".repeat(100_000)).chars().count() < 600);
    }

    #[test]
    fn only_what_is_said_of_a_channel_refuses_a_channel() {
        let refused =
            |text| matches!(Redactor::default().refused(text), LinkError::ChannelRefused(_));
        // 7.2 and later; 6.0 to 7.0.
        assert!(refused("NOPERM User me has no permissions to access the 'secret' channel"));
        assert!(refused(
            "NOPERM this user has no permissions to access one of the channels used as arguments"
        ));
        assert!(refused("NOPERM No permissions to access a channel"));
        assert!(!refused("NOPERM User channel has no permissions to run the 'subscribe' command"));
        assert!(!refused("NOAUTH Authentication required."));
    }
}
