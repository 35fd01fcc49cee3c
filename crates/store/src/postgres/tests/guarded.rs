//! A server with TLS that asks users for passwords and certificates, each as its name says.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SignatureAlgorithm,
};

use crate::postgres::postgres_server::{PostgresServer, SUPERUSER};
use crate::postgres::settings::DatabaseSettings;

const ADMISSION: &str = "\
local     all postgres                 trust
host      all postgres    127.0.0.1/32 trust
host      all scram       127.0.0.1/32 scram-sha-256
host      all md5         127.0.0.1/32 md5
host      all cleartext   127.0.0.1/32 password
hostssl   all with_tls    127.0.0.1/32 trust
hostnossl all without_tls 127.0.0.1/32 trust
hostssl   all certified   127.0.0.1/32 cert
host      all nobody      127.0.0.1/32 reject
host      all willcall    127.0.0.1/32 trust
";

pub(super) struct Guarded {
    pub(super) server: PostgresServer,
    pub(super) authority: Authority,
}

pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM form.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Guarded {
    /// One for all tests that do not change it.
    pub(super) fn shared() -> &'static Self {
        static SHARED: OnceLock<Guarded> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    pub(super) fn start() -> Self {
        let server = PostgresServer::start(&[("fsync", "off")]);
        for user in [
            "cleartext",
            "scram",
            "with_tls",
            "without_tls",
            "certified",
            "nobody",
        ] {
            let made = format!("CREATE ROLE {user} LOGIN PASSWORD 'right'");
            server.run_sql(SUPERUSER, &made);
        }
        let made = "SET password_encryption = md5; CREATE ROLE md5 LOGIN PASSWORD 'right'";
        server.run_sql(SUPERUSER, made);
        server.run_sql(SUPERUSER, "CREATE DATABASE d");
        let authority = Authority::new("Authority");
        std::fs::write(server.data().join("pg_hba.conf"), ADMISSION).unwrap();
        let guarded = Self { server, authority };
        let own = guarded.authority.issue("localhost", |_| {});
        std::fs::write(
            guarded.server.data().join("ca.pem"),
            guarded.authority.pem(),
        )
        .unwrap();
        guarded
            .server
            .configure(&[("ssl", "on"), ("ssl_ca_file", "ca.pem")]);
        guarded.show(&own);
        guarded
    }

    /// Restarts it with this certificate.
    pub(super) fn show(&self, pair: &Pair) {
        let data = self.server.data();
        std::fs::write(data.join("server.crt"), &pair.certificate).unwrap();
        let key = data.join("server.key");
        std::fs::write(&key, &pair.key).unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        let owner = std::fs::metadata(&data).unwrap().uid();
        chown(&key, Some(owner), None).unwrap();
        self.server.end("fast");
        self.server.begin();
    }

    /// Settings of a user, with more words.
    pub(super) fn settings(&self, user: &str, words: &str) -> DatabaseSettings {
        let port = self.server.port;
        let url = format!("postgres://{user}@127.0.0.1:{port}/d?{words}");
        DatabaseSettings::parse(&url, None).unwrap()
    }

    /// The same by a name that is in the certificate.
    pub(super) fn settings_by_name(&self, user: &str, words: &str) -> DatabaseSettings {
        let port = self.server.port;
        let words = format!("hostaddr=127.0.0.1&{words}");
        let url = format!("postgres://{user}@localhost:{port}/d?{words}");
        DatabaseSettings::parse(&url, None).unwrap()
    }
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// One that signs in another way.
    pub(super) fn with(algorithm: &'static SignatureAlgorithm) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(algorithm).unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this name.
    pub(super) fn issue(&self, name: &str, change: impl Fn(&mut CertificateParams)) -> Pair {
        self.issue_with(&rcgen::PKCS_ECDSA_P256_SHA256, name, change)
    }

    pub(super) fn issue_with(
        &self,
        algorithm: &'static SignatureAlgorithm,
        name: &str,
        change: impl Fn(&mut CertificateParams),
    ) -> Pair {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A certificate that vouches for itself.
pub(super) fn self_signed(change: impl Fn(&mut CertificateParams)) -> Pair {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    Pair {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

/// Writes a file that only its owner may read, and answers its path.
pub(super) fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    path
}
