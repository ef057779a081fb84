import Core
import HTTP
import Pipeline

@testable import Gateway

/// What the access log says about one request: plain data of its own, for tests.
///
/// Byte ranges count from the front of the request's head. An empty range, an index of −1 and a time of −1 stand for
/// what is not known; such members are left out of the line.
struct AccessRecord {
  /// When the request's first byte was seen.
  var time = WallTime(microseconds: 0)
  /// The method as the client wrote it.
  var method = ByteRange.empty
  /// The host, with its port if the client named one.
  var host = ByteRange.empty
  /// The path without its query: queries carry keys, tokens and names, and logs are read by many.
  var path = ByteRange.empty
  /// What the client calls itself.
  var userAgent = ByteRange.empty
  /// The identifier that a trusted caller gave the request.
  var requestID = ByteRange.empty
  /// Whether the client speaks TLS to the gateway.
  var isSecure = false
  /// What there is to say of that.
  var tls: AccessTLS?
  /// Whether it speaks HTTP/1.0.
  var isHTTP10 = false
  var isHTTP2 = false
  /// The final status sent to the client; 0 where it left without one.
  var status: UInt16 = 0
  /// How many upstream attempts were made; 0 where the gateway answered itself.
  var attempts: UInt8 = 0
  /// The code of the gateway's own refusal.
  var refusal: StaticString?
  /// The client's address as far as trusted hops vouch for it.
  var client = IPAddress(high: 0, low: 0)
  /// The name of the decision, which is the request's identifier too.
  var decision = DecisionID(high: 0, low: 0)
  var decisionText: HexadecimalText { HexadecimalText(decision.high, decision.low) }
  /// The trace that the request belongs to; all zero for none.
  var trace = TraceContext()
  /// Bytes received from the client, head and body.
  var received: Int64 = 0
  /// Bytes sent to the client, head and body.
  var sent: Int64 = 0
  /// From the first byte of the request to the last of the response.
  var nanoseconds: Int64 = 0
  /// From the first byte sent to the upstream to the end of its response.
  var upstreamNanoseconds: Int64 = -1
  /// Index of the route in ``AccessNames/routes``.
  var route: Int32 = -1
  /// Index of the consumer in ``AccessNames/consumers``.
  var consumer: Int32 = -1
  /// Index of the key in ``AccessNames/keys``; never a secret.
  var key: Int32 = -1
  /// Index of the upstream's address in the table that is given with the record.
  var endpoint: Int32 = -1
  /// Index in ``AccessNames/limits`` of the name of the first level that was asked.
  var firstLimit: Int32 = -1
  /// Index in ``AccessNames/shadows`` of the name of the route's first policy in shadow.
  var firstShadow: Int32 = -1
  /// What policies in shadow have decided.
  var shadows = ShadowVerdicts()
  /// How the request's limits were decided.
  var limits = LimitQuestion()
}

extension AccessRecord: AccessFacts {
  func writeCaller(to line: inout AccessLogLine) {}

  var texts: AccessTexts {
    AccessTexts(method: method, host: host, path: path, userAgent: userAgent, requestID: requestID)
  }
  var refusalCode: StaticString? { refusal }
  var address: IPAddress { client }
  var sentBytes: Int64 { sent }
  var routeIndex: Int32 { route }
  var consumerIndex: Int32 { consumer }
  var endpointIndex: Int32 { endpoint }
  var limitDecision: LimitDecision { limits.decision }
  var limitSource: LimitSource { limits.source }
  var limitCount: Int { limits.count }

  func shadowCode(_ index: Int) -> StaticString { "some-code" }

  func limit(_ index: Int) -> (remaining: Int64, isDenied: Bool) {
    (limits[index].remaining, limits[index].isDenied)
  }

  var summary: AccessSummary {
    AccessSummary(
      time: time, microseconds: nanoseconds / 1_000,
      upstreamMicroseconds: upstreamNanoseconds < 0 ? -1 : upstreamNanoseconds / 1_000, receivedBytes: received,
      key: key, firstLimit: firstLimit)
  }
}
