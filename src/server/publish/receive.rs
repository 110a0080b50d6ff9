//! Reads the body of a request, within a size and a time.

use super::{exchange::Progress, fault::Fault};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

/// Reads all of a body.
///
/// # Errors
/// [`Fault::BodyTooLarge`], [`Fault::RequestTimeout`]; [`Fault::BodyInvalid`] when it ends too early or its
/// chunks are malformed.
pub(super) async fn body(
    mut body: Incoming,
    largest: usize,
    deadline: Instant,
    progress: &Progress,
) -> Result<Bytes, Fault> {
    let mut whole = Whole::default();
    let reading = async {
        while let Some(frame) = body.frame().await {
            // Trailers mean nothing here.
            let Ok(data) = frame.map_err(|_broken| Fault::BodyInvalid)?.into_data() else {
                continue;
            };
            if whole.len() + data.len() > largest {
                return Err(Fault::BodyTooLarge);
            }
            whole.push(data);
        }
        Ok(())
    };
    timeout_at(deadline, reading).await.map_err(|_late| Fault::RequestTimeout)??;
    progress.body_read.set(true);
    Ok(whole.into_bytes())
}

/// A body that came in one piece, as most do, is not copied.
#[derive(Default)]
struct Whole {
    first: Bytes,
    all: BytesMut,
}

impl Whole {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}
