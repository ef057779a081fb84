import Core
import HTTP
import Pipeline

/// Slows down and then shuts out those who fail to prove who they are: addresses, and names that somebody tries secrets for.
///
/// Each loop knows for itself whom to listen to no more, which costs a look into a table. Every failure is also counted in the
/// store that nodes share, so that who goes from node to node gets no further: where the count is full, the node that hears of
/// it shuts the address or name out for ``FailureBook/blocked``. A failure waits for that answer, nothing else does; where the
/// store is away, each node goes by its share of the bound.
struct FailureGate: Sendable {
  private let limit: Int64
  private let addresses: LimitRule
  private let names: LimitRule
  private let mostOfName: Int64

  /// Identities of the counters, the same for all policies: to try a password here and a token there is one attempt more.
  private static let addressKey = QuotaKey(configured: "failures", "address")
  private static let nameKey = QuotaKey(configured: "failures", "name")
  private static let terms = LimitTerms(mode: .exact, outage: .local)

  /// The gate of a policy whose tries cost little (tokens with many bits), or are guesses.
  init(_ options: inout OptionReader, perAddress: Int64, perName: Int64 = 10) {
    limit = options.integer(
      "failuresPerAddress", in: 1...1_000_000, default: perAddress,
      "How often an address may fail in ten seconds, in the whole cluster: with malformed or wrong credentials, not with ones that "
        + "are over. Beyond, it is not listened to for a minute, but for what is remembered as good.")
    mostOfName = perName
    addresses = .rate(intervalNanoseconds: FailureBook.span / limit, burst: limit)
    names = .rate(intervalNanoseconds: FailureBook.span / perName, burst: perName)
  }

  /// Whether the client's address has failed too often; where it says what it is called, that name too.
  func isShut(_ exchange: borrowing Exchange, name: RawSpan? = nil, _ services: Services) -> Bool {
    let now = services.world.now
    if services.failures.isExhausted(exchange.client, limit: limit, now: now) { return true }
    guard let name, services.failures.hasNames else { return false }
    return services.failures.isBlocked(services.key(ofChosen: name), now: now)
  }

  /// What somebody hears who is not listened to.
  static var refusal: Refusal { Refusal(ProblemCatalogue.failuresLimited, retryAfterSeconds: 1) }

  /// Counts a failure of the client's address beforehand, on this loop, where finding out takes long: who leaves meanwhile
  /// has failed. ``settle(_:_:)`` takes it back.
  func presume(_ exchange: borrowing Exchange, _ services: Services) {
    if !exchange.isShadow { services.failures.note(exchange.client, limit: limit, now: services.world.now) }
  }

  /// It has been found out.
  func settle(_ exchange: borrowing Exchange, _ services: Services) {
    if !exchange.isShadow { services.failures.forgive(exchange.client, limit: limit) }
  }

  /// Notes a failure that is to be answered with `refusal`, of somebody who perhaps calls itself `name`; returns the answer, or
  /// that the store is asked first: then ``resume(_:_:)`` has it.
  func refuse(_ refusal: Refusal, name: RawSpan? = nil, _ exchange: inout Exchange, _ services: Services) -> Verdict {
    // Who only watches shuts nobody out.
    if exchange.isShadow { return .refuse(refusal) }
    let now = services.world.now
    services.failures.note(exchange.client, limit: limit, now: now)
    let civil = services.civilTime(now: now)
    let period = CivilPeriod(start: civil, end: civil)
    var key: QuotaKey?
    if let name { key = services.key(ofChosen: name) }
    exchange.failure = Exchange.Failure(refusal: refusal, name: key)
    let parked = ParkedQuestion()
    let address = services.key(ofNetwork: exchange.client)
    parked.question.append(
      QuotaLevel(
        key: Self.addressKey.combined(with: address), rule: addresses, cost: 1, period: period, terms: Self.terms))
    if let key {
      parked.question.append(
        QuotaLevel(key: Self.nameKey.combined(with: key), rule: names, cost: 1, period: period, terms: Self.terms))
    }
    exchange.parkedQuestion = parked
    services.quota.decide(&parked.question, ticket: exchange.ticket, now: now, civil: civil)
    return conclude(parked, &exchange, services)
  }

  /// The store has answered, or has not.
  func resume(_ exchange: inout Exchange, _ services: Services) -> Verdict {
    guard let parked = exchange.parkedQuestion else { return .refuse(Self.refusal) }
    services.quota.collect(&parked.question, ticket: exchange.ticket)
    return conclude(parked, &exchange, services)
  }

  private func conclude(_ parked: ParkedQuestion, _ exchange: inout Exchange, _ services: Services) -> Verdict {
    if parked.question.decision == .waiting {
      exchange.awaited = .failures
      return .wait
    }
    exchange.awaited = .nothing
    exchange.parkedQuestion = nil
    guard let failure = exchange.failure else { return .refuse(Self.refusal) }
    if parked.question.decision == .denied {
      let now = services.world.now
      if parked.question[0].isDenied { services.failures.block(exchange.client, now: now) }
      if let name = failure.name, parked.question[1].isDenied { services.failures.block(name, now: now) }
    }
    exchange.failure = nil
    return .refuse(failure.refusal)
  }
}
