//! Static bearer tokens, known by their SHA-256.

use crate::identity::{Claims, Identity};
use aws_lc_rs::digest::{SHA256, digest};
use std::{collections::HashMap, sync::Arc};

/// One `[[auth.token]]`. The token itself is not here, only its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticToken {
    pub sha256: [u8; 32],
    pub user: String,
    pub claims: Claims,
}

/// Every static token. Looked up by the hash of what a client sent, so that the time a look-up
/// takes says nothing about the tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StaticTokens(HashMap<[u8; 32], Identity>);

impl StaticTokens {
    pub(super) fn new(tokens: Vec<StaticToken>) -> Self {
        Self(tokens.into_iter().map(|token| (token.sha256, token.identity())).collect())
    }

    /// Who this token stands for; `None` when it is not one of ours.
    pub(super) fn find(&self, token: &str) -> Option<Identity> {
        // Without static tokens, do not make every JWT pay for a hash.
        if self.0.is_empty() {
            return None;
        }
        self.0.get(digest(&SHA256, token.as_bytes()).as_ref()).cloned()
    }

    /// Who the token with this SHA-256 stands for.
    pub(super) fn by_hash(&self, sha256: &[u8; 32]) -> Option<&Identity> {
        self.0.get(sha256)
    }
}

impl StaticToken {
    fn identity(self) -> Identity {
        let user = Arc::from(self.user);
        Identity {
            user,
            claims: self.claims,
            token_id: None,
            static_token: Some(Arc::new(self.sha256)),
            expires: None,
            fingerprint: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> StaticTokens {
        let token = |text: &str, user: &str| StaticToken {
            sha256: digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap(),
            user: user.to_owned(),
            claims: Claims::from_iter([("tenant", "acme")]),
        };
        StaticTokens::new(vec![token("alpha", "1"), token("beta", "2")])
    }

    #[test]
    fn a_static_token_stands_for_its_user_and_never_expires() {
        let identity = tokens().find("beta").unwrap();
        assert_eq!(&*identity.user, "2");
        assert_eq!(identity.claims.texts("tenant").unwrap(), ["acme"]);
        assert_eq!((identity.token_id, identity.expires), (None, None));
    }

    #[test]
    fn only_the_very_token_is_known_and_not_its_hash() {
        let hash: String =
            digest(&SHA256, b"beta").as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        for token in ["", "gamma", "Beta", "beta ", "bet", "betaa", &hash] {
            assert_eq!(tokens().find(token), None, "{token:?}");
        }
        assert_eq!(StaticTokens::new(Vec::new()).find("beta"), None);
    }

    #[test]
    fn the_hash_is_the_one_that_sha256sum_prints() {
        let known = digest(&SHA256, b"test");
        assert!(known.as_ref().starts_with(&[0x9f, 0x86, 0xd0, 0x81]));
    }
}
