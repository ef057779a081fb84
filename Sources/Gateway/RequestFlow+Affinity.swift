// What sticks to what: hashes by which requests find the same upstream or endpoint again, and copies for mirrors.

import Core
import HTTP
import Pipeline
import Traffic

extension RequestFlow {
  /// The hash of who calls: the consumer, the subject of a token, or the client's address where nobody is identified.
  func callerHash(_ exchange: Int32) -> UInt64 {
    let consumer = exchanges[exchange].exchange.consumer
    if consumer >= 0, let configuration = exchanges[exchange].configuration {
      var id = configuration.with { $0.services.consumer(consumer).id }
      return id.withUTF8 { unsafe StableHash.of(RawSpan(_unsafeElements: $0)) }
    }
    if var subject = exchanges[exchange].exchange.identity.flatMap({ $0.subject ?? $0.client }) {
      return subject.withUTF8 { unsafe StableHash.of(RawSpan(_unsafeElements: $0)) }
    }
    let client = exchanges[exchange].exchange.client
    return StableHash.of(high: client.high, low: client.low)
  }

  /// The hash that consistent hashing goes by; where the request lacks what is asked for, the address serves.
  func affinityHash(_ exchange: Int32, _ key: HashKey) -> UInt64 {
    let client = exchanges[exchange].exchange.client
    switch key {
    case .consumer: return callerHash(exchange)
    case .address: break
    case .header(let name):
      var lowercase = name.lowercased()
      let index = lowercase.withUTF8 { request.fieldIndex(named: unsafe RawSpan(_unsafeElements: $0), after: -1) }
      if index >= 0 { return StableHash.of(request.value(of: index)) }
    case .cookie(let name):
      if let range = CookieReader.value(of: name, in: request) { return StableHash.of(request.bytes(range)) }
    }
    return StableHash.of(high: client.high, low: client.low)
  }

  /// Sends a copy of the request to the route's mirror, for the share of requests that it gets. The copy is made of
  /// requests that are complete when they are sent on: one that still streams would have to wait for two upstreams.
  mutating func mirror(
    _ exchange: Int32, _ route: Borrowed<RoutePlan>, _ configuration: Borrowed<LoopConfiguration>
  ) {
    guard let mirror = route.with({ $0.mirror }), mirror.selects(random: loop.random()),
      exchanges[exchange].requestBody.isComplete, exchanges[exchange].isReplayable, !exchanges[exchange].wantsUpgrade
    else { return }
    let upstream = configuration.with { $0.upstreams[Int(mirror.upstream)] }
    let plan = upstream.plan
    guard CircuitBreaker.acquire(.request, plan.spec.breaker, plan.state) else { return }
    guard let copy = exchanges.take() else { return CircuitBreaker.release(.request, plan.state) }
    metrics.add(to: .requestsMirrored)
    exchanges[copy].isMirror = true
    configuration.with { exchanges[copy].begin(under: $0) }
    exchanges[copy].upstream = mirror.upstream
    exchanges[copy].group = Borrowed(upstream)
    exchanges[copy].holdsRequest = true
    exchanges[copy].hash = exchanges[exchange].hash
    exchanges[copy].method = exchanges[exchange].method
    exchanges[copy].timeouts = exchanges[exchange].timeouts
    exchanges[copy].exchange.startedAt = loop.now
    exchanges[copy].toServer.append(exchanges[exchange].toServer.bytes)
    exchanges[copy].stage = .pending
    if pickEndpoint(copy, upstream) { connect(copy, upstream) } else { refuse(copy, ProblemCatalogue.noUpstream) }
  }
}

/// Reads single cookies (RFC 6265 section 5.4) without taking the rest apart.
enum CookieReader {
  /// Where the value of the cookie `name` lies in the request's head; nil where it is missing.
  static func value(of name: String, in request: RequestHead) -> ByteRange? {
    let wanted = Array(name.utf8)
    var line = request.firstIndex(of: .cookie)
    while let index = line {
      if let range = value(of: wanted, in: request, request.field(index).valueRange) { return range }
      line = request.nextIndex(of: .cookie, after: index)
    }
    return nil
  }

  private static func value(of name: [UInt8], in request: RequestHead, _ range: ByteRange) -> ByteRange? {
    let bytes = request.bytes(range)
    var start = 0
    while start < bytes.byteCount {
      var end = start
      while end < bytes.byteCount, byte(bytes, end) != UInt8(ascii: ";") { end += 1 }
      while start < end, byte(bytes, start) == UInt8(ascii: " ") { start += 1 }
      var equals = start
      while equals < end, byte(bytes, equals) != UInt8(ascii: "=") { equals += 1 }
      if equals < end, equals - start == name.count, name.indices.allSatisfy({ byte(bytes, start + $0) == name[$0] }) {
        return ByteRange(start: range.start + UInt32(equals + 1), count: UInt32(end - equals - 1))
      }
      start = end + 1
    }
    return nil
  }

  private static func byte(_ bytes: RawSpan, _ offset: Int) -> UInt8 {
    unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
  }
}
