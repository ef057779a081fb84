// Requests that a policy has asked to wait. The loop goes on; the exchange keeps its head in its own buffer.

import Core
import HTTP
import Pipeline

extension RequestFlow {
  /// How long a policy may keep a request waiting, in nanoseconds: far beyond what any of them needs, so that one that
  /// forgets an exchange cannot leak it.
  private static var longestPark: Int64 { 5_000_000_000 }

  /// Puts an exchange aside until its ticket is called.
  mutating func park(_ exchange: Int32) {
    exchanges[exchange].stage = .parked
    keepDropped(exchange)
    let client = exchanges[exchange].client
    let deadline = loop.now.advanced(byNanoseconds: Self.longestPark)
    exchanges[exchange].totalDeadline = min(exchanges[exchange].totalDeadline, deadline)
    setDeadline(client: client, after: Self.longestPark)
  }

  /// The loop's head is about to be used for others; what policies and the flow have struck out of it is not in the copy of
  /// its bytes.
  mutating func keepDropped(_ exchange: Int32) {
    exchanges[exchange].droppedFields = (0..<request.fieldCount).filter { request.field($0).isDropped }
  }

  /// Something has been fetched: whoever waited for it goes on.
  mutating func take(_ news: FetchNews) {
    guard let fetches else { return }
    switch news {
    case .outcome(let outcome, let order): fetches.desk.take(outcome, of: order)
    case .issuer(let news): fetches.issuers.take(news)
    }
    while let ticket = fetches.desk.nextCalled() { resume(ticket: ticket) }
    while let ticket = fetches.issuers.nextCalled() { resume(ticket: ticket) }
  }

  /// A password was checked: whoever waited for that goes on.
  mutating func take(password number: UInt64, isRight: Bool) {
    guard let passwords = fetches?.passwords else { return }
    passwords.take(isRight, of: number)
    while let ticket = passwords.nextCalled() { resume(ticket: ticket) }
  }

  /// What was wanted of a record is done, or is not: whoever waited for that goes on.
  mutating func take(record outcome: RecordOutcome, of number: UInt64) {
    guard let records = fetches?.records else { return }
    records.take(outcome, of: number)
    while let ticket = records.nextCalled() { resume(ticket: ticket) }
  }

  /// What an exchange waited for has come: its chain goes on behind the policy that waited. Does nothing where the
  /// exchange has ended in the meantime.
  mutating func resume(ticket: UInt64) {
    let exchange = Int32(truncatingIfNeeded: ticket)
    if exchange < 0 { return resumeInquiry(ticket) }
    guard exchanges.touchedIndexes.contains(exchange), exchanges[exchange].stage == .parked,
      exchanges[exchange].exchange.ticket == ticket, let configuration = exchanges[exchange].configuration,
      let route = exchanges[exchange].route
    else { return }
    // The loop's own head has been used for other requests since: read it again from the exchange's copy.
    let head = exchanges[exchange].exchange.head
    // Under the limits of its own configuration: a reload may have lowered them.
    let headLimits = configuration.with { FlowLimits($0.blueprint.node).head }
    guard case .complete = request.parse(head, limits: headLimits) else { return abandon(exchange) }
    for index in exchanges[exchange].droppedFields { request.drop(index) }
    exchanges[exchange].droppedFields = []
    exchanges[exchange].totalDeadline = min(
      exchanges[exchange].callDeadline,
      exchanges[exchange].exchange.startedAt.advanced(byNanoseconds: route.with { $0.timeouts.total }))
    setDeadline(client: exchanges[exchange].client, after: limits.settings.bodyTimeout)
    exchanges[exchange].stage = .head
    let verdict = configuration.with { configuration in
      route.with { $0.chain.resume(&exchanges[exchange].exchange, request, configuration.services) }
    }
    decide(exchange, route, configuration, verdict)
  }
}
