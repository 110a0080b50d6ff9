//! Notices when revocations may have been missed: the control channel was not subscribed for a while.

/// Over all links of a node.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum RevocationGap {
    /// Never subscribed yet: there is no session that could have missed one.
    #[default]
    Fresh,
    Subscribed,
    Lost,
    /// Redis refuses it, and the gap so far has been told.
    Refused,
}

impl RevocationGap {
    /// The link is lost, or Redis has let go of the control channel.
    pub(super) fn lost(&mut self) {
        if *self == Self::Subscribed {
            *self = Self::Lost;
        }
    }

    /// Redis has answered for the control channel. `true`: revocations may have been missed until now.
    pub(super) fn answered(&mut self, refused: bool) -> bool {
        let now = if refused { Self::Refused } else { Self::Subscribed };
        match (std::mem::replace(self, now), refused) {
            (Self::Lost, _) | (Self::Refused, false) => true,
            (Self::Fresh | Self::Subscribed | Self::Refused, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_without_the_control_channel_is_told_once_when_it_is_known() {
        let mut gap = RevocationGap::default();
        gap.lost();
        assert!(!gap.answered(false), "nobody was there");
        assert!(!gap.answered(false), "it was there all the while");
        gap.lost();
        assert!(gap.answered(true), "and now it is refused");
        gap.lost();
        assert!(!gap.answered(true), "still refused");
        assert!(gap.answered(false), "meanwhile more may have been missed");
        assert!(!gap.answered(false));
    }
}
