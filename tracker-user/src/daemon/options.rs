//! From the keys of the configuration to the frontends' settings.

use std::sync::Arc;

use tracker_common::connection::ConnectionIds;

use crate::{config::Config, http::CertificateFiles, routes::Router, udp::UdpSettings};

/// The files of the certificate, where HTTPS is served.
pub(super) fn certificate_files(config: &Config) -> Option<CertificateFiles> {
    let http = &config.http;
    http.https_addr?;
    let (chain, key) = (http.tls_cert_path.clone()?, http.tls_key_path.clone()?);
    Some(CertificateFiles { chain, key })
}

pub(super) fn udp_settings(
    config: &Config,
    connection_ids: ConnectionIds,
    routes: Arc<Router>,
) -> UdpSettings {
    UdpSettings {
        bad_connection_id: config.xdp.bad_connection_id,
        routes,
        ..UdpSettings::new(config.udp.clone(), connection_ids)
    }
}
