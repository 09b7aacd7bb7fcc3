//! TLS, with any certificate or one of a trusted authority.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Failure, Target, io};
use crate::config::Tls;

/// Connects; the rest is as for [`over`].
pub(crate) async fn handshake(
    target: &Target,
    tls: &Tls,
    protocols: &[&str],
) -> Result<TlsStream<TcpStream>, Failure> {
    over(target.connect().await?, target.address, tls, protocols).await
}

/// Over a connection to `address`, which is its name if it has no other. `protocols` are those of ALPN (RFC 7301) that the client
/// speaks; without any it does not say.
pub(crate) async fn over(
    stream: TcpStream,
    address: IpAddr,
    tls: &Tls,
    protocols: &[&str],
) -> Result<TlsStream<TcpStream>, Failure> {
    let name = match &tls.name {
        Some(name) => ServerName::try_from(name.clone()).map_err(failure)?,
        None => ServerName::IpAddress(address.into()),
    };
    let mut config = config(tls)?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.map_err(io("shake hands"))
}

/// Made anew for each check: an authority's file that was replaced counts from then on, and no session is resumed.
fn config(tls: &Tls) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_safe_default_protocol_versions().map_err(failure)?;
    let config = match &tls.authorities {
        None => config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            let unreadable = |error| unreadable(path, &error);
            for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                roots.add(certificate.map_err(unreadable)?).map_err(failure)?;
            }
            config.with_root_certificates(roots)
        }
    };
    let Some(identity) = &tls.identity else { return Ok(config.with_no_client_auth()) };
    let certificates = CertificateDer::pem_file_iter(&identity.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(&identity.certificate, &error))?;
    let key =
        PrivateKeyDer::from_pem_file(&identity.key).map_err(|error| unreadable(&identity.key, &error))?;
    config.with_client_auth_cert(certificates, key).map_err(failure)
}

fn unreadable(path: &Path, error: &pem::Error) -> Failure {
    Failure::Tls(format!("cannot read {}: {error}", path.display()))
}

fn failure(reason: impl ToString) -> Failure {
    Failure::Tls(reason.to_string())
}

/// A check asks whether a server serves, not who it is: with addresses instead of names, and certificates of the
/// service's name, there is often nothing to compare. Signatures are still verified.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
