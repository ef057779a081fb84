import Core
import HTTP
import Pipeline

/// Knows callers by the first of several ways of which a request shows something: an API key or a token, for example.
///
/// What is shown and wrong is refused, whatever else the request shows: who sends a revoked key does not pass by something
/// older beside it. Where nothing is shown the refusal is that of the first way, with the fields `WWW-Authenticate` of all.
/// Several policies that a route names side by side, by contrast, must all be satisfied.
public final class AnyOf: Policy, RequestHook, KeySourceUser {
  /// The name in the configuration.
  public static let name = "any-of"
  /// It says who it is.
  public static let phase = Phase.identify
  /// What it does.
  public static let summary = "Knows callers by the first of several ways of which a request shows something."

  /// Ways that one policy has at most.
  private static let mostWays = 16

  private let ways: [any RequestHook]
  private let isOptional: Bool

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    let instance = options.instanceName
    ways = options.objects(
      "policies", isRequired: true, definition: "policy",
      "Policies that say who calls, in place, in the order in which they are tried."
    ) { way in
      let type = way.string("type", "Which policy it is.")
      way.instanceName = "\(instance)/\(type)"
      guard let known = Registry.type(named: type), known.phase == .identify, known != AnyOf.self else {
        way.fail("\"\(type)\" does not say who calls", at: "type", fix: "write api-key, jwt or mtls")
        way.skipRest()
        return nil
      }
      guard let step = Registry.make(type: type, options: &way) else { return nil }
      if step.shadowName != nil {
        way.fail("one way cannot be in shadow alone", at: "mode", fix: "put the whole any-of in shadow")
      }
      return step.policy as? any RequestHook
    }
    isOptional = options.bool("optional", default: false, "Whether requests that show nothing pass, as nobody.")
    if ways.count > Self.mostWays {
      options.fail("there are more than \(Self.mostWays) ways", at: "policies", fix: "keep fewer")
    }
  }

  /// See ``KeySourceUser``.
  public var keySources: [KeySource] { ways.flatMap { ($0 as? any KeySourceUser)?.keySources ?? [] } }

  /// Its ways of one type.
  public func ways<Kind: RequestHook>(of type: Kind.Type) -> [Kind] { ways.compactMap { $0 as? Kind } }

  /// Tries each way in turn.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    var challenges: [UInt8] = []
    var first: Verdict?
    for (index, way) in ways.enumerated() {
      let before = exchange.responseFieldsIfAny?.count ?? 0
      let verdict = way.onRequest(&exchange, request, services)
      switch verdict {
      case .next: if exchange.isIdentified { return .next }
      case .refuse(let refusal) where Self.missing.contains(refusal.entry):
        first = first ?? verdict
        if let fields = exchange.responseFieldsIfAny, fields.count > before {
          challenges += fields.bytes.extracting(before..<fields.count).array
          fields.truncate(to: before)
        }
      case .wait, .gather:
        exchange.alternative = UInt8(index)
        return verdict
      case .refuse, .reply: return verdict
      }
    }
    guard let first else { return .next }
    if isOptional {
      exchange.offer(challenge: challenges)
      return .next
    }
    exchange.responseFields.append(challenges)
    return first
  }

  /// What one of the ways waited for has come.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    ways[Int(exchange.alternative)].onResume(&exchange, request, services)
  }

  /// Refusals of requests that show nothing.
  private static let missing: [ProblemCatalogue.Entry] = [.keyMissing, .tokenMissing, .certificateMissing]
}
