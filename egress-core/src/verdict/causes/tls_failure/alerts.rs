//! TLS alerts: IANA's names, and what each usually means from either end. In fixes `{address}` stands for what was
//! dialled, `{name}` for the server name and `{versions}` for the versions offered.

use crate::flow::End;

/// What an alert means when one end sends it.
pub(super) struct Say {
    pub(super) meaning: &'static str,
    pub(super) fix: &'static str,
}

/// An alert.
pub(super) struct Alert {
    code: u8,
    pub(super) name: &'static str,
    /// It is about certificates.
    pub(super) trust: bool,
    pub(super) by_client: Say,
    pub(super) by_server: Say,
}

/// The alert with this number, if IANA knows it.
pub(super) fn find(code: u8) -> Option<&'static Alert> {
    ALERTS.iter().find(|alert| alert.code == code)
}

/// Meaning and fix of an alert that cannot be read.
pub(super) const fn sealed(by: End) -> (&'static str, &'static str) {
    match by {
        End::Client => (
            "in TLS 1.3 this is how a client refuses the server's certificate (CA not trusted, expired, or another name)",
            "Look into the client's log for the certificate error, and check the chain with \
             openssl s_client -connect {address} -servername {name} -showcerts: its CA must be among those the pod \
             trusts, it must not be expired, and it must be for {name}.",
        ),
        End::Server => (
            "in TLS 1.3 this is how a server refuses a client after the handshake, most often for want of a client \
             certificate that it accepts",
            "If the server wants client certificates (mTLS), check that the client is configured with one, that it is \
             not expired, and that the server trusts its CA; the server's log names the reason.",
        ),
    }
}

macro_rules! alerts {
    ($($code:literal $name:literal $trust:literal
        client: $client:literal, $client_fix:expr;
        server: $server:literal, $server_fix:expr;)*) => {
        &[$(Alert {
            code: $code,
            name: $name,
            trust: $trust,
            by_client: Say { meaning: $client, fix: $client_fix },
            by_server: Say { meaning: $server, fix: $server_fix },
        },)*]
    };
}

const SHOW: &str =
    "See what the server presents: openssl s_client -connect {address} -servername {name} -showcerts.";
const SENT_CERT: &str = "Check the certificate that the client is configured with (issuer, dates, key usage), and which CAs \
    the server accepts.";
const LOG: &str = "Look into the log of whoever sent the alert: it is an error of its own or of the other's messages. \
    A device on the way that changes TLS looks the same.";
const TRUST: &str = "Give the pod the CA that signed the server's certificate (a private CA's bundle, or the proxy's that \
    inspects TLS): mount it and point SSL_CERT_FILE, or the client's own option, at it. \
    openssl s_client -connect {address} -servername {name} -showcerts shows the issuer; an intermediate certificate that \
    the server does not send looks the same.";
const EXPIRED: &str = "Renew the server's certificate, and check the clock of the node (timedatectl) if it is not expired: \
    openssl s_client -connect {address} -servername {name} | openssl x509 -noout -dates.";
const CIPHERS: &str = "Compare what the client offers ({versions}) with what the server takes: \
    openssl s_client -connect {address} -servername {name} with -tls1_2 and -tls1_3. Cipher suites, groups, signature \
    algorithms and the kind of the server's key (RSA, ECDSA) must overlap; a server that wants a client certificate or \
    does not know the server name may say so with this alert too.";
const VERSIONS: &str = "The client offers {versions}. Update the end that is too old, or allow the version there (OpenSSL \
    MinProtocol, Go tls.Config.MinVersion, Java jdk.tls.disabledAlgorithms).";
const NAMES: &str = "Check that {name} is the name that the server serves (its certificate, its virtual hosts or Ingress \
    rules), and that the client sends it: an address instead of a name sends none.";
const MTLS: &str = "The server wants a client certificate (mTLS): configure the client with one that the server's CA signed.";
const DENIED: &str = "The certificate is valid, and its holder is not allowed: check the server's authorization rules for the \
    certificate's subject or SPIFFE id.";
const ALPN: &str = "Check which application protocols both ends speak (h2, http/1.1): the client's ALPN list and the server's \
    do not overlap.";

const ALERTS: &[Alert] = alerts! {
    10 "unexpected_message" false
        client: "it got a TLS message that does not belong there", LOG;
        server: "it got a TLS message that does not belong there; a client that speaks TLS to a port of another protocol looks like this", LOG;
    20 "bad_record_mac" false
        client: "a record was damaged or changed on the way", LOG;
        server: "a record was damaged or changed on the way", LOG;
    21 "decryption_failed" false
        client: "a record could not be decrypted", LOG;
        server: "a record could not be decrypted", LOG;
    22 "record_overflow" false
        client: "a record was too long; what answered may not speak TLS at all", LOG;
        server: "a record was too long", LOG;
    30 "decompression_failure" false
        client: "a record could not be decompressed", LOG;
        server: "a record could not be decompressed", LOG;
    40 "handshake_failure" false
        client: "it shares no cipher suite, group or signature algorithm with the server", CIPHERS;
        server: "it shares no cipher suite, group or signature algorithm with the client, or wants a client certificate that did not come", CIPHERS;
    41 "no_certificate" true
        client: "it has no certificate to show", MTLS;
        server: "no certificate came", MTLS;
    42 "bad_certificate" true
        client: "it does not accept the server's certificate (damaged, wrong signature, or not trusted)", SHOW;
        server: "it does not accept the client's certificate (mTLS), or none came", SENT_CERT;
    43 "unsupported_certificate" true
        client: "the server's certificate is of a kind or for a use that it does not accept", SHOW;
        server: "the client's certificate is of a kind or for a use that it does not accept (mTLS)", SENT_CERT;
    44 "certificate_revoked" true
        client: "the server's certificate was revoked", SHOW;
        server: "the client's certificate was revoked (mTLS)", SENT_CERT;
    45 "certificate_expired" true
        client: "the server's certificate is expired or not yet valid", EXPIRED;
        server: "the client's certificate is expired or not yet valid (mTLS)", "Renew the client's certificate, and check the clock of both ends.";
    46 "certificate_unknown" true
        client: "it does not accept the server's certificate, for a reason that it does not name (often the CA or the host name)", TRUST;
        server: "it does not accept the client's certificate, for a reason that it does not name (mTLS)", SENT_CERT;
    47 "illegal_parameter" false
        client: "a field of the handshake is out of range or inconsistent", LOG;
        server: "a field of the handshake is out of range or inconsistent", LOG;
    48 "unknown_ca" true
        client: "it does not trust the CA that signed the server's certificate", TRUST;
        server: "it does not trust the CA that signed the client's certificate (mTLS)", SENT_CERT;
    49 "access_denied" true
        client: "the server's certificate is valid, but it will not talk to its holder", DENIED;
        server: "the client's certificate is valid, but its holder has no access", DENIED;
    50 "decode_error" false
        client: "a message could not be decoded", LOG;
        server: "a message could not be decoded", LOG;
    51 "decrypt_error" false
        client: "a signature or a Finished message did not verify", LOG;
        server: "a signature or a Finished message did not verify; a client certificate whose key does not fit looks like this", LOG;
    60 "export_restriction" false
        client: "the key length is not allowed", CIPHERS;
        server: "the key length is not allowed", CIPHERS;
    70 "protocol_version" false
        client: "the server chose a TLS version that it does not take", VERSIONS;
        server: "it takes none of the TLS versions that the client offers", VERSIONS;
    71 "insufficient_security" false
        client: "what the server chose is not secure enough for it", CIPHERS;
        server: "what the client offers is not secure enough for it", CIPHERS;
    80 "internal_error" false
        client: "an error of its own", LOG;
        server: "an error of its own; servers without a certificate for the name answer so too", LOG;
    86 "inappropriate_fallback" false
        client: "the version is lower than need be", VERSIONS;
        server: "the client came with a lower version than it can, as a fallback", VERSIONS;
    109 "missing_extension" false
        client: "the server left out an extension that must be there", CIPHERS;
        server: "the client left out an extension that must be there (such as the server name)", CIPHERS;
    110 "unsupported_extension" false
        client: "the server answered with an extension that was not offered", LOG;
        server: "an extension is not allowed here", LOG;
    111 "certificate_unobtainable" true
        client: "a certificate could not be fetched", SHOW;
        server: "the client's certificate could not be fetched", SENT_CERT;
    112 "unrecognized_name" false
        client: "the name does not fit", NAMES;
        server: "it does not serve the name in the ClientHello (SNI)", NAMES;
    113 "bad_certificate_status_response" true
        client: "the OCSP answer that the server stapled is not valid", SHOW;
        server: "the OCSP answer is not valid", SENT_CERT;
    114 "bad_certificate_hash_value" true
        client: "a certificate's hash does not fit", SHOW;
        server: "a certificate's hash does not fit", SENT_CERT;
    115 "unknown_psk_identity" false
        client: "the pre-shared key is not known", "Check that both ends have the same pre-shared key under the same identity.";
        server: "it does not know the client's pre-shared key", "Check that both ends have the same pre-shared key under the same identity.";
    116 "certificate_required" true
        client: "it wants a certificate that did not come", SHOW;
        server: "it wants a client certificate (mTLS) and none came", MTLS;
    117 "general_error" false
        client: "an error that it does not name", LOG;
        server: "an error that it does not name", LOG;
    120 "no_application_protocol" false
        client: "no application protocol is shared (ALPN)", ALPN;
        server: "it speaks none of the application protocols that the client offers (ALPN)", ALPN;
    121 "ech_required" false
        client: "the server did not take the encrypted ClientHello", "Publish the server's current ECH configuration in DNS, or turn ECH off in the client.";
        server: "it wants an encrypted ClientHello", "Turn on ECH in the client.";
};
