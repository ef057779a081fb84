// Answers that the gateway gives by itself: refusals, replies of policies, redirects.

import Core
import HTTP
import Pipeline
import Traffic

extension RequestFlow {
  /// Refuses because the bytes are not HTTP as it should be; the connection cannot be used any further, since nobody
  /// knows where the next request would begin.
  mutating func refuse(_ exchange: Int32, malformed fault: HTTPFault) {
    metrics.countShedConnection(.malformed)
    clients[exchanges[exchange].client].closesAfterResponse = true
    exchanges[exchange].fault = fault
    refuse(exchange, RequestFlow.problem(for: fault))
  }

  /// The entry of the catalogue for a broken rule of HTTP.
  static func problem(for fault: HTTPFault) -> Problem {
    switch fault.status {
    case 414: ProblemCatalogue.targetTooLong
    case 417: ProblemCatalogue.expectationFailed
    case 431: ProblemCatalogue.headTooLarge
    case 501: ProblemCatalogue.notImplemented
    case 505: ProblemCatalogue.versionNotSupported
    default: isOfPath(fault) ? ProblemCatalogue.malformedPath : ProblemCatalogue.malformedRequest
    }
  }

  private static func isOfPath(_ fault: HTTPFault) -> Bool {
    switch fault {
    case .encodedSeparator, .encodedControl, .malformedEscape, .encodedDot, .dotSegment, .emptySegment: true
    default: false
    }
  }

  /// Refuses with an entry of the catalogue. What is short now (503) may be had again in a second.
  mutating func refuse(_ exchange: Int32, _ problem: Problem) {
    refuse(exchange, Refusal(problem, retryAfterSeconds: problem.status == 503 ? 1 : -1))
  }

  /// Refuses with a problem document (RFC 9457). What the upstream was doing for this exchange is broken off.
  mutating func refuse(_ exchange: Int32, _ refusal: Refusal) {
    if exchanges[exchange].isMirror {
      record(exchange)
      return giveBack(exchange: exchange)
    }
    guard exchanges[exchange].stage != .response, exchanges[exchange].stage != .flushing else {
      return breakOff(exchange, .upstreamBroke)
    }
    metrics.countRefusal(code: refusal.code)
    exchanges[exchange].refusal = refusal
    if isPassedThrough(exchange) {
      exchanges[exchange].status = refusal.status
      return breakOff(exchange, .upstreamBroke)
    }
    note(refusal, of: exchange)
    if exchanges[exchange].isCall {
      exchanges[exchange].exchange.replyBodyIfAny?.removeAll()
      writeCallRefusal(exchange, refusal)
      return send(exchange, status: 200)
    }
    if let call = exchanges[exchange].exchange.webCall {
      writeWebRefusal(exchange, call, refusal)
      return send(exchange, status: 200)
    }
    let body = exchanges[exchange].exchange.replyBody
    body.removeAll()
    refusal.problem.write(exchanges[exchange].exchange.decision, into: body)
    let fields = exchanges[exchange].exchange.responseFields
    fields.append("Content-Type: application/problem+json\r\nCache-Control: no-store\r\n")
    if refusal.retryAfterSeconds >= 0 {
      fields.append("Retry-After: ")
      fields.append(decimal: UInt64(refusal.retryAfterSeconds))
      fields.append("\r\n")
    }
    send(exchange, status: refusal.status)
  }

  /// Sends the answer that a policy has prepared.
  mutating func reply(_ exchange: Int32) { send(exchange, status: exchanges[exchange].exchange.replyStatus) }

  /// Sends the client to another place.
  mutating func answer(_ exchange: Int32, _ redirect: Redirect) {
    let fields = exchanges[exchange].exchange.responseFields
    fields.append("Location: ")
    // What a policy took out of the query, a key above all, goes to no other place either.
    if let changed = exchanges[exchange].exchange.changedQuery {
      appendLocation(exchange, redirect, query: changed.bytes, to: fields)
    } else {
      let request = request
      appendLocation(exchange, redirect, query: request.bytes(request.query), to: fields)
    }
    fields.append("\r\n")
    send(exchange, status: redirect.status)
  }

  /// Sends the client to the same place with https. One that names no host is told where it went wrong.
  mutating func redirect(_ exchange: Int32, toSecurePort port: UInt16) {
    let request = request
    let authority = request.bytes(request.authority).array
    guard !authority.isEmpty else { return refuse(exchange, ProblemCatalogue.malformedRequest) }
    // The port stands behind the last colon that no address in brackets holds.
    let bracket = authority.lastIndex(of: UInt8(ascii: "]")) ?? -1
    let colon = authority.lastIndex(of: UInt8(ascii: ":")).flatMap { $0 > bracket ? $0 : nil }
    let fields = exchanges[exchange].exchange.responseFields
    fields.append("Location: https://")
    fields.append(Array(authority[..<(colon ?? authority.count)]))
    if port != 443 {
      fields.append(UInt8(ascii: ":"))
      fields.append(decimal: UInt64(port))
    }
    fields.append(request.bytes(request.path))
    if !request.query.isEmpty {
      fields.append(UInt8(ascii: "?"))
      fields.append(request.bytes(request.query))
    }
    fields.append("\r\n")
    send(exchange, status: 308)
  }

  private func appendLocation(_ exchange: Int32, _ redirect: Redirect, query: RawSpan, to fields: ByteBuffer) {
    redirect.appendLocation(
      path: request.bytes(request.path), query: query, authority: request.bytes(request.authority),
      isSecure: exchanges[exchange].exchange.isSecure, captures: exchanges[exchange].captures, to: fields)
  }

  /// Sends an answer of the gateway's own and ends the exchange.
  private mutating func send(_ exchange: Int32, status: UInt16) {
    dropServer(of: exchange)
    if status != 413 { skipBody(exchange) }
    exchanges[exchange].status = status
    exchanges[exchange].stage = .flushing
    exchanges[exchange].responseFraming = .length(0)
    let client = exchanges[exchange].client
    guard client >= 0 else { return finish(exchange) }
    let body = exchanges[exchange].exchange.replyBodyIfAny
    // The rest of a body could only be skipped by waiting for it: the connection ends instead.
    decidePersistence(client, exchange)
    if node.isDraining { clients[client].closesAfterResponse = true }
    dateField.update(loop.wallTime)
    let toClient = exchanges[exchange].toClient
    ResponseWriter.writeOwn(
      status: status, bodyCount: body?.count ?? 0, &exchanges[exchange], date: dateField.text,
      closes: clients[client].closesAfterResponse, into: toClient)
    if let body, exchanges[exchange].method != .head { toClient.append(body.bytes) }
    setDeadline(client: client, after: limits.settings.sendTimeout)
    flush(exchange)
  }

  /// Drops what has come of a body that nobody will read: where that is all of it, the connection can go on. Only as long
  /// as nothing of the body has been interpreted, so that there is no doubt where it begins.
  private mutating func skipBody(_ exchange: Int32) {
    let client = exchanges[exchange].client
    let isUntouched = exchanges[exchange].stage == .head || exchanges[exchange].stage == .parked
    guard isUntouched, client >= 0, !clients[client].closesAfterResponse else { return }
    let buffer = exchanges[exchange].clientInput
    while !exchanges[exchange].requestBody.isComplete {
      switch exchanges[exchange].requestBody.next(buffer.bytes) {
      case .data(let skip, let count): buffer.consume(skip + count)
      case .trailer(_, let consumed), .end(let consumed): buffer.consume(consumed)
      case .incomplete(let consumed): return buffer.consume(consumed)
      case .malformed:
        clients[client].closesAfterResponse = true
        return
      }
    }
  }

  /// The head did not arrive in time: the client is told before the connection ends (RFC 9110 section 15.5.9).
  mutating func beginTimedOutHead(_ index: Int32) {
    let exchange = clients[index].exchange
    guard exchange >= 0 else { return close(client: index, reset: false) }
    dequeue(index)
    clients[index].state = .exchange
    clients[index].closesAfterResponse = true
    metrics.add(to: .requestsStarted)
    nameExchange(exchange, index)
    refuse(exchange, ProblemCatalogue.requestTimeout)
  }
}
