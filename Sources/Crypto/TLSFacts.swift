import COpenSSL
import Core

/// Why a handshake did not come to its end.
public enum TLSHandshakeFailure: String, CaseIterable, Sendable {
  /// The bytes are no TLS: most often a request of plain HTTP.
  case notTLS = "not-tls"
  /// Only versions that are not spoken here.
  case version
  /// No cipher, curve or signature in common.
  case noCommonCipher = "no-common-cipher"
  /// No application protocol in common.
  case noCommonProtocol = "no-common-protocol"
  /// The client showed no certificate, and had to.
  case certificateMissing = "certificate-missing"
  /// The client's certificate is not good.
  case certificateRefused = "certificate-refused"
  /// The client broke it off with an alert: most often it does not trust the server's certificate.
  case refusedByClient = "refused-by-client"
  /// Anything else that breaks the rules.
  case malformed
}

/// What the handshake has agreed on.
public struct TLSFacts: Sendable {
  /// The version that is spoken.
  public internal(set) var version = TLSServerSettings.Version.tls13
  /// Whether the session was resumed.
  public internal(set) var isResumed = false
  /// The host name that the client asked for, as it spelled it.
  public internal(set) var serverName: String?
  /// The protocol that was chosen; nil where the client offered none.
  public internal(set) var applicationProtocol: String?
  /// Who the client is; nil where it has shown no certificate.
  public internal(set) var peer: TLSPeer?
}

/// Who a client is by its certificate. Immutable.
public final class TLSPeer: Sendable {
  /// The certificate in DER form.
  public let certificate: [UInt8]
  /// Those between it and the root, in DER form and in that order, as they were verified; empty where nobody asked for them.
  public let chain: [[UInt8]]
  /// The common name of its subject; nil where there is none.
  public let commonName: String?
  /// Its alternative names: DNS names, URIs and mail addresses.
  public let names: [String]
  /// The SHA-256 digest of the certificate in base64url: what tokens that are bound to it say (RFC 8705 section 3.1).
  public let thumbprint: String

  init(_ certificate: Certificate, chain: [Certificate] = []) {
    let bytes = certificate.der
    self.certificate = bytes
    self.chain = chain.map(\.der)
    commonName = certificate.commonName
    names = [GEN_URI, GEN_DNS, GEN_EMAIL].flatMap { certificate.alternatives($0) }
    thumbprint = Base64URL.encode(SHA256().digest(of: RawSpan(bytes)).bytes)
  }
}

extension TLSHandshakeFailure {
  /// What OpenSSL's reason for an error amounts to.
  init(reason: Int32) {
    switch reason {
    case SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST, SSL_R_WRONG_VERSION_NUMBER, SSL_R_RECORD_LENGTH_MISMATCH:
      self = .notTLS
    case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW, SSL_R_UNKNOWN_PROTOCOL, SSL_R_INAPPROPRIATE_FALLBACK:
      self = .version
    case SSL_R_NO_SHARED_CIPHER, SSL_R_NO_SUITABLE_KEY_SHARE, SSL_R_NO_SUITABLE_GROUPS, SSL_R_NO_SHARED_GROUPS,
      SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
      self = .noCommonCipher
    case SSL_R_NO_APPLICATION_PROTOCOL: self = .noCommonProtocol
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: self = .certificateMissing
    case SSL_R_CERTIFICATE_VERIFY_FAILED: self = .certificateRefused
    default: self = reason > SSL_AD_REASON_OFFSET ? .refusedByClient : .malformed
    }
  }
}
