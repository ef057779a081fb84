import Pipeline

/// The field `WWW-Authenticate` for whoever lacks a good bearer token (RFC 6750 section 3), or a proof of the key that one is
/// bound to (RFC 9449 section 7.1).
struct BearerChallenge: Sendable {
  private let bearer: Lines
  private let proof: Lines
  private let wantsProof: Bool

  private struct Lines: Sendable {
    let missing, invalid, insufficient, malformed: [UInt8]

    init(_ scheme: String, _ scope: String) {
      func line(_ error: String?) -> [UInt8] {
        Array("WWW-Authenticate: \(scheme)\(error.map { ", error=\"\($0)\"" } ?? "")\(scope)\r\n".utf8)
      }
      missing = line(nil)
      invalid = line("invalid_token")
      insufficient = line("insufficient_scope")
      malformed = line("invalid_request")
    }
  }

  private static let proofScheme =
    "DPoP realm=\"sluice\", algs=\"ES256 ES384 ES512 EdDSA PS256 PS384 PS512 RS256 RS384 RS512\""
  private static let invalidProof = Array("WWW-Authenticate: \(proofScheme), error=\"invalid_dpop_proof\"\r\n".utf8)
  private static let nonceNeeded = Array("WWW-Authenticate: \(proofScheme), error=\"use_dpop_nonce\"\r\n".utf8)

  /// Challenges on a route that needs these scopes; `wantsProof` where every token must be bound to a key.
  init(scopes: [String], wantsProof: Bool = false) {
    let scope = scopes.isEmpty ? "" : ", scope=\"\(scopes.joined(separator: " "))\""
    bearer = Lines("Bearer realm=\"sluice\"", scope)
    proof = Lines(Self.proofScheme, scope)
    self.wantsProof = wantsProof
  }

  /// The line that goes with a refusal.
  func line(for problem: Problem) -> [UInt8] {
    let lines = wantsProof ? proof : bearer
    switch problem.entry {
    case .tokenMissing: return lines.missing
    case .scopeInsufficient: return lines.insufficient
    case .tokenAmbiguous: return lines.malformed
    case .proofMissing, .proofInvalid, .proofRepeated: return Self.invalidProof
    case .proofNonceMissing: return Self.nonceNeeded
    default: return lines.invalid
    }
  }

  /// Whether a text is one scope (RFC 6749 section 3.3).
  static func isScope(_ text: String) -> Bool {
    !text.isEmpty
      && text.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
  }
}
