//! Certificates that are trusted: read at the start, and again when one of their files has changed.
//! So a certificate authority that is added, or a receiver's renewed certificate, needs no restart.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use engine::{TlsClient, TlsRoots};
use tokio::sync::watch;

/// How often files are looked at. A look is a dozen system calls.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where trusted certificates come from.
pub(crate) struct TrustFiles {
    /// Of the setting `ca_files`.
    extra: Vec<PathBuf>,
    /// Files and folders of the system.
    system: Vec<PathBuf>,
}

/// What tells that a file is another one, or was written to; nothing if it is not there.
type Stamp = Option<(u64, u64, i64, i64)>;

impl TrustFiles {
    pub(crate) fn new(extra: &[PathBuf]) -> Self {
        let probed = openssl_probe::probe();
        Self {
            extra: extra.to_vec(),
            system: probed
                .cert_dir
                .into_iter()
                .chain(probed.cert_file)
                .collect(),
        }
    }

    /// All certificates that are trusted now.
    ///
    /// # Errors
    /// If an extra file cannot be read, or has something else in it.
    pub(crate) fn read(&self) -> Result<TlsRoots> {
        let files = self.extra.iter().map(|path| named(path));
        let files: Vec<(String, Vec<u8>)> = files.collect::<Result<_>>()?;
        Ok(engine::tls_config(&files)?)
    }

    /// The texts of the extra files.
    ///
    /// # Errors
    /// If one cannot be read.
    pub(crate) fn extra(&self) -> Result<Vec<Vec<u8>>> {
        let files = self.extra.iter().map(|path| Ok(named(path)?.1));
        files.collect()
    }

    fn stamps(&self) -> Vec<Stamp> {
        let stamp = |path: &PathBuf| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
        };
        self.extra.iter().chain(&self.system).map(stamp).collect()
    }

    /// Has `tls` trust what is in the files, whenever that changes, until told to stop.
    pub(crate) async fn follow(self, tls: Arc<TlsClient>, mut stopping: watch::Receiver<bool>) {
        let mut watch = TrustWatch::new(self);
        loop {
            let look = tokio::time::sleep(LOOK_EVERY);
            tokio::select! {
                biased;
                _ = stopping.changed() => return,
                () = look => watch.look(&tls),
            }
        }
    }
}

/// An extra file by its name, as people know it.
fn named(path: &Path) -> Result<(String, Vec<u8>)> {
    let shown = path.display().to_string();
    let pem = std::fs::read(path).with_context(|| {
        format!("the setting ca_files names {shown}, and that file cannot be read")
    })?;
    Ok((shown, pem))
}

/// Knows which files have been read.
struct TrustWatch {
    files: TrustFiles,
    read: Vec<Stamp>,
    /// As they were at the latest look. Files that are just being written are left alone.
    seen: Vec<Stamp>,
}

impl TrustWatch {
    fn new(files: TrustFiles) -> Self {
        let stamps = files.stamps();
        Self {
            files,
            read: stamps.clone(),
            seen: stamps,
        }
    }

    /// Reads the files again if they have changed and then stayed as they are for one look. Files
    /// that cannot be used change nothing but a line in the log.
    fn look(&mut self, tls: &TlsClient) {
        let stamps = self.files.stamps();
        let is_at_rest = stamps == self.seen;
        self.seen = stamps;
        if !is_at_rest || self.seen == self.read {
            return;
        }
        self.read.clone_from(&self.seen);
        match self.files.read() {
            Ok(roots) => {
                for complaint in &roots.complaints {
                    tracing::warn!("{complaint}");
                }
                tracing::info!(
                    system = roots.system_roots,
                    ca_files = roots.extra_roots,
                    "the certificates that are trusted have changed; TLS sessions begin anew"
                );
                tls.replace_roots(&roots);
            }
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "the certificates that are trusted have changed, but cannot be used: those from \
                 before are trusted until the files change again"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use prometheus_client::registry::Registry;

    use super::*;

    fn ca() -> String {
        let name = vec!["ca.test".to_owned()];
        let made = rcgen::generate_simple_self_signed(name).unwrap();
        made.cert.pem()
    }

    fn watch(file: &Path) -> (TrustWatch, TlsClient) {
        let files = TrustFiles {
            extra: vec![file.to_owned()],
            system: Vec::new(),
        };
        let tls = TlsClient::new(&files.read().unwrap(), &mut Registry::default());
        (TrustWatch::new(files), tls)
    }

    #[test]
    fn files_are_read_again_once_they_have_changed_and_are_at_rest() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        fs::write(&file, ca()).unwrap();
        let (mut watch, tls) = watch(&file);
        let unchanged = watch.read.clone();
        watch.look(&tls);
        assert_eq!(watch.read, unchanged);
        // In place, and by another file of that name.
        for by_rename in [false, true] {
            let before = watch.read.clone();
            let written = match by_rename {
                true => folder.path().join("new.pem"),
                false => file.clone(),
            };
            fs::write(&written, ca() + &ca()).unwrap();
            fs::rename(&written, &file).unwrap();
            watch.look(&tls);
            assert_eq!(watch.read, before, "it may be half written");
            watch.look(&tls);
            assert_ne!(watch.read, before);
            fs::write(&file, ca()).unwrap();
            watch.look(&tls);
            watch.look(&tls);
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_read_again_when_they_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        fs::write(&file, ca()).unwrap();
        let (mut watch, tls) = watch(&file);
        for broken in [Some("nothing"), None] {
            match broken {
                Some(text) => fs::write(&file, text).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            watch.look(&tls);
            watch.look(&tls);
            assert!(watch.files.read().is_err());
            assert_eq!(watch.read, watch.files.stamps());
        }
        fs::write(&file, ca()).unwrap();
        watch.look(&tls);
        watch.look(&tls);
        assert!(watch.files.read().is_ok());
        assert_eq!(watch.read, watch.files.stamps());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let files = TrustFiles::new(&[PathBuf::from("/nowhere/ca.pem")]);
        let words = format!("{:#}", files.read().unwrap_err());
        assert!(words.contains("ca_files names /nowhere/ca.pem"), "{words}");
    }
}
