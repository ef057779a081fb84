// Bodies that policies want to see whole before they decide: what they are signed with, or a form.
//
// The bytes stay in the client's input as they came, and are read a second time on their way to the upstream: what is sent
// on is what was received, and everything that is done with bodies on that way needs to know nothing of this.

import Core
import HTTP
import Pipeline

extension RequestFlow {
  /// Bytes of framing beside those of a body that is gathered: chunks of a few bytes each are nobody's.
  private static var gatheredFraming: Int { 65_536 }

  /// Reads the request's body for a policy, which goes on with all of it.
  mutating func gather(_ exchange: Int32) {
    let limit = exchanges[exchange].exchange.gatherLimit
    if case .length(let count) = request.framing, count > Int64(limit) {
      return refuse(exchange, ProblemCatalogue.bodyTooLarge)
    }
    guard exchanges[exchange].exchange.gatheredBody == nil, !exchanges[exchange].requestBody.isComplete else {
      // Another policy has had it read, or there is none.
      if (exchanges[exchange].exchange.gatheredBody?.count ?? 0) > limit {
        return refuse(exchange, ProblemCatalogue.bodyTooLarge)
      }
      exchanges[exchange].exchange.keepGathered()
      park(exchange)
      return resume(ticket: exchanges[exchange].exchange.ticket)
    }
    exchanges[exchange].exchange.keepGathered()
    exchanges[exchange].gatheredInput = 0
    let (client, expectsContinue) = (exchanges[exchange].client, request.expectsContinue)
    // The upstream gets the body at once.
    if expectsContinue { request.dropAll(.expect) }
    keepDropped(exchange)
    exchanges[exchange].stage = .gathering
    setDeadline(client: client, after: bodyTimeout(exchange))
    takeGathered(exchange)
    guard exchanges[exchange].stage == .gathering else { return }
    enqueue(client, .slow)
    guard expectsContinue else { return }
    // RFC 9110 section 10.1.1.
    exchanges[exchange].toClient.append("HTTP/1.1 100 Continue\r\n\r\n")
    flush(exchange)
  }

  /// Takes what has come of a body that is gathered; the policy goes on once it is whole.
  mutating func takeGathered(_ exchange: Int32) {
    guard let body = exchanges[exchange].exchange.gatheredBody else { return }
    let (input, limit) = (exchanges[exchange].clientInput, exchanges[exchange].exchange.gatherLimit)
    loop: while !exchanges[exchange].requestBody.isComplete {
      let start = exchanges[exchange].gatheredInput
      switch exchanges[exchange].requestBody.next(input.bytes.extracting(start..<input.count)) {
      case .data(let skip, let count):
        guard body.count + count <= limit else { return refuseGathered(exchange) }
        body.append(input.bytes.extracting(start + skip..<start + skip + count))
        exchanges[exchange].gatheredInput += skip + count
      case .trailer(_, let consumed), .end(let consumed): exchanges[exchange].gatheredInput += consumed
      case .incomplete(let consumed):
        exchanges[exchange].gatheredInput += consumed
        break loop
      case .malformed(let fault): return refuse(exchange, malformed: fault)
      }
    }
    guard exchanges[exchange].gatheredInput - body.count <= body.count + Self.gatheredFraming else {
      return refuseGathered(exchange)
    }
    guard exchanges[exchange].requestBody.isComplete else { return }
    if clients[exchanges[exchange].client].queue == .slow { dequeue(exchanges[exchange].client) }
    exchanges[exchange].requestBody.begin(exchanges[exchange].requestBody.framing)
    exchanges[exchange].stage = .parked
    resume(ticket: exchanges[exchange].exchange.ticket)
  }

  /// What has been read of the body stays where it is, so that nothing behind it may be taken for a request.
  private mutating func refuseGathered(_ exchange: Int32) {
    clients[exchanges[exchange].client].closesAfterResponse = true
    refuse(exchange, ProblemCatalogue.bodyTooLarge)
  }
}
