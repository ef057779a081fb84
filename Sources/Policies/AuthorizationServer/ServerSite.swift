import Core
import Crypto
import Pipeline

/// Where the authorization server is: its name, and the paths that follow from it.
struct ServerSite: Sendable {
  /// What can be asked for there.
  enum Endpoint: String, CaseIterable, Sendable {
    case metadata, keys, authorize, token, revoke, introspect
    /// Where devices ask for codes, and where users type them.
    case deviceAuthorization = "device_authorization"
    case device
  }

  /// The claim `iss` of its tokens, byte for byte.
  let issuer: String
  /// What all paths begin with; empty where the issuer has no path.
  private let prefix: String

  /// Before the path of an issuer (RFC 8414 section 3), and behind it as many clients look for it.
  private static let wellKnown = "/.well-known/oauth-authorization-server"

  /// A URL with https, or with http and a loopback address; no query, no slash at the end, nothing that has two
  /// spellings.
  init?(_ issuer: String) {
    guard let url = FetchURL(issuer), !issuer.contains("?"), !issuer.hasSuffix("/") else { return nil }
    let path = url.target == "/" ? "" : url.target
    guard issuer.hasSuffix(path), Self.isPlain(path) else { return nil }
    self.issuer = issuer
    prefix = path
  }

  private static func isPlain(_ path: String) -> Bool {
    if path.isEmpty { return true }
    let segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
    return segments.allSatisfy { segment in
      !segment.isEmpty && segment != "." && segment != ".."
        && segment.utf8.allSatisfy {
          ($0 | 32) >= 97 && ($0 | 32) <= 122 || $0 >= 48 && $0 <= 57 || $0 == 45 || $0 == 46 || $0 == 95
        }
    }
  }

  /// What a path stands for; nil where there is nothing.
  func endpoint(_ path: RawSpan) -> Endpoint? {
    let text = String(decoding: path.array, as: UTF8.self)
    if text == Self.wellKnown + prefix { return .metadata }
    guard text.hasPrefix(prefix) else { return nil }
    switch text.dropFirst(prefix.count) {
    case Self.wellKnown[...], "/.well-known/openid-configuration": return .metadata
    case "/jwks": return .keys
    case "/authorize": return .authorize
    case "/token": return .token
    case "/revoke": return .revoke
    case "/introspect": return .introspect
    case "/device_authorization": return .deviceAuthorization
    case "/device": return .device
    default: return nil
    }
  }

  /// The path of the page that users see.
  var authorizePath: String { prefix + "/authorize" }
  /// The path of the page where users type what a device shows.
  var devicePath: String { prefix + "/device" }

  /// The URL of an endpoint.
  func url(_ endpoint: Endpoint) -> String {
    switch endpoint {
    case .metadata: issuer + Self.wellKnown
    case .keys: issuer + "/jwks"
    case .authorize, .token, .revoke, .introspect, .deviceAuthorization, .device: "\(issuer)/\(endpoint.rawValue)"
    }
  }

  /// What the server offers (RFC 8414 section 2, OpenID Connect Discovery 1.0 section 3); `signing` is how it signs
  /// itself.
  func metadata(scopes: [String], signing: String) -> [UInt8] {
    let buffer = ByteBuffer(capacity: 1_024)
    var writer = JSONWriter(buffer)
    writer.beginObject()
    writer.member("issuer", issuer)
    writer.member("authorization_endpoint", url(.authorize))
    writer.member("token_endpoint", url(.token))
    writer.member("jwks_uri", url(.keys))
    writer.member("revocation_endpoint", url(.revoke))
    writer.member("introspection_endpoint", url(.introspect))
    writer.member("device_authorization_endpoint", url(.deviceAuthorization))
    writer.members("scopes_supported", scopes)
    writer.members("response_types_supported", ["code"])
    writer.members("response_modes_supported", ["query"])
    writer.members("grant_types_supported", OAuthClient.GrantType.allCases.map(\.rawValue))
    writer.members("code_challenge_methods_supported", ["S256"])
    let algorithms = SignatureAlgorithm.allCases.filter { !$0.isSymmetric }.map(\.rawValue)
    let proofs = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
    writer.members("token_endpoint_auth_methods_supported", proofs + ["none"])
    writer.members("token_endpoint_auth_signing_alg_values_supported", algorithms)
    writer.members("revocation_endpoint_auth_methods_supported", proofs + ["none"])
    writer.members("revocation_endpoint_auth_signing_alg_values_supported", algorithms)
    writer.members("introspection_endpoint_auth_methods_supported", proofs)
    writer.members("introspection_endpoint_auth_signing_alg_values_supported", algorithms)
    writer.members("subject_types_supported", ["public"])
    writer.members("id_token_signing_alg_values_supported", [signing])
    writer.key("authorization_response_iss_parameter_supported")
    writer.bool(true)
    writer.endObject()
    return buffer.array
  }
}
