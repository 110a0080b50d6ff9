//! User and password, which may change while connections are open.

use crate::{config, secret::Secret};
use std::sync::{Arc, PoisonError, RwLock};

/// User and password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// `None`: Redis's default user.
    pub username: Option<String>,
    /// `None`: no login at all.
    pub password: Option<Secret>,
}

/// The login of the next dial. Clones share it; connections that are open keep theirs.
#[derive(Debug, Clone, Default)]
pub struct Credentials(Arc<RwLock<Login>>);

impl Credentials {
    /// As the configuration has them.
    #[must_use]
    pub fn new(settings: &config::Redis) -> Self {
        let (username, password) = (settings.username.clone(), settings.password.clone());
        Self(Arc::new(RwLock::new(Login { username, password })))
    }

    /// Uses another login from the next dial on.
    pub fn replace(&self, login: Login) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = login;
    }

    /// The login of a dial that begins now.
    #[must_use]
    pub fn current(&self) -> Login {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
