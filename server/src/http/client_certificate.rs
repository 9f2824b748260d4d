//! Certificates of clients: those of the server's own connections, which it verifies, and those that a front server has
//! verified and hands on in a header.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use vicar_rules::Micros;

use super::Request;
use crate::config::client_certificate::ClientCertificates;
use crate::error::Result;

/// The longest certificate that is looked at, as it is written in a header.
const LONGEST: usize = 32 << 10;

/// The authorities whose certificates clients may show, in the file that they are read from.
#[derive(Debug)]
pub struct Authorities {
    file: PathBuf,
    /// Held for the time that it takes to copy the pointer, never over I/O.
    current: RwLock<Arc<dyn ClientCertVerifier>>,
}

impl Authorities {
    /// Reads the file, PEM.
    ///
    /// # Errors
    /// A sentence for the operator, with the file's name.
    pub fn load(file: &Path) -> std::result::Result<Arc<Self>, String> {
        Ok(Arc::new(Self { file: file.to_owned(), current: RwLock::new(read(file)?) }))
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Reads the file; what it gives takes effect when it is called.
    ///
    /// # Errors
    /// As [`Authorities::load`]; then nothing changes.
    pub fn reload(&self) -> std::result::Result<impl FnOnce() + use<'_>, String> {
        let read = read(&self.file)?;
        Ok(move || *self.current.write().unwrap_or_else(PoisonError::into_inner) = read)
    }

    fn current(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(file: &Path) -> std::result::Result<Arc<dyn ClientCertVerifier>, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    let bytes = std::fs::read(file).map_err(|e| wrong(&e))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        roots.add(certificate.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"holds no certificate"));
    }
    let provider = Arc::new(ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|e| wrong(&e))
}

/// A certificate is asked for and nobody has to have one; one that is shown has to be of an authority.
impl ClientCertVerifier for Authorities {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Which ones there are may change.
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, Error> {
        self.current().verify_client_cert(certificate, others, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        self.current().verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        self.current().verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current().supported_verify_schemes()
    }
}

/// The certificate with which a client has connected: an extension of its requests.
#[derive(Debug, Clone)]
pub struct Shown {
    chain: Arc<[CertificateDer<'static>]>,
    authorities: Arc<Authorities>,
}

impl Shown {
    /// What a connection has, if it has one.
    pub(super) fn of(
        chain: Option<&[CertificateDer<'static>]>,
        authorities: Option<&Arc<Authorities>>,
    ) -> Option<Self> {
        let chain = chain.filter(|chain| !chain.is_empty())?;
        Some(Self { chain: chain.into(), authorities: Arc::clone(authorities?) })
    }

    /// The certificate, if it is good still: a connection may be older than what has changed.
    fn verified(&self, now: Micros) -> Option<&CertificateDer<'static>> {
        let (certificate, others) = self.chain.split_first()?;
        let now = UnixTime::since_unix_epoch(Duration::from_micros(u64::try_from(now).ok()?));
        self.authorities.verify_client_cert(certificate, others, now).ok()?;
        Some(certificate)
    }
}

/// The certificate of the client that a request is from. Of what a front server says in its header that is none, it is an
/// empty one.
///
/// # Errors
/// 400 when a front server sends the header twice: one of them may be the client's.
pub fn of(request: &Request, told: &ClientCertificates, now: Micros) -> Result<Option<Vec<u8>>> {
    if request.comes_from(&told.from) {
        // The connection is the front server's, and so is a certificate on it.
        let Some(header) = &told.header else { return Ok(None) };
        let text = request.told_by(&told.from, header)?.filter(|text| text != "(null)");
        return Ok(text.map(|text| decoded(&text).unwrap_or_default()));
    }
    // The same of one that nobody has named.
    if request.is_forwarded() {
        return Ok(None);
    }
    Ok(request.shown().and_then(|shown| shown.verified(now)).map(|certificate| certificate.to_vec()))
}

/// A certificate as front servers write it: PEM, percent-encoded (nginx) or with spaces in the place of line ends (Apache), or
/// base64 alone (HAProxy; between colons, RFC 9440).
fn decoded(text: &str) -> Option<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    if text.len() > LONGEST {
        return None;
    }
    let text = percent_decode_str(text).decode_utf8().ok()?;
    let text = text.trim();
    let text = match text.strip_prefix(BEGIN) {
        Some(rest) => {
            let (own, others) = rest.split_once(END)?;
            // The client's own is the first one of a chain. Two that are written otherwise are two people's words.
            let others = others.trim_start();
            if !others.is_empty() && !others.starts_with(BEGIN) {
                return None;
            }
            own
        }
        None => text.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).unwrap_or(text),
    };
    let encoded: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(encoded).ok().filter(|der| !der.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_servers_write_certificates_in_several_ways() {
        let made = rcgen::generate_simple_self_signed(["h".to_owned()]).expect("a certificate");
        let (der, pem) = (made.cert.der().to_vec(), made.cert.pem());
        let pem = pem.replace('\r', "");
        let escaped = percent_encoding::utf8_percent_encode(&pem, percent_encoding::NON_ALPHANUMERIC);
        let plain = STANDARD.encode(&der);
        for written in [
            escaped.to_string(),
            pem.replace('\n', " "),
            pem.replace('\n', "\n\t"),
            format!("{pem}{pem}").replace('\n', " "),
            plain.clone(),
            format!(":{plain}:"),
        ] {
            assert_eq!(decoded(&written).as_ref(), Some(&der), "{written}");
        }
        let cut = pem.replace('\n', " ");
        let cut = cut.get(..cut.len() - 30).expect("a part");
        let two = format!("{0},{0}", pem.replace('\n', " "));
        for wrong in ["", "::", "x", "%ff", cut, &two, &format!(":{plain}"), &"A".repeat(LONGEST + 4)] {
            assert_eq!(decoded(wrong), None, "{wrong:.99}");
        }
    }

    #[test]
    fn authorities_are_read_from_a_file_that_holds_some() {
        let made = rcgen::generate_simple_self_signed(["h".to_owned()]).expect("a certificate");
        let dir = std::env::temp_dir().join(format!("vicar-authorities-{}", crate::ids::uuid()));
        std::fs::create_dir(&dir).expect("a directory");
        let file = dir.join("ca.pem");
        std::fs::write(&file, made.cert.pem()).expect("written");
        let loaded = Authorities::load(&file).expect("loads");
        assert!(loaded.offer_client_auth() && !loaded.client_auth_mandatory());
        for (wrong, why) in
            [("", "holds no certificate"), (made.signing_key.serialize_pem().as_str(), "holds no")]
        {
            std::fs::write(&file, wrong).expect("written");
            let e = loaded.reload().err().expect("no authority");
            assert!(e.contains("ca.pem: ") && e.contains(why), "{e}");
        }
        std::fs::remove_dir_all(&dir).expect("removed");
        assert!(Authorities::load(&file).expect_err("gone").contains("ca.pem: "));
    }
}
