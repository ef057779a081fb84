import Core
import Crypto
import HTTP
import Pipeline

/// Knows callers by a signature of the request itself (RFC 9421, HTTP Message Signatures): with a secret that both share, or
/// with a key of which the gateway has the public half.
///
/// The key settles how a signature is verified, not the signature. It must cover `components`, say when it was made, and
/// name its key; whatever a signature says and this policy does not understand is refused, never passed over. Content is
/// checked against `Content-Digest` (RFC 9530), which the signature must cover: first the signature, then the content, so
/// that nobody unknown has anything read.
///
/// A signature is good once in the cluster: its nonce, or where it has none all that it signs, is remembered as long as it
/// could be good. What is remembered is not the signature's own bytes: one of ECDSA can be turned into another one of the
/// same text by anybody. Two requests that are alike, signed in the same second without nonces, are therefore one.
///
/// Fields that are signed reach the upstream unchanged, but for those that only the gateway may set; the signature does not
/// reach it unless `forward` says so. Refuses with 401 `signature-missing`, `signature-invalid`, `signature-incomplete`,
/// `signature-expired`, `signature-replayed` or `key-revoked`, 400 `digest-mismatch`, 413 `body-too-large`, 429
/// `too-many-failures`, 403 `consumer-not-allowed`, 503 `replay-unknown` where the store cannot say whether a signature
/// was used: it fails closed.
public final class MessageSignature: Policy, CallerPolicy {
  /// The name in the configuration.
  public static let name = "hmac"
  /// It says who it is.
  public static let phase = Phase.identify
  /// What it does.
  public static let summary =
    "Knows callers by signatures of their requests (RFC 9421), each good once, and checks the content."

  /// Bytes of content that may be gathered at most.
  private static let largestBody: Int64 = 64 << 20

  private let keys: [String: SignatureKey]
  private let rules: SignatureRules
  private let once: OnceGuard?
  private let isOptional: Bool
  private let forwards: Bool
  private let scheme: String?
  private let bodyLimit: Int
  private let failures: FailureGate
  private let gate: RevocationGate
  private let challenge: [UInt8]
  private static let fields = ["signature", "signature-input"].compactMap { FieldSelector($0) }

  /// How a client's scheme may be known beforehand.
  private enum Scheme: String, CaseIterable { case http, https }

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    let keys = options.objects("keys", isRequired: true, "Whose signatures are good.") { SignatureKey(&$0) }
    rules = SignatureRules(&options)
    let isReplayRefused = options.bool(
      "replay", default: true, "Whether a signature that was used before, on any node, is refused.")
    isOptional = options.bool(
      "optional", default: false,
      "Whether requests without a signature pass, as nobody. A wrong signature is refused all the same.")
    forwards = options.bool("forward", default: false, "Whether the upstream gets the signature too.")
    let scheme = options.optionalChoice(
      "scheme", as: Scheme.self,
      "The scheme that clients use, where something in front of the gateway takes TLS off; by default the connection's."
    )
    self.scheme = scheme?.rawValue
    bodyLimit = Int(
      options.size(
        "bodyLimit", default: 1 << 20, in: 0...Self.largestBody,
        "The largest content that is checked against its digest; it is held in memory. A larger one is refused."))
    failures = FailureGate(&options, perAddress: 100)
    let realm = options.string("realm", default: "sluice", "What the field WWW-Authenticate calls the protected space.")
    gate = RevocationGate(&options)
    once = isReplayRefused ? OnceGuard(purpose: rules.purpose, lifetimeSeconds: rules.lifetimeSeconds) : nil
    challenge = Array(
      "WWW-Authenticate: Signature realm=\"\(realm)\"\r\nAccept-Signature: sig=\(rules.wanted)\r\n".utf8)
    self.keys = Dictionary(keys.map { ($0.id, $0) }) { first, _ in first }
    if let index = keys.indices.first(where: { index in keys[..<index].contains { $0.id == keys[index].id } }) {
      options.fail("this key is there twice", at: "keys", element: index, fix: "give it another id")
    }
    if !RealmText.isValid(realm) {
      options.fail("this cannot be quoted in a field", at: "realm", fix: "use printable ASCII without \" and \\")
    }
  }

  /// See ``CallerPolicy``.
  public func dropClaims(of request: RequestHead, _ exchange: inout Exchange) {
    if !forwards { for field in Self.fields { field.dropAll(in: request) } }
  }

  /// Finds a good signature, and takes all of them out of what is sent on.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    IdentityFields.dropAll(in: request)
    dropClaims(of: request, &exchange)
    guard let inputs = read(request) else { return refuse(&exchange, ProblemCatalogue.signatureInvalid) }
    if inputs.isEmpty {
      guard isOptional else { return refuse(&exchange, ProblemCatalogue.signatureMissing) }
      exchange.offer(challenge: challenge)
      return .next
    }
    if failures.isShut(exchange, services) { return .refuse(FailureGate.refusal) }
    var reason: Problem?
    for (index, input) in inputs.enumerated() {
      let problem = judge(input, exchange, request, services)
      if problem == nil {
        exchange.proof = UInt8(index)
        return checkContent(input, &exchange, request, services)
      }
      reason = reason ?? problem
    }
    let problem = reason ?? ProblemCatalogue.signatureInvalid
    return problem.entry == .signatureInvalid ? fail(&exchange, problem, services) : refuse(&exchange, problem)
  }

  /// What was waited for has come: the body, whether the signature is used for the first time, or whether its caller is
  /// revoked.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    if exchange.awaited == .failures { return failures.resume(&exchange, services) }
    let awaited = exchange.awaited
    exchange.awaited = .nothing
    guard awaited == .body || awaited == .use else {
      return conclude(gate.resume(&exchange, services), &exchange)
    }
    // The head is the same as before, and so is what is read of it.
    guard let inputs = read(request), inputs.indices.contains(Int(exchange.proof)) else {
      return refuse(&exchange, ProblemCatalogue.signatureInvalid)
    }
    let input = inputs[Int(exchange.proof)]
    if awaited == .use { return conclude(once?.resume(&exchange, services) ?? .first, input, &exchange, services) }
    // Reading the body has taken its time: what is over by now could be used once more than its use is remembered.
    if let problem = rules.problem(with: input, request, at: services.world.wallTime) {
      return refuse(&exchange, problem)
    }
    let body = exchange.gatheredBody?.array ?? []
    return checkDigest(RawSpan(body), input, &exchange, request, services)
  }

  // MARK: The signature

  /// The signatures of a request that may be good, none where it has none; nil for what is malformed.
  private func read(_ request: RequestHead) -> [SignatureInput]? {
    let (inputs, signatures) = (request.lines(named: "signature-input"), request.lines(named: "signature"))
    if inputs.isEmpty, signatures.isEmpty { return [] }
    let separator = Array(", ".utf8)
    return try? SignatureInput.read(
      Array(inputs.joined(separator: separator)), Array(signatures.joined(separator: separator)), label: rules.label,
      tag: rules.tag)
  }

  /// What is wrong with a signature, nil where it is good. What costs little comes first.
  private func judge(
    _ input: SignatureInput, _ exchange: borrowing Exchange, _ request: RequestHead, _ services: Services
  ) -> Problem? {
    guard let key = keys[input.keyID], input.algorithm == nil || input.algorithm == key.algorithm.rawValue else {
      return ProblemCatalogue.signatureInvalid
    }
    if let problem = rules.problem(with: input, request, at: services.world.wallTime) { return problem }
    guard let base = base(exchange, request).text(of: input), key.verifies(base, input.signature) else {
      return ProblemCatalogue.signatureInvalid
    }
    return nil
  }

  private func base(_ exchange: borrowing Exchange, _ request: RequestHead) -> SignatureBase {
    SignatureBase(request: request, scheme: scheme ?? (exchange.isSecure ? "https" : "http"))
  }

  // MARK: The content

  private func checkContent(
    _ input: SignatureInput, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Verdict {
    guard input.coversContent else { return use(input, &exchange, request, services) }
    guard request.hasBody else {
      let nothing: [UInt8] = []
      return checkDigest(RawSpan(nothing), input, &exchange, request, services)
    }
    exchange.awaited = .body
    exchange.gatherLimit = bodyLimit
    return .gather
  }

  private func checkDigest(
    _ content: RawSpan, _ input: SignatureInput, _ exchange: inout Exchange, _ request: RequestHead,
    _ services: Services
  ) -> Verdict {
    let lines = request.lines(named: ContentDigest.name).joined(separator: Array(", ".utf8))
    guard let digest = ContentDigest(Array(lines)), digest.matches(content) else {
      return fail(&exchange, ProblemCatalogue.digestMismatch, services)
    }
    return use(input, &exchange, request, services)
  }

  // MARK: Replays

  /// Uses the signature: last, so that whoever has seen one cannot use it up with other content.
  private func use(
    _ input: SignatureInput, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Verdict {
    guard let once else { return accept(input, &exchange, services) }
    var name = Array(input.keyID.utf8)
    if let nonce = input.nonce {
      name += [0] + Array(nonce.utf8)
    } else {
      name += [1] + (base(exchange, request).text(of: input) ?? [])
    }
    return conclude(once.use(RawSpan(name), &exchange, services), input, &exchange, services)
  }

  private func conclude(
    _ finding: OnceGuard.Finding, _ input: SignatureInput, _ exchange: inout Exchange, _ services: Services
  ) -> Verdict {
    switch finding {
    case .first: return accept(input, &exchange, services)
    case .again: return refuse(&exchange, ProblemCatalogue.signatureReplayed)
    case .waiting:
      exchange.awaited = .use
      return .wait
    case .unknown: return .refuse(Refusal(ProblemCatalogue.replayUnknown, retryAfterSeconds: 1))
    }
  }

  // MARK: The caller

  private func accept(_ input: SignatureInput, _ exchange: inout Exchange, _ services: Services) -> Verdict {
    guard let key = keys[input.keyID] else { return refuse(&exchange, ProblemCatalogue.signatureInvalid) }
    var consumer: Int32 = -1
    if let name = key.consumer {
      consumer = services.keyRing.index(ofConsumer: name)
      guard consumer >= 0 else { return .refuse(Refusal(ProblemCatalogue.consumerNotAllowed)) }
    }
    var parts = Identity.Parts()
    (parts.subject, parts.signingKey) = (key.consumer ?? key.id, key.id)
    exchange.identify(Identity(parts, services), consumer: consumer)
    guard let facts = services.facts else { return .next }
    return conclude(gate.judge(&exchange, services, facts), &exchange)
  }

  private func conclude(_ finding: RevocationGate.Finding, _ exchange: inout Exchange) -> Verdict {
    switch finding {
    case .clear: .next
    case .revoked: refuse(&exchange, ProblemCatalogue.keyRevoked)
    case .decided(let verdict): verdict
    }
  }

  /// Refuses, and counts that.
  private func fail(_ exchange: inout Exchange, _ problem: Problem, _ services: Services) -> Verdict {
    let verdict = refuse(&exchange, problem)
    guard case .refuse(let refusal) = verdict else { return verdict }
    return failures.refuse(refusal, &exchange, services)
  }

  @inline(never)
  private func refuse(_ exchange: inout Exchange, _ problem: Problem) -> Verdict {
    if problem.status == 401 { exchange.responseFields.append(challenge) }
    return .refuse(Refusal(problem))
  }
}

extension RequestHead {
  /// Whether it comes with content.
  var hasBody: Bool {
    switch framing {
    case .none, .length(0): false
    case .length, .chunked, .untilClose: true
    }
  }
}

/// What may stand between quotation marks in `WWW-Authenticate`.
enum RealmText {
  static func isValid(_ text: String) -> Bool {
    text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
  }
}
