import Core
import Crypto
import HTTP
import Pipeline

/// What all policies of bearer tokens have in common: where a request has its token, what the token must allow and be bound
/// to, and what becomes of the request once it is found good or not.
final class BearerRules: Sendable {
  /// Where the token is.
  let place: TokenPlace
  /// Whether requests without a token pass.
  let isOptional: Bool
  /// Who has failed too often.
  let failures: FailureGate

  private let forwards: Bool
  private let mustBeBound: Bool
  private let scopes: [String]
  private let sent: SentClaims
  private let proofs: ProofGate
  private let gate: RevocationGate
  private let challenge: BearerChallenge

  /// Reads the options.
  init(_ options: inout OptionReader) {
    place = TokenPlace(&options)
    isOptional = options.bool(
      "optional", default: false,
      "Whether requests without a token pass, as nobody. A wrong token is refused all the same.")
    scopes = options.stringList("scopes", "Scopes of which a token must have every one.")
    sent = SentClaims(&options)
    forwards = options.bool("forward", default: false, "Whether the upstream gets the token too.")
    mustBeBound = options.bool(
      "bound", default: false,
      "Whether a token must be bound to the client's certificate (RFC 8705) or key (RFC 9449). One that is bound is good with that "
        + "only, whatever this says.")
    failures = FailureGate(&options, perAddress: 100)
    proofs = options.section(
      "dpop", "How clients prove that they hold the key that a token is bound to (RFC 9449)."
    ) { ProofGate(&$0) }
    gate = RevocationGate(&options)
    challenge = BearerChallenge(scopes: scopes, wantsProof: proofs.isRequired)
    if scopes.contains(where: { !BearerChallenge.isScope($0) }) {
      options.fail("a scope has neither spaces nor quotation marks", at: "scopes", fix: "write one in each element")
    }
  }

  /// Drops every field by which an upstream might believe a client about who it is.
  func dropClaimed(in request: RequestHead) {
    IdentityFields.dropAll(in: request)
    sent.dropAll(in: request)
  }

  /// See ``CallerPolicy``.
  func dropClaims(of request: RequestHead, _ exchange: inout Exchange) {
    dropClaimed(in: request)
    if !forwards { place.strip(request, &exchange) }
  }

  // MARK: Tokens that are not good

  /// The request has no token.
  func missing(_ exchange: inout Exchange) -> Verdict {
    isOptional ? passAsNobody(&exchange) : refuse(&exchange, ProblemCatalogue.tokenMissing)
  }

  /// Lets a request pass about which nothing is known.
  func passAsNobody(_ exchange: inout Exchange) -> Verdict {
    exchange.offer(challenge: challenge.line(for: ProblemCatalogue.tokenMissing))
    return .next
  }

  /// Refuses, and says how to do better.
  @inline(never)
  func refuse(_ exchange: inout Exchange, _ problem: Problem) -> Verdict {
    if problem.status == 503 { return .refuse(Refusal(problem, retryAfterSeconds: 1)) }
    exchange.responseFields.append(challenge.line(for: problem))
    return .refuse(Refusal(problem))
  }

  /// Refuses, and notes that somebody has failed.
  func refuseFailure(_ exchange: inout Exchange, _ problem: Problem, _ services: Services) -> Verdict {
    exchange.responseFields.append(challenge.line(for: problem))
    return failures.refuse(Refusal(problem), &exchange, services)
  }

  // MARK: Good tokens

  /// What follows from a good token.
  func made(
    _ claims: TokenClaims, _ parts: Identity.Parts, _ mapping: ClaimsMapping, expires: WallTime, _ services: Services
  ) throws(TokenFault) -> VerifiedToken {
    let caller = try mapping.caller(of: claims, parts, services)
    return VerifiedToken(
      identity: caller.identity, consumer: caller.consumer, fields: sent.lines(of: claims.root),
      confirmation: claims.confirmation, expires: expires, keyChanges: services.issuers?.changes ?? 0)
  }

  /// Goes by a good token, which is this text in the field with this index; what was revoked of it is asked each time.
  func accept(
    _ token: VerifiedToken, _ text: RawSpan, _ exchange: inout Exchange, _ request: RequestHead, _ field: Int,
    _ services: Services
  ) -> Verdict {
    let saysBound = place.saysBound(field, of: request)
    guard isConfirmed(token, exchange.certificate, saysBound: saysBound) else {
      return refuse(&exchange, ProblemCatalogue.tokenUnconfirmed)
    }
    // RFC 9449 section 7.1: who could send it as any other token would need no proof.
    if case .key = token.confirmation, saysBound == false { return refuse(&exchange, ProblemCatalogue.proofMissing) }
    if !forwards { place.strip(request, &exchange) }
    exchange.identify(token.identity, consumer: token.consumer, token: TokenSpot(of: text, field: field, in: request))
    exchange.validUntil = token.expires
    if !token.fields.isEmpty { exchange.requestFields.append(token.fields) }
    guard case .key(let thumbprint) = token.confirmation else { return checkRevocations(&exchange, services) }
    let finding = proofs.judge(thumbprint, token: text, &exchange, request, services)
    if !forwards { ProofGate.strip(request) }
    return conclude(finding, &exchange, services)
  }

  /// Whatever was waited for beside the token itself has come, or has not.
  func resume(_ exchange: inout Exchange, _ services: Services) -> Verdict {
    switch exchange.awaited {
    case .failures: return failures.resume(&exchange, services)
    case .use:
      exchange.awaited = .nothing
      return conclude(proofs.resume(&exchange, services), &exchange, services)
    default: return conclude(gate.resume(&exchange, services), &exchange)
    }
  }

  private func isConfirmed(_ token: VerifiedToken, _ certificate: TLSPeer?, saysBound: Bool?) -> Bool {
    switch token.confirmation {
    case .none: !mustBeBound && !proofs.isRequired && saysBound != true
    case .certificate(let thumbprint): certificate?.thumbprint == thumbprint && !proofs.isRequired && saysBound != true
    case .key: true
    case .unknown: false
    }
  }

  private func conclude(_ finding: ProofGate.Finding, _ exchange: inout Exchange, _ services: Services) -> Verdict {
    switch finding {
    case .good: checkRevocations(&exchange, services)
    case .refused(let problem): refuse(&exchange, problem)
    case .waiting: .wait
    }
  }

  private func checkRevocations(_ exchange: inout Exchange, _ services: Services) -> Verdict {
    guard let facts = services.facts else { return checkScopes(&exchange) }
    return conclude(gate.judge(&exchange, services, facts), &exchange)
  }

  private func conclude(_ finding: RevocationGate.Finding, _ exchange: inout Exchange) -> Verdict {
    switch finding {
    case .clear: checkScopes(&exchange)
    case .revoked: refuse(&exchange, ProblemCatalogue.tokenRevoked)
    case .decided(let verdict): verdict
    }
  }

  private func checkScopes(_ exchange: inout Exchange) -> Verdict {
    if scopes.isEmpty { return .next }
    guard let identity = exchange.identity, scopes.allSatisfy(identity.scopes.contains) else {
      return refuse(&exchange, ProblemCatalogue.scopeInsufficient)
    }
    return .next
  }
}
