// Who the client is as far as the network tells: address, trace, and the name a trusted caller gave the request.

import Core
import HTTP
import Pipeline

enum ClientIdentity {
  /// The longest request identifier that is taken over, in bytes.
  private static let requestIDBytes = 128

  /// Takes over what a trusted proxy says of the client; the word of anybody else counts for nothing.
  static func believe(_ slot: inout ExchangeSlot, _ request: RequestHead, trusted: [IPNetwork]) {
    let peer = slot.exchange.peer
    slot.isTrusted = trusted.contains { $0.contains(peer) }
    guard slot.isTrusted else { return }
    slot.exchange.client = ClientAddress.find(request, peer: peer) { address in
      trusted.contains { $0.contains(address) }
    }
    takeRequestID(&slot, request)
  }

  /// Fills in what the exchange knows of its client without believing anybody.
  @inline(__always)
  static func establish(_ slot: inout ExchangeSlot, _ request: RequestHead, world: some World) {
    continueTrace(&slot, request, world)
    slot.access.method = request.methodText
    slot.access.host = request.authority
    slot.access.path = request.path
    if let index = request.firstIndex(of: .userAgent) { slot.access.userAgent = request.field(index).valueRange }
  }

  private static func takeRequestID(_ slot: inout ExchangeSlot, _ request: RequestHead) {
    guard let index = request.firstIndex(of: .xRequestId) else { return }
    let range = request.field(index).valueRange
    if range.count > 0, range.count <= requestIDBytes { slot.access.requestID = range }
  }

  /// W3C Trace Context: a valid parent is continued with a span of our own, anything else starts a new trace.
  @inline(__always)
  private static func continueTrace(_ slot: inout ExchangeSlot, _ request: RequestHead, _ world: some World) {
    var trace = TraceContext(span: world.random() | 1)
    if let index = request.firstIndex(of: .traceparent), request.nextIndex(of: .traceparent, after: index) == nil,
      let parent = TraceParent(parsing: request.value(of: index))
    {
      trace.traceHigh = parent.traceHigh
      trace.traceLow = parent.traceLow
      trace.isSampled = parent.isSampled
    } else {
      trace.traceHigh = world.random()
      trace.traceLow = world.random() | 1
      // A state belongs to the parent it came with.
      request.dropAll(.tracestate)
    }
    slot.exchange.trace = trace
  }
}

extension TraceContext {
  /// Writes the `traceparent` that names our own span as the parent.
  @inline(__always)
  func write(to writer: inout ByteWriter) {
    TraceParent(traceHigh: traceHigh, traceLow: traceLow, span: span, flags: isSampled ? 1 : 0).write(to: &writer)
  }
}
