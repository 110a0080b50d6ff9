//! JSON Web Tokens with local keys.
pub struct Algorithm;
pub struct JwtSettings;
#[derive(Debug)]
pub struct KeyError;
pub struct KeySource;
#[derive(Debug)]
pub(super) struct Verifier;
