//! The files of `--tls-…`: what the server shows to clients, and whose word they need to believe it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use url::Url;
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

use super::failure::Failure;
use super::files;
use super::report::{Report, Verdict};
use crate::clock::SECOND;
use crate::config::Config;
use crate::http::client_certificate::Authorities;
use crate::http::tls::Certificate;

#[derive(Debug, Clone, Default, Args)]
pub(super) struct Tls {
    /// The certificate chain, PEM; with it, connections are encrypted
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "VICAR_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "VICAR_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// The authority of the certificate, PEM, if clients do not know it: it is named in clouds.yaml and openrc
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "VICAR_TLS_CA")]
    tls_ca: Option<PathBuf>,
    /// Authorities, PEM, whose certificates clients may show; nobody has to
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "VICAR_TLS_CLIENT_CA")]
    tls_client_ca: Option<PathBuf>,
}

/// Who vouches for the server.
#[derive(Debug, PartialEq, Eq)]
enum Authority {
    /// Somebody whom this system knows, so clients do too.
    Known,
    /// Whoever is in this file.
    In(PathBuf),
    /// Somebody else, whose certificate is not here.
    Unknown,
}

fn failed(e: impl std::fmt::Display) -> Failure {
    Failure::Config(format!("TLS: {e}"))
}

impl Tls {
    /// These files, or where the command line names none, those of the configuration.
    ///
    /// # Errors
    /// The configuration has one of certificate and key alone.
    pub(super) fn or(mut self, config: &Config) -> Result<Self, Failure> {
        let serving = &config.serving;
        if self.tls_cert.is_none() {
            self.tls_cert.clone_from(&serving.tls_cert);
            self.tls_key.clone_from(&serving.tls_key);
        }
        if self.tls_ca.is_none() {
            self.tls_ca.clone_from(&serving.tls_ca);
        }
        if self.tls_client_ca.is_none() {
            self.tls_client_ca.clone_from(&serving.tls_client_ca);
        }
        if self.tls_client_ca.is_some() && self.tls_cert.is_none() {
            Err(failed(
                "[vicar] tls_client_ca needs tls_cert: only an encrypted connection has a certificate of the client",
            ))
        } else if self.tls_cert.is_some() == self.tls_key.is_some() {
            Ok(self)
        } else {
            Err(failed("[vicar] tls_cert and tls_key are set together or not at all"))
        }
    }

    /// The files of the certificate and its key, and of the authorities of clients.
    pub(super) fn files(&self) -> [Option<PathBuf>; 3] {
        [self.tls_cert.clone(), self.tls_key.clone(), self.tls_client_ca.clone()]
    }

    /// What encrypts connections, if they are to be.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(super) fn certificate(&self) -> Result<Option<Arc<Certificate>>, Failure> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => {
                for file in [cert, key].into_iter().chain(&self.tls_client_ca) {
                    files::check_readable(file).map_err(failed)?;
                }
                let clients =
                    self.tls_client_ca.as_deref().map(Authorities::load).transpose().map_err(failed)?;
                Certificate::load(cert, key, clients).map(Some).map_err(failed)
            }
            _ => Ok(None),
        }
    }

    /// The file with the authority that clients must be told of, if there is one.
    ///
    /// # Errors
    /// A file cannot be used, or it is not that authority's certificate.
    pub(super) fn cacert(&self) -> Result<Option<String>, Failure> {
        let Some(cert) = &self.tls_cert else { return Ok(None) };
        match self.authority(cert)? {
            Authority::Known => Ok(None),
            Authority::In(file) => Ok(Some(files::absolute(&file).display().to_string())),
            Authority::Unknown => {
                tracing::warn!(
                    certificate = %cert.display(),
                    "clients on this system do not know who signed the certificate: name the authority's with --tls-ca"
                );
                Ok(None)
            }
        }
    }

    /// Whether an authority was named.
    pub(super) fn names_authority(&self) -> bool {
        self.tls_ca.is_some()
    }

    fn authority(&self, cert: &Path) -> Result<Authority, Failure> {
        let chain = certificates(cert)?;
        if let Some(file) = &self.tls_ca {
            let authorities = certificates(file)?;
            let verdict = verify(&chain, &anchors(&authorities), now());
            // What else may be wrong with it is for others to judge.
            let is_foreign =
                matches!(verdict, Err(Error::UnknownIssuer | Error::InvalidSignatureForPublicKey));
            return if !is_foreign || chain.first().is_some_and(|c| authorities.contains(c)) {
                Ok(Authority::In(file.clone()))
            } else {
                Err(failed(format_args!(
                    "--tls-ca {}: {} is not signed by any certificate in it",
                    file.display(),
                    cert.display()
                )))
            };
        }
        let is_own =
            |c: &CertificateDer<'_>| EndEntityCert::try_from(c).is_ok_and(|c| c.issuer() == c.subject());
        if chain.first().is_some_and(is_own) {
            return Ok(Authority::In(cert.to_owned()));
        }
        let system = rustls_native_certs::load_native_certs().certs;
        Ok(match verify(&chain, &anchors(&system), now()) {
            Ok(()) | Err(Error::CertExpired { .. } | Error::CertNotValidYet { .. }) => Authority::Known,
            Err(_) if chain.iter().any(is_own) => Authority::In(cert.to_owned()),
            Err(_) => Authority::Unknown,
        })
    }

    /// Checks the files for `doctor`; `url` is what clients are told, where that is known.
    pub(super) fn check(&self, r: &mut Report, url: Option<&str>) {
        let Some(cert) = &self.tls_cert else { return };
        let authority = self.certificate().and_then(|_| self.authority(cert));
        let about = "TLS";
        match authority {
            Err(e) => return r.fail(about, format_args!("{}; the server will not start", e.to_string().trim_start_matches("TLS: "))),
            Ok(Authority::Known) => r.ok(about, format_args!("{}: its authority is known to this system", cert.display())),
            Ok(Authority::In(file)) => r.ok(about, format_args!("{}: clients need {} to trust it", cert.display(), file.display())),
            Ok(Authority::Unknown) => r.warn(about, format_args!("{}: clients of this system do not know its authority; name that one's certificate with --tls-ca", cert.display())),
        }
        let Ok(chain) = certificates(cert) else { return };
        let Some(leaf) = chain.first().and_then(|c| EndEntityCert::try_from(c).ok()) else { return };
        const DAYS: u64 = 30;
        r.judge(
            is_valid(&chain, now()),
            Verdict::Fail,
            "TLS, time",
            "the certificate is valid now",
            "the certificate has expired, or is not valid yet: clients will refuse it; renew it",
        );
        if is_valid(&chain, now()) {
            r.judge(
                is_valid(&chain, later(DAYS * 86_400)),
                Verdict::Warn,
                "TLS, end",
                format_args!("it does not expire within {DAYS} days"),
                format_args!("it expires within {DAYS} days: renew it"),
            );
        }
        if let Some(host) = url.and_then(host) {
            let names = ServerName::try_from(host.clone());
            r.judge(
                names.is_ok_and(|name| leaf.verify_is_valid_for_subject_name(&name).is_ok()),
                Verdict::Fail,
                "TLS, name",
                format_args!("the certificate is for {host}"),
                format_args!(
                    "the certificate is not for {host}, where clients are sent: they will refuse it"
                ),
            );
        }
    }
}

/// The host in a URL as certificates name it.
fn host(url: &str) -> Option<String> {
    let host = Url::parse(url).ok()?.host_str()?.to_owned();
    Some(host.trim_start_matches('[').trim_end_matches(']').to_owned())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = std::fs::read(file).map_err(|e| failed(files::trouble(file, &e)))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|e| failed(format_args!("{}: {e}", file.display())))?;
    if found.is_empty() {
        return Err(failed(format_args!("{}: holds no certificate", file.display())));
    }
    Ok(found)
}

fn anchors<'a>(authorities: &'a [CertificateDer<'_>]) -> Vec<TrustAnchor<'a>> {
    authorities.iter().filter_map(|c| anchor_from_trusted_cert(c).ok()).collect()
}

fn now() -> UnixTime {
    later(0)
}

fn later(seconds: u64) -> UnixTime {
    let now = super::installation::clock().now() / SECOND;
    let now = u64::try_from(now).unwrap_or(0);
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.saturating_add(seconds)))
}

fn verify(chain: &[CertificateDer<'_>], anchors: &[TrustAnchor<'_>], at: UnixTime) -> Result<(), Error> {
    let Some((leaf, others)) = chain.split_first() else { return Err(Error::UnknownIssuer) };
    let leaf = EndEntityCert::try_from(leaf)?;
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    leaf.verify_for_usage(algorithms, anchors, others, at, KeyUsage::server_auth(), None, None).map(drop)
}

/// Whether no certificate of the chain is out of its time.
fn is_valid(chain: &[CertificateDer<'_>], at: UnixTime) -> bool {
    !matches!(verify(chain, &[], at), Err(Error::CertExpired { .. } | Error::CertNotValidYet { .. }))
}
