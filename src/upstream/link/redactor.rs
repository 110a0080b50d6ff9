//! Takes the password out of Redis's error texts.

use super::LinkError;
use crate::secret::Secret;
use std::sync::Arc;

/// Of an error text, so many characters are shown.
const LONGEST_TEXT: usize = 500;

/// How errors begin that are shown whatever else is in them.
const CODES: [&str; 10] = [
    "ERR",
    "WRONGPASS",
    "NOAUTH",
    "NOPERM",
    "NOPROTO",
    "LOADING",
    "MISCONF",
    "MASTERDOWN",
    "DENIED",
    "BUSY",
];

/// What Redis says to a login in its own words, without a part that is the client's.
const LOGIN_SENTENCES: [&str; 18] = [
    "WRONGPASS invalid username-password pair or user is disabled.",
    "WRONGPASS invalid username-password pair",
    "NOAUTH Authentication required.",
    "NOAUTH HELLO must be called with the client already authenticated",
    "NOPERM this user has no permissions to run the 'auth' command",
    "NOPERM this user has no permissions to run the 'hello' command",
    "NOPERM this user has no permissions to run the 'select' command",
    "NOPROTO unsupported protocol version",
    "LOADING Redis is loading the dataset in memory",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "MASTERDOWN Link with MASTER is down",
    "DENIED Redis is running in protected mode",
    "ERR max number of clients reached",
    "ERR unknown command",
    "ERR AUTH <password> called without any password configured for the default user.",
    "ERR Client sent AUTH, but no password is set",
    "ERR invalid password",
    "ERR DB index is out of range",
];

/// Stands for the rest of an error in answer to a login.
const NOT_SHOWN: &str = "(the rest is not shown: it could repeat the password)";

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

    /// An error in answer to the login.
    pub(super) fn login_refused(&self, text: &str) -> LinkError {
        LinkError::Answered(self.login_text(text))
    }

    /// As [`Redactor::text`], but where there is a password, only words that are known to be harmless: the
    /// server has just been sent it, and may repeat it in any form.
    pub(in crate::upstream) fn login_text(&self, text: &str) -> String {
        if self.0.is_none() {
            return self.text(text);
        }
        if let Some(sentence) = LOGIN_SENTENCES.iter().find(|&&it| text.starts_with(it)) {
            return (*sentence).to_owned();
        }
        let code = text.split(' ').next().unwrap_or_default();
        match CODES.iter().find(|&&it| it == code) {
            Some(code) => format!("{code} {NOT_SHOWN}"),
            None => format!("an error {NOT_SHOWN}"),
        }
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
    fn an_answer_to_a_login_shows_only_words_that_are_known_to_be_harmless() {
        let shown = |password: &str, text: &str| {
            Redactor::new(Some(Secret::new(password.to_owned()))).login_text(text)
        };
        for (password, text) in [
            ("hunter2hunter2", "ERR unknown command: HELLO 3 AUTH default hunter2"),
            ("HUNTER2", "ERR unknown command: hello 3 auth default hunter2"),
            ("a\thunter2", "ERR bad a hunter2"),
            ("hunter2 x", "hunter2 is wrong"),
            ("hunter2 x", "WRONGPASS invalid username-password pair 'hunter2'"),
        ] {
            let shown = shown(password, text);
            assert!(!shown.to_lowercase().contains("hunter2"), "{shown}");
        }
        let unknown = format!("ERR {NOT_SHOWN}");
        assert_eq!(shown("x", "ERR what is 'x'"), unknown);
        for text in [LOGIN_SENTENCES[0], LOGIN_SENTENCES[9], LOGIN_SENTENCES[12]] {
            assert_eq!(shown("x", text), text);
        }
        assert_eq!(shown("", "ERR some words"), "ERR some words");
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
