import Core
import Crypto
import HTTP
import Pipeline

/// Knows callers by the client certificate of their connection, which the listener has verified
/// (`listeners[].tls.clientCertificates`).
///
/// What the caller is called is the first URI among the certificate's alternative names, as workloads have them (SPIFFE),
/// else the first DNS name, else the first mail address, else the subject's common name. Refuses with 403 `certificate-missing`
/// or `consumer-not-allowed`, 401 `key-revoked` where the name is revoked as a subject. Needs nothing but memory; see
/// `onStaleRevocations`.
public final class MTLS: Policy, CallerPolicy {
  /// The name in the configuration.
  public static let name = "mtls"
  /// It says who it is.
  public static let phase = Phase.identify
  /// What it does.
  public static let summary = "Knows callers by the client certificate of their connection."

  private let names: [String]
  private let standsForConsumer: Bool
  private let isOptional: Bool
  private let sent: FieldSelector?
  private let gate: RevocationGate

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    names = options.stringList(
      "names",
      "Who may pass: names of certificates, \"spiffe://prod/*\" for all that begin like it; none: all that the listener trusts."
    )
    standsForConsumer = options.bool(
      "consumer", default: false, "Whether the name is that of a consumer of the configuration, which must be there.")
    isOptional = options.bool("optional", default: false, "Whether requests without a certificate pass, as nobody.")
    sent = options.optionalValue(
      "header", FieldSelector.format, "A field by which the upstream learns the name. A client's own is dropped."
    ) { FieldSelector($0) }
    if sent?.framesMessages == true { options.fail("this field frames messages", at: "header", fix: "name another") }
    gate = RevocationGate(&options)
  }

  /// See ``CallerPolicy``.
  public func dropClaims(of request: RequestHead, _ exchange: inout Exchange) { sent?.dropAll(in: request) }

  /// Looks at the connection's certificate.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    IdentityFields.dropAll(in: request)
    sent?.dropAll(in: request)
    guard let certificate = exchange.certificate, let name = certificate.names.first ?? certificate.commonName else {
      return isOptional ? .next : .refuse(Refusal(ProblemCatalogue.certificateMissing))
    }
    guard names.isEmpty || names.contains(where: { Self.fits(name, $0) }) else { return Self.notAllowed }
    var parts = Identity.Parts()
    parts.subject = name
    let consumer = standsForConsumer ? services.keyRing.index(ofConsumer: name) : -1
    if standsForConsumer, consumer < 0 { return Self.notAllowed }
    exchange.identify(Identity(parts, services), consumer: consumer)
    if let sent {
      exchange.requestFields.append(sent.text)
      exchange.requestFields.append(": ")
      exchange.requestFields.append(safe: name)
      exchange.requestFields.append("\r\n")
    }
    guard let facts = services.facts else { return .next }
    return conclude(gate.judge(&exchange, services, facts))
  }

  /// The store has answered, or has not.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    conclude(gate.resume(&exchange, services))
  }

  private func conclude(_ finding: RevocationGate.Finding) -> Verdict {
    switch finding {
    case .clear: .next
    case .revoked: .refuse(Refusal(ProblemCatalogue.keyRevoked))
    case .decided(let verdict): verdict
    }
  }

  private static var notAllowed: Verdict { .refuse(Refusal(ProblemCatalogue.consumerNotAllowed)) }

  private static func fits(_ name: String, _ pattern: String) -> Bool {
    pattern.hasSuffix("*") ? name.hasPrefix(pattern.dropLast()) : name == pattern
  }
}
