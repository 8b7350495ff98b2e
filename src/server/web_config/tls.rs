//! `tls_server_config`: from names and files to a configuration of rustls.
//!
//! TLS 1.2 and 1.3 only; what Go also knows and is no longer safe (TLS 1.0, CBC suites) is refused by
//! name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::{cipher_suite as suites, default_provider, kx_group};
use rustls::crypto::{
    CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    SupportedCipherSuite, SupportedProtocolVersion,
};
use serde::Deserialize;

use crate::settings::{self, Secret};

/// The section as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TlsFile {
    cert: Option<String>,
    key: Option<Secret>,
    client_ca: Option<String>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_ca_file: Option<PathBuf>,
    client_auth_type: Option<String>,
    client_allowed_sans: Vec<String>,
    min_version: Option<String>,
    max_version: Option<String>,
    cipher_suites: Vec<String>,
    prefer_server_cipher_suites: Option<bool>,
    curve_preferences: Vec<String>,
}

/// TLS in force.
#[derive(Debug, Clone)]
pub struct Tls {
    /// What rustls is told.
    pub config: Arc<ServerConfig>,
    /// A client's certificate has to carry one of these names; none = any.
    pub allowed_client_names: Vec<String>,
    /// The files that it was read from.
    pub files: Vec<PathBuf>,
}

/// Cipher suites by Go's names.
fn suite(name: &str) -> Option<SupportedCipherSuite> {
    Some(match name {
        "TLS_AES_128_GCM_SHA256" => suites::TLS13_AES_128_GCM_SHA256,
        "TLS_AES_256_GCM_SHA384" => suites::TLS13_AES_256_GCM_SHA384,
        "TLS_CHACHA20_POLY1305_SHA256" => suites::TLS13_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => {
            suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        }
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => {
            suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        }
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
        | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => {
            suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" => {
            suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
        _ => return None,
    })
}

fn curve(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    match name {
        "CurveP256" => Some(kx_group::SECP256R1),
        "CurveP384" => Some(kx_group::SECP384R1),
        "X25519" => Some(kx_group::X25519),
        _ => None,
    }
}

/// 2 or 3 for TLS 1.2 or 1.3.
fn version(key: &str, name: &str) -> Result<u8, String> {
    match name {
        "TLS12" => Ok(2),
        "TLS13" => Ok(3),
        "TLS10" | "TLS11" => Err(format!(
            "{key}: {name} is not safe and not there: use TLS12 or TLS13"
        )),
        _ => Err(format!("{key}: unknown TLS version {name:?}")),
    }
}

impl TlsFile {
    /// Reads certificates and key, and checks that all fits.
    pub(super) fn load(&self, folder: &Path, http2: bool) -> Result<Tls, String> {
        let versions = self.versions()?;
        let provider = Arc::new(self.provider(http2, &versions)?);
        let mut files = Vec::new();
        let mut text =
            |name: &str, inline: Option<&str>, file: Option<&PathBuf>| match (inline, file) {
                (Some(_), Some(_)) => Err(format!("only one of {name} and {name}_file may be set")),
                (Some(inline), None) => Ok(Some(inline.to_owned())),
                (None, Some(file)) => {
                    let path = folder.join(file);
                    let text = settings::read(&path).map_err(|e| format!("{name}_file: {e}"))?;
                    files.push(path);
                    Ok(Some(text))
                }
                (None, None) => Ok(None),
            };
        let certificate = text("cert", self.cert.as_deref(), self.cert_file.as_ref())?
            .ok_or("missing one of cert or cert_file")?;
        let key = self.key.as_ref().map(Secret::reveal);
        let key =
            text("key", key, self.key_file.as_ref())?.ok_or("missing one of key or key_file")?;
        let client_ca = text(
            "client_ca",
            self.client_ca.as_deref(),
            self.client_ca_file.as_ref(),
        )?;
        let chain = certificates("cert", &certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| "key: no private key in PEM form".to_owned())?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(|e| format!("versions and cipher suites do not fit: {e}"))?;
        let builder = match self.client_verifier(client_ca.as_deref(), &provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|e| format!("certificate and key do not fit: {e}"))?;
        config.ignore_client_order = self.prefer_server_cipher_suites.unwrap_or(true);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if http2 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Ok(Tls {
            config: Arc::new(config),
            allowed_client_names: self.client_allowed_sans.clone(),
            files,
        })
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
        let named = |key: &str, name: &Option<String>, default: u8| {
            name.as_deref()
                .map_or(Ok(default), |name| version(key, name))
        };
        let (min, max) = (
            named("min_version", &self.min_version, 2)?,
            named("max_version", &self.max_version, 3)?,
        );
        if min > max {
            return Err("min_version is above max_version".to_owned());
        }
        let all = [(2, &rustls::version::TLS12), (3, &rustls::version::TLS13)];
        Ok(all
            .into_iter()
            .filter(|(number, _)| (min..=max).contains(number))
            .map(|(_, version)| version)
            .collect())
    }

    /// The suites of TLS 1.3 cannot be chosen in Go and are always there; so here.
    fn provider(
        &self,
        http2: bool,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<CryptoProvider, String> {
        let mut provider = default_provider();
        if !self.cipher_suites.is_empty() {
            let chosen = self
                .cipher_suites
                .iter()
                .map(|name| {
                    suite(name)
                        .ok_or_else(|| format!("cipher_suites: {name:?} is unknown or not safe"))
                })
                .collect::<Result<Vec<_>, _>>()?;
            let has_1_2 = versions.contains(&&rustls::version::TLS12);
            // RFC 7540, 9.2.2.
            let is_required = |suite: &SupportedCipherSuite| {
                *suite == suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
                    || *suite == suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            };
            if http2 && has_1_2 && !chosen.iter().any(is_required) {
                return Err("cipher_suites: HTTP/2 needs \
                            TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or its ECDSA form"
                    .to_owned());
            }
            provider
                .cipher_suites
                .retain(|suite| suite.tls13().is_some() && !chosen.contains(suite));
            provider.cipher_suites.extend(chosen);
        }
        if !self.curve_preferences.is_empty() {
            provider.kx_groups = self
                .curve_preferences
                .iter()
                .map(|name| {
                    curve(name).ok_or_else(|| format!("curve_preferences: unknown curve {name:?}"))
                })
                .collect::<Result<_, _>>()?;
        }
        Ok(provider)
    }

    fn client_verifier(
        &self,
        ca: Option<&str>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
        let kind = self.client_auth_type.as_deref().unwrap_or("");
        let (mandatory, verified) = match kind {
            "" | "NoClientCert" if ca.is_some() => {
                return Err(
                    "client_ca is set, but client_auth_type asks for no certificate".to_owned(),
                );
            }
            "" | "NoClientCert" if !self.client_allowed_sans.is_empty() => {
                return Err("client_allowed_sans needs client certificates".to_owned());
            }
            "" | "NoClientCert" => return Ok(None),
            "RequestClientCert" => (false, false),
            "RequireAnyClientCert" | "RequireClientCert" => (true, false),
            "VerifyClientCertIfGiven" => (false, true),
            "RequireAndVerifyClientCert" => (true, true),
            _ => return Err(format!("client_auth_type: unknown type {kind:?}")),
        };
        if !verified {
            if !self.client_allowed_sans.is_empty() {
                return Err("client_allowed_sans needs a client_auth_type that verifies".to_owned());
            }
            return Ok(Some(Arc::new(AnyCertificate {
                mandatory,
                algorithms: provider.signature_verification_algorithms,
            })));
        }
        let ca =
            ca.ok_or("client_auth_type verifies: missing one of client_ca or client_ca_file")?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates("client_ca", ca)? {
            roots
                .add(certificate)
                .map_err(|e| format!("client_ca: {e}"))?;
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = if mandatory {
            builder
        } else {
            builder.allow_unauthenticated()
        };
        let verifier = builder.build().map_err(|e| format!("client_ca: {e}"))?;
        Ok(Some(verifier))
    }
}

fn certificates(key: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(format!("{key}: no certificate in PEM form")),
    }
}

/// Takes any certificate whose key the client holds, as Go's `RequestClientCert` does.
#[derive(Debug)]
struct AnyCertificate {
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn file(more: impl FnOnce(&mut TlsFile)) -> Result<Tls, String> {
        let (cert, key) = pair();
        let mut file = TlsFile {
            cert: Some(cert),
            key: Some(Secret::new(key)),
            ..TlsFile::default()
        };
        more(&mut file);
        file.load(Path::new(""), true)
    }

    #[test]
    fn versions_suites_and_curves_are_chosen() {
        let tls = file(|_| {}).unwrap();
        assert_eq!(tls.config.alpn_protocols[0], b"h2");
        assert!(file(|f| f.min_version = Some("TLS13".into())).is_ok());
        let suites = |names: &[&str]| {
            let names = names.iter().map(|n| (*n).to_owned()).collect();
            file(|f| f.cipher_suites = names)
                .map(|tls| tls.config.crypto_provider().cipher_suites.len())
        };
        assert_eq!(suites(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]), Ok(4));
        assert!(
            suites(&["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"])
                .unwrap_err()
                .contains("HTTP/2")
        );
        assert!(
            suites(&["TLS_RSA_WITH_AES_128_CBC_SHA"])
                .unwrap_err()
                .contains("not safe")
        );
        assert!(file(|f| f.curve_preferences = vec!["X25519".into()]).is_ok());
        assert!(file(|f| f.curve_preferences = vec!["CurveP1".into()]).is_err());
        for (min, max) in [("TLS10", "TLS13"), ("TLS13", "TLS12"), ("x", "TLS13")] {
            let wrong = file(|f| {
                f.min_version = Some(min.into());
                f.max_version = Some(max.into());
            });
            assert!(wrong.is_err());
        }
    }

    #[test]
    fn client_certificates_need_what_verifies_them() {
        let ca = pair().0;
        let with = |kind: &str, ca: Option<&str>, names: &[&str]| {
            let names = names.iter().map(|n| (*n).to_owned()).collect();
            file(|f| {
                f.client_auth_type = Some(kind.into());
                f.client_ca = ca.map(str::to_owned);
                f.client_allowed_sans = names;
            })
        };
        assert!(with("RequireAndVerifyClientCert", Some(&ca), &["a"]).is_ok());
        assert!(with("VerifyClientCertIfGiven", Some(&ca), &[]).is_ok());
        assert!(with("RequestClientCert", None, &[]).is_ok());
        assert!(with("RequireAnyClientCert", None, &[]).is_ok());
        assert!(with("RequireAndVerifyClientCert", None, &[]).is_err());
        assert!(with("RequireAndVerifyClientCert", Some("junk"), &[]).is_err());
        assert!(with("NoClientCert", Some(&ca), &[]).is_err());
        assert!(with("NoClientCert", None, &["a"]).is_err());
        assert!(with("RequestClientCert", None, &["a"]).is_err());
        assert!(with("Sometimes", None, &[]).is_err());
        let other = pair().1;
        assert!(
            file(|f| f.key = Some(Secret::new(other)))
                .unwrap_err()
                .contains("do not fit")
        );
    }
}
