//! What is wrong with a token, for the operator's log. The client is told only whether it may help to come back
//! with another one ([`TokenError`]). Every text is a constant: nothing of the token can come into a log.

use super::TokenError;

/// Why a token was not accepted, in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    #[error("the token is empty, or longer than 8 KiB")]
    Size,
    #[error("no [[auth.token]] is this token, and there is no [auth.jwt]")]
    NotListed,
    #[error("the token is no JWT, and no [[auth.token]] either")]
    NotJwt,
    #[error("the token's header has a name twice, \"crit\", or a \"kid\" that is no text")]
    Header,
    #[error("the token's \"alg\" is none of auth.jwt.algorithms")]
    Algorithm,
    #[error("the issuer publishes no key of the token's \"kid\"")]
    NoSuchKey,
    #[error(
        "no key that the issuer publishes fits the token's \"kid\" and \"alg\", or more than one does"
    )]
    NoFittingKey,
    #[error("the token's key is not here, and the issuer's keys could not be fetched")]
    KeyUnknown,
    #[error("the token's key is not here, and too many wait for the issuer's keys already")]
    TooManyWait,
    #[error("the token's signature is wrong: another key signed it, or it was changed")]
    Signature,
    #[error("the token's claims are no JSON object, or have a name twice")]
    Claims,
    #[error("the token's \"exp\" is missing, or no time in seconds before the year 10000")]
    ExpiryMalformed,
    #[error("the token's \"nbf\" is no time in seconds before the year 10000")]
    BeginMalformed,
    #[error("the token's \"nbf\" is still to come: do the clocks of issuer and gateway differ?")]
    TooEarly,
    #[error("the token's \"iss\" is none of auth.jwt.issuer")]
    Issuer,
    #[error("the token's \"aud\" names none of auth.jwt.audience")]
    Audience,
    #[error(
        "the token's claim that auth.jwt.user_claim names is missing, empty, or neither a text nor a whole number that has an exact text"
    )]
    User,
    #[error("the token's \"jti\" has no exact text, so that nothing could revoke the token by it")]
    TokenId,
    #[error("the token has expired")]
    Expired,
}

impl From<TokenFault> for TokenError {
    fn from(fault: TokenFault) -> Self {
        match fault {
            TokenFault::Expired => Self::Expired,
            TokenFault::KeyUnknown | TokenFault::TooManyWait => Self::KeyUnknown,
            _ => Self::Invalid,
        }
    }
}
