//! What Redis pushes: which keys have changed.

use super::{
    Found, LinkError, StreamArrival, StreamLink,
    answers::{Place, inside},
    not_resp,
};
use crate::upstream::link::{facts, token::Token};

/// The longest key that is looked at. Ours are far shorter.
const LONGEST_KEY: usize = 64 << 10;

impl StreamLink {
    /// The head of a push. Before 7.0.5, Redis writes pushes between the parts of a transaction, too.
    pub(super) fn push_begins(&mut self) -> Result<bool, LinkError> {
        let Some(token) = self.token(0)? else { return Ok(false) };
        if let Token::Push(values @ 1..) = token {
            self.behind_push = std::mem::replace(&mut self.place, Place::Push { values });
        }
        Ok(true)
    }

    pub(super) fn push(&mut self, values: u64) -> Result<bool, LinkError> {
        let Some(token) = self.token(facts::LONGEST)? else { return Ok(false) };
        let is_invalidate = match &token {
            Token::Text(kind) => self.stream.received.bytes(kind.clone()) == b"invalidate",
            _ => false,
        };
        if is_invalidate && values == 2 {
            self.place = Place::Invalidate;
        } else {
            self.stream.received.skip_values(inside(&token) + values - 1);
            self.place = self.behind_push;
        }
        Ok(true)
    }

    pub(super) fn invalidate(&mut self) -> Result<bool, LinkError> {
        let Some(token) = self.token(0)? else { return Ok(false) };
        match token {
            Token::Null => {
                self.place = self.behind_push;
                self.find(StreamArrival::Changed(None));
            }
            Token::List(left) => self.place = Place::Names { left },
            _ => return Err(not_resp("what has changed is not named")),
        }
        Ok(true)
    }

    pub(super) fn name(&mut self, left: u64) -> Result<bool, LinkError> {
        if left == 0 {
            self.place = self.behind_push;
            return Ok(true);
        }
        let Some(token) = self.token(LONGEST_KEY)? else { return Ok(false) };
        self.place = Place::Names { left: left - 1 };
        match token {
            Token::Text(name) => self.next = Some(Found::Changed(name)),
            // Not ours.
            Token::Long(_) => {}
            _ => return Err(not_resp("what has changed has no name")),
        }
        Ok(true)
    }
}
