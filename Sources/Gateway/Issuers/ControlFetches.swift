// All that a node fetches by itself, on the control loop: who wants it, and the pool that does it.

import Core
import Pipeline

/// What the control loop is told about fetches.
enum FetchMessage: Sendable {
  /// A loop wants something.
  case begin(FetchOrder, loop: Int)
  /// A loop misses keys of an issuer.
  case ask(KeySource)
  /// What a name stands for, by the attempt that it is for; nil where that could not be found out.
  case resolved(UInt32, [IPAddress]?)
}

/// What loops are told about fetches.
public enum FetchNews: Sendable {
  /// What became of an order of this loop.
  case outcome(FetchOutcome, order: UInt64)
  /// How the keys of an issuer stand.
  case issuer(IssuerNews)
}

/// The fetches of a node.
struct ControlFetches {
  /// What authorities say of certificates.
  var staples: StapleKeeper
  /// Keys of issuers.
  var issuers: IssuerKeeper
  private(set) var pool: FetchPool

  init(world: any World) {
    staples = StapleKeeper(world: world)
    issuers = IssuerKeeper(world: world)
    pool = FetchPool(world: world)
  }

  /// What a fetch needs of others.
  struct Surroundings {
    /// Tells the operator something.
    let report: (String) -> Void
    /// Has a name looked up: the answer comes as ``FetchMessage/resolved(_:_:)``.
    let look: (_ host: String, _ attempt: UInt32) -> Void
    /// Tells one loop something, or all of them.
    let tell: (_ loop: Int?, FetchNews) -> Void
  }

  /// Takes a message.
  mutating func receive(_ message: FetchMessage) {
    switch message {
    case .begin(let order, let loop): pool.beginOrRefuse(order.request, for: .loop(loop, order: order.number))
    case .ask(let source): issuers.ask(source)
    case .resolved(let attempt, let addresses): pool.resolved(attempt, addresses)
    }
  }

  /// An event of a fetch's connection.
  mutating func ready(_ token: Token) { pool.ready(token) }

  /// Does what is due, and hands out what there is; returns when there is more.
  mutating func advance(_ outside: Surroundings) -> Instant {
    while true {
      let outcomes = pool.takeOutcomes()
      for (owner, outcome) in outcomes { hand(outcome, to: owner, outside) }
      var next = staples.advance(report: outside.report) { pool.begin($0, for: .staple($1)) }
      next = min(next, issuers.advance(report: outside.report) { pool.begin($0, for: .issuer($1)) })
      next = min(next, pool.advance(look: outside.look))
      for news in issuers.takeNews() { outside.tell(nil, .issuer(news)) }
      if !pool.hasOutcomes { return next }
    }
  }

  private mutating func hand(_ outcome: FetchOutcome, to owner: FetchOwner, _ outside: Surroundings) {
    switch owner {
    case .loop(let loop, let order): outside.tell(loop, .outcome(outcome, order: order))
    case .staple(let question): staples.answered(question, outcome, report: outside.report)
    case .issuer(let question):
      issuers.answered(question, outcome, report: outside.report) { pool.begin($0, for: .issuer($1)) }
    }
  }
}
