//! Certificates for many receivers, made when a scenario starts: a root, an intermediate, and one
//! for each receiver.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Receivers have addresses from 127.16.0.0 on: nothing else listens there.
const FIRST: u32 = 0x7f10_0000;

/// Names that share an address, and a certificate.
const NAMES_A_LINE: usize = 4;

/// By what a root and an intermediate sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chain {
    P256,
    P384,
}

/// The certificates of so many receivers, each for its own address.
pub(crate) struct Certificates {
    /// What is to be trusted, as PEM.
    pub(crate) root: String,
    configs: Vec<Arc<ServerConfig>>,
}

/// The address of a receiver.
pub(crate) fn address(index: usize) -> Ipv4Addr {
    let index = u32::try_from(index).unwrap_or(0);
    Ipv4Addr::from_bits(FIRST.saturating_add(index))
}

/// The name of the receiver at this index.
pub(crate) fn name(index: usize) -> String {
    format!("r{index}.bench.test")
}

/// The lines of a hosts file with so many names, several a line: the resolver reads all lines for
/// each look-up.
pub(crate) fn hosts(count: usize) -> String {
    let indices: Vec<usize> = (0..count).collect();
    let line = |indices: &[usize]| {
        let names: Vec<String> = indices.iter().map(|index| name(*index)).collect();
        let address = address(indices.first().copied().unwrap_or(0));
        format!("{address} {}\n", names.join(" "))
    };
    let lines: String = indices.chunks(NAMES_A_LINE).map(line).collect();
    format!("127.0.0.1 localhost\n{lines}")
}

/// Which receiver has this address.
pub(crate) fn index(address: IpAddr) -> Option<usize> {
    match address {
        IpAddr::V4(address) => usize::try_from(address.to_bits().checked_sub(FIRST)?).ok(),
        IpAddr::V6(_) => None,
    }
}

impl Certificates {
    /// With `by_name` several names share a certificate and an address.
    pub(crate) fn new(chain: Chain, count: usize, by_name: bool) -> Result<Self> {
        let algorithm = match chain {
            Chain::P256 => &PKCS_ECDSA_P256_SHA256,
            Chain::P384 => &PKCS_ECDSA_P384_SHA384,
        };
        let authority = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let key = KeyPair::generate_for(algorithm)?;
        let root = CertifiedIssuer::self_signed(authority("bench root"), key)?;
        let key = KeyPair::generate_for(algorithm)?;
        let between = CertifiedIssuer::signed_by(authority("bench intermediate"), key, &root)?;
        // One key for all: each has a certificate of its own.
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let base = ServerConfig::builder_with_provider(engine::tls_crypto())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth();
        let ticketer = engine::ticketer().context("tickets cannot be made")?;
        let mut configs = Vec::with_capacity(count);
        for number in 0..count {
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![SanType::IpAddress(address(number).into())];
            if number % NAMES_A_LINE == 0 && by_name {
                for number in number..number + NAMES_A_LINE {
                    let name = SanType::DnsName(name(number).try_into()?);
                    params.subject_alt_names.push(name);
                }
            }
            let certificate = params.signed_by(&key, &between)?;
            let chain = vec![certificate.der().clone(), between.der().clone()];
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let mut config = base.clone().with_single_cert(chain, key)?;
            config.ticketer = Arc::clone(&ticketer);
            configs.push(Arc::new(config));
        }
        Ok(Self {
            root: root.pem(),
            configs,
        })
    }

    /// What the receiver at this index shows.
    pub(crate) fn of(&self, index: usize) -> Option<Arc<ServerConfig>> {
        self.configs.get(index).cloned()
    }
}
