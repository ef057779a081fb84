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

  /// The policies that say who calls.
  private static var kinds: String {
    Registry.policies.filter { $0.phase == .identify && $0 != AnyOf.self }.map { $0.name }.joined(separator: ", ")
  }

  /// Ways that one policy has at most.
  private static let mostWays = 16

  private let ways: [any RequestHook]
  private let owners: [any CallerPolicy]
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
        way.fail("\"\(type)\" does not say who calls", at: "type", fix: "write one of \(Self.kinds)")
        way.skipRest()
        return nil
      }
      guard let step = Registry.make(type: type, options: &way) else { return nil }
      if step.shadowName != nil {
        way.fail("one way cannot be in shadow alone", at: "mode", fix: "put the whole any-of in shadow")
      }
      return step.policy as? any RequestHook
    }
    owners = ways.compactMap { $0 as? any CallerPolicy }
    isOptional = options.bool("optional", default: false, "Whether requests that show nothing pass, as nobody.")
    if ways.count > Self.mostWays {
      options.fail("there are more than \(Self.mostWays) ways", at: "policies", fix: "keep fewer")
    }
  }

  /// See ``KeySourceUser``.
  public var keySources: [KeySource] { ways.flatMap { ($0 as? any KeySourceUser)?.keySources ?? [] } }

  /// Its ways of one type.
  public func ways<Kind: RequestHook>(of type: Kind.Type) -> [Kind] { ways.compactMap { $0 as? Kind } }

  /// The names of their types.
  public var types: [String] { ways.compactMap { ($0 as? any Policy).map { Swift.type(of: $0).name } } }

  /// Tries each way in turn.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    exchange.heldRefusal = nil
    // Of the ways behind the one that knows the caller none is tried.
    for owner in owners { owner.dropClaims(of: request, &exchange) }
    return tryWays(from: 0, &exchange, request, services)
  }

  /// What one of the ways waited for has come. Where it still does not know who calls, and lets that pass, the others have
  /// their turn.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    let index = Int(exchange.alternative)
    let verdict = ways[index].onResume(&exchange, request, services)
    guard case .next = verdict, !exchange.isIdentified else { return verdict }
    return tryWays(from: index + 1, &exchange, request, services)
  }

  private func tryWays(
    from start: Int, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Verdict {
    var challenges: [UInt8] = []
    for index in start..<ways.count {
      let before = exchange.responseFieldsIfAny?.count ?? 0
      let verdict = ways[index].onRequest(&exchange, request, services)
      switch verdict {
      case .next: if exchange.isIdentified { return .next }
      case .refuse(let refusal) where Self.missing.contains(refusal.entry):
        exchange.heldRefusal = exchange.heldRefusal ?? refusal
        if let fields = exchange.responseFieldsIfAny, fields.count > before {
          challenges += fields.bytes.extracting(before..<fields.count).array
          fields.truncate(to: before)
        }
      case .wait, .gather:
        exchange.alternative = UInt8(index)
        if !challenges.isEmpty { exchange.offer(challenge: challenges) }
        return verdict
      case .refuse, .reply: return verdict
      }
    }
    if !challenges.isEmpty { exchange.offer(challenge: challenges) }
    guard let refusal = exchange.heldRefusal, !isOptional else { return .next }
    exchange.responseFields.append(exchange.challenges)
    return .refuse(refusal)
  }

  /// Refusals of requests that show nothing.
  private static let missing: [ProblemCatalogue.Entry] = [
    .keyMissing, .tokenMissing, .certificateMissing, .signatureMissing, .credentialsMissing, .loginRequired,
  ]
}
