//! What this machine must give: files that may be open, and a certificate that is still valid.

use super::{expiry, report::Report};
use crate::{app, config::Config};

pub(super) fn examine(config: &Config, report: &mut Report) {
    open_files(config, report);
    if let Some(tls) = &config.server.tls {
        expiry::examine("certificate", "", tls.certificate(), report);
    }
}

fn open_files(config: &Config, report: &mut Report) {
    let wanted = config.server.max_connections;
    let room = app::room_for_connections(config.server.shards);
    let said = |room| format!("room for {room} connections, server.max_connections = {wanted}");
    match room {
        None => report.ok("open files", "no limit"),
        Some(room) if room >= wanted.get() => report.ok("open files", &said(room)),
        Some(room) => report.warn(
            "open files",
            &said(room),
            "raise the hard limit where the gateway will run (LimitNOFILE= in a systemd unit, \
             `ulimit -Hn`), or lower server.max_connections",
        ),
    }
}
