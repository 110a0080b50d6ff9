//! `[http_publish]`: what may be published by HTTP, and by whom.

use super::ListenAddress;
use crate::{
    bus::StreamWrite,
    endpoint::{ChannelGlob, PublishPaths},
};
use std::{num::NonZeroUsize, time::Duration};

/// `[http_publish]`, checked.
#[derive(Debug, Clone)]
pub struct HttpPublish {
    /// `None`: on the public port.
    pub listen: Option<ListenAddress>,
    pub paths: PublishPaths,
    /// The largest body, in bytes.
    pub max_body: NonZeroUsize,
    /// The most publications of one request.
    pub max_batch: NonZeroUsize,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// Not empty.
    pub tokens: Vec<PublishToken>,
    /// Which channels are streams; for each channel the first that matches counts.
    pub streams: Vec<PublishStream>,
}

/// One `[[http_publish.token]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishToken {
    /// SHA-256 of the token. The token itself is not known.
    pub sha256: [u8; 32],
    /// What it may publish to.
    pub channels: Vec<ChannelGlob>,
    /// Requests a second; `None`: no limit.
    pub per_second: Option<NonZeroUsize>,
}

/// One `[[http_publish.stream]]`: these channels are streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishStream {
    pub channels: Vec<ChannelGlob>,
    pub write: StreamWrite,
}
