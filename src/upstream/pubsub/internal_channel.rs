//! One of our own channels, for probing or for control: subscribed right after connecting, in a
//! command of its own.

use tracing::warn;

/// One channel of our own on one link.
#[derive(Debug)]
pub(super) struct InternalChannel {
    /// As Redis knows it; `None`: there is none.
    name: Option<Box<str>>,
    state: InternalState,
    /// What was answered last; `None` before the first answer.
    was_refused: Option<bool>,
}

#[derive(Debug)]
enum InternalState {
    Wanted,
    Asked,
    Subscribed,
    Refused(String),
}

impl InternalChannel {
    pub(super) fn new(name: Option<Box<str>>) -> Self {
        Self { name, state: InternalState::Wanted, was_refused: None }
    }

    pub(super) fn is(&self, name: &[u8]) -> bool {
        self.name.as_deref().is_some_and(|own| own.as_bytes() == name)
    }

    /// Its name, when it is to be subscribed now; each time that it must be, once.
    pub(super) fn take_wanted(&mut self) -> Option<Box<str>> {
        if !matches!(self.state, InternalState::Wanted) {
            return None;
        }
        self.state = InternalState::Asked;
        self.name.clone()
    }

    /// Whether Redis has answered, if there is anything to ask.
    pub(super) fn is_settled(&self) -> bool {
        self.name.is_none()
            || matches!(self.state, InternalState::Subscribed | InternalState::Refused(_))
    }

    /// Why Redis refuses it, if it does.
    pub(super) fn refused(&self) -> Option<&str> {
        match &self.state {
            InternalState::Refused(why) => Some(why),
            InternalState::Wanted | InternalState::Asked | InternalState::Subscribed => None,
        }
    }

    /// Redis has confirmed it. Returns whether that is another answer than before.
    pub(super) fn confirm(&mut self) -> bool {
        self.state = InternalState::Subscribed;
        self.was_refused.replace(false) != Some(false)
    }

    /// Redis refuses it. Returns whether that is another answer than before.
    pub(super) fn refuse(&mut self, reason: String) -> bool {
        let changed = self.was_refused.replace(true) != Some(true);
        if changed {
            let channel = self.name.as_deref();
            warn!(channel, reason, "Redis refuses a channel of our own");
        }
        self.state = InternalState::Refused(reason);
        changed
    }

    /// Redis has let go of it: it is asked for again, and what is answered then is news.
    pub(super) fn release(&mut self) {
        if matches!(self.state, InternalState::Subscribed) {
            (self.state, self.was_refused) = (InternalState::Wanted, None);
        }
    }

    /// Asks for it once more if it was refused.
    pub(super) fn retry(&mut self) {
        if self.refused().is_some() {
            self.state = InternalState::Wanted;
        }
    }
}
