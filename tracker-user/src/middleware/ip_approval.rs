//! The hook `ip approval`: refuses announces and scrapes by the address that they come from.

use std::io;

use tracker_common::policy::Rule;

use super::{
    background::Background,
    lists::{self, ListError, read_networks},
};
use crate::{
    config::IpApprovalConfig,
    metrics::Metrics,
    pipeline::{List, ListKind, Live, NetworkList, Offload, PreHook},
};

const NAME: &str = Rule::Network.name();

/// Why the hook cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum IpApprovalError {
    /// A file cannot be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// There can be no thread.
    #[error("cannot follow changes of the lists")]
    Thread(#[from] io::Error),
}

/// The hook.
#[derive(Debug)]
pub struct IpApproval {
    list: Live<NetworkList>,
    /// Follows the files, if there are any.
    _background: Option<Background>,
}

impl IpApproval {
    /// Makes the hook, and reads its files.
    ///
    /// # Errors
    /// When a file cannot be read, or there can be no thread.
    pub fn new(config: &IpApprovalConfig, metrics: &Metrics) -> Result<Self, IpApprovalError> {
        let files = [&config.allow_files[..], &config.deny_files].concat();
        let config = config.clone();
        let read = move || read(&config).map(lists::Loaded::from);
        let (list, background) = lists::live::<_, IpApprovalError>(NAME, files, metrics, read)?;
        Ok(Self { list, _background: background })
    }
}

fn read(config: &IpApprovalConfig) -> Result<NetworkList, ListError> {
    let IpApprovalConfig { allow, allow_files, deny, deny_files } = config;
    let mut list = NetworkList::new(!allow.is_empty() || !allow_files.is_empty());
    for (kind, networks, files) in
        [(ListKind::Allow, allow, allow_files), (ListKind::Deny, deny, deny_files)]
    {
        for &network in networks {
            list.add(network.into(), kind);
        }
        for file in files {
            read_networks(file, |network| list.add(network, kind))?;
        }
    }
    Ok(list)
}

impl PreHook for IpApproval {
    fn name(&self) -> &'static str {
        NAME
    }

    fn offload(&self) -> Offload {
        Offload::Rule(List::Networks(self.list.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, net::IpAddr, sync::Arc};

    use super::*;
    use crate::{
        config::Network,
        middleware::tests::announce_of,
        pipeline::{AnnounceRequest, AnnounceResponse, Params, Pipeline, Refusal, ScrapeRequest},
    };
    use tracker_common::id::InfoHash;

    fn networks(text: &[&str]) -> Vec<Network> {
        text.iter().map(|network| network.parse().unwrap()).collect()
    }

    fn make(options: IpApprovalConfig) -> Arc<IpApproval> {
        Arc::new(IpApproval::new(&options, &Metrics::new().unwrap()).unwrap())
    }

    /// What a hook says to an announce and to a scrape.
    fn judge(hook: &Arc<IpApproval>, address: &str) -> Result<(), Refusal> {
        let source = (address.parse::<IpAddr>().unwrap(), 6881).into();
        let announce = AnnounceRequest { peer: source, ..announce_of(InfoHash([1; 20])) };
        let scrape = ScrapeRequest { info_hashes: Vec::new(), source, params: Params::default() };
        let pipeline = Pipeline::of_hooks(vec![Box::new(Arc::clone(hook))]);
        let announced = pipeline.admit(&announce, &mut AnnounceResponse::default());
        assert_eq!(pipeline.admit_scrape(&scrape), announced);
        announced
    }

    fn unapproved() -> Result<(), Refusal> {
        Err(Refusal::Client("unapproved ip".into()))
    }

    #[test]
    fn denied_networks_are_refused_and_others_admitted() {
        let deny = networks(&["192.0.2.0/24", "2001:db8::/32"]);
        let hook = make(IpApprovalConfig { deny, ..Default::default() });
        assert_eq!(judge(&hook, "192.0.2.1"), unapproved());
        assert_eq!(judge(&hook, "2001:db8::1"), unapproved());
        assert_eq!(judge(&hook, "198.51.100.1"), Ok(()));
    }

    #[test]
    fn allowed_networks_are_admitted_and_others_refused() {
        let allow = networks(&["192.0.2.0/24"]);
        let deny = networks(&["192.0.2.128/25"]);
        let hook = make(IpApprovalConfig { allow, deny, ..Default::default() });
        assert_eq!(judge(&hook, "192.0.2.1"), Ok(()));
        assert_eq!(judge(&hook, "192.0.2.129"), unapproved());
        assert_eq!(judge(&hook, "2001:db8::1"), unapproved());
    }

    #[test]
    fn an_allow_file_that_is_empty_admits_nobody() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let allow_files = vec![file.path().to_owned()];
        let hook = make(IpApprovalConfig { allow_files, ..Default::default() });
        assert_eq!(judge(&hook, "192.0.2.1"), unapproved());
    }

    #[test]
    fn a_file_has_networks_and_single_addresses() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "# bad\n192.0.2.0/24 # a whole network\n2001:db8::1\n").unwrap();
        let deny_files = vec![file.path().to_owned()];
        let hook = make(IpApprovalConfig { deny_files, ..Default::default() });
        assert_eq!(judge(&hook, "192.0.2.200"), unapproved());
        assert_eq!(judge(&hook, "2001:db8::1"), unapproved());
        assert_eq!(judge(&hook, "2001:db8::2"), Ok(()));
    }

    #[test]
    fn a_ban_list_refuses_its_ranges() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let list = b"\xef\xbb\xbf# ipfilter.dat\r\n\
            192.000.002.000 - 192.000.002.255 , 000 , caf\xe9\r\n\
            198.051.100.000 - 198.051.100.255 , 200 , not filtered\r\n\
            A, B:203.0.113.7-203.0.113.9\r\n";
        fs::write(file.path(), list).unwrap();
        let deny_files = vec![file.path().to_owned()];
        let hook = make(IpApprovalConfig { deny_files, ..Default::default() });
        for refused in ["192.0.2.0", "192.0.2.255", "203.0.113.7", "203.0.113.9"] {
            assert_eq!(judge(&hook, refused), unapproved(), "{refused}");
        }
        for admitted in ["192.0.3.0", "198.51.100.1", "203.0.113.6", "203.0.113.10"] {
            assert_eq!(judge(&hook, admitted), Ok(()), "{admitted}");
        }
    }

    #[test]
    fn a_line_that_is_no_network_is_an_error_at_start() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "192.0.2.0/24\n192.0.2.0/33\n").unwrap();
        let deny_files = vec![file.path().to_owned()];
        let options = IpApprovalConfig { deny_files, ..Default::default() };
        let error = IpApproval::new(&options, &Metrics::new().unwrap()).unwrap_err().to_string();
        assert!(error.contains(":2: `192.0.2.0/33`: a network is written"), "{error}");
    }
}
