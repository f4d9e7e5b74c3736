//! What is known of the certificate of HTTPS.

use prometheus::{IntGaugeVec, Opts, Registry};

use super::register::register;

/// When the certificate in force expires. Nothing is shown until there is one, so that an alert on it means
/// something.
#[derive(Debug, Clone)]
pub struct CertificateExpiry(IntGaugeVec);

impl CertificateExpiry {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new(
            "xdp_tracker_tls_certificate_expiry_timestamp_seconds",
            "When the certificate of HTTPS expires.",
        );
        // Without labels there is one value at most.
        Ok(Self(register(registry, IntGaugeVec::new(opts, &[])?)?))
    }

    /// Shows this time, in seconds since 1970.
    pub fn set(&self, not_after: i64) {
        self.0.with_label_values::<&str>(&[]).set(not_after);
    }

    /// What is shown.
    #[cfg(test)]
    pub(crate) fn get(&self) -> i64 {
        self.0.with_label_values::<&str>(&[]).get()
    }
}
