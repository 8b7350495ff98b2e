//! TLS on the real server: who is let in, what is refused and how, certificates that change under load.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use tenbin_compat_tests::process::Tenbin;
use tenbin_compat_tests::raw::{exchange, parse};

use super::{failed, tenbin};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("http_tls::connections_are_encrypted", encrypted),
        Trial::test(
            "http_tls::client_certificates_are_checked",
            client_certificates,
        ),
        Trial::test("http_tls::certificates_change_under_load", rotation),
        Trial::test("http_tls::half_handshakes_block_nobody", half_handshakes),
    ]
}

/// A certificate authority.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
struct Identity {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    fn new() -> Result<Self, Failed> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    fn issue(&self, name: &str, is_expired: bool) -> Result<Identity, Failed> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        if is_expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 2);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key,
        })
    }
}

/// How a client connects.
struct Client<'a> {
    trusts: &'a Authority,
    shows: Option<&'a Identity>,
    versions: &'a [&'static SupportedProtocolVersion],
    protocols: &'a [&'a str],
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];
const OLDER: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

impl Client<'_> {
    fn connect(&self, address: &str) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.trusts.certificate.der().clone())
            .map_err(|e| e.to_string())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots);
        let mut config = match self.shows {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivatePkcs8KeyDer::from(identity.key.serialize_der());
                builder
                    .with_client_auth_cert(
                        vec![identity.certificate.clone()],
                        PrivateKeyDer::Pkcs8(key),
                    )
                    .map_err(|e| e.to_string())?
            }
        };
        config.alpn_protocols = self
            .protocols
            .iter()
            .map(|p| p.as_bytes().to_vec())
            .collect();
        let name = ServerName::try_from("localhost").map_err(|e| e.to_string())?;
        let connection =
            ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
        let stream = TcpStream::connect(address).map_err(|e| e.to_string())?;
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .map_err(|e| e.to_string())?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream
                .conn
                .complete_io(&mut stream.sock)
                .map_err(|e| e.to_string())?;
        }
        Ok(stream)
    }

    /// The status of a request.
    fn status(&self, address: &str) -> Result<u16, String> {
        let mut stream = self.connect(address)?;
        let request = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).map_err(|e| e.to_string())?;
        let mut answered = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answered)
            && answered.is_empty()
        {
            return Err(error.to_string());
        }
        parse(&answered, false).map(|(answer, _)| answer.status)
    }
}

fn write_pair(directory: &Path, identity: &Identity) -> Result<(), Failed> {
    for (name, text) in [
        ("cert.pem", &identity.pem),
        ("key.pem", &identity.key.serialize_pem()),
    ] {
        // As a careful operator does it: never half a file.
        let new = directory.join(format!("{name}.new"));
        std::fs::write(&new, text)?;
        std::fs::rename(new, directory.join(name))?;
    }
    Ok(())
}

fn start(
    directory: &Path,
    more: &str,
    is_ready: impl Fn(&str) -> bool,
) -> Result<(Tenbin, String), Failed> {
    let file = directory.join("web.yml");
    let text = format!("tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n{more}");
    std::fs::write(&file, text)?;
    let flag = format!("--web.config.file={}", file.display());
    let server = Tenbin::start_until(&tenbin(), directory, &[&flag], is_ready).map_err(failed)?;
    let address = server.url.trim_start_matches("http://").to_owned();
    Ok((server, address))
}

fn anybody(trusts: &Authority) -> Client<'_> {
    Client {
        trusts,
        shows: None,
        versions: BOTH,
        protocols: &["http/1.1"],
    }
}

fn encrypted() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let (authority, stranger) = (Authority::new()?, Authority::new()?);
    write_pair(directory.path(), &authority.issue("localhost", false)?)?;
    let client = anybody(&authority);
    let more = "  min_version: TLS13\nhttp_server_config: {headers: {X-Frame-Options: deny}}\n";
    let (_server, address) = start(directory.path(), more, |a| client.status(a) == Ok(200))?;
    // HTTP/2 where the client wants it.
    let h2 = Client {
        protocols: &["h2", "http/1.1"],
        ..anybody(&authority)
    };
    let mut stream = h2.connect(&address).map_err(failed)?;
    if stream.conn.alpn_protocol() != Some(b"h2") {
        return Err(failed("no HTTP/2"));
    }
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
    let mut frame = [0; 9];
    stream.read_exact(&mut frame)?;
    if frame[3] != 4 {
        return Err(failed(format!("no SETTINGS frame: {frame:?}")));
    }
    // Who does not trust the certificate, or is too old, does not get in.
    let older = Client {
        versions: OLDER,
        ..anybody(&authority)
    };
    for refused in [anybody(&stranger).status(&address), older.status(&address)] {
        if refused.is_ok() {
            return Err(failed("was let in"));
        }
    }
    // Without TLS: a clear word. An old hello: an alert, and no data.
    let plain = exchange(&address, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").map_err(failed)?;
    let plain = String::from_utf8_lossy(&plain).into_owned();
    let expected =
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    if plain != expected {
        return Err(failed(plain));
    }
    let mut hello_1_0 = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1];
    hello_1_0.extend([7; 32]);
    hello_1_0.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let answered = exchange(&address, &hello_1_0).unwrap_or_default();
    if answered.first().is_some_and(|first| *first != 0x15) {
        return Err(failed(format!("TLS 1.0 was answered: {answered:?}")));
    }
    Ok(())
}

fn client_certificates() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let (authority, clients, strangers) = (Authority::new()?, Authority::new()?, Authority::new()?);
    write_pair(directory.path(), &authority.issue("localhost", false)?)?;
    std::fs::write(directory.path().join("ca.pem"), clients.certificate.pem())?;
    let good = clients.issue("good.example", false)?;
    let cases = [
        ("no certificate", None),
        (
            "another authority's",
            Some(strangers.issue("good.example", false)?),
        ),
        ("another name", Some(clients.issue("other.example", false)?)),
        ("expired", Some(clients.issue("good.example", true)?)),
    ];
    let client = |shows| Client {
        shows,
        ..anybody(&authority)
    };
    let more = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  \
                client_allowed_sans: [good.example]\n";
    let (_server, address) = start(directory.path(), more, |a| {
        client(Some(&good)).status(a) == Ok(200)
    })?;
    for (name, identity) in &cases {
        if let Ok(status) = client(identity.as_ref()).status(&address) {
            return Err(failed(format!("{name}: {status}")));
        }
    }
    client(Some(&good)).status(&address).map_err(failed)?;
    Ok(())
}

fn rotation() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::new()?;
    let first = authority.issue("localhost", false)?;
    write_pair(directory.path(), &first)?;
    let client = anybody(&authority);
    let (_server, address) = start(directory.path(), "", |a| client.status(a) == Ok(200))?;
    let second = authority.issue("localhost", false)?;
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| -> Result<(), Failed> {
        let worker = scope.spawn(|| -> Result<(), String> {
            while !stop.load(Ordering::Relaxed) {
                client.status(&address)?;
                asked.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        let rotated = (|| -> Result<(), Failed> {
            write_pair(directory.path(), &second)?;
            let started = Instant::now();
            loop {
                let stream = client.connect(&address).map_err(failed)?;
                let shown = stream.conn.peer_certificates().unwrap_or_default();
                if shown.first() == Some(&second.certificate) {
                    break;
                }
                if started.elapsed() > Duration::from_secs(20) {
                    return Err(failed("the new certificate is not shown"));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            // Broken files leave the good ones in force.
            std::fs::write(directory.path().join("cert.pem"), "junk")?;
            std::thread::sleep(Duration::from_millis(2500));
            client.status(&address).map_err(failed)?;
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        let worked = worker.join().map_err(|_| failed("a thread panicked"))?;
        worked.map_err(|e| failed(format!("a request failed: {e}")))?;
        rotated
    })?;
    if asked.load(Ordering::Relaxed) < 10 {
        return Err(failed("too few requests"));
    }
    Ok(())
}

fn half_handshakes() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::new()?;
    write_pair(directory.path(), &authority.issue("localhost", false)?)?;
    let client = anybody(&authority);
    let (_server, address) = start(directory.path(), "", |a| client.status(a) == Ok(200))?;
    // Below the limit on connections, which counts these too.
    let mut open = Vec::new();
    for _ in 0..400 {
        let mut stream = TcpStream::connect(&address)?;
        stream.write_all(&[0x16, 3, 1])?;
        open.push(stream);
    }
    let started = Instant::now();
    let status = client.status(&address).map_err(failed)?;
    if status != 200 || started.elapsed() > Duration::from_secs(5) {
        return Err(failed(format!("{status} after {:?}", started.elapsed())));
    }
    // They are let go after ten seconds.
    let mut one = open.swap_remove(0);
    one.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut rest = Vec::new();
    let _ = one.read_to_end(&mut rest);
    if started.elapsed() > Duration::from_secs(20) {
        return Err(failed("a half handshake is kept"));
    }
    Ok(())
}
