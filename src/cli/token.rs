//! `sockway token`: mints a token with the configured secret.

use super::{Failure, output};
use crate::{
    auth::{self, MintError},
    config,
};
use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Mint a token (JWT) with the configured HMAC secret.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Who the token says the client is
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    user: String,
    /// How long the token is valid
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = config::duration)]
    ttl: Duration,
    /// A further claim; may be given several times
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, String)>,
}

fn claim(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be NAME=VALUE".to_owned()),
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = config::load(&args.config)?.config;
    let Some(settings) = config.auth.jwt_settings() else {
        let file = args.config.display();
        return Err(Failure::Configuration(format!("{file}: there is no [auth.jwt] to mint with")));
    };
    let token = auth::mint(settings, &args.user, args.ttl, &args.claims, SystemTime::now())
        .map_err(|error| failure(&error, &args.config))?;
    output::line(token).map_err(|error| Failure::running(&error))
}

fn failure(error: &MintError, file: &Path) -> Failure {
    match error {
        MintError::NotHmac => Failure::Configuration(format!("{}: {error}", file.display())),
        MintError::EmptyUser
        | MintError::ReservedClaim(_)
        | MintError::RepeatedClaim(_)
        | MintError::TimeToLive => Failure::Usage(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_a_name_and_a_value() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(claim("tenant=acme"), pair("tenant", "acme"));
        assert_eq!(claim("a=b=c"), pair("a", "b=c"));
        assert_eq!(claim("a="), pair("a", ""));
        assert!(claim("tenant").is_err());
        assert!(claim("=acme").is_err());
    }
}
