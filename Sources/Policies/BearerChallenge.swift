import Pipeline

/// The field `WWW-Authenticate` for whoever lacks a good bearer token (RFC 6750 section 3).
struct BearerChallenge: Sendable {
  private let missing: [UInt8]
  private let invalid: [UInt8]
  private let insufficient: [UInt8]
  private let malformed: [UInt8]

  /// Challenges on a route that needs these scopes.
  init(scopes: [String]) {
    let scope = scopes.isEmpty ? "" : ", scope=\"\(scopes.joined(separator: " "))\""
    func line(_ error: String?) -> [UInt8] {
      Array("WWW-Authenticate: Bearer realm=\"sluice\"\(error.map { ", error=\"\($0)\"" } ?? "")\(scope)\r\n".utf8)
    }
    missing = line(nil)
    invalid = line("invalid_token")
    insufficient = line("insufficient_scope")
    malformed = line("invalid_request")
  }

  /// The line that goes with a refusal.
  func line(for problem: Problem) -> [UInt8] {
    switch problem.entry {
    case .tokenMissing: missing
    case .scopeInsufficient: insufficient
    case .tokenAmbiguous: malformed
    default: invalid
    }
  }

  /// Whether a text is one scope (RFC 6749 section 3.3).
  static func isScope(_ text: String) -> Bool {
    !text.isEmpty
      && text.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
  }
}
