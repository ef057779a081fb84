import Core
import Crypto
import HTTP
import Pipeline

/// Knows consumers by a key that they send: in a field, in the query, or as a bearer token.
///
/// The key is hashed (SHA-256) and its digest looked up in the ``KeyRing``, so that no secret lies in memory or in the
/// configuration and no duration tells how near a guess is. The key never reaches the upstream, nor does any field by
/// which an upstream might believe a client about who it is.
///
/// Refuses with 401 `api-key-missing`, `api-key-invalid`, `api-key-mistyped` or `key-revoked`, 400 `api-key-ambiguous` where
/// more than one key was sent, 403 `consumer-not-allowed`. Needs nothing but memory; only what was revoked lately may be
/// unknown to a node that cannot reach the store, and `onStaleRevocations` says what happens then (503
/// `revocations-stale`).
public final class ApiKey: Policy, CallerPolicy {
  /// The name in the configuration.
  public static let name = "api-key"
  /// It says who it is.
  public static let phase = Phase.identify
  /// What it does.
  public static let summary = "Knows consumers by an API key, and keeps the key from the upstream."

  /// The longest key that is looked at, in bytes; what is longer is not valid.
  static let keyBytes = 512

  private let field: FieldSelector?
  /// The identity of ``field`` where heads know it: found without a look at the name.
  private let knownField: FieldName
  /// Whether ``knownField`` is the only place.
  private let isOneKnownField: Bool
  private let parameter: [UInt8]
  private let acceptsBearer: Bool
  private let isOptional: Bool
  private let groups: [String]
  private let sendsIdentity: Bool
  private let gate: RevocationGate
  /// Whether knowing the consumer's index is not enough.
  private let mustLookCloser: Bool
  /// The lines `WWW-Authenticate: …` for a missing and for a wrong key.
  private let missingChallenge: [UInt8]
  private let invalidChallenge: [UInt8]

  /// Where a key was found.
  private enum Source {
    case field(Int)
    case bearer(Int)
    case query(QueryParameter)
  }

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    let named = options.optionalValue(
      "header", FieldSelector.format, "The field that holds the key; X-API-Key if no place is given at all."
    ) { FieldSelector($0) }
    let query = options.optionalString("query", "The query parameter that holds the key.") ?? ""
    acceptsBearer = options.bool("bearer", default: false, "Whether the key may come as Authorization: Bearer.")
    isOptional = options.bool(
      "optional", default: false, "Whether requests without a key pass, as nobody. A wrong key is refused all the same."
    )
    groups = options.stringList("groups", "Only consumers in one of these groups pass; none: all consumers do.")
    sendsIdentity = options.bool(
      "identity", default: false,
      "Whether the upstream learns the consumer: X-Consumer-Id, -Tenant, -Groups and -Key.")
    gate = RevocationGate(&options)
    parameter = Array(query.utf8)
    if parameter.contains(where: { !Self.isPlain($0) }) {
      options.fail(
        "\"\(query)\" cannot be found in a query", at: "query", fix: "use letters, digits, \"-\", \"_\", \".\"")
    }
    let hasNone = named == nil && parameter.isEmpty && !acceptsBearer
    let selected = named ?? (hasNone ? FieldSelector("X-API-Key") : nil)
    if acceptsBearer && selected?.known == .authorization {
      options.fail("Authorization holds either the bare key or a bearer token", at: "header", fix: "remove it")
    }
    field = selected
    knownField = selected?.known ?? .other
    isOneKnownField = knownField != .other && !acceptsBearer && parameter.isEmpty
    mustLookCloser = !groups.isEmpty || sendsIdentity
    let place = selected.map { String(decoding: $0.text, as: UTF8.self) } ?? query
    let challenge = acceptsBearer ? "Bearer realm=\"sluice\"" : "ApiKey realm=\"sluice\", name=\"\(place)\""
    missingChallenge = Array("WWW-Authenticate: \(challenge)\r\n".utf8)
    invalidChallenge = Array(
      "WWW-Authenticate: \(challenge)\(acceptsBearer ? ", error=\"invalid_token\"" : "")\r\n".utf8)
  }

  private static func isPlain(_ byte: UInt8) -> Bool {
    (byte | 32) >= 97 && (byte | 32) <= 122 || byte >= 48 && byte <= 57 || byte == 45 || byte == 46 || byte == 95
  }

  /// See ``CallerPolicy``. What stands in `Authorization` is left alone: it may be meant for the other policy.
  public func dropClaims(of request: RequestHead, _ exchange: inout Exchange) {
    IdentityFields.dropAll(in: request)
    if let field, field.known != .authorization { field.dropAll(in: request) }
    if !parameter.isEmpty, !request.query.isEmpty, let found = findParameter(request) {
      drop(found, of: request, &exchange)
    }
  }

  /// Finds the key and its holder, and takes the key out of what is sent on.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    IdentityFields.dropAll(in: request)
    if isOneKnownField, let index = request.firstIndex(of: knownField) {
      if request.nextIndex(of: knownField, after: index) != nil {
        return .refuse(Refusal(ProblemCatalogue.keyAmbiguous))
      }
      request.drop(index)
      return judge(find(request.value(of: index), services), &exchange, services)
    }
    return search(&exchange, request, services)
  }

  /// Looks at every place where a key may be.
  @inline(never)
  private func search(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    var source: Source?
    var isAmbiguous = false
    if let field, let index = field.firstIndex(in: request) {
      source = .field(index)
      isAmbiguous = field.nextIndex(in: request, after: index) != nil
    }
    if acceptsBearer, let index = request.firstIndex(of: .authorization), request.value(of: index).isBearer {
      isAmbiguous = isAmbiguous || source != nil || request.nextIndex(of: .authorization, after: index) != nil
      source = .bearer(index)
    }
    if !parameter.isEmpty, !request.query.isEmpty, let found = findParameter(request) {
      isAmbiguous = isAmbiguous || source != nil || found.isRepeated
      source = .query(found)
    }
    if isAmbiguous { return .refuse(Refusal(ProblemCatalogue.keyAmbiguous)) }
    guard let source else {
      if isOptional {
        exchange.offer(challenge: missingChallenge)
        return .next
      }
      exchange.responseFields.append(missingChallenge)
      return .refuse(Refusal(ProblemCatalogue.keyMissing))
    }
    return judge(find(source, &exchange, request, services), &exchange, services)
  }

  /// Notes who the caller is, and whether that is enough.
  @inline(__always)
  private func judge(_ match: KeyMatch, _ exchange: inout Exchange, _ services: Services) -> Verdict {
    guard case .valid(let consumer, let key) = match else { return judgeOther(match, &exchange, services) }
    exchange.consumer = consumer
    exchange.key = key
    if services.facts != nil { return checkFacts(&exchange, services) }
    return mustLookCloser ? accept(&exchange, services) : .next
  }

  /// A key that the cluster has made, or none at all.
  @inline(never)
  private func judgeOther(_ match: KeyMatch, _ exchange: inout Exchange, _ services: Services) -> Verdict {
    guard case .issued(let consumer, let key) = match else {
      return refuse(&exchange, match == .mistyped ? ProblemCatalogue.keyMistyped : ProblemCatalogue.keyInvalid)
    }
    exchange.consumer = consumer
    exchange.key = Exchange.issuedKeyMark
    exchange.issuedKey = key.number
    return checkFacts(&exchange, services)
  }

  @inline(never)
  private func refuse(_ exchange: inout Exchange, _ problem: Problem) -> Verdict {
    exchange.responseFields.append(invalidChallenge)
    return .refuse(Refusal(problem))
  }

  /// Whether the caller is revoked, as far as the node knows, and what to do where it may not know.
  @inline(never)
  private func checkFacts(_ exchange: inout Exchange, _ services: Services) -> Verdict {
    guard let facts = services.facts else { return .next }
    return conclude(gate.judge(&exchange, services, facts), &exchange, services)
  }

  /// The store has answered, or has not: see ``StaleRule/ask``.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    conclude(gate.resume(&exchange, services), &exchange, services)
  }

  @inline(__always)
  private func conclude(
    _ finding: RevocationGate.Finding, _ exchange: inout Exchange, _ services: Services
  ) -> Verdict {
    switch finding {
    case .clear: mustLookCloser ? accept(&exchange, services) : .next
    case .revoked: refuse(&exchange, ProblemCatalogue.keyRevoked)
    case .decided(let verdict): verdict
    }
  }

  private func findParameter(_ request: RequestHead) -> QueryParameter? {
    let name = parameter
    let query = request.bytes(request.query)
    return QueryParameter.find(RawSpan(name), in: query)
  }

  private func drop(_ parameter: QueryParameter, of request: RequestHead, _ exchange: inout Exchange) {
    let query = request.bytes(request.query)
    let changed = exchange.changeQuery()
    changed.append(query.extracting(0..<parameter.removal.lowerBound))
    changed.append(query.extracting(parameter.removal.upperBound..<query.byteCount))
  }

  /// Looks the key up, and strips it.
  private func find(
    _ source: Source, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> KeyMatch {
    switch source {
    case .field(let index):
      request.drop(index)
      return find(request.value(of: index), services)
    case .bearer(let index):
      request.drop(index)
      let value = request.value(of: index)
      return find(value.extracting(value.tokenStart..<value.byteCount), services)
    case .query(let parameter):
      drop(parameter, of: request, &exchange)
      let value = request.bytes(request.query).extracting(parameter.value)
      guard value.holdsEscapes else { return find(value, services) }
      guard let decoded = QueryParameter.decoded(value) else { return .unknown }
      return find(RawSpan(decoded), services)
    }
  }

  @inline(__always)
  private func find(_ key: RawSpan, _ services: Services) -> KeyMatch {
    if key.byteCount == 0 || key.byteCount > Self.keyBytes { return .unknown }
    return services.holder(of: key)
  }

  /// Whether it lets a consumer pass who shows a key.
  public func admits(_ consumer: Consumer) -> Bool {
    groups.isEmpty || consumer.groups.contains(where: groups.contains)
  }

  @inline(never)
  private func accept(_ exchange: inout Exchange, _ services: Services) -> Verdict {
    let consumer = services.consumer(exchange.consumer)
    if !admits(consumer) {
      return .refuse(Refusal(ProblemCatalogue.consumerNotAllowed))
    }
    guard sendsIdentity else { return .next }
    let fields = exchange.requestFields
    fields.appendField("X-Consumer-Id", safe: consumer.id)
    if let tenant = consumer.tenant { fields.appendField("X-Consumer-Tenant", safe: tenant) }
    if !consumer.groups.isEmpty {
      fields.appendField("X-Consumer-Groups", safe: consumer.groups.joined(separator: ","))
    }
    let key = services.keyName(exchange.key, of: exchange.consumer, issued: exchange.issuedKey)
    if let key { fields.appendField("X-Consumer-Key", safe: key) }
    return .next
  }
}

extension RawSpan {
  fileprivate var holdsEscapes: Bool {
    for offset in 0..<byteCount where self[byte: offset] == 37 || self[byte: offset] == 43 { return true }
    return false
  }
}
